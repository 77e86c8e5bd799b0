"""What a bundle is submitted with, by a client that only notes how it is called."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.deploy import Deployment
from dataflare_nb.deploy.local.environment import Environment
from dataflare_nb.deploy.remote.causes import cause
from dataflare_nb.deploy.remote.job import ClusterJob
from dataflare_nb.deploy.remote.rest import Rest
from dataflare_nb.deploy.remote.run import Run
from dataflare_nb.deploy.remote.sketch import Sketch
from dataflare_nb.deploy.remote.submit import Client
from dataflare_nb.deploy.worker import codec
from dataflare_nb.deploy.worker.loading import load
from dataflare_nb.errors import BadOption, ClusterError, GraphFormat, JobStopped, WrongType

from . import graphs


class Submitter:
    """Submits bundles; `calls` are the commands."""

    def __init__(self, folder: Path) -> None:
        self.calls: list[Sequence[str]] = []
        self._folder = folder
        (folder / "env" / "lib" / "python3.11" / "site-packages" / "pyflink").mkdir(parents=True)

    def start(self, command: Sequence[str], log: Path, slots: int) -> subprocess.Popen[bytes]:
        self.calls.append(command)
        log.touch()
        ended = subprocess.Popen(["true"])
        ended.wait()
        return ended

    def submit(self, made: Deployment, **how: Any) -> Path:
        """Submit, and return the file that is run."""
        own = Path(tempfile.mkdtemp(dir=self._folder))
        client = Client(Environment(self._folder / "env", self._folder), "python", self.start)
        told = {"after": None, "parallelism": None, **how}
        job = client.submit(Rest("http://127.0.0.1:9"), made.folder, made.graph, made.target, own, **told)
        job.detach()
        command = self.calls[-1]
        return Path(command[command.index("-py") + 1])


def test_a_job_runs_from_a_copy_when_another_bundle_takes_the_place(tmp_path: Path) -> None:
    submitter = Submitter(tmp_path)
    began = submitter.submit(graphs.hourly().deploy(flare.Flink(), out=tmp_path / "x"))
    later = submitter.submit(graphs.hourly().select("flights").named("few").deploy(flare.Flink(), out=tmp_path / "x"))
    assert "few" not in load(began.parent).stages
    assert "few" in load(later.parent).stages


@pytest.mark.parametrize("parallelism", [0, 3.5, "2", True, 1 << 20])
def test_a_parallelism_that_a_bundle_has_not_is_refused(parallelism: Any, tmp_path: Path) -> None:
    made = graphs.hourly().deploy(flare.Flink(), out=tmp_path / "x")
    with pytest.raises((BadOption, WrongType), match="parallelism="):
        Submitter(tmp_path).submit(made, parallelism=parallelism)


def test_what_is_no_bundle_or_no_job_is_refused(tmp_path: Path) -> None:
    submitter = Submitter(tmp_path)
    made = graphs.hourly().deploy(flare.Flink(), out=tmp_path / "x")
    with pytest.raises(WrongType, match="a job that"):
        submitter.submit(made, after="yesterday")
    for content in (b"{", b"3"):
        (made.folder / "job.json").write_bytes(content)
        with pytest.raises(GraphFormat, match="is no bundle that can be run"):
            submitter.submit(made)
    (made.folder / "job.json").unlink()
    with pytest.raises(GraphFormat, match="No such file"):
        submitter.submit(made)
    assert not submitter.calls


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run whose client waits for a cluster that is gone."""
    client = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "client.out").touch()
    yield Run(
        client,
        tmp_path / "own" / "client.out",
        folder=tmp_path,
        results=tmp_path / "own" / "results",
        outputs=["hourly"],
        lost=lambda: "its JobManager was killed",
    )
    client.kill()
    client.wait()


