"""What others may see of a running job: frozen readings, nothing to hold on to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from ..parameters import Value, written
from ..types import EventTime
from .channel import ChannelStats
from .journal import LogLine

PLUGIN_COUNTS = ("calls", "rows_in", "rows_out", "us", "memory_peak", "errors")
"""What is counted of each plugin of a stage, by names such as `geohash/calls`."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A version of a plugin or compiled function that took over from another in a running stage.

    `row` is the first row of the stage's input that the new one was given, counted from 0.
    """

    stage: str
    before: str
    after: str
    row: int
    at: EventTime


@dataclass(frozen=True, slots=True)
class Change:
    """A param that a running stage has with another value. `row` is the first row of its input that felt it."""

    param: str
    stage: str
    row: int
    old: Value
    new: Value
    at: EventTime


@dataclass(frozen=True, slots=True)
class Lately:
    """What a probe itself knows of the last seconds: rows out per second, NaN if unknown, and shares of time."""

    rows_per_s: float
    busy: float
    backpressured: float
    idle: float


@dataclass(frozen=True, slots=True)
class NodeReading:
    """One stage. Rows and bytes since the start, -1 where nobody counts them; `busy`, `idle` and `backpressured` sum to
    1; latency in seconds, from the poll of a batch to the end of the stage; event times in microseconds, None when not
    known."""

    id: str
    kind: str
    label: str
    rows_in: int
    rows_out: int
    bytes_in: int
    bytes_out: int
    batches_in: int
    batches_out: int
    batch_rows: int
    busy: float
    idle: float
    backpressured: float
    latency_p50: float | None
    latency_p99: float | None
    watermark: EventTime | None
    lag_us: int | None
    sides: Mapping[str, int]
    in_flight: int
    held: int
    released: int
    exact: bool
    """Every row that goes in comes out, or goes to a side output."""
    stateful: bool
    counters: Mapping[str, int] = field(default_factory=dict)
    swaps: tuple[Swap, ...] = ()
    changes: tuple[Change, ...] = ()
    lately: Lately | None = None
    """Without it, the last seconds are what two readings differ by."""
    instances: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole job at one moment. `at` is processing time; `elapsed` counts seconds since the start."""

    at: EventTime
    elapsed: float
    status: str
    nodes: Mapping[str, NodeReading]
    channels: Mapping[tuple[str, str, int], ChannelStats]
    """By sender, receiver and port."""
    batch_rows: int
    """Rows that the next poll will ask for."""
    progress: float | None = None
    whole: bool = False
    """All of a bounded input is through, so every number of rows is the same in each run."""
    workers: int = 1
    log: tuple[LogLine, ...] = ()
    """The newest lines of the job's log, the oldest first."""
    says: str = ""
    """What to say of the job where nothing can be said of its speed."""
    totals: Mapping[str, float] | None = None
    """More that is told of the job as a whole, by name."""


@dataclass(frozen=True)
class Sample:
    """One point of a job's history: seconds since the start, and per stage rows out, seconds in each state and lag."""

    elapsed: float
    rows_out: Mapping[str, int]
    spent: Mapping[str, Mapping[str, float]]
    lag_us: Mapping[str, int | None]


class Probe(Protocol):
    """All that displays and exporters ever touch."""

    @property
    def history(self) -> Sequence[Sample]: ...
    def read(self) -> Reading: ...


