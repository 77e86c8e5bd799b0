"""Make rows at a steady rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import polars as pl

from ..types import Batch, Clock, EndOfStream, Json, Schema
from .options import Options, Resources


class RateOptions(Options, frozen=True, kw_only=True):
    """Options of `rate`. Without `rows` it never ends; with `seed` the values are random and repeatable."""

    rows_per_second: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0
    rows: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None
    splits: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    seed: int | None = None


class RateSource:
    """Row `i` is due `i / rows_per_second` after the start; split `k` of `n` has the rows `k, k + n, ...`.

    Rows that fell due while nobody polled, or while the job was down, come with the next polls: none is skipped,
    and `timestamp` is when a row was due.
    """

    schema: Schema = pl.Schema({"value": pl.Int64(), "timestamp": pl.Datetime("us")})
    invalid_schema: Schema | None = None

    def __init__(self, options: RateOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._start: int | None = None
        self.bounded = options.rows is not None

    @classmethod
    def make(cls, options: RateOptions, resources: Resources) -> RateSource:
        return cls(options, resources.clock)

    def total_rows(self) -> int | None:
        return self._options.rows

    def splits(self) -> Sequence[str]:
        return [f"rate-{k}" for k in range(self._options.splits)]

    def open(self, split: str, offset: Json | None = None) -> RateReader:
        if self._start is None:
            self._start = offset["start"] if offset else self._clock.now()
        index = self.splits().index(split)
        start = offset["start"] if offset else self._start
        return RateReader(self._options, self._clock, index, start, offset["rows"] if offset else 0)


class RateReader:
    """One split of a rate."""

    def __init__(self, options: RateOptions, clock: Clock, index: int, start: int, given: int) -> None:
        self._options = options
        self._clock = clock
        self._index = index
        self._start = start
        self._given = given

    def poll(self, max_rows: int) -> Batch:
        options = self._options
        if options.rows is not None and self._given >= self._share(options.rows):
            raise EndOfStream
        due = int((self._clock.now() - self._start) * options.rows_per_second // 1_000_000) + 1
        if options.rows is not None:
            due = min(due, options.rows)
        rows = min(max(self._share(due) - self._given, 0), max_rows)
        first = self._index + self._given * options.splits
        i = pl.int_range(first, first + rows * options.splits, options.splits, dtype=pl.Int64)
        value = i if options.seed is None else _scatter(i, options.seed)
        offset = (i * (1_000_000 / options.rows_per_second)).floor().cast(pl.Int64)
        self._given += rows
        return pl.select(value=value, timestamp=(offset + self._start).cast(pl.Datetime("us")))

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        return {"rows": self._given, "start": self._start}

    def close(self) -> None:
        return None

    def _share(self, rows: int) -> int:
        """How many of the first `rows` rows are this split's."""
        return max(0, -(-(rows - self._index) // self._options.splits))


def _scatter(i: pl.Expr, seed: int) -> pl.Expr:
    # One step of a 64-bit linear congruence: the same numbers on every machine and Polars version.
    mixed = (i.cast(pl.UInt64) + pl.lit(seed % 2**64, pl.UInt64)) * pl.lit(6364136223846793005, pl.UInt64)
    mixed = (mixed + pl.lit(1442695040888963407, pl.UInt64)) // pl.lit(2**31, pl.UInt64)
    return (mixed * pl.lit(2862933555777941757, pl.UInt64) // pl.lit(2**33, pl.UInt64)).cast(pl.Int64)
