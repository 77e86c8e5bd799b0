"""Which stages run together in one vertex of the Flink job, and in how many instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph, node
from ..runtime.plan import Plan, StagePlan
from .target import Flink


@dataclass(frozen=True, slots=True)
class Vertex:
    """Stages that run as one: by one instance that keeps the order of rows, or by one for each share of the keys.

    `keys` are the columns whose values tell the share, None where there is one instance.
    """

    id: str
    stages: tuple[str, ...]
    parallelism: int
    keys: tuple[str, ...] | None = None


def layout(graph: Graph, planned: Plan, target: Flink) -> tuple[Vertex, ...]:
    """Return the vertices, each after those it reads.

    A window over keys begins a vertex that is spread over the cluster. What follows it stays there as long as it looks
    at one row at a time; what needs all rows in one place, such as a sink, begins a vertex of one instance. So the rows
    of one source stay in order up to the first window, and results do not depend on the parallelism.
    """
    vertex_of: dict[str, int] = {}
    members: list[list[StagePlan]] = []
    spread: list[tuple[str, ...] | None] = []
    for stage in planned.stages:
        before = {vertex_of[sender] for sender, _ in stage.inputs}
        keys = _keys(graph, stage)
        home = next(iter(before)) if len(before) == 1 else None
        if keys or (home is not None and spread[home] is not None and not _rowwise(stage)):
            home = None
        if home is None:
            home = (
                len(members)
                if stage.inputs or not members or not _heads(members, spread)
                else _heads(members, spread)[0]
            )
            if home == len(members):
                members.append([])
                spread.append(keys or None)
        members[home].append(stage)
        vertex_of[stage.id] = home
    return tuple(
        Vertex(stages[0].id, tuple(stage.id for stage in stages), _parallelism(stages, target) if keys else 1, keys)
        for stages, keys in zip(members, spread, strict=True)
    )


def partitions(target: Flink) -> int:
    """Return into how many shares keys are divided: fixed for a job whatever its parallelism, so that it can change."""
    return max(1, target.key_groups // 4)


def describe(graph: Graph, planned: Plan, target: Flink) -> Mapping[str, int]:
    """Return the parallelism of each stage."""
    return {stage: vertex.parallelism for vertex in layout(graph, planned, target) for stage in vertex.stages}


def _heads(members: list[list[StagePlan]], spread: list[tuple[str, ...] | None]) -> list[int]:
    """Return the vertices that begin with a source: all sources are read by one, which decides whose turn it is."""
    return [number for number, stages in enumerate(members) if stages[0].source is not None and spread[number] is None]


def _keys(graph: Graph, stage: StagePlan) -> tuple[str, ...]:
    last = stage.nodes[-1]
    return graph.edge(last.inputs[0]).keys if isinstance(last, node.Aggregate) else ()


def _rowwise(stage: StagePlan) -> bool:
    return stage.transparent and len(stage.inputs) == 1 and stage.sink is None


def _parallelism(stages: list[StagePlan], target: Flink) -> int:
    told = [
        target.stage_parallelism[item.id]
        for stage in stages
        for item in stage.nodes
        if item.id in target.stage_parallelism
    ]
    return told[0] if told else target.parallelism