def test_a_job_of_a_cluster_that_is_gone_has_failed_at_once(run: Run, within) -> None:  # type: ignore[no-untyped-def]
    graph = graphs.hourly().graph
    job = ClusterJob(Rest("http://127.0.0.1:9"), "hourly", Sketch.of_graph("hourly", graph), id="0" * 32, run=run)
    with within(10), pytest.raises(ClusterError, match="job hourly ended with its cluster: its JobManager was killed"):
        job.wait(60)
    assert job.status == "failed"
    assert run.ended(), "its client goes on"
    with pytest.raises(ClusterError, match="its JobManager was killed"):
        job.result()
    shutil.rmtree(run.results.parent)
    with pytest.raises(JobStopped, match="the rows of job hourly went with its cluster, which is closed"):
        job.result()
    assert job.status == "failed"


def test_rows_of_live_input_are_those_committed_so_far(run: Run, tmp_path: Path) -> None:
    graph = graphs.hourly().graph
    run.bounded = False
    job = ClusterJob(Rest("http://127.0.0.1:9"), "hourly", Sketch.of_graph("hourly", graph), id="0" * 32, run=run)
    assert not job.bounded
    rows = graphs.hourly().collect()
    line = f"run hourly {base64.b64encode(codec.to_ipc(rows)).decode()}\n"
    for number in range(2):
        run.results.mkdir(exist_ok=True)
        (run.results / f"part-{number}").write_text(line)
        assert job.result().equals(pl.concat([rows] * (number + 1)))
    job.savepoint = "file:/savepoints/1"
    assert job.result().height == 2 * rows.height


def test_a_run_goes_on_where_another_was_stopped_without_the_rows_of_a_third(tmp_path: Path) -> None:
    (tmp_path / "own" / "results").mkdir(parents=True)
    log = tmp_path / "own" / "client.out"

    def run(client: str = "false", after: Run | None = None) -> Run:
        made = Run(
            subprocess.Popen(client.split(), start_new_session=True),
            log,
            folder=tmp_path,
            results=tmp_path / "own" / "results",
            outputs=["hourly"],
            after=after,
        )
        if not client.startswith("sleep"):
            made.process.wait()
        return made

    def parts() -> list[str]:
        return sorted(each.name for each in (tmp_path / "own" / "results").iterdir())

    first = run("true")
    (first.results / "part-0").touch()
    first.stopped()
    first.rewind("x")
    cancelled = run(after=first)
    (first.results / "part-1").touch()
    cancelled.stopped()
    first.rewind("x")
    assert parts() == ["part-0"]
    with pytest.raises(BadOption, match="rows before its savepoint have been taken back"):
        cancelled.rewind("x")
    second = run("true", after=first)
    (first.results / "part-2").touch()
    with pytest.raises(BadOption, match="to its end"):
        first.rewind("x")
    second.stopped()
    third = run(after=second)
    (first.results / "part-3").touch()
    (first.results / ".delivered-1").write_text("[]")
    with pytest.raises(BadOption, match="which would be doubled"):
        second.rewind("x")
    third.stopped()
    third.rewind("x")
    assert parts() == [".delivered-1", "part-0", "part-2", "part-3"]
    fourth = run("sleep 600", after=third)
    with pytest.raises(BadOption, match="is being gone on with"):
        third.rewind("x")
    fourth.end(patience=0.0)


def test_only_frames_and_input_that_ends_can_be_compared(tmp_path: Path) -> None:
    live = flare.rate(10).deploy(flare.Flink(), out=tmp_path / "x")
    with pytest.raises(BadOption, match=r"compare at test_submit\.py, line \d+ needs input that ends"):
        live.compare()
    with pytest.raises(WrongType, match="frame is LazyFrame"):
        live.compare(pl.LazyFrame({"a": [1]}))  # type: ignore[arg-type]
    with pytest.raises((BadOption, WrongType), match="parallelism="):
        live.submit(parallelism="2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        "Traceback\n  File\ndataflare_nb.errors.GraphFormat: job.json is changed\n\norg.apache.flink.client.program."
        "ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1\n"
        "Caused by: java.lang.RuntimeException: Python process exits with code: 1\n",
        "RuntimeError: Error received from SDK harness: Trace\ndataflare_nb.errors.StageFailed: job.json is changed\n",
        "ValueError: job.json is changed",
    ],
)
def test_the_cause_is_what_python_said(said: str) -> None:
    assert cause(said).partition(": ")[2] == "job.json is changed"
