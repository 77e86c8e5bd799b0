"""From a graph to stages: what is fused, which operator does the work, whose time is whose."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import polars as pl

from .. import dtypes
from ..connectors.registry import make_sink, make_source
from ..errors import BadOption, GraphError, listing
from ..expr import Setting
from ..graph import Graph, node
from ..graph.aggregation import aggregation, holds
from ..graph.asking import RESERVED_PREFIX
from ..graph.node import AnyNode, split_ref
from ..graph.schema import Edge
from ..operators.aggregation import Aggregation
from ..operators.columns import Columns, Pass
from ..operators.count import CountWindows
from ..operators.event_time import AssignEventTime
from ..operators.functions import MapBatches
from ..operators.grid import grid_of
from ..operators.grouped import PluginColumn
from ..operators.session import Sessions
from ..operators.udf import UdfStage
from ..operators.wasm import WasmStage
from ..operators.window import GridWindows
from ..types import Clock, Operator, Schema, Sink, Source, Split
from ..windows import Count, Cumulative, Hopping, Session
from . import plugins
from .packet import WHOLE

Guest: TypeAlias = WasmStage | UdfStage
DEFAULT_QUANTUM = 65_536
UNTIMED_QUANTUM = 1 << 24
"""Rows of a split between two words about time, where event time is read and where it is not."""


_MOST_LABEL = 100
_OWN_CONNECTORS = frozenset({"frame", "rate", "parquet", "csv", "ndjson", "ipc", "memory", plugins.NAME})


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: one or more nodes that run as one. Exactly one of `source`, `operator` and `sink` makes its work."""

    id: str
    nodes: tuple[AnyNode, ...]
    inputs: tuple[tuple[str, str], ...]
    """For each port the stage it reads and the output it reads there."""
    schema: Schema
    source: Callable[[Clock], Source] | None = None
    operator: Callable[[], Operator] | None = None
    sink: Callable[[Clock], Sink] | None = None
    transparent: bool = False
    branches: tuple[Split, ...] = (WHOLE,)
    quantum: int | None = None
    idle_timeout: int | None = None
    in_order: bool = False

    @property
    def label(self) -> str:
        """Say what the stage does."""
        nodes = self.nodes[-1:] if isinstance(self.nodes[-1], node.Union) else self.nodes
        return ", ".join(item.label() for item in nodes)

    @property
    def where(self) -> str:
        """Say what the stage does and which lines of the user made it, as an error ends."""
        lines = list(dict.fromkeys(item.where for item in self.nodes if item.where))
        made = f", made at {' and '.join(lines[:1] + lines[1:][-1:])}" if lines else ""
        return f"`{textwrap.shorten(self.label, _MOST_LABEL, placeholder='…')}`{made}"

    @property
    def parallel(self) -> bool:
        """Whether several batches may be worked on at once, if the operator can."""
        return self.transparent and len(self.inputs) == 1

    @property
    def runs_python(self) -> bool:
        """Whether a user's Python function may run in the stage."""
        for item in self.nodes:
            match item:
                case node.MapBatches():
                    return True
                case node.Read(source=name) if name not in _OWN_CONNECTORS:
                    return True
                case node.Write(sink=name) if name not in _OWN_CONNECTORS:
                    return True
                case node.Aggregate(plugins=made) if any(arg.blob for plugin in made for arg in plugin.args):
                    return True
                case _ if any(stored.blob for stored in getattr(item, "exprs", ())):
                    return True
        return False

    @property
    def kind(self) -> str:
        return "source" if self.source is not None else "sink" if self.sink is not None else "operator"


@dataclass(frozen=True, slots=True)
class Plan:
    """The stages in topological order, and for every node the stage it runs in."""

    stages: tuple[StagePlan, ...]
    stage_of: dict[str, str]
    bounded: bool


@dataclass
class _Draft:
    nodes: list[AnyNode]
    inputs: list[tuple[str, str]]


def plan(graph: Graph) -> Plan:
    """Return the stages of a graph. Raises GraphError where it is not complete."""
    _check_complete(graph)
    drafts: dict[str, _Draft] = {}
    alias: dict[str, str] = {}
    for item in graph:
        inputs = [_resolve(ref, alias) for ref in item.inputs]
        if isinstance(item, node.KeyBy | node.Window):
            if inputs[0][1] != "main":
                raise GraphError(f"`{item.id}` reads a side output; select its columns first")
            alias[item.id] = inputs[0][0]
            continue
        if isinstance(item, node.COLUMN_NODES) and inputs[0][1] == "main":
            before = drafts[inputs[0][0]]
            if _fuses(graph, before, item):
                before.nodes.append(item)
                drafts[item.id] = before
                alias[item.id] = item.id
                continue
        draft = drafts[item.id] = _Draft([item], inputs)
        alias[item.id] = item.id
        if isinstance(item, node.Union):
            _take_in(graph, draft, item, drafts)
    return _finish(graph, drafts, alias)


