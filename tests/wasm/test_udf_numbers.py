"""A compiled function gives what CPython gives, bit for bit, and fails on the rows CPython fails on."""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare_nb.wasm import KernelPool, Udf

from . import functions

FUNCTIONS = {name: found for name, found in vars(functions).items() if isinstance(found, Udf)}
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class Checked(int):
    """An int that overflows like a column does."""


def _checked(name: str) -> Any:
    plain = getattr(int, name)

    def operation(self: int, *others: Any) -> Any:
        if name == "__lshift__" and self and others[0] > 64:
            raise OverflowError
        result = plain(self, *others)
        if type(result) is int or type(result) is Checked:
            if not INT_MIN <= result <= INT_MAX:
                raise OverflowError
            return Checked(result)
        return result

    return operation


for _name in ["add", "sub", "mul", "floordiv", "mod", "lshift", "rshift", "and", "or", "xor", "pow"]:
    setattr(Checked, f"__{_name}__", _checked(f"__{_name}__"))
    if _name != "pow":
        setattr(Checked, f"__r{_name}__", _checked(f"__r{_name}__"))

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 7.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2e-308, 1e308]
FLOATS += [1.7976931348623157e308, 0.1, 1e16, 9007199254740993.0, 2.0**63, -(2.0**63), 2.0**62, 1e-300, -20.0, 15.0]
INTS = [0, 1, -1, 2, -2, 3, 7, -7, 10, 63, 64, 2**31, -(2**31), 2**32 + 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**60 + 1]
INTS += [INT_MAX, INT_MIN, INT_MAX - 1, INT_MIN + 1, 2**62, 3037000500, -3037000499]
SPECIAL = {"float": FLOATS, "int": INTS, "bool": [True, False]}
DTYPES = {"float": pl.Float64, "int": pl.Int64, "bool": pl.Boolean}
STRATEGIES = {
    "float": st.one_of(st.sampled_from(FLOATS), st.floats(), st.floats(-1e3, 1e3)),
    "int": st.one_of(st.sampled_from(INTS), st.integers(INT_MIN, INT_MAX), st.integers(-50, 50)),
    "bool": st.booleans(),
}


def python(function: Udf, row: tuple[Any, ...]) -> Any:
    """Return what CPython computes, or the name of the error it raises."""
    args = [Checked(x) if type(x) is int else x for x in row]
    try:
        result = function.function(*args)
    except (ArithmeticError, ValueError, AssertionError) as error:
        return type(error).__name__
    returns = function.outputs[0].type
    converted = {"float": float, "int": int, "bool": bool}[returns](result)
    if returns == "int" and not INT_MIN <= converted <= INT_MAX:
        return "OverflowError"
    return converted


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (one != one and other != other)
    return type(one) is type(other) and one == other


def compare(function: Udf, rows: list[tuple[Any, ...]]) -> None:
    columns = [
        pl.Series(slot.name, [row[i] for row in rows], dtype=DTYPES[slot.type], strict=True)
        for i, slot in enumerate(function.params)
    ]
    outcome = function._pool.apart(columns)
    got = outcome.columns[0].to_list()
    for row, site in enumerate(outcome.failed if outcome.failed is not None else []):
        if site:
            got[row] = function.kernel.facts.sites[site - 1].error
    for row, ours in zip(rows, got, strict=True):
        theirs = python(function, row)
        assert same(ours, theirs), f"{function.name}{row}: {ours!r} is not {theirs!r}"


def test_there_are_many_functions():
    assert len(FUNCTIONS) >= 50


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_special_numbers_come_out_as_in_cpython(function: Udf):
    grids = [SPECIAL[slot.type] if len(function.params) < 3 else SPECIAL[slot.type][:12] for slot in function.params]
    compare(function, list(itertools.product(*grids)))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_numbers_come_out_as_in_cpython(function: Udf, data: st.DataObject):
    row = st.tuples(*(STRATEGIES[slot.type] for slot in function.params))
    compare(function, data.draw(st.lists(row, min_size=1, max_size=24)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STRATEGIES["int"], STRATEGIES["int"]), min_size=50, max_size=80))
def test_int_division_is_rounded_once(rows: list[tuple[int, int]]):
    compare(functions.ratio, rows)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STRATEGIES["float"], STRATEGIES["float"]), min_size=50, max_size=80))
def test_float_remainders_are_exact(rows: list[tuple[float, float]]):
    for function in (functions.modulo, functions.floor_divide, functions.c_remainder):
        compare(function, rows)


def test_straight_float_code_runs_two_rows_at_a_time():
    vector = {name for name, function in FUNCTIONS.items() if function.kernel.facts.vector}
    assert {"gained", "divide", "guarded", "banded", "sign", "clipped", "root", "named_steps", "taxed"} <= vector
    assert not vector & {"collatz", "ratio", "modulo", "through_others"}


def test_only_functions_with_loops_are_metered():
    assert functions.collatz.kernel.facts.metered
    assert functions.through_others.kernel.facts.metered
    assert not functions.gained.kernel.facts.metered
    assert not functions.ratio.kernel.facts.metered


def test_the_slow_way_to_call_gives_the_same():
    pool = KernelPool(functions.guarded.kernel, fast=False)
    column = pl.Series(FLOATS)
    assert pool.call([column, column.reverse()]).equals(functions.guarded.call([column, column.reverse()]))
    pool.close()
