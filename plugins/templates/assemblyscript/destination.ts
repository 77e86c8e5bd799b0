// my_plugin: count what comes, and tell the sum at each commit.
import * as df from "./dataflare";

const sum = memory.data(8);

export function write_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const value = batch.column<f64>("value");
  if (value == null) return df.failed();
  for (let row = 0; row < batch.rows; row++) {
    if (value.isValid(row)) store<f64>(sum, load<f64>(sum) + value.at(row));
  }
  df.count("rows", batch.rows);
  return 0;
}

export function df_prepare(epoch: i64): i32 {
  return df.answer_bytes(sum, 8);
}

export function df_commit(epoch: i64, at: usize, length: u32): i32 {
  df.log(df.INFO, "committed");
  return 0;
}
