"""A run of a graph: what it is doing, what it has made, and the handles to steer it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ..connectors.memory import MemoryBuffer
from ..errors import (
    BadOption,
    JobError,
    JobStopped,
    JobTimeout,
    StageFailed,
    UnknownStage,
    listing,
    located,
    nearest,
    told,
)
from ..graph import Graph, node
from ..interrupts import Latch
from ..runtime.channel import Channel
from ..runtime.host import Host
from ..runtime.metrics import Shares
from ..runtime.pace import Pace
from ..runtime.plan import Plan, StagePlan
from ..runtime.probe import Reading, Swap, ledger, metrics, plugins, swaps
from ..runtime.sink import SinkDriver
from ..runtime.source import SourceDriver
from ..signature import public
from ..types import NEVER, Batch, Clock
from .reading import Sample, newest_time, reading, sampled
from .report import WindowReport
from .scheduler import Scheduler
from .stage import Stage
from .swap import guests, swap
from .visit import visiting

log = logging.getLogger("dataflare_nb")

RUNNING, PAUSED, DRAINING = "running", "paused", "draining"
FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"
_HISTORY = 600
_PATIENCE = 5.0


@public
class Job:
    """A running or finished job. Every method may be called from any thread, at any time."""

    def __init__(
        self,
        name: str,
        graph: Graph,
        plan: Plan,
        results: Mapping[str, MemoryBuffer],
        *,
        workers: int,
        clock: Clock,
        pace: Pace,
        commit_every: int | None,
    ) -> None:
        self.name = name
        self.graph = graph
        self.plan = plan
        self._results = results
        self._clock = clock
        self._pace = pace
        self._commit_every = commit_every
        self._started = time.monotonic()
        self._ended: float | None = None
        self._outcome: str | None = None
        self._begun = False
        self._keeps = False
        self._finished = Latch()
        self._finishing = threading.Lock()
        self._stages: dict[str, Stage] = {}
        self.history: deque[Sample] = deque(maxlen=_HISTORY)
        try:
            for stage_plan in plan.stages:
                self._stages[stage_plan.id] = self._open(stage_plan)
            self._connect()
        except BaseException:
            self._release(commit=False)
            raise
        self._scheduler = Scheduler(name, list(self._stages.values()), workers, clock, pace)
        self._scheduler.on_end = self._wind_up
        self._scheduler.on_progress = self._remember

    # Steering

    def start(self) -> Job:
        """Start the workers, once."""
        with self._finishing:
            if not self._begun and self._outcome is None:
                self._begun = True
                self._scheduler.start()
        return self

    @property
    def status(self) -> str:
        """One of running, paused, draining, finished, failed, stopped."""
        if self._outcome is not None:
            return self._outcome
        if self._scheduler.draining:
            return DRAINING
        return PAUSED if self._scheduler.paused else RUNNING

    @property
    def error(self) -> BaseException | None:
        """What a failed job failed with."""
        return self._scheduler.error

    def wait(self, timeout: float | None = None) -> Job:
        """Wait for the end, at most `timeout` seconds.

        Raises StageFailed if a stage failed and JobTimeout when time is up. An interrupt stops the job.
        """
        if self._scheduler.on_worker():
            raise JobError(f"job {self.name} cannot wait for itself; call this outside of its own functions")
        try:
            if not self._wait_until_finished(timeout):
                raise JobTimeout(f"job {self.name} is still {self.status} after {timeout} s; job.stop() ends it")
        except KeyboardInterrupt:
            self.stop()
            raise
        self._scheduler.see_off()
        if self.error is not None:
            raise self.error
        return self

    def _wait_until_finished(self, timeout: float | None) -> bool:
        # Polars installs a signal handler that restarts system calls, so a wait without an end would never see Ctrl-C.
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._finished.wait(0.1 if deadline is None else min(0.1, max(0.0, deadline - time.monotonic()))):
            if deadline is not None and time.monotonic() >= deadline:
                return self._finished.is_set()
        return True

    def stop(self) -> None:
        """Stop now. Rows under way and open windows are given up.

        What a live job has written is committed. A bounded job that is stopped half-way leaves nothing in its sinks,
        so that a part is not taken for the whole; `drain()` ends it early and keeps what it has.
        """
        try:
            self._stop()
        except KeyboardInterrupt:
            self._stop()
            raise

    def _stop(self) -> None:
        if self._outcome is not None:
            return
        stuck = self._scheduler.stop()
        if stuck:
            log.warning(
                "job %s is stopped, but %s is still inside a call that does not return; its thread ends when it does",
                self.name,
                listing(stuck),
            )
        self._wind_up()

    def drain(self, timeout: float | None = None) -> Job:
        """Read no more, let all windows fire and all sinks commit, then end."""
        if self._scheduler.on_worker():
            raise JobError(f"job {self.name} cannot wait for itself; call this outside of its own functions")
        with self._scheduler.lock:
            self._scheduler.draining = True
            self._scheduler.changed.notify_all()
        self.wait(timeout)
        if self.status != FINISHED:
            raise JobStopped(f"job {self.name} was {self.status} before it had drained")
        return self

    def pause(self) -> None:
        """Read no more until `resume`; what is under way goes on."""
        self._set_paused(True)

    def resume(self) -> None:
        """Go on reading."""
        self._set_paused(False)

    def swap(self, stage: str, new: Any, *, timeout: float = 60.0) -> Swap:
        """Let a stage go on with another plugin, or another compiled function, between two batches of it.

        Each row is worked on by one version, and none is lost. What comes out must keep its schema. It waits, at most
        `timeout` seconds, until the batches that the old version has begun are through. The graph stays as it was
        described; `job.swaps()` and the ledger say from which row on which version ran.
        """
        with located("swap"):
            found = guests(self.plan, self._stages, stage)
            if self._outcome is not None:
                raise JobStopped(f"job {self.name} is {self._outcome}")
            if self._scheduler.on_worker():
                raise JobError(f"job {self.name} cannot wait for itself; call this outside of its own functions")
            return swap(self.name, self.graph, found, new, self._scheduler, patience=timeout)

    # Looking

    def result(self, name: str | None = None) -> pl.DataFrame:
        """Return the rows so far of an output that has no sink, a Polars frame.

        A live job keeps the newest million rows of each. Raises what the job failed with if it left no rows.
        """
        known = self._results
        with located("result"):
            if not known:
                raise BadOption(f"job {self.name} writes all its outputs to sinks; look there, or use job.peek(stage)")
            if name is None:
                if len(known) > 1:
                    raise BadOption(f"job {self.name} has several outputs; say which: {listing(known)}")
                name = next(iter(known))
            if name not in known:
                raise UnknownStage(f"no output `{name}`; there are {listing(known)}.{nearest(name, known)}")
        rows = known[name].rows()
        if self.status == FAILED and rows.is_empty() and self.error is not None:
            raise self.error
        return rows

    def peek(self, stage: str | None = None, rows: int = 20) -> Batch:
        """Return the newest rows that left a stage, or with `"name.late"` a side output of it."""
        with located("peek"):
            if rows < 0:
                raise BadOption(f"rows={rows}; it is a number of rows, 0 or more")
            found, tag = self._seen(stage)
            with self._scheduler.lock:
                sample = found.sample.get(tag)
            if sample is None:
                return pl.DataFrame(schema=self.graph.edge(f"{found.id}.{tag}" if tag != "main" else found.id).schema)
        return sample.tail(min(rows, sample.height))

    def _seen(self, ref: str | None) -> tuple[Stage, str]:
        """Return the stage whose rows are asked for, the last by default, and which output of it."""
        known = self.plan.stage_of
        node_id, tag = node.split_ref(ref) if ref is not None else (next(reversed(self._stages)), "main")
        if node_id not in known:
            raise UnknownStage(f"no stage `{node_id}`; there are {listing(known)}.{nearest(node_id, known)}")
        found = self._stages[known[node_id]]
        if found.sink is None:
            return found, tag
        sender, tag = found.plan.inputs[0]
        return self._stages[sender], tag

    def read(self) -> Reading:
        """Return all numbers of this moment."""
        with self._scheduler.lock:
            now = self._ended or time.monotonic()
            newest = newest_time(self._stages.values())
            nodes = {stage.id: reading(stage, now, newest) for stage in self._stages.values()}
            channels = {
                (sender, stage.id, port): channel.stats()
                for stage in self._stages.values()
                for port, (channel, (sender, _)) in enumerate(zip(stage.inputs, stage.plan.inputs, strict=True))
            }
            sources = [stage.source for stage in self._stages.values() if stage.source is not None]
        parts = [part for source in sources if (part := source.progress()) is not None]
        progress = sum(parts) / len(parts) if parts and len(parts) == len(sources) else None
        return Reading(self._clock.now(), now - self._started, self.status, nodes, channels, self._pace.rows, progress)

    def sample(self, node_id: str, rows: int = 20) -> Batch:
        """Return the newest rows of a stage, for displays."""
        return self.peek(node_id, rows)

    def metrics(self) -> pl.DataFrame:
        """Return one row per stage: rows, bytes, shares of time, queue, latency, watermark, late and invalid rows."""
        return metrics(self.read())

    def plugins(self) -> pl.DataFrame:
        """Return one row per stage and plugin: calls, rows, seconds, memory peak, errors."""
        return plugins(self.read())

    def swaps(self) -> pl.DataFrame:
        """Return one row for each version that took over from another: stage, before, after, first row, time."""
        return swaps(self.read())

    def ledger(self) -> pl.DataFrame:
        """Return for each stage where its rows are; see `dataflare_nb.runtime.probe.ledger` for the columns."""
        return ledger(self.read())

    def explain_window(self, key: Any = None, at: Any = None, *, stage: str | None = None) -> WindowReport:
        """Say what is known of the windows of a key at a time: open, fired or unknown, and what they wait for.

        `key` is the key's value (a tuple for several key columns), `at` an event time. Without them all windows that
        wait are told.
        """
        with located("explain_window"):
            found = self._windowed(stage)
            with visiting(self._scheduler, found, _PATIENCE):
                return WindowReport.of(self.graph, found, key, at)

    def _windowed(self, stage: str | None) -> Stage:
        windowed = [s for s in self._stages.values() if isinstance(s.plan.nodes[-1], node.Aggregate)]
        known = [s.id for s in windowed]
        if not known:
            raise UnknownStage(f"job {self.name} has no stage with windows")
        if stage is None and len(known) > 1:
            raise BadOption(f"several stages have windows; say which: stage={known[0]!r}, of {listing(known)}")
        if stage is not None and stage not in known:
            raise UnknownStage(f"no stage `{stage}` with windows; there are {listing(known)}.{nearest(stage, known)}")
        return windowed[known.index(stage) if stage is not None else 0]

    def plot(self) -> Any:
        """Return a matplotlib figure: throughput, shares of time, watermark lag. Needs the `notebook` extra."""
        from .plot import figure

        return figure(self)

    def __repr__(self) -> str:
        why = f": {told(self.error)}" if self.status == FAILED and self.error is not None else ""
        return f"Job({self.name!r}, {self.status}{why})"

    # Making and ending

    def _open(self, stage_plan: StagePlan) -> Stage:
        stage = Stage(stage_plan, Shares(self._started), live=not self.plan.bounded)
        if stage_plan.source is not None:
            source = stage_plan.source(self._clock)
            stage.source = SourceDriver(
                source,
                self._clock,
                quantum=stage_plan.quantum,
                idle_timeout=stage_plan.idle_timeout,
                in_order=stage_plan.in_order,
            )
        elif stage_plan.operator is not None:
            stage.host = Host(
                stage_plan.id,
                stage_plan.operator(),
                self._clock,
                transparent=stage_plan.transparent,
                branches=stage_plan.branches,
                ports=len(stage_plan.inputs),
            )
        else:
            assert stage_plan.sink is not None
            context = _SinkContext(stage_plan.id, self._clock)
            sink = stage_plan.sink(self._clock)
            stage.sink_counters = context.counters
            stage.sink = SinkDriver(sink, context, stage_plan.schema, self._clock, commit_every=self._commit_every)
        return stage

    def _connect(self) -> None:
        for stage in self._stages.values():
            for port, (sender, tag) in enumerate(stage.plan.inputs):
                stage.inputs.append(Channel(self._pace.capacity))
                stage.marks.append((NEVER, 0))
                self._stages[sender].outputs.setdefault(tag, []).append((stage, port))
                self._stages[sender].downstream.append(stage)
                stage.upstream.append(self._stages[sender])
        before: dict[str, set[str]] = {}
        for stage in self._stages.values():
            above = [{sender} | before[sender] for sender, _ in stage.plan.inputs]
            before[stage.id] = set().union(*above)
            stage.related = {
                port: {other for other in range(len(above)) if other != port and above[port] & above[other]}
                for port in range(len(above))
            }

    def _wind_up(self) -> None:
        """Settle the sinks, close everything, say how it went.

        Called again by a worker that comes back late from a call, for the stage that it was in.
        """
        with self._finishing:
            if self._outcome is not None:
                self._release(commit=self._keeps)
                return
            with self._scheduler.lock:
                complete = all(stage.ended for stage in self._stages.values())
                failed = self._scheduler.error is not None
            self._keeps = not failed and (complete or not self.plan.bounded)
            self._release(commit=self._keeps)
            self._remember(last=True)
            with self._scheduler.lock:
                for stage in self._stages.values():
                    stage.forget()
                failed = self._scheduler.error is not None
                self._ended = time.monotonic()
                self._outcome = FAILED if failed else FINISHED if complete else STOPPED
                self._scheduler.ended = True
            # Whoever left its stage in the meantime did not know that it had to be closed.
            self._release(commit=self._keeps)
            self._finished.set()

    def _release(self, *, commit: bool) -> None:
        """Commit or abort every sink, and close every stage that nobody is inside of. One that fails stops no other."""
        for stage in self._stages.values():
            if stage.settled or stage.running:
                continue
            stage.settled = True
            for step in self._steps(stage, commit=commit):
                try:
                    step()
                except BaseException as error:
                    log.warning("stage %s of job %s did not close: %s", stage.id, self.name, error)
                    self._note(stage, error)

    def _steps(self, stage: Stage, *, commit: bool) -> list[Callable[[], None]]:
        if stage.source is not None:
            return [stage.source.close]
        if stage.host is not None:
            return [stage.host.operator.close]
        assert stage.sink is not None
        # Abort after a commit that failed, or of a writer that holds half a batch: what is committed stays.
        return (
            [stage.sink.commit, stage.sink.abort, stage.sink.close]
            if commit and not stage.sink.torn
            else [
                stage.sink.abort,
                stage.sink.close,
            ]
        )

    def _note(self, stage: Stage, error: BaseException) -> None:
        scheduler = getattr(self, "_scheduler", None)
        if scheduler is not None and scheduler.error is None:
            scheduler.error = StageFailed(stage.id, "its end", error)

    def _set_paused(self, paused: bool) -> None:
        if self._outcome is not None:
            raise JobStopped(f"job {self.name} is {self._outcome}")
        with self._scheduler.lock:
            self._scheduler.paused = paused
            self._scheduler.changed.notify_all()

    def _remember(self, *, last: bool = False) -> None:
        now = time.monotonic()
        with self._scheduler.lock:
            if not last and self.history and now - self._started - self.history[-1].elapsed < self._interval():
                return
            self.history.append(sampled(self._stages.values(), now, now - self._started))

    def _interval(self) -> float:
        """A point each tenth of a second at first, later fewer, so that a long run still fits."""
        return 0.1 if len(self.history) < _HISTORY // 2 else 1.0


class _SinkContext:
    """What a writer is lent."""

    def __init__(self, node_id: str, clock: Clock) -> None:
        self.node_id = node_id
        self.clock = clock
        self.watermark = NEVER
        self.restored = False
        self.counters: dict[str, int] = {}
        self._counting = threading.Lock()

    def count(self, name: str, by: int = 1) -> None:
        with self._counting:
            self.counters[name] = self.counters.get(name, 0) + by
