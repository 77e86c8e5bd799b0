// my_plugin: keep the rows whose column `value` is at least the setting `least`.
import * as df from "./dataflare";

let least = 0.0;

export function plugin_init(at: usize, length: u32): i32 {
  least = new df.Config(at, length).number("least", least);
  return 0;
}

export function filter_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const value = batch.column<f64>("value");
  if (value == null) return df.failed();
  const keep = df.Out.of<bool>("keep", batch.rows);
  if (keep == null) return df.failed();
  for (let row = 0; row < batch.rows; row++) keep.set(row, value.isValid(row) && value.at(row) >= least);
  return df.answer([keep]);
}
