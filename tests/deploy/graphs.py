"""Streams that the tests of deployments share. No path in them is one of this machine."""

from __future__ import annotations

import polars as pl

import dataflare_nb as flare
from dataflare_nb import Stream

FLIGHTS = pl.DataFrame(
    {
        "at": [0, 700, 1_500, 4_000, 3_700, 8_000, 200],
        "origin": ["JFK", "LGA", "JFK", "EWR", "JFK", "LGA", "JFK"],
        "dep": [4.0, 1.0, 0.0, 9.0, 3.0, 5.0, 2.0],
        "arr": [1.0, 2.0, 0.0, 4.0, 3.0, 1.0, 0.0],
    }
)


@flare.udf
def gained(dep: float, arr: float) -> float:
    return max(dep - arr, 0.0)


def doubled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(double=pl.col("gained") * FACTOR)


FACTOR = 2


def hourly() -> Stream:
    """A frame, a filter, a compiled function, a Python function, a plugin, and windows of an hour."""
    return (
        flare.from_frame(FLIGHTS)
        .event_time("at", "15m", unit="s")
        .filter(pl.col("dep").is_not_null())
        .with_columns(gained=gained("dep", "arr"))
        .map_batches(doubled)
        .wasm("plugins/carrier_code/plugin.json", column="origin")
        .key_by("origin")
        .window(flare.tumbling("1h"), allowed_lateness="10m")
        .agg(flights=pl.len(), gained=pl.col("gained").sum(), double=pl.col("double").sum())
        .named("hourly")
    )
