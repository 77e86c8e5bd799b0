"""Measure compiled functions and plugins beside what one would take else: `python -m tests.benchmarks.compiled`.

Everything works on 65,536 rows. What is compared runs in turn, each twice, and the second time counts, since a stage
works batch after batch; medians are shown. Each figure that is asked for stands beside its bar, the others below.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import random
import warnings

import polars as pl

import dataflare_nb as flare
from dataflare_nb.wasm import Session, Udf

from . import contenders
from .timing import Work, interleaved

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


@flare.udf
def waves(x: float) -> float:
    return math.sin(x) + math.sin(x + 1.0) + math.sin(x + 2.0) + math.sin(x + 3.0)


HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)"


def shown_ratio(what: str, ratio: float, bar: float, *, least: bool = False, unit: str = "") -> None:
    """Print a ratio, its bar, and whether it is met."""
    met = ratio >= bar if least else ratio <= bar
    digits_ = 1 if ratio >= 10 else 2
    sign = ">=" if least else "<="
    print(f"{what:62}{ratio:9.{digits_}f}{unit:4}{sign:>3}{bar:7g}  {'met' if met else 'MISSED'}")


def arithmetic() -> None:
    """Measure three formulas of floats, the first of them in every way there is."""
    dice = random.Random(2)
    ranges = zip(contenders.NAMES, ((1, 1000), (1, 50), (0, 0.25)), strict=True)
    frame = pl.DataFrame({name: [dice.uniform(*bounds) for _ in range(ROWS)] for name, bounds in ranges})
    as_json, extism = contenders.as_json(frame), contenders.in_extism()
    works: dict[tuple[str, str], Work] = {}
    for formula in contenders.FORMULAS:
        udf, expression, session = formula.udf, formula.expression, contenders.in_c(formula)
        works[udf.name, "Polars"] = lambda e=expression: frame.select(e)  # type: ignore[misc]
        works[udf.name, "udf"] = lambda u=udf: u.call(frame.get_columns())  # type: ignore[misc]
        works[udf.name, "C"] = lambda s=session: s.call(frame)  # type: ignore[misc]
        expected = frame.select(expression).to_series().to_list()
        assert udf.call(frame.get_columns()).to_list() == expected
        assert session.call(frame).to_series().to_list() == expected
    works["total", "map_elements"] = lambda: contenders.per_row(frame)
    works["total", "JSON"] = lambda: as_json.call(frame)
    if extism is not None:
        works["total", "Extism"] = lambda: extism(frame)
        assert extism(frame).equals(contenders.per_row(frame))
    took = dict(zip(works, interleaved(list(works.values())), strict=True))
    for formula in contenders.FORMULAS:
        name = formula.udf.name
        told = [f"{way} {seconds / ROWS * 1e9:.1f}" for (whose, way), seconds in took.items() if whose == name]
        print(f"ns a row, {name}: {', '.join(told)}")
    if extism is None:
        print("Extism is not installed (pip install extism) and is left out")
    for way, spelled, bar in (("udf", "@flare.udf", 0.7), ("C", "C plugin, copied out", 1.2)):
        for formula in contenders.FORMULAS:
            name = formula.udf.name
            shown_ratio(f"{name}: {spelled} / Polars expression", took[name, way] / took[name, "Polars"], bar)
    for name, spelled, bar in (
        ("map_elements", "map_elements", 50),
        ("Extism", "Extism", 3),
        ("JSON", "the JSON ABI", 50),
    ):
        if ("total", name) in took:
            for ours, who in (("udf", "@flare.udf"), ("C", "C plugin")):
                ratio = took["total", name] / took["total", ours]
                shown_ratio(f"total: {spelled} / {who}", ratio, bar, least=True)


def url_parts() -> None:
    """Measure the plugin that takes URLs apart beside a regular expression."""
    dice = random.Random(7)
    rows = [
        f"https://www.{dice.choice(['Example', 'shop', 'news'])}{dice.randrange(1000)}.com{dice.choice(['', ':8080'])}"
        f"/a/b{dice.randrange(10**6)}/page.html?utm_source=x{dice.randrange(100)}&id={dice.randrange(10**9)}#frag"
        for _ in range(ROWS)
    ]
    frame = pl.DataFrame({"url": rows})
    session = Session(flare.wasm.bundled_plugin("url_parts", parts=["host"]))
    ours, theirs = interleaved([lambda: session.call(frame), lambda: frame.select(pl.col("url").str.extract(HOST))])
    shown_ratio("host of a URL, url_parts / Polars regular expression", ours / theirs, 0.15)


def cases() -> list[tuple[str, Udf, pl.Series, pl.Expr | None]]:
    """Return compiled functions of text and `math`, a column for each, and the same in Polars where it has it."""
    dice, letters = random.Random(1), "abcdefghijkl"
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
    return [
        ("host of a URL", host, urls, pl.col("s").str.extract("://([^/]+)").str.to_lowercase()),
        ("carrier code", carrier, codes, None),
        ("year of a day", year, days, pl.col("s").str.split("-").list.first().cast(pl.Int64)),
        ("two decimals", shown, numbers, None),
        ("digits, a loop", digits, urls, None),
        ("math.exp", decayed, numbers, (-pl.col("x") / 30.0).exp()),
        ("math.sin", wave, numbers, pl.col("x").sin()),
    ]


def functions() -> None:
    """Measure compiled functions of text and `math` beside Python per row."""
    lines = []
    for name, udf, column, expr in cases():
        expected = [udf.function(value) for value in column]
        assert udf.call([column]).to_list() == expected or column.dtype.is_float()
        works: list[Work] = [
            lambda u=udf, c=column: u.call([c]),  # type: ignore[misc]
            lambda u=udf, c=column: c.map_elements(u.function, return_dtype=u.dtype),  # type: ignore[misc]
        ]
        if expr is not None:
            works.append(lambda c=column, e=expr: c.to_frame().select(e))  # type: ignore[misc]
        seconds = interleaved(works)
        ours, python, *polars = (one / ROWS * 1e9 for one in seconds)
        beside = f"{polars[0]:8.1f}" if polars else ""
        lines.append(f"{name:16}{ours:9.1f}{python:14.1f}{python / ours:7.1f}{beside}")
        if "str" in {slot.type for slot in (*udf.params, *udf.outputs)}:
            shown_ratio(f"text, {name}: map_elements / @flare.udf", python / ours, 10, least=True)
    print(f"\nns a row\n{'':16}{'compiled':>9}{'map_elements':>14}{'times':>7}{'Polars':>8}", *lines, sep="\n")


def small_batches() -> None:
    """Measure what a batch costs that has one row."""
    code = pl.DataFrame({"code": ["UA"]})
    session = Session(flare.wasm.bundled_plugin("carrier_code"))
    text, number = code.to_series(), pl.Series("x", [1.0])
    works: list[Work] = [lambda: session.call(code), lambda: carrier.call([text]), lambda: decayed.call([number])]
    whats = (
        "a batch of one row, C plugin",
        "a batch of one row, @flare.udf of text",
        "a batch of one row, @flare.udf of numbers",
    )
    for what, seconds in zip(whats, interleaved(works, 2_000), strict=True):
        shown_ratio(what, seconds * 1e6, 100, unit=" us")


def workers() -> None:
    """Measure what a second worker brings, which takes two idle cores."""
    frame = pl.DataFrame({"x": pl.arange(0, 40 * ROWS, eager=True).cast(pl.Float64)})
    stage = flare.from_frames([frame[at : at + ROWS] for at in range(0, 40 * ROWS, ROWS)]).with_columns(y=waves("x"))
    one, two = interleaved([lambda: stage.collect(workers=1), lambda: stage.collect(workers=2)], 5)
    load = os.getloadavg()[0]
    shown_ratio(f"one stage, workers=1 / workers=2 (load {load:.1f})", one / two, 1.5, least=True)


def main() -> None:
    """Print the tables."""
    warnings.simplefilter("ignore", pl.exceptions.PolarsInefficientMapWarning)
    packages = ["polars", "pyarrow", "wasmtime", "ziglang"]
    packages += ["extism"] if contenders.in_extism() is not None else []
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"Python {platform.python_version()}, {versions}, {len(os.sched_getaffinity(0))} cores")
    print(f"{ROWS:,} rows, medians in turn")
    arithmetic()
    url_parts()
    small_batches()
    workers()
    functions()


if __name__ == "__main__":
    main()
