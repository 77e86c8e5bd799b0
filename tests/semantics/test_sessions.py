"""Sessions: rows of one key that follow each other closely."""

from __future__ import annotations

import polars as pl

import dataflare_nb as flare
from dataflare_nb import testing

from .helpers import at, bounds, counted, live, told

SCHEMA = at(0.0, k=["a"]).schema


def sessions(frame: pl.DataFrame, gap: str = "10s", slack: str = "999d") -> pl.DataFrame:
    return flare.from_frame(frame).event_time("t", slack).window(flare.session(gap)).agg(n=pl.len()).collect()


def test_an_exact_gap_merges():
    assert counted(sessions(at(0, 10))) == {(0, 20): 2}


def test_a_gap_longer_by_a_microsecond_does_not_merge():
    assert counted(sessions(at(0, 10.000001))) == {(0, 10): 1, (10.000001, 20.000001): 1}


def test_a_session_starts_with_its_first_event_and_ends_a_gap_after_its_last():
    assert counted(sessions(at(3, 8, 12))) == {(3, 22): 3}


def test_rows_in_any_order_make_the_same_sessions():
    assert counted(sessions(at(21, 0, 30, 9, 18))) == {(0, 40): 5}
    assert counted(sessions(at(21, 0, 30, 9))) == {(0, 19): 2, (21, 40): 2}


def test_a_row_between_two_sessions_makes_one_of_them():
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t", "30s").key_by("k").window(flare.session("10s")).agg(n=pl.len())
    with live(stream) as job:
        feed.give(at(0, 20, k=["a", "a"])).settle().give(at(10, k=["a"])).settle().give(at(61, k=["a"])).settle()
        assert counted(job.result()) == {(0, 30): 3}


def test_a_session_fires_when_the_watermark_is_past_its_end_and_not_before():
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t").key_by("k").window(flare.session("10s")).agg(n=pl.len())
    with live(stream) as job:
        feed.give(at(0, 5, k=["a", "a"])).give(at(15, k=["b"])).settle()
        assert job.result().is_empty()
        feed.give(at(15.000001, k=["b"])).settle()
        assert job.result().select("k", "n").rows() == [("a", 2)]


def test_a_row_at_the_end_of_a_session_belongs_to_it_when_time_is_told_just_before():
    frame = at(0, 10, 10, k=["a", "b", "a"])
    stream = told(frame).key_by("k").window(flare.session("10s")).agg(n=pl.len())
    assert counted(stream.collect().filter(pl.col("k") == "a")) == {(0, 20): 2}


def test_a_late_row_at_the_end_of_a_session_that_is_kept_extends_it():
    frame = at(0, 30, 10, k=["a", "b", "a"])
    stream = told(frame).key_by("k").window(flare.session("10s"), allowed_lateness="20s").agg(n=pl.len())
    out = stream.collect().filter(pl.col("k") == "a")
    assert out.select("pane", "revision", "n").rows() == [("on_time", 0, 1), ("late", 1, 2)]
    assert bounds(out) == [(0, 10), (0, 20)]


def test_each_key_has_its_own_sessions():
    frame = at(0, 6, 12, 18, k=["a", "b", "a", None])
    out = flare.from_frame(frame).event_time("t").key_by("k").window(flare.session("7s")).agg(n=pl.len()).collect()
    assert out["n"].to_list() == [1, 1, 1, 1]
    assert bounds(out.filter(pl.col("k") == "a")) == [(0, 7), (12, 19)]


def test_sessions_before_1970_are_like_any_other():
    assert counted(sessions(at(-5, -12, 3))) == {(-12, 13): 3}


def test_a_late_row_extends_a_session_that_is_kept_and_emits_it_again():
    frame = at(0, 11, 9, 40)
    stream = told(frame).window(flare.session("10s"), allowed_lateness="20s")
    out = stream.agg(n=pl.len()).collect()
    assert out.filter(pl.col("window_start") == at(0)["t"].item()).select("pane", "revision", "n").rows()[-1] == (
        "on_time",
        1,
        3,
    )


def test_a_late_row_that_no_kept_session_takes_goes_to_the_side_output():
    stream = told(at(0, 100, 50)).window(flare.session("10s")).agg(n=pl.len())
    job = flare.run(stream, stream.late, workers=1).wait(60)
    late = job.result(stream.late.ref)
    assert bounds(late.rename({"missed_start": "window_start", "missed_end": "window_end"})) == [(50, 60)]
    assert counted(job.result(stream.ref)) == {(0, 10): 1, (100, 110): 1}
