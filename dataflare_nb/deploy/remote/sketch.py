"""What a job on a cluster is made of: the vertices that Flink runs, and the stages of ours that are in each."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ...errors import BadOption, listing
from ...graph import Graph
from ...runtime.outline import Outline, Pipe, Stage
from ...runtime.plan import plan
from ..layout import Vertex, layout
from ..target import Flink

KEY = "dataflare"
"""The global parameter of a Flink job that holds its sketch."""
_VERSION = 1


class Part(msgspec.Struct, frozen=True):
    """A stage of ours. `kind` is source, operator or sink; `late` and `invalid` go aside to `sides`."""

    id: str
    label: str
    kind: str
    stateful: bool
    sides: tuple[str, ...]


class Sketch(msgspec.Struct, frozen=True):
    """The vertices as displays show them, one for each that Flink runs, and the stages in each by its id."""

    outline: Outline
    parts: dict[str, tuple[Part, ...]]
    version: int = _VERSION

    @property
    def ours(self) -> bool:
        """Whether the stages are known, and not only what Flink calls its vertices."""
        return any(self.parts.values())

    def written(self) -> str:
        """Return it as text that a parameter of Flink can hold."""
        packed = zlib.compress(msgspec.json.encode(self), 9)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Sketch | None:
        """Return what `written` gave, None if it is of another version or of others."""
        try:
            unpacker = zlib.decompressobj()
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            told = msgspec.json.decode(unpacker.decompress(packed, 8 << 20), type=cls)
        except (ValueError, binascii.Error, zlib.error, msgspec.MsgspecError):
            return None
        return told if told.version == _VERSION else None

    @classmethod
    def of_graph(cls, name: str, graph: Graph, target: Flink | None = None) -> Sketch:
        """Return that of a graph as the workers run it."""
        planned = plan(graph)
        whole = Outline.of(name, graph, planned)
        vertices = layout(graph, planned, target or Flink())
        place = {stage: number for number, vertex in enumerate(vertices) for stage in vertex.stages}
        shown = {stage.id: stage for stage in whole.stages}
        pipes: dict[tuple[int, int, str], Pipe] = {}
        ports: dict[int, int] = {}
        for pipe in whole.pipes:
            ends = place[whole.stages[pipe.sender].id], place[whole.stages[pipe.receiver].id]
            if ends[0] != ends[1] and (*ends, pipe.tag) not in pipes:
                port = ports.get(ends[1], 0)
                ports[ends[1]] = port + 1
                pipes[(*ends, pipe.tag)] = Pipe(*ends, port, pipe.tag)
        kinds = {stage.id: stage.kind for stage in planned.stages}
        parts = {
            vertex.id: tuple(
                Part(each, shown[each].label, kinds[each], shown[each].stateful, shown[each].sides)
                for each in vertex.stages
            )
            for vertex in vertices
        }
        stages = tuple(_joined(vertex, [shown[each] for each in vertex.stages]) for vertex in vertices)
        return cls(Outline(name, stages, tuple(pipes.values())), parts)

    @classmethod
    def of_flink(cls, name: str, told: Mapping[str, Any]) -> Sketch:
        """Return that of a job of which only Flink's own plan is known."""
        nodes = list(reversed((told.get("plan") or {}).get("nodes") or []))
        names = {each["id"]: each["name"] for each in told["vertices"]}
        ordered = _sorted(nodes, list(names))
        place = {vertex: number for number, vertex in enumerate(ordered)}
        inputs = {each["id"]: [one["id"] for one in each.get("inputs") or []] for each in nodes}
        pipes = tuple(
            Pipe(place[sender], place[vertex], port, "main")
            for vertex in ordered
            for port, sender in enumerate(dict.fromkeys(inputs.get(vertex, [])))
            if sender in place
        )
        read = {pipe.receiver for pipe in pipes}
        stages = tuple(_of_flink(vertex, names[vertex], source=place[vertex] not in read) for vertex in ordered)
        return cls(Outline(name, stages, pipes), dict.fromkeys(ordered, ()))


@dataclass(frozen=True, slots=True)
class Match:
    """Which of Flink's vertices runs which of a sketch: Flink's id by ours."""

    ids: Mapping[str, str]

    @classmethod
    def of(cls, sketch: Sketch, told: Mapping[str, Any]) -> Match:
        """Find the vertices by name. Raises BadOption if the job runs another graph."""
        ids = {first_operator(each["name"]): each["id"] for each in told["vertices"]}
        ids |= {each["id"]: each["id"] for each in told["vertices"]}
        wanted = [stage.id for stage in sketch.outline.stages]
        missing = [name for name in wanted if name not in ids]
        if missing:
            have = listing(first_operator(each["name"]) for each in told["vertices"])
            raise BadOption(f"the job runs another graph: it has no {listing(missing)}; it has {have}")
        return cls({name: ids[name] for name in wanted})


def first_operator(name: str) -> str:
    """Return the operator that a chain begins with, which is what ours are called by."""
    return re.split(r" -> | \(\d+/\d+\)$", name, maxsplit=1)[0]


def _joined(vertex: Vertex, stages: Sequence[Stage]) -> Stage:
    """Return stages that run as one, as one."""
    # The last with a name of its own says best what comes of it; without one, what it begins with.
    named = [stage for stage in stages if stage.label == stage.id]
    chosen = next((stage for stage in reversed(named) if stage.stateful), None) or (named[-1] if named else stages[0])
    others = len(stages) - 1
    label = chosen.label if not others or chosen.stateful else f"{chosen.label} +{others}"
    does = tuple(step for stage in stages for step in stage.does)
    kind = stages[0].kind if stages[0].kind == "read" else chosen.kind
    sides = tuple(dict.fromkeys(side for stage in stages for side in stage.sides))
    return Stage(vertex.id, kind, label, does, any(stage.stateful for stage in stages), sides, stages[-1].sink)


def _of_flink(vertex: str, name: str, *, source: bool) -> Stage:
    steps = tuple(name.split(" -> "))
    sink = any("Sink" in step or "Writer" in step for step in steps)
    kind = "read" if source else "write" if sink else "map_batches"
    return Stage(vertex, kind, first_operator(name)[:30], steps, False, (), sink and not source)


def _sorted(nodes: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[str]:
    """Return the vertices in an order in which each comes after those it reads."""
    inputs = {each["id"]: [one["id"] for one in each.get("inputs") or []] for each in nodes}
    ordered: dict[str, None] = {}
    waiting = list(known)
    while waiting:
        ready = [each for each in waiting if all(one in ordered or one not in known for one in inputs.get(each, []))]
        # A plan has no circle; should one come all the same, it is shown as it comes.
        ordered |= dict.fromkeys(ready or waiting)
        waiting = [each for each in waiting if each not in ordered]
    return list(ordered)
