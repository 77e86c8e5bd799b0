"""The edge that leaves each node, known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import dtypes
from ..errors import BadOption, BadWindow, GraphFormat, UnknownColumn, WrongType, listing, nearest
from . import node
from .aggregation import aggregate
from .asking import at, refuse_patterns
from .columns import column_step
from .functions import map_batches, udf, wasm
from .schema import Edge
from .windowing import event_time, key_by, window

MOST_WAYS = 1_024
"""How many streams can be put together. Each is a way of its own, which has its place in the order of the result."""


def edge_of(item: node.AnyNode, inputs: Sequence[Edge], blobs: Mapping[str, Any]) -> Edge:
    """Return the edge that leaves a node, or raise the GraphError that says why it cannot be."""
    _check_inputs(item)
    edge = _edge_of(item, inputs, blobs)
    refuse_patterns(item, edge.schema)
    return edge


def _edge_of(item: node.AnyNode, inputs: Sequence[Edge], blobs: Mapping[str, Any]) -> Edge:
    match item:
        case node.Read():
            sides = {"invalid": dtypes.from_json(item.invalid_schema)} if item.invalid_schema else {}
            return Edge(dtypes.from_json(item.schema), bounded=item.bounded, sides=sides)
        case node.Union():
            return _union(item, inputs)
        case node.Write():
            return _closed(item, inputs[0])
        case node.EventTime():
            return event_time(item, inputs[0])
        case node.KeyBy():
            return key_by(item, inputs[0])
        case node.Window():
            return window(item, inputs[0])
        case node.Aggregate():
            return aggregate(item, inputs[0], blobs)
        case node.MapBatches():
            return map_batches(item, inputs[0])
        case node.Wasm():
            return wasm(item, inputs[0])
        case node.Udf():
            return udf(item, inputs[0], blobs)
        case _:
            return column_step(item, inputs[0], blobs)


def _check_inputs(item: node.AnyNode) -> None:
    found = len(item.inputs)
    match item:
        case node.Read():
            fits, wanted = found == 0, "none"
        case node.Union():
            fits, wanted = found >= 2, "two or more"
        case _:
            fits, wanted = found == 1, "one"
    if not fits:
        raise GraphFormat(f"{at(item)} has {found} inputs; it takes {wanted}")


def _union(item: node.Union, inputs: Sequence[Edge]) -> Edge:
    first = inputs[0]
    for number, other in enumerate(inputs[1:], start=2):
        if other.schema == first.schema:
            continue
        for name in first.schema:
            if name not in other.schema:
                raise UnknownColumn(
                    f"{at(item)}: input {number} has no `{name}`; it has {listing(other.schema)}."
                    + nearest(name, other.schema)
                )
            if other.schema[name] != first.schema[name]:
                raise WrongType(
                    f"{at(item)}: `{name}` is {first.schema[name]} in input 1 and {other.schema[name]} in input "
                    f"{number}. Cast one of them first"
                )
        extra = [name for name in other.schema if name not in first.schema]
        if extra:
            raise UnknownColumn(f"{at(item)}: input {number} has {listing(extra)}, which input 1 has not")
        raise WrongType(f"{at(item)}: input {number} has the same columns in another order; select them in one order")
    times = {edge.event_time for edge in inputs}
    time = first.event_time if len(times) == 1 else None
    lost = "" if time or times == {None} else f"the inputs of {at(item)} do not agree on the event time"
    keys = first.keys if all(edge.keys == first.keys for edge in inputs) else ()
    ways = sum(edge.ways for edge in inputs)
    if ways > MOST_WAYS:
        raise BadOption(
            f"{at(item)} puts {ways:,} streams together, each counted as often as it comes; the most is {MOST_WAYS:,}. "
            "Read many files by one glob and many frames by flare.from_frames([...])"
        )
    return Edge(first.schema, all(e.bounded for e in inputs), time, lost or first.time_lost, keys, ways=ways)


def _closed(item: node.AnyNode, edge: Edge) -> Edge:
    if edge.window is not None:
        raise BadWindow(
            f"{at(item)}: a window without an aggregation; add .agg(...) after .window({edge.window.window})"
        )
    return replace(edge, sides={})
