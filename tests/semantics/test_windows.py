"""Where windows lie and when they fire."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_nb as flare
from dataflare_nb import testing

from .helpers import at, bounds, counted, live, on, seconds, told

SCHEMA = at(0.0).schema


def windows(frame: pl.DataFrame, window, *, zone: str | None = None) -> pl.DataFrame:
    stream = flare.from_frame(frame).event_time("t", max_out_of_orderness="999d", time_zone=zone)
    return stream.window(window).agg(n=pl.len()).collect()


def test_a_window_fires_as_soon_as_the_watermark_reaches_its_end():
    feed = testing.Feed(SCHEMA)
    with live(feed.stream.event_time("t").window(flare.tumbling("10s")).agg(n=pl.len())) as job:
        feed.give(at(1, 9.999999)).settle()
        assert job.result().is_empty()
        feed.give(at(10)).settle()
        assert counted(job.result()) == {(0, 10): 2}


def test_a_row_exactly_at_the_end_belongs_to_the_next_window():
    out = windows(at(9.999999, 10, 19.999999, 20), flare.tumbling("10s"))
    assert counted(out) == {(0, 10): 1, (10, 20): 2, (20, 30): 1}


def test_no_processing_time_fires_a_window():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA)
    with live(feed.stream.event_time("t").window(flare.tumbling("10s")).agg(n=pl.len()), clock) as job:
        feed.give(at(1)).settle()
        clock.advance(10**12)
        feed.settle()
        assert job.result().is_empty()


def test_a_window_is_given_once():
    out = told(at(1, 12, 13, 25, 26, 27)).window(flare.tumbling("10s")).agg(n=pl.len()).collect()
    assert counted(out) == {(0, 10): 1, (10, 20): 2, (20, 30): 3}
    assert out.height == 3


def test_a_window_without_rows_is_not_given():
    assert bounds(windows(at(5, 95), flare.tumbling("10s"))) == [(0, 10), (90, 100)]


def test_the_start_is_rounded_down_towards_minus_infinity():
    out = windows(at(-0.000001, -10, -10.000001, 0), flare.tumbling("10s"))
    assert counted(out) == {(-20, -10): 1, (-10, 0): 2, (0, 10): 1}


def test_an_offset_shifts_the_starts():
    assert counted(windows(at(2.999999, 3, -7, -7.000001), flare.tumbling("10s", offset="3s"))) == {
        (-17, -7): 1,
        (-7, 3): 2,
        (3, 13): 1,
    }
    days = windows(on("2024-01-01 04:59", "2024-01-01 05:00"), flare.tumbling("1d", offset="5h"))
    assert days["window_start"].to_list() == [datetime(2023, 12, 31, 5), datetime(2024, 1, 1, 5)]


def test_days_follow_the_time_zone_over_daylight_saving():
    # The clocks go forward in the night to the 31st: that day has 23 hours.
    frame = on("2024-03-30 22:59", "2024-03-30 23:00", "2024-03-31 21:59", "2024-03-31 22:00")
    frame = frame.with_columns(pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin"))
    out = windows(frame, flare.tumbling("1d"))
    assert out["n"].to_list() == [1, 2, 1]
    assert out["window_start"].dt.hour().to_list() == [0, 0, 0]
    assert ((out["window_end"] - out["window_start"]).dt.total_hours()).to_list() == [24, 23, 24]
    assert out["window_start"].dtype == pl.Datetime("us", "Europe/Berlin")


def test_a_day_of_twenty_five_hours_is_one_window():
    frame = on("2024-11-03 04:00", "2024-11-04 04:59:59", "2024-11-04 05:00")
    frame = frame.with_columns(pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"))
    out = windows(frame, flare.tumbling("1d"))
    assert out["n"].to_list() == [2, 1]
    assert (out["window_end"] - out["window_start"]).dt.total_hours().to_list() == [25, 24]


def test_a_day_without_a_midnight_is_a_day_like_any_other():
    # In Cairo the clock goes from 23:59:59 on the 25th to 01:00 on the 26th.
    frame = on("2024-04-25 23:30", "2024-04-26 01:00", "2024-04-26 23:30")
    out = windows(frame, flare.tumbling("1d"), zone="Africa/Cairo")
    assert out["n"].to_list() == [1, 2]
    assert out["window_start"].dt.hour().to_list() == [0, 1]
    assert (out["window_end"] - out["window_start"]).dt.total_hours().to_list() == [24, 23]


def test_an_offset_of_days_is_on_the_clock_on_the_wall():
    frame = on("2024-03-30 04:59", "2024-03-30 05:00", "2024-03-31 04:59", "2024-03-31 05:00", "2024-04-01 04:59")
    out = windows(frame, flare.tumbling("1d", offset="5h"), zone="Europe/Berlin")
    assert out["n"].to_list() == [1, 2, 2]
    assert out["window_start"].dt.hour().to_list() == [5, 5, 5]


def test_the_clock_jumps_over_windows_and_into_one():
    # The clock shows 03:00 after 01:59; windows of 25 minutes start at 01:40, 02:05, 02:30, 02:55 and 03:20.
    minutes = pl.datetime_range(datetime(2013, 3, 31, 1, 40), datetime(2013, 3, 31, 1, 59), "1m", eager=True)
    after = pl.datetime_range(datetime(2013, 3, 31, 3), datetime(2013, 3, 31, 3, 44), "1m", eager=True)
    out = windows(pl.DataFrame({"t": pl.concat([minutes, after])}), flare.tumbling("25m"), zone="Europe/Berlin")
    assert out["n"].to_list() == [20, 20, 25]
    assert [f"{start:%H:%M}" for start in out["window_start"]] == ["01:40", "03:00", "03:20"]
    assert [f"{end:%H:%M}" for end in out["window_end"]] == ["03:00", "03:20", "03:45"]


def test_times_that_are_shown_twice_are_in_the_window_that_was_open_when_the_clock_was_put_back():
    # From 02:00 to 03:00 the clock in Berlin shows all minutes twice.
    first, last = datetime(2013, 10, 26, 23, 40), datetime(2013, 10, 27, 2, 19)
    times = pl.datetime_range(first, last, "1m", time_zone="UTC", eager=True).dt.convert_time_zone("Europe/Berlin")
    out = windows(pl.DataFrame({"t": times}), flare.tumbling("25m"))
    assert out["n"].to_list() == [25, 25, 25, 85]
    assert [f"{start:%H:%M}" for start in out["window_start"]] == ["01:40", "02:05", "02:30", "02:55"]
    assert (out["window_end"][:-1] == out["window_start"][1:]).all()


@pytest.mark.parametrize("unit", ["1w", "1mo", "1q", "1y", "2mo"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York"])
def test_calendar_units_follow_truncate(unit, zone):
    frame = on("1969-12-31 23:59", "1970-01-01", "2023-12-31 23:30", "2024-01-01", "2024-02-29", "2024-03-31 02:00")
    if zone is not None:
        frame = frame.with_columns(pl.col("t").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    out = windows(frame, flare.tumbling(unit))
    expected = frame.group_by(window_start=pl.col("t").dt.truncate(unit)).agg(n=pl.len())
    testing.assert_same_rows(out.select("window_start", n=pl.col("n").cast(pl.UInt32)), expected)
    assert (out["window_end"] == out["window_start"].dt.offset_by(unit)).all()


def test_a_month_fires_at_its_end_and_not_before():
    feed = testing.Feed(SCHEMA)
    with live(feed.stream.event_time("t").window(flare.tumbling("1mo")).agg(n=pl.len())) as job:
        feed.give(on("2024-02-10", "2024-02-29 23:59:59.999999")).settle()
        assert job.result().is_empty()
        feed.give(on("2024-03-01")).settle()
        assert job.result()["n"].to_list() == [2]


def test_hopping_puts_a_row_into_every_window_that_covers_it():
    out = windows(at(7), flare.hopping("10s", every="5s"))
    assert bounds(out) == [(0, 10), (5, 15)]
    assert bounds(windows(at(10), flare.hopping("10s", every="5s"))) == [(5, 15), (10, 20)]
    assert bounds(windows(at(-1), flare.hopping("9s", every="4s", offset="1s"))) == [(-7, 2), (-3, 6)]


def test_hopping_fires_each_window_at_its_own_end():
    feed = testing.Feed(SCHEMA)
    with live(feed.stream.event_time("t").window(flare.hopping("10s", every="5s")).agg(n=pl.len())) as job:
        feed.give(at(7)).give(at(9.9)).settle()
        assert job.result().is_empty()
        feed.give(at(10)).settle()
        assert counted(job.result()) == {(0, 10): 2}
        feed.give(at(15)).settle()
        assert counted(job.result()) == {(0, 10): 2, (5, 15): 3}


def test_a_hop_longer_than_the_window_is_refused_with_the_reason():
    with pytest.raises(flare.errors.BadWindow, match="rows between two windows would be in none"):
        flare.hopping("5s", every="10s")


def test_hopping_as_long_as_its_hop_is_tumbling():
    frame = at(*range(-30, 50, 3))
    testing.assert_same_rows(windows(frame, flare.hopping("10s", every="10s")), windows(frame, flare.tumbling("10s")))


def test_count_gives_a_window_for_each_n_rows_of_a_key_in_the_order_they_arrive():
    frame = at(1, 9, 3, 4, 5, 6, 7, k=list("ababaaa"), v=range(7))
    out = told(frame).key_by("k").window(flare.count(2)).agg(v=pl.col("v").implode()).collect()
    assert sorted(zip(out["k"], out["v"].to_list(), strict=True)) == [
        ("a", [0, 2]),
        ("a", [4, 5]),
        ("a", [6]),
        ("b", [1, 3]),
    ]


def test_count_fires_when_it_is_full_and_not_before():
    feed = testing.Feed(SCHEMA)
    with live(feed.stream.window(flare.count(3)).agg(n=pl.len())) as job:
        feed.give(at(1, 2)).settle()
        assert job.result().is_empty()
        feed.give(at(3, 4)).settle()
        assert job.result()["n"].to_list() == [3]


def test_cumulative_grows_by_a_step_until_it_is_full():
    out = windows(at(1, 4, 16, 21), flare.cumulative("20s", step="5s"))
    assert counted(out) == {
        (0, 5): 2,
        (0, 10): 2,
        (0, 15): 2,
        (0, 20): 3,
        (20, 25): 1,
        (20, 30): 1,
        (20, 35): 1,
        (20, 40): 1,
    }


def test_a_global_window_gives_its_result_at_the_end_and_not_before():
    feed = testing.Feed(SCHEMA, bounded=True)
    job = feed.stream.event_time("t").window(flare.global_window()).agg(n=pl.len()).run(workers=1)
    feed.give(at(1, 10**9)).settle()
    assert job.result().is_empty()
    feed.end()
    assert job.wait(60).result()["n"].to_list() == [2]


def test_early_results_by_count_are_marked_in_the_column_pane():
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t").window(flare.tumbling("10s"), early=flare.after_count(2)).agg(n=pl.len())
    with live(stream) as job:
        for second in (1, 2, 3, 4, 5):
            feed.give(at(second)).settle()
        feed.give(at(11)).settle()
        assert job.result().select("pane", "revision", "n").rows() == [
            ("early", 0, 2),
            ("early", 1, 4),
            ("on_time", 2, 5),
        ]


@pytest.mark.slow
def test_early_results_by_the_clock_are_given_each_period_for_what_has_changed():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t").window(flare.tumbling("10s"), early=flare.every("1s")).agg(n=pl.len())
    with live(stream, clock) as job:
        feed.give(at(1, 2)).settle()
        clock.advance(999_999)
        feed.settle()
        assert job.result().is_empty()
        clock.advance(1)
        feed.settle()
        assert job.result().select("pane", "revision", "n").rows() == [("early", 0, 2)]
        clock.advance(5_000_000)
        feed.settle()
        assert job.result().height == 1, "nothing has changed"
        feed.give(at(3)).settle()
        clock.advance(1_000_000)
        feed.settle().give(at(10)).settle()
        assert job.result().select("pane", "revision", "n").rows() == [
            ("early", 0, 2),
            ("early", 1, 3),
            ("on_time", 2, 3),
        ]


def test_early_results_of_one_window_do_not_wait_for_or_vanish_with_another():
    clock = testing.clock()
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t").window(flare.tumbling("10s"), early=flare.every("1s")).agg(n=pl.len())
    with live(stream, clock) as job:
        feed.give(at(1)).give(at(12)).settle()
        assert counted(job.result()) == {(0, 10): 1}
        clock.advance(1_000_000)
        feed.settle()
        assert counted(job.result()) == {(0, 10): 1, (10, 20): 1}


def test_the_column_pane_is_there_only_when_asked_for():
    plain = told(at(1)).window(flare.tumbling("10s")).agg(n=pl.len())
    assert plain.columns == ["window_start", "window_end", "n"]
    late = told(at(1)).window(flare.tumbling("10s"), allowed_lateness="1s").agg(n=pl.len())
    early = told(at(1)).window(flare.tumbling("10s"), early=flare.after_count(1)).agg(n=pl.len())
    assert late.columns == early.columns == ["window_start", "window_end", "pane", "revision", "n"]
    assert seconds(late.collect()) == [0]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize("size", ["1h", "2h", "6h", "1d", "1w"])
def test_windows_in_a_time_zone_start_where_polars_truncates(zone, size):
    first, last = datetime(2024, 3, 9), datetime(2024, 4, 8)
    times = pl.datetime_range(first, last, "7m", time_zone="UTC", eager=True).dt.convert_time_zone(zone)
    frame = pl.DataFrame({"ts": times})
    windows = flare.from_frame(frame).event_time("ts").window(flare.tumbling(size)).agg(n=pl.len()).collect()
    batch = frame.group_by(window_start=pl.col("ts").dt.truncate(size)).agg(n=pl.len())
    assert_frame_equal(windows.select("window_start", "n").sort("window_start"), batch.sort("window_start"))
