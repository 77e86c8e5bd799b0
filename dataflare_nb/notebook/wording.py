"""A job as text: its graph, and if they are the same in each run, its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import told
from ..runtime.outline import Outline
from ..runtime.probe import NodeReading, Reading
from .change import ENDED

_LONGEST = 44


def outline_text(outline: Outline) -> str:
    """Return the graph of a job that runs."""
    return f"Job {outline.name!r}\n" + _aligned([("stage", "reads"), *_stages(outline)], numbers=0)


def ending_text(outline: Outline, reading: Reading, error: BaseException | None, *, numbers: bool) -> str:
    """Return how a job is or has ended, its graph, and the rows of each stage if `numbers` are wanted."""
    lines = [f"Job {outline.name!r}: {ending(outline, reading, numbers=numbers)}"]
    if error is not None:
        lines.append(told(error))
    head: tuple[str, ...] = ("stage", "reads")
    rows = _stages(outline)
    if numbers:
        trouble = [tag for tag in ("late", "invalid") if any(n.sides.get(tag) for n in reading.nodes.values())]
        head += ("rows in", "rows out", *trouble)
        rows = [
            row + _counts(reading.nodes[stage.id], trouble) for row, stage in zip(rows, outline.stages, strict=True)
        ]
    lines.append(_aligned([head, *rows], numbers=len(head) - 2))
    return "\n".join(lines)


def ending(outline: Outline, reading: Reading, *, numbers: bool) -> str:
    """Say in a few words what became of a job."""
    status = reading.status
    if status not in ENDED:
        return status
    if status == "finished":
        status = "finished, all its input is through" if reading.whole else "drained"
    if not numbers:
        return status
    nodes = [reading.nodes[stage.id] for stage in outline.stages]
    parts = [f"{counted(sum(rows_read(n) for n in nodes if n.kind == 'source'))} rows read"]
    if any(n.kind == "sink" for n in nodes):
        parts.append(f"{counted(sum(n.rows_out for n in nodes if n.kind == 'sink'))} written")
    for tag in ("late", "invalid"):
        count = sum(n.sides.get(tag, 0) for n in nodes)
        parts += [f"{count:,} {tag}"] if count else []
    return f"{status}: {', '.join(parts)}"


def rows_read(node: NodeReading) -> int:
    """Return the rows that a source has given on; of a vertex of a cluster, those that the source in it has."""
    return node.rows_out if node.lately is None else node.rows_in


def counted(rows: int) -> str:
    """Return a number of rows as text, a question mark where nobody counts them."""
    return f"{rows:,}" if rows >= 0 else "?"


def _stages(outline: Outline) -> list[tuple[str, ...]]:
    reads: list[list[str]] = [[] for _ in outline.stages]
    for pipe in outline.pipes:
        sender = outline.stages[pipe.sender].label
        reads[pipe.receiver].append(sender if pipe.tag == "main" else f"{sender}.{pipe.tag}")
    return [(stage.label, ", ".join(names)) for stage, names in zip(outline.stages, reads, strict=True)]


def _counts(node: NodeReading, trouble: Sequence[str]) -> tuple[str, ...]:
    came = "" if node.kind == "source" else counted(node.rows_in)
    return (came, counted(node.rows_out), *(f"{node.sides.get(tag, 0):,}" for tag in trouble))


def _aligned(rows: Sequence[Sequence[str]], *, numbers: int) -> str:
    """Return a table whose last columns are numbers."""
    rows = [[cell if len(cell) <= _LONGEST else cell[: _LONGEST - 1] + "…" for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    words = len(widths) - numbers
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
