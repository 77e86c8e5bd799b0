"""Workers and what they do next: one lock, one condition, no stage run twice at once unless it may be."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable

import polars as pl

from .. import parameters
from ..errors import JobError, JobStopped, StageFailed
from ..interrupts import HeldBack
from ..runtime.journal import WARNING, Journal
from ..runtime.metrics import BACKPRESSURED, BUSY, IDLE
from ..runtime.pace import Pace
from ..runtime.packet import Packet
from ..runtime.sink import SinkDriver
from ..types import Clock, End, Side
from .stage import Done, Stage, Work
from .tuning import tell

STACK_BYTES = 8 << 20
"""Guest code needs at least 2 MiB of stack."""
_GRACE, _HALT = 0.25, 0.9
_WORTH_SECONDS, _WORTH_ROWS = 0.001, 8_192
"""What takes less, or a batch with fewer rows, is not worth another worker: both would want the interpreter's lock."""
_LONGEST_WAIT = 0.5
_TROUBLE = {"late": ", their windows were over", "invalid": ", they could not be read or worked on"}
_starting = threading.Lock()


class _Abandon(BaseException):
    """Raised inside a worker that still runs a user's Python after the job was stopped."""


class Scheduler:
    """Runs stages on worker threads until all have ended, one fails, or it is stopped.

    A worker takes the runnable stage that is nearest to the sinks, so that what is under way is finished before more is
    read. With one worker this is a deterministic loop.
    """

    def __init__(
        self, name: str, stages: list[Stage], workers: int, clock: Clock, pace: Pace, journal: Journal
    ) -> None:
        self.name = name
        self.stages = stages
        self.clock = clock
        self.pace = pace
        self.journal = journal
        # Taken by `with self.lock`, never by `with self.changed`: only the former survives an interrupt at any moment.
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.paused = False
        self.stepping: set[str] = set()
        """Sources that may give one batch although the job is paused."""
        self.draining = False
        self.stopping = False
        self.ended = False
        self.error: BaseException | None = None
        self.on_end: Callable[[], None] = lambda: None
        self.on_progress: Callable[[], None] = lambda: None
        self._backwards = list(reversed(stages))
        self._threads: list[threading.Thread] = []
        self._workers = workers
        self._alive = 0
        self._halting = False
        self._full_polls = False
        subscribe = getattr(clock, "subscribe", None)
        if subscribe is not None:
            subscribe(self.wake)

    # Life

    def start(self) -> None:
        """Start the workers."""
        with _starting, HeldBack():
            before = threading.stack_size(STACK_BYTES)
            try:
                self._alive = self._workers
                for number in range(self._workers):
                    thread = threading.Thread(target=self._run, name=f"dataflare:{self.name}:{number}", daemon=True)
                    self._threads.append(thread)
                    thread.start()
            finally:
                threading.stack_size(before)

    def wake(self) -> None:
        """Let every worker look again."""
        with self.lock:
            self.changed.notify_all()

    def stop(self) -> list[str]:
        """Stop the workers and return the stages that would not."""
        with self.lock:
            self.stopping = True
            self.changed.notify_all()
        return self._halt()

    def on_worker(self) -> bool:
        """Tell whether this is one of the job's own threads."""
        return threading.current_thread() in self._threads

    def _halt(self) -> list[str]:
        """Bring the workers to an end and return the stages that are still inside a call.

        Guests are interrupted, after a short grace those of sinks too, and Python code that goes on gets an exception
        at its next instruction. A call that never returns cannot be ended; its thread goes when it does.
        """
        deadline = time.monotonic() + _HALT
        for stage in self.stages:
            stage.interrupt(sinks=False)
        self._join(min(deadline, time.monotonic() + _GRACE))
        if any(thread.is_alive() for thread in self._threads if thread is not threading.current_thread()):
            for stage in self.stages:
                stage.interrupt(sinks=True)
            self._abandon()
            self._join(deadline)
        me = threading.get_ident()
        with self.lock:
            return [stage.id for stage in self.stages for work in stage.running if work.thread != me and not work.visit]

    def see_off(self) -> None:
        """Give the workers of an ended job the moment they need to be gone."""
        self._join(time.monotonic() + _GRACE)

    def _join(self, deadline: float) -> None:
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _abandon(self) -> None:
        """Raise in the workers that are inside a user's Python function; other code has ways of its own to end."""
        with self.lock:
            running = [work for stage in self.stages if stage.plan.runs_python for work in stage.running]
        for work in running:
            if work.thread != threading.get_ident():
                work.raise_inside(_Abandon)

    # Work

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            with self.lock:
                self.error = self.error or JobError(f"job {self.name} broke: {type(error).__name__}: {error}")
                self.error.__cause__ = self.error.__cause__ or error
        with self.lock:
            me = threading.get_ident()
            for stage in self.stages:
                stage.running = [work for work in stage.running if work.thread != me]
            self._alive -= 1
            # One worker sees to the others of a failed job; two would wait for each other.
            halts = self.error is not None and not self.stopping and not self._halting
            self._halting = self._halting or halts
            self.changed.notify_all()
        if halts:
            # The others must not keep a failed job waiting.
            self._halt()
        if halts or self._alive == 0 or self.ended:
            self.on_end()

    def _loop(self) -> None:
        parameters.guard()
        done: Done | None = None
        work: Work | None = None
        while True:
            with self.lock:
                if work is not None and done is not None:
                    self._publish(work, done)
                work = self._next()
                while work is None:
                    if self.over():
                        self.changed.notify_all()
                        return
                    self.changed.wait(self._until())
                    work = self._next()
                if self._more():
                    self.changed.notify()
            begun = time.monotonic()
            try:
                try:
                    done = self._do(work)
                finally:
                    work.leave()
                    work.stage.took(time.monotonic() - begun)
            except BaseException as error:
                self._failed(work, error)
                return

    def _more(self) -> bool:
        """Tell whether there is work that another worker should be woken for."""
        return any(
            not stage.ended
            and not stage.visited
            and (stage.parallel or not stage.running)
            and (stage.source is not None or any(len(channel) for channel in stage.inputs))
            and self._worth(stage)
            and stage.room()
            for stage in self.stages
        )

    @staticmethod
    def _worth(stage: Stage) -> bool:
        if stage.turn_seconds >= _WORTH_SECONDS:
            return True
        return stage.parallel and stage.inputs[0].rows >= _WORTH_ROWS

    def over(self) -> bool:
        """Tell whether nothing more is to be done. Ask under the lock."""
        return self.stopping or self.error is not None or all(stage.ended for stage in self.stages)

    def _next(self) -> Work | None:
        if self.stopping or self.error is not None:
            return None
        now = time.monotonic()
        for busy in (False, True):
            for stage in self._backwards:
                if bool(stage.running) == busy:
                    work = self._take(stage, now)
                    if work is not None:
                        self._refresh(stage.upstream, now)
                        return work
        return None

    def _take(self, stage: Stage, now: float) -> Work | None:
        if stage.ended or stage.visited or (stage.running and not stage.parallel):
            return None
        if stage.source is not None:
            return self._take_poll(stage, now)
        port = stage.port()
        room = stage.room()
        if port is not None and not room:
            stage.refused()
        due = self._due_clock(stage) if room and not stage.running else None
        if due is not None and due <= self.clock.now():
            return self._begin(Work(stage, self._ticket(stage)), now)
        if port is None or not room:
            return None
        operator, changes = stage.tune(port, self.clock.now()) if stage.tuning is not None else (None, ())
        packets = stage.take(port, self.pace.turn if stage.several else 1)
        stage.counters.batches_in += sum(packet.rows > 0 for packet in packets)
        work = Work(stage, self._ticket(stage), packets, port, operator=operator, changes=changes)
        return self._begin(work, now)

    def _take_poll(self, stage: Stage, now: float) -> Work | None:
        once = self.paused and not self.draining
        if (once and stage.id not in self.stepping) or stage.running or now < stage.next_poll or not stage.room():
            return None
        return self._begin(Work(stage, self._ticket(stage), polled=self.pace.rows, once=once), now)

    @staticmethod
    def _ticket(stage: Stage) -> int:
        stage.taken += 1
        return stage.taken - 1

    @staticmethod
    def _begin(work: Work, now: float) -> Work:
        work.thread = threading.get_ident()
        work.stage.running.append(work)
        work.stage.shares.switch(BUSY, now)
        return work

    def _do(self, work: Work) -> Done:
        stage = work.stage
        if stage.source is not None:
            if self.draining:
                stage.source.ended = True
                return Done([Packet(End(), born=time.monotonic())], ready=False)
            packets, ready = stage.source.step(work.polled, time.monotonic())
            for _ in range(0 if work.once else self.pace.turn - 1):
                if not ready or self.stopping or stage.source.ended:
                    break
                try:
                    more, ready = stage.source.step(work.polled, time.monotonic())
                except Exception as error:
                    # What was read before it goes its way first.
                    stage.source.fault = error
                    break
                packets += more
            return Done(packets, ready)
        if stage.sink is not None:
            if not work.packets:
                stage.sink.commit()
            for packet in work.packets:
                self._write(stage.sink, packet)
            return Done([])
        host = stage.host
        assert host is not None
        tell(self.name, self.journal, work.changes)
        out = [] if work.packets else list(host.tick())
        left = 0
        for place, packet in enumerate(work.packets):
            if self.stopping:
                left = sum(each.rows for each in work.packets[place:])
                break
            work.at = place
            out += host.feed(packet, work.port, work.operator)
        if stage.parallel:
            return Done(out, rows_in=work.rows, given_up=left, watermark=host.watermark)
        operator = host.operator
        released = getattr(operator, "released", 0)
        return Done(out, True, work.rows, left, operator.held(), released, host.watermark)

    @staticmethod
    def _write(sink: SinkDriver, packet: Packet) -> None:
        match packet.message:
            case pl.DataFrame() as batch:
                if batch.height:
                    sink.write(batch)
            case End() if not packet.split:
                # Committed when all sinks of the job are as far, so that none shows what another has lost.
                sink.prepare()
            case _:
                pass

    def _publish(self, work: Work, done: Done) -> None:
        stage = work.stage
        stage.running.remove(work)
        stage.finished[work.sequence] = done
        stage.finished_rows += sum(packet.rows for packet in done.packets)
        if work.rows:
            stage.counters.last_batch_rows = max(packet.rows for packet in work.packets)
            now, born = time.monotonic(), work.packets[0].born
            if born:
                stage.latency.add(now - born)
            if not born:
                pass  # Made by the clock, not polled.
            elif not stage.outputs or not any(packet.rows for packet in done.packets):
                self.pace.learn(born, now, full=self._full_polls)
                self._resize()
        while stage.given in stage.finished:
            ready = stage.finished.pop(stage.given)
            stage.given += 1
            stage.given_up += ready.given_up
            stage.held, stage.released, stage.watermark = (
                ready.held,
                ready.released,
                max(stage.watermark, ready.watermark),
            )
            for out in ready.packets:
                stage.finished_rows -= out.rows
                self._send(stage, out)
        if stage.source is not None:
            self._after_poll(work, done)
        if stage.sink is not None:
            stage.written += work.rows
            stage.ended = any(isinstance(packet.message, End) and not packet.split for packet in work.packets)
        self.on_progress()
        self._refresh([stage, *stage.upstream, *stage.downstream], time.monotonic())

    def _after_poll(self, work: Work, done: Done) -> None:
        stage = work.stage
        assert stage.source is not None
        if done.ready or stage.source.ended:
            self.stepping.discard(stage.id)
        if done.ready:
            polled = sum(packet.rows for packet in done.packets)
            self._full_polls = polled >= min(work.polled, stage.plan.quantum or work.polled)
            self.pace.note_size(stage.counters.rows_out, stage.counters.bytes_out)
            self._resize()
            stage.empty_polls = 0
            stage.next_poll = 0.0
        else:
            # An idle source is asked again after 1 ms, then less and less often, up to 50 ms.
            stage.next_poll = time.monotonic() + min(0.05, 0.001 * 2**stage.empty_polls)
            stage.empty_polls = min(stage.empty_polls + 1, 6)
        if stage.source.ended:
            stage.source.close()
            stage.ended = True

    def _send(self, stage: Stage, packet: Packet) -> None:
        match packet.message:
            case pl.DataFrame() as batch:
                tag, plain = "main", packet
                if not batch.height:
                    return
                stage.counters.rows_out += batch.height
                stage.counters.bytes_out += packet.bytes
                stage.counters.batches_out += 1
                if stage.source is not None:
                    stage.counters.last_batch_rows = batch.height
            case Side(tag, batch):
                if batch.height and not stage.counters.sides.get(tag) and tag in _TROUBLE:
                    self.journal.say(WARNING, f"`{stage.id}` has its first {tag} rows: {batch.height:,}{_TROUBLE[tag]}")
                stage.counters.sides[tag] = stage.counters.sides.get(tag, 0) + batch.height
                plain = packet.carrying(batch)
            case _:
                self._tell(stage, packet)
                return
        stage.keep_sample(packet)
        for consumer, port in stage.outputs.get(tag, ()):
            consumer.counters.rows_in += plain.rows
            consumer.counters.bytes_in += packet.bytes
            consumer.inputs[port].put(plain)

    def _tell(self, stage: Stage, packet: Packet) -> None:
        """Pass a message about time on, to side outputs too."""
        for consumers in stage.outputs.values():
            for consumer, port in consumers:
                consumer.inputs[port].put(packet)
        if isinstance(packet.message, End) and not packet.split and stage.source is None:
            stage.ended = True

    def _resize(self) -> None:
        for stage in self.stages:
            for channel in stage.inputs:
                channel.capacity_rows = self.pace.capacity

    def _failed(self, work: Work, error: BaseException) -> None:
        with self.lock:
            if work in work.stage.running:
                work.stage.running.remove(work)
                work.stage.given_up += work.rows
            if not self.stopping and self.error is None:
                position = self._position(work)
                self.error = (
                    error
                    if isinstance(error, JobStopped)
                    else StageFailed(work.stage.id, position, error, work.stage.plan.where)
                )
            self.changed.notify_all()

    @staticmethod
    def _position(work: Work) -> str:
        if work.stage.source is not None:
            return work.stage.source.position()
        if not work.packets:
            return "its clock"
        packet = work.packets[work.at]
        what = f"a batch of {packet.rows} rows" if packet.rows else type(packet.message).__name__
        return f"{packet.origin or 'the stream'}, {what}"

    # Time

    def _due_clock(self, stage: Stage) -> int | None:
        if stage.sink is not None:
            return stage.sink.due()
        return stage.host.operator.due_clock() if stage.host is not None and not stage.parallel else None

    def _until(self) -> float:
        """Seconds until something may be due without anybody's doing."""
        now, wait = time.monotonic(), _LONGEST_WAIT
        clock_now = self.clock.now()
        for stage in self.stages:
            if stage.ended:
                continue
            if stage.source is not None and not stage.running and (not self.paused or stage.id in self.stepping):
                wait = min(wait, max(stage.next_poll - now, 0.0005) if stage.next_poll > now else wait)
            due = self._due_clock(stage) if not stage.running else None
            if due is not None:
                wait = min(wait, max(0.001, (due - clock_now) / 1e6))
        return wait

    @staticmethod
    def _refresh(stages: Iterable[Stage], now: float) -> None:
        """Note what each stage is doing."""
        for stage in stages:
            if stage.running:
                state = BUSY
            elif stage.ended or not stage.outputs:
                state = IDLE
            else:
                waiting = stage.source is not None or any(len(channel) for channel in stage.inputs)
                state = BACKPRESSURED if waiting and not stage.room() else IDLE
            stage.shares.switch(state, now)


def default_workers() -> int:
    """Return the number of cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
