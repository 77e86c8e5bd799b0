"""More live splits than are read at the same time."""

from __future__ import annotations

import time

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.runtime.source import MOST_OPEN, SHORT_STAY

from .helpers import at, live

SCHEMA = at(0.0).schema
NAMES = [f"s{n:02}" for n in range(3 * MOST_OPEN + 2)]


def tens(feed: testing.Feed, **options: object) -> flare.Stream:
    return feed.stream.event_time("t", **options).window(flare.tumbling("10s")).agg(n=pl.len())


def test_every_split_is_read_and_holds_the_watermark():
    feed = testing.Feed(SCHEMA, splits=NAMES)
    with live(tens(feed, idle_timeout=None)) as job:
        for number, name in enumerate(NAMES):
            feed.give(at(number % 9), split=name)
        feed.settle(30)
        for name in NAMES[1:]:
            feed.give(at(15), split=name)
        feed.settle(30)
        assert job.result().is_empty()
        feed.give(at(15), split=NAMES[0]).settle(30)
        assert job.result()["n"].to_list() == [len(NAMES)]


def test_every_split_is_idle_after_its_time():
    feed = testing.Feed(SCHEMA, splits=NAMES)
    clock = testing.clock()
    with live(tens(feed, idle_timeout="1s"), clock) as job:
        feed.give(at(5), split=NAMES[0]).give(at(15), split=NAMES[-1]).settle(30)
        assert job.result().is_empty()
        for _ in range(2):
            clock.advance(600_000)
            feed.give(at(16), split=NAMES[-1]).settle(30)
        assert job.result()["n"].to_list() == [1]


def test_a_split_that_always_has_rows_makes_room_in_time():
    feed = testing.Feed(SCHEMA, splits=NAMES[: MOST_OPEN + 1])
    clock = testing.clock()
    with live(feed.stream.event_time("t", idle_timeout=None), clock) as job:
        feed.give(at(-1), split=NAMES[MOST_OPEN])
        deadline = time.monotonic() + 30
        while -1 not in (job.result()["t"].dt.epoch("s").to_list()):
            assert time.monotonic() < deadline
            for name in NAMES[:MOST_OPEN]:
                feed.give(at(1), split=name)
            clock.advance(SHORT_STAY // 10)


@pytest.mark.parametrize("splits", [3, 2 * MOST_OPEN + 1])
@pytest.mark.parametrize("timed", [False, True])
def test_no_row_is_read_twice_or_left_out_when_splits_change_places(splits, timed):
    clock = testing.clock()
    stream = flare.rate(20_000.0, splits=splits)
    with live(stream.event_time("timestamp") if timed else stream, clock) as job:
        deadline = time.monotonic() + 30
        while (job.result()["value"] % splits).n_unique() < splits:
            assert time.monotonic() < deadline
            clock.advance(SHORT_STAY // 5)
            time.sleep(0.01)
    values = job.result()["value"]
    for split in range(splits):
        mine = values.filter(values % splits == split)
        assert mine.to_list() == list(range(split, split + splits * mine.len(), splits))
