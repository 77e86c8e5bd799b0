"""The same small plugin in every language: `y` is twice `x`."""

from __future__ import annotations

CELLS = {
    "c": """\
#include "dataflare.h"
DF_NO_INIT
DF_PROCESS(batch) {
  const struct ArrowArray* x = df_find(batch, "x", "g");
  if (!x) return df_fail(DF_E_INPUT, "it needs x");
  df_out out = df_out_like(batch, x, "g", "y");
  for (u32 i = 0; i < out.rows; i++) ((double*)out.data)[i] = 2 * ((const double*)x->buffers[1])[i];
  return df_return(&out, 1);
}
""",
    "c++": """\
#include "dataflare.h"
template <typename T> static T twice(T x) { return x + x; }
DF_NO_INIT
DF_PROCESS(batch) {
  auto* x = df_find(batch, "x", "g");
  if (!x) return df_fail(DF_E_INPUT, "it needs x");
  df_out out = df_out_like(batch, x, "g", "y");
  for (u32 i = 0; i < out.rows; i++) ((double*)out.data)[i] = twice(((const double*)x->buffers[1])[i]);
  return df_return(&out, 1);
}
""",
    "zig": """\
const df = @import("dataflare");
comptime {
    df.plugin(@This());
}
pub fn process(batch: df.Batch) df.Error!df.Answer {
    const x = try batch.column(f64, "x");
    const out = try df.Out(f64).like("y", x);
    for (out.values, x.values) |*to, from| to.* = 2 * from;
    return df.answer(.{out});
}
""",
    "rust": """\
use dataflare::*;
plugin! { process: twice }
fn twice(batch: &Batch) -> Result<Answer> {
    let x = batch.column::<f64>("x")?;
    let out = Out::<f64>::like("y", &x)?;
    for (to, from) in out.values.iter_mut().zip(x.values) {
        *to = 2.0 * from;
    }
    answer(&[&out])
}
""",
    "go": """\
package main

import "guest/dataflare"

//go:wasmexport process_data
func processData(at, _ uint32) int32 {
	return dataflare.Answered(at, func(batch *dataflare.Batch) ([]dataflare.Output, error) {
		x, err := dataflare.Column[float64](batch, "x")
		if err != nil {
			return nil, err
		}
		out := dataflare.Like[float64]("y", x)
		for row, value := range x.Values {
			out.Values[row] = 2 * value
		}
		return []dataflare.Output{out}, nil
	})
}

func main() {}
""",
    "assemblyscript": """\
import * as df from "./dataflare";
export function process_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const x = batch.column<f64>("x");
  if (x == null) return df.failed();
  const out = df.Out.like<f64>("y", x);
  if (out == null) return df.failed();
  for (let row = 0; row < batch.rows; row++) out.set(row, 2 * x.at(row));
  return df.answer([out]);
}
""",
    "wat": """\
;; y is made of x in place
(data (i32.const 8) "y\\00")
(func (export "process_data") (param $batch i32) (param i32) (result i32) (local $at i32) (local $end i32)
  (i32.store offset=4 (i32.load (i32.load offset=32 (i32.load (local.get $batch)))) (i32.const 8))
  (local.set $at (i32.load offset=4 (call $df_buffers (local.get $batch) (i32.const 0))))
  (local.set $end (i32.add (local.get $at) (i32.shl (call $df_rows (local.get $batch)) (i32.const 3))))
  (loop $next
    (if (i32.lt_u (local.get $at) (local.get $end)) (then
      (f64.store (local.get $at) (f64.mul (f64.load (local.get $at)) (f64.const 2)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next))))
  (call $df_return (local.get $batch)))
""",
}

CELLS["python"] = """\
import dataflare_nb as flare

@flare.udf
def y(x: float) -> float:
    return 2.0 * x
"""

MISTAKES = {
    "python": ("2.0 * x", "2.0 * (x", 5, "'(' was never closed", "(x"),
    "c": ("return df_return(&out, 1);", "return out;", 8, "returning 'df_out'", "out"),
    "c++": ("twice(((", "thrice(((", 8, "use of undeclared identifier 'thrice'", "thrice"),
    "zig": ("2 * from", '"two" * from', 8, "incompatible types: '*const [3:0]u8' and 'f64'", None),
    "rust": ("2.0 * from", '"two" * from', 7, "cannot multiply `&str` by `&f64`", "*"),
    "go": ("2 * value", "2 * valeu", 14, "undefined: valeu", "v"),
    "assemblyscript": ("2 * x.at", '"two" * x.at', 8, "Operator '*' cannot be applied", None),
    "wat": ("f64.mul", "f64.mull", 9, "unknown operator or unexpected token", "f"),
}
"""For each language what is put in the place of what, the line of the text, what is said, and what is marked."""
