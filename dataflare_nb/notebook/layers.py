"""Where the stages of a graph stand in a drawing: in layers from left to right, folded when there are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = 5
"""Layers side by side; more go on below, in a band of their own."""
_SWEEPS = 8
_GAP = 0.45


@dataclass(frozen=True, slots=True)
class Place:
    """Column and row on a grid; rows may be halves. `band` counts the folds above, `gap` is the row right above."""

    column: int
    row: float
    band: int
    gap: float


def placed(stages: int, edges: Sequence[tuple[int, int]]) -> tuple[list[Place], int, float]:
    """Return the place of each stage, and how many columns and rows there are. Stages are in topological order."""
    order = _ordered(_layers(stages, edges), edges)
    places: dict[int, Place] = {}
    top = -_GAP
    for band, first in enumerate(range(0, len(order), COLUMNS)):
        columns = order[first : first + COLUMNS]
        top += _GAP
        tall = max(len(column) for column in columns)
        for number, column in enumerate(columns):
            above = top + (tall - len(column)) / 2
            for row, stage in enumerate(column):
                if stage is not None:
                    places[stage] = Place(number, above + row, band, top - _GAP / 2)
        top += tall
    return [places[stage] for stage in range(stages)], min(COLUMNS, len(order)), top


def _layers(stages: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each stage the length of the longest way to it; sources move up to what they feed."""
    layer = [0] * stages
    for place in range(stages):
        layer[place] = max((layer[sender] + 1 for sender, receiver in edges if receiver == place), default=0)
    fed = {receiver for _, receiver in edges}
    for place in range(stages):
        after = [layer[receiver] for sender, receiver in edges if sender == place]
        if place not in fed and after:
            layer[place] = min(after) - 1
    return layer


def _ordered(layer: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int | None]]:
    """Order each layer so that few edges cross. None holds the place of an edge that passes through."""
    depth = max(layer, default=0) + 1
    columns: list[list[int]] = [[] for _ in range(depth)]
    for place, at in enumerate(layer):
        columns[at].append(place)
    # Points that edges pass through are numbered on from the stages.
    links: list[tuple[int, int]] = []
    points = len(layer)
    for sender, receiver in edges:
        before = sender
        for at in range(layer[sender] + 1, layer[receiver]):
            columns[at].append(points)
            links.append((before, points))
            before, points = points, points + 1
        links.append((before, receiver))
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for at in range(1, depth) if down else range(depth - 2, -1, -1):
            beside = columns[at - 1] if down else columns[at + 1]
            height = {point: number - len(beside) / 2 for number, point in enumerate(beside)}
            middle = {point: _middle(point, links, height, down=down) for point in columns[at]}
            columns[at].sort(key=middle.__getitem__)
    return [[point if point < len(layer) else None for point in column] for column in columns]


def _middle(point: int, links: Sequence[tuple[int, int]], height: dict[int, float], *, down: bool) -> float:
    ends = [(a if down else b) for a, b in links if (b if down else a) == point]
    heights = [height[end] for end in ends if end in height]
    return sum(heights) / len(heights) if heights else 0.0
