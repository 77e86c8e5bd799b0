"""What happened between two readings, as the numbers and words of a frame."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..runtime.channel import ChannelStats
from ..runtime.journal import LogLine
from ..runtime.outline import Outline, Pipe
from ..runtime.probe import NodeReading, Reading
from .verdict import Load, Queue, Verdict, verdict

NODE = (
    "rows_in",
    "rows_out",
    "rows_per_s",
    "busy",
    "backpressured",
    "idle",
    "batch_rows",
    "p50_ms",
    "p99_ms",
    "lag_ms",
    "late",
    "invalid",
    "held",
    "in_flight",
    "errors",
    "instances",
)
EDGE = ("rows", "fill", "capacity", "refused")
OF_CLUSTER = (
    *("rows_in", "rows_out", "rows_per_s", "busy", "backpressured", "idle", "lag_ms", "late", "invalid", "held"),
    "instances",
)
"""What is known of a vertex of a cluster. Of its queues it is how full they are."""
ENDED = ("finished", "failed", "stopped", "detached")
UNEXPECTED = (Exception, pl.exceptions.PanicException)
"""What may come of looking at any rows. A panic of Polars is no Exception."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a job: numbers by stage and by pipe in the order of the outline, and what goes with them."""

    elapsed: float
    status: str
    nodes: tuple[tuple[float, ...], ...]
    edges: tuple[tuple[float, ...], ...]
    verdict: Verdict
    totals: dict[str, float | int | None]
    log: tuple[LogLine, ...]
    remote: bool = False
    """Whether it is of a job on a cluster, of which other things are known."""

    @property
    def fields(self) -> dict[str, list[str]]:
        """Return the columns of stages and of pipes that are known."""
        return fields(remote=self.remote)

    def numbers(self) -> bytes:
        """Return all numbers as little-endian doubles, stages first."""
        flat = [value for rows in self._tables().values() for row in rows for value in row]
        return struct.pack(f"<{len(flat)}d", *flat)

    def words(self) -> dict[str, Any]:
        """Return what stands beside the numbers."""
        said = {"node": self.verdict.node, "words": self.verdict.words}
        return {"elapsed": self.elapsed, "verdict": said, "totals": self.totals}

    def log_after(self, n: int) -> list[dict[str, Any]]:
        """Return the lines after the one with this number."""
        return [{"n": x.n, "at": x.at, "level": x.level, "text": x.text} for x in self.log if x.n > n]

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON holds it: what is not known is null."""
        tables = {
            name: [[None if math.isnan(value) else value for value in row] for row in rows]
            for name, rows in self._tables().items()
        }
        return {**tables, **self.words(), "log": self.log_after(-1)}

    def _tables(self) -> dict[str, list[tuple[float, ...]]]:
        tables = {"node": (NODE, self.nodes), "edge": (EDGE, self.edges)}
        shown = self.fields
        places = {name: [columns.index(each) for each in shown[name]] for name, (columns, _) in tables.items()}
        return {name: [tuple(row[at] for at in places[name]) for row in rows] for name, (_, rows) in tables.items()}


def fields(*, remote: bool) -> dict[str, list[str]]:
    """Return the columns that are known of stages and of pipes, of a job here or on a cluster."""
    if remote:
        return {"node": list(OF_CLUSTER), "edge": ["fill"]}
    return {"node": [name for name in NODE if name != "instances"], "edge": list(EDGE)}


def frame(outline: Outline, before: Reading | None, now: Reading) -> Frame:
    """Return what the job did since `before`; since its start without one, or when no time has gone by."""
    pairs = [(before.nodes[stage.id] if before else None, now.nodes[stage.id]) for stage in outline.stages]
    since = before.elapsed if before is not None else 0.0
    if before is None or now.elapsed <= since:
        pairs, since = [(None, item) for _, item in pairs], 0.0
    seconds = now.elapsed - since
    nodes = [_node(item, old, since, now.elapsed, seconds) for old, item in pairs]
    channels = [now.channels[_key(outline, pipe)] for pipe in outline.pipes]
    return Frame(
        now.elapsed,
        now.status,
        tuple(nodes),
        tuple((stats.rows, min(1.0, stats.fill), stats.capacity_rows, stats.refused) for stats in channels),
        _judged(outline, nodes, channels, now),
        _totals(outline, nodes, now),
        now.log,
        now.totals is not None,
    )


def _key(outline: Outline, pipe: Pipe) -> tuple[str, str, int]:
    return outline.stages[pipe.sender].id, outline.stages[pipe.receiver].id, pipe.port


def _node(item: NodeReading, old: NodeReading | None, since: float, until: float, seconds: float) -> tuple[float, ...]:
    rows = item.rows_out - (old.rows_out if old is not None else 0)
    rate = max(0.0, rows / seconds) if seconds > 0 else 0.0
    shares = _shares(item, old, since, until)
    if (lately := item.lately) is not None:
        rate, shares = lately.rows_per_s, (lately.busy, lately.backpressured, lately.idle)
    return (
        _counted(_rows_in(item)),
        _counted(item.rows_out),
        rate,
        *shares,
        item.batch_rows,
        item.latency_p50 * 1e3 if item.latency_p50 is not None else math.nan,
        item.latency_p99 * 1e3 if item.latency_p99 is not None else math.nan,
        item.lag_us / 1e3 if item.lag_us is not None else math.nan,
        item.sides.get("late", 0),
        item.sides.get("invalid", 0),
        _counted(item.held),
        item.in_flight,
        sum(count for name, count in item.counters.items() if name.rpartition("/")[2] == "errors"),
        item.instances,
    )


def _counted(rows: int) -> float:
    """Return a number of rows, NaN where nobody counts them."""
    return rows if rows >= 0 else math.nan


def _rows_in(item: NodeReading) -> int:
    """Return the rows that came in; of a source those that it read."""
    if item.lately is not None:
        # Of a vertex of a cluster, which may have more in it than a source.
        return item.rows_in
    return item.rows_out + sum(item.sides.values()) if item.kind == "source" else item.rows_in


def _shares(item: NodeReading, old: NodeReading | None, since: float, until: float) -> tuple[float, float, float]:
    """Return the parts of the time between that the stage was busy, backpressured and idle. They sum to 1."""
    spent = [
        max(0.0, share * until - (before * since))
        for share, before in (
            (item.busy, old.busy if old is not None else 0.0),
            (item.backpressured, old.backpressured if old is not None else 0.0),
            (item.idle, old.idle if old is not None else 0.0),
        )
    ]
    total = sum(spent)
    if total <= 0.0:
        return 0.0, 0.0, 1.0
    busy, backpressured = spent[0] / total, spent[1] / total
    return busy, backpressured, max(0.0, 1.0 - busy - backpressured)


def _judged(
    outline: Outline, nodes: Sequence[tuple[float, ...]], channels: Sequence[ChannelStats], now: Reading
) -> Verdict:
    if now.says:
        return Verdict(None, now.says)
    lately = [item.lately for item in now.nodes.values() if item.kind == "source" and item.lately is not None]
    if now.status not in ENDED and any(math.isnan(each.rows_per_s) for each in lately):
        return Verdict(None, "no speed is known yet: workers tell what they have counted every few seconds")
    read = sum(max(0, _rows_in(item)) for item in now.nodes.values() if item.kind == "source")
    if now.status in ENDED:
        return Verdict(None, f"{now.status}: {read:,} rows were read")
    if now.status == "paused" and not any(item.in_flight for item in now.nodes.values()):
        return Verdict(None, "paused: no more is read, and all that was under way is through")
    loads = [
        Load(stage.label, values[3], values[4], values[2], source=now.nodes[stage.id].kind == "source")
        for stage, values in zip(outline.stages, nodes, strict=True)
    ]
    queues = [Queue(p.sender, p.receiver, stats.fill) for p, stats in zip(outline.pipes, channels, strict=True)]
    return verdict(loads, queues, now.workers)


def _totals(outline: Outline, nodes: Sequence[tuple[float, ...]], now: Reading) -> dict[str, float | int | None]:
    kinds = [now.nodes[stage.id].kind for stage in outline.stages]
    reading = [values for values, kind in zip(nodes, kinds, strict=True) if kind == "source"]
    writing = [values for values, kind in zip(nodes, kinds, strict=True) if kind == "sink"]
    totals = {
        "rows_in": _known(values[0] for values in reading),
        "rows_out": _known(values[1] for values in writing),
        "rows_per_s": _known(values[2] for values in reading),
        "late": _known(values[10] for values in nodes),
        "invalid": _known(values[11] for values in nodes),
        "progress": now.progress,
    }
    return totals | (dict(now.totals) if now.totals is not None else {"memory": _resident_bytes()})


def _known(values: Iterable[float]) -> float | None:
    """Return the sum, None where a part of it is not known."""
    total = sum(values)
    return None if math.isnan(total) else total


def _resident_bytes() -> int | None:
    """Return the memory that this process takes, None where nobody says."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError, AttributeError):
        return None
