"""The law of a whole pipeline: cut off anywhere and gone on with from a snapshot, it gives the same rows."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ..clock import ManualClock
from ..graph import Graph
from ..runtime.host import Host
from ..runtime.packet import Packet
from ..runtime.plan import StagePlan, plan
from ..runtime.sink import SinkDriver
from ..runtime.source import SourceDriver
from ..types import Batch, Side, State
from ..windows import DurationLike, microseconds
from .operator_laws import through_ipc
from .rows import LawBroken, assert_same_rows
from .sink_laws import LentContext

if TYPE_CHECKING:
    from ..stream import Stream

MOST_STEPS = 100_000
DOOMED_STEPS = 2
"""How far a pipeline goes on after the snapshot that another one goes on from."""


def check_pipeline(
    build: Callable[[str], Stream],
    read_back: Callable[[str], pl.DataFrame] | None = None,
    *,
    poll: int = 3,
    step: DurationLike | None = None,
    patience: DurationLike = "30s",
    most_cuts: int = 25,
) -> None:
    """Prove that a pipeline can be cut anywhere; raise LawBroken that names the cut and the rows that differ.

    `build(place)` returns a stream, the same for each place but for where it writes, and `read_back(place)` the rows
    that anybody can see there; a stream that writes nowhere needs none. Polls give at most `poll` rows.

    * **restart**: between any two polls, with nothing on its way or due, the whole is cut off: what sources, operators,
      hosts and sinks have put in their snapshots goes through JSON and Arrow IPC, the pipeline goes on for a little and
      is never heard of again, and a new one goes on from the snapshots. Together they give the rows of one that was
      not cut, in the same order, in each output and side output, and in the sinks. Every other time the pipeline has
      not come to commit what it had prepared.
    * **snapshot**: a pipeline that goes on after a snapshot gives the same rows too.

    The clock moves by `step` with each poll. Live input is read until nothing has come for `patience`.
    """
    law = _Law(build, read_back, poll, step, patience)
    most = max(1, most_cuts - 1)
    for cut in sorted({law.steps * n // most for n in range(most + 1)}):
        law.restart(cut, committed=cut % 2 == 0)
    if read_back is None:
        law.snapshot()


class _Law:
    def __init__(
        self,
        build: Callable[[str], Stream],
        read_back: Callable[[str], pl.DataFrame] | None,
        poll: int,
        step: DurationLike | None,
        patience: DurationLike,
    ) -> None:
        self._build = build
        self._read_back = read_back
        self._poll = poll
        self._step = 0 if step is None else microseconds(step, "step")
        self._patience = microseconds(patience, "patience")
        whole = self._start(self._build("whole"))
        self.steps = whole.finish()
        self._told = whole.told
        self._seen = read_back("whole") if read_back is not None else None

    def restart(self, cut: int, *, committed: bool) -> None:
        place, law = f"cut_{cut}", f"restart: cut after {cut} of {self.steps} polls"
        stream = self._build(place)
        doomed = self._start(stream)
        for _ in range(cut):
            doomed.step()
        saved = doomed.snapshot()
        told = {output: list(frames) for output, frames in doomed.told.items()}
        if committed:
            doomed.commit()
        for _ in range(DOOMED_STEPS):
            doomed.step()
        again = self._start(stream, saved)
        again.finish()
        self._compare(told, again.told, law)
        if self._read_back is not None and self._seen is not None:
            assert_same_rows(self._read_back(place), self._seen, f"{law}; what can be seen", ordered=True)
        doomed.close()
        if self._read_back is not None and self._seen is not None:
            after = f"{law}; what can be seen when the pipeline that was cut off is closed"
            assert_same_rows(self._read_back(place), self._seen, after, ordered=True)

    def snapshot(self) -> None:
        run = self._start(self._build("snapshots"))
        for _ in range(self.steps):
            run.snapshot()
            run.step()
        run.finish()
        self._compare({}, run.told, "snapshot: one after each poll")

    def _start(self, stream: Stream, saved: _Saved | None = None) -> _Pipeline:
        return _Pipeline(stream.graph, saved, self._poll, self._step, self._patience)

    def _compare(self, before: Mapping[str, list[Batch]], after: Mapping[str, list[Batch]], law: str) -> None:
        for output in sorted({*self._told, *before, *after}):
            wanted, got = self._told.get(output, []), [*before.get(output, []), *after.get(output, [])]
            empty = next(iter((*wanted, *got))).clear()
            assert_same_rows(pl.concat([empty, *got]), pl.concat([empty, *wanted]), f"{law}; `{output}`", ordered=True)


@dataclass(frozen=True)
class _Saved:
    """A snapshot of a pipeline: what JSON holds, and the tables of each operator."""

    plain: str
    tables: Mapping[str, State]


class _Pipeline:
    """The stages of a graph, run by hand: a poll, and all that follows from it."""

    def __init__(self, graph: Graph, saved: _Saved | None, poll: int, step: int, patience: int) -> None:
        self._clock = ManualClock()
        self._poll = poll
        self._step = step
        self._patience = patience
        self._quiet = 0
        self._turn = 0
        self._sources: dict[str, SourceDriver] = {}
        self._hosts: dict[str, Host] = {}
        self._sinks: dict[str, SinkDriver] = {}
        self._readers: dict[str, dict[str, list[tuple[str, int]]]] = {}
        self.told: dict[str, list[Batch]] = {}
        plain = json.loads(saved.plain) if saved is not None else {}
        if saved is not None:
            self._clock.advance(plain["now"])
            self._turn, self._quiet = plain["turn"], plain["quiet"]
        self._names: dict[str, str] = {}
        for number, stage in enumerate(plan(graph).stages):
            # Ids hash what a stream was built on, which may be something new each time.
            self._names[stage.id] = f"stage {number}: {stage.label}"
            self._open(stage, restored=saved is not None)
            for port, (sender, tag) in enumerate(stage.inputs):
                self._readers[sender].setdefault(tag, []).append((stage.id, port))
        if saved is not None:
            for name, sink in self._sinks.items():
                sink.restore(plain["sinks"][name])
            for name, source in self._sources.items():
                source.restore(plain["sources"][name])
            for name, host in self._hosts.items():
                host.restore([through_ipc(saved.tables[name])], plain["hosts"][name])

    def step(self) -> None:
        """Poll one source, and let all follow that follows from it and from the clock."""
        going = [name for name, source in self._sources.items() if not source.ended]
        if going:
            name = going[self._turn % len(going)]
            packets, ready = self._sources[name].step(self._poll, 0.0)
            self._turn += 1
            self._quiet = 0 if ready else self._quiet + self._step
            self._deliver(name, packets)
        self._clock.advance(self._step)
        for name, host in self._hosts.items():
            self._deliver(name, host.tick())

    def finish(self) -> int:
        """Go on to the end, commit, and return how many steps there were."""
        steps = 0
        while any(not source.ended for source in self._sources.values()) and self._quiet < self._patience:
            if steps > MOST_STEPS:
                raise LawBroken(f"restart: the pipeline has not ended after {MOST_STEPS} polls")
            self.step()
            steps += 1
        self.commit()
        self.close()
        return steps

    def snapshot(self) -> _Saved:
        plain = {
            "now": self._clock.now(),
            "turn": self._turn,
            "quiet": self._quiet,
            "sinks": {name: sink.snapshot() for name, sink in self._sinks.items()},
            "sources": {name: source.snapshot() for name, source in self._sources.items()},
            "hosts": {name: host.time() for name, host in self._hosts.items()},
        }
        tables = {name: through_ipc(host.snapshot()) for name, host in self._hosts.items()}
        return _Saved(json.dumps(plain), tables)

    def commit(self) -> None:
        for sink in self._sinks.values():
            sink.commit()

    def close(self) -> None:
        for source in self._sources.values():
            source.close()
        for host in self._hosts.values():
            host.operator.close()
        for sink in self._sinks.values():
            sink.abort()
            sink.close()

    def _open(self, stage: StagePlan, *, restored: bool) -> None:
        self._readers[stage.id] = {}
        if stage.source is not None:
            self._sources[stage.id] = SourceDriver(
                stage.source(self._clock),
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
                branches=stage.branches,
                ports=len(stage.inputs),
            )
        elif stage.sink is not None:
            context = LentContext(stage.id, restored=restored)
            self._sinks[stage.id] = SinkDriver(
                stage.sink(self._clock), context, stage.schema, self._clock, commit_every=None
            )

    def _deliver(self, sender: str, packets: Iterable[Packet]) -> None:
        waiting = deque((sender, packet) for packet in packets)
        while waiting:
            stage, packet = waiting.popleft()
            for reader, port, coming in self._routed(stage, packet):
                if reader in self._sinks:
                    if isinstance(coming.message, pl.DataFrame):
                        self._sinks[reader].write(coming.message)
                else:
                    waiting.extend((reader, out) for out in self._hosts[reader].feed(coming, port))

    def _routed(self, stage: str, packet: Packet) -> Iterable[tuple[str, int, Packet]]:
        """Note what leaves the pipeline, and return who reads a packet."""
        readers = self._readers[stage]
        match packet.message:
            case pl.DataFrame() as batch:
                if batch.is_empty():
                    return []
                if "main" not in readers:
                    self.told.setdefault(self._names[stage], []).append(batch)
                return [(reader, port, packet) for reader, port in readers.get("main", [])]
            case Side(tag, batch):
                self.told.setdefault(f"{self._names[stage]}, {tag}", []).append(batch)
                return [(reader, port, packet.carrying(batch)) for reader, port in readers.get(tag, [])]
            case _:
                return [(reader, port, packet) for each in readers.values() for reader, port in each]
