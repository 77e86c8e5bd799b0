"""What a Python function gives back is held to the schema it was declared with."""

from __future__ import annotations

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import StageFailed, WrongType

ROWS = flare.from_frame(pl.DataFrame({"a": [1, 2], "b": ["x", None]}))
SCHEMA = {"a": pl.Int64, "b": pl.String}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda frame: frame.to_dict(), "returned dict; it has to return a polars.DataFrame"),
        (lambda frame: frame.lazy(), "returned LazyFrame"),
        (lambda frame: frame.drop("b"), "returned columns a; missing: b, unexpected: nothing"),
        (lambda frame: frame.with_columns(c=1), "returned columns a, b, c; missing: nothing, unexpected: c"),
        (lambda frame: frame.cast({"a": pl.Float64}), "`a` is Float64 instead of Int64"),
    ],
)
def test_another_shape_fails_the_job_and_says_how_it_differs(function, said):
    with pytest.raises(StageFailed, match=said) as failed:
        ROWS.map_batches(function, schema=SCHEMA).collect()
    assert isinstance(failed.value.__cause__, WrongType)


@pytest.mark.parametrize(
    "function",
    [
        lambda frame: frame.select("b", "a"),
        lambda frame: frame.with_columns(b=pl.lit(None)),
    ],
)
def test_another_order_and_columns_of_nothing_but_nulls_are_made_to_fit(function):
    frame = ROWS.map_batches(function, schema=SCHEMA).collect()
    assert frame.schema == SCHEMA
    assert frame["a"].to_list() == [1, 2]
