"""The arithmetic of windows, against counting on fingers."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare_nb.operators.grid import LARGEST, SMALLEST, CalendarGrid, FixedGrid, GlobalGrid, clamp, grid_of
from dataflare_nb.types import FOREVER, NEVER
from dataflare_nb.windows import Duration, tumbling

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
AT_MIDNIGHT = ["Africa/Cairo", "America/Havana", "America/Asuncion", "Asia/Beirut"]
"""Where the clock is changed at midnight, so that some days have no start, or two."""


@st.composite
def fixed(draw: st.DrawFn) -> FixedGrid:
    every = draw(st.integers(1, 6))
    if draw(st.booleans()):
        size = every * draw(st.integers(1, 5))
        return FixedGrid(size, every, draw(st.integers(0, size - 1)), grows=size > every)
    return FixedGrid(every + draw(st.integers(0, 9)), every, draw(st.integers(0, every - 1)))


def covering(grid: FixedGrid, time: int) -> set[tuple[int, int]]:
    """Count out the windows that a time is in."""
    around = range(time - 3 * grid.size - 50, time + 3 * grid.size + 50)
    if grid.grows:
        starts = [start for start in around if (start - grid.offset) % grid.size == 0]
        steps = range(grid.every, grid.size + 1, grid.every)
        windows = [(start, start + step) for start in starts for step in steps]
    else:
        windows = [(start, start + grid.size) for start in around if (start - grid.offset) % grid.every == 0]
    return {(start, end) for start, end in windows if start <= time < end}


def pane_of(grid, time: int) -> int:
    return pl.select(grid.pane(pl.lit(time, pl.Int64))).item()


def windows_of(grid, pane: int, after: int = SMALLEST, upto: int = LARGEST) -> set[tuple[int, int]]:
    frame = grid.windows(pl.LazyFrame({"p": [pane]}), "p", after, upto).collect()
    return set(zip(frame["__start"], frame["__end"], strict=True))


@given(fixed(), st.integers(-40, 40))
def test_a_row_is_in_the_windows_of_its_pane(grid, time):
    assert windows_of(grid, pane_of(grid, time)) == covering(grid, time)


@given(fixed(), st.integers(-40, 40), st.integers(-60, 60), st.integers(0, 30))
def test_windows_between_two_times_are_those_that_end_after_one_and_up_to_the_other(grid, time, after, length):
    wanted = {(start, end) for start, end in covering(grid, time) if after < end <= after + length}
    assert windows_of(grid, pane_of(grid, time), after, after + length) == wanted


@given(fixed(), st.integers(-40, 40))
def test_a_pane_ends_before_any_window_does(grid, time):
    pane = pane_of(grid, time)
    assert pane <= time < grid.end_of_pane(pane)
    assert all(covering(grid, other) == covering(grid, pane) for other in range(pane, grid.end_of_pane(pane)))
    assert grid.last_end(pane) == max(end for _, end in covering(grid, time))


@given(fixed(), st.integers(-40, 40))
def test_the_next_end_is_the_first_after_a_time(grid, time):
    ends = {end for near in range(time - 20, time + 20) for _, end in covering(grid, near)}
    assert grid.next_end(time) == min(end for end in ends if end > time)


@given(fixed(), st.integers(-40, 40), st.integers(-60, 60))
def test_panes_are_kept_while_one_of_their_windows_is_open(grid, time, watermark):
    pane = pane_of(grid, time)
    open_ = any(end > watermark for _, end in covering(grid, time))
    assert (pane >= grid.first_kept(watermark)) is open_


SIZES = [("1d", "0s"), ("1d", "5h"), ("1d", "90m"), ("1d", "150m"), ("1w", "0s"), ("1mo", "2d"), ("3mo", "0s")]


@given(
    zone=st.sampled_from([*ZONES, *AT_MIDNIGHT]),
    shape=st.sampled_from(SIZES),
    second=st.integers(1_600_000_000, 1_735_000_000),
)
@settings(max_examples=60)
@pytest.mark.slow
def test_calendar_windows_lie_side_by_side(zone, shape, second):
    size, offset = shape
    grid = CalendarGrid(Duration.of(size), Duration.of(offset), zone)
    time = second * 1_000_000
    pane = pane_of(grid, time)
    end = grid.end_of_pane(pane)
    assert pane <= time < end == grid.next_end(time) == grid.last_end(pane)
    assert pane_of(grid, pane) == pane_of(grid, end - 1) == pane
    assert pane_of(grid, end) == end
    assert grid.first_kept(end - 1) == pane
    assert grid.first_kept(end) == end


@given(
    zone=st.sampled_from(ZONES),
    size=st.sampled_from(["1d", "1w", "1mo", "1q", "1y"]),
    second=st.integers(-500_000_000, 4_000_000_000),
)
@settings(max_examples=60)
def test_calendar_windows_start_where_truncate_says(zone, size, second):
    grid = grid_of(tumbling(size), zone)
    local = pl.lit(second * 1_000_000, pl.Int64).cast(pl.Datetime("us", zone))
    assert pane_of(grid, second * 1_000_000) == pl.select(local.dt.truncate(size).to_physical()).item()


@pytest.mark.parametrize("zone", [*ZONES, *AT_MIDNIGHT])
@pytest.mark.parametrize("offset", ["0s", "30m", "90m", "5h"])
def test_days_lie_side_by_side_through_a_year_of_changing_clocks(zone, offset):
    grid = CalendarGrid(Duration.of("1d"), Duration.of(offset), zone)
    hours = pl.select(t=pl.int_range(1_704_000_000, 1_736_000_000, 1_800, dtype=pl.Int64) * 1_000_000)
    hours = hours.with_columns(pane=grid.pane(pl.col("t")))
    hours = grid.windows(hours.lazy(), "pane", SMALLEST, LARGEST).rename({"__end": "end"}).collect()
    assert hours.filter((pl.col("pane") > pl.col("t")) | (pl.col("end") <= pl.col("t"))).is_empty()
    days = hours.select("pane", "end").unique(maintain_order=True)
    assert (days["pane"][1:] == days["end"][:-1]).all()
    assert 365 <= days.height <= 372


@pytest.mark.parametrize(("zone", "year"), [("America/St_Johns", 2009), ("Europe/Berlin", 2024)])
@pytest.mark.parametrize("size", ["1h", "7m", "25m", "35m", "45m", "90m", "5h", "12h", "1d", "3d", "1mo"])
def test_every_row_is_inside_of_its_window_when_clocks_change(zone, year, size):
    grid = CalendarGrid(Duration.of(size), Duration.of("0s"), zone)
    minutes = pl.datetime_range(datetime(year, 1, 1), datetime(year, 12, 31), "7m", time_zone="UTC", eager=True)
    rows = pl.DataFrame({"t": minutes.to_physical()}).with_columns(pane=grid.pane(pl.col("t")))
    rows = grid.windows(rows.lazy(), "pane", SMALLEST, LARGEST).collect()
    assert rows.filter((pl.col("pane") > pl.col("t")) | (pl.col("__end") <= pl.col("t"))).is_empty()
    windows = rows.select("pane", "__end").unique(maintain_order=True)
    assert (windows["pane"][1:] >= windows["__end"][:-1]).all()


def test_a_day_without_a_midnight_starts_with_the_jump():
    grid = grid_of(tumbling("1d"), "Africa/Cairo")
    noon = pl.select(pl.lit(datetime(2024, 4, 26, 12)).dt.replace_time_zone("Africa/Cairo").to_physical()).item()
    start, end = pane_of(grid, noon), grid.end_of_pane(pane_of(grid, noon))
    assert (end - start) / 3_600_000_000 == 23
    local = pl.select(pl.lit(start, pl.Int64).cast(pl.Datetime("us", "Africa/Cairo"))).item()
    assert (local.day, local.hour) == (26, 1)


def test_the_global_window_is_closed_by_the_end_alone():
    grid = GlobalGrid()
    assert windows_of(grid, 0, NEVER, clamp(FOREVER - 1)) == set()
    assert windows_of(grid, 0, NEVER, clamp(FOREVER)) == {(SMALLEST, LARGEST)}


def test_days_without_a_zone_are_of_24_hours_and_start_at_midnight():
    grid = grid_of(tumbling("1d"), None)
    assert isinstance(grid, FixedGrid)
    noon = int(datetime(2024, 3, 31, 12).timestamp()) * 1_000_000
    assert pane_of(grid, noon) % 86_400_000_000 == 0
