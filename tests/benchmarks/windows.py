"""Tumbling windows and a stateless chain: ours beside one Polars batch and DuckDB."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl

import dataflare_nb as flare

ROWS_PER_SECOND = 100_000


def events(rows: int, keys: int, *, seed: int = 0) -> pl.DataFrame:
    """Return rows whose event time moves on by 10 us each, 100,000 rows a second, with half a second of disorder."""
    random = np.random.default_rng(seed)
    time_us = np.arange(rows, dtype=np.int64) * (1_000_000 // ROWS_PER_SECOND) + random.integers(0, 500_000, rows)
    return pl.DataFrame(
        {
            "ts": pl.Series(time_us).cast(pl.Datetime("us")),
            "key": random.integers(0, keys, rows),
            "value": random.integers(0, 1_000, rows),
        }
    )


def ours(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        flare.from_frame(frame)
        .event_time("ts", max_out_of_orderness="500ms")
        .key_by("key")
        .window(flare.tumbling("10s"))
        .agg(total=pl.col("value").sum(), rows=pl.len(), highest=pl.col("value").max())
        .collect()
    )


def polars_batch(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.lazy()
        .group_by("key", pl.col("ts").dt.truncate("10s").alias("window_start"))
        .agg(total=pl.col("value").sum(), rows=pl.len(), highest=pl.col("value").max())
        .collect()
    )


def duckdb_batch(frame: pl.DataFrame) -> pl.DataFrame:
    return duckdb.sql(
        "select key, time_bucket(interval '10 seconds', ts) window_start, sum(value) total, count(*) rows, "
        "max(value) highest from frame group by all"
    ).pl()


def chain_ours(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        flare.from_frame(frame)
        .filter(pl.col("value") >= 100)
        .with_columns(double=pl.col("value") * 2, share=pl.col("value") / 1_000)
        .collect()
    )


def chain_polars(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.lazy()
        .filter(pl.col("value") >= 100)
        .with_columns(double=pl.col("value") * 2, share=pl.col("value") / 1_000)
        .collect(engine="streaming")
    )
