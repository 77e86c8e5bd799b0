"""Every operator keeps the laws."""

from __future__ import annotations

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.operators.columns import Pass
from dataflare_nb.testing import Sleep, check_operator
from dataflare_nb.types import End, Idle

from .helpers import CLICKS, ROWS, at, mark, operator, rows, timed

BATCHES = [line for line in CLICKS if isinstance(line, pl.DataFrame)]
NESTED = pl.DataFrame(
    {"k": ["a", None, "b"], "words": [["x", "y"], [], ["z"]], "point": [{"u": 1, "w": 2.0}, None, {"u": 3, "w": None}]},
    schema={"k": pl.String, "words": pl.List(pl.String), "point": pl.Struct({"u": pl.Int64, "w": pl.Float64})},
)


@flare.udf
def half(x: float) -> float:
    return x / 2


@flare.udf
def positive(x: float) -> bool:
    return x > 0.2


@pytest.mark.parametrize(
    "build",
    {
        "select": lambda s: s.select("k", "t", w=pl.col("v") * 2),
        "with_columns": lambda s: s.with_columns(w=pl.col("v").fill_null(0) + pl.col("j"), k=pl.col("k") + "!"),
        "filter": lambda s: s.filter(pl.col("v") > 2),
        "drop": lambda s: s.drop("x"),
        "rename": lambda s: s.rename({"x": "y", "k": "key"}),
        "cast": lambda s: s.cast({"v": pl.String, "j": pl.Float64}),
        "cast, not strict": lambda s: s.cast({"k": pl.Int64}, strict=False),
        "udf column": lambda s: s.with_columns(y=half("x")),
        "udf filter": lambda s: s.filter(positive("x")),
        "several, fused": lambda s: s.filter(pl.col("v") > 1).with_columns(w=pl.col("v")).drop("j").rename({"w": "u"}),
        "map_batches": lambda s: s.map_batches(lambda frame: frame.with_columns(pl.col("x").fill_null(0.0))),
    }.items(),
    ids=lambda item: item[0],
)
def test_column_steps_keep_the_laws(build):
    check_operator(operator(build[1]), CLICKS, keys=["k"] if build[0] != "rename" else [], ordered=True)


def test_explode_and_unnest_keep_the_laws():
    script = [NESTED, mark(1), NESTED.head(1), NESTED.slice(1), End()]
    check_operator(operator(lambda s: s.explode("words"), NESTED.schema), script, keys=["k"], ordered=True)
    check_operator(operator(lambda s: s.unnest("point"), NESTED.schema), script, keys=["k"], ordered=True, exact=True)


def test_a_union_keeps_the_laws():
    script = [(port, line) for line in CLICKS for port in (1, 0)]
    check_operator(Pass, script, keys=["k"], exact=True)


WINDOWS = {
    "tumbling": flare.tumbling("10s"),
    "tumbling with an offset": flare.tumbling("10s", offset="3s"),
    "hopping": flare.hopping("10s", every="5s"),
    "hopping that does not divide": flare.hopping("10s", every="4s", offset="1s"),
    "cumulative": flare.cumulative("20s", step="5s"),
    "cumulative with an offset": flare.cumulative("20s", step="5s", offset="7s"),
    "a calendar month": flare.tumbling("1mo"),
    "a calendar week": flare.tumbling("1w"),
    "global": flare.global_window(),
    "session": flare.session("3s"),
    "count": flare.count(3),
}
AGGREGATIONS = {
    "two-phase": [
        pl.len().alias("n"),
        pl.col("v").sum(),
        pl.col("x").mean(),
        pl.col("x").std().alias("sd"),
        (pl.col("v").max() - pl.col("v").min()).alias("range"),
        (pl.col("x") > 0.4).any().alias("some"),
    ],
    "first and last": [pl.col("v").first().alias("f"), pl.col("x").last().alias("l"), pl.len().alias("n")],
    "buffered": [pl.col("x").median().alias("m"), pl.col("v").n_unique().alias("u"), pl.col("v").implode().alias("l")],
    "both": [pl.col("v").sum(), pl.col("x").quantile(0.9, "linear").alias("q")],
}
KEYS = {"no key": [], "a key with nulls": ["k"], "two keys": ["k", "j"]}


def dealt_out(*choices: dict[str, object]) -> list[object]:
    """Return each of the first choices with some of the others in turn, so that pairs are met without all of them."""
    first, *others = (list(choice.items()) for choice in choices)
    out = []
    for number, (name, value) in enumerate(first):
        for turn in range(3):
            rest = [other[(number + turn * (place + 1)) % len(other)] for place, other in enumerate(others)]
            said = ", ".join([name, *(each for each, _ in rest)])
            out.append(pytest.param(value, *(each for _, each in rest), id=said))
    return out


