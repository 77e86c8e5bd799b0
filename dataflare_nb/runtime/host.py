"""Run one operator by the rules of time: merge its inputs' watermarks, fire what is due, forward time, count."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import polars as pl

from ..operators.event_time import AssignEventTime
from ..types import NEVER, Clock, End, EventTime, Idle, Json, Operator, Output, Side, Split, State, Watermark
from .packet import WHOLE, Packet
from .watermark import Inputs


class Host:
    """One operator and its time. No threads, no I/O.

    A `transparent` host serves an operator without a sense of time: rows and messages about time pass with the split
    they belong to, and with several ports the port becomes part of the split. Any other host merges its splits, and
    what leaves it is one stream. `hear` is told the level, the plugin and the text of what guests log.
    """

    def __init__(
        self,
        node_id: str,
        operator: Operator,
        clock: Clock,
        *,
        transparent: bool = False,
        branches: Iterable[Split] = (WHOLE,),
        ports: int = 1,
        hear: Callable[[int, str, str], None] | None = None,
    ) -> None:
        self.node_id = node_id
        self.operator = operator
        self.clock = clock
        self.restored = False
        self.transparent = transparent
        self.hear = hear
        self.counters: dict[str, int] = {}
        self._ports = ports
        self._open_ports = set(range(ports))
        self._inputs = Inputs(branches)
        self._watermark = NEVER
        self._counting = threading.Lock()
        operator.open(self)

    @property
    def watermark(self) -> EventTime:
        """The event time reached."""
        return self._watermark

    def count(self, name: str, by: int = 1) -> None:
        with self._counting:
            self.counters[name] = self.counters.get(name, 0) + by

    def feed(self, packet: Packet, port: int = 0, operator: Operator | None = None) -> Iterator[Packet]:
        """Take one packet and yield what follows from it.

        A transparent host lets another operator do the work if it is given one, as a batch has its own with params.
        """
        if self._ports > 1:
            if isinstance(packet.message, End) and not packet.split:
                self._open_ports.discard(port)
            packet = packet.carrying(packet.message, (port, *packet.split))
        if self.transparent:
            yield from self._pass(packet, operator or self.operator)
            if self._ports > 1 and not self._open_ports:
                yield packet.carrying(End(), WHOLE)
            return
        match packet.message:
            case pl.DataFrame() as batch:
                if isinstance(self.operator, AssignEventTime):
                    outputs = self.operator.process(batch, split=packet.split)
                else:
                    outputs = self.operator.process(batch, port)
                yield from (packet.carrying(out, WHOLE) for out in outputs)
            case Watermark(time):
                if isinstance(self.operator, AssignEventTime):
                    time = self.operator.watermark(packet.split)
                self._inputs.tell(packet.split, time)
                yield from self._advance(packet)
            case Idle():
                self._inputs.tell(packet.split, None)
                yield from self._advance(packet, if_moved=True)
                if self._inputs.idle:
                    yield packet.carrying(Idle(), WHOLE)
            case End() if not self._inputs.ended:
                self._inputs.end(packet.split)
                if isinstance(self.operator, AssignEventTime):
                    self.operator.forget(packet.split)
                yield from self._advance(packet, if_moved=self._inputs.idle)
                if self._inputs.ended:
                    yield packet.carrying(End(), WHOLE)
                elif self._inputs.idle and self._inputs.behind():
                    yield packet.carrying(Idle(), WHOLE)
            case End():
                pass  # A union says once for each of its inputs, and then once more, that it has ended.
            case Side():
                raise TypeError("a side output is not an input")

    def tick(self) -> Iterator[Packet]:
        """Let the operator do what processing time asks for."""
        now = self.clock.now()
        due = self.operator.due_clock()
        if due is not None and due <= now:
            yield from (Packet(out) for out in self.operator.on_clock(now))

    def behind(self) -> dict[Split, EventTime | None]:
        """Return the time of each input split, None for an idle one."""
        return self._inputs.behind()

    def snapshot(self) -> State:
        """Return the operator's state. It goes with `time`, which is as JSON holds it."""
        return self.operator.snapshot()

    def time(self) -> Json:
        """Return how far time has come: in all, in each split, and what is idle, has not spoken or has ended."""
        return {"watermark": self._watermark, "ports": sorted(self._open_ports), "inputs": self._inputs.snapshot()}

    def restore(self, states: Iterable[State], time: Json) -> None:
        """Take up the state of one or, after a rescale, several operators, and the time that it belongs to."""
        self.restored = True
        self._watermark = EventTime(time["watermark"])
        self._open_ports = set(time["ports"])
        self._inputs.restore(time["inputs"])
        self.operator.restore(states)

    def _pass(self, packet: Packet, operator: Operator) -> Iterator[Packet]:
        match packet.message:
            case pl.DataFrame() as batch:
                yield from (packet.carrying(out) for out in operator.process(batch))
            case Watermark(time) if packet.split == WHOLE:
                self._watermark = max(self._watermark, time)
                yield packet
            case _:
                yield packet

    def _advance(self, packet: Packet, *, if_moved: bool = False) -> Iterator[Packet]:
        time = self._inputs.merged()
        now = self._watermark if time is None else time
        due = self.operator.due()
        if due is not None and due <= now:
            outputs: list[Output] = list(self.operator.on_watermark(now))
            yield from (packet.carrying(out, WHOLE) for out in outputs)
        self._watermark = now
        # Told even when it has not moved: downstream, `due()` may wait for the next word about time. But not by an
        # input that is idle, which this would wake.
        if time is not None or not if_moved:
            yield packet.carrying(Watermark(now), WHOLE)
