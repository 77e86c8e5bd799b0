"""The arithmetic of tumbling, hopping and cumulative windows: panes, and the windows they are part of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import polars as pl

from ..types import FOREVER, EventTime
from ..windows import DAY_US, Cumulative, Duration, Global, Hopping, Tumbling, pane_us

START, END = "__start", "__end"


class Grid(Protocol):
    """Cuts time into panes, the largest pieces that are never divided by a window's border."""

    @property
    def single(self) -> bool:
        """Each pane is a window of its own."""
        ...

    def pane(self, time: pl.Expr) -> pl.Expr:
        """Return the start of the pane of an `Int64` time."""
        ...

    def pane_of(self, time: int) -> int:
        """Return the start of the pane of one time."""
        ...

    def windows(self, state: pl.LazyFrame, pane: str, after: int, upto: int) -> pl.LazyFrame:
        """Return `state` once per window that covers its pane and ends in `(after, upto]`, with `__start`, `__end`."""
        ...

    def first_kept(self, time: int) -> int:
        """Return the start of the first pane with a window that ends after `time`."""
        ...

    def next_end(self, time: int) -> int:
        """Return the first window end after `time`."""
        ...

    def end_of_pane(self, pane: int) -> int:
        """Return the first instant after the pane that starts at `pane`."""
        ...

    def last_end(self, pane: int) -> int:
        """Return the end of the last window that the pane which starts at `pane` is in."""
        ...