def ledger(reading: Reading) -> pl.DataFrame:
    """Return for each stage where its rows are.

    `in + created = out + filtered + aggregated + late + invalid + in_flight + held`, and `balanced` says whether that
    holds. What a windowed aggregation has let go of is counted by its state, not derived, and a stage that must not
    lose or make rows is not balanced when it does. `in` of a source is what it has read. `swapped_at` is the first
    row of its input that the present version of a stage was given, null if the job began with that.
    """
    rows = [(*_entry(node), node.swaps[-1].row if node.swaps else None) for node in reading.nodes.values()]
    counts = ("in", "created", "out", "filtered", "aggregated", "late", "invalid", "in_flight", "held")
    schema = {"stage": pl.String, **dict.fromkeys(counts, pl.Int64), "balanced": pl.Boolean, "swapped_at": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _entry(node: NodeReading) -> tuple[str | int | bool, ...]:
    late, invalid = node.sides.get("late", 0), node.sides.get("invalid", 0)
    aside = sum(node.sides.values())
    known = node.in_flight + node.held
    if node.kind == "source":
        return (node.id, node.rows_out + aside, 0, node.rows_out, 0, 0, late, invalid, 0, 0, True)
    if node.kind == "sink":
        balanced = node.rows_in == node.rows_out + known
        return (node.id, node.rows_in, 0, node.rows_out, 0, 0, 0, 0, node.in_flight, node.held, balanced)
    if node.stateful:
        balanced = node.rows_in == node.released + aside + known
        out = (node.rows_in, node.rows_out, node.rows_out, 0, node.released, late, invalid, node.in_flight, node.held)
        return (node.id, *out, balanced)
    done = node.rows_in - known - aside
    filtered, created = max(0, done - node.rows_out), max(0, node.rows_out - done)
    balanced = not (node.exact and (filtered or created))
    out = (node.rows_in, created, node.rows_out, filtered, 0, late, invalid, node.in_flight, node.held)
    return (node.id, *out, balanced)


def metrics(reading: Reading) -> pl.DataFrame:
    """Return one row per stage: rows, shares of time, queue, latency, watermark."""
    rows = []
    for node in reading.nodes.values():
        queues = [stats for (_, receiver, _), stats in reading.channels.items() if receiver == node.id]
        rows.append(
            {
                "stage": node.id,
                "kind": node.kind,
                "rows_in": node.rows_in,
                "rows_out": node.rows_out,
                "bytes_in": node.bytes_in,
                "bytes_out": node.bytes_out,
                "rows_per_s": node.rows_out / reading.elapsed if reading.elapsed else 0.0,
                "busy": node.busy,
                "idle": node.idle,
                "backpressured": node.backpressured,
                "queue_rows": sum(stats.rows for stats in queues),
                "queue_fill": max((stats.fill for stats in queues), default=0.0),
                "refused": sum(stats.refused for stats in queues),
                "batch_rows": node.batch_rows,
                "p50_ms": node.latency_p50 * 1e3 if node.latency_p50 is not None else None,
                "p99_ms": node.latency_p99 * 1e3 if node.latency_p99 is not None else None,
                "watermark": node.watermark,
                "lag_ms": node.lag_us / 1e3 if node.lag_us is not None else None,
                "late": node.sides.get("late", 0),
                "invalid": node.sides.get("invalid", 0),
                "held": node.held,
            }
        )
    floats = ("rows_per_s", "busy", "idle", "backpressured", "queue_fill", "p50_ms", "p99_ms", "lag_ms")
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        name: pl.Float64 if name in floats else pl.Int64 for name in (rows[0] if rows else ())
    }
    schema |= {"stage": pl.String(), "kind": pl.String(), "watermark": pl.Datetime("us")} if rows else {}
    return pl.DataFrame(rows, schema=schema)


def plugins(reading: Reading) -> pl.DataFrame:
    """Return one row per stage and plugin: what it did, from the counters `plugin/calls` and so on.

    `memory_peak` is in bytes, of the largest instance.
    """
    schema = {"stage": pl.String, "plugin": pl.String, **dict.fromkeys(PLUGIN_COUNTS, pl.Int64)}
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for node in reading.nodes.values():
        for counter, value in node.counters.items():
            plugin, slash, what = counter.rpartition("/")
            if slash and what in PLUGIN_COUNTS:
                rows.setdefault((node.id, plugin), {})[what] = value
    table = [
        (stage, plugin, *(counts.get(what, 0) for what in PLUGIN_COUNTS)) for (stage, plugin), counts in rows.items()
    ]
    frame = pl.DataFrame(table, schema=schema, orient="row")
    return frame.with_columns(seconds=pl.col("us") / 1e6).drop("us")


def log(reading: Reading) -> pl.DataFrame:
    """Return one row for each line of the log that is kept."""
    schema = {"n": pl.Int64, "seconds": pl.Float64, "level": pl.String, "text": pl.String}
    return pl.DataFrame([(line.n, line.at, line.level, line.text) for line in reading.log], schema=schema, orient="row")


def swaps(reading: Reading) -> pl.DataFrame:
    """Return one row for each version that took over from another, in the order in which they did."""
    texts = dict.fromkeys(("stage", "before", "after"), pl.String())
    schema = pl.Schema({**texts, "row": pl.Int64(), "at": pl.Datetime("us")})
    found = [swap for node in reading.nodes.values() for swap in node.swaps]
    rows = [(swap.stage, swap.before, swap.after, swap.row, swap.at) for swap in found]
    return pl.DataFrame(rows, schema=schema, orient="row").sort("at", maintain_order=True)


def changes(reading: Reading) -> pl.DataFrame:
    """Return one row for each change of a param in a stage, in the order in which they took effect.

    The values are text, since one param is a number and the next a word.
    """
    texts, schema = dict.fromkeys(("old", "new"), pl.String()), {"param": pl.String(), "stage": pl.String()}
    found = [change for node in reading.nodes.values() for change in node.changes]
    rows = [(c.param, c.stage, c.row, written(c.old), written(c.new), c.at) for c in found]
    columns = pl.Schema({**schema, "row": pl.Int64(), **texts, "at": pl.Datetime("us")})
    return pl.DataFrame(rows, schema=columns, orient="row").sort("at", maintain_order=True)
