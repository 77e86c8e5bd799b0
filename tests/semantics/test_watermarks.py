"""What a watermark says, of one input and of several, and when an input is idle."""

from __future__ import annotations

import polars as pl

import dataflare_nb as flare
from dataflare_nb import testing

from .helpers import at, bounds, live, seconds

SCHEMA = at(0.0).schema


def tens(stream: flare.Stream, **options: object) -> flare.Stream:
    return stream.event_time("t", **options).window(flare.tumbling("10s")).agg(n=pl.len())


def test_a_watermark_is_the_largest_time_seen_less_the_allowed_disorder():
    feed = testing.Feed(SCHEMA)
    with live(tens(feed.stream, max_out_of_orderness="3s")) as job:
        feed.give(at(5, 12.9)).settle()
        assert job.result().is_empty()
        feed.give(at(13)).settle()
        assert bounds(job.result()) == [(0, 10)]


def test_a_watermark_never_goes_back():
    feed = testing.Feed(SCHEMA)
    with live(tens(feed.stream)) as job:
        feed.give(at(25)).give(at(2)).settle()
        assert job.result().is_empty()
        assert job.metrics()["late"].sum() == 1
        watermark = job.metrics().filter(pl.col("stage").str.starts_with("agg"))["watermark"].item()
        assert watermark == at(25)["t"].item()


def test_a_row_at_the_watermark_is_not_late():
    feed = testing.Feed(SCHEMA)
    with live(tens(feed.stream)) as job:
        feed.give(at(10)).give(at(10)).give(at(20)).settle()
        assert job.result()["n"].to_list() == [2]
        assert job.metrics()["late"].sum() == 0


def test_a_source_is_as_far_as_the_split_furthest_behind():
    feed = testing.Feed(SCHEMA, splits=["fast", "slow"])
    with live(tens(feed.stream, idle_timeout=None)) as job:
        feed.give(at(100), split="fast").give(at(9), split="slow").settle()
        assert job.result().is_empty()
        feed.give(at(10), split="slow").settle()
        assert bounds(job.result()) == [(0, 10)]


def test_nothing_is_known_of_time_until_every_split_has_spoken():
    feed = testing.Feed(SCHEMA, splits=["loud", "silent"])
    with live(tens(feed.stream, idle_timeout=None)) as job:
        feed.give(at(5, 100), split="loud").settle()
        assert job.result().is_empty()
        feed.give(at(50), split="silent").settle()
        assert bounds(job.result()) == [(0, 10)]


def test_disorder_is_counted_for_each_split_by_itself():
    frames = [at(*range(start, start + 100)) for start in (0, 1_000, 5_000)]
    stream = flare.from_frames(frames).event_time("t", watermark_every=7).window(flare.tumbling("10s"))
    out = flare.run(stream.agg(n=pl.len())).wait(60).result()
    assert out["n"].to_list() == [10] * 30
    assert seconds(out) == sorted(seconds(out))


def test_of_several_inputs_the_one_furthest_behind_decides():
    left, right = testing.Feed(SCHEMA), testing.Feed(SCHEMA)
    both = left.stream.event_time("t", idle_timeout=None).union(right.stream.event_time("t", idle_timeout=None))
    with live(both.window(flare.tumbling("10s")).agg(n=pl.len())) as job:
        left.give(at(5, 40)).settle()
        right.settle()
        assert job.result().is_empty()
        right.give(at(12)).settle()
        assert bounds(job.result()) == [(0, 10)]
        right.give(at(100)).settle()
        assert bounds(job.result()) == [(0, 10), (10, 20)]


def test_an_input_that_has_ended_holds_nothing_back():
    feed = testing.Feed(SCHEMA, splits=["short", "long"])
    with live(tens(feed.stream, idle_timeout=None)) as job:
        feed.give(at(5), split="short").give(at(40), split="long").settle()
        assert job.result().is_empty()
        feed.end("short").settle()
        assert bounds(job.result()) == [(0, 10)]


def test_an_idle_split_holds_nothing_back():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA, splits=["busy", "quiet"])
    with live(tens(feed.stream, idle_timeout="5s"), clock) as job:
        feed.give(at(1), split="quiet").give(at(5), split="busy").settle()
        clock.advance(4_999_999)
        feed.give(at(30), split="busy").settle()
        assert job.result().is_empty()
        clock.advance(1)
        feed.settle()
        assert bounds(job.result()) == [(0, 10)]


def test_a_split_that_wakes_up_counts_again():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA, splits=["busy", "quiet"])
    with live(tens(feed.stream, idle_timeout="5s"), clock) as job:
        feed.give(at(1), split="quiet").give(at(5), split="busy").settle()
        clock.advance(5_000_000)
        feed.settle().give(at(30), split="busy").settle()
        assert bounds(job.result()) == [(0, 10)]
        feed.give(at(31), split="quiet").settle().give(at(55), split="busy").settle()
        assert bounds(job.result()) == [(0, 10)], "the window from 30 on waits for the split that is awake again"
        feed.give(at(47), split="quiet").settle()
        assert bounds(job.result()) == [(0, 10), (30, 40)]


def test_when_all_inputs_are_idle_time_stands_still():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA)
    with live(tens(feed.stream, idle_timeout="1s"), clock) as job:
        feed.give(at(5)).settle()
        clock.advance(3_600_000_000)
        feed.settle()
        assert job.result().is_empty()
        feed.give(at(6, 10)).settle()
        assert job.result()["n"].to_list() == [2]


def test_an_input_is_idle_after_five_seconds_by_default_when_live_and_never_when_bounded():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA, splits=["busy", "quiet"])
    with live(tens(feed.stream), clock) as job:
        feed.give(at(5, 30), split="busy").settle()
        clock.advance(4_999_999)
        feed.settle()
        assert job.result().is_empty()
        clock.advance(1)
        feed.settle()
        assert bounds(job.result()) == [(0, 10)]
    bounded = testing.script(splits={"a": [at(5, 30)], "b": [testing.wait("1h"), at(4)]}, bounded=True)
    job = tens(bounded).run(workers=1, clock=(clock := testing.clock()))
    clock.advance(3_600_000_000)
    assert job.wait(60).result()["n"].to_list() == [2, 1]


def test_an_idle_input_is_visible_as_a_watermark_that_moves_without_it():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA, splits=["busy", "quiet"])
    stream = tens(feed.stream, idle_timeout="2s").named("windows")
    with live(stream, clock) as job:
        feed.give(at(7), split="busy").settle()
        assert job.metrics().filter(stage="windows")["watermark"].item() is None
        clock.advance(2_000_000)
        feed.settle().give(at(8), split="busy").settle()
        assert job.metrics().filter(stage="windows")["watermark"].item() == at(8)["t"].item()


def test_the_end_of_bounded_input_fires_everything():
    day = flare.tumbling("1d"), flare.hopping("1d", every="12h"), flare.session("1d")
    for window in (*day, flare.count(10), flare.global_window()):
        out = flare.from_frame(at(1, 2, 3)).event_time("t").window(window).agg(n=pl.len()).collect()
        assert set(out["n"]) == {3}
