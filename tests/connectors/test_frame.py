"""Frames in memory as streams."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.connectors import as_frame, make_source
from dataflare_nb.errors import SourceError, WrongType

from .helpers import library, read, read_resumed

ROWS = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})


class OneBatch:
    """Speaks only the array half of the Arrow interface."""

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return ROWS.to_arrow().to_batches()[0].__arrow_c_array__(requested_schema)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ROWS,
        lambda: ROWS.lazy(),
        lambda: ROWS.to_arrow(),
        lambda: ROWS.to_arrow().to_batches()[0],
        lambda: ROWS.to_arrow().to_reader(),
        OneBatch,
    ],
    ids=["frame", "lazy", "table", "batch", "reader", "capsule"],
)
def test_what_speaks_arrow_becomes_a_frame(make: Any) -> None:
    assert as_frame(make()).equals(ROWS)


def test_a_pandas_frame_becomes_one_without_its_nameless_index() -> None:
    pandas = library("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    assert as_frame(frame).equals(ROWS)
    assert as_frame(frame[frame.a > 1]).equals(ROWS.slice(1))
    assert as_frame(frame.set_index("a")).columns == ["a", "b"]


def test_a_duckdb_relation_becomes_a_frame() -> None:
    duckdb = library("duckdb")
    relation = duckdb.sql("select range as a, 'n' || range as b from range(3)")
    assert as_frame(relation).rows() == [(0, "n0"), (1, "n1"), (2, "n2")]


@pytest.mark.parametrize("thing", [[1, 2], {"a": [1]}, None, pl.Series([1]), pa.array([1, 2])])
def test_what_is_not_a_frame_is_refused(thing: object) -> None:
    with pytest.raises(WrongType, match="a frame is needed"):
        as_frame(thing)


def test_several_frames_are_several_splits() -> None:
    source = make_source("frame", {"frames": ["x", "y"]}, {"x": ROWS, "y": ROWS.to_arrow()})
    assert source.splits() == ["frame-0", "frame-1"]
    assert source.bounded
    assert source.total_rows() == 6
    assert source.invalid_schema is None
    assert read(source, "frame-1").equals(ROWS)


def test_frames_that_differ_are_refused_with_the_columns() -> None:
    other = ROWS.with_columns(pl.col("a").cast(pl.String)).rename({"b": "c"})
    with pytest.raises(
        SourceError, match=r"frame-1.*`b` is missing; column `c` is new; column `a` is String, not Int64"
    ):
        make_source("frame", {"frames": ["x", "y"]}, {"x": ROWS, "y": other})


def test_a_poll_is_a_slice_of_the_frame_and_copies_nothing() -> None:
    frame = pl.DataFrame({"a": range(1000)})
    reader = make_source("frame", {"frame": "x"}, {"x": frame}).open("frame-0")
    reader.poll(10)
    polled = reader.poll(10)["a"].to_arrow()
    assert polled.to_pylist() == list(range(10, 20))
    start, end = frame["a"].to_arrow().buffers()[1].address, 8 * frame.height
    assert start <= polled.buffers()[1].address < start + end


@given(st.lists(st.integers(1, 7), max_size=20))
def test_any_cut_and_any_resume_gives_the_same_rows(cuts: list[int]) -> None:
    frame = pl.DataFrame({"a": range(25)})

    def make() -> Any:
        return make_source("frame", {"frame": "x"}, {"x": frame})

    assert read(make(), cuts=cuts).equals(frame)
    assert read_resumed(make, "frame-0", cuts)[0].equals(frame)
