// my_plugin: what the column `value` is, times the setting `factor`.
import * as df from "./dataflare";

let factor = 2.0;

export function plugin_init(at: usize, length: u32): i32 {
  factor = new df.Config(at, length).number("factor", factor);
  return 0;
}

export function process_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const value = batch.column<f64>("value");
  if (value == null) return df.failed();
  const out = df.Out.like<f64>("my_plugin", value);
  if (out == null) return df.failed();
  for (let row = 0; row < batch.rows; row++) out.set(row, value.at(row) * factor);
  return df.answer([out]);
}
