"""Event time: a column becomes the clock of the stream, split by split."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from ..graph.node import EventTime as EventTimeNode
from ..types import NEVER, Batch, EventTime, Output, Schema, Side, Split, State
from .operator import BaseOperator

_PER_SECOND = {"s": 1_000_000, "ms": 1_000, "us": 1}
_FIRST, _END = -62_135_596_800, 253_402_300_800
"""The years 1 to 9999 in seconds: what Python can hold, and far from where a window would leave 64 bits."""


class AssignEventTime(BaseOperator):
    """Bring the event-time column to `Datetime("us")`, put rows without a time aside, and tell the watermark.

    The watermark of a split is the largest event time it has given, less `max_out_of_orderness`.
    """

    def __init__(self, node: EventTimeNode, schema: Schema) -> None:
        self._column = node.column
        self._slack = node.max_out_of_orderness
        self._convert = _conversion(node, schema[node.column])
        self._low, self._high = _range(node, schema[node.column])
        self._largest: dict[Split, int] = {}
        self._newest: int | None = None

    def process(self, batch: Batch, port: int = 0, split: Split = ()) -> Iterable[Output]:
        given = batch[self._column]
        raw = given.cast(pl.Int64) if given.dtype.is_temporal() else given
        low, high = raw.min(), raw.max()
        beyond = None
        usable = batch
        if isinstance(low, int) and isinstance(high, int) and (low < self._low or high > self._high):
            # Before anything is multiplied: it would wrap around.
            beyond = _outside(raw, self._low if low < self._low else None, self._high if high > self._high else None)
            usable = batch.with_columns(given.zip_with(~beyond, given.clear(given.len())))
        out = usable if self._convert is None else usable.with_columns(self._convert.alias(self._column))
        times = out[self._column]
        if times.null_count():
            bad = times.is_null()
            was_null = batch[self._column].is_null().filter(bad)
            too_far = was_null & False if beyond is None else beyond.filter(bad)
            reason = pl.select(
                pl.when(was_null)
                .then(pl.lit(f"null event time in `{self._column}`"))
                .when(too_far)
                .then(pl.lit(f"`{self._column}` is not in the years 1 to 9999"))
                .otherwise(pl.lit(f"`{self._column}` is not a time that exists"))
                .alias("reason")
            )["reason"]
            yield Side("invalid", batch.filter(bad).with_columns(reason))
            out = out.filter(~bad)
            times = out[self._column]
        if out.height:
            largest = high if out is batch else times.cast(pl.Int64).max()
            assert isinstance(largest, int)
            self._largest[split] = max(largest, self._largest.get(split, NEVER))
            self._newest = largest if self._newest is None else max(largest, self._newest)
            yield out

    def watermark(self, split: Split = ()) -> EventTime:
        """Return the time that a split has reached."""
        largest = self._largest.get(split)
        return NEVER if largest is None else EventTime(max(largest - self._slack, NEVER + 1))

    def newest(self) -> int | None:
        """Return the largest event time seen."""
        return self._newest

    def forget(self, split: Split) -> None:
        """Drop a split that has ended."""
        self._largest.pop(split, None)

    def snapshot(self) -> dict[str, pl.DataFrame]:
        rows = [(json.dumps(split), largest) for split, largest in self._largest.items()]
        return {"splits": pl.DataFrame(rows, schema={"split": pl.String, "largest": pl.Int64}, orient="row")}

    def restore(self, states: Iterable[State]) -> None:
        for state in states:
            for split, largest in state["splits"].iter_rows():
                self._largest[tuple(json.loads(split))] = largest
        self._newest = max(self._largest.values(), default=None)


def _conversion(node: EventTimeNode, dtype: pl.DataType) -> pl.Expr | None:
    column = pl.col(node.column)
    zone = node.time_zone
    if isinstance(dtype, pl.Datetime):
        exact = dtype.time_unit == "us"
        if zone is None or zone == dtype.time_zone:
            return None if exact else column.dt.cast_time_unit("us")
        # Hours that daylight saving skips become null, and so invalid; of the hours it repeats, the first is meant.
        local = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return local if exact else local.dt.cast_time_unit("us")
    if isinstance(dtype, pl.Date):
        naive = column.cast(pl.Datetime("us"))
        return naive if zone is None else naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    as_int = column.cast(pl.Int64)
    us = as_int.floordiv(1_000) if node.unit == "ns" else as_int * _PER_SECOND[node.unit or "us"]
    return us.cast(pl.Datetime("us", zone))


def _range(node: EventTimeNode, dtype: pl.DataType) -> tuple[int, int]:
    """Return the first and the last time that is taken, in the unit of the column."""
    if isinstance(dtype, pl.Date):
        return _FIRST // 86_400, _END // 86_400 - 1
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else node.unit or "us"
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    return max(_FIRST * per_second, -(2**63)), min(_END * per_second, 2**63) - 1


def _outside(raw: pl.Series, low: int | None, high: int | None) -> pl.Series:
    """Mark what is beyond a bound. One that nothing is beyond is None: the column's type may not hold it."""
    outside = pl.repeat(False, raw.len(), dtype=pl.Boolean, eager=True)
    if low is not None:
        outside |= (raw < low).fill_null(False)
    if high is not None:
        outside |= (raw > high).fill_null(False)
    return outside
