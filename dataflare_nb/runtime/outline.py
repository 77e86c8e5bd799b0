"""The graph of a job as displays show it: the stages that run, and what flows between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, node
from .names import short_names
from .plan import Plan, StagePlan

_LONGEST_STEP = 200


@dataclass(frozen=True, slots=True)
class Stage:
    """One running stage. `label` is its short name, `does` says its steps in words."""

    id: str
    kind: str
    label: str
    does: tuple[str, ...]
    stateful: bool
    sides: tuple[str, ...]
    sink: bool


@dataclass(frozen=True, slots=True)
class Pipe:
    """What one stage sends to a port of another; `tag` is the output it comes from."""

    sender: int
    receiver: int
    port: int
    tag: str


@dataclass(frozen=True, slots=True)
class Outline:
    """Stages in topological order, and the pipes by receiver and port, as places among the stages."""

    name: str
    stages: tuple[Stage, ...]
    pipes: tuple[Pipe, ...]

    @classmethod
    def of(cls, name: str, graph: Graph, plan: Plan) -> Outline:
        """Return the outline of a job that runs a plan."""
        names = short_names(plan)
        names |= _results(plan.stages)
        place = {stage.id: number for number, stage in enumerate(plan.stages)}
        stages = tuple(_stage(stage, names[stage.id], graph) for stage in plan.stages)
        pipes = tuple(
            Pipe(place[sender], place[stage.id], port, tag)
            for stage in plan.stages
            for port, (sender, tag) in enumerate(stage.inputs)
        )
        return cls(name, stages, pipes)

    def document(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        stages = [
            {
                "id": stage.id,
                "kind": stage.kind,
                "label": stage.label,
                "does": list(stage.does),
                "stateful": stage.stateful,
                "sides": list(stage.sides),
                "sink": stage.sink,
            }
            for stage in self.stages
        ]
        pipes = [{"from": p.sender, "to": p.receiver, "port": p.port, "tag": p.tag} for p in self.pipes]
        return {"name": self.name, "nodes": stages, "edges": pipes}


def _stage(plan: StagePlan, label: str, graph: Graph) -> Stage:
    last = plan.nodes[-1]
    return Stage(
        plan.id,
        last.kind if len(plan.nodes) == 1 else "columns",
        label,
        tuple(step if len(step) <= _LONGEST_STEP else step[: _LONGEST_STEP - 1] + "…" for step in _steps(plan, graph)),
        isinstance(last, node.Aggregate),
        tuple(graph.edges[last.id].sides),
        plan.sink is not None,
    )


def _steps(plan: StagePlan, graph: Graph) -> list[str]:
    last = plan.nodes[-1]
    steps = [item.label() for item in plan.nodes]
    if isinstance(last, node.Aggregate):
        edge = graph.edge(last.inputs[0])
        before = [f"key by {', '.join(edge.keys)}"] if edge.keys else []
        before += [edge.window.label()] if edge.window is not None else []
        steps = before + steps
    return steps


def _results(stages: tuple[StagePlan, ...]) -> dict[str, str]:
    """Name the sinks that keep an output in memory, which the user did not write."""
    found = [
        stage.id
        for stage in stages
        if isinstance(stage.nodes[-1], node.Write)
        and stage.nodes[-1].sink == "memory"
        and stage.id.startswith("result_")
    ]
    names = ("result" if n == 1 else f"result {n}" for n in itertools.count(1))
    return dict(zip(found, names, strict=False))
