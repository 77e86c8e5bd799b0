"""What is known of a job on a cluster as frames: a row for each stage, checkpoint or exception."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from ...runtime.probe import NodeReading
from ...types import FOREVER, NEVER
from .figures import COUNTS, number
from .look import Look
from .sketch import Part, Sketch

_MS = pl.Datetime("ms", "UTC")
_METRICS: dict[str, Any] = {
    "stage": pl.String,
    "kind": pl.String,
    "vertex": pl.String,
    "parallelism": pl.Int64,
    "rows_in": pl.Int64,
    "rows_out": pl.Int64,
    "rows_per_s": pl.Float64,
    "busy": pl.Float64,
    "busiest": pl.Float64,
    "idle": pl.Float64,
    "backpressured": pl.Float64,
    "queue_fill": pl.Float64,
    "watermark": pl.Datetime("us"),
    "lag_ms": pl.Float64,
    "late": pl.Int64,
    "invalid": pl.Int64,
    "held": pl.Int64,
}
_CHECKPOINTS: dict[str, Any] = {
    "id": pl.Int64,
    "status": pl.String,
    "savepoint": pl.Boolean,
    "triggered": _MS,
    "seconds": pl.Float64,
    "bytes": pl.Int64,
    "acknowledged": pl.Int64,
    "of": pl.Int64,
    "path": pl.String,
    "failure": pl.String,
}
_EXCEPTIONS: dict[str, Any] = {
    "at": _MS,
    "exception": pl.String,
    "vertex": pl.String,
    "task_manager": pl.String,
    "cause": pl.String,
    "trace": pl.String,
}


def metrics(sketch: Sketch, look: Look, nodes: Mapping[str, NodeReading]) -> pl.DataFrame:
    """Return one row per stage. Shares and speed are those of the vertex it runs in; null is what nobody tells."""
    rows = []
    for stage in sketch.outline.stages:
        node, vitals = nodes[stage.id], look.vertices.get(stage.id)
        if vitals is None:
            continue
        lately = node.lately
        assert lately is not None
        known = not math.isnan(vitals.busy)
        of_vertex = (
            stage.id,
            vitals.parallelism,
            *((lately.busy, vitals.busiest, lately.idle, lately.backpressured) if known else (None,) * 4),
            vitals.fill,
        )
        for part in sketch.parts[stage.id] or (_whole(stage.id, node),):
            came, went = _counted(sketch, look, node, part)
            rate = lately.rows_per_s
            told = {name: _int(vitals.figures.of_stage(part.id, name)) for name in ("late", "invalid", "held")}
            watermark = vitals.figures.of_stage(part.id, "watermark")
            name, parallelism, busy, busiest, idle, backpressured, fill = of_vertex
            lag = node.lag_us / 1e3 if node.lag_us is not None else None
            rows.append(
                (
                    *(part.id, part.kind, name, parallelism, came, went, _float(rate)),
                    *(busy, _float(busiest), idle, backpressured, _float(fill)),
                    *(int(watermark) if NEVER < watermark < FOREVER else None, lag),
                    *(told["late"], told["invalid"], told["held"]),
                )
            )
    return pl.DataFrame(rows, schema=_METRICS, orient="row")


def counts(sketch: Sketch, look: Look) -> pl.DataFrame:
    """Return what each stage has counted, as workers tell it, in the form of the ledger that they leave at the end."""
    rows = [
        (part.id, name, int(value))
        for vertex, parts in sketch.parts.items()
        if vertex in look.vertices
        for part in parts
        for name in COUNTS
        if not math.isnan(value := look.vertices[vertex].figures.of_stage(part.id, name))
    ]
    return pl.DataFrame(rows, schema={"stage": pl.String, "name": pl.String, "value": pl.Int64}, orient="row")


def checkpoints(told: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return one row for each of the newest checkpoints, the newest first."""
    rows = [
        (
            each.get("id"),
            str(each.get("status", "")).lower(),
            bool(each.get("is_savepoint")),
            _when(each.get("trigger_timestamp")),
            _seconds(each.get("end_to_end_duration")),
            each.get("state_size"),
            each.get("num_acknowledged_subtasks"),
            each.get("num_subtasks"),
            each.get("external_path"),
            each.get("failure_message"),
        )
        for each in told
    ]
    return pl.DataFrame(rows, schema=_CHECKPOINTS, orient="row")


def exceptions(told: Mapping[str, Any], causes: Mapping[int, str]) -> pl.DataFrame:
    """Return one row for each of the newest failures, the newest first."""
    entries = (told.get("exceptionHistory") or {}).get("entries") or []
    rows = [
        (
            _when(each.get("timestamp")),
            str(each.get("exceptionName", "")).rpartition(".")[2],
            each.get("taskName"),
            each.get("taskManagerId") or each.get("endpoint"),
            causes[number_],
            each.get("stacktrace"),
        )
        for number_, each in enumerate(entries)
    ]
    return pl.DataFrame(rows, schema=_EXCEPTIONS, orient="row")


def _whole(vertex: str, node: NodeReading) -> Part:
    return Part(vertex, node.label, node.kind, False, ())


def _counted(sketch: Sketch, look: Look, node: NodeReading, part: Part) -> tuple[int | None, int | None]:
    """Return the rows in and out of a stage: as it tells them, or where it begins or ends its vertex, as that does."""
    figures = look.vertices[node.id].figures
    came, went = (_int(figures.of_stage(part.id, name)) for name in ("rows_in", "rows_out"))
    parts = sketch.parts[node.id]
    if part.kind == "source":
        alone = [each.kind for each in parts].count("source") <= 1
        return None, _int(figures.of_vertex("rows")) if went is None and parts and alone else went
    if came is None and (not parts or part is parts[0]):
        came = node.rows_in if node.rows_in >= 0 else None
    if went is None and len(parts) <= 1:
        went = node.rows_out if node.rows_out >= 0 else None
    return came, went


def _when(ms: Any) -> dt.datetime | None:
    return None if ms in (None, -1) else dt.datetime.fromtimestamp(float(ms) / 1e3, dt.UTC)


def _seconds(ms: Any) -> float | None:
    took = number(ms)
    return took / 1e3 if took >= 0 else None


def _int(value: float) -> int | None:
    return None if math.isnan(value) else int(value)


def _float(value: float) -> float | None:
    return None if math.isnan(value) else value
