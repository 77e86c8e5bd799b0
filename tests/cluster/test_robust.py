"""Killed processes, savepoints, other parallelisms, failures and interrupts: no row is lost, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from cluster.task_manager import kill
from deploy.test_pipeline import MEAN, events, same

import dataflare_nb as flare
from dataflare_nb import Stream
from dataflare_nb.deploy.local import ClusterJob, LocalCluster
from dataflare_nb.deploy.local.cluster import close_all
from dataflare_nb.errors import BadOption, JobError, JobStopped, JobTimeout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
BATCH = 64


@pytest.fixture(autouse=True)
def _nothing_left_running(cluster: LocalCluster) -> Iterator[None]:
    yield
    for job in cluster.get("/jobs")["jobs"]:
        if job["status"] not in ("FINISHED", "FAILED", "CANCELED"):
            cluster.send("PATCH", f"/jobs/{job['id']}?mode=cancel")


def slowly(frame: pl.DataFrame) -> pl.DataFrame:
    time.sleep(0.05)
    return frame


def slow(batches: int, work: Callable[[pl.DataFrame], pl.DataFrame] = slowly) -> Stream:
    """A stream that takes 50 ms for each batch, with a window that combines and one that keeps its rows."""
    rows = (
        flare.from_frame(events(rows=batches * BATCH))
        .event_time("at", "3m", unit="s", watermark_every=BATCH)
        .map_batches(work)
        .key_by("key")
    )
    counted = rows.window(flare.tumbling("1m")).agg(**MEAN).named("counted").select("key", "n", "total", "worst")
    middle = rows.window(flare.session("40s")).agg(middle=pl.col("value").median()).named("sessions")
    return counted.union(middle.select("key", n=pl.lit(None, pl.UInt32), total="middle", worst="middle"))


def rows_of(batches: int) -> pl.DataFrame:
    """The rows that such a stream gives."""
    return slow(batches, pl.DataFrame.clone).collect()


def checkpoints(cluster: LocalCluster, job: ClusterJob) -> int:
    return int(cluster.get(f"/jobs/{job.id}/checkpoints")["counts"]["completed"]) if job.id else 0


def until(holds: Callable[[], bool], job: ClusterJob) -> None:
    deadline = time.monotonic() + 250
    while not holds():
        assert job.running, f"the job was over before: {job._cause()}"
        assert time.monotonic() < deadline, f"{job} has waited for too long"
        time.sleep(0.05)


def test_killed_task_managers_lose_and_double_no_row(cluster: LocalCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = slow(300).write_parquet(out).deploy(cluster, out=tmp_path / "x", submit=True).jobs[-1]
    for _ in range(2):
        completed = checkpoints(cluster, job)
        until(lambda known=completed: checkpoints(cluster, job) >= known + 2, job)  # type: ignore[misc]
        kill(cluster)
    job.wait(200)
    assert cluster.get(f"/jobs/{job.id}/checkpoints")["counts"]["restored"] >= 2
    same(pl.read_parquet(out), rows_of(300))


def test_a_job_goes_on_from_a_savepoint_at_another_parallelism(cluster: LocalCluster, tmp_path: Path) -> None:
    made = slow(300).deploy(cluster, out=tmp_path / "x")
    job = made.submit(parallelism=1)
    for parallelism in (2, 1):
        until(lambda known=job: checkpoints(cluster, known) >= 2, job)  # type: ignore[misc]
        counted_as_metrics(cluster, job)
        place = job.stop_with_savepoint()
        assert Path(place.removeprefix("file:")).is_dir()
        with pytest.raises(JobStopped, match="goes on with it"):
            job.result()
        if parallelism == 1:
            # What goes on and is given up leaves rows that the next makes again.
            given_up = made.submit(after=job)
            until(lambda known=given_up: checkpoints(cluster, known) >= 2, given_up)  # type: ignore[misc]
            given_up.cancel()
        job = made.submit(after=job, parallelism=parallelism)
        until(lambda known=job: known.id is not None, job)  # type: ignore[misc]
        vertices = {each["name"]: each["parallelism"] for each in cluster.get(f"/jobs/{job.id}")["vertices"]}
        assert [times for name, times in vertices.items() if "counted" in name] == [parallelism]
    same(job.wait(200).result(), rows_of(300))
    with pytest.raises(BadOption, match="was not stopped with a savepoint"):
        made.submit(after=job)


def counted_as_metrics(cluster: LocalCluster, job: ClusterJob) -> None:
    """Rows and ledger are metrics of Flink, by stage."""

    def found() -> dict[str, float]:
        values: dict[str, float] = {}
        for vertex in cluster.get(f"/jobs/{job.id}")["vertices"]:
            path = f"/jobs/{job.id}/vertices/{vertex['id']}/subtasks/metrics"
            names = [each["id"] for each in cluster.get(path)]
            wanted = [name for name in names if name.rpartition(".")[2] in ("rows", "rows_in", "rows_out", "late")]
            if wanted:
                values |= {each["id"]: each["sum"] for each in cluster.get(f"{path}?get={','.join(wanted)}&agg=sum")}
        return values

    until(lambda: any(name.endswith("stage.counted.rows_in") and value > 0 for name, value in found().items()), job)
    assert sum(value for name, value in found().items() if name.endswith(".rows")) > 0


def test_a_failure_is_told_and_an_interrupt_is_quick(cluster: LocalCluster, tmp_path: Path) -> None:
    rows = flare.from_frame(events()).select("key", "value", ünïcode=pl.col("name"))
    made = rows.filter(pl.col("key") > 3).deploy(cluster, out=tmp_path / "grüße")
    frame = events(5)
    compared = made.compare(frame, timeout=100)
    assert compared
    assert compared.rows > 100

    def refuses(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            raise ValueError("the seventh row is odd")
        return frame

    failing = rows.map_batches(refuses).deploy(flare.Flink(restart="none"), out=tmp_path / "y")
    with pytest.raises(JobError, match="the seventh row is odd"):
        ClusterJob(cluster, failing.folder, failing.graph).wait(100)

    long = slow(8_000).deploy(cluster, out=tmp_path / "z")
    first = long.submit()
    with pytest.raises(JobError, match="needs 2 slots, and 0 of 2 are free; wait for"):
        long.submit()
    with pytest.raises(JobTimeout, match="still running"):
        first.wait(0.2)
    until(lambda: checkpoints(cluster, first) >= 1, first)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        first.wait()
    assert time.monotonic() - started < 0.3 + 1.0
    assert not first.running
    first.stop()
    first.stop()
    wider = slow(1).deploy(flare.Flink(parallelism=3), out=tmp_path / "w")
    with pytest.raises(JobError, match=r"needs 3 slots, and 2 of 2 are free; .* start a cluster of more"):
        ClusterJob(cluster, wider.folder, wider.graph)


def test_a_process_that_is_forked_off_leaves_the_cluster_alone(cluster: LocalCluster) -> None:
    # A TaskManager may be on its way to another life because of the test before; the JobManager has only one.
    before = cluster.pids["jobmanager"]
    with warnings.catch_warnings():
        # Of threads, which the child does not need.
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        close_all()
        os._exit(0)
    os.waitpid(child, 0)
    # To end one by a signal takes it less than that.
    time.sleep(2)
    assert cluster.folder.exists()
    assert cluster.lost() == ""
    assert cluster.pids["jobmanager"] == before
    assert cluster.get("/overview")["flink-version"]


def test_nothing_outlives_the_process_that_started_a_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    program = (
        "import dataflare_nb as flare, os, polars as pl\n"
        "made = flare.Flink.local(task_managers=1)\n"
        "frame = flare.from_frame(pl.DataFrame({'a': [1]}))\n"
        f"job = frame.deploy(made, out={str(tmp_path / 'x')!r}, submit=True).jobs[-1]\n"
        "print(made.folder, *made.pids.values(), job._client.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    folder, *pids = said.stdout.split()
    assert len(pids) == 3, said.stderr
    deadline = time.monotonic() + 20
    while Path(folder).exists() or any(lives(int(pid)) for pid in pids):
        assert time.monotonic() < deadline, "a process lives on"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