def explain(graph: Graph) -> str:
    """Say how the graph will run: its stages, and how each aggregation keeps its state."""
    lines = []
    for stage in plan(graph).stages:
        lines.append(f"{stage.id}: {stage.label}")
        if len(stage.nodes) > 1:
            fused = "unions read as one" if isinstance(stage.nodes[-1], node.Union) else "steps fused into one query"
            lines.append(f"    {len(stage.nodes)} {fused}")
        last = stage.nodes[-1]
        if isinstance(last, node.Aggregate):
            edge = graph.edge(last.inputs[0])
            assert edge.window is not None
            lines.append(f"    window {edge.window.window}, keys: {listing(edge.keys)}")
            how = "two-phase" if _aggregation(graph, last, edge).two_phase else "buffered"
            lines.append(f"    {how}: state holds {holds(last, edge, graph.blobs)}")
    return "\n".join(lines)


def _resolve(ref: str, alias: dict[str, str]) -> tuple[str, str]:
    node_id, tag = split_ref(ref)
    return alias[node_id], tag


def _fuses(graph: Graph, before: _Draft, item: AnyNode) -> bool:
    last = before.nodes[-1]
    if not isinstance(last, node.COLUMN_NODES) or node.is_named(last):
        return False
    return len(graph.consumers(last.id)) == 1 and split_ref(item.inputs[0])[0] == last.id


def _take_in(graph: Graph, draft: _Draft, item: node.Union, drafts: dict[str, _Draft]) -> None:
    """Let a union read what unions read that only it reads: a chain of them would hand each row on again and again.

    One that meets itself again stays as it is, since ports that wait for one stage have to look at each other; and so
    does one of bounded input beside live input, since the order of its rows depends on nothing but them.
    """
    ports: list[tuple[str, str]] = []
    taken: dict[str, _Draft] = {}
    for source, tag in draft.inputs:
        inner = drafts[source]
        last = inner.nodes[-1]
        fits = isinstance(last, node.Union) and not node.is_named(last)
        fits = fits and graph.edges[last.id].bounded == graph.edges[item.id].bounded
        if fits and all(reader.id == item.id for reader, _, _ in graph.consumers(last.id)):
            ports += inner.inputs
            taken[source] = inner
        else:
            ports.append((source, tag))
    if len(set(ports)) < len(ports):
        return
    for inner in taken.values():
        draft.nodes[:0] = inner.nodes
        for each in inner.nodes:
            # It comes after what it reads.
            del drafts[each.id]
            drafts[each.id] = draft
    draft.inputs = ports


def _finish(graph: Graph, drafts: dict[str, _Draft], alias: dict[str, str]) -> Plan:
    unique = {id(draft): draft for draft in drafts.values()}.values()
    final_id = {id(draft): draft.nodes[-1].id for draft in unique}
    stage_of = {node_id: final_id[id(draft)] for node_id, draft in drafts.items()}
    stage_of |= {node_id: stage_of[target] for node_id, target in alias.items() if node_id not in stage_of}
    branches: dict[str, tuple[Split, ...]] = {}
    stages = []
    for draft in unique:
        stage_id = draft.nodes[-1].id
        inputs = tuple((stage_of[source], tag) for source, tag in draft.inputs)
        last = draft.nodes[-1]
        coming = _branches_in(inputs, branches)
        transparent = not isinstance(last, node.EventTime | node.Aggregate)
        branches[stage_id] = coming if transparent and not isinstance(last, node.Read) else (WHOLE,)
        stages.append(_stage(graph, stage_id, draft, inputs, coming, transparent))
    bounded = all(graph.edges[item.id].bounded for item in graph if isinstance(item, node.Read))
    return Plan(tuple(stages), stage_of, bounded)


def _branches_in(inputs: Sequence[tuple[str, str]], branches: dict[str, tuple[Split, ...]]) -> tuple[Split, ...]:
    if len(inputs) == 1:
        return branches[inputs[0][0]]
    return tuple((port, *branch) for port, (stage, _) in enumerate(inputs) for branch in branches[stage])


def _stage(
    graph: Graph,
    stage_id: str,
    draft: _Draft,
    inputs: tuple[tuple[str, str], ...],
    coming: tuple[Split, ...],
    transparent: bool,
) -> StagePlan:
    last = draft.nodes[-1]
    schema = graph.edges[last.id].schema
    nodes = tuple(draft.nodes)
    blobs = graph.blobs
    if isinstance(last, node.Read):
        quantum, idle, times = _time_below(graph, last)
        bounded = last.bounded
        read = last
        return StagePlan(
            stage_id,
            nodes,
            (),
            schema,
            source=lambda clock: make_source(
                read.source, read.options, blobs, clock=clock, schema=dtypes.from_json(read.schema)
            ),
            quantum=quantum or (None if not bounded else DEFAULT_QUANTUM if times else UNTIMED_QUANTUM),
            idle_timeout=idle,
            in_order=not times,
        )
    if isinstance(last, node.Write):
        write = last
        return StagePlan(
            stage_id,
            nodes,
            inputs,
            schema,
            sink=lambda clock: make_sink(write.sink, write.options, blobs, clock=clock),
            branches=coming,
        )
    return StagePlan(
        stage_id,
        nodes,
        inputs,
        schema,
        operator=_operator(graph, draft),
        transparent=transparent,
        branches=coming,
    )


