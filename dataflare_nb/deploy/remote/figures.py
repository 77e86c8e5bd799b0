"""The names of what workers count, among the metrics of a Flink vertex."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COUNTS = ("rows", "rows_in", "rows_out", "late", "invalid", "held", "released", "in_flight")
TIMES = ("watermark", "newest")
"""Event times in microseconds: how far a stage has come, and the newest that it has seen."""
_OURS = frozenset((*COUNTS, *TIMES))
BUSY, IDLE, BACKPRESSURED = "busyTimeMsPerSecond", "idleTimeMsPerSecond", "backPressuredTimeMsPerSecond"
FILL = "Shuffle.Netty.Input.Buffers.inPoolUsage"
RECORDS_IN, RECORDS_OUT = "numRecordsIn", "numRecordsOut"
FLINKS = (BUSY, IDLE, BACKPRESSURED, FILL, RECORDS_IN, RECORDS_OUT)
MOST = 512
"""Metrics of ours that a vertex is asked for, 30 of a stage at most."""


def ours(vertex: str, metrics: Iterable[str]) -> list[str]:
    """Return those metrics of a vertex that our workers publish: `<operator>.rows`, `<operator>.<stage>.late` ..."""
    operator = plain(vertex) + "."
    found = [each for each in metrics if each.startswith(operator) and each.rpartition(".")[2] in _OURS]
    return sorted(found)[:MOST]


def plain(name: str) -> str:
    """Return a name as Flink writes it in those of metrics."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


class Figures:
    """What a vertex has counted: sums over its instances, and for times the least (watermark) or newest."""

    def __init__(self, vertex: str, stages: Sequence[str], told: Iterable[Mapping[str, Any]]) -> None:
        self.shares: dict[str, float] = {}
        """Milliseconds per second in each state, over all instances on average."""
        self.busiest = math.nan
        self.records: dict[str, float] = {}
        self._vertex: dict[str, float] = {}
        # By stage and what is told of it.
        self.stages: dict[tuple[str, str], float] = {}
        operator = plain(vertex) + "."
        known = {plain(stage): stage for stage in stages}
        for each in told:
            name = str(each.get("id", ""))
            if name in (RECORDS_IN, RECORDS_OUT):
                self.records[name] = number(each.get("sum"))
            elif name in FLINKS:
                self.shares[name] = number(each.get("avg"))
                if name == BUSY:
                    self.busiest = number(each.get("max")) / 1e3
            elif name.startswith(operator):
                path, _, what = name.removeprefix(operator).rpartition(".")
                value = number(each.get("min" if what == "watermark" else "max" if what == "newest" else "sum"))
                stage = known.get(path.rpartition(".")[2]) if path else None
                if stage is not None:
                    self.stages[stage, what] = value
                elif not path:
                    self._vertex[what] = value

    def give(self, others: Mapping[str, Figures]) -> None:
        """Give what this vertex has counted for stages of others to theirs: rows that a window found late before it."""
        for (stage, what), value in list(self.stages.items()):
            theirs = others.get(stage, self)
            if theirs is not self:
                del self.stages[stage, what]
                theirs.stages[stage, what] = theirs.stages.get((stage, what), 0.0) + value

    def of_vertex(self, what: str) -> float:
        """Return a figure of the vertex, NaN if nobody tells it."""
        return self._vertex.get(what, math.nan)

    def of_stage(self, stage: str, what: str) -> float:
        """Return a figure of a stage, NaN if nobody tells it."""
        return self.stages.get((stage, what), math.nan)


def number(value: Any) -> float:
    """Return a number of Flink's, which writes some as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
