"""A stage at work: its plan, its host or driver, its channels and its numbers."""

from __future__ import annotations

import ctypes
import io
import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import polars as pl

from ..runtime.channel import Channel
from ..runtime.host import Host
from ..runtime.metrics import Counters, Histogram, Shares
from ..runtime.packet import Packet
from ..runtime.plan import StagePlan
from ..runtime.probe import Change, Swap
from ..runtime.sink import SinkDriver
from ..runtime.source import SourceDriver
from ..types import NEVER, End, EventTime, Operator, Side, Watermark
from .tap import Tap
from .tuning import Tuning

SAMPLE_ROWS = 200


@dataclass
class Work:
    """Something a worker has taken on: packets, a poll or a tick.

    `packets` are the oldest batch, or several, with the words about time right behind, which would not be worth a turn
    of their own. `at` is the place of the one being worked on. A poll that is `once` is the only one of its turn.
    """

    stage: Stage
    sequence: int
    packets: tuple[Packet, ...] = ()
    port: int = 0
    operator: Operator | None = None
    """What works on it instead of the stage's operator: the same with the values that its params have by now."""
    changes: tuple[Change, ...] = ()
    at: int = 0
    polled: int = 0
    once: bool = False
    thread: int = 0
    _left: bool = False
    _raised: type[BaseException] | None = None
    _door: threading.Lock = field(default_factory=threading.Lock)

    def raise_inside(self, error: type[BaseException]) -> None:
        """Raise in the thread that does this work, if it is still at it."""
        if self._door.acquire(timeout=0.1):
            try:
                if not self._left:
                    self._raised = error
                    _set_async_exc(self.thread, error)
            finally:
                self._door.release()

    def leave(self) -> None:
        """Say that the work is done. From here on nothing is raised in the thread any more, so locks are safe."""
        with self._door:
            self._left = True
        if self._raised:
            _receive(self._raised)

    @property
    def visit(self) -> bool:
        """Whether somebody only looks into the stage or changes it."""
        return self.sequence < 0

    @property
    def rows(self) -> int:
        """Rows that are being worked on."""
        return sum(packet.rows for packet in self.packets)


