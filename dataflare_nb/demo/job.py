"""The job itself: delays by the hour at the three airports, and the flights that came too late to count."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import dataflare_nb as flare

SLACK_MINUTES, LATENESS_MINUTES = 15, 10
WATERMARK_EVERY = 256
LATENCY = "100ms"
"""As if the flights came live: small batches, and a source that waits while the windows are busy."""


@flare.udf
def won_back(dep_delay: float, arr_delay: float) -> float:
    """Return the minutes that a flight made up in the air."""
    return max(dep_delay - arr_delay, 0.0)


def hourly(path: Path) -> flare.Stream:
    """Describe the job on a Parquet file of `data.flights()`."""
    return (
        flare.read_parquet(path)
        .event_time("scheduled", max_out_of_orderness=f"{SLACK_MINUTES}m", watermark_every=WATERMARK_EVERY)
        .with_columns(won_back=won_back("dep_delay", "arr_delay"))
        .wasm(flare.wasm.bundled_plugin("carrier_code"), column="carrier")
        .key_by("origin")
        .window(flare.tumbling("1h"), allowed_lateness=f"{LATENESS_MINUTES}m")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("dep_delay").is_null().sum(),
            mean_delay=pl.col("dep_delay").mean(),
            worst_delay=pl.col("dep_delay").max(),
            won_back=pl.col("won_back").mean(),
        )
        .named("hourly")
    )


def start(path: Path, out: Path, *, workers: int | None = None) -> flare.Job:
    """Start the job; windows go to `hourly.parquet`, late rows to `late.parquet`."""
    windows = hourly(path)
    return flare.run(
        windows.write_parquet(out / "hourly.parquet", mode="overwrite"),
        windows.late.write_parquet(out / "late.parquet", mode="overwrite"),
        name="flights",
        workers=workers,
        latency=LATENCY,
    )
