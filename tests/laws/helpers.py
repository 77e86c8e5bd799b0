"""Operators as the plan makes them, and scripts to drive them with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl

import dataflare_nb as flare
from dataflare_nb.runtime.plan import plan
from dataflare_nb.types import End, EventTime, Message, Operator, Watermark

SECOND = 1_000_000
ROWS = pl.Schema({"k": pl.String(), "j": pl.Int32(), "t": pl.Datetime("us"), "v": pl.Int32(), "x": pl.Float64()})


def rows(*table: tuple[str | None, int, float | None, int | None, float | None]) -> pl.DataFrame:
    """Make a batch: key, second key, seconds since 1970, an integer, a float."""
    timed = [(k, j, None if t is None else round(t * SECOND), v, x) for k, j, t, v, x in table]
    return pl.DataFrame(timed, schema={**ROWS, "t": pl.Int64}, orient="row").cast({"t": pl.Datetime("us")})


def at(*seconds: float, key: str | None = "a") -> pl.DataFrame:
    """Make a batch of rows at these times."""
    return rows(*((key, 0, t, number, t / 2) for number, t in enumerate(seconds)))


def mark(seconds: float) -> Watermark:
    return Watermark(EventTime(round(seconds * SECOND)))


def operator(build: Callable[[flare.Stream], flare.Stream], schema: pl.Schema = ROWS) -> Callable[[], Operator]:
    """Return a factory of the operator that the last step of a stream becomes."""
    stream = build(flare.from_frame(pl.DataFrame(schema=schema)))
    factory = plan(stream.graph).stages[-1].operator
    assert factory is not None
    return factory


def timed(stream: flare.Stream) -> flare.Stream:
    return stream.event_time("t")


CLICKS: list[Message] = [
    rows(("a", 1, 1, 1, 0.5), ("b", 2, 3, 10, None), ("a", 1, 4, None, 1.5), (None, 1, 2, 7, -1.0)),
    mark(5),
    rows(("a", 1, 7, 2, 0.25), ("a", 2, 12, 4, 2.5), ("c", 1, -8, 3, 1.0), ("b", 2, 9.999999, 5, 0.1)),
    rows(("b", 1, 10, 6, 0.2), ("b", 1, 6, 6, 0.3)),
    mark(10),
    rows(("b", 2, 2, 99, 9.5), ("b", 2, 14, 5, 0.7), (None, 1, 8, 1, 1.0), ("a", 1, 9, 11, 0.75)),
    mark(12),
    rows(("a", 1, 11.5, 1, 1.0), ("a", 1, 3, 2, 2.0)),
    mark(19),
    rows(("a", 1, 25, 1, 1.0), ("d", 4, 21, 8, 0.5), ("a", 1, 12, 5, 5.0), ("a", 1, 13, 5, 5.0)),
    mark(40),
    mark(40),
    rows(("a", 1, 39, 2, 0.125), ("a", 1, 41, 3, 0.25), ("d", 4, 58, 3, 0.25)),
    End(),
]
"""Rows in and out of order, on borders, late and later, null keys and values, a negative time."""


def local(year: int, month: int, day: int, hour: float = 0.0, zone: str = "UTC") -> datetime:
    return datetime(year, month, day, tzinfo=UTC) + timedelta(hours=hour)