def _set_async_exc(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _receive(error: type[BaseException]) -> None:
    """Receive an exception that was raised in this thread and may not have come yet.

    Clearing it would not do: until one has come, the interpreter looks for it at every instruction, and Python 3.11
    does not get on at all under a debugger or coverage.
    """
    with suppress(error):
        _set_async_exc(threading.get_ident(), error)
        while True:
            pass


@dataclass(frozen=True)
class Done:
    """What came of it. `held` and `released` are the operator's rows in state and rows done with, after it; `given_up`
    are rows that a stopped job did not get to."""

    packets: list[Packet]
    ready: bool = True
    rows_in: int = 0
    given_up: int = 0
    held: int = 0
    released: int = 0
    watermark: EventTime = NEVER


@dataclass
class Stage:
    """One stage of a running job. Everything here is guarded by the job's lock, but for the work itself."""

    plan: StagePlan
    shares: Shares
    live: bool
    host: Host | None = None
    source: SourceDriver | None = None
    sink: SinkDriver | None = None
    sink_counters: Mapping[str, int] = field(default_factory=dict)
    inputs: list[Channel] = field(default_factory=list)
    outputs: dict[str, list[tuple[Stage, int]]] = field(default_factory=dict)
    upstream: list[Stage] = field(default_factory=list)
    downstream: list[Stage] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    latency: Histogram = field(default_factory=Histogram)
    sample: dict[str, pl.DataFrame] = field(default_factory=dict)
    running: list[Work] = field(default_factory=list)
    taken: int = 0
    given: int = 0
    finished: dict[int, Done] = field(default_factory=dict)
    finished_rows: int = 0
    held: int = 0
    released: int = 0
    written: int = 0
    given_up: int = 0
    settled: bool = False
    related: dict[int, set[int]] = field(default_factory=dict)
    """For each port the ports that are fed from a stage it shares."""
    watermark: EventTime = NEVER
    marks: list[tuple[int, int]] = field(default_factory=list)
    ended_ports: set[int] = field(default_factory=set)
    next_poll: float = 0.0
    empty_polls: int = 0
    turn_seconds: float = math.inf
    """What a turn takes of late; infinite before the first."""
    visited: Work | None = None
    """Somebody looks into the stage or changes it; no work is taken on meanwhile."""
    swaps: list[Swap] = field(default_factory=list)
    tuning: Tuning | None = None
    taps: dict[str, tuple[Tap, ...]] = field(default_factory=dict)
    ended: bool = False

    @property
    def id(self) -> str:
        return self.plan.id

    @property
    def parallel(self) -> bool:
        """Several batches may be worked on at once; a transparent host keeps nothing between them."""
        return self.host is not None and self.plan.parallel and self.host.operator.parallel

    def port(self) -> int | None:
        """Return the port to take from, None when nothing can be taken.

        Bounded inputs are read in an order that depends on nothing but the rows: the port furthest behind in event
        time, then the one with the fewest marks. Live inputs are read as they come.
        """
        if self.live:
            ready = [port for port in self._open_ports() if len(self.inputs[port])]
            return min(ready, key=lambda port: self.marks[port], default=None)
        chosen = self._next_port()
        return chosen if chosen is not None and len(self.inputs[chosen]) else None

    def _open_ports(self) -> list[int]:
        return [port for port in range(len(self.inputs)) if port not in self.ended_ports]

    def _next_port(self) -> int | None:
        return min(self._open_ports(), key=lambda port: (*self.marks[port], port), default=None)

    @property
    def several(self) -> bool:
        """Whether batches may be taken together: by our own operators, one of which works on a batch at a time."""
        return self.host is not None and not self.plan.transparent

    def take(self, port: int, batches: int = 1) -> tuple[Packet, ...]:
        """Take the oldest packet of a port, up to `batches` with rows, and what it is told about time right after."""
        channel = self.inputs[port]
        packets = [channel.take()]
        self._note(packets[0], port)
        while (coming := channel.peek()) is not None and self.port() == port:
            if coming.rows:
                if batches <= 1:
                    break
                batches -= 1
            packets.append(channel.take())
            self._note(coming, port)
        return tuple(packets)

    @property
    def row(self) -> int:
        """The next row of its input that will be taken."""
        return self.counters.rows_in - sum(channel.rows for channel in self.inputs)

    def tune(self, port: int, now: EventTime) -> tuple[Operator | None, tuple[Change, ...]]:
        """Return what is to work on the oldest packet of a port, which is cut where a param changes."""
        coming = self.inputs[port].peek()
        if self.tuning is None or self.host is None or coming is None or not coming.rows:
            return None, ()
        most = self.tuning.most(self.row, coming.rows)
        if most < coming.rows:
            self.inputs[port].cut(most)
        operator, changes = self.tuning.operator(self.host.operator, self.row, now)
        return operator, tuple(changes)

    def _note(self, packet: Packet, port: int) -> None:
        match packet.message:
            case Watermark(time):
                reached, marks = self.marks[port]
                self.marks[port] = (max(reached, time) if not packet.split else reached, marks + 1)
            case End() if not packet.split:
                self.ended_ports.add(port)

    def wants(self, port: int) -> bool:
        """Tell whether a full port must take more all the same.

        So it is where the stage waits for another port that a stage before both of them feeds: that one cannot go on
        while this port is full.
        """
        if self.live or len(self.inputs) < 2:
            return False
        awaited = self._next_port()
        return awaited is not None and not len(self.inputs[awaited]) and awaited in self.related[port]

    def took(self, seconds: float) -> None:
        """Learn from a turn."""
        known = self.turn_seconds
        self.turn_seconds = seconds if known == math.inf else known + (seconds - known) / 4

    def room(self) -> bool:
        """Tell whether what comes out will find room."""
        coming = sum(work.rows for work in self.running) + self.finished_rows
        for consumers in self.outputs.values():
            for consumer, port in consumers:
                channel = consumer.inputs[port]
                if not channel.has_room(coming) and not consumer.wants(port):
                    return False
        return True

    def refused(self) -> None:
        """Count on each full channel that a batch had to wait."""
        for consumers in self.outputs.values():
            for consumer, port in consumers:
                if not consumer.inputs[port].has_room():
                    consumer.inputs[port].refuse()

    def interrupt(self, *, sinks: bool) -> None:
        """Make the guest that the stage may be in end soon. A sink is asked apart: its batch is then half-written."""
        if self.sink is not None and sinks:
            self.sink.interrupt()
        if self.host is not None and not sinks:
            self.host.operator.interrupt()
        if self.source is not None and not sinks:
            self.source.interrupt()

    def in_flight(self) -> int:
        """Return the rows that have come in and not come out: on their way, or given up with a job that was ended."""
        queued = sum(channel.rows for channel in self.inputs)
        worked_on = sum(work.rows for work in self.running)
        waiting = sum(done.rows_in for done in self.finished.values())
        return queued + worked_on + waiting + self.given_up

    def own_counters(self) -> dict[str, int]:
        """Return what the operator, source or sink itself has counted."""
        if self.host is not None:
            return dict(self.host.counters)
        return dict(self.source.counters if self.source is not None else self.sink_counters)

    def keep_sample(self, packet: Packet) -> None:
        """Keep a few rows of each output for `peek`."""
        match packet.message:
            case pl.DataFrame() as batch if batch.height:
                tag = "main"
            case Side(tag, batch):
                pass
            case _:
                return
        self._keep(tag, batch)
        for tap in self.taps.get(tag, ()):
            tap.put(batch)

    def _keep(self, tag: str, batch: pl.DataFrame) -> None:
        tail = batch.tail(SAMPLE_ROWS)
        if tail.height < SAMPLE_ROWS and tag in self.sample:
            tail = pl.concat([self.sample[tag], tail]).tail(SAMPLE_ROWS)
        self.sample[tag] = tail

    def forget(self) -> None:
        """Let go of the rows that an ended job still holds: samples become small copies, queues keep their counts."""
        self.taps.clear()
        self.sample = {tag: _copied(frame) for tag, frame in self.sample.items()}
        for channel in self.inputs:
            channel.forget()


def _copied(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows without the buffers of the batch they were cut from, if Arrow can write them."""
    try:
        # Of a clone: Polars locks the frame that it writes and waits for the interpreter, while whoever looks at that
        # frame has the interpreter and waits for the lock.
        return pl.read_ipc_stream(io.BytesIO(frame.clone().write_ipc_stream(None).getvalue()))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return frame
