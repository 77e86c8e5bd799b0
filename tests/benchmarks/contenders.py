"""The same arithmetic on three columns in every way there is: compiled, in C, in Extism, in Polars, in Python."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

import dataflare_nb as flare
from dataflare_nb.wasm import Plugin, Session, Udf, WasmPluginConfig
from dataflare_nb.wasm.toolchains import build_text

from ..wasm.compiled import module
from ..wasm.guests import ANY_ECHO, FORMAT, plugin

NAMES = ("price", "quantity", "tax")
_PRICE, _QUANTITY, _TAX = map(pl.col, NAMES)


@flare.udf
def total(price: float, quantity: float, tax: float) -> float:
    return price * quantity * (1.0 + tax)


@flare.udf
def gained(price: float, quantity: float, tax: float) -> float:
    return max(price - quantity, 0.0) + tax


@flare.udf
def reduced(price: float, quantity: float, tax: float) -> float:
    x = price * quantity
    if x > 5000.0:
        x = 5000.0 + (x - 5000.0) * 0.5
    return x * (1.0 + tax)


class Formula(NamedTuple):
    """One formula as a compiled function, a Polars expression and in C."""

    udf: Udf
    expression: pl.Expr
    in_c: str


_SUM = _PRICE * _QUANTITY
FORMULAS = (
    Formula(total, _PRICE * _QUANTITY * (1.0 + _TAX), "p[i] * q[i] * (1.0 + t[i])"),
    Formula(gained, (_PRICE - _QUANTITY).clip(0.0) + _TAX, "(p[i] - q[i] > 0.0 ? p[i] - q[i] : 0.0) + t[i]"),
    Formula(
        reduced,
        pl.when(_SUM > 5000.0).then(5000.0 + (_SUM - 5000.0) * 0.5).otherwise(_SUM) * (1.0 + _TAX),
        "(p[i] * q[i] > 5000.0 ? 5000.0 + (p[i] * q[i] - 5000.0) * 0.5 : p[i] * q[i]) * (1.0 + t[i])",
    ),
)
"""Three floats to one: a product, a difference that is not negative, and one with a branch."""
IN_C = """
#include "dataflare.h"
DF_NO_INIT
DF_PROCESS(batch) {
  const struct ArrowArray *price = df_find(batch, "price", "g"), *quantity = df_find(batch, "quantity", "g");
  const struct ArrowArray* tax = df_find(batch, "tax", "g");
  if (!price || !quantity || !tax) return df_fail(DF_E_INPUT, "it needs three columns of floats");
  df_out out = df_out_like(batch, price, "g", "result");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the result");
  const double *p = price->buffers[1], *q = quantity->buffers[1], *t = tax->buffers[1];
  double* to = out.data;
  /* Whether its time is over is looked for at each turn of a loop. */
  #pragma clang loop unroll_count(8)
  for (u32 i = 0; i < out.rows; i++) to[i] = FORMULA;
  return df_return(&out, 1);
}
"""
FOR_EXTISM = """
typedef unsigned long long u64;
#define HOST(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern
HOST(input_length) u64 input_length(void);
HOST(input_load_u64) u64 input_load_u64(u64 at);
HOST(alloc) u64 alloc(u64 size);
HOST(store_u64) void store_u64(u64 at, u64 value);
HOST(output_set) void output_set(u64 at, u64 size);
static double loaded(u64 row) { union { u64 bits; double value; } both = {input_load_u64(8 * row)}; return both.value; }
__attribute__((export_name("total"))) int total(void) {
  u64 rows = input_length() / 24, to = alloc(8 * rows);
  for (u64 i = 0; i < rows; i++) {
    union { double value; u64 bits; } both = {loaded(i) * loaded(rows + i) * (1.0 + loaded(2 * rows + i))};
    store_u64(to + 8 * i, both.bits);
  }
  output_set(to, 8 * rows);
  return 0;
}
"""


def in_c(formula: Formula) -> Session:
    """Return a formula as a plugin in C, metered as every plugin is."""
    name = formula.udf.name
    built = build_text(IN_C.replace("FORMULA", formula.in_c), "c", name=name, label=f"{name}.c")
    config = WasmPluginConfig.load({"name": name, "type": "Processor", "module_path": f"{name}.wasm"})
    return Session(Plugin.of(config, built.module))


def as_json(frame: pl.DataFrame) -> Session:
    """Return a guest that takes and gives JSON and computes nothing, so that JSON alone is measured."""
    schema = dict.fromkeys(frame.columns, "Float64")
    return Session(plugin(ANY_ECHO, extra=FORMAT, formats=1, schema=schema))


def in_extism() -> Callable[[pl.DataFrame], pl.DataFrame] | None:
    """Return the first formula in C for Extism, which moves bytes, or None if it is not installed."""
    if importlib.util.find_spec("extism") is None:
        return None
    import extism
    import numpy as np

    guest: Any = extism.Plugin({"wasm": [{"data": module(FOR_EXTISM, "")}]})

    def work(frame: pl.DataFrame) -> pl.DataFrame:
        given = b"".join(column.to_numpy().tobytes() for column in frame.get_columns())
        return pl.DataFrame({"total": np.frombuffer(guest.call("total", given), np.float64)})

    return work


def per_row(frame: pl.DataFrame) -> pl.DataFrame:
    """Run the first formula in Python on each row."""
    function = total.function

    def of(row: dict[str, float]) -> float:
        return float(function(row["price"], row["quantity"], row["tax"]))

    return frame.select(pl.struct(NAMES).map_elements(of, return_dtype=pl.Float64).alias("total"))
