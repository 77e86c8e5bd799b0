"""A bundle that Flink's client submits: the process of the client, which stays until the end, and the rows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from ...errors import BadOption, JobStopped, listing
from ...graph import Graph
from ..worker.delivery import Mark, committed, ledger
from .causes import cause


class Run:
    """One run. `results` is the folder of committed rows, `outputs` are those of the job that end in no sink."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: Path,
        *,
        folder: Path,
        results: Path,
        outputs: Sequence[str],
        lost: Callable[[], str] = str,
        after: Run | None = None,
        bounded: bool = True,
    ) -> None:
        self.process = process
        self.lost = lost
        """Says why the cluster will never answer again; nothing while it may."""
        self.folder = folder
        self.results = results
        self.bounded = bounded
        """Whether its input ends."""
        self._log = log
        self._outputs = list(outputs)
        # Runs that went on from one another have one folder of results, and this list.
        self._line: list[Run] = after._line if after is not None else []
        self._line.append(self)
        self._mark: Mark | None = None

    def job_id(self) -> str | None:
        """Return Flink's id of the job, once the client has told it."""
        found = re.search(r"JobID ([0-9a-f]{32})", self._said())
        return found[1] if found else None

    def ended(self) -> bool:
        """Tell whether the client has ended: the job has, and its rows are where they belong."""
        return self.process.poll() is not None

    def ok(self) -> bool:
        """Tell whether all went well."""
        return self.process.poll() == 0

    def cause(self) -> str:
        """Say why the client failed."""
        return cause(self._said())

    def end(self, *, patience: float) -> None:
        """Give the client a moment to end by itself, then end it."""
        deadline = time.monotonic() + patience
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not self.ended():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stopped(self) -> None:
        """Remember what has been committed, now that the job has been stopped with a savepoint."""
        self._mark = Mark.of(self.results)

    def rewind(self, name: str) -> None:
        """Take back the rows of runs that went on from this one, since one more does, which makes them again.

        Raises BadOption if that cannot be: rows would be lost or doubled.
        """
        if self._mark is None and self.ended():
            self.stopped()
        if self not in self._line or self._mark is None:
            raise BadOption(f"job {name} cannot be gone on with: rows before its savepoint have been taken back")
        later = self._line[self._line.index(self) + 1 :]
        if any(not each.ended() for each in later):
            raise BadOption(f"job {name} is being gone on with; .stop() what runs from its savepoint before")
        if any(each.ok() and each._mark is None for each in later):
            raise BadOption(f"job {name} has been gone on with to its end; .submit() runs it anew")
        now = Mark.of(self.results)
        if now.journals != self._mark.journals:
            raise BadOption(
                f"job {name} cannot be gone on with once more: what went on from its savepoint has handed rows to its "
                "sinks, which would be doubled"
            )
        for file in now.files - self._mark.files:
            file.unlink()
        del self._line[self._line.index(self) + 1 :]

    def result(self, name: str, graph: Graph | None, output: str | None) -> pl.DataFrame:
        """Return the rows of an output that ends in no sink."""
        if output is None and len(self._outputs) == 1:
            (output,) = self._outputs
        if output is None or output not in self._outputs:
            raise BadOption(f"job {name} has no output {output!r}; it has {listing(self._outputs)}")
        self._require_rows(name)
        frames = [rows for _, rows in committed(self.results, [output])]
        if frames:
            return pl.concat(frames)
        return pl.DataFrame(schema=graph.edge(output).schema if graph is not None else None)

    def ledger(self, name: str) -> pl.DataFrame:
        """Return what each stage has counted, from its beginning to its end."""
        self._require_rows(name)
        return ledger(self.results)

    def forget(self) -> None:
        """Take away the rows."""
        shutil.rmtree(self.results, ignore_errors=True)

    def _require_rows(self, name: str) -> None:
        if not self._log.parent.exists():
            raise JobStopped(f"the rows of job {name} went with its cluster, which is closed; take them before")

    def _said(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except FileNotFoundError:
            # The folder of a cluster that is closed.
            return ""
