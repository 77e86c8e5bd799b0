"""Look at a job on a cluster: a few requests, as many as the job has vertices, whatever its parallelism."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .figures import BACKPRESSURED, BUSY, FILL, FLINKS, IDLE, Figures, number, ours
from .rest import Rest
from .sketch import Match, Sketch

ENDED = {"FINISHED": "finished", "CANCELED": "stopped", "FAILED": "failed"}
STATUS = {
    "INITIALIZING": "starting",
    "CREATED": "starting",
    "RECONCILING": "restarting",
    "RUNNING": "running",
    "RESTARTING": "restarting",
    "FAILING": "restarting",
    "SUSPENDED": "restarting",
    "CANCELLING": "stopping",
    **ENDED,
}
_BEFORE_RUNNING = ("CREATED", "SCHEDULED", "DEPLOYING", "INITIALIZING")
_RELIST = 4
"""Looks after which a vertex that told nothing of ours is asked for its metrics again."""


_LONGEST = 3_000


@dataclass(frozen=True, slots=True)
class Vitals:
    """A vertex at one moment. Shares are those of the last seconds, NaN if not told yet; `spent` is in seconds."""

    parallelism: int
    running: int
    busy: float
    backpressured: float
    idle: float
    busiest: float
    fill: float
    spent: Mapping[str, float]
    figures: Figures


ABSENT = Vitals(
    0, 0, *(math.nan,) * 5, spent={"busy": 0.0, "backpressured": 0.0, "idle": 0.0}, figures=Figures("", (), ())
)
"""A vertex that nothing is known of."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How checkpoints went. Times are milliseconds since 1970."""

    completed: int = 0
    failed: int = 0
    running: int = 0
    restored: int = 0
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """A job at one moment. Times are seconds."""

    status: str
    started: float
    elapsed: float
    vertices: Mapping[str, Vitals]
    checkpoints: Checkpoints
    restarts: int
    instances: tuple[int, int]
    """How many run, and of how many."""


class Looker:
    """Looks at one job, and remembers what its metrics are called."""

    def __init__(self, rest: Rest, job: str, sketch: Sketch) -> None:
        self._rest = rest
        self._job = f"/jobs/{job}"
        self._sketch = sketch
        self._match: Match | None = None
        self._names: dict[str, list[str]] = {}
        self._looks = 0

    def look(self) -> Look:
        """Ask the cluster. Raises ClusterError."""
        told = self._rest.get(self._job)
        if self._match is None:
            self._match = Match.of(self._sketch, told)
        self._looks += 1
        checkpoints = _checkpoints(self._rest.get(f"{self._job}/checkpoints"))
        restarts = self._rest.get(f"{self._job}/metrics?get=numRestarts")
        known = {each["id"]: each for each in told["vertices"]}
        vertices = {
            name: self._vitals(name, known[vertex]) for name, vertex in self._match.ids.items() if vertex in known
        }
        figures = {
            part.id: vertices[name].figures
            for name, parts in self._sketch.parts.items()
            if name in vertices
            for part in parts
        }
        for vitals in vertices.values():
            vitals.figures.give(figures)
        tasks = [each["tasks"] for each in told["vertices"]]
        failures = int(next((number(each.get("value")) for each in restarts), 0) or 0)
        status = STATUS.get(told["state"], "running")
        if status == "running" and any(each.get(state) for each in tasks for state in _BEFORE_RUNNING):
            # Flink says that a job runs as soon as it looks for slots.
            status = "restarting" if failures else "starting"
        return Look(
            status,
            told["start-time"] / 1e3,
            max(0.0, told["duration"] / 1e3),
            vertices,
            checkpoints,
            failures,
            (sum(each.get("RUNNING", 0) for each in tasks), sum(each["parallelism"] for each in told["vertices"])),
        )

    def _vitals(self, name: str, told: Mapping[str, Any]) -> Vitals:
        stages = [part.id for parts in self._sketch.parts.values() for part in parts]
        figures = Figures(name, stages, self._metrics(name, told["id"]))
        busy, backpressured, idle = (figures.shares.get(each, math.nan) / 1e3 for each in (BUSY, BACKPRESSURED, IDLE))
        metrics = told.get("metrics") or {}
        spent = {
            what: max(0.0, number(metrics.get(f"accumulated-{key}-time")) / 1e3)
            for what, key in (("busy", "busy"), ("backpressured", "backpressured"), ("idle", "idle"))
        }
        return Vitals(
            told["parallelism"],
            (told.get("tasks") or {}).get("RUNNING", 0),
            busy,
            backpressured,
            idle,
            figures.busiest,
            figures.shares.get(FILL, math.nan),
            {what: 0.0 if math.isnan(seconds) else seconds for what, seconds in spent.items()},
            figures,
        )

    def _metrics(self, name: str, vertex: str) -> Sequence[Mapping[str, Any]]:
        """Return the metrics of a vertex over all of its instances, as the JobManager sums them up."""
        place = f"{self._job}/vertices/{vertex}/subtasks/metrics"
        known = self._names.get(name)
        if known is None or (not known and self._looks % _RELIST == 0):
            listed = [str(each["id"]) for each in self._rest.get(place)]
            if not listed:
                return ()
            # Without a function of ours, as in a sink of Flink's, there is nothing to look for again.
            known = self._names[name] = ours(name, listed)
        found: list[Mapping[str, Any]] = []
        for asked in _lines([quote(each, safe="") for each in (*FLINKS, *known)]):
            found += self._rest.get(f"{place}?get={asked}&agg=sum,avg,min,max")
        return found

    def forget(self) -> None:
        """Ask for the names of metrics again, as after a restart."""
        self._names.clear()


def _lines(names: Sequence[str]) -> Iterator[str]:
    """Join names to lists that are short enough for the first line of a request, of which Flink reads 4,096 bytes."""
    line = ""
    for name in names:
        if line and len(line) + len(name) > _LONGEST:
            yield line
            line = ""
        line = f"{line},{name}" if line else name
    yield line


def _checkpoints(told: Mapping[str, Any]) -> Checkpoints:
    counts = told.get("counts") or {}
    return Checkpoints(
        counts.get("completed", 0),
        counts.get("failed", 0),
        counts.get("in_progress", 0),
        counts.get("restored", 0),
        tuple(told.get("history") or ()),
    )
