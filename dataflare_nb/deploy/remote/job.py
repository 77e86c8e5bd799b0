"""A job on a Flink cluster: what it is doing, and the handles to steer it. It has no thread of its own."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from ...errors import BadOption, ClusterError, JobError, JobStopped, JobTimeout, located, told
from ...graph import Graph
from ...runtime.journal import ERROR, INFO, WARNING, Journal
from ...runtime.outline import Outline
from ...runtime.probe import Reading, Sample
from ...runtime.probe import log as lines
from ...signature import public
from . import tables
from .causes import cause
from .look import Look, Looker
from .readings import Readings, unseen
from .rest import Refused, Rest, Unreachable, understood
from .run import Run
from .sketch import Sketch

FINISHED, FAILED, STOPPED, DETACHED = "finished", "failed", "stopped", "detached"
STARTING, DRAINING, DISCONNECTED = "starting", "draining", "disconnected"
ENDED = (FINISHED, FAILED, STOPPED, DETACHED)
_EVERY, _SHARE = 1.0, 5.0
"""Seconds between two looks at least, and how many times as long as a look takes."""
_AGAIN = 2.0
_GONE = 60.0
"""Seconds without an answer after which nobody waits any more."""
_UPDATES = 10.0
"""Seconds after which Flink renews its metrics, unless it is told otherwise."""
_PATIENCE = 120.0
_ABSENT = {
    "pause": "Flink cannot hold a job; job.stop_with_savepoint() ends it so that it can go on",
    "resume": "Flink cannot hold a job, so there is nothing to resume",
    "step": "the instances of a job on a cluster cannot be stepped together; use stream.run() in the notebook",
    "drain": "job.stop_with_savepoint() keeps what windows hold for the run that goes on from it",
    "peek": "its rows are on the cluster and pass nobody here; look at what it writes, or at stream.run().peek()",
    "tap": "its rows are on the cluster and pass nobody here; look at what it writes",
    "explain_window": "its windows are in the state of the cluster; stream.run() in the notebook explains them",
    "swap": "a worker loads its plugins once; deploy the changed stream, from a savepoint",
    "plugins": "workers tell the counts of stages only",
    "plot": "its past is on the cluster; job.metrics() is what is known of it now",
}


@public
class ClusterJob:
    """A job on a Flink cluster, as `flare.attach` and `deploy(submit=True)` give it.

    As the last line of a cell it shows the dashboard. Every method may be called from any thread.
    """

    def __init__(
        self,
        rest: Rest,
        name: str,
        sketch: Sketch,
        *,
        id: str | None = None,
        run: Run | None = None,
        graph: Graph | None = None,
    ) -> None:
        self.name = name
        self.graph = graph
        self._rest = rest
        self._sketch = sketch
        self._run = run
        self._id = id
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._journal = Journal(lambda: self._reading.elapsed)
        self._readings = Readings(sketch, _UPDATES)
        self._looker: Looker | None = None
        self._look: Look | None = None
        self._reading = unseen(sketch, STARTING, "")
        self._next = 0.0
        self._silent_since: float | None = None
        self._error: BaseException | None = None
        self._failed_before = ""
        self._stopping = ""
        self.savepoint: str | None = None
        """Where the state is, once the job has been stopped with it."""
        self._outcome: str | None = None

    # Looking

    @property
    def id(self) -> str | None:
        """Flink's id of the job, once it has one."""
        if self._id is None and self._run is not None:
            self._id = self._run.job_id()
        return self._id

    @property
    def url(self) -> str:
        """Where the cluster's REST interface is."""
        return self._rest.url

    @property
    def status(self) -> str:
        """starting, running, restarting, draining, stopping, disconnected; or finished, failed, stopped, detached."""
        return self.read().status

    @property
    def running(self) -> bool:
        """Whether the job has not ended, as far as is known."""
        return self.status not in ENDED

    @property
    def bounded(self) -> bool:
        """Whether it is known to end by itself: what is submitted from here does, unless its input is live."""
        return self._run is not None and self._run.bounded

    @property
    def error(self) -> BaseException | None:
        """What a failed job failed with."""
        self.read()
        return self._error

    @property
    def history(self) -> Sequence[Sample]:
        """The newest points in time that the numbers changed at."""
        return self._readings.history

    @property
    def parallelism(self) -> dict[str, int]:
        """In how many instances each stage runs."""
        look = self._looked()
        found: dict[str, int] = {}
        for vertex, parts in self._sketch.parts.items():
            times = look.vertices[vertex].parallelism if vertex in look.vertices else 0
            found |= dict.fromkeys([part.id for part in parts] or [vertex], times)
        return found

    @property
    def restarts(self) -> int:
        """How often Flink has started the job again after a failure."""
        return self._looked().restarts

    def outline(self) -> Outline:
        """Return the vertices and what flows between them, for displays."""
        return self._sketch.outline

    def read(self) -> Reading:
        """Return all numbers of this moment, or of the last look, which is a second ago or two."""
        with self._lock:
            if self._outcome is None and (self._left() or time.monotonic() >= self._next):
                self._renew()
            return replace(self._reading, log=self._journal.lines())

    def metrics(self) -> pl.DataFrame:
        """Return one row per stage: rows, speed, shares of time, watermark; null is what nobody tells.

        Time and speed are those of the vertex that a stage runs in, over all of its instances; `busiest` is the share
        of the instance that works most.
        """
        look = self._looked()
        return tables.metrics(self._sketch, look, self._reading.nodes)

    def ledger(self) -> pl.DataFrame:
        """Return what each stage has counted: `stage`, `name`, `value`.

        After the end of a run that was submitted here it is what was committed with its rows, before and for jobs that
        were attached to what workers tell, some seconds late.
        """
        if self._run is not None and self.status == FINISHED:
            return self._run.ledger(self.name)
        return tables.counts(self._sketch, self._looked())

    def checkpoints(self) -> pl.DataFrame:
        """Return the newest checkpoints and savepoints, the newest first."""
        return tables.checkpoints(self._looked().checkpoints.history)

    def exceptions(self) -> pl.DataFrame:
        """Return the newest failures of the job, the newest first: when, where, why."""
        return self._exceptions()

    def log(self) -> pl.DataFrame:
        """Return what was seen of the job since it was attached to."""
        return lines(self.read())

    def result(self, output: str | None = None) -> pl.DataFrame:
        """Return the rows of an output that ends in no sink, after the end: of a job that failed, those it left.

        Of live input they are those committed so far. Raises what the job failed with if it left none.
        """
        if self._run is None:
            raise BadOption(f"job {self.name} was not started here, so its rows are elsewhere; look at what it writes")
        if self.bounded and self.running:
            self.wait()
        if self.bounded and self.savepoint is not None:
            raise JobStopped(f"job {self.name} was stopped before its end; .submit(after=job) goes on with it")
        rows = self._run.result(self.name, self.graph, output)
        if rows.is_empty() and self._error is not None:
            raise self._error
        return rows

    # Steering

    def wait(self, timeout: float | None = None) -> ClusterJob:
        """Wait for the end. Raises JobError if the job failed, JobTimeout if it takes longer.

        An interrupt cancels a job that was submitted here, and leaves one that was attached to alone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while (status := self.status) not in ENDED:
                if deadline is not None and time.monotonic() >= deadline:
                    how = "" if status == "running" else f", or rather {status}"
                    raise JobTimeout(f"job {self.name} is still running{how} after {timeout} s; .stop() ends it")
                if self._silent_for() > _GONE:
                    raise ClusterError(
                        f"{self.url} has not answered for {_GONE:.0f} s; a cluster of one job goes away with its job"
                    )
                time.sleep(0.1)
        except JobTimeout:
            raise
        except BaseException:
            if self._run is not None:
                with suppress(ClusterError, JobError):
                    self._cancel(patience=0.5)
            raise
        if self._run is not None:
            # Its client gives back the slots.
            self._run.end(patience=_PATIENCE)
        if status == FAILED:
            raise self._error if self._error is not None else JobError(f"job {self.name} failed on the cluster")
        if status == DETACHED:
            raise JobStopped(f"job {self.name} is detached")
        return self

    def checkpoint(self, *, timeout: float = _PATIENCE) -> int:
        """Take a checkpoint now, and return its number when it is complete."""
        with located("checkpoint"):
            asked = self._ask("/checkpoints", {"checkpointType": "CONFIGURED"})
            done = self._done("checkpoint", f"/checkpoints/{asked['request-id']}", timeout)
        self._say(INFO, f"checkpoint {done['checkpointId']} is complete")
        return int(done["checkpointId"])

    def take_savepoint(self, target: str | None = None, *, timeout: float = _PATIENCE) -> str:
        """Write a savepoint while the job goes on, and return where it is."""
        with located("take_savepoint"):
            body = {"cancel-job": False, **({"target-directory": target} if target is not None else {})}
            place = self._saved("/savepoints", body, timeout)
        self._say(INFO, f"savepoint {place}")
        return place

    def stop_with_savepoint(self, target: str | None = None, *, drain: bool = False, timeout: float = _PATIENCE) -> str:
        """Stop where a savepoint is taken, and return its place. `Deployment.submit(after=job)` goes on from there.

        With `drain` the windows of Flink's own fire first, and the job is not to go on; ours fire as rows come. A job
        that cannot take a savepoint goes on, and the error says why.
        """
        with located("stop_with_savepoint"):
            if drain and self._sketch.ours:
                raise BadOption(
                    f"drain=True is for windows of Flink's own; those of job {self.name} fire as rows come, and what "
                    "they hold is in the savepoint"
                )
            self._until(lambda status: status not in (STARTING, *ENDED), timeout)
            body = {"drain": drain, **({"targetDirectory": target} if target is not None else {})}
            self._stopping = STOPPED
            try:
                self.savepoint = self._saved("/stop", body, timeout)
            except BaseException:
                self._stopping = ""
                raise
            self._say(INFO, f"stopped, with the savepoint {self.savepoint}")
            self._until(lambda status: status in ENDED, timeout)
            if self._run is not None:
                # Whoever goes on has the same folder of results.
                self._run.end(patience=timeout)
                self._run.stopped()
        return self.savepoint

    def cancel(self, *, timeout: float = _PATIENCE) -> None:
        """End the job now, without a savepoint. May be called twice."""
        with located("cancel"):
            if self._outcome in (FINISHED, FAILED, STOPPED):
                return
            # What a live job has committed is still handed to its sinks.
            self._cancel(patience=timeout)
            self._until(lambda status: status in ENDED, timeout)

    def stop(self) -> None:
        """End the job now, as `cancel` does; `stop_with_savepoint` keeps its state."""
        self.cancel()

    def _cancel(self, *, patience: float) -> None:
        before, self._stopping = self._stopping, STOPPED
        try:
            if self.id is not None:
                self._ask("?mode=cancel")
        except Refused as refused:
            # It has ended meanwhile.
            if refused.status not in (404, 409):
                self._stopping = before
                raise
        finally:
            if self._run is not None and self._stopping:
                self._run.end(patience=patience if self.id is not None else 0.0)

    def steering(self) -> Mapping[str, Callable[[], str]]:
        """Return what a display may do with the job. Each says what it did."""

        def cancel() -> str:
            self.cancel()
            return "cancelled"

        return {
            "checkpoint": lambda: f"checkpoint {self.checkpoint()} is complete",
            "savepoint": lambda: f"stopped; it can go on from {self.stop_with_savepoint()}",
            "cancel": cancel,
        }

    def detach(self) -> None:
        """Let go of the job, which goes on. May be called twice."""
        with self._lock:
            if self._outcome is None:
                self._end(DETACHED, "detached: the job goes on without being watched")
            self._rest.close()

    close = detach

    def forget(self) -> None:
        """Take away the rows that `result` gives."""
        if self._run is not None:
            self._run.forget()

    def dashboard(self) -> Any:
        """Return the live dashboard of this job, for a notebook. Needs the `notebook` extra."""
        return importlib.import_module("...notebook.display", __package__).dashboard(self)

    def _ipython_display_(self) -> None:
        importlib.import_module("...notebook.display", __package__).show(self)

    def __getattr__(self, name: str) -> Any:
        if name in _ABSENT:
            raise AttributeError(f"a job on Flink has no {name}(): {_ABSENT[name]}")
        raise AttributeError(f"a ClusterJob has no `{name}`")

    def __repr__(self) -> str:
        status = self._reading.status
        why = f": {told(self._error)}" if status == FAILED and self._error is not None else ""
        return f"ClusterJob({self.name!r} at {self.url}, {status}{why})"

    # How it is

    def _looked(self) -> Look:
        """Return the newest look. Raises if there has been none."""
        self.read()
        if self._look is None:
            raise JobError(f"job {self.name} is {self._reading.status}, and nothing is known of it yet")
        return self._look

    def _left(self) -> bool:
        """Tell whether the client has ended, so that there is something to be seen."""
        return self._run is not None and self._run.ended()

    def _renew(self) -> None:
        begun = time.monotonic()
        if self._left() and self._stopping:
            self._end(STOPPED, "stopped")
            return
        try:
            with understood(self._rest):
                self._look_again(begun)
        except Unreachable as error:
            self._silent(error)
        except ClusterError as error:
            if isinstance(error, Refused) and error.status == 404 and error.path == f"/jobs/{self._id}":
                self._fail(
                    ClusterError(
                        f"{self.url} knows no job {self._id} any more; its JobManager was started anew without high "
                        f"availability, or has forgotten jobs that ended long ago{self._failed_before}"
                    )
                )
            else:
                self._silent(error)
        took = time.monotonic() - begun
        pause = _AGAIN if self._silent_since is not None else max(_EVERY, _SHARE * took)
        if self._run is not None and (self._look is None or self._reading.status == DRAINING):
            # Its client ends at any time.
            pause = 0.2
        self._next = begun + pause

    def _look_again(self, now: float) -> None:
        job_id = self.id
        if job_id is None:
            assert self._run is not None
            if self._run.ended():
                self._run_has_ended(None)
            else:
                says = f"Flink's client makes the job of {self._run.folder.name}"
                self._reading = replace(self._reading, says=says, elapsed=now - self._began)
            return
        if self._looker is None:
            self._looker = Looker(self._rest, job_id, self._sketch)
            self._readings = Readings(self._sketch, self._updates())
        before = self._look
        look = self._looker.look()
        if self._silent_since is not None:
            self._silent_since = None
            self._journal.say(INFO, f"{self.url} answers again")
        self._look = look
        self._reading = self._readings.of(look, now)
        self._tell(before, look)
        if self._left():
            self._run_has_ended(look)
        elif look.status == FAILED:
            self._fail(JobError(f"job {self.name} failed on the cluster: {self._why()}"))
        elif look.status in (FINISHED, STOPPED):
            if self._run is not None and not self._stopping:
                # Its rows are on their way to the sinks.
                self._reading = replace(self._reading, status=DRAINING, says="the job's driver writes its rows")
            else:
                self._end(self._stopping or look.status, f"{self._stopping or look.status}")

    def _run_has_ended(self, look: Look | None) -> None:
        assert self._run is not None
        if self._run.ok():
            if look is None or look.status != "running" or self._gone() is not None:
                self._end(FINISHED, "finished")
            # Else the cluster is a little behind.
        else:
            self._fail(self._gone() or JobError(f"job {self.name} failed on the cluster: {self._run.cause()}"))

    def _tell(self, before: Look | None, now: Look) -> None:
        """Write into the log what has changed."""
        say = self._journal.say
        if before is None:
            say(INFO, f"attached: {now.status}, {now.instances[1]} instances, {now.checkpoints.completed} checkpoints")
            return
        if now.restarts > before.restarts:
            why = self._why()
            self._failed_before = f"; before, the job failed with {why}"
            say(ERROR, f"Flink starts the job again: {why}")
            if self._looker is not None:
                self._looker.forget()
        elif now.status != before.status and now.status not in ENDED:
            say(INFO, now.status)
        if now.checkpoints.failed > before.checkpoints.failed and before.status == "running":
            failures = [each.get("failure_message") for each in now.checkpoints.history]
            say(WARNING, f"a checkpoint failed: {next((each for each in failures if each), 'Flink does not say why')}")

    def _why(self) -> str:
        try:
            rows = self._exceptions(1)
        except ClusterError as error:
            return told(error)
        return str(rows["cause"][0]) if rows.height else "Flink does not say why"

    def _exceptions(self, most: int = 20) -> pl.DataFrame:
        if self.id is None:
            return tables.exceptions({}, {})
        answer = self._rest.get(f"/jobs/{self.id}/exceptions?maxExceptions={most}")
        entries = (answer.get("exceptionHistory") or {}).get("entries") or []
        return tables.exceptions(
            answer, {at: cause(str(each.get("stacktrace", ""))) for at, each in enumerate(entries)}
        )

    def _updates(self) -> float:
        """Return after how many seconds the cluster renews its metrics."""
        try:
            options = {each["key"]: each["value"] for each in self._rest.get("/jobmanager/config")}
            return max(0.1, float(options["metrics.fetcher.update-interval"].removesuffix("ms").strip()) / 1e3)
        except (ClusterError, KeyError, TypeError, ValueError):
            return _UPDATES

    def _silent(self, error: ClusterError) -> None:
        """Take note that nobody answers, and keep what is known."""
        if self._left():
            self._run_has_ended(self._look)
            if self._outcome is not None:
                return
        if self._run is not None and (gone := self._gone()) is not None:
            self._run.end(patience=0.0)
            self._fail(gone)
            return
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self._journal.say(WARNING, told(error))
        says = f"{told(error)}; it is asked again every {_AGAIN:.0f} s"
        self._reading = replace(self._reading, status=DISCONNECTED, says=says)

    def _gone(self) -> ClusterError | None:
        """Return the error of a cluster of this machine that is there no more."""
        why = self._run.lost() if self._run is not None else ""
        return ClusterError(f"job {self.name} ended with its cluster: {why}") if why else None

    def _silent_for(self) -> float:
        since = self._silent_since
        return 0.0 if since is None else time.monotonic() - since

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._end(FAILED, f"failed: {told(error)}", ERROR)

    def _end(self, outcome: str, says: str, level: str = INFO) -> None:
        self._outcome = outcome
        self._journal.say(level, says)
        self._reading = replace(self._reading, status=outcome, says="")

    def _say(self, level: str, text: str) -> None:
        with self._lock:
            self._journal.say(level, text)
            self._next = 0.0

    # What is asked of the cluster

    def _ask(self, place: str, body: Mapping[str, Any] | None = None) -> Any:
        if self._outcome is not None:
            raise JobStopped(f"job {self.name} is {self._outcome}")
        if self.id is None:
            raise JobError(f"job {self.name} is still {self._reading.status}; the cluster does not know it yet")
        where = f"/jobs/{quote(self.id or '')}{place}"
        return self._rest.patch(where) if body is None else self._rest.post(where, body)

    def _done(self, what: str, place: str, timeout: float) -> Mapping[str, Any]:
        """Wait until the cluster has done what it was asked for, and return what it says of that."""
        deadline = time.monotonic() + timeout
        while True:
            answer = self._rest.get(f"/jobs/{self._id}{place}")
            if (answer.get("status") or {}).get("id") == "COMPLETED":
                done = answer.get("operation") or {}
                failed = done.get("failure-cause") or done.get("failureCause")
                if failed:
                    said = failed.get("stack-trace") or failed.get("stackTrace") or failed.get("class") or ""
                    raise ClusterError(f"job {self.name} took no {what}: {cause(str(said))}")
                return dict(done)
            if time.monotonic() >= deadline:
                raise JobTimeout(f"job {self.name} has not finished the {what} after {timeout:g} s; it goes on")
            time.sleep(0.1)

    def _saved(self, how: str, body: Mapping[str, Any], timeout: float) -> str:
        asked = self._ask(how, body)
        return str(self._done("savepoint", f"/savepoints/{asked['request-id']}", timeout)["location"])

    def _until(self, holds: Callable[[str], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not holds(status := self.status):
            if status in ENDED:
                raise JobStopped(f"job {self.name} is {status}")
            if time.monotonic() >= deadline:
                raise JobTimeout(f"job {self.name} is still {status} after {timeout:g} s")
            time.sleep(0.1)

    # What tests and the loop of a cluster look at

    @property
    def submitted(self) -> Run | None:
        """The run behind a job that was submitted here."""
        return self._run

    @property
    def results(self) -> Path | None:
        """The folder of committed rows of a run that was submitted here."""
        return self._run.results if self._run is not None else None

    @property
    def _client(self) -> Any:
        return self._run.process if self._run is not None else None

    def _cause(self) -> str:
        return self._run.cause() if self._run is not None else self._why()
