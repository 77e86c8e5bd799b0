"""Tumbling, hopping and cumulative windows over event time, kept as panes of partial results."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ..graph.schema import TimeRef
from ..types import FOREVER, NEVER, Batch, EventTime, Output, Schema, Side, State
from ..windows import AfterCount, EarlySpec, Every
from .aggregation import ROWS, Aggregation
from .grid import END, LARGEST, SMALLEST, START, Grid, clamp
from .keys import COLUMN as KEY_GROUP
from .keys import with_key_group
from .operator import WindowOperator, next_tick
from .panes import PANE, TIME, Panes, times_of, with_times

REVISION, SEEN, LABEL = "__revision", "__seen", "__label"
_EMISSIONS = 64
"""Frames of what has been told, before they are merged and what nobody can ask for any more is dropped."""


class GridWindows(WindowOperator):
    """Aggregate per key and window.

    A window fires when the watermark reaches its end. Rows wait as they came, up to a bound, then as partials per
    pane; what a window needs is merged when it fires. With allowed lateness or early results the panes stay until
    `end + allowed_lateness`, and each result carries `pane` and `revision`.
    """

    def __init__(
        self,
        aggregation: Aggregation,
        grid: Grid,
        time: TimeRef | None,
        *,
        allowed_lateness: int = 0,
        early: EarlySpec | None = None,
        late_schema: Schema | None = None,
    ) -> None:
        self._agg = aggregation
        self._keys = list(aggregation.keys)
        self._needed = aggregation.needed
        self._grid = grid
        self._time = time
        self._lateness = allowed_lateness
        self._early = early
        self._tracked = bool(allowed_lateness) or early is not None
        self._late_schema = late_schema
        self._time_dtype = aggregation.schema[time.column] if time is not None else pl.Datetime("us")
        self._panes = Panes(aggregation, grid)
        self._emitted = [self._no_emissions()]
        """What has been told of each window and key; a later frame goes before an earlier one."""
        self._touched: list[pl.DataFrame] = []
        """Panes of keys that have changed since the last watermark."""
        self._untold: list[pl.DataFrame] = []
        """Panes of keys that have changed since the last early results by the clock."""
        self._next_early: int | None = None

    # The way of a row

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        bound = self._late_before(self._ctx.watermark)
        if not batch.height:
            return
        times = times_of(batch, self._time)
        low, high = times.min(), times.max()
        assert isinstance(low, int)
        assert isinstance(high, int)
        if low < bound:
            late = batch.filter(times < bound)
            yield Side("late", self._late_rows(late))
            batch, times = batch.filter(times >= bound), times.filter(times >= bound)
            if not batch.height:
                return
            low = times.min()
            assert isinstance(low, int)
        if not self._grid.single and low < self._ctx.watermark:
            self._count_partly_late(times)
        rows = with_times(batch, times, self._needed)
        self._panes.add(rows, low, high)
        if self._tracked:
            self._touch(rows, low)

    def _late_before(self, watermark: EventTime) -> int:
        """Rows before this time have missed all their windows."""
        if watermark == NEVER:
            return NEVER
        return self._grid.first_kept(clamp(watermark - self._lateness))

    def _count_partly_late(self, times: pl.Series) -> None:
        """Count the rows that missed some of their windows and are still in others."""
        gone = clamp(self._ctx.watermark - self._lateness)
        rows = pl.LazyFrame({"__row": range(len(times)), PANE: times}).with_columns(self._grid.pane(pl.col(PANE)))
        missed = self._grid.windows(rows, PANE, SMALLEST, gone).select(pl.col("__row").n_unique()).collect().item()
        if missed:
            self._ctx.count("partly_late_rows", missed)

    def _late_rows(self, late: Batch) -> Batch:
        assert self._time is not None
        assert self._late_schema is not None
        time = pl.col(self._time.column)
        pane = self._grid.pane(time.to_physical() + self._time.shift)
        windows = self._grid.windows(
            late.lazy().with_columns(pane.alias(PANE)).with_row_index("__row"), PANE, SMALLEST, LARGEST
        )
        if not self._grid.single:
            # The window that a row has missed is the last one it was in.
            windows = windows.group_by("__row", maintain_order=True).last().sort("__row")
        return (
            windows.with_columns(
                pl.col(START).cast(self._time_dtype).alias("missed_start"),
                pl.col(END).cast(self._time_dtype).alias("missed_end"),
                (self._ctx.watermark - time.to_physical()).cast(pl.Duration("us")).alias("late_by"),
            )
            .select(self._late_schema.names())
            .collect()
        )

    def _touch(self, rows: Batch, low: int) -> None:
        """Remember which panes of which keys have changed, as far as anybody will ask."""
        if self._early is None:
            watermark = self._ctx.watermark
            fired = self._grid.first_kept(clamp(watermark)) if self._grid.single else watermark
            if watermark == NEVER or low >= fired:
                return
            rows = rows.filter(rows[TIME] < fired)
        by = [PANE, *self._keys]
        counted = rows.lazy().with_columns(self._grid.pane(pl.col(TIME)).alias(PANE)).group_by(*by)
        touched = counted.agg(pl.len().cast(pl.Int64).alias(ROWS)).collect()
        self._touched.append(touched)
        if isinstance(self._early, Every):
            self._untold.append(touched)
            if self._next_early is None:
                self._next_early = next_tick(self._ctx.clock, self._early)

    # The way of time

    def due(self) -> EventTime | None:
        if self._panes.empty:
            return None
        if self._touched and (isinstance(self._early, AfterCount) or self._late_touched()):
            return NEVER
        watermark = clamp(self._ctx.watermark)
        first = self._grid.next_end(max(watermark, self._panes.first))
        if first >= LARGEST:
            return FOREVER
        if not self._tracked:
            return EventTime(first)
        # A window that has fired and is kept for late rows is given up when its lateness is over.
        purge = self._grid.last_end(self._grid.pane_of(self._panes.first)) + self._lateness
        return EventTime(min(first, max(purge, watermark + 1)))

    def _late_touched(self) -> bool:
        watermark = self._ctx.watermark
        return watermark != NEVER and any(
            self._grid.end_of_pane(int(frame[PANE].min())) <= watermark  # type: ignore[arg-type]
            or not self._grid.single
            for frame in self._touched
        )

    def on_watermark(self, time: EventTime) -> Iterable[Output]:
        if time == FOREVER:
            self._next_early, self._untold = None, []
        if self._panes.empty:
            return
        if self._tracked:
            yield from self._advance_tracked(time)
            return
        after, upto = clamp(self._ctx.watermark), clamp(time)
        if self._grid.next_end(max(after, self._panes.first)) > upto and time != FOREVER:
            return
        kept_from = self._grid.first_kept(upto) if time != FOREVER else FOREVER
        if self._grid.single:
            taken, reduced = self._panes.take(kept_from)
            framed = self._grid.windows(taken, PANE, SMALLEST, LARGEST)
        else:
            reduced = False
            framed = self._grid.windows(self._panes.between(self._oldest(), upto), PANE, after, upto)
        results = self._shape(self._agg.results(framed, self._by, reduced=reduced)).collect()
        if not self._grid.single:
            self._panes.drop(kept_from)
        if results.height:
            yield results

    def _advance_tracked(self, time: EventTime) -> Iterable[Output]:
        after, upto = clamp(self._ctx.watermark), clamp(time)
        touched, self._touched = self._touched, []
        outputs = []
        if touched and self._lateness and self._ctx.watermark != NEVER:
            late = self._windows_of(touched, clamp(after - self._lateness), after)
            outputs.append(self._emit(self._panes.all().lazy(), late, "late"))
        if self._grid.next_end(max(after, self._panes.first)) <= upto:
            fires = self._grid.windows(self._panes.between(self._oldest(), upto), PANE, after, upto)
            outputs.append(self._tell(fires, "on_time"))
        if isinstance(self._early, AfterCount) and time != FOREVER:
            outputs.append(self._emit_after_count(self._panes.all().lazy(), upto, self._early.n))
        yield from (frame for frame in outputs if frame is not None)
        self._panes.drop(self._grid.first_kept(clamp(time - self._lateness)) if time != FOREVER else FOREVER)
        if time == FOREVER:
            self._emitted = [self._no_emissions()]
        elif len(self._emitted) > _EMISSIONS:
            self._emitted = [self._emissions().filter(pl.col(END) + self._lateness > time)]

    def on_clock(self, now: EventTime) -> Iterable[Output]:
        if self._next_early is None or now < self._next_early:
            return
        untold, self._untold, self._next_early = self._untold, [], None
        if not untold:
            return
        changed = self._windows_of(untold, clamp(self._ctx.watermark), LARGEST)
        frame = self._emit(self._panes.all().lazy(), changed, "early")
        if frame is not None:
            yield frame

    def due_clock(self) -> EventTime | None:
        return None if self._next_early is None else EventTime(self._next_early)

    def _emit_after_count(self, state: pl.LazyFrame, after: int, n: int) -> Batch | None:
        if self._panes.empty:
            return None
        counted = self._agg.reduce(state, [PANE, *self._keys]) if not self._agg.two_phase else state
        if not self._agg.two_phase:
            counted = counted.with_columns(pl.lit(1, pl.Int64).alias(ROWS))
        windows = self._grid.windows(counted, PANE, after, LARGEST).group_by(*self._by).agg(pl.col(ROWS).sum())
        known = windows.join(self._emissions().lazy(), on=self._by, how="left", nulls_equal=True)
        ready = known.filter(pl.col(ROWS) - pl.col(SEEN).fill_null(0) >= n).select(*self._by).collect()
        return self._emit(state, ready, "early")

    def _oldest(self) -> int:
        """Return the start of the first pane with a window that has not fired."""
        watermark = self._ctx.watermark
        return SMALLEST if watermark == NEVER else self._grid.first_kept(clamp(watermark))

    def _windows_of(self, touched: list[pl.DataFrame], after: int, upto: int) -> pl.DataFrame:
        panes = pl.concat(touched).lazy()
        return self._grid.windows(panes, PANE, after, upto).select(*self._by).unique().collect()

    def _emit(self, state: pl.LazyFrame, windows: pl.DataFrame, label: str) -> Batch | None:
        """Return the results of just these windows and keys."""
        if not windows.height:
            return None
        ends = windows[END]
        low, high = ends.min(), ends.max()
        assert isinstance(low, int)
        assert isinstance(high, int)
        framed = self._grid.windows(state, PANE, low - 1, high)
        return self._tell(framed.join(windows.lazy(), on=self._by, how="semi", nulls_equal=True), label)

    def _tell(self, framed: pl.LazyFrame, label: str) -> Batch | None:
        """Return results, each one revision further than what has been told of its window and key."""
        results = self._agg.results(framed, self._by, reduced=False)
        if label == "on_time" and self._early is None:
            results = results.with_columns(pl.lit(0, pl.Int64).alias(REVISION))
        else:
            results = results.join(self._emissions().lazy(), on=self._by, how="left", nulls_equal=True)
            results = results.with_columns((pl.col(REVISION) + 1).fill_null(0))
        told = self._shape(results.with_columns(pl.lit(label).alias(LABEL)), START, END, REVISION, ROWS).collect()
        if not told.height:
            return None
        self._emitted.append(told[[*self._by, REVISION, ROWS]].rename({ROWS: SEEN}))
        return told.drop(START, END, REVISION, ROWS)

    def _emissions(self) -> pl.DataFrame:
        if len(self._emitted) > 1:
            self._emitted = [pl.concat(self._emitted).unique(self._by, keep="last", maintain_order=True)]
        return self._emitted[0]

    # Halves: one operator takes rows and gives partials, others take the partials of their keys

    @property
    def divisible(self) -> bool:
        """Whether the work can be done by halves: partials say all that is needed of rows."""
        return self._agg.two_phase and not self._agg.plugins and not self._tracked

    def fires(self, after: EventTime, time: EventTime) -> bool:
        """Tell whether some window ends between two watermarks, as far as can be known without the rows."""
        return after == NEVER or time == FOREVER or self._grid.next_end(clamp(after)) <= clamp(time)

    def give_partials(self) -> pl.DataFrame:
        """Give away what is held."""
        return self._panes.empty_out()

    def take_partials(self, partials: pl.DataFrame) -> int:
        """Take what another has given away, or a part of it, and return for how many rows it stands."""
        self._panes.add_run(partials)
        return self._agg.state_rows(partials)

    # State

    def held(self) -> int:
        return self._panes.rows

    @property
    def released(self) -> int:  # type: ignore[override]
        """Input rows whose last window has closed."""
        return self._panes.released

    def snapshot(self) -> State:
        tables = {"panes": with_key_group(self._panes.all(), self._keys)}
        if self._tracked:
            tables["emitted"] = with_key_group(self._emissions(), self._keys)
            for name, panes in (("touched", self._touched), ("untold", self._untold)):
                tables[name] = with_key_group(pl.concat([self._no_touched(), *panes]), self._keys)
        return tables

    def restore(self, states: Iterable[State]) -> None:
        for state in states:
            self._panes.restore(state["panes"].drop(KEY_GROUP))
            if self._tracked:
                self._emitted.append(state["emitted"].drop(KEY_GROUP))
                for name, panes in (("touched", self._touched), ("untold", self._untold)):
                    changed = state[name].drop(KEY_GROUP)
                    panes += [changed] if changed.height else []
        if self._untold and isinstance(self._early, Every):
            self._next_early = next_tick(self._ctx.clock, self._early)

    def open_windows(self) -> pl.DataFrame:
        """Return the windows that wait: keys, `window_start`, `window_end`, and the rows each holds."""
        state = self._panes.all().lazy()
        counted = state if self._agg.two_phase else state.with_columns(pl.lit(1, pl.Int64).alias(ROWS))
        windows = self._grid.windows(counted, PANE, clamp(self._ctx.watermark - self._lateness), LARGEST)
        frame = windows.group_by(*self._by).agg(pl.col(ROWS).sum()).sort(END, *self._keys).collect()
        timed = "window_end" in self._agg.output
        bounds = [
            pl.col(column).cast(self._time_dtype).alias(name)
            for column, name in ((START, "window_start"), (END, "window_end"))
            if timed
        ]
        return frame.select(*self._keys, *bounds, pl.col(ROWS).alias("rows"))

    @property
    def _by(self) -> list[str]:
        return [START, END, *self._keys]

    def _shape(self, results: pl.LazyFrame, *kept: str) -> pl.LazyFrame:
        """Return results as they go out, and before them the columns `kept`."""
        columns: list[pl.Expr] = [pl.col(name) for name in (*kept, *self._keys)]
        if "window_end" in self._agg.output:
            columns.append(pl.col(START).cast(self._time_dtype).alias("window_start"))
            columns.append(pl.col(END).cast(self._time_dtype).alias("window_end"))
        if self._tracked:
            columns.append(pl.col(LABEL).cast(pl.Enum(["early", "on_time", "late"])).alias("pane"))
            columns.append(pl.col(REVISION).cast(pl.UInt32).alias("revision"))
        columns += [pl.col(name) for name in self._agg.names]
        # By key too, so that what comes after sees one order however the work was cut up.
        return results.sort(END, START, *self._keys).select(columns)

    def _no_emissions(self) -> pl.DataFrame:
        keys = {key: self._agg.schema[key] for key in self._keys}
        times = {START: pl.Int64, END: pl.Int64}
        return pl.DataFrame(schema={**times, **keys, REVISION: pl.Int64, SEEN: pl.Int64})

    def _no_touched(self) -> pl.DataFrame:
        keys = {key: self._agg.schema[key] for key in self._keys}
        return pl.DataFrame(schema={PANE: pl.Int64, **keys, ROWS: pl.Int64})
