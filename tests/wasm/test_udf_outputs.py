"""A function that returns several values gives several columns, and one that may return None gives nulls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption, UdfError
from dataflare_nb.wasm import udf

from .python_side import compare

FRAME = pl.DataFrame({"a": [1.0, None, -3.0, 4.0], "b": [2, 1, 5, 0]})


class Polar(NamedTuple):
    radius: float
    quadrant: int | None
    far: bool = False


@dataclass
class Range:
    low: float
    high: float = 100.0


@udf
def halves(a: float, n: int) -> tuple[float, int]:
    return a / 2, n // 2


@udf(output=("low", "high"))
def bounds(a: float, n: int) -> tuple[float, float]:
    low = a - n
    high = a + n
    return (low, high) if n >= 0 else (high, low)


@udf
def polar(x: float, y: int) -> Polar:
    if x == 0 or y == 0:
        return Polar(abs(x + y), None)
    quadrant = 1 if x > 0 else 2
    return Polar(math.sqrt(x * x + y * y), quadrant, far=x > 3)


@udf
def ranged(a: float) -> Range:
    if a < 0:
        return Range(a)
    return Range(low=0.0, high=a)


@udf
def found(a: float) -> Range | None:
    return Range(a) if a > 0 else None


@udf
def positive(a: float) -> Optional[float]:  # noqa: UP045 - both spellings are read
    return a if a > 0 else None


@udf
def rest_only(a: int, b: int) -> int:
    quotient, rest = divmod(a, b)
    pair = divmod(a, b)
    low, high = bounds(float(rest), pair[0])
    again = bounds(float(rest), n=pair[1]) if rest > 100 else bounds(float(rest), pair[1])
    return rest + pair[-1] + int(low + high) + int(again[1]) + quotient * 0


def test_the_fields_of_a_result_are_columns():
    out = flare.from_frame(FRAME).with_columns(halves("a", "b"))
    assert out.schema == {"a": pl.Float64, "b": pl.Int64, "halves_0": pl.Float64, "halves_1": pl.Int64}
    frame = out.collect()
    assert frame.schema == out.schema
    assert frame["halves_0"].to_list() == [0.5, None, -1.5, 2.0]
    assert frame["halves_1"].to_list() == [1, None, 2, 0]


def test_fields_have_the_names_of_the_tuple_or_those_that_were_given():
    stream = flare.from_frame(FRAME)
    assert stream.select(polar("a", "b")).columns == ["radius", "quadrant", "far"]
    assert stream.select(ranged("a")).columns == ["low", "high"]
    assert stream.select(bounds("a", "b")).columns == ["low", "high"]
    assert stream.select(bounds("a", "b").alias("from", "to")).columns == ["from", "to"]
    assert stream.select("b", halves("a", "b"), bounds("a", "b")).columns == [
        "b",
        "halves_0",
        "halves_1",
        "low",
        "high",
    ]


def test_one_name_makes_a_struct():
    stream = flare.from_frame(FRAME)
    for made in (
        stream.with_columns(r=bounds("a", "b")),
        stream.with_columns(bounds("a", "b").alias("r")),
        stream.select("a", "b", r=bounds("a", "b")),
    ):
        assert made.schema["r"] == pl.Struct({"low": pl.Float64, "high": pl.Float64})
        frame = made.collect()
        assert frame.schema == made.schema
        assert frame["r"].to_list() == [
            {"low": -1.0, "high": 3.0},
            None,
            {"low": -8.0, "high": 2.0},
            {"low": 4.0, "high": 4.0},
        ]
    assert made.unnest("r").columns == ["a", "b", "low", "high"]


def test_fields_may_replace_columns_that_others_read():
    stream = flare.from_frame(FRAME).with_columns(bounds("a", "b").alias("a", "b"), c=pl.col("a") * 10)
    assert stream.columns == ["a", "b", "c"]
    out = stream.collect()
    assert out["c"].to_list() == [10.0, None, -30.0, 40.0]
    assert out["a"].to_list() == [-1.0, None, -8.0, 4.0]


def test_names_that_clash_or_do_not_fit_are_refused():
    stream = flare.from_frame(FRAME)
    with pytest.raises(BadOption, match="two columns of one name: low, high, low, high"):
        stream.with_columns(bounds("a", "b"), bounds("a", "b"))
    with pytest.raises(UdfError, match="gives low, high; alias takes one name, or one for each"):
        bounds("a", "b").alias("x", "y", "z")
    with pytest.raises(UdfError, match=r"output=\['x'\] must name 2 columns, each differently"):
        udf(output="x")(bounds.function)


def test_an_expression_gives_a_struct():
    out = FRAME.select(polar.expr("a", "b"))
    assert out.schema == {"polar": polar.dtype}
    assert out.unnest("polar").to_dicts()[1] == {"radius": None, "quadrant": None, "far": None}
    assert FRAME.lazy().select(polar.expr("a", "b")).unnest("polar").collect_schema().names() == list(Polar._fields)


def test_output_names_a_single_column_too():
    @udf(output="gain")
    def gained(a: float) -> float:
        return a * 2

    assert flare.from_frame(FRAME).with_columns(gained("a")).columns == ["a", "b", "gain"]
    assert FRAME.select(gained.expr("a")).columns == ["gain"]
    assert FRAME.select(gained.expr("a").alias("x")).columns == ["x"]


def test_a_call_on_values_gives_what_the_function_gives():
    assert polar(3, 4) == Polar(5.0, 1, False)
    assert ranged(5) == Range(0.0, 5.0)
    assert found(-1.0) is None
    assert halves(None, 1) is None
    assert bounds(1, 2) == (-1.0, 3.0)


def test_none_is_null():
    assert positive.call([pl.Series([1.0, -1.0, None])]).to_list() == [1.0, None, None]
    out = FRAME.select(found.expr("a"))["found"]
    assert out.to_list() == [{"low": 1.0, "high": 100.0}, None, None, {"low": 4.0, "high": 100.0}]
    assert out.null_count() == 2


def test_columns_of_every_width_and_validity_come_out_of_many_chunks():
    @udf
    def parts(a: float, n: int) -> tuple[float | None, bool, int, bool | None]:
        return (None if n % 3 == 0 else a), n % 2 == 0, n, (n > 5 if n % 5 else None)

    rows = 150_001
    n = pl.Series("n", range(rows))
    out = parts.call([n.cast(pl.Float64), n]).struct.unnest()
    expected = pl.select(
        a=pl.when(n % 3 != 0).then(n.cast(pl.Float64)), b=n % 2 == 0, c=n, d=pl.when(n % 5 != 0).then(n > 5)
    )
    for made, wanted in zip(out.get_columns(), expected.get_columns(), strict=True):
        assert made.equals(wanted.alias(made.name))


@pytest.mark.parametrize("function", [halves, bounds, polar, ranged, found, rest_only], ids=lambda f: f.name)
def test_they_compute_what_cpython_computes(function: flare.wasm.Udf):
    values = {"float": [1.0, -2.5, 0.0, 3.5, math.inf, None], "int": [0, 1, -7, 9, None]}
    grid = [()]
    for slot in function.params:
        grid = [(*row, value) for row in grid for value in values[slot.type]]
    compare(function, grid)