@dataclass(frozen=True)
class FixedGrid:
    """Windows of fixed length: starts each `every`, length `size`; cumulative ones grow from one start by `every`."""

    size: int
    every: int
    offset: int
    grows: bool = False

    @property
    def single(self) -> bool:
        return self.size == self.every

    @property
    def _pane(self) -> int:
        return self.every if self.grows else pane_us(self.size, self.every)

    def pane(self, time: pl.Expr) -> pl.Expr:
        return _floor(time, self._pane, self.offset)

    def pane_of(self, time: int) -> int:
        return _floor_int(time, self._pane, self.offset)

    def windows(self, state: pl.LazyFrame, pane: str, after: int, upto: int) -> pl.LazyFrame:
        column = pl.col(pane)
        if self.single:
            framed = state.with_columns(column.alias(START), (column + self.size).alias(END))
            return framed.filter((pl.col(END) > after) & (pl.col(END) <= upto))
        if self.grows:
            start = _floor(column, self.size, self.offset)
            first_end, last_end = column + self.every, start + self.size
        else:
            last_start = _floor(column, self.every, self.offset)
            first_end = last_start + self.size - self.every * ((last_start + self.size - column - 1) // self.every)
            last_end = last_start + self.size
        # Only the ends asked for are made, so that a pane of many windows is not exploded into all of them.
        low = pl.max_horizontal(first_end, pl.lit(self._end_after(after), pl.Int64))
        high = pl.min_horizontal(last_end, pl.lit(upto, pl.Int64))
        ends = state.with_columns(pl.int_ranges(low, high + 1, self.every, dtype=pl.Int64).alias(END))
        ends = ends.filter(pl.col(END).list.len() > 0).explode(END)
        begin = _floor(pl.col(END) - 1, self.size, self.offset) if self.grows else pl.col(END) - self.size
        return ends.with_columns(begin.alias(START))

    def first_kept(self, time: int) -> int:
        if self.grows:
            # A cumulative pane is kept until the longest of its windows has ended.
            return _floor_int(time, self.size, self.offset)
        return self._end_after(time) - self.size

    def next_end(self, time: int) -> int:
        return self._end_after(time)

    def end_of_pane(self, pane: int) -> int:
        return pane + self._pane

    def last_end(self, pane: int) -> int:
        return _floor_int(pane, self.size if self.grows else self.every, self.offset) + self.size

    def _end_after(self, time: int) -> int:
        # Ends lie on the grid of starts shifted by the size.
        shift = self.offset if self.grows else self.offset + self.size
        return _floor_int(time, self.every, shift) + self.every


class CalendarGrid:
    """Tumbling windows by the clock on the wall of the event time's zone, which start where `dt.truncate` says.

    An `offset` is on the same clock. A window begins at the first instant at which the clock shows its start or a later
    time. So a start that the clock jumps over is at the jump, and times that are shown twice belong, the second time,
    to the window that was open when the clock was put back.
    """

    single = True

    def __init__(self, size: Duration, offset: Duration, zone: str | None) -> None:
        self._size, self._offset, self._zone = size, offset, zone

    def pane(self, time: pl.Expr) -> pl.Expr:
        return time.map_batches(self._panes, return_dtype=pl.Int64, is_elementwise=True)

    def windows(self, state: pl.LazyFrame, pane: str, after: int, upto: int) -> pl.LazyFrame:
        end = pl.col(pane).map_batches(self._ends, return_dtype=pl.Int64, is_elementwise=True)
        framed = state.with_columns(pl.col(pane).alias(START), end.alias(END))
        return framed.filter((pl.col(END) > after) & (pl.col(END) <= upto))

    def pane_of(self, time: int) -> int:
        return self._ask(self._panes, time)

    def first_kept(self, time: int) -> int:
        return self.pane_of(time)

    def next_end(self, time: int) -> int:
        return self.end_of_pane(self.pane_of(time))

    def end_of_pane(self, pane: int) -> int:
        return self._ask(self._ends, pane)

    def last_end(self, pane: int) -> int:
        return self.end_of_pane(pane)

    def _panes(self, times: pl.Series) -> pl.Series:
        return self._instants(self._starts(times))

    def _ends(self, panes: pl.Series) -> pl.Series:
        return self._instants(self._starts(panes).dt.offset_by(self._size.text))

    def _starts(self, times: pl.Series) -> pl.Series:
        """Return the starts of the windows of `Int64` times, as the clock on the wall reads then."""
        local = self._latest_shown(times)
        if not self._offset:
            return local.dt.truncate(self._size.text)
        return local.dt.offset_by(f"-{self._offset}").dt.truncate(self._size.text).dt.offset_by(self._offset.text)

    def _latest_shown(self, times: pl.Series) -> pl.Series:
        """Return the latest time that the clock has shown up to each instant: what it shows, unless it was put back."""
        local = self._local(times)
        if self._zone is None:
            return local
        first = self._read(local)
        again = first < times
        if not again.any():
            return local
        # Between the first and the second time that the clock showed this it was put back.
        low, high = first.filter(again), times.filter(again)
        ahead = self._local(low).to_physical() - low
        last, _ = _halved(low, high, lambda at: self._local(at).to_physical() - at == ahead)
        return local.scatter(again.arg_true(), self._local(last))

    def _instants(self, local: pl.Series) -> pl.Series:
        """Return the first instant at which the clock shows each time or a later one."""
        if self._zone is None:
            return local.to_physical()
        instants = self._read(local)
        skipped = instants.is_null()
        if not skipped.any():
            return instants
        wanted = local.filter(skipped).to_physical()
        _, jump = _halved(wanted - 2 * DAY_US, wanted + 2 * DAY_US, lambda at: self._local(at).to_physical() < wanted)
        return instants.scatter(skipped.arg_true(), jump)

    def _local(self, times: pl.Series) -> pl.Series:
        return times.cast(pl.Datetime("us", self._zone)).dt.replace_time_zone(None)

    def _read(self, local: pl.Series) -> pl.Series:
        """Return the first instant at which the clock shows each time, null if it jumps over it."""
        return local.dt.replace_time_zone(self._zone, ambiguous="earliest", non_existent="null").to_physical()

    @staticmethod
    def _ask(function: Callable[[pl.Series], pl.Series], time: int) -> int:
        value = function(pl.Series([time], dtype=pl.Int64)).item()
        assert isinstance(value, int)
        return value


def _halved(low: pl.Series, high: pl.Series, before: Callable[[pl.Series], pl.Series]) -> tuple[pl.Series, pl.Series]:
    """Return the last instant from `low` that is `before` a change, and the first that is not; `high` is after it."""
    while (high - low).max() != 1:
        middle = low + (high - low) // 2
        early = before(middle)
        low, high = middle.zip_with(early, low), high.zip_with(early, middle)
    return low, high


class GlobalGrid:
    """One pane, one window, over all time."""

    single = True

    def pane(self, time: pl.Expr) -> pl.Expr:
        return time * 0

    def pane_of(self, time: int) -> int:
        return 0

    def windows(self, state: pl.LazyFrame, pane: str, after: int, upto: int) -> pl.LazyFrame:
        framed = state.with_columns(pl.lit(SMALLEST, pl.Int64).alias(START), pl.lit(LARGEST, pl.Int64).alias(END))
        return framed if upto >= LARGEST else framed.clear()

    def first_kept(self, time: int) -> int:
        return SMALLEST

    def next_end(self, time: int) -> int:
        return LARGEST

    def end_of_pane(self, pane: int) -> int:
        return LARGEST

    def last_end(self, pane: int) -> int:
        return LARGEST


# Far enough from the ends of 64 bits that a window can be added, near enough that no event is beyond.
SMALLEST, LARGEST = -(2**61), 2**61


def grid_of(window: Tumbling | Hopping | Cumulative | Global, zone: str | None) -> Grid:
    """Return the grid of a window over event time in `zone`."""
    match window:
        case Global():
            return GlobalGrid()
        case Tumbling(size=size, offset=offset):
            calendar = size.months or (size.days % 7 == 0 and size.days)
            if calendar or not _divides_offsets(size, zone):
                return CalendarGrid(size, offset, zone)
            us = size.fixed_us("the size")
            return FixedGrid(us, us, offset.fixed_us("the offset"))
        case Hopping(size=size, every=every, offset=offset):
            return FixedGrid(size.fixed_us("the size"), every.fixed_us("every"), offset.fixed_us("the offset"))
        case Cumulative(max=size, step=step, offset=offset):
            return FixedGrid(size.fixed_us("max"), step.fixed_us("step"), offset.fixed_us("the offset"), grows=True)


def clamp(time: EventTime | int) -> int:
    """Keep a time far enough from the ends of 64 bits that a window can be added to it. Only the end is `LARGEST`."""
    return LARGEST if time == FOREVER else max(SMALLEST, min(LARGEST - 1, time))


def _floor(time: pl.Expr, step: int, offset: int) -> pl.Expr:
    """Round down to `step`, towards minus infinity, from `offset`."""
    if offset % step == 0:
        return time - time % step
    return time - (time - offset) % step


def _floor_int(time: int, step: int, offset: int) -> int:
    return time - (time - offset) % step


@lru_cache(maxsize=64)
def _divides_offsets(size: Duration, zone: str | None) -> bool:
    """Tell whether windows of this size start at the same instants on a zone's clock as on that of UTC."""
    if zone in (None, "UTC"):
        return True
    if size.days:
        return False
    months = pl.datetime_range(pl.datetime(1970, 1, 1), pl.datetime(2050, 1, 1), "1mo", time_zone="UTC", eager=True)
    local = months.dt.convert_time_zone(zone)
    offsets = local.dt.base_utc_offset() + local.dt.dst_offset()
    return bool((offsets.dt.total_microseconds() % size.us == 0).all())
