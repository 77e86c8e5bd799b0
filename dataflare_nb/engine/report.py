"""Explain a window: what it holds, whether it has fired, what it waits for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from ..dtypes import short
from ..errors import BadOption, WrongType, shown
from ..graph import Graph
from ..types import FOREVER, NEVER
from ..windows import Count, Global
from .stage import Stage


@dataclass(frozen=True)
class WindowReport:
    """The answer of `job.explain_window`. `open` holds the windows that wait, `fired` the newest results that match."""

    stage: str
    window: str
    watermark: dt.datetime | None
    ended: bool
    open: pl.DataFrame
    fired: pl.DataFrame
    late: int
    asked: str

    @classmethod
    def of(cls, graph: Graph, stage: Stage, key: Any, at: Any) -> WindowReport:
        """Look into a stage that nobody is running."""
        item = stage.plan.nodes[-1]
        edge = graph.edge(item.inputs[0])
        assert edge.window is not None
        assert stage.host is not None
        operator: Any = stage.host.operator
        wanted = _match({name: edge.schema[name] for name in edge.keys}, key)
        timed = edge.event_time is not None and not isinstance(edge.window.window, Count | Global)
        if at is not None and not timed:
            raise BadOption(f"at={shown(at)}, and {edge.window.window} has no times; leave it out")
        covers = (
            _covers(at, edge.schema[edge.event_time.column]) if at is not None and edge.event_time is not None else None
        )
        waiting: pl.DataFrame = operator.open_windows()
        results = stage.sample.get("main", pl.DataFrame(schema=graph.edges[item.id].schema))
        late = stage.sample.get("late")
        for expr in (wanted, covers):
            if expr is not None:
                waiting, results = waiting.filter(expr), results.filter(expr)
        if late is not None and wanted is not None:
            late = late.filter(wanted)
        if late is not None and covers is not None:
            late = late.rename({"missed_start": "window_start", "missed_end": "window_end"}).filter(covers)
        known = NEVER < stage.watermark < FOREVER
        dtype = edge.schema[edge.event_time.column] if edge.event_time is not None else None
        asked = " ".join(
            part for part in (f"key={key!r}" if key is not None else "", f"at={at}" if at is not None else "") if part
        )
        return cls(
            item.id,
            str(edge.window.window),
            _time(stage.watermark, dtype) if known else None,
            stage.watermark == FOREVER or stage.ended,
            waiting,
            results,
            late.height if late is not None else 0,
            asked,
        )

    def __repr__(self) -> str:
        head = f"{self.stage}: {self.window}{', ' + self.asked if self.asked else ''}"
        lines = [head, f"  watermark: {self.clock()}"]
        lines += [f"  open: {self._wait(row)}" for row in self.open.head(10).iter_rows(named=True)]
        if self.open.height > 10:
            lines.append(f"  and {self.open.height - 10} more open windows")
        for row in self.fired.tail(5).iter_rows(named=True):
            lines.append("  fired: " + ", ".join(f"{name}={value}" for name, value in row.items()))
        if self.late:
            lines.append(f"  late: {self.late} of the newest late rows missed it; see .late")
        if not self.open.height and not self.fired.height:
            lines.append("  nothing is known of it: no row has come for it, or it fired longer ago than is kept")
        return "\n".join(lines)

    def clock(self) -> str:
        """Say how far event time is."""
        if self.ended:
            return "at the end of time; everything has fired"
        return "not known yet: not every input has spoken" if self.watermark is None else str(self.watermark)

    def waits(self, row: dict[str, Any]) -> str:
        """Say what a window waits for, which is a row of `open`; nothing where its window has no end."""
        end = row.get("window_end")
        if end is None or self.watermark is None:
            return ""
        left = _utc(end) - _utc(self.watermark)
        if left > dt.timedelta(0):
            return f"fires when the watermark has moved on by {_span(left)}"
        return "has fired, and is kept for late rows"

    def _wait(self, row: dict[str, Any]) -> str:
        told, waits = ", ".join(f"{name}={value}" for name, value in row.items()), self.waits(row)
        return f"{told}; {waits}" if waits else told


def _span(time: dt.timedelta) -> str:
    """Say a length of time as people do.

    >>> _span(dt.timedelta(seconds=4, microseconds=416_141)), _span(dt.timedelta(minutes=30))
    ('4.4 s', '30 min')
    """
    left = time.total_seconds()
    for unit, size, most in (("ms", 1e-3, 1.0), ("s", 1.0, 60.0), ("min", 60.0, 3_600.0), ("h", 3_600.0, 86_400.0)):
        if left < most * 0.9995:
            return f"{_round(left / size)} {unit}"
    return f"{_round(left / 86_400.0)} d"


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 9.95 else f"{value:.0f}"


def _match(keys: Mapping[str, pl.DataType], key: Any) -> pl.Expr | None:
    if key is None:
        return None
    values = key if isinstance(key, tuple) else (key,)
    if len(values) != len(keys):
        raise WrongType(
            f"key={shown(key)} has {len(values)} values, and the stream is keyed by {', '.join(keys) or 'nothing'}; "
            + (f"give a tuple of {len(keys)}" if len(keys) > 1 else "give one value" if keys else "leave key= out")
        )
    pairs = zip(keys.items(), values, strict=True)
    return pl.all_horizontal(pl.lit(True), *(_equals(name, dtype, value) for (name, dtype), value in pairs))


def _equals(name: str, dtype: pl.DataType, value: Any) -> pl.Expr:
    try:
        wanted = pl.col(name).eq_missing(pl.lit(value))
        pl.DataFrame(schema={name: dtype}).filter(wanted)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        raise WrongType(f"key={shown(value)} cannot be a value of `{name}`, which is {short(dtype)}") from None
    return wanted


def _covers(at: Any, dtype: pl.DataType) -> pl.Expr:
    try:
        moment = _moment(at, dtype)
    except (pl.exceptions.PolarsError, ValueError, TypeError, OverflowError):
        raise WrongType(f"at={shown(at)} is not a time; write it as '2013-01-05 10:00' or a datetime") from None
    return (pl.col("window_start") <= moment) & (pl.col("window_end") > moment)


def _moment(at: Any, dtype: pl.DataType) -> pl.Expr:
    value = dt.datetime.fromisoformat(at) if isinstance(at, str) else at
    if isinstance(value, dt.datetime):
        return _zoned(value, dtype)
    if isinstance(value, dt.date):
        return _zoned(dt.datetime(value.year, value.month, value.day), dtype)
    raise TypeError("not a time")


def _zoned(value: dt.datetime, dtype: pl.DataType) -> pl.Expr:
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    naive = pl.lit(value)
    if value.tzinfo is None:
        return naive.dt.replace_time_zone(zone) if zone else naive
    return naive.dt.convert_time_zone(zone) if zone else naive.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _time(us: int, dtype: pl.DataType | None) -> dt.datetime:
    """Return a time as the event time's column has its times: in its zone, if it has one."""
    time = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    return time if zone is None else time.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone))


def _utc(time: dt.datetime) -> dt.datetime:
    """Times of one zone would be told apart by their clocks, an hour wrong where clocks are changed between them."""
    return time if time.tzinfo is None else time.astimezone(dt.UTC)
