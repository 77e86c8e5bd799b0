// my_plugin: the numbers from 0 to the setting `count`, some at a time.
import * as df from "./dataflare";

const BATCH: i64 = 1000;
const position = memory.data(8);
let count: i64 = 10;

export function plugin_init(at: usize, length: u32): i32 {
  count = <i64>new df.Config(at, length).number("count", <f64>count);
  return 0;
}

export function read_data(): i32 {
  const next = load<i64>(position);
  const rows = <i32>min(count - next, BATCH);
  if (rows <= 0) return 0;
  const out = df.Out.of<i64>("number", rows);
  if (out == null) return df.failed();
  for (let row = 0; row < rows; row++) out.set(row, next + row);
  store<i64>(position, next + rows);
  return df.answer([out]);
}

export function df_offset(): i32 {
  return df.answer_bytes(position, 8);
}

export function df_seek(at: usize, length: u32): i32 {
  memory.copy(position, at, 8);
  return 0;
}
