"""Small streams to tell stories with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import polars as pl

import dataflare_nb as flare
from dataflare_nb import testing

EPOCH = datetime(1970, 1, 1)
T = pl.Datetime("us")


def at(*seconds: float | None, **columns: object) -> pl.DataFrame:
    """Make rows at these seconds since 1970, with further columns."""
    times = [None if s is None else EPOCH + timedelta(seconds=s) for s in seconds]
    return pl.DataFrame({"t": times, **columns}, schema_overrides={"t": T})


def on(*times: str, **columns: object) -> pl.DataFrame:
    """Make rows at these times, written out."""
    return pl.DataFrame({"t": times, **columns}).with_columns(pl.col("t").str.to_datetime(time_unit="us"))


def seconds(frame: pl.DataFrame, column: str = "window_start") -> list[float]:
    """Return a column of times in seconds since 1970."""
    return [(value.replace(tzinfo=None) - EPOCH).total_seconds() for value in frame[column]]


def bounds(frame: pl.DataFrame) -> list[tuple[float, float]]:
    return list(zip(seconds(frame), seconds(frame, "window_end"), strict=True))


def counted(frame: pl.DataFrame, value: str = "n") -> dict[tuple[float, float], object]:
    """Return a value for each window."""
    return dict(zip(bounds(frame), frame[value], strict=True))


def told(frame: pl.DataFrame) -> flare.Stream:
    """Stream a frame whose watermark is told after each row."""
    return flare.from_frame(frame).event_time("t", watermark_every=1)


@contextmanager
def live(stream: flare.Stream, clock: testing.ManualClock | None = None) -> Iterator[flare.Job]:
    """Run a live stream with one worker while the story lasts."""
    job = stream.run(workers=1, clock=clock or testing.clock())
    try:
        yield job
    finally:
        job.stop()
