"""State of windows: new rows as they came, older ones as partials per pane, merged like a log-structured tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from ..graph.schema import TimeRef
from ..types import FOREVER
from .aggregation import ROWS, Aggregation
from .grid import Grid

PANE = "__pane"
TIME = "__t"
MEMTABLE_ROWS = 4 << 20
MEMTABLE_BYTES = 192 << 20
CUT_ROWS = 8_192
"""From here on it pays to cut a batch at the borders of its panes, and to group the rows of each pane by themselves."""
CUT_PANES = 4
FEW_RUNS, SMALL_RUN = 8, 4_096
"""A few short runs cost a query less than merging them would."""


def physical_time(time: TimeRef) -> pl.Expr:
    """Return the event time as `Int64`, named `__t`."""
    return (pl.col(time.column).to_physical() + time.shift).alias(TIME)


def times_of(batch: pl.DataFrame, time: TimeRef | None) -> pl.Series:
    """Return the event times of a batch as `Int64`, named `__t`; zeros where there is no event time."""
    if time is None:
        return pl.Series(TIME, [0], dtype=pl.Int64).new_from_index(0, batch.height)
    times = batch[time.column].cast(pl.Int64).alias(TIME)
    return times + time.shift if time.shift else times


def with_times(batch: pl.DataFrame, times: pl.Series, needed: list[str]) -> pl.DataFrame:
    """Return just the columns that state needs. Done without a query: this is the way of every batch."""
    return pl.DataFrame([times, *map(batch.get_column, needed)])


class Panes:
    """What open windows are made of.

    Rows wait in a memtable. When it is full they become partials per pane and key, one run; runs are merged while the
    newer is at least half as long as the older, so that each partial is merged about log2(n) times. Arrival order is
    kept: older runs first. An aggregation that is not two-phase keeps its rows.
    """

    def __init__(self, aggregation: Aggregation, grid: Grid) -> None:
        self._agg = aggregation
        self._grid = grid
        self._by = [PANE, *aggregation.keys]
        self._fresh: list[_Piece] = []
        self._fresh_rows = 0
        self._fresh_bytes = 0
        self._runs: list[pl.DataFrame] = []
        self._last_pane = (0, 0)
        self.rows = 0
        self.released = 0
        """Rows whose panes have been taken or dropped."""
        self.first: int = FOREVER
        """No event time in the state is before this one."""

    @property
    def empty(self) -> bool:
        return self.rows == 0

    def add(self, rows: pl.DataFrame, low: int, high: int) -> None:
        """Take rows with `__t` between `low` and `high`."""
        self._fresh += self._cut(_Piece(rows, low, high, rows.height))
        self._fresh_rows += rows.height
        self._fresh_bytes += int(rows.estimated_size())
        self.rows += rows.height
        self.first = min(self.first, low)
        full = self._fresh_rows > MEMTABLE_ROWS or self._fresh_bytes > MEMTABLE_BYTES
        if full and self._agg.two_phase:
            self._flush()

    def all(self) -> pl.DataFrame:
        """Return everything, without taking it: partials with `__pane`, or rows with it."""
        self._flush()
        while len(self._runs) > 1:
            self._merge_top()
        return self._runs[0] if self._runs else self._nothing()

    def take(self, before: int) -> tuple[pl.LazyFrame, bool]:
        """Remove and return the state of the panes that start before `before`, and whether each key is there once.

        Only for grids where a pane is a window, so that rows which never left the memtable are reduced once, here.
        """
        fresh, self._fresh = self._split_fresh(before)
        self._fresh_rows = sum(piece.count for piece in self._fresh)
        self._fresh_bytes = sum(int(piece.rows.estimated_size()) for piece in self._fresh)
        old = [run.filter(pl.col(PANE) < before) for run in self._runs] if before != FOREVER else self._runs
        self._runs = [run for run in (r.filter(pl.col(PANE) >= before) for r in self._runs) if run.height]
        old = [run for run in old if run.height]
        parts = [run.lazy() for run in old]
        gone = sum(self._agg.state_rows(run) for run in old)
        if fresh:
            gone += sum(piece.count for piece in fresh)
            parts.append(self._reduced(fresh))
        self.rows -= gone
        self.released += gone
        self._find_first(before)
        once = self._agg.two_phase and not old
        return (pl.concat(parts) if parts else self._nothing().lazy()), once

    def between(self, first: int, before: int) -> pl.LazyFrame:
        """Return the state of the panes that start in `[first, before)`, without taking it; keys may be there twice."""
        self._flush()
        within = (pl.col(PANE) >= first) & (pl.col(PANE) < before)
        return pl.concat([run.lazy() for run in self._runs] or [self._nothing().lazy()]).filter(within)

    def drop(self, before: int) -> None:
        """Forget the panes that start before `before`."""
        if self.first >= before:
            return
        self._flush()
        kept = []
        for run in self._runs:
            stays = run[PANE] >= before
            rest = run if stays.all() else run.filter(stays)
            gone = self._agg.state_rows(run) - self._agg.state_rows(rest) if rest is not run else 0
            self.released += gone
            self.rows -= gone
            kept += [rest] if rest.height else []
        self._runs = kept
        self._find_first(before)

    def empty_out(self) -> pl.DataFrame:
        """Remove and return everything, as `all` gives it."""
        state = self.all()
        self._runs = []
        self.rows, self.first = 0, FOREVER
        return state

    def add_run(self, state: pl.DataFrame) -> None:
        """Add partials that another has made, later than all that is here."""
        self._flush()
        self._push(state)
        self.rows += self._agg.state_rows(state)
        low = state[PANE].min()
        assert isinstance(low, int)
        self.first = min(self.first, low)

    def restore(self, state: pl.DataFrame) -> None:
        """Add what `all` gave."""
        if not state.height:
            return
        self._flush()
        self._runs.append(state)
        self.rows += self._agg.state_rows(state)
        self._find_first(None)

    def _split_fresh(self, before: int) -> tuple[list[_Piece], list[_Piece]]:
        done, kept = [], []
        for piece in self._fresh:
            if piece.high < before:
                done.append(piece)
            elif piece.low >= before:
                kept.append(piece)
            else:
                early, late = piece.at(before)
                done.append(early)
                kept.append(late)
        return done, kept

    def _cut(self, piece: _Piece) -> Iterator[_Piece]:
        """Yield the parts of a large piece that are each in one pane, if these are few."""
        if not self._agg.two_phase:
            yield piece
            return
        start, end = self._pane_at(piece.low)
        ends = [end]
        if piece.count >= CUT_ROWS:
            while piece.high >= ends[-1] and len(ends) < CUT_PANES:
                ends.append(self._grid.end_of_pane(ends[-1]))
        if piece.high >= ends[-1]:
            yield piece
            return
        for end in ends[:-1]:
            part, piece = piece.at(end)
            yield replace(part, pane=start)
            start = end
        yield replace(piece, pane=start)

    def _pane_at(self, time: int) -> tuple[int, int]:
        """Return the borders of the pane of a time, most often those asked for last."""
        start, end = self._last_pane
        if not start <= time < end:
            start = self._grid.pane_of(time)
            self._last_pane = start, end = start, self._grid.end_of_pane(start)
        return start, end

    def _reduced(self, pieces: list[_Piece]) -> pl.LazyFrame:
        """Return partials of `pieces`, each key once per pane, or their rows."""
        panes: dict[int | None, list[pl.LazyFrame]] = {}
        for piece in pieces:
            panes.setdefault(piece.pane, []).append(piece.lazy())
        if None in panes or (len(panes) > 1 and sum(piece.count for piece in pieces) < CUT_ROWS * len(panes)):
            together = pl.concat([piece.lazy() for piece in pieces], rechunk=False)
            framed = together.with_columns(self._grid.pane(pl.col(TIME)).alias(PANE))
            return self._agg.reduce(framed, self._by).select(self._columns())
        # Grouping one pane by the key alone is about twice as fast.
        return pl.concat([self._reduced_pane(pane, frames) for pane, frames in panes.items()])

    def _reduced_pane(self, pane: int | None, frames: list[pl.LazyFrame]) -> pl.LazyFrame:
        rows = pl.concat(frames, rechunk=False)
        reduced = self._agg.reduce(rows, self._agg.keys).with_columns(pl.lit(pane, pl.Int64).alias(PANE))
        return reduced.select(self._columns())

    def _columns(self) -> list[str]:
        if not self._agg.two_phase:
            return [PANE, *self._agg.needed]
        return [*self._by, *self._agg.partials, ROWS]

    def _flush(self) -> None:
        if not self._fresh:
            return
        self._push(self._reduced(self._fresh).collect())
        self._fresh, self._fresh_rows, self._fresh_bytes = [], 0, 0

    def _push(self, run: pl.DataFrame) -> None:
        self._runs.append(run)
        if len(self._runs) > FEW_RUNS or self._runs[-1].height > SMALL_RUN:
            while len(self._runs) > 1 and self._runs[-1].height * 2 >= self._runs[-2].height:
                self._merge_top()

    def _merge_top(self) -> None:
        newer, older = self._runs.pop(), self._runs.pop()
        both = pl.concat([older, newer], rechunk=False).lazy()
        merged = self._agg.merge(both, self._by).select(self._columns()).collect()
        self._runs.append(merged)

    def _find_first(self, before: int | None) -> None:
        starts = [run[PANE].min() for run in self._runs] + [piece.low for piece in self._fresh]
        self.first = min((start for start in starts if isinstance(start, int)), default=FOREVER)
        if not self.rows:
            self.first = FOREVER

    def _nothing(self) -> pl.DataFrame:
        nothing = pl.LazyFrame(schema={TIME: pl.Int64, **{n: self._agg.schema[n] for n in self._agg.needed}})
        framed = nothing.with_columns(pl.col(TIME).alias(PANE))
        return self._agg.reduce(framed, self._by).select(self._columns()).collect()


@dataclass(frozen=True, slots=True)
class _Piece:
    """The `count` rows of a frame with `__t` from `low` to `high`, and the pane that they are in if it is only one.

    `whole` says that these are all rows of the frame. What is cut is only cut when it is read, within the query.
    """

    rows: pl.DataFrame
    low: int
    high: int
    count: int
    whole: bool = True
    pane: int | None = None

    def lazy(self) -> pl.LazyFrame:
        """Return the rows."""
        rows = self.rows.lazy()
        return rows if self.whole else rows.filter(pl.col(TIME).is_between(self.low, self.high))

    def at(self, time: int) -> tuple[_Piece, _Piece]:
        """Cut at a time between `low` and `high`."""
        times = self.rows[TIME]
        early = int((times < time).sum()) - (0 if self.whole else int((times < self.low).sum()))
        first = replace(self, high=time - 1, count=early, whole=False)
        return first, replace(self, low=time, count=self.count - early, whole=False)
