"""Answers about a job that the page asks for: its past, rows of a stage, the windows that wait."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..runtime.outline import Outline, Stage
from ..runtime.probe import Sample
from .cells import MOST_ROWS, table

if TYPE_CHECKING:
    from .shown import Shown

MOST_POINTS = 300
_SAMPLE = 200


def history(job: Shown, outline: Outline) -> tuple[list[float], list[float]]:
    """Return points in time, and for each of them the rows per second of every stage."""
    samples = _thinned(list(job.history))
    times = [sample.elapsed for sample in samples[1:]]
    rates = [
        max(0.0, (after.rows_out[stage.id] - before.rows_out[stage.id]) / (after.elapsed - before.elapsed))
        for before, after in pairwise(samples)
        for stage in outline.stages
    ]
    return times, rates


def _thinned(samples: list[Sample]) -> list[Sample]:
    """Keep as many points as a sparkline can show, the newest among them, and no time twice."""
    step = -(-len(samples) // MOST_POINTS) or 1
    kept: list[Sample] = []
    for sample in samples[::-1][::step]:
        if not kept or sample.elapsed < kept[-1].elapsed:
            kept.append(sample)
    return kept[::-1]


def peeked(job: Shown, stage: Stage, tag: str = "main") -> dict[str, Any]:
    """Return the newest rows that left a stage by one of its outputs."""
    rows = job.peek(stage.id if tag == "main" else f"{stage.id}.{tag}", _SAMPLE)
    title = stage.label if tag == "main" else f"{stage.label}.{tag}"
    found = table(rows)
    shown = len(found["rows"])
    notes = [f"the newest {shown} of {rows.height} rows kept; summaries are of those"] if rows.height > shown else []
    if not rows.height:
        notes = ["no rows yet" if tag == "main" else f"no {tag} rows yet"]
    if hidden := found.pop("hidden"):
        notes.append(f"the first {len(found['columns'])} of {len(found['columns']) + hidden:,} columns")
    return {"title": title, **found, "of": rows.height, "note": "; ".join(notes)}


def windows(job: Shown, stage: Stage) -> dict[str, Any]:
    """Return the open windows of a stage, and what each waits for."""
    report = job.explain_window(stage=stage.id)
    first = report.open.head(MOST_ROWS)
    found = table(first)
    found.pop("hidden")
    waits = [report.waits(row) for row in first.iter_rows(named=True)]
    return {
        "title": f"{stage.label}: {report.window}",
        "watermark": None if report.watermark is None else str(report.watermark),
        **found,
        "waits": waits[len(waits) - len(found["rows"]) :],
        "of": report.open.height,
        "note": "" if report.open.height else report.clock() if report.ended else "no window is open",
    }