@pytest.mark.parametrize(("window", "aggs", "keys"), dealt_out(WINDOWS, AGGREGATIONS, KEYS))
def test_windows_keep_the_laws(window, aggs, keys):
    check_operator(operator(lambda s: _keyed(timed(s), keys).window(window).agg(*aggs)), CLICKS, keys=keys)


OPEN = {name: WINDOWS[name] for name in ("tumbling", "hopping", "cumulative", "session", "global")}
LATENESS = {"": "0s", "4 s late": "4s", "30 s late": "30s"}
EARLY = {"early after 2": flare.after_count(2), "not early": None}
TWO = {name: AGGREGATIONS[name] for name in ("two-phase", "buffered")}


@pytest.mark.parametrize(("window", "lateness", "early", "aggs", "keys"), dealt_out(OPEN, LATENESS, EARLY, TWO, KEYS))
def test_windows_with_late_and_early_results_keep_the_laws(window, lateness, early, aggs, keys):
    if window == flare.global_window():
        lateness = "0s"
    build = operator(lambda s: _keyed(timed(s), keys).window(window, allowed_lateness=lateness, early=early).agg(*aggs))
    check_operator(build, CLICKS, keys=keys, timers=early is None)


@pytest.mark.parametrize(
    ("window", "lateness"), [("tumbling", "4s"), ("hopping", "0s"), ("session", "4s"), ("global", "0s")]
)
def test_windows_with_results_each_second_keep_the_laws(window, lateness):
    script = [each for line in CLICKS for each in (line, Sleep(400_000))][:-1]
    build = operator(
        lambda s: (
            timed(s)
            .key_by("k")
            .window(WINDOWS[window], allowed_lateness=lateness, early=flare.every("1s"))
            .agg(n=pl.len(), v=pl.col("v").sum())
        )
    )
    check_operator(build, script, keys=["k"])


def test_windows_without_event_time_keep_the_laws():
    for window in (flare.count(4), flare.global_window()):
        check_operator(operator(lambda s, w=window: s.key_by("k").window(w).agg(pl.col("v").sum())), CLICKS, keys=["k"])
        check_operator(operator(lambda s, w=window: s.window(w).agg(n=pl.len())), CLICKS)


@pytest.mark.parametrize(
    ("zone", "size", "offset", "lateness"),
    [
        ("Europe/Berlin", "1d", "0s", "6h"),
        ("Europe/Berlin", "1d", "5h", "0s"),
        ("America/New_York", "1w", "0s", "6h"),
        ("Australia/Lord_Howe", "1d", "0s", "0s"),
        ("Europe/Berlin", "1mo", "0s", "0s"),
        ("America/New_York", "1h", "0s", "6h"),
        ("UTC", "1q", "0s", "0s"),
    ],
)
def test_calendar_windows_over_daylight_saving_keep_the_laws(zone, size, offset, lateness):
    # 2024-03-29 00:00 UTC and a good week on, in steps of 5 h 20 m: Berlin's spring, New York's is on the 10th.
    start = {"America/New_York": 1_709_856_000, "Australia/Lord_Howe": 1_712_275_200}.get(zone, 1_711_670_400)
    times = [start + n * 19_200 - (n % 3) * 9_000 for n in range(40)]
    frame = rows(*(("ab"[n % 2], 0, t, n, 0.5) for n, t in enumerate(times))).cast({"t": pl.Datetime("us", "UTC")})
    frame = frame.with_columns(pl.col("t").dt.convert_time_zone(zone))
    script = []
    for number, part in enumerate(frame.iter_slices(8)):
        script += [part, mark(start + (number + 1) * 8 * 19_200 - 40_000)]
    build = operator(
        lambda s: (
            timed(s)
            .key_by("k")
            .window(flare.tumbling(size, offset=offset), allowed_lateness=lateness)
            .agg(pl.col("v").sum(), n=pl.len())
        ),
        frame.schema,
    )
    check_operator(build, [*script, End()], keys=["k"])


def test_a_quiet_input_and_the_same_watermark_again_keep_the_laws():
    script = [at(1, 2), Idle(), mark(5), mark(5), at(3, 12), Idle(), mark(20), at(4, 30), End()]
    for window in ("tumbling", "hopping", "session"):
        build = operator(
            lambda s, w=window: timed(s).key_by("k").window(WINDOWS[w], allowed_lateness="9s").agg(n=pl.len())
        )
        check_operator(build, script, keys=["k"])


def test_a_script_of_no_rows_keeps_the_laws():
    for window in WINDOWS.values():
        build = operator(lambda s, w=window: timed(s).key_by("k").window(w).agg(n=pl.len(), m=pl.col("v").median()))
        check_operator(build, [pl.DataFrame(schema=ROWS), mark(3), pl.DataFrame(schema=ROWS), mark(30)], keys=["k"])


def _keyed(stream: flare.Stream, keys: list[str]) -> flare.Stream:
    return stream.key_by(*keys) if keys else stream
