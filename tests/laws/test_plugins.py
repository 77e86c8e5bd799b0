"""Windows with aggregations by plugins keep the laws: every kind, with lateness and early results, cut anyhow."""

from __future__ import annotations

import polars as pl
import pytest
from wasm.compiled import DISTINCT, JOINED, WEIGHTED, numbers
from wasm.guests import ANY_ECHO, FORMAT, plugin

import dataflare_nb as flare
from dataflare_nb.testing import Sleep, check_operator, check_pipeline
from dataflare_nb.wasm import aggregate

from .helpers import CLICKS, ROWS, operator, timed
from .test_operators import KEYS, LATENESS, OPEN, WINDOWS, dealt_out

V = pl.col("v").cast(pl.Int64)
X = pl.col("x").fill_null(0.5)
AGGREGATIONS = {
    "two-phase": [aggregate(DISTINCT, V), pl.len().alias("n"), aggregate(WEIGHTED, X, (X * 0 + 1).alias("w"))],
    "alone": [aggregate(DISTINCT, V).alias("different")],
    "buffered by the plugin": [
        aggregate(JOINED, pl.col("k").fill_null("-")),
        aggregate(DISTINCT, V),
        pl.col("v").sum(),
    ],
    "buffered by another": [aggregate(DISTINCT, V), pl.col("x").median().alias("m")],
}


@pytest.mark.parametrize(("window", "aggs", "keys"), dealt_out(WINDOWS, AGGREGATIONS, KEYS))
def test_windows_of_plugins_keep_the_laws(window, aggs, keys):
    check_operator(operator(lambda s: _keyed(timed(s), keys).window(window).agg(*aggs)), CLICKS, keys=keys)


EARLY = {"early after 2": flare.after_count(2), "not early": None}


@pytest.mark.parametrize(
    ("window", "lateness", "early", "aggs", "keys"), dealt_out(OPEN, LATENESS, EARLY, AGGREGATIONS, KEYS)
)
def test_windows_of_plugins_with_late_and_early_results_keep_the_laws(window, lateness, early, aggs, keys):
    if window == flare.global_window():
        lateness = "0s"
    build = operator(lambda s: _keyed(timed(s), keys).window(window, allowed_lateness=lateness, early=early).agg(*aggs))
    check_operator(build, CLICKS, keys=keys, timers=early is None)


@pytest.mark.parametrize(("window", "lateness"), [("tumbling", "4s"), ("session", "4s"), ("global", "0s")])
def test_windows_of_plugins_with_results_each_second_keep_the_laws(window, lateness):
    script = [each for line in CLICKS for each in (line, Sleep(400_000))][:-1]
    build = operator(
        lambda s: (
            timed(s)
            .key_by("k")
            .window(WINDOWS[window], allowed_lateness=lateness, early=flare.every("1s"))
            .agg(n=pl.len(), d=aggregate(DISTINCT, V))
        )
    )
    check_operator(build, script, keys=["k"])


STAGES = {
    "a processor, Arrow C": (plugin(ANY_ECHO, extra=FORMAT, formats=4), {}),
    "a processor, Arrow IPC": (plugin(ANY_ECHO, extra=FORMAT, formats=2), {}),
    "a processor, JSON": (plugin(ANY_ECHO, extra=FORMAT, formats=1, schema=ROWS), {}),
    "a transformer": (plugin(ANY_ECHO, kind="Transformer", extra=FORMAT, formats=6), {}),
    "named columns": (plugin(ANY_ECHO, extra=FORMAT, formats=4), {"columns": ["v", "x"]}),
    "to the dead letters": (plugin(ANY_ECHO, extra=FORMAT, formats=4), {"on_error": "dead_letter"}),
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_of_plugins_keep_the_laws(name):
    stage, options = STAGES[name]
    check_operator(operator(lambda s: s.wasm(stage, **options)), CLICKS, keys=["k"], ordered=True, exact=True)


@pytest.mark.parametrize("seeks", [True, False], ids=["seeks", "is read again"])
def test_a_pipeline_of_plugins_is_cut_off_anywhere_and_gone_on_with(tmp_path, seeks):
    told = pl.Schema(
        {"split": pl.String, "window_start": pl.Datetime("us"), "window_end": pl.Datetime("us"), "d": pl.UInt64}
    )

    def build(name):
        source = flare.read_wasm(numbers(seeks=seeks, rows="30", each="7", splits=["a", "b"]))
        timed_ = source.with_columns(t=pl.from_epoch(pl.col("n"), time_unit="s")).event_time(
            "t", "2s", watermark_every=5
        )
        windows = timed_.key_by("split").window(flare.hopping("8s", every="4s"))
        return windows.agg(d=aggregate(DISTINCT, pl.col("n") // 2)).write_parquet(tmp_path / name)

    def read_back(name):
        files = sorted(file for file in (tmp_path / name).iterdir() if not file.name.startswith("."))
        return pl.concat([pl.DataFrame(schema=told), *map(pl.read_parquet, files)])

    check_pipeline(build, read_back, poll=4, most_cuts=12)


def _keyed(stream: flare.Stream, keys: list[str]) -> flare.Stream:
    return stream.key_by(*keys) if keys else stream
