"""The schema of an edge, and what is known of time, keys and windows along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import listing
from ..types import Schema
from . import node


@dataclass(frozen=True, slots=True)
class TimeRef:
    """Where event time is: a column of `Datetime("us")`, and microseconds to add to it."""

    column: str
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows out of a node: its columns and what is known of time, keys and windows.

    `ways` is how many streams were put together in it, each counted as often as it comes.
    """

    schema: Schema
    bounded: bool = True
    event_time: TimeRef | None = None
    time_lost: str = ""
    keys: tuple[str, ...] = ()
    keys_lost: str = ""
    window: node.Window | None = None
    sides: Mapping[str, Schema] = field(default_factory=dict)
    ways: int = 1

    def side(self, tag: str) -> Edge:
        """Return the edge of a side output."""
        return Edge(self.sides[tag], bounded=self.bounded, ways=self.ways)


def carry(edge: Edge, schema: Schema, kept: Mapping[str, str], at: str) -> Edge:
    """Follow event time and keys through a step that keeps the columns `kept` (old name to new)."""
    time, time_lost = edge.event_time, edge.time_lost
    if time is not None:
        if time.column in kept:
            time = replace(time, column=kept[time.column])
        else:
            time_lost, time = f"`{time.column}`, the event time, was dropped or overwritten by {at}", None
    keys, keys_lost = edge.keys, edge.keys_lost
    if any(key not in kept for key in keys):
        keys_lost, keys = f"the key {listing(keys)} was dropped or overwritten by {at}", ()
    return Edge(
        schema,
        bounded=edge.bounded,
        event_time=time,
        time_lost=time_lost,
        keys=tuple(kept[key] for key in keys),
        keys_lost=keys_lost,
        window=edge.window,
        ways=edge.ways,
    )
