"""A run of a graph: what it is doing, what it has made, and the handles to steer it."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from ..graph import Edge, Graph, node
from ..interrupts import Latch
from ..runtime.journal import ERROR, INFO, WARNING, Journal
from ..runtime.outline import Outline
from ..runtime.pace import Pace
from ..runtime.plan import Plan
from ..runtime.probe import Change, Reading, Sample, Swap, changes, ledger, metrics, plugins, swaps
from ..runtime.probe import log as lines
from ..signature import public
from ..types import Batch, Clock
from .assembly import connect, open_stage
from .bar import bar_class, watch
from .reading import newest_time, reading, sampled
from .report import WindowReport
from .scheduler import Scheduler
from .stage import SAMPLE_ROWS, Stage
from .step import step
from .swap import guests, swap
from .tap import Tap
from .tuning import tell_unmade
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
        changes: Mapping[str, list[Change]] | None = None,
    ) -> None:
        self.name = name
        self.graph = graph
        self.plan = plan
        self._results = results
        self._clock = clock
        self._pace = pace
        self._workers = workers
        self._started = time.monotonic()
        self._ended: float | None = None
        self._outcome: str | None = None
        self._begun = False
        self._keeps = False
        self._finished = Latch()
        self._finishing = threading.Lock()
        self._stepping = threading.Lock()
        self._journal = Journal(lambda: time.monotonic() - self._started)
        self._stages: dict[str, Stage] = {}
        self.history: deque[Sample] = deque(maxlen=_HISTORY)
        try:
            for stage_plan in plan.stages:
                self._stages[stage_plan.id] = open_stage(
                    stage_plan,
                    self._started,
                    clock,
                    self._journal,
                    live=not plan.bounded,
                    commit_every=commit_every,
                    changes=changes,
                )
            connect(self._stages, pace.capacity)
        except BaseException:
            self._release(commit=False)
            raise
        self._scheduler = Scheduler(name, list(self._stages.values()), workers, clock, pace, self._journal)
        self._scheduler.on_end = self._wind_up
        self._scheduler.on_progress = self._remember

    # Steering

    def start(self) -> Job:
        """Start the workers, once."""
        with self._finishing:
            if not self._begun and self._outcome is None:
                self._begun = True
                self._journal.say(INFO, "started")
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
    def bounded(self) -> bool:
        """Whether its input ends."""
        return self.plan.bounded

    @property
    def error(self) -> BaseException | None:
        """What a failed job failed with."""
        return self._scheduler.error

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> Job:
        """Wait for the end, at most `timeout` seconds. `progress` shows a bar of the rows read, with tqdm.

        Raises StageFailed if a stage failed and JobTimeout when time is up. An interrupt stops the job.
        """
        if self._scheduler.on_worker():
            raise JobError(f"job {self.name} cannot wait for itself; call this outside of its own functions")
        if progress:
            with located("wait"):
                return watch(self, bar_class(), timeout)
        try:
            if not self._wait_until_finished(timeout):
                raise JobTimeout(f"job {self.name} is still {self.status} after {timeout} s; job.stop() ends it")
        except KeyboardInterrupt:
            self.stop()
            raise
        self._scheduler.see_off()
        if self.error is not None:
            raise self.error.with_traceback(None)
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
            text = f"{listing(stuck)} is still inside a call that does not return; its thread ends when it does"
            log.warning("job %s is stopped, but %s", self.name, text)
            self._journal.say(WARNING, f"stopped, but {text}")
        self._wind_up()

    def drain(self, timeout: float | None = None) -> Job:
        """Read no more, let all windows fire and all sinks commit, then end."""
        if self._scheduler.on_worker():
            raise JobError(f"job {self.name} cannot wait for itself; call this outside of its own functions")
        with self._scheduler.lock:
            if self._outcome is None and not self._scheduler.draining:
                self._journal.say(INFO, "draining: no more is read, and what is under way goes on to its end")
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

    def step(self, *, timeout: float = 10.0) -> Job:
        """Let a paused job read one more batch, and return when that is as far as it gets.

        Each source gives one batch, if it has one now. Windows stay open, since the input has not ended; after the last
        batch the next step finds that it has, and the job finishes. It waits at most `timeout` seconds.
        """
        if self._scheduler.on_worker():
            raise JobError(f"job {self.name} cannot wait for itself; call this outside of its own functions")
        with self._stepping:
            if self._outcome is not None:
                raise JobStopped(f"job {self.name} is {self._outcome}")
            if self.status != PAUSED:
                raise JobError(f"job {self.name} is {self.status}; job.pause() it first, then step through its batches")
            step(self.name, self._scheduler, timeout)
            with self._scheduler.lock:
                over = self._scheduler.over()
        if over:
            self.wait(timeout)
        return self

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
            done = swap(self.name, self.graph, found, new, self._scheduler, patience=timeout)
        self._journal.say(INFO, f"`{stage}` runs {done.after} instead of {done.before} from row {done.row:,} on")
        return done

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
            raise self.error.with_traceback(None)
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

    def tap(self, stage: str | None = None) -> Tap:
        """Return a tap on what leaves a stage from now on, the newest rows before it first.

        Of an ended job it gives what `result` or else `peek` still has, and nothing more.
        """
        with located("tap"), self._scheduler.lock:
            found, tag = self._seen(stage)
            tap = Tap()
            if self._outcome is not None:
                ref = found.id if tag == "main" else f"{found.id}.{tag}"
                tap.put(self._results[ref].rows() if ref in self._results else self.peek(ref, SAMPLE_ROWS))
            else:
                if (sample := found.sample.get(tag)) is not None:
                    tap.put(sample)
                found.taps[tag] = (*found.taps.get(tag, ()), tap)
        return tap

    def untap(self, tap: Tap) -> None:
        """Give nothing more to a tap."""
        with self._scheduler.lock:
            for stage in self._stages.values():
                stage.taps = {tag: tuple(each for each in taps if each is not tap) for tag, taps in stage.taps.items()}

    def edge(self, stage: str | None = None) -> tuple[str, Edge]:
        """Return what leaves a stage, the last by default: its name, `"name.late"` for a side output, and the edge."""
        with located("edge"):
            found, tag = self._seen(stage)
            ref = found.id if tag == "main" else f"{found.id}.{tag}"
            return ref, self.graph.edge(ref)

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
            status = self.status
            whole = self.plan.bounded and status == FINISHED and not self._scheduler.draining
        parts = [part for source in sources if (part := source.progress()) is not None]
        progress = sum(parts) / len(parts) if parts and len(parts) == len(sources) else None
        return Reading(
            self._clock.now(),
            now - self._started,
            status,
            nodes,
            channels,
            self._pace.rows,
            progress,
            whole,
            self._workers,
            self._journal.lines(),
        )

    def sample(self, node_id: str, rows: int = 20) -> Batch:
        """Return the newest rows of a stage, for displays."""
        return self.peek(node_id, rows)

    def outline(self) -> Outline:
        """Return the stages and what flows between them, for displays."""
        return Outline.of(self.name, self.graph, self.plan)

    def steering(self) -> Mapping[str, Callable[[], str]]:
        """Return what a display may do with the job. Each says what it did."""
        return {
            "pause": self._shown(self.pause, "paused: no more is read"),
            "resume": self._shown(self.resume, "goes on"),
            "step": self._shown(self.step, "read one more batch"),
            "drain": self._shown(self._begin_to_drain, "reads no more, and ends when all is through"),
            "stop": self._shown(self.stop, "stopped"),
        }

    def _begin_to_drain(self) -> None:
        # It goes on draining, and readings tell how far it is.
        with suppress(JobTimeout):
            self.drain(0)

    @staticmethod
    def _shown(act: Callable[[], object], did: str) -> Callable[[], str]:
        def do() -> str:
            act()
            return did

        return do

    def metrics(self) -> pl.DataFrame:
        """Return one row per stage: rows, bytes, shares of time, queue, latency, watermark, late and invalid rows."""
        return metrics(self.read())

    def plugins(self) -> pl.DataFrame:
        """Return one row per stage and plugin: calls, rows, seconds, memory peak, errors."""
        return plugins(self.read())

    def swaps(self) -> pl.DataFrame:
        """Return one row for each version that took over from another: stage, before, after, first row, time."""
        return swaps(self.read())

    def changes(self) -> pl.DataFrame:
        """Return one row for each param that changed in a stage: param, stage, row, old, new, time.

        `row` is the first row of the stage's input that felt it. A run that is given the frame, as `changes=`, does the
        same at the same rows, whatever the params are by then.
        """
        return changes(self.read())

    def log(self) -> pl.DataFrame:
        """Return the newest lines of the job's log: how it began and ended, what was steered, what guests said."""
        return lines(self.read())

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

    def dashboard(self) -> Any:
        """Return the live dashboard of this job, for a notebook. Needs the `notebook` extra.

        A job that is the last line of a cell shows it too. When the job has ended, a picture takes its place.
        """
        return importlib.import_module("..notebook.display", __package__).dashboard(self)

    def _ipython_display_(self) -> None:
        importlib.import_module("..notebook.display", __package__).show(self)

    def __repr__(self) -> str:
        why = f": {told(self.error)}" if self.status == FAILED and self.error is not None else ""
        return f"Job({self.name!r}, {self.status}{why})"

    # Making and ending

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
                self._say_how_it_ended()
            # Whoever left its stage in the meantime did not know that it had to be closed.
            self._release(commit=self._keeps)
            self._finished.set()

    def _release(self, *, commit: bool) -> None:
        """Commit or abort every sink, and close every stage that nobody is inside of. One that fails stops no other."""
        for stage in self._stages.values():
            if stage.settled or stage.running:
                continue
            stage.settled = True
            for end in self._steps(stage, commit=commit):
                try:
                    end()
                except BaseException as error:
                    log.warning("stage %s of job %s did not close: %s", stage.id, self.name, error)
                    self._journal.say(WARNING, f"stage `{stage.id}` did not close: {told(error)}")
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
            scheduler.error = StageFailed(stage.id, "its end", error, stage.plan.where)

    def _set_paused(self, paused: bool) -> None:
        if self._outcome is not None:
            raise JobStopped(f"job {self.name} is {self._outcome}")
        with self._scheduler.lock:
            if paused != self._scheduler.paused:
                self._journal.say(INFO, "paused: no more is read" if paused else "resumed")
            self._scheduler.paused = paused
            self._scheduler.changed.notify_all()

    def _say_how_it_ended(self) -> None:
        read = sum(s.counters.rows_out for s in self._stages.values() if s.source is not None)
        if self.error is not None:
            self._journal.say(ERROR, f"failed: {told(self.error)}")
        elif self._outcome == FINISHED:
            how = "drained" if self._scheduler.draining else "finished"
            self._journal.say(INFO, f"{how}: {read:,} rows were read")
            tell_unmade(self.name, self._journal, (stage.tuning for stage in self._stages.values()))
        else:
            self._journal.say(INFO, f"stopped: {read:,} rows were read, what was under way is given up")

    def _remember(self, *, last: bool = False) -> None:
        now = time.monotonic()
        with self._scheduler.lock:
            if not last and self.history and now - self._started - self.history[-1].elapsed < self._interval():
                return
            self.history.append(sampled(self._stages.values(), now, now - self._started))

    def _interval(self) -> float:
        """A point each tenth of a second at first, later fewer, so that a long run still fits."""
        return 0.1 if len(self.history) < _HISTORY // 2 else 1.0
