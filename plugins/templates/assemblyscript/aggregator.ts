// my_plugin: the mean of a column. The state of a group is its sum and how many values it had.
import * as df from "./dataflare";

export function aggregate_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const value = batch.nth<f64>(0);
  return value == null ? df.failed() : add_up(batch, value, null);
}

export function df_merge(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const sum = batch.column<f64>("sum"), count = batch.column<i64>("count");
  return sum == null || count == null ? df.failed() : add_up(batch, sum, count);
}

/** Add up rows by their group; without `counts` each row counts once. */
function add_up(batch: df.Batch, value: df.Column<f64>, counts: df.Column<i64> | null): i32 {
  const sum = df.Out.of<f64>("sum", df.group_count), count = df.Out.of<i64>("count", df.group_count);
  if (sum == null || count == null) return df.failed();
  const groups = batch.groups();
  for (let row = 0; row < batch.rows; row++) {
    if (!value.isValid(row)) continue;
    const group = <i32>groups.at(row);
    sum.set(group, sum.at(group) + value.at(row));
    count.set(group, count.at(group) + (counts == null ? 1 : counts.at(row)));
  }
  return df.answer([sum, count]);
}

export function df_final(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const sum = batch.column<f64>("sum"), count = batch.column<i64>("count");
  const out = df.Out.of<f64>("my_plugin", batch.rows);
  if (sum == null || count == null || out == null) return df.failed();
  for (let row = 0; row < batch.rows; row++) {
    if (count.at(row) > 0) out.set(row, sum.at(row) / <f64>count.at(row));
    else out.setNull(row);
  }
  return df.answer([out]);
}
