"""A compiled function gives what CPython gives, bit for bit, and fails on the rows CPython fails on."""

from __future__ import annotations

import itertools
import math

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare_nb.wasm import KernelPool, Udf, UdfFailed

from . import functions
from .python_side import INT_MAX, INT_MIN, compare

FUNCTIONS = {name: found for name, found in vars(functions).items() if isinstance(found, Udf)}


FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, 7.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 2.2e-308, 1e308]
FLOATS += [1.7976931348623157e308, 0.1, 1e16, 9007199254740993.0, 2.0**63, -(2.0**63), 2.0**62, 1e-300, -20.0, 15.0]
INTS = [0, 1, -1, 2, -2, 3, 7, -7, 10, 63, 64, 2**31, -(2**31), 2**32 + 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**60 + 1]
INTS += [INT_MAX, INT_MIN, INT_MAX - 1, INT_MIN + 1, 2**62, 3037000500, -3037000499]
SPECIAL = {"float": FLOATS, "int": INTS, "bool": [True, False]}
STRATEGIES = {
    "float": st.one_of(st.sampled_from(FLOATS), st.floats(), st.floats(-1e3, 1e3)),
    "int": st.one_of(st.sampled_from(INTS), st.integers(INT_MIN, INT_MAX), st.integers(-50, 50)),
    "bool": st.booleans(),
}


def test_there_are_many_functions():
    assert len(FUNCTIONS) >= 50


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_special_numbers_come_out_as_in_cpython(function: Udf):
    grids = [SPECIAL[slot.type] if len(function.params) < 3 else SPECIAL[slot.type][:12] for slot in function.params]
    compare(function, list(itertools.product(*grids)))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_numbers_come_out_as_in_cpython(function: Udf, data: st.DataObject):
    row = st.tuples(*(STRATEGIES[slot.type] for slot in function.params))
    compare(function, data.draw(st.lists(row, min_size=1, max_size=24)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(STRATEGIES["int"], STRATEGIES["int"]), min_size=50, max_size=80))
def test_int_division_is_rounded_once(rows: list[tuple[int, int]]):
    compare(functions.ratio, rows)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(STRATEGIES["float"], STRATEGIES["float"]), min_size=50, max_size=80))
def test_float_remainders_are_exact(rows: list[tuple[float, float]]):
    for function in (functions.modulo, functions.floor_divide, functions.c_remainder):
        compare(function, rows)


def test_straight_float_code_runs_two_rows_at_a_time():
    vector = {name for name, function in FUNCTIONS.items() if function.kernel.facts.vector}
    assert {"gained", "divide", "guarded", "banded", "sign", "clipped", "root", "named_steps", "taxed"} <= vector
    assert {"short_circuit", "quarters", "ordered", "each", "whichever"} <= vector
    assert not vector & {"collatz", "ratio", "modulo", "through_others", "counted_on"}


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


@pytest.mark.parametrize("rows", [1, 4096, 16_384, 16_385, 40_001, 65_536, 70_000])
def test_every_row_of_a_batch_is_computed_once(rows: int):
    frame = pl.select(price=pl.int_range(rows) / 7, quantity=pl.int_range(rows, dtype=pl.Int32), tax=pl.lit(0.25))
    expected = frame.select(pl.col("price") * pl.col("quantity") * (1.0 + pl.col("tax"))).to_series()
    assert functions.ordered.call(frame.get_columns()).to_list() == expected.to_list()


@pytest.mark.parametrize("row", [0, 16_383, 16_384, 50_000])
def test_the_row_that_fails_is_named_wherever_it_is(row: int):
    divisors = pl.select((pl.int_range(60_000) != row).cast(pl.Float64)).to_series()
    with pytest.raises(UdfFailed, match=f"ZeroDivisionError.* at row {row} of the batch"):
        functions.divide.call([divisors, divisors])
