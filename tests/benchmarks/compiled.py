"""Time compiled functions of text and `math` beside Python per row: `python -m tests.benchmarks.compiled`."""

from __future__ import annotations

import math
import random
import time
import warnings
from collections.abc import Callable
from statistics import median

import polars as pl

import dataflare_nb as flare

ROWS = 65_536


@flare.udf
def host(url: str) -> str:
    start = url.find("://")
    if start >= 0:
        url = url[start + 3 :]
    end = url.find("/")
    if end >= 0:
        url = url[:end]
    return url.lower()


@flare.udf
def carrier(code: str) -> str:
    code = code.strip().upper()
    if code.startswith(("UA", "CO")):
        return "UA"
    return code[:2] if len(code) >= 2 else "??"


@flare.udf
def year(day: str) -> int:
    return int(day.split("-")[0])


@flare.udf
def shown(x: float) -> str:
    return f"{x:.2f} km"


@flare.udf
def digits(text: str) -> int:
    n = 0
    for c in text:
        if c.isdigit():
            n += 1
    return n


@flare.udf
def decayed(x: float) -> float:
    return math.exp(-x / 30.0)


@flare.udf
def wave(x: float) -> float:
    return math.sin(x)


def interleaved(works: list[Callable[[], object]], runs: int = 7) -> list[float]:
    """Return the median seconds of each, run in turn."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(runs + 1):
        for i, work in enumerate(works):
            start = time.perf_counter()
            work()
            took[i].append(time.perf_counter() - start)
    return [median(one[1:]) for one in took]


def main() -> None:
    warnings.simplefilter("ignore", pl.exceptions.PolarsInefficientMapWarning)
    dice = random.Random(1)
    letters = "abcdefghijkl"
    urls = pl.Series(
        "s",
        [
            f"https://www.{''.join(dice.choices(letters, k=9))}.Example/{''.join(dice.choices(letters, k=20))}"
            for _ in range(ROWS)
        ],
    )
    codes = pl.Series("s", dice.choices([" ua", "AA ", "co1", "b6", "x", "DL"], k=ROWS))
    days = pl.Series("s", [f"{dice.randint(1990, 2030)}-{dice.randint(10, 12)}-01" for _ in range(ROWS)])
    numbers = pl.Series("x", [dice.uniform(0, 500) for _ in range(ROWS)])
    cases: list[tuple[str, flare.wasm.Udf, pl.Series, pl.Expr | None]] = [
        ("host of a URL", host, urls, pl.col("s").str.extract("://([^/]+)").str.to_lowercase()),
        ("carrier code", carrier, codes, None),
        ("year of a day", year, days, pl.col("s").str.split("-").list.first().cast(pl.Int64)),
        ("digits, a loop", digits, urls, None),
        ("two decimals", shown, numbers, None),
        ("math.exp", decayed, numbers, (-pl.col("x") / 30.0).exp()),
        ("math.sin", wave, numbers, pl.col("x").sin()),
    ]
    print(f"{ROWS:,} rows, medians in turn, ns a row")
    print(f"{'':16}{'compiled':>9}{'map_elements':>14}{'times':>7}{'Polars':>8}")
    for name, udf, column, expr in cases:
        expected = [udf.function(value) for value in column]
        assert udf.call([column]).to_list() == expected or column.dtype.is_float()
        works: list[Callable[[], object]] = [
            lambda u=udf, c=column: u.call([c]),  # type: ignore[misc]
            lambda u=udf, c=column: c.map_elements(u.function, return_dtype=u.dtype),  # type: ignore[misc]
        ]
        if expr is not None:
            works.append(lambda c=column, e=expr: c.to_frame().select(e))  # type: ignore[misc]
        ours, python, *polars = (seconds / ROWS * 1e9 for seconds in interleaved(works))
        beside = f"{polars[0]:8.1f}" if polars else ""
        print(f"{name:16}{ours:9.1f}{python:14.1f}{python / ours:7.1f}{beside}")


if __name__ == "__main__":
    main()
