"""Column types go to JSON and back."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing.parametric import dtypes as polars_dtypes

from dataflare_nb import dtypes
from dataflare_nb.errors import GraphFormat, WrongType

EVERY = [
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128,
    pl.Float16, pl.Float32, pl.Float64,
    pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Null, pl.Categorical,
]  # fmt: skip
DEEP = [
    pl.Datetime("ms", "Europe/Berlin"),
    pl.Datetime("ns"),
    pl.Duration("ms"),
    pl.List(pl.List(pl.String())),
    pl.Array(pl.Int8(), 3),
    pl.Struct({"a": pl.Int64(), "b": pl.Struct({"c": pl.Date()})}),
    pl.Decimal(20, 4),
    pl.Enum(["x", "y"]),
]


@pytest.mark.parametrize("dtype", [*(each() for each in EVERY), *DEEP], ids=str)
def test_a_type_goes_to_json_and_back(dtype: pl.DataType) -> None:
    schema = pl.Schema({"a": dtype})
    assert dtypes.from_json(json.loads(json.dumps(dtypes.to_json(schema)))) == schema


@given(polars_dtypes(excluded_dtypes=[pl.Categorical, pl.Object, pl.Enum]), st.text())
def test_any_type_goes_to_json_and_back_or_says_that_it_cannot(dtype: pl.DataType, name: str) -> None:
    schema = pl.Schema({name: dtype})
    try:
        written = dtypes.to_json(schema)
    except GraphFormat:
        return
    assert dtypes.from_json(json.loads(json.dumps(written))) == schema


def test_an_object_cannot_be_written() -> None:
    with pytest.raises(GraphFormat, match="cast them first"):
        dtypes.to_json(pl.Schema({"a": pl.Object()}))


@pytest.mark.parametrize(
    "text", ["Text", 3, None, {"Datetime": ["h", None]}, {"Array": ["Int8"]}, {"Enum": ["x", "x"]}, {"Struct": 3}, {}]
)
def test_a_type_nobody_knows_is_refused(text: object) -> None:
    with pytest.raises(GraphFormat):
        dtypes.from_json({"a": text})


@pytest.mark.parametrize("given", [pl.Int64, pl.Int64(), int])
def test_a_user_gives_a_type_as_instance_class_or_python_type(given: object) -> None:
    assert dtypes.of({"a": given}) == {"a": pl.Int64()}


@pytest.mark.parametrize("given", ["Int64", 3, pl.List, object(), dict])
def test_what_is_no_type_is_refused(given: object) -> None:
    with pytest.raises(WrongType, match="types are such as"):
        dtypes.of({"a": given})


@pytest.mark.parametrize("given", [pl.Datetime, pl.Duration, pl.Categorical])
def test_a_class_means_what_polars_takes_it_for(given: type[pl.DataType]) -> None:
    assert dtypes.of({"x": given})["x"] == pl.DataFrame(schema={"x": given}).schema["x"]


def test_a_misspelt_type_is_told_the_nearest() -> None:
    with pytest.raises(GraphFormat, match="Did you mean `Int64`"):
        dtypes.read("Int46")
