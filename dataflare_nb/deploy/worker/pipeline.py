"""The stages of one vertex in one instance: a loop without threads around our own hosts and drivers.

It knows nothing of Flink. Packets go in and come out with the vertex and the share of the keys that they are for, and
all it knows can be saved and taken up again, so Flink is asked only to carry, to shuffle and to keep.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from ...clock import SystemClock
from ...graph import node
from ...operators.keys import key_group
from ...runtime.host import Host
from ...runtime.packet import WHOLE, Packet
from ...runtime.plan import StagePlan
from ...runtime.source import SourceDriver
from ...types import NEVER, Clock, End, Side, Watermark
from . import codec
from .loading import Loaded

POLL_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Sent:
    """A record for another vertex; or, without one, rows for an output of the job, whose name is `output`."""

    vertex: int | None
    share: int
    content: bytes
    output: str = ""


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
        self.rows = 0
        for stage in self._stages:
            self._open(stage)
        self._readers = self._find_readers()
        self._upstream = self._find_upstream()

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

    # Rows in

    @property
    def ended(self) -> bool:
        """Whether all sources of this vertex have given their last row."""
        return all(source.ended for source in self._sources.values())

    def step(self) -> Iterator[Sent]:
        """Poll one source, that whose turn it is."""
        if self.ended:
            return
        name = self._next_source()
        source = self._sources[name]
        try:
            packets, _ = source.step(POLL_ROWS, time.monotonic())
        except Exception as error:
            error.add_note(f"in {name} at {source.position()}")
            raise
        for packet in packets:
            self.rows += packet.rows
            yield from self._send(name, packet)

    def _next_source(self) -> str:
        going = [name for name, source in self._sources.items() if not source.ended]
        for stage, ports in self._ports.items():
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
        sender, tag, packet = codec.decode(record)
        self.rows += packet.rows
        for receiver, port in self._readers.get((sender, tag), ()):
            if receiver in self._own:
                for each in self._gated(sender, receiver, port, packet):
                    yield from self._offer(receiver, port, each)

    def _gated(self, sender: str, receiver: str, port: int, packet: Packet) -> Iterator[Packet]:
        """Say that an input has ended as a whole when each share of the keys has."""
        yield packet
        if isinstance(packet.message, End) and len(packet.split) == 1 and self._loaded.spread(sender, receiver):
            ended = self._ends.setdefault((receiver, port), set())
            ended.add(int(packet.split[0]))
            if len(ended) == self._loaded.job.partitions:
                yield packet.carrying(End(), WHOLE)

    def _offer(self, receiver: str, port: int, packet: Packet) -> Iterator[Sent]:
        ports = self._ports.get(receiver)
        if ports is None:
            yield from self._work(receiver, 0, packet)
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

    def _work(self, receiver: str, port: int, packet: Packet) -> Iterator[Sent]:
        host = self._hosts.get(receiver)
        if host is None:
            if isinstance(packet.message, pl.DataFrame) and packet.rows:
                yield Sent(None, 0, codec.to_ipc(packet.message), receiver)
            return
        try:
            for out in host.feed(packet, port):
                yield from self._send(receiver, out)
        except Exception as error:
            error.add_note(f"in {receiver} at {packet.origin or 'its end'}")
            raise

    # Rows out

    def _send(self, sender: str, packet: Packet) -> Iterator[Sent]:
        match packet.message:
            case Side(tag, batch):
                yield from self._along(sender, tag, packet.carrying(batch))
            case pl.DataFrame():
                yield from self._along(sender, "main", packet)
            case _:
                # Time is told to side outputs too.
                for each, tag in self._readers:
                    if each == sender:
                        yield from self._along(sender, tag, packet)

    def _along(self, sender: str, tag: str, packet: Packet) -> Iterator[Sent]:
        if isinstance(packet.message, pl.DataFrame):
            yield from self._kept(sender, tag, packet.message)
        away: dict[int, None] = {}
        for receiver, port in self._readers.get((sender, tag), ()):
            if receiver in self._own:
                yield from self._offer(receiver, port, packet)
            else:
                away[self._loaded.vertex_of[receiver]] = None
        for vertex in away:
            yield from self._carried(vertex, sender, tag, packet)

    def _kept(self, sender: str, tag: str, batch: pl.DataFrame) -> Iterator[Sent]:
        """Keep rows of outputs that end in no sink. Nodes that make no stage, such as key_by, share that of another."""
        for ref in self._loaded.job.results:
            name, wanted = node.split_ref(ref)
            if batch.height and wanted == tag and self._loaded.plan.stage_of[name] == sender:
                yield Sent(None, 0, codec.to_ipc(batch), ref)

    def _carried(self, vertex: int, sender: str, tag: str, packet: Packet) -> Iterator[Sent]:
        spread = self._loaded.job.vertices[self._number].keys is not None
        if spread:
            packet = packet.carrying(packet.message, (self._share, *packet.split))
        keys = self._loaded.job.vertices[vertex].keys
        if keys is None:
            yield Sent(vertex, 0, codec.encode(sender, tag, packet))
        elif isinstance(packet.message, pl.DataFrame):
            for share, rows in self._shares(packet.message, keys):
                yield Sent(vertex, share, codec.encode(sender, tag, packet.carrying(rows)))
        else:
            content = codec.encode(sender, tag, packet)
            yield from (Sent(vertex, share, content) for share in range(self._loaded.job.partitions))

    def _shares(self, batch: pl.DataFrame, keys: tuple[str, ...]) -> Iterator[tuple[int, pl.DataFrame]]:
        if not batch.height:
            return
        group = key_group(batch.select(keys), self._loaded.job.partitions).alias("__share")
        parts = batch.with_columns(group).partition_by("__share", as_dict=True, include_key=False, maintain_order=True)
        for (share,), rows in parts.items():
            yield int(share), rows

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
                        [[codec.encode("", "", each) for each in port.queue], port.reached, port.marks, port.ended]
                        for port in ports
                    ]
                    for name, ports in self._ports.items()
                },
                "ends": [[*where, sorted(ended)] for where, ended in self._ends.items()],
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
                port.queue.extend(codec.decode(each)[2] for each in queue)
                port.reached, port.marks, port.ended = reached, marks, ended
        self._ends = {(stage, port): set(ended) for stage, port, ended in told["ends"]}
        self._turn, self.rows = told["turn"], told["rows"]

    def close(self) -> None:
        """Close what is open."""
        for host in self._hosts.values():
            host.operator.close()
        for source in self._sources.values():
            source.close()


def _awaited(ports: list[_Port]) -> int | None:
    """Return the port to read next, as the local engine chooses it: that furthest behind in event time."""
    going = [number for number, port in enumerate(ports) if not port.ended]
    return min(going, key=lambda number: (ports[number].reached, ports[number].marks, number), default=None)
