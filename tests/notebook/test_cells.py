"""Rows for the page: cut, summed up, and never too many."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from dataflare_nb.dtypes import short
from dataflare_nb.notebook.cells import LONGEST, MOST_BYTES, MOST_ROWS, table


@pytest.mark.parametrize(
    ("values", "dtype", "summary", "cell"),
    [
        ([1, None, 30_000], pl.Int64, "1 to 30000, 1 null", "30000"),
        ([7, 7], pl.Int64, "7", "7"),
        ([0.1 + 0.2, 1e9], pl.Float64, "0.3 to 1,000,000,000.0", "1,000,000,000.0"),
        ([float("nan")], pl.Float64, "nan", "nan"),
        (["b", "a", "a", None], pl.String, "2 different, most often a, 1 null", None),
        (["x", "x"], pl.String, "always x", "x"),
        ([None, None], pl.String, "all null", None),
        ([True, False, True], pl.Boolean, "2 true", "True"),
        ([dt.date(2013, 1, 2)], pl.Date, "2013-01-02", "2013-01-02"),
        ([[1, 2], []], pl.List(pl.Int64), "0 to 2 items", "[]"),
        ([[1, 2]], pl.Array(pl.Int64, 2), "", "[1, 2]"),
        ([{"a": 1}], pl.Struct({"a": pl.Int64}), "", "{a: 1}"),
        ([[["a", None]], None], pl.List(pl.List(pl.String)), "1 to 1 items, 1 null", None),
        ([{"a": ["x", None], "t": dt.date(2013, 1, 2)}], None, "", "{a: ['x', null], t: 2013-01-02}"),
        (
            [dt.datetime(2013, 1, 2, 3), dt.datetime(2013, 1, 2, 4, 5)],
            None,
            "2013-01-02 03:00:00 to 04:05:00",
            "2013-01-02 04:05:00",
        ),
        ([dt.timedelta(seconds=4.4)], None, "4s 400ms", "4s 400ms"),
        ([dt.time(1, 2)], None, "01:02:00", "01:02:00"),
        ([Decimal("1.50")], None, "1.50", "1.50"),
        ([b"\x00\xff"], pl.Binary, "", "00 ff"),
    ],
)
def test_a_column_says_what_is_in_it(values, dtype, summary, cell):
    column = pl.Series("c", values, dtype=dtype)
    found = table(column.to_frame())
    assert found["columns"] == [{"name": "c", "dtype": short(column.dtype), "summary": summary}]
    assert found["rows"][-1] == [cell]


def test_the_newest_fifty_rows_are_shown_and_all_are_summed_up():
    found = table(pl.DataFrame({"n": range(200)}))
    assert [row[0] for row in found["rows"]] == [str(n) for n in range(200 - MOST_ROWS, 200)]
    assert found["columns"][0]["summary"] == "0 to 199"


def test_what_is_long_is_cut():
    found = table(pl.DataFrame({"s": ["x" * 10_000_000], "l": [list(range(100_000))]}))
    assert [len(cell) <= LONGEST and cell.endswith("…") for cell in found["rows"][0]] == [True, True]


def test_a_wide_frame_of_long_texts_fits_into_a_message():
    frame = pl.DataFrame({f"c{n}": ["y" * 500] * 50 for n in range(400)})
    found = table(frame)
    assert 1 <= len(found["rows"]) < 50
    assert len(json.dumps(found)) < 1.5 * MOST_BYTES
    assert (len(found["columns"]), found["hidden"]) == (100, 300)


def test_no_rows_are_a_table_too():
    assert table(pl.DataFrame(schema={"a": pl.Int64})) == {
        "columns": [{"name": "a", "dtype": "Int64", "summary": ""}],
        "rows": [],
        "hidden": 0,
    }


def test_a_time_of_no_calendar_is_shown_as_what_it_counts():
    far = pl.Series("n", [2**62, None, 0])
    frame = far.to_frame().select(
        t=pl.col("n").cast(pl.Datetime("ms")),
        d=pl.col("n").clip(upper_bound=2**31 - 1).cast(pl.Int32).cast(pl.Date),
        inside=pl.struct(t=pl.col("n").cast(pl.Datetime("us", "UTC"))),
    )
    assert table(frame)["rows"] == [
        [f"{2**62} ms since 1970", f"{2**31 - 1} days since 1970", f"{{t: {2**62} μs since 1970}}"],
        [None, None, "{t: null}"],
        ["1970-01-01 00:00:00", "1970-01-01", "{t: 1970-01-01 00:00:00+00:00}"],
    ]


def test_a_name_is_no_pattern():
    assert table(pl.DataFrame({"^a.*$": [[1]], "a": [[2]], "": [["x"]]}))["rows"] == [["[1]", "[2]", "['x']"]]


@pytest.mark.slow
def test_nested_values_cost_what_is_shown_of_them(within):
    deep = pl.DataFrame({"l": [[list(range(20_000))] * 500] * 4})
    deep = deep.with_columns(s=pl.struct("l", t=pl.lit("y" * 3_000_000)))
    with within(1.5):
        found = table(deep)
    assert all(len(cell) <= LONGEST for row in found["rows"] for cell in row)


@given(dataframes(max_cols=4, max_size=20, excluded_dtypes=[pl.Object]), st.booleans())
@pytest.mark.slow
def test_every_frame_is_shown_as_json(frame, empty):
    frame = frame.clear() if empty else frame
    found = table(frame)
    json.dumps(found)
    assert len(found["columns"]) == frame.width
    if frame.width:
        assert len(found["rows"]) == frame.height
        for row, texts in zip(frame.rows(), found["rows"], strict=True):
            assert [value is None for value in row] == [text is None for text in texts]
