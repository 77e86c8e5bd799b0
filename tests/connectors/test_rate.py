"""Rows at a steady rate."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.clock import ManualClock
from dataflare_nb.connectors import make_source
from dataflare_nb.types import EndOfStream, Source

from .helpers import read, read_resumed

SECOND = 1_000_000


def rate(clock: ManualClock, **options: Any) -> Source:
    return make_source("rate", options, clock=clock)


def test_rows_come_when_they_are_due() -> None:
    clock = ManualClock(5 * SECOND)
    source = rate(clock, rows_per_second=4)
    assert not source.bounded
    reader = source.open("rate-0")
    assert reader.poll(100)["value"].to_list() == [0]
    clock.advance(SECOND // 4 - 1)
    assert reader.poll(100).is_empty()
    clock.advance(1)
    assert reader.poll(100)["value"].to_list() == [1]
    clock.advance(SECOND)
    assert reader.poll(3)["value"].to_list() == [2, 3, 4]
    assert reader.poll(3)["value"].to_list() == [5]


def test_the_timestamp_says_when_a_row_was_due() -> None:
    clock = ManualClock(SECOND)
    reader = rate(clock, rows_per_second=2).open("rate-0")
    clock.advance(10 * SECOND)
    batch = reader.poll(3)
    assert batch.schema == rate(clock).schema
    assert batch["timestamp"].cast(pl.Int64).to_list() == [SECOND, SECOND + SECOND // 2, 2 * SECOND]


def test_a_bound_makes_it_end() -> None:
    clock = ManualClock()
    source = rate(clock, rows_per_second=1_000_000, rows=2_500)
    assert source.bounded
    assert source.total_rows() == 2_500
    reader = source.open("rate-0")
    clock.advance(SECOND)
    assert reader.poll(10_000).height == 2_500
    with pytest.raises(EndOfStream):
        reader.poll(1)
    with pytest.raises(EndOfStream):
        rate(clock, rows=0).open("rate-0").poll(1)


@given(
    splits=st.integers(1, 5),
    rows=st.integers(0, 30),
    seed=st.none() | st.integers(-5, 5),
    cuts=st.lists(st.integers(1, 5)),
)
def test_splits_share_the_rows_and_resume_anywhere(splits: int, rows: int, seed: int | None, cuts: list[int]) -> None:
    clock = ManualClock()

    def make(n: int = splits) -> Source:
        return rate(clock, rows_per_second=100, rows=rows, splits=n, seed=seed)

    shared, single = make(), make(1)
    assert len(shared.splits()) == splits
    readers = [shared.open(split) for split in shared.splits()]
    whole = single.open("rate-0")
    clock.advance(SECOND)
    parts = [reader.poll(1_000) for reader in readers if rows > readers.index(reader)]
    expected = whole.poll(1_000) if rows else pl.DataFrame(schema=single.schema)
    assert pl.concat(parts or [expected]).sort("timestamp").equals(expected)
    assert all(part.height in (rows // splits, rows // splits + 1) for part in parts)


@given(cuts=st.lists(st.integers(1, 5), max_size=10), seed=st.none() | st.integers(0, 3))
def test_any_resume_gives_the_same_rows(cuts: list[int], seed: int | None) -> None:
    clock = ManualClock()
    source = rate(clock, rows_per_second=1_000, rows=20, splits=2, seed=seed)
    source.open("rate-1")
    clock.advance(SECOND)
    whole = read(source, "rate-1", cuts)
    assert whole.height == 10
    assert read_resumed(lambda: source, "rate-1", cuts)[0].equals(whole)


def test_a_seed_scatters_the_values_the_same_each_time() -> None:
    def values(seed: int) -> list[int]:
        clock = ManualClock()
        source = rate(clock, rows_per_second=1_000, rows=1_000, seed=seed)
        reader = source.open("rate-0")
        clock.advance(SECOND)
        return reader.poll(1_000)["value"].to_list()

    assert values(1) == values(1) != values(2)
    assert len(set(values(1))) > 990
    assert min(values(1)) >= 0
