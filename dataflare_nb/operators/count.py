"""Windows of so many rows per key, in the order they arrive."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ..graph.schema import TimeRef
from ..types import FOREVER, Batch, EventTime, Output, State
from .aggregation import ROWS, Aggregation
from .keys import COLUMN as KEY_GROUP
from .keys import with_key_group
from .operator import WindowOperator
from .panes import TIME, times_of, with_times

NUMBER, LOW, HIGH, COUNT, FILLED = "__number", "__low", "__high", "__count", "__filled"


class CountWindows(WindowOperator):
    """Give a result for each `n` rows of a key; what is left at the end is a smaller window."""

    def __init__(self, aggregation: Aggregation, n: int, time: TimeRef | None) -> None:
        self._agg = aggregation
        self._keys = list(aggregation.keys)
        self._n = n
        self._time = time
        self._by = [*self._keys, NUMBER]
        self._state = self._nothing()
        self._counts = self._no_counts()
        self._held = 0
        self.released = 0
        """Input rows whose window is full."""

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        if not batch.height:
            return
        rows = with_times(batch, times_of(batch, self._time), self._agg.needed).lazy()
        position = pl.int_range(pl.len(), dtype=pl.Int64)
        position = position.over(self._keys) if self._keys else position
        if self._keys:
            rows = rows.join(self._counts.lazy(), on=self._keys, how="left", nulls_equal=True, maintain_order="left")
        else:
            rows = rows.with_columns(pl.lit(self._counts[COUNT].sum(), pl.Int64).alias(COUNT))
        rows = rows.with_columns(((pl.col(COUNT).fill_null(0) + position) // self._n).alias(NUMBER))
        filled = rows.with_row_index(FILLED).group_by(*self._by).agg(pl.col(FILLED).max()).collect()
        both = pl.concat([self._state.lazy(), self._reduced(rows)])
        state = self._merged(both).collect()
        counts = state.lazy().group_by(*self._by).agg(self._size()).collect()
        full = counts.filter(pl.col(COUNT) == self._n)
        self._held += batch.height - full.height * self._n
        self.released += full.height * self._n
        done = state.join(full, on=self._by, how="semi", nulls_equal=True)
        open_ = state.join(full, on=self._by, how="anti", nulls_equal=True, maintain_order="left")
        self._state = open_.with_columns(pl.lit(0, pl.Int64).alias(NUMBER))
        self._counts = counts.filter(pl.col(COUNT) < self._n).select(*self._keys, COUNT)
        if done.height:
            yield self._shape(done, filled)

    def due(self) -> EventTime | None:
        return EventTime(FOREVER) if self._held else None

    def on_watermark(self, time: EventTime) -> Iterable[Output]:
        if time != FOREVER or not self._held:
            return
        yield self._shape(self._state, None)
        self.released += self._held
        self._state, self._counts, self._held = self._nothing(), self._no_counts(), 0

    def held(self) -> int:
        return self._held

    def snapshot(self) -> State:
        return {
            "state": with_key_group(self._state, self._keys),
            "counts": with_key_group(self._counts, self._keys),
        }

    def restore(self, states: Iterable[State]) -> None:
        for state in states:
            self._state = pl.concat([self._state, state["state"].drop(KEY_GROUP)])
            self._counts = pl.concat([self._counts, state["counts"].drop(KEY_GROUP)])
        self._held = int(self._counts[COUNT].sum())

    def open_windows(self) -> pl.DataFrame:
        """Return the windows that wait for rows: keys, and the rows each holds."""
        return self._counts.rename({COUNT: "rows"})

    def _reduced(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if not self._agg.two_phase:
            return rows.select(self._columns())
        spans = rows.group_by(*self._by).agg(pl.col(TIME).min().alias(LOW), pl.col(TIME).max().alias(HIGH))
        return self._agg.reduce(rows, self._by).join(spans, on=self._by, nulls_equal=True).select(self._columns())

    def _merged(self, both: pl.LazyFrame) -> pl.LazyFrame:
        if not self._agg.two_phase:
            return both
        spans = both.group_by(*self._by).agg(pl.col(LOW).min(), pl.col(HIGH).max())
        return self._agg.merge(both, self._by).join(spans, on=self._by, nulls_equal=True).select(self._columns())

    def _size(self) -> pl.Expr:
        return (pl.col(ROWS).sum() if self._agg.two_phase else pl.len().cast(pl.Int64)).alias(COUNT)

    def _shape(self, state: pl.DataFrame, filled: pl.DataFrame | None) -> Batch:
        """Return results in the order in which their windows were filled, else of their keys."""
        lazy = state.lazy()
        low, high = (LOW, HIGH) if self._agg.two_phase else (TIME, TIME)
        spans = lazy.group_by(*self._by).agg(pl.col(low).min().alias(LOW), pl.col(high).max().alias(HIGH))
        results = self._agg.results(lazy, self._by, reduced=False).join(spans, on=self._by, nulls_equal=True)
        columns: list[pl.Expr] = [pl.col(key) for key in self._keys]
        if self._time is not None:
            dtype = self._agg.schema[self._time.column]
            columns.append(pl.col(LOW).cast(dtype).alias("window_start"))
            columns.append((pl.col(HIGH) + 1).cast(dtype).alias("window_end"))
        columns += [pl.col(name) for name in self._agg.names]
        if filled is None:
            return results.sort(NUMBER, *self._keys).select(columns).collect()
        ordered = results.join(filled.lazy(), on=self._by, how="left", nulls_equal=True).sort(FILLED)
        return ordered.select(columns).collect()

    def _columns(self) -> list[str]:
        if not self._agg.two_phase:
            return [TIME, NUMBER, *self._agg.needed]
        return [*self._by, LOW, HIGH, *self._agg.partials, ROWS]

    def _nothing(self) -> pl.DataFrame:
        rows = pl.LazyFrame(schema=self._agg.schema).select(self._agg.needed)
        framed = rows.with_columns(pl.lit(0, pl.Int64).alias(TIME), pl.lit(0, pl.Int64).alias(NUMBER))
        return self._reduced(framed.select(TIME, *self._agg.needed, NUMBER)).collect()

    def _no_counts(self) -> pl.DataFrame:
        return pl.DataFrame(schema={**{key: self._agg.schema[key] for key in self._keys}, COUNT: pl.Int64})
