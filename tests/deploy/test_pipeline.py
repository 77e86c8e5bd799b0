"""A job cut into vertices and shares gives the rows of the local engine, whatever the order in which records come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_nb as flare
from dataflare_nb import Stream
from dataflare_nb.deploy.worker.loading import load
from dataflare_nb.deploy.worker.pipeline import Pipeline
from dataflare_nb.wasm import aggregate
from dataflare_nb.windows import Tumbling, WindowSpec

from . import graphs
from .rehearsal import Rehearsal

ROWS = 600


def events(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    """Rows whose times run ahead and back, some by more than the streams below wait for."""
    at = pl.int_range(rows, eager=True)
    noise = (at * 7919 + seed * 104_729) % 97
    return pl.DataFrame(
        {
            "at": at * 2 - noise * noise // 60,
            "key": (at * 31 + seed) % 13,
            "value": ((at * 17) % 101).cast(pl.Float64),
        }
    ).with_columns(name=pl.format("k{}", pl.col("key")))


def timed(seed: int = 0) -> Stream:
    return flare.from_frame(events(seed)).event_time("at", "20s", unit="s", watermark_every=64)


def two() -> Stream:
    return timed().union(timed(1))


MEAN = {"n": pl.len(), "total": pl.col("value").sum(), "worst": pl.col("value").max()}
GRAPHS: dict[str, Callable[[], Stream]] = {
    "everything": graphs.hourly,
    "tumbling": lambda: timed().key_by("key").window(flare.tumbling("1m")).agg(**MEAN),
    "tumbling with lateness": lambda: (
        timed().key_by("name").window(flare.tumbling("1m"), allowed_lateness="30s").agg(**MEAN)
    ),
    "hopping": lambda: timed().key_by("key", "name").window(flare.hopping("1m", "20s")).agg(**MEAN),
    "session": lambda: timed().key_by("key").window(flare.session("15s"), allowed_lateness="10s").agg(**MEAN),
    "cumulative": lambda: timed().key_by("key").window(flare.cumulative("2m", "30s")).agg(**MEAN),
    "count": lambda: timed().key_by("key").window(flare.count(7)).agg(**MEAN),
    "global": lambda: timed().key_by("key").window(flare.global_window()).agg(**MEAN),
    "early": lambda: timed().key_by("key").window(flare.tumbling("1m"), early=flare.after_count(5)).agg(**MEAN),
    "buffered": lambda: timed().key_by("key").window(flare.tumbling("1m")).agg(middle=pl.col("value").median()),
    "no keys": lambda: timed().window(flare.tumbling("1m")).agg(**MEAN),
    "rows only": lambda: timed().filter(pl.col("value") > 50).with_columns(double=pl.col("value") * 2),
    "union": lambda: two().key_by("key").window(flare.tumbling("1m")).agg(**MEAN),
    "late": lambda: timed().key_by("key").window(flare.tumbling("1m")).agg(**MEAN).late,
    "late of a union": lambda: two().key_by("key").window(flare.tumbling("1m")).agg(**MEAN).late,
    "after windows": lambda: (
        timed().key_by("key").window(flare.tumbling("1m")).agg(**MEAN).filter(pl.col("n") > 1).drop("worst")
    ),
    "windows of windows": lambda: (
        timed()
        .key_by("key")
        .window(flare.tumbling("1m"))
        .agg(**MEAN)
        .event_time("window_end")
        .key_by(odd=pl.col("key") % 2)
        .window(flare.tumbling("5m"))
        .agg(n=pl.col("n").sum(), total=pl.col("total").sum())
    ),
    "windows and their rows": lambda: (
        (hour := timed().key_by("key").window(flare.tumbling("1m")).agg(n=pl.len()))
        .select("key", "n")
        .union(hour.late.select("key", n=pl.lit(1, pl.UInt32)))
    ),
    "plugin aggregate": lambda: (
        timed().key_by("key").window(flare.tumbling("1m")).agg(who=aggregate("plugins/hyperloglog/plugin.json", "name"))
    ),
}


def same(found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    assert_frame_equal(found, wanted, check_row_order=False, check_exact=False, rel_tol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_shares_give_the_rows_of_the_local_engine(name: str, tmp_path: Path) -> None:
    stream = GRAPHS[name]()
    wanted = stream.collect(workers=1)
    folder = stream.deploy(flare.Flink(parallelism=2, max_parallelism=16), out=tmp_path / "x").folder
    assert wanted.height, "a test that compares nothing"
    for seed, crashes in ((1, False), (2, True)):
        (found,) = Rehearsal(folder, seed=seed, crashes=crashes).run().values()
        same(found, wanted)


@pytest.mark.parametrize("window", [flare.tumbling("1m"), flare.session("15s")], ids=str)
@pytest.mark.parametrize("keys", [["key"], []], ids=["keys", "no keys"])
def test_early_results_are_told_by_the_clock_and_the_last_ones_hold(
    window: WindowSpec, keys: list[str], tmp_path: Path
) -> None:
    rows = timed().key_by(*keys) if keys else timed()
    wanted = rows.window(window).agg(**MEAN).collect()
    stream = rows.window(window, early=flare.every("1s")).agg(**MEAN)
    folder = stream.deploy(flare.Flink(parallelism=2, max_parallelism=16), out=tmp_path / "x").folder
    for seed, crashes in ((1, False), (2, True)):
        (found,) = Rehearsal(folder, seed=seed, crashes=crashes).run().values()
        early = found.filter(pl.col("pane") == "early")
        assert early.height, "no early result"
        same(found.filter(pl.col("pane") == "on_time").drop("pane", "revision"), wanted.drop("revision", strict=False))
        if isinstance(window, Tumbling):
            revisions = found.group_by("window_start", *keys).agg(pl.col("revision"), pl.col("n"))
            for told, counts in revisions.select("revision", "n").iter_rows():
                assert told == list(range(len(told)))
                assert counts == sorted(counts)


def test_several_outputs_and_a_sink_are_told_apart(tmp_path: Path) -> None:
    stream = timed().key_by("key").window(flare.tumbling("1m")).agg(n=pl.len()).named("counts")
    written = stream.write_parquet("out")
    folder = written.deploy(flare.Flink(), out=tmp_path / "x").folder
    found = Rehearsal(folder).run()
    assert list(found) == [written.ref]
    same(found[written.ref], stream.collect())


def shuffled(stream: Stream, folder: Path) -> int:
    """Return the bytes that the first vertex sends to the windows."""
    loaded = load(stream.deploy(flare.Flink(), out=folder).folder)
    head = Pipeline(loaded, 0)
    sent = 0
    while not head.ended:
        sent += sum(len(each.content) for each in head.step() if each.vertex is not None)
    head.close()
    return sent


def test_windows_that_can_be_merged_are_combined_before_the_shuffle(tmp_path: Path) -> None:
    keyed = flare.from_frame(events(rows=60_000)).event_time("at", "10m", unit="s").key_by("key")
    counted = keyed.window(flare.tumbling("1d")).agg(**MEAN)
    middle = keyed.window(flare.tumbling("1d")).agg(middle=pl.col("value").median())
    whole = shuffled(middle, tmp_path / "a")
    assert whole > events(rows=60_000).estimated_size() / 2
    assert shuffled(counted, tmp_path / "b") < whole / 5
    # Whoever reads what came too late needs its rows.
    assert shuffled(counted.late, tmp_path / "c") > whole / 2


def test_ledgers_of_pipelines_add_up_to_that_of_the_local_engine(tmp_path: Path) -> None:
    stream = timed().key_by("key").window(flare.tumbling("1m")).agg(**MEAN).named("counts")
    rehearsal = Rehearsal(stream.deploy(flare.Flink(), out=tmp_path / "x").folder, crashes=True)
    rehearsal.run()
    counts = {name: value for stage, name, value in rehearsal.ledger.iter_rows() if stage == "counts"}
    wanted = stream.run().wait(60).ledger().row(by_predicate=pl.col("stage") == "counts", named=True)
    assert counts["late"] == wanted["late"] > 0
    assert (counts["rows_in"], counts["rows_out"], counts["held"]) == (wanted["in"], wanted["out"], 0)
