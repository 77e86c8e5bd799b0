"""What runs on a real Flink cluster gives the rows of the local engine, exactly, in one job of many graphs."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest
from deploy.test_pipeline import GRAPHS, MEAN, events, same

import dataflare_nb as flare
from dataflare_nb import Stream
from dataflare_nb.deploy import Deployer
from dataflare_nb.deploy.local import ClusterJob, LocalCluster
from dataflare_nb.engine import run
from dataflare_nb.errors import BadOption
from dataflare_nb.graph import Graph
from dataflare_nb.runtime.plan import plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WINDOW = flare.tumbling("1m")


def from_files(folder: Path) -> dict[str, Stream]:
    """Each kind of file that is read, with time, with rows that have none, and with rows that are malformed."""
    events().write_parquet(folder / "in.parquet")
    events(1).write_csv(folder / "in.csv")
    events(2).write_ndjson(folder / "in.ndjson")
    for part in range(3):
        events(part).write_ipc(folder / f"in-{part}.arrow")
    torn = events(3).write_csv().splitlines()
    (folder / "torn.csv").write_text("\n".join([*torn[:50], "nonsense,1", *torn[50:90], "x,y,z,w"]) + "\n")
    timeless = events(4).with_columns(at=pl.when(pl.col("key") != 3).then("at"))
    csv = flare.read_csv(folder / "in.csv").event_time("at", "60s", unit="s")
    malformed = flare.read_csv(folder / "torn.csv", schema=events().schema, on_error="dead_letter")
    return {
        "parquet": flare.read_parquet(folder / "in.parquet")
        .event_time("at", "60s", unit="s")
        .window(WINDOW)
        .agg(**MEAN),
        "csv": csv.key_by("name").window(WINDOW, allowed_lateness="20s").agg(**MEAN),
        "ndjson": flare.read_ndjson(folder / "in.ndjson").filter(pl.col("value") > 10).select("key", "value"),
        "ipc": flare.read_ipc(str(folder / "in-*.arrow")).select("at", "name"),
        "malformed rows": malformed.invalid,
        "rows without a time": flare.from_frame(timeless).event_time("at", "20s", unit="s").invalid,
    }


def test_many_graphs_in_one_job_give_the_rows_of_the_local_engine(cluster: LocalCluster, tmp_path: Path) -> None:
    streams = {name: make() for name, make in GRAPHS.items()} | from_files(tmp_path)
    out = tmp_path / "out"
    rows = flare.read_parquet(tmp_path / "in.parquet").select("key", double=pl.col("value") * 2)
    written = rows.write_parquet(out)
    graph = Graph()
    for stream in (*streams.values(), written):
        graph = graph.merge(stream.graph)
    heads = [stream.ref for stream in (*streams.values(), written)]
    assert len(set(heads)) == len(streams) + 1 >= 20
    folder = Deployer(cluster.target).render(graph, heads).write(tmp_path / "x")
    job = ClusterJob(cluster, folder, graph).wait(280)
    for name, stream in streams.items():
        found = job.result(stream.ref)
        assert found.height, name
        same(found, stream.collect())
    same(pl.read_parquet(out), rows.collect())
    assert not list(out.rglob(".*"))
    vertices = cluster.get(f"/jobs/{job.id}")["vertices"]
    assert {each["maxParallelism"] for each in vertices if each["parallelism"] == 1} == {1}
    assert {each["maxParallelism"] for each in vertices if each["parallelism"] == 2} == {32}
    ledgers_agree(job, graph, [stream.ref for stream in streams.values()])


def ledgers_agree(job: ClusterJob, graph: Graph, heads: list[str]) -> None:
    """Each row was counted where the local engine counts it."""
    told = {"name": None, "latency": None, "commit_every": None, "clock": None, "changes": None}
    local = run(graph.upstream(heads), heads, workers=1, **told)  # type: ignore[arg-type]
    local.wait()
    theirs = job.ledger().pivot("name", index="stage", values="value").fill_null(0)
    stages = {stage.id for stage in plan(graph.upstream(heads)).stages}
    wanted = local.ledger().select("stage", "late", "invalid", rows_in="in", rows_out="out")
    both = wanted.filter(pl.col("stage").is_in(stages)).join(theirs, on="stage", suffix="_there")
    assert set(both["stage"]) == stages
    for name in ("rows_in", "rows_out", "late", "invalid"):
        differ = both.filter(pl.col(name) != pl.col(f"{name}_there"))
        assert differ.is_empty(), differ.select("stage", name, f"{name}_there")
    assert theirs["held"].sum() == 0


def test_early_results_come_by_the_clock_while_a_window_is_open(cluster: LocalCluster, tmp_path: Path) -> None:
    def slowly(frame: pl.DataFrame) -> pl.DataFrame:
        time.sleep(0.05)
        return frame

    rows = flare.from_frame(events(rows=4_000)).event_time("at", "20s", unit="s", watermark_every=64)
    wanted = rows.key_by("key").window(flare.tumbling("1h")).agg(**MEAN).collect()
    keyed = rows.map_batches(slowly).key_by("key")
    stream = keyed.window(flare.tumbling("1h"), early=flare.every("200ms")).agg(**MEAN)
    made = stream.deploy(cluster, out=tmp_path / "x")
    with pytest.raises(BadOption, match=r"tells early results by the clock, every\(200ms\)"):
        made.compare()
    found = made.submit().wait(100).result(stream.ref)
    same(found.filter(pl.col("pane") == "on_time").drop("pane", "revision"), wanted)
    told = found.group_by("window_start", "key").agg(pl.col("revision").sort())["revision"].to_list()
    assert all(numbers == list(range(len(numbers))) for numbers in told)
    assert max(map(len, told)) > 2, "too few early results for a job of three seconds"
