"""What a job says of its windows: open, fired, kept, missed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.errors import BadOption, UnknownStage, WrongType

SCHEMA = {"t": pl.Datetime("us"), "k": pl.String, "j": pl.Int64}


def at(*minutes: float, k: str | None = "a", j: int = 1) -> pl.DataFrame:
    times = [datetime(2024, 5, 1, 12) + timedelta(minutes=m) for m in minutes]
    return pl.DataFrame({"t": times, "k": k, "j": j}, schema=SCHEMA)


@pytest.fixture
def feed():
    yield testing.Feed(SCHEMA)
    flare.stop_all()


def running(stream: flare.Stream) -> flare.Job:
    return stream.run(name="explained", workers=1, clock=testing.clock())


def windows(feed: testing.Feed, **options: object) -> flare.Stream:
    timed = feed.stream.event_time("t", idle_timeout=None)
    return timed.key_by("k").window(flare.tumbling("10m"), **options).agg(n=pl.len()).named("w")


def test_a_window_is_open_then_fired(feed):
    job = running(windows(feed))
    report = job.explain_window()
    assert report.watermark is None
    assert "not known yet: not every input has spoken" in repr(report)
    feed.give(at(1, 2)).settle()
    report = job.explain_window(key="a", at="2024-05-01 12:05")
    assert report.open["rows"].to_list() == [2]
    assert report.asked == "key='a' at=2024-05-01 12:05"
    assert "fires when the watermark has moved on by 8 min" in repr(report)
    feed.give(at(11)).settle()
    report = job.explain_window(key="a", at=datetime(2024, 5, 1, 12, 5))
    assert report.open.is_empty()
    assert report.fired["n"].to_list() == [2]
    assert "fired: k=a" in repr(report)
    assert job.explain_window(at="2024-05-01 12:15").open["rows"].to_list() == [1]


@pytest.mark.parametrize(
    ("zone", "minute", "left"),
    [("America/New_York", "2024-05-01 12:01", "9 min"), ("Europe/Berlin", "2024-10-27 01:55", "2.1 h")],
)
def test_the_watermark_is_told_in_the_zone_of_the_times_and_measured_across_changes_of_the_clock(zone, minute, left):
    feed = testing.Feed({"t": pl.Datetime("us", zone)})
    size = "10m" if left == "9 min" else "3h"
    job = feed.stream.event_time("t").window(flare.tumbling(size)).agg(n=pl.len()).run("zoned", workers=1)
    moment = pl.Series("t", [minute]).str.to_datetime(time_unit="us").dt.replace_time_zone(zone)
    feed.give(moment.to_frame()).settle()
    report = job.explain_window(at=minute)
    assert str(report.watermark) == f"{moment[0]}"
    assert f"fires when the watermark has moved on by {left}" in repr(report)
    flare.stop_all()


def test_a_window_that_is_kept_for_late_rows_and_what_missed_it_are_told(feed):
    job = running(windows(feed, allowed_lateness="5m"))
    feed.give(at(1, 12)).settle()
    report = job.explain_window(at=datetime(2024, 5, 1, 12))
    assert "has fired, and is kept for late rows" in repr(report)
    feed.give(at(30)).give(at(2, 3)).settle()
    report = job.explain_window(key="a", at=datetime(2024, 5, 1, 12))
    assert report.late == 2
    assert "late: 2 of the newest late rows missed it" in repr(report)
    assert job.explain_window(key="b").late == 0


def test_at_the_end_everything_has_fired(feed):
    job = running(windows(feed))
    feed.give(at(1)).settle()
    job.drain(60)
    assert "at the end of time; everything has fired" in repr(job.explain_window())


def test_many_open_windows_are_told_in_part(feed):
    job = running(windows(feed))
    feed.give(at(*range(0, 10))).settle()
    for key in "bcdefghijklmn":
        feed.give(at(5, k=key))
    feed.settle()
    said = repr(job.explain_window())
    assert said.count("\n  open: ") == 10
    assert "and 4 more open windows" in said


def test_several_keys_are_given_as_a_tuple_and_none_is_a_key(feed):
    timed = feed.stream.event_time("t", idle_timeout=None).key_by("k", "j")
    job = running(timed.window(flare.session("5m")).agg(n=pl.len()).named("s"))
    feed.give(at(0, 1, k=None, j=7)).give(at(1, k="a", j=7)).settle()
    report = job.explain_window(key=(None, 7))
    assert report.open["rows"].to_list() == [2]
    assert report.open["window_end"].to_list() == [datetime(2024, 5, 1, 12, 6)]
    with pytest.raises(WrongType, match="keyed by k, j; give a tuple of 2"):
        job.explain_window(key=7)


def test_a_window_by_count_has_no_time_to_ask_for(feed):
    job = running(feed.stream.key_by("k").window(flare.count(3)).agg(n=pl.len()).named("c"))
    feed.give(at(0, 1, 2, 3)).settle()
    report = job.explain_window(key="a")
    assert report.open["rows"].to_list() == [1]
    assert report.fired["n"].to_list() == [3]
    with pytest.raises(BadOption, match=r"count\(3\) has no times; leave it out"):
        job.explain_window(key="a", at=datetime(2024, 5, 1))


@pytest.mark.parametrize(
    "moment",
    [
        "2024-05-01 14:05",
        datetime(2024, 5, 1, 14, 5),
        datetime(2024, 5, 1, 12, 5, tzinfo=UTC),
        datetime(2024, 5, 1, 8, 5, tzinfo=ZoneInfo("America/New_York")),
    ],
)
def test_the_time_asked_for_is_that_of_the_streams_zone(moment):
    feed = testing.Feed({"t": pl.Datetime("us", "Europe/Berlin")})
    stream = feed.stream.event_time("t").window(flare.tumbling("10m")).agg(n=pl.len())
    job = running(stream)
    times = at(1, 12)["t"].dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    feed.give(times.to_frame()).settle()
    assert job.explain_window(at=moment).fired["n"].to_list() == [1]
    job.stop()


def test_a_day_is_its_first_moment_and_other_things_are_no_time(feed):
    timed = feed.stream.event_time("t", idle_timeout=None)
    job = running(timed.window(flare.tumbling("1d")).agg(n=pl.len()))
    feed.give(at(1)).settle()
    assert job.explain_window(at=date(2024, 5, 1)).open.height == 1
    assert job.explain_window(at=datetime(2024, 5, 1, 12, tzinfo=UTC)).open.height == 1
    for wrong in (12, "noon", "2024-13-01"):
        with pytest.raises(WrongType, match="is not a time; write it as"):
            job.explain_window(at=wrong)


def test_the_stage_is_named_where_there_are_several(feed):
    stream = feed.stream.event_time("t", idle_timeout=None)
    job = flare.run(
        windows(feed), stream.window(flare.tumbling("1h")).agg(n=pl.len()).named("hourly"), name="two", workers=1
    )
    with pytest.raises(BadOption, match="several stages have windows; say which: stage='w', of w, hourly"):
        job.explain_window()
    assert job.explain_window(stage="hourly").stage == "hourly"
    with pytest.raises(UnknownStage, match="no stage `monthly` with windows; there are w, hourly"):
        job.explain_window(stage="monthly")
    job.stop()
    plain = feed.stream.run(name="plain")
    with pytest.raises(UnknownStage, match="job plain has no stage with windows"):
        plain.explain_window()
    plain.stop()
