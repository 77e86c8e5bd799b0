"""Sessions: rows of one key that follow each other closely."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ..graph.schema import TimeRef
from ..types import FOREVER, NEVER, Batch, EventTime, Output, Schema, Side, State
from ..windows import AfterCount, EarlySpec, Every
from .aggregation import ROWS, Aggregation
from .grid import clamp
from .keys import COLUMN as KEY_GROUP
from .keys import with_key_group
from .operator import WindowOperator, next_tick
from .panes import MEMTABLE_ROWS, TIME, physical_time, times_of, with_times

_KEY_RANGE = 1 << 65
START, LAST, REVISION, CHANGED, SEEN = "__start", "__last", "__revision", "__changed", "__seen"
SID, ROW, LATE = "__sid", "__row", "__late"


class Sessions(WindowOperator):
    """Aggregate per key and session.

    State is a table of pieces: rows, or partial sessions that may still grow together. When time passes, the pieces of
    a key are sorted by start and cut where the next start is more than `gap` after everything before it. A row that is
    behind the watermark by itself is late unless it belongs to a session that is still kept, which is decided at the
    next watermark, so that how rows are cut into batches does not matter.

    A row at the end of a session, a gap after its last, still belongs to it. So a session has ended when the watermark
    is past its end: at the end itself such a row may yet come.
    """

    def __init__(
        self,
        aggregation: Aggregation,
        gap: int,
        time: TimeRef,
        *,
        allowed_lateness: int = 0,
        early: EarlySpec | None = None,
        late_schema: Schema,
    ) -> None:
        self._agg = aggregation
        self._keys = list(aggregation.keys)
        self._gap = gap
        self._reach = gap + 1
        """From the last row of a session to the first instant at which nothing can belong to it any more."""
        self._time = time
        self._lateness = allowed_lateness
        self._early = early
        self._tracked = bool(allowed_lateness) or early is not None
        self._late_schema = late_schema
        self._time_dtype = aggregation.schema[time.column]
        self._fresh: list[pl.DataFrame] = []
        self._suspects: list[pl.DataFrame] = []
        self._pieces = self._no_pieces()
        self._held = 0
        self.released = 0
        """Input rows whose session has closed."""
        self._first_end: int = FOREVER
        self._next_early: int | None = None
        self._untold = False
        """Rows have come since the last watermark."""
        self._overdue = False
        """A session that has ended has changed since it was told."""

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        if not batch.height:
            return ()
        self._held += batch.height
        times = times_of(batch, self._time)
        watermark = self._ctx.watermark
        low = times.min()
        assert isinstance(low, int)
        if watermark != NEVER and low + self._reach + self._lateness <= watermark:
            behind = times + (self._reach + self._lateness) <= watermark
            self._suspects.append(batch.filter(behind))
            batch, times = batch.filter(~behind), times.filter(~behind)
        if batch.height:
            self._fresh.append(with_times(batch, times, self._agg.needed))
            first = times.min()
            assert isinstance(first, int)
            self._first_end = min(self._first_end, first + self._reach)
            self._untold = True
            if self._agg.two_phase and sum(rows.height for rows in self._fresh) > MEMTABLE_ROWS:
                self._merge_fresh()
        if isinstance(self._early, Every) and self._next_early is None:
            self._next_early = next_tick(self._ctx.clock, self._early)
        return ()

    def due(self) -> EventTime | None:
        if self._suspects or self._overdue or (self._untold and isinstance(self._early, AfterCount)):
            return NEVER
        if not self._fresh and not self._pieces.height:
            return None
        if self._untold and self._lateness and self._first_end <= self._ctx.watermark:
            return NEVER
        return EventTime(self._first_end)

    def on_watermark(self, time: EventTime) -> Iterable[Output]:
        before = self._ctx.watermark
        if time == FOREVER:
            self._next_early = None
        yield from self._settle()
        self._untold = False
        pieces = self._pieces
        if not pieces.height:
            return
        sessions = self._assigned(pieces).collect()
        ended = (pl.col(LAST + "_max") + self._reach) <= (clamp(time) if time != FOREVER else FOREVER)
        # What ends now is told even when an early result has said it all.
        ends_now = ended & (pl.col(LAST + "_max") + self._reach > before)
        fire = ends_now | (ended & pl.col(CHANGED + "_any")) if self._tracked else ended
        if self._tracked:
            late = (pl.col(LAST + "_max") + self._reach <= before) & fire
            yield from self._emit(sessions.filter(late), "late")
            yield from self._emit(sessions.filter(fire & ~late), "on_time")
            sessions = self._said(sessions, fire)
            if isinstance(self._early, AfterCount) and time != FOREVER:
                many = ~ended & (pl.col("__rows_sum") - pl.col(SEEN + "_max") >= self._early.n)
                yield from self._emit(sessions.filter(many), "early")
                sessions = self._said(sessions, many)
            kept = (pl.col(LAST + "_max") + (self._reach + self._lateness)) > (
                clamp(time) if time != FOREVER else FOREVER
            )
            gone = sessions.filter(~kept) if time != FOREVER else sessions
            sessions = sessions.filter(kept) if time != FOREVER else sessions.clear()
        else:
            gone = sessions.filter(ended)
            yield from self._emit(gone, "on_time")
            sessions = sessions.filter(~ended)
        self.released += self._agg.state_rows(gone)
        self._keep(sessions.select(self._columns()), after=time)

    def on_clock(self, now: EventTime) -> Iterable[Output]:
        if self._next_early is None or now < self._next_early:
            return
        self._next_early = None
        self._merge_fresh()
        sessions = self._assigned(self._pieces).collect()
        open_ = (pl.col(LAST + "_max") + self._reach > self._ctx.watermark) & pl.col(CHANGED + "_any")
        yield from self._emit(sessions.filter(open_), "early")
        self._keep(self._said(sessions, open_).select(self._columns()), after=self._ctx.watermark)

    def due_clock(self) -> EventTime | None:
        return None if self._next_early is None else EventTime(self._next_early)

    def held(self) -> int:
        return self._held

    def snapshot(self) -> State:
        self._merge_fresh()
        tables = {"pieces": with_key_group(self._pieces, self._keys)}
        if self._suspects:
            tables["suspects"] = with_key_group(pl.concat(self._suspects), self._keys)
        return tables

    def restore(self, states: Iterable[State]) -> None:
        for state in states:
            self._pieces = pl.concat([self._pieces, state["pieces"].drop(KEY_GROUP)])
            if "suspects" in state:
                self._suspects.append(state["suspects"].drop(KEY_GROUP))
        self._keep(self._pieces, after=NEVER)
        self._untold = bool(self._pieces[CHANGED].any())
        if isinstance(self._early, Every) and self._pieces.height:
            self._next_early = next_tick(self._ctx.clock, self._early)

    def open_windows(self) -> pl.DataFrame:
        """Return the sessions that are kept: keys, `window_start`, `window_end`, and the rows each holds."""
        self._merge_fresh()
        sessions = (
            self._assigned(self._pieces)
            .group_by(*self._keys, SID)
            .agg(pl.col(START).min(), pl.col(LAST).max() + self._gap, rows=pl.col("__rows_sum").first())
        )
        return (
            sessions.sort(LAST, *self._keys)
            .select(
                *self._keys,
                pl.col(START).cast(self._time_dtype).alias("window_start"),
                pl.col(LAST).cast(self._time_dtype).alias("window_end"),
                "rows",
            )
            .collect()
        )

    def _settle(self) -> Iterable[Output]:
        """Bring in what has come since the last watermark; rows that are late after all go to the side output."""
        if not self._suspects:
            self._merge_fresh()
            return
        suspects = pl.concat(self._suspects).with_row_index(ROW)
        self._suspects = []
        self._merge_fresh()
        rows = suspects.select(ROW, physical_time(self._time), *self._keys)
        marked = pl.concat(
            [
                rows.lazy().select(pl.col(TIME).alias(START), pl.col(TIME).alias(LAST), *self._keys, pl.col(ROW)),
                self._pieces.lazy().select(START, LAST, *self._keys, pl.lit(None, pl.UInt32).alias(ROW)),
            ]
        )
        decided = self._cut(marked).with_columns(pl.col(ROW).is_not_null().all().over(SID).alias(LATE))
        late_rows = decided.filter(pl.col(LATE)).select(ROW).collect()
        is_late = suspects[ROW].is_in(late_rows[ROW].implode())
        late = suspects.filter(is_late)
        welcome = suspects.filter(~is_late)
        if late.height:
            time = pl.col(self._time.column).to_physical() + self._time.shift
            self._held -= late.height
            yield Side(
                "late",
                late.with_columns(
                    time.cast(self._time_dtype).alias("missed_start"),
                    (time + self._gap).cast(self._time_dtype).alias("missed_end"),
                    (self._ctx.watermark - time).cast(pl.Duration("us")).alias("late_by"),
                ).select(self._late_schema.names()),
            )
        if welcome.height:
            self._fresh.append(welcome.select(physical_time(self._time), *self._agg.needed))
            self._merge_fresh()

    def _merge_fresh(self) -> None:
        if not self._fresh:
            return
        rows = pl.concat(self._fresh).lazy()
        self._fresh = []
        pieces = rows.with_columns(
            pl.col(TIME).alias(START),
            pl.col(TIME).alias(LAST),
            pl.lit(-1, pl.Int64).alias(REVISION),
            pl.lit(True).alias(CHANGED),
            pl.lit(0, pl.Int64).alias(SEEN),
        )
        if self._agg.two_phase:
            self._pieces = self._joined(pieces.collect())
        else:
            self._pieces = pl.concat([self._pieces, pieces.select(self._columns()).collect()])

    def _joined(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the partial sessions that there are after some rows have come; no two of them can grow together."""
        marks = [frame.select(START, LAST, *self._keys) for frame in (self._pieces, rows)]
        sid = self._cut(pl.concat(marks).lazy()).select(SID).collect().to_series()
        old = self._pieces.with_columns(sid[: self._pieces.height])
        new = self._grouped(rows.with_columns(sid[self._pieces.height :]), reduce=True)
        grows = old[SID].is_in(new[SID].implode())
        parts = [old, new]
        if grows.any():
            grown = old.filter(grows)
            joins = new[SID].is_in(grown[SID].implode())
            both = pl.concat([grown, new.filter(joins).select(grown.columns)])
            parts = [old.filter(~grows), new.filter(~joins), self._grouped(both, reduce=False)]
        return pl.concat([part.select(self._columns()) for part in parts], rechunk=True)

    def _grouped(self, cut: pl.DataFrame, *, reduce: bool) -> pl.DataFrame:
        own = [
            pl.col(START).min(),
            pl.col(LAST).max(),
            pl.col(REVISION).max(),
            pl.col(CHANGED).any(),
            pl.col(SEEN).max(),
            *(pl.col(key).first() for key in self._keys),
        ]
        work = self._agg.reduce if reduce else self._agg.merge
        return work(cut.lazy(), [SID], own).collect()

    def _cut(self, pieces: pl.LazyFrame) -> pl.LazyFrame:
        """Add `__sid`, a number per session, keeping the order of the rows."""
        ordered = pieces.with_row_index("__at").sort(*self._keys, START, "__at", nulls_last=False)
        # Each key has a range of time for itself; a window over keys would be slow where they are many.
        key = (pl.struct(self._keys) if len(self._keys) > 1 else pl.col(self._keys[0])).rle_id() if self._keys else 0
        own = (pl.lit(0, pl.Int128) + key) * _KEY_RANGE
        reach = (own + pl.col(LAST)).cum_max().shift(1) + self._gap
        starts = ((own + pl.col(START)) > reach).fill_null(True)
        return ordered.with_columns(starts.cum_sum().alias(SID)).sort("__at").drop("__at")

    def _assigned(self, pieces: pl.DataFrame) -> pl.LazyFrame:
        """Add to each piece what is known of its whole session."""
        if self._agg.two_phase:
            # A partial session is all of it.
            return pieces.lazy().with_columns(
                pl.int_range(pl.len()).alias(SID),
                pl.col(LAST).alias(LAST + "_max"),
                pl.col(CHANGED).alias(CHANGED + "_any"),
                pl.col(SEEN).alias(SEEN + "_max"),
                pl.col(ROWS).alias("__rows_sum"),
            )
        rows = pl.len().cast(pl.Int64)
        return self._cut(pieces.lazy()).with_columns(
            pl.col(LAST).max().over(SID).alias(LAST + "_max"),
            pl.col(CHANGED).any().over(SID).alias(CHANGED + "_any"),
            pl.col(SEEN).max().over(SID).alias(SEEN + "_max"),
            rows.over(SID).alias("__rows_sum"),
        )

    def _emit(self, sessions: pl.DataFrame, label: str) -> Iterable[Output]:
        if not sessions.height:
            return
        state = sessions.lazy()
        bounds = [pl.col(START).min(), pl.col(LAST).max() + self._gap, pl.col(REVISION).max() + 1]
        if self._agg.two_phase:
            told = state.with_columns(pl.col(LAST) + self._gap, pl.col(REVISION) + 1)
            results = self._agg.results(told, [*self._keys, START, LAST, REVISION], reduced=True)
        else:
            whole = state.group_by(SID).agg(*bounds, *(pl.col(key).first() for key in self._keys))
            results = self._agg.results(state, [SID], reduced=False).join(whole, on=SID)
        columns: list[pl.Expr] = [pl.col(key) for key in self._keys]
        columns.append(pl.col(START).cast(self._time_dtype).alias("window_start"))
        columns.append(pl.col(LAST).cast(self._time_dtype).alias("window_end"))
        if self._tracked:
            columns.append(pl.lit(label).cast(pl.Enum(["early", "on_time", "late"])).alias("pane"))
            columns.append(pl.col(REVISION).cast(pl.UInt32).alias("revision"))
        columns += [pl.col(name) for name in self._agg.names]
        yield results.sort(LAST, START, *self._keys).select(columns).collect()

    def _said(self, sessions: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
        """Note that some sessions have been told."""
        revision = pl.col(REVISION).max().over(SID) + 1
        return sessions.with_columns(
            pl.when(which).then(revision).otherwise(pl.col(REVISION)).alias(REVISION),
            pl.when(which).then(False).otherwise(pl.col(CHANGED)).alias(CHANGED),
            pl.when(which).then(pl.col("__rows_sum")).otherwise(pl.col(SEEN)).alias(SEEN),
        ).with_columns(
            pl.col(CHANGED).any().over(SID).alias(CHANGED + "_any"),
            pl.col(SEEN).max().over(SID).alias(SEEN + "_max"),
        )

    def _keep(self, pieces: pl.DataFrame, *, after: EventTime) -> None:
        self._pieces = pieces
        self._held = self._agg.state_rows(pieces) + sum(f.height for f in (*self._fresh, *self._suspects))
        self._first_end, self._overdue = FOREVER, False
        if pieces.height:
            # Ends of what has fired and waits for its lateness count from then on.
            known = self._assigned(pieces).select(LAST + "_max", CHANGED + "_any").collect()
            ends = known[LAST + "_max"] + self._reach
            reached = max(after, self._ctx.watermark)
            self._overdue = self._tracked and bool((known[CHANGED + "_any"] & (ends <= reached)).any())
            purges = ends + self._lateness
            coming = [ends.filter(ends > after).min(), purges.filter(purges > after).min()]
            self._first_end = min((e for e in coming if isinstance(e, int)), default=FOREVER)
        for rows in self._fresh:
            low = rows[TIME].min()
            assert isinstance(low, int)
            self._first_end = min(self._first_end, low + self._reach)

    def _columns(self) -> list[str]:
        own = [START, LAST, REVISION, CHANGED, SEEN]
        if not self._agg.two_phase:
            return [*own, *self._agg.needed]
        return [*own, *self._keys, *self._agg.partials, ROWS]

    def _no_pieces(self) -> pl.DataFrame:
        rows = pl.LazyFrame(schema={TIME: pl.Int64, **{n: self._agg.schema[n] for n in self._agg.needed}}).with_columns(
            pl.col(TIME).alias(START),
            pl.col(TIME).alias(LAST),
            pl.lit(-1, pl.Int64).alias(REVISION),
            pl.lit(True).alias(CHANGED),
            pl.lit(0, pl.Int64).alias(SEEN),
        )
        found = rows.collect()
        if self._agg.two_phase:
            found = self._grouped(self._cut(rows).collect(), reduce=True)
        return found.select(self._columns())
