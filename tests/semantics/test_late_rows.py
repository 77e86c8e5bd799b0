"""Rows behind the watermark: a window that is kept is told again, and what is later goes to `late`."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing

from .helpers import at, counted, live, seconds, told

SCHEMA = at(0.0, k=["a"]).schema


def both(stream: flare.Stream) -> tuple[pl.DataFrame, pl.DataFrame, flare.Job]:
    """Run to the end and return the results, the late rows, and the job."""
    job = flare.run(stream, stream.late, workers=1, latency="throughput").wait(60)
    return job.result(stream.ref), job.result(stream.late.ref), job


def test_allowed_lateness_is_none_by_default():
    out, late, _ = both(told(at(1, 10, 9)).window(flare.tumbling("10s")).agg(n=pl.len()))
    assert counted(out) == {(0, 10): 1, (10, 20): 1}
    assert seconds(late, "t") == [9]


def test_a_row_behind_the_watermark_whose_window_is_open_is_not_late():
    out, late, _ = both(told(at(9, 3, 10)).window(flare.tumbling("10s")).agg(n=pl.len()))
    assert counted(out) == {(0, 10): 2, (10, 20): 1}
    assert late.is_empty()


def test_a_late_row_updates_its_window_and_emits_it_again_accumulated():
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t").window(flare.tumbling("10s"), allowed_lateness="5s").agg(n=pl.len())
    with live(stream) as job:
        feed.give(at(1, 10, k=["a", "a"])).settle()
        feed.give(at(2, k=["a"])).settle()
        feed.give(at(3, 4, k=["a", "b"])).settle()
        said = job.result().select("pane", "revision", "n").rows()
        assert said == [("on_time", 0, 1), ("late", 1, 2), ("late", 2, 4)]


def test_a_window_is_kept_until_the_watermark_reaches_its_end_and_the_lateness():
    for second, kept in ((14.999999, True), (15, False)):
        stream = told(at(1, second, 2)).window(flare.tumbling("10s"), allowed_lateness="5s").agg(n=pl.len())
        out, late, _ = both(stream)
        assert ("late" in out["pane"].to_list()) is kept
        assert late.height == (not kept)


def test_a_late_row_may_be_the_first_of_its_window():
    out, late, _ = both(told(at(12, 3)).window(flare.tumbling("10s"), allowed_lateness="5s").agg(n=pl.len()))
    assert out.select("pane", "revision", "n").rows() == [("late", 0, 1), ("on_time", 0, 1)]
    assert late.is_empty()


def test_only_the_keys_that_late_rows_have_are_told_again():
    frame = at(1, 2, 11, 3, k=["a", "b", "a", "b"])
    out, _, _ = both(told(frame).key_by("k").window(flare.tumbling("10s"), allowed_lateness="5s").agg(n=pl.len()))
    assert out.filter(pl.col("pane") == "late").select("k", "revision", "n").rows() == [("b", 1, 2)]


def test_a_late_row_of_hopping_windows_updates_those_that_are_kept():
    stream = told(at(7, 16, 8)).window(flare.hopping("10s", every="5s"), allowed_lateness="3s").agg(n=pl.len())
    out, late, _ = both(stream)
    assert late.is_empty()
    assert out.filter(pl.col("pane") == "late").select("n", "revision").rows() == [(2, 1)]
    assert seconds(out.filter(pl.col("pane") == "late")) == [5]


def test_a_row_that_missed_some_of_its_windows_is_in_the_others_and_counted():
    stream = told(at(7, 12, 8)).window(flare.hopping("10s", every="5s")).agg(n=pl.len())
    out, late, job = both(stream)
    assert counted(out)[(5, 15)] == 3
    assert counted(out)[(0, 10)] == 1
    assert late.is_empty()
    assert job.read().nodes[stream.ref].counters == {"partly_late_rows": 1}


def test_later_than_that_goes_to_late_with_all_columns_the_window_missed_and_how_late():
    frame = at(1, 31, 4, k=["a", "b", "c"], v=[1, 2, 3])
    stream = told(frame).key_by("k").window(flare.tumbling("10s"), allowed_lateness="5s").agg(v=pl.col("v").sum())
    _, late, job = both(stream)
    assert late.columns == ["t", "k", "v", "missed_start", "missed_end", "late_by"]
    assert late.select("k", "v", "late_by").rows() == [("c", 3, timedelta(seconds=27))]
    assert (seconds(late, "missed_start"), seconds(late, "missed_end")) == ([0], [10])
    assert job.metrics().filter(stage=stream.ref)["late"].item() == 1


def test_columns_that_the_aggregation_does_not_need_are_in_late_all_the_same():
    frame = at(1, 31, 4, note=["x", "y", "z"])
    _, late, _ = both(told(frame).window(flare.tumbling("10s")).agg(n=pl.len()))
    assert late["note"].to_list() == ["z"]


def test_late_rows_are_counted_when_nobody_reads_them():
    stream = told(at(1, 31, 4, 5)).window(flare.tumbling("10s")).agg(n=pl.len())
    job = stream.run(workers=1).wait(60)
    ledger = job.ledger().filter(stage=stream.ref)
    assert ledger["late"].item() == 2
    assert ledger["balanced"].item()


@pytest.mark.parametrize("window", [flare.tumbling("10s"), flare.hopping("10s", every="5s"), flare.session("10s")])
@pytest.mark.slow
def test_no_row_is_lost_however_late(window):
    frame = at(*[(n * 37) % 101 for n in range(70)])
    out, late, job = both(told(frame).window(window).agg(n=pl.len()))
    assert late.height > 0
    assert job.ledger()["balanced"].all()
    if not isinstance(window, type(flare.hopping("10s", every="5s"))):
        assert out["n"].sum() + late.height == 70
