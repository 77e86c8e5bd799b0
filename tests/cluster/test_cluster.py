"""What runs on a real Flink cluster gives the rows of the local engine, exactly, even when processes are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from deploy.test_pipeline import GRAPHS, MEAN, events, same

import dataflare_nb as flare
from dataflare_nb import Stream
from dataflare_nb.deploy import Deployer
from dataflare_nb.deploy.local import ClusterJob, LocalCluster
from dataflare_nb.errors import JobError
from dataflare_nb.graph import Graph
from dataflare_nb.running import deploy

pytestmark = pytest.mark.slow


def from_files(folder: Path) -> dict[str, Stream]:
    events().write_parquet(folder / "in.parquet")
    events(1).write_csv(folder / "in.csv")
    window = flare.tumbling("1m")
    return {
        "parquet": flare.read_parquet(folder / "in.parquet")
        .event_time("at", "60s", unit="s")
        .window(window)
        .agg(**MEAN),
        "csv": flare.read_csv(folder / "in.csv").filter(pl.col("value") > 10).select("key", "value"),
    }


@pytest.mark.timeout(300)
def test_many_graphs_in_one_job_give_the_rows_of_the_local_engine(cluster: LocalCluster, tmp_path: Path) -> None:
    streams = {name: make() for name, make in GRAPHS.items()} | from_files(tmp_path)
    graph = Graph()
    for stream in streams.values():
        graph = graph.merge(stream.graph)
    heads = [stream.head for stream in streams.values()]
    assert len(set(heads)) == len(streams) >= 10
    folder = Deployer(cluster.target).render(graph, heads).write(tmp_path / "x")
    job = ClusterJob(cluster, folder, graph).wait(240)
    for name, stream in streams.items():
        found = job.result(stream.head)
        assert found.height, name
        same(found, stream.collect())


@pytest.mark.timeout(300)
def test_files_are_written_and_killed_task_managers_lose_and_double_no_row(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    def slowly(frame: pl.DataFrame) -> pl.DataFrame:
        time.sleep(0.1)
        return frame

    rows = events(rows=12_800)
    stream = (
        flare.from_frame(rows)
        .event_time("at", "3m", unit="s", watermark_every=64)
        .map_batches(slowly)
        .key_by("key")
        .window(flare.tumbling("1m"))
        .agg(**MEAN)
    )
    out = tmp_path / "out"
    made = deploy(
        stream.write_parquet(out).graph, [stream.write_parquet(out).head], cluster, tmp_path / "x", submit=True
    )
    job = made.jobs[-1]
    for number in range(2):
        completed = _checkpoints(cluster, job) if number else 0
        _until(lambda known=completed: _checkpoints(cluster, job) >= known + 2, job)
        os.killpg(cluster.pids[f"taskmanager-{number}"], signal.SIGKILL)
        cluster.start_task_manager()
    job.wait(200)
    assert cluster.get(f"/jobs/{job.id}/checkpoints")["counts"]["restored"] >= 2
    same(pl.read_parquet(out), stream.collect())


def _checkpoints(cluster: LocalCluster, job: ClusterJob) -> int:
    return int(cluster.get(f"/jobs/{job.id}/checkpoints")["counts"]["completed"]) if job.id else 0


def _until(holds: object, job: ClusterJob) -> None:
    deadline = time.monotonic() + 100
    while not holds():  # type: ignore[operator]
        assert job.running, "the job was over before anything could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(200)
def test_a_comparison_runs_input_of_ones_own_and_a_failure_is_told(cluster: LocalCluster, tmp_path: Path) -> None:
    stream = (
        flare.from_frame(events()).with_columns(ok=1 // pl.col("key").cast(pl.Int64).clip(0, 1)).select("ok", "key")
    )
    made = stream.filter(pl.col("key") > 3).deploy(cluster, out=tmp_path / "x")
    compared = made.compare(events(5), timeout=100)
    assert compared
    assert compared.rows > 100

    def refuses(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            raise ValueError("the seventh row is odd")
        return frame

    failing = stream.map_batches(refuses).deploy(flare.Flink(restart="none"), out=tmp_path / "y")
    with pytest.raises(JobError, match="the seventh row is odd"):
        ClusterJob(cluster, failing.folder, failing.graph).wait(100)


@pytest.mark.timeout(200)
def test_nothing_outlives_the_process_that_started_a_cluster(cluster: LocalCluster) -> None:
    program = (
        "import dataflare_nb as flare, os\n"
        "made = flare.Flink.local(task_managers=1)\n"
        "print(*made.pids.values(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    pids = [int(each) for each in said.stdout.split()]
    assert len(pids) == 2, said.stderr
    deadline = time.monotonic() + 20
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline, "a process lives on"
        time.sleep(0.1)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
