"""The stages of one vertex in one instance: a loop without threads around our own hosts and drivers.

It knows nothing of Flink. Packets go in and come out with the vertex and the share of the keys that they are for, and
all it knows can be saved and taken up again, so Flink is asked only to carry, to shuffle and to keep.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from ...clock import SystemClock
from ...graph import node
from ...operators.window import GridWindows
from ...runtime.host import Host
from ...runtime.packet import WHOLE, Packet
from ...runtime.plan import StagePlan
from ...runtime.source import SourceDriver
from ...types import NEVER, Clock, End, EventTime, Side, Watermark
from . import codec
from .combiner import Combiner
from .ledger import LEDGER, Ledger
from .loading import Loaded
from .outbox import Out, Sent, records
from .shares import Shares

POLL_ROWS = 65_536
_BYTES_OF_A_STEP = 4 << 20
_NAP = 0.01
"""Seconds that a step waits if no source has anything; a checkpoint waits with it."""


@dataclass
class _Port:
    """An input of a stage with several, and how far it has come."""

    queue: deque[Packet] = field(default_factory=deque)
    reached: int = NEVER
    marks: int = 0
    ended: bool = False


class Pipeline:
    """One instance of a vertex; `share` is the one of the keys that it has, 0 where there is one instance."""

    def __init__(self, loaded: Loaded, vertex: int, share: int = 0, clock: Clock | None = None) -> None:
        self._loaded = loaded
        self._number = vertex
        self._share = share
        self._clock = clock or SystemClock()
        self._stages = [loaded.stages[name] for name in loaded.job.vertices[vertex].stages]
        self._own = {stage.id for stage in self._stages}
        self._hosts: dict[str, Host] = {}
        self._sources: dict[str, SourceDriver] = {}
        self._ports: dict[str, list[_Port]] = {}
        self._ends: dict[tuple[str, int], set[int]] = {}
        self._turn = 0
        self.run = uuid.uuid4().hex
        """Tells rows of this run from what another has left; kept with the state, and told to those who follow."""
        self.rows = 0
        self.ledger = Ledger(stage.id for stage in self._stages)
        for stage in self._stages:
            self._open(stage)
        self._readers = self._find_readers()
        self._upstream = self._find_upstream()
        self._shares = {
            number: Shares(vertex.keys, loaded.job.partitions)
            for number, vertex in enumerate(loaded.job.vertices)
            if vertex.keys is not None
        }
        self._combiners = self._find_combiners()
        self._coming = {
            (receiver, port)
            for (sender, _), readers in self._readers.items()
            for receiver, port in readers
            if receiver in self._own and sender not in self._own
        }

    def _open(self, stage: StagePlan) -> None:
        if stage.source is not None:
            source = stage.source(self._clock)
            self._sources[stage.id] = SourceDriver(
                source,
                self._clock,
                quantum=stage.quantum,
                idle_timeout=stage.idle_timeout,
                in_order=stage.in_order,
            )
        elif stage.operator is not None:
            self._hosts[stage.id] = Host(
                stage.id,
                stage.operator(),
                self._clock,
                transparent=stage.transparent,
                branches=self._loaded.branches[stage.id],
                ports=len(stage.inputs),
            )
        if len(stage.inputs) > 1:
            self._ports[stage.id] = [_Port() for _ in stage.inputs]

    def _find_readers(self) -> dict[tuple[str, str], list[tuple[str, int]]]:
        """Return for each output the stages and ports that read it, in the whole job."""
        found: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for stage in self._loaded.plan.stages:
            for port, (sender, tag) in enumerate(stage.inputs):
                found.setdefault((sender, tag), []).append((stage.id, port))
        return found

    def _find_upstream(self) -> dict[tuple[str, int], set[str]]:
        """Return for each port of a stage with several the sources of this vertex that feed it."""
        above: dict[str, set[str]] = {}
        found: dict[tuple[str, int], set[str]] = {}
        for stage in self._stages:
            feeds = [above.get(sender, set()) for sender, _ in stage.inputs]
            above[stage.id] = {stage.id} if stage.source is not None else set().union(*feeds)
            found |= {(stage.id, port): feed for port, feed in enumerate(feeds)}
        return found

    def _find_combiners(self) -> dict[tuple[int, str, str], Combiner]:
        """Return for each vertex and the output it reads the first half of its window, where that can be done here.

        Only a vertex with one instance has all the rows, and so knows the window's time.
        """
        found: dict[tuple[int, str, str], Combiner] = {}
        if self._loaded.job.vertices[self._number].keys is not None:
            return found
        for number, vertex in enumerate(self._loaded.job.vertices):
            stage = self._loaded.stages[vertex.stages[0]]
            if vertex.keys is None or len(stage.inputs) != 1 or stage.operator is None:
                continue
            ((sender, tag),) = stage.inputs
            if sender not in self._own or (stage.id, "late") in self._readers or self._is_result(stage.id, "late"):
                continue
            operator = stage.operator()
            if isinstance(operator, GridWindows) and operator.divisible:
                branches = self._loaded.branches[stage.id]
                found[number, sender, tag] = Combiner(stage.id, operator, branches, self._clock)
        return found

    # Rows in

    @property
    def ended(self) -> bool:
        """Whether all sources of this vertex have given their last row."""
        return all(source.ended for source in self._sources.values())

    def step(self, seconds: float = 0.0) -> Iterator[Sent]:
        """Poll sources, each when it is its turn, for about so long and at least once."""
        return records(self.run, self._steps(time.monotonic() + seconds))

    def _steps(self, until: float) -> Iterator[Out]:
        made = 0
        while not self.ended:
            name, packets = self._poll()
            for packet in packets:
                self.rows += packet.rows
                self.ledger.took(name, packet.rows)
                for out in self._send(name, packet):
                    made += out.bytes
                    yield out
            if not packets:
                time.sleep(_NAP)
            if made >= _BYTES_OF_A_STEP or time.monotonic() >= until:
                break
        yield from self._flushed()
        if self.ended and self.ledger.close():
            yield self._reckoning()

    def _poll(self) -> tuple[str, list[Packet]]:
        name = self._next_source()
        source = self._sources[name]
        try:
            packets, _ = source.step(POLL_ROWS, time.monotonic())
        except Exception as error:
            error.add_note(f"in {name} at {source.position()}")
            raise
        return name, packets

    def _next_source(self) -> str:
        going = [name for name, source in self._sources.items() if not source.ended]
        for stage, ports in self._ports.items() if self._loaded.plan.bounded else ():
            port = _awaited(ports)
            if port is None or ports[port].queue:
                continue
            wanted = [name for name in going if name in self._upstream[stage, port]]
            if wanted:
                return wanted[0]
        self._turn += 1
        return going[self._turn % len(going)]

    def feed(self, record: bytes) -> Iterator[Sent]:
        """Take a record of another vertex."""
        self.run, packets = codec.decode(record)
        return records(self.run, self._fed(packets))

    def _fed(self, packets: list[codec.Packed]) -> Iterator[Out]:
        for packed in packets:
            sender, tag, packet, partials = codec.unpack(packed)
            for receiver, port in self._readers.get((sender, tag), ()):
                if receiver not in self._own:
                    continue
                if partials:
                    self._take_partials(receiver, packet)
                    continue
                for each in self._gated(sender, receiver, port, packet):
                    self.rows += each.rows
                    yield from self._offer(receiver, port, each)
                    if isinstance(each.message, End) and not each.split:
                        self._coming.discard((receiver, port))
        yield from self._flushed()
        if not self._coming and self.ledger.close():
            yield self._reckoning()

    @property
    def due(self) -> EventTime | None:
        """When early results are to be told by the clock, if any are."""
        return min(
            (due for host in self._hosts.values() if (due := host.operator.due_clock()) is not None), default=None
        )

    def ring(self) -> Iterator[Sent]:
        """Tell the early results that are due by now."""
        return records(self.run, self._rung())

    def _rung(self) -> Iterator[Out]:
        for name, host in self._hosts.items():
            for packet in host.tick():
                yield from self._send(name, packet)
        yield from self._flushed()

    def _take_partials(self, receiver: str, packet: Packet) -> None:
        operator = self._hosts[receiver].operator
        assert isinstance(operator, GridWindows)
        assert isinstance(packet.message, pl.DataFrame)
        rows = operator.take_partials(packet.message)
        self.rows += rows
        self.ledger.took(receiver, rows)

    def _gated(self, sender: str, receiver: str, port: int, packet: Packet) -> Iterator[Packet]:
        """Say that an input has ended as a whole when each share of the keys has."""
        yield packet
        if isinstance(packet.message, End) and len(packet.split) == 1 and self._loaded.spread(sender, receiver):
            ended = self._ends.setdefault((receiver, port), set())
            ended.add(int(packet.split[0]))
            if len(ended) == self._loaded.job.partitions:
                yield packet.carrying(End(), WHOLE)

    def _offer(self, receiver: str, port: int, packet: Packet) -> Iterator[Out]:
        ports = self._ports.get(receiver)
        if ports is None or not self._loaded.plan.bounded:
            # Live inputs are taken as they come.
            yield from self._work(receiver, port, packet)
            return
        ports[port].queue.append(packet)
        while (chosen := _awaited(ports)) is not None and ports[chosen].queue:
            taken = ports[chosen].queue.popleft()
            match taken.message:
                case Watermark(reached):
                    if not taken.split:
                        ports[chosen].reached = max(ports[chosen].reached, reached)
                    ports[chosen].marks += 1
                case End() if not taken.split:
                    ports[chosen].ended = True
            yield from self._work(receiver, chosen, taken)

    def _work(self, receiver: str, port: int, packet: Packet) -> Iterator[Out]:
        host = self._hosts.get(receiver)
        self.ledger.took(receiver, packet.rows)
        if host is None:
            if isinstance(packet.message, pl.DataFrame) and packet.rows:
                self.ledger.gave(receiver, "main", packet.rows)
                yield Out(codec.to_ipc(packet.message), output=receiver)
            return
        try:
            for out in host.feed(packet, port):
                yield from self._send(receiver, out)
        except Exception as error:
            error.add_note(f"in {receiver} at {packet.origin or 'its end'}")
            raise

    # Rows out

    def _send(self, sender: str, packet: Packet) -> Iterator[Out]:
        match packet.message:
            case Side(tag, batch):
                self.ledger.gave(sender, tag, batch.height)
                yield from self._along(sender, tag, packet.carrying(batch))
            case pl.DataFrame():
                self.ledger.gave(sender, "main", packet.rows)
                yield from self._along(sender, "main", packet)
            case _:
                # Time is told to side outputs too.
                for each, tag in self._readers:
                    if each == sender:
                        yield from self._along(sender, tag, packet)

    def _along(self, sender: str, tag: str, packet: Packet) -> Iterator[Out]:
        if isinstance(packet.message, pl.DataFrame):
            yield from self._kept(sender, tag, packet.message)
        away: dict[int, None] = {}
        for receiver, port in self._readers.get((sender, tag), ()):
            if receiver in self._own:
                yield from self._offer(receiver, port, packet)
            else:
                away[self._loaded.vertex_of[receiver]] = None
        for vertex in away:
            combiner = self._combiners.get((vertex, sender, tag))
            if combiner is None:
                yield from self._carried(vertex, sender, tag, packet)
                continue
            for each, partials in combiner.feed(packet):
                yield from self._carried(vertex, sender, tag, each, partials)

    def _flushed(self) -> Iterator[Out]:
        for (vertex, sender, tag), combiner in self._combiners.items():
            for each, partials in combiner.flush():
                yield from self._carried(vertex, sender, tag, each, partials)

    def _kept(self, sender: str, tag: str, batch: pl.DataFrame) -> Iterator[Out]:
        """Keep rows of outputs that end in no sink. Nodes that make no stage, such as key_by, share that of another."""
        for ref in self._loaded.job.results:
            name, wanted = node.split_ref(ref)
            if batch.height and wanted == tag and self._loaded.plan.stage_of[name] == sender:
                yield Out(codec.to_ipc(batch), output=ref)

    def _is_result(self, stage: str, tag: str) -> bool:
        refs = (node.split_ref(ref) for ref in self._loaded.job.results)
        return any(wanted == tag and self._loaded.plan.stage_of[name] == stage for name, wanted in refs)

    def _carried(self, vertex: int, sender: str, tag: str, packet: Packet, partials: bool = False) -> Iterator[Out]:
        if self._loaded.job.vertices[self._number].keys is not None:
            packet = packet.carrying(packet.message, (self._share, *packet.split))
        shares = self._shares.get(vertex)
        if shares is None:
            yield Out(codec.pack(sender, tag, packet), vertex)
        elif isinstance(packet.message, pl.DataFrame):
            for share, rows in shares.cut(packet.message):
                yield Out(codec.pack(sender, tag, packet.carrying(rows), partials=partials), vertex, share)
        else:
            packed = codec.pack(sender, tag, packet)
            yield from (Out(packed, vertex, share) for share in range(self._loaded.job.partitions))

    def watermark(self, stage: str) -> int:
        """Return the event time that a stage has come to; a source has none, before its times are known."""
        host = self._hosts.get(stage)
        return NEVER if host is None else host.watermark

    def counts(self, stage: str) -> dict[str, int]:
        """Return what is counted of a stage, as far as this pipeline has seen it."""
        return self.ledger.of(stage, self._hosts, self._combiners.values())

    def _reckoning(self) -> Out:
        """Tell what became of the rows, when the last has been seen."""
        return Out(codec.to_ipc(self.ledger.frame(self._hosts, self._combiners.values())), output=LEDGER)

    # State

    def snapshot(self) -> bytes:
        """Return all that another pipeline needs to go on from here."""
        return msgspec.msgpack.encode(
            {
                "sources": {name: source.snapshot() for name, source in self._sources.items()},
                "hosts": {
                    name: {
                        "time": host.time(),
                        "tables": {table: codec.to_ipc(frame) for table, frame in host.snapshot().items()},
                        "counters": host.counters,
                    }
                    for name, host in self._hosts.items()
                },
                "ports": {
                    name: [
                        [[codec.pack("", "", each) for each in port.queue], port.reached, port.marks, port.ended]
                        for port in ports
                    ]
                    for name, ports in self._ports.items()
                },
                "ends": [[*where, sorted(ended)] for where, ended in self._ends.items()],
                "combiners": [[*where, combiner.snapshot()] for where, combiner in self._combiners.items()],
                "coming": sorted(self._coming),
                "ledger": self.ledger.snapshot(),
                "run": self.run,
                "turn": self._turn,
                "rows": self.rows,
            }
        )

    def restore(self, saved: bytes) -> None:
        """Go on from a snapshot of a pipeline of the same vertex and share."""
        told: dict[str, Any] = msgspec.msgpack.decode(saved)
        for name, source in told["sources"].items():
            self._sources[name].restore(source)
        for name, host in told["hosts"].items():
            tables = {table: codec.from_ipc(content) for table, content in host["tables"].items()}
            self._hosts[name].restore([tables], host["time"])
            self._hosts[name].counters.update(host["counters"])
        for name, ports in told["ports"].items():
            for port, (queue, reached, marks, ended) in zip(self._ports[name], ports, strict=True):
                port.queue.extend(codec.unpack(each)[2] for each in queue)
                port.reached, port.marks, port.ended = reached, marks, ended
        self._ends = {(stage, port): set(ended) for stage, port, ended in told["ends"]}
        for vertex, sender, tag, saved_half in told["combiners"]:
            self._combiners[vertex, sender, tag].restore(saved_half)
        self._coming = {(stage, port) for stage, port in told["coming"]}
        self.ledger.restore(told["ledger"])
        self.run, self._turn, self.rows = told["run"], told["turn"], told["rows"]

    def close(self) -> None:
        """Close what is open."""
        for host in self._hosts.values():
            host.operator.close()
        for combiner in self._combiners.values():
            combiner.close()
        for source in self._sources.values():
            source.close()


def _awaited(ports: list[_Port]) -> int | None:
    """Return the port to read next, as the local engine chooses it: that furthest behind in event time."""
    going = [number for number, port in enumerate(ports) if not port.ended]
    return min(going, key=lambda number: (ports[number].reached, ports[number].marks, number), default=None)
