"""The first half of a window, before the shuffle: rows become partials, so that few travel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from ...operators.window import GridWindows
from ...runtime.packet import Packet
from ...runtime.watermark import Inputs
from ...types import NEVER, Clock, End, EventTime, Idle, Json, Side, Split, Watermark


class Combiner:
    """Takes the packets for a window's operator where all of them come by, and gives fewer that mean the same.

    It knows the watermark that the operator would have for each row, so it is here that a row is found too late. Words
    about time wait with the rows until a window can fire or somebody flushes: between, nobody would act on them.
    """

    restored = False

    def __init__(self, node_id: str, operator: GridWindows, branches: Iterable[Split], clock: Clock) -> None:
        self.node_id = node_id
        self.clock = clock
        self.watermark: EventTime = NEVER
        self.counters: dict[str, int] = {}
        self.late = 0
        self._operator = operator
        self._inputs = Inputs(branches)
        self._waiting: dict[Split, Packet] = {}
        operator.open(self)

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + by

    def feed(self, packet: Packet) -> Iterator[tuple[Packet, bool]]:
        """Take a packet, and yield what is to travel now, with whether it has partials."""
        match packet.message:
            case pl.DataFrame() as batch:
                for out in self._operator.process(batch):
                    assert isinstance(out, Side)
                    self.late += out.batch.height
            case Watermark(time):
                before = self.watermark
                self._inputs.tell(packet.split, time)
                self._advance()
                self._waiting.pop(packet.split, None)
                self._waiting[packet.split] = packet
                if self.watermark != before and self._operator.fires(before, self.watermark):
                    yield from self.flush()
            case Idle():
                self._inputs.tell(packet.split, None)
                self._advance()
                yield from self.flush()
                yield packet, False
            case End():
                self._inputs.end(packet.split)
                self._advance()
                yield from self.flush()
                yield packet, False
            case Side():
                raise TypeError("a side output is not an input")

    def flush(self) -> Iterator[tuple[Packet, bool]]:
        """Let go of all that waits."""
        partials = self._operator.give_partials()
        if partials.height:
            yield Packet(partials), True
        waiting, self._waiting = self._waiting, {}
        yield from ((packet, False) for packet in waiting.values())

    def snapshot(self) -> Json:
        """Return what another combiner needs to go on, after a flush."""
        return {
            "watermark": self.watermark,
            "inputs": self._inputs.snapshot(),
            "late": self.late,
            "counters": self.counters,
        }

    def restore(self, saved: Json) -> None:
        """Go on from a snapshot."""
        self.watermark = EventTime(saved["watermark"])
        self._inputs.restore(saved["inputs"])
        self.late = saved["late"]
        self.counters.update(saved["counters"])

    def close(self) -> None:
        """Close the operator."""
        self._operator.close()

    def _advance(self) -> None:
        merged = self._inputs.merged()
        if merged is not None:
            self.watermark = merged
