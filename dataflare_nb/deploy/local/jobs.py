"""A bundle that runs on a local cluster, and its rows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from ...errors import BadOption, JobError, JobTimeout, listing
from ...graph import Graph
from ..worker.delivery import committed

if TYPE_CHECKING:
    from .cluster import LocalCluster

_CAUSE = re.compile(r"^\s*(?:Caused by: )?([\w.]*(?:Error|Exception|StageFailed|MalformedRow): .*)$", re.MULTILINE)


class ClusterJob:
    """One run of a bundle. `wait` for it, then ask for its `result`."""

    def __init__(self, cluster: LocalCluster, folder: Path, graph: Graph) -> None:
        self._cluster = cluster
        self._graph = graph
        self.folder = folder
        told = msgspec.json.decode((folder / "job.json").read_bytes())
        self.name: str = told["name"]
        self._results: list[str] = told["results"]
        number = len(list((cluster.folder / "tmp").glob("run-*")))
        self._own = cluster.folder / "tmp" / f"run-{number}"
        self._own.mkdir()
        self._log = self._own / "client.out"
        env = cluster.environment
        with self._log.open("wb") as log:
            self._client = subprocess.Popen(
                [
                    *(str(env.flink_home / "bin" / "flink"), "run"),
                    *("-pyexec", str(env.python), "-pyclientexec", str(env.python)),
                    *("-py", str(folder / "job.py"), "--results", f"file://{self._own}/results"),
                ],
                env=cluster.variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def id(self) -> str | None:
        """Flink's id of the job, once it has one."""
        found = re.search(r"JobID ([0-9a-f]{32})", self._said())
        return found[1] if found else None

    @property
    def running(self) -> bool:
        """Whether the job has not ended."""
        return self._client.poll() is None

    def wait(self, timeout: float | None = None) -> ClusterJob:
        """Wait for the end. Raises JobError if the job failed, JobTimeout if it takes longer."""
        try:
            code = self._client.wait(timeout)
        except subprocess.TimeoutExpired:
            raise JobTimeout(f"job {self.name} is still running after {timeout} s") from None
        except BaseException:
            self.stop()
            raise
        if code:
            raise JobError(f"job {self.name} failed on the cluster: {self._cause()}")
        return self

    def result(self, output: str | None = None) -> pl.DataFrame:
        """Return the rows of an output that ends in no sink, after the end."""
        if self.running:
            self.wait()
        if output is None and len(self._results) == 1:
            (output,) = self._results
        if output not in self._results:
            raise BadOption(f"job {self.name} has no output {output!r}; it has {listing(self._results)}")
        assert output is not None
        frames = [rows for _, rows in committed(self._own / "results", [output])]
        return pl.concat(frames) if frames else pl.DataFrame(schema=self._graph.edge(output).schema)

    def stop(self) -> None:
        """Cancel the job. May be called twice."""
        if self.running:
            if (known := self.id) is not None:
                subprocess.run(
                    [str(self._cluster.environment.flink_home / "bin" / "flink"), "cancel", known],
                    env=self._cluster.variables(),
                    capture_output=True,
                    check=False,
                )
            deadline = time.monotonic() + 5
            while self.running and time.monotonic() < deadline:
                time.sleep(0.1)
            with suppress(ProcessLookupError):
                os.killpg(self._client.pid, signal.SIGKILL)
            self._client.wait()

    def forget(self) -> None:
        """Take away the rows."""
        shutil.rmtree(self._own / "results", ignore_errors=True)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")

    def _cause(self) -> str:
        said = self._said()
        found = _CAUSE.findall(said)
        # The innermost cause stands last, and Python's own error before Flink's words about it.
        ours = [each for each in found if not each.startswith(("java.", "org.", "RuntimeError"))]
        return (ours or found or said.strip().splitlines() or ["it said nothing"])[-1]

    def __repr__(self) -> str:
        return f"<job {self.name} on {self._cluster.url}, {'running' if self.running else 'ended'}>"
