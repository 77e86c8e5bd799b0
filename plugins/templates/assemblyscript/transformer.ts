// my_plugin: the rows whose column `value` is not null, and nothing but it.
import * as df from "./dataflare";

export function transform_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const value = batch.column<f64>("value");
  if (value == null) return df.failed();
  const out = df.Out.of<f64>("value", batch.rows);
  if (out == null) return df.failed();
  let kept = 0;
  for (let row = 0; row < batch.rows; row++) if (value.isValid(row)) out.set(kept++, value.at(row));
  out.rows = kept;
  return df.answer([out]);
}