def _operator(graph: Graph, draft: _Draft) -> Callable[[], Operator]:
    last = draft.nodes[-1]
    blobs = graph.blobs
    edge = graph.edge(last.inputs[0])
    match last:
        case node.EventTime():
            return lambda: AssignEventTime(last, edge.schema)
        case node.Aggregate():
            return lambda: _window_operator(graph, last, edge)
        case node.MapBatches(function=key, schema=schema):
            settings = tuple(_first(last).values())
            return lambda: MapBatches(blobs[key], dtypes.from_json(schema), settings)
        case node.Udf(udf=key) | node.Wasm(plugin=key):
            return lambda: guest(last, blobs[key])
        case node.Union():
            return Pass
        case _:
            nodes = tuple(draft.nodes)
            return lambda: Columns(nodes, blobs)


def guest(item: node.Udf | node.Wasm, blob: Any) -> Guest:
    """Return the operator of a node that runs a plugin or a compiled function, with this one or another."""
    if isinstance(item, node.Wasm):
        schema = dtypes.from_json(item.schema)
        return WasmStage(blob, columns=item.columns or (), output=item.output, on_error=item.on_error, schema=schema)
    mode: Literal["column", "filter"] = "column" if item.outputs or item.output else "filter"
    first = _first(item)
    settings = {slot: first[name] for slot, name in (item.settings or {}).items()}
    return UdfStage(
        blob, item.args, item.output, outputs=item.outputs, mode=mode, on_error=item.on_error, settings=settings
    )


def _first(item: AnyNode) -> dict[str, Setting]:
    """Return the values that a node's params begin with."""
    return {spec.name: spec.setting(spec.value) for spec in node.params_of(item)}


def _aggregation(graph: Graph, item: node.Aggregate, edge: Edge) -> Aggregation:
    assert edge.window is not None
    spec = edge.window.window
    spans_panes = isinstance(spec, Session | Cumulative) or (isinstance(spec, Hopping) and spec.size != spec.every)
    output = graph.edges[item.id].schema
    made = [
        PluginColumn(
            plugin.name,
            graph.blobs[plugin.plugin],
            tuple(arg.load(graph.blobs) for arg in plugin.args),
            edge.schema,
            output[plugin.name],
            plugin.merges,
            f"{RESERVED_PREFIX}w{number}_",
        )
        for number, plugin in enumerate(item.plugins)
    ]
    columns = aggregation(item, edge, graph.blobs)
    return Aggregation.of(edge.keys, columns, edge.schema, output, plugins=made, keep_order=spans_panes)


def _window_operator(graph: Graph, item: node.Aggregate, edge: Edge) -> Operator:
    agg = _aggregation(graph, item, edge)
    window, time = edge.window, edge.event_time
    assert window is not None
    late = graph.edges[item.id].sides.get("late")
    match window.window:
        case Count(n=n):
            return CountWindows(agg, n, time)
        case Session(gap=gap):
            assert time is not None
            assert late is not None
            us = gap.fixed_us("the gap")
            return Sessions(
                agg, us, time, allowed_lateness=window.allowed_lateness, early=window.early, late_schema=late
            )
        case spec:
            dtype = edge.schema[time.column] if time is not None else None
            zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
            return GridWindows(
                agg,
                grid_of(spec, zone),
                time,
                allowed_lateness=window.allowed_lateness,
                early=window.early,
                late_schema=late,
            )


def _time_below(graph: Graph, read: node.Read) -> tuple[int | None, int | None, bool]:
    """Return what the event times below a source ask for: its quantum, its idle timeout; and whether there are any."""
    found = [item for item in _below(graph, read.id) if isinstance(item, node.EventTime)]
    quanta = [item.watermark_every for item in found if item.watermark_every is not None]
    idles = [item.idle_timeout for item in found if item.idle_timeout is not None]
    return min(quanta, default=None), min(idles, default=None), bool(found)


def _below(graph: Graph, node_id: str) -> Iterable[AnyNode]:
    waiting, seen = [node_id], {node_id}
    while waiting:
        for consumer, _, _ in graph.consumers(waiting.pop()):
            if consumer.id in seen:
                continue
            seen.add(consumer.id)
            yield consumer
            if not isinstance(consumer, node.EventTime):
                waiting.append(consumer.id)


def _check_complete(graph: Graph) -> None:
    if not len(graph):
        raise BadOption("there is nothing to run")
    for node_id in graph.outputs():
        edge = graph.edges[node_id]
        if edge.window is not None:
            raise GraphError(
                f"`{node_id}` ends in the window {edge.window.window} without an aggregation; add .agg(...)"
            )
