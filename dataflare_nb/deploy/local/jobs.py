"""A bundle that runs on a local cluster, and its rows."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from ...errors import BadOption, JobError, JobStopped, JobTimeout, listing
from ...graph import Graph
from ..worker.delivery import committed, ledger

if TYPE_CHECKING:
    from .cluster import LocalCluster

_CAUSE = re.compile(r"^\s*(?:Caused by: )?([\w.]*(?:Error|Exception|StageFailed|MalformedRow): .*)$", re.MULTILINE)


class ClusterJob:
    """One run of a bundle. `wait` for it, then ask for its `result`.

    `after` is a run that was stopped with a savepoint, and is gone on with, at another parallelism if that is said.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        folder: Path,
        graph: Graph,
        *,
        after: ClusterJob | None = None,
        parallelism: int | None = None,
    ) -> None:
        self._cluster = cluster
        self._graph = graph
        self.folder = folder
        told = msgspec.json.decode((folder / "job.json").read_bytes())
        self.name: str = told["name"]
        self._outputs: list[str] = told["results"]
        self.savepoint: str | None = None
        """Where the state is, once the job has been stopped with it."""
        if after is not None and after.savepoint is None:
            raise BadOption(f"job {after.name} was not stopped with a savepoint; .stop_with_savepoint() does")
        if parallelism is not None and not 1 <= parallelism <= told["partitions"]:
            raise BadOption(f"parallelism={parallelism}; between 1 and {told['partitions']} in this bundle")
        self._own = Path(tempfile.mkdtemp(prefix="run-", dir=cluster.folder / "tmp"))
        self.results: Path = self._own / "results" if after is None else after.results
        """The folder of committed rows."""
        self._log = self._own / "client.out"
        env = cluster.environment
        widest = max(parallelism if parallelism and each["keys"] else each["parallelism"] for each in told["vertices"])
        self._client = cluster.run_client(
            [
                *(str(env.flink_home / "bin" / "flink"), "run"),
                *(("-s", after.savepoint) if after is not None and after.savepoint is not None else ()),
                *("-pyexec", str(env.python), "-pyclientexec", str(env.python)),
                *("-py", str(folder / "job.py"), "--results", f"file://{self.results}"),
                *(("--parallelism", str(parallelism)) if parallelism is not None else ()),
            ],
            self._log,
            widest,
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
        """Wait for the end. Raises JobError if the job failed, JobTimeout if it takes longer, and then it goes on.

        An interrupt cancels the job.
        """
        try:
            code = self._client.wait(timeout)
        except subprocess.TimeoutExpired:
            raise JobTimeout(f"job {self.name} is still running after {timeout} s; .stop() ends it") from None
        except BaseException:
            self._cancel(patience=0.5)
            raise
        if code:
            raise JobError(f"job {self.name} failed on the cluster: {self._cause()}")
        return self

    def result(self, output: str | None = None) -> pl.DataFrame:
        """Return the rows of an output that ends in no sink, after the end."""
        self._require_end()
        if output is None and len(self._outputs) == 1:
            (output,) = self._outputs
        if output not in self._outputs:
            raise BadOption(f"job {self.name} has no output {output!r}; it has {listing(self._outputs)}")
        assert output is not None
        frames = [rows for _, rows in committed(self.results, [output])]
        return pl.concat(frames) if frames else pl.DataFrame(schema=self._graph.edge(output).schema)

    def ledger(self) -> pl.DataFrame:
        """Return what each stage has counted, after the end: `stage`, `name`, `value`."""
        self._require_end()
        return ledger(self.results)

    def stop_with_savepoint(self, timeout: float = 60.0) -> str:
        """Stop where a savepoint is taken, and return its place. `Deployment.submit(after=job)` goes on from there."""
        known = self._known(timeout)
        asked = self._cluster.send("POST", f"/jobs/{known}/stop", {"drain": False})
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            told = self._cluster.get(f"/jobs/{known}/savepoints/{asked['request-id']}")
            if told["status"]["id"] == "COMPLETED":
                if (cause := told["operation"].get("failure-cause")) is not None:
                    raise JobError(f"job {self.name} took no savepoint: {cause['class']}; its end: {self._cause()}")
                self.savepoint = str(told["operation"]["location"])
                self.wait(max(1.0, deadline - time.monotonic()))
                return self.savepoint
            time.sleep(0.1)
        raise JobTimeout(f"job {self.name} took no savepoint within {timeout} s; it is running on")

    def stop(self) -> None:
        """Cancel the job. May be called twice."""
        if self.running:
            self._cancel(patience=5.0)

    def _cancel(self, patience: float) -> None:
        if (known := self.id) is not None:
            with suppress(OSError, ValueError):
                self._cluster.send("PATCH", f"/jobs/{known}?mode=cancel", timeout=patience)
        self._cluster.end_client(self._client)

    def _known(self, timeout: float) -> str:
        """Return the id, which a job has when the client has handed it over and it is running."""
        deadline = time.monotonic() + timeout
        while self.running and time.monotonic() < deadline:
            known = self.id
            if known is not None and self._cluster.get(f"/jobs/{known}")["state"] == "RUNNING":
                return known
            time.sleep(0.1)
        raise JobError(f"job {self.name} is not running: {self._cause()}")

    def _require_end(self) -> None:
        if self.running:
            self.wait()
        if self.savepoint is not None:
            raise JobStopped(f"job {self.name} was stopped before its end; .submit(after=job) goes on with it")

    def forget(self) -> None:
        """Take away the rows."""
        shutil.rmtree(self.results, ignore_errors=True)

    def _said(self) -> str:
        return self._log.read_text(errors="replace")

    def _cause(self) -> str:
        said = self._said()
        found = _CAUSE.findall(said)
        # The innermost cause stands last, and Python's own error before Flink's words about it.
        ours = [each for each in found if not each.startswith(("java.", "org.", "py4j.", "RuntimeError"))]
        return (ours or found or said.strip().splitlines() or ["it said nothing"])[-1]

    def __repr__(self) -> str:
        return f"<job {self.name} on {self._cluster.url}, {'running' if self.running else 'ended'}>"
