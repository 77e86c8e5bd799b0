"""Who says nothing holds nobody back, and a time that cannot be is no time."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing

from .helpers import T, at, live

SECOND = 1_000_000


def panes(frame: pl.DataFrame) -> list[tuple[str, int]]:
    return list(zip(frame["pane"], frame["n"], strict=True))


def test_every_session_has_an_on_time_result_whatever_was_told_early():
    times = pl.DataFrame({"t": [0, 1, 2, 100, 101, 102, 300]})
    stream = flare.from_frame(times).event_time("t", unit="s", watermark_every=1)
    for many in (1, 2, 3):
        windows = stream.window(flare.session("10s"), early=flare.after_count(many)).agg(n=pl.len()).collect()
        on_time = windows.filter(pl.col("pane") == "on_time")
        assert sorted(on_time["n"]) == [1, 3, 3], many


def test_an_early_tick_does_not_hold_back_a_late_revision():
    clock = testing.clock()
    feed = testing.Feed({"t": T})
    stream = feed.stream.event_time("t").window(flare.session("10s"), allowed_lateness="1h", early=flare.every("1s"))
    with live(stream.agg(n=pl.len()), clock) as job:
        feed.give(at(0, 100)).settle()
        assert ("on_time", 1) in panes(job.result())
        feed.give(at(5)).settle()
        clock.advance(2 * SECOND)
        feed.settle()
        feed.give(at(101)).settle()
        assert ("late", 2) in panes(job.result())


def test_a_silent_branch_of_a_union_holds_nothing_back_once_it_is_idle():
    clock = testing.clock()
    silent, speaking = testing.Feed({"t": T}), testing.Feed({"t": T})
    stream = silent.stream.event_time("t", idle_timeout="1s").union(speaking.stream.event_time("t", idle_timeout="1s"))
    with live(stream.window(flare.tumbling("10s")).agg(n=pl.len()), clock) as job:
        silent.give(at(0)).settle()
        for second in range(5, 60, 5):
            speaking.give(at(second)).settle()
            clock.advance(SECOND // 2)
        speaking.settle()
        # All but the window that the speaking branch is in.
        assert job.result()["n"].sum() >= 9


def test_a_watched_folder_without_files_is_idle(tmp_path):
    clock = testing.clock()
    empty = flare.read_csv(tmp_path, watch=True, schema={"t": T})
    speaking = testing.Feed({"t": T})
    stream = empty.union(speaking.stream).event_time("t", idle_timeout="1s").window(flare.tumbling("10s"))
    with live(stream.agg(n=pl.len()), clock) as job:
        speaking.give(at(0)).settle()
        for second in range(5, 60, 5):
            clock.advance(SECOND // 2)
            speaking.give(at(second)).settle()
        assert job.result()["n"].sum() >= 8


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (pl.Series([0, 2**62]).cast(pl.Datetime("us")), None),
        (pl.Series([0, -(2**62)]).cast(pl.Datetime("us")), None),
        (pl.Series([0, 2**62]).cast(pl.Datetime("ms")), None),
        (pl.Series([0, 2**31 - 1], dtype=pl.Int32).cast(pl.Date), None),
        (pl.Series([0, 1_700_000_000_000_000_000]), "s"),
        (pl.Series([0, 2**64 - 1], dtype=pl.UInt64), "us"),
    ],
)
def test_times_out_of_range_are_invalid_and_not_lost(times, unit):
    stream = flare.from_frame(pl.DataFrame({"t": times})).event_time("t", unit=unit)
    windows = stream.window(flare.tumbling("1s")).agg(n=pl.len())
    job = flare.run(windows.named("w"), windows.invalid, name="range").wait(60)
    assert job.result("w")["n"].to_list() == [1]
    assert sum(buffer.height for ref, buffer in job._results.items() if ref.endswith(".invalid")) == 1
    assert job.ledger()["balanced"].all()


@pytest.mark.parametrize("moment", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)])
def test_every_time_that_python_knows_is_in_range(moment):
    frame = pl.DataFrame({"t": [moment]})
    windows = flare.from_frame(frame).event_time("t").window(flare.tumbling("1h")).agg(n=pl.len()).collect()
    assert windows["n"].to_list() == [1]
    assert windows["window_start"][0] == moment - timedelta(minutes=moment.minute, seconds=moment.second)


def test_a_source_that_cannot_be_opened_is_the_one_that_is_named(tmp_path):
    pl.DataFrame({"a": range(10)}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"a": range(10)}).write_parquet(tmp_path / "b.parquet")
    stream = flare.read_parquet(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(flare.DataflareError, match=r"b\.parquet") as caught:
        stream.collect()
    assert "a.parquet" not in str(caught.value)


def test_numbers_of_a_job_do_not_need_its_files_any_more(tmp_path):
    file = tmp_path / "a.parquet"
    pl.DataFrame({"a": range(10)}).write_parquet(file)
    job = flare.read_parquet(file).run().wait(60)
    file.unlink()
    assert job.metrics().height == 2
    assert job.read().progress == 1.0
