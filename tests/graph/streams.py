"""Streams that between them have every kind of node."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

import dataflare_nb as flare

PLUGIN = Path(__file__).parents[2] / "plugins/carrier_code/plugin.json"
FRAME = pl.DataFrame(
    {
        "origin": ["JFK", "EWR", "JFK"],
        "carrier": ["AA", "UA", "B6"],
        "dep_delay": [3.0, None, -1.0],
        "arr_delay": [1.0, 2.0, -3.0],
        "tags": [["a"], [], ["b", "c"]],
        "place": [{"lat": 1.0, "lon": 2.0}] * 3,
        "sched": [datetime(2013, 1, 1, hour) for hour in (1, 2, 3)],
    }
)

FLIGHTS = flare.from_frame(FRAME)


@flare.udf
def gained(dep_delay: float, arr_delay: float) -> float:
    return max(dep_delay - arr_delay, 0.0)


@flare.udf
def positive(x: float) -> bool:
    return x > 0.0


def unchanged(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def ignore(frame: pl.DataFrame, epoch: int) -> None:
    pass


TIMED = FLIGHTS.event_time("sched", max_out_of_orderness="15m", time_zone="America/New_York", watermark_every=10)
HOURLY = (
    TIMED.filter(pl.col("dep_delay").is_not_null())
    .with_columns(gained=gained("dep_delay", "arr_delay"))
    .wasm(PLUGIN, column="carrier", on_error="dead_letter")
    .key_by("origin")
    .window(flare.tumbling("1h"), allowed_lateness="10m", early=flare.after_count(2))
    .agg(flights=pl.len(), gained=pl.col("gained").mean(), worst=pl.col("dep_delay").max())
    .named("hourly")
)
WINDOWS = [
    flare.tumbling("1h", offset="5m"),
    flare.hopping("1h", every="5m"),
    flare.cumulative("12h", step="1h"),
    flare.session("30m"),
    flare.count(10),
    flare.global_window(),
]
STREAMS = {
    "the first cell": HOURLY,
    "late rows": HOURLY.late.write_parquet("late/", compression="zstd"),
    "columns": FLIGHTS.select("origin", "dep_delay", x=pl.lit(1)).cast({"x": pl.Decimal(10, 2)}).drop("dep_delay"),
    "rename": FLIGHTS.rename({"origin": "from", "sched": "at"}),
    "nested": FLIGHTS.explode("tags").unnest("place"),
    "union": FLIGHTS.filter(pl.col("dep_delay") > 0).union(FLIGHTS.filter(positive("arr_delay"))),
    "functions": FLIGHTS.map_batches(unchanged).for_each_batch(ignore),
    "python inside an expression": FLIGHTS.with_columns(
        x=pl.col("arr_delay").map_batches(lambda column: column + 1, return_dtype=pl.Float64)
    ),
    "memory": FLIGHTS.to_memory(flare.MemoryBuffer()),
    "live": flare.rate(5.0).event_time("timestamp", idle_timeout="1s").invalid,
    "early": TIMED.window(flare.tumbling("1mo"), early=flare.every("1s")).agg(n=pl.len()),
} | {
    str(window): TIMED.key_by("origin").window(window).agg(n=pl.len(), m=pl.col("dep_delay").median())
    for window in WINDOWS
}
