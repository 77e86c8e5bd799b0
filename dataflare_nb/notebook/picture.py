"""Draw how a job ended: its graph with the rows of each stage. The same job gives the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from ..engine.png import png
from ..errors import StageFailed, told
from ..runtime.outline import Outline, Stage
from ..runtime.probe import NodeReading, Reading
from .layers import Place, placed
from .wording import counted, ending, rows_read

INK, GREY, PALE = "#222222", "#5C5C5C", "#F5F7F9"
BLUE, GREEN, ORANGE, RED, PURPLE = "#0072B2", "#009E73", "#B35900", "#B22222", "#8E4585"
_ACCENTS = {"read": BLUE, "write": GREEN, "agg": PURPLE}
_MARKS = {"finished": ("✔", GREEN), "failed": ("✘", RED), "stopped": ("■", GREY)}
BOX_WIDTH, BOX_HEIGHT, ROW, COLUMN = 1.76, 0.76, 1.02, 2.08
"""Inches. A column holds a box and the way to the next."""
_TITLE, _MARGIN, _LETTERS = 0.84, 0.2, 19
_LINE, _LETTER, _LINES = 0.15, 0.056, 3
"""Of the reason: the height of a line, the width of a wide letter, and the most lines."""
_FIGURES = 28
_DPI = 144
_FEW = 64


@dataclass(frozen=True)
class Drawn:
    """A PNG, and how large it is to be shown, in pixels of a page."""

    png: bytes
    width: int
    height: int


def drawn(outline: Outline, reading: Reading, error: BaseException | None, *, numbers: bool) -> Drawn:
    """Return the picture of a job. Numbers are those of rows; nothing of time or speed is in it."""
    places, columns, rows = placed(len(outline.stages), [(pipe.sender, pipe.receiver) for pipe in outline.pipes])
    width = max(5.2, columns * COLUMN - (COLUMN - BOX_WIDTH) + 2 * _MARGIN)
    why = _wrapped(error, width) if error is not None else []
    # Below the title everything stands where it stands; more lines of a reason move that up.
    above = max(0, len(why) - 1) * _LINE
    height = _TITLE + rows * ROW
    figure = Figure(figsize=(width, height + above), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, -above)
    axes.set_axis_off()
    _title(axes, -above, outline.name, reading.status, ending(outline, reading, numbers=numbers), why)
    failed = error.stage if isinstance(error, StageFailed) else None
    for pipe in outline.pipes:
        _arrow(axes, places[pipe.sender], places[pipe.receiver], pipe.tag)
    for stage, place in zip(outline.stages, places, strict=True):
        _box(axes, place, stage, reading.nodes if numbers else {}, failed=stage.id == failed)
    return Drawn(png(figure, _FEW), round(width * 96), round((height + above) * 96))


def _corner(place: Place) -> tuple[float, float]:
    return _MARGIN + place.column * COLUMN, _TITLE + place.row * ROW


def _title(axes: Axes, top: float, name: str, status: str, ended: str, why: Sequence[str]) -> None:
    mark, colour = _MARKS.get(status, ("▶", BLUE))
    left = _MARGIN + 0.24
    axes.text(_MARGIN, top + 0.24, mark, fontsize=12.5, color=colour, va="center")
    axes.text(left, top + 0.23, _cut(name, 44), fontsize=12, color=INK, va="center", weight="bold", parse_math=False)
    axes.text(left, top + 0.48, ended, fontsize=9, color=GREY, va="center")
    for number, line in enumerate(why):
        y = top + 0.68 + number * _LINE
        axes.text(left, y, line, fontsize=7.4, color=RED, va="center", parse_math=False)


def _wrapped(error: BaseException, width: float) -> list[str]:
    letters = int((width - 2 * _MARGIN - 0.24) / _LETTER)
    return textwrap.wrap(" ".join(told(error).split()), letters, max_lines=_LINES, placeholder=" …")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _box(axes: Axes, place: Place, stage: Stage, nodes: Mapping[str, NodeReading], *, failed: bool) -> None:
    x, y = _corner(place)
    accent = RED if failed else _ACCENTS.get(stage.kind, GREY)
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.06, y + 0.06),
            BOX_WIDTH - 0.12,
            BOX_HEIGHT - 0.12,
            boxstyle="round,pad=0.06,rounding_size=0.07",
            facecolor="#FDF1F1" if failed else PALE,
            edgecolor=accent,
            linewidth=1.6 if failed else 1.0,
            zorder=2,
        )
    )
    node = nodes.get(stage.id)
    lines = _lines(stage, node)
    label = _cut(stage.label, _LETTERS)
    middle = y + (0.24 if lines else BOX_HEIGHT / 2)
    axes.text(
        x + 0.11, middle, label, fontsize=8.8, color=INK, va="center", fontweight="bold", zorder=3, parse_math=False
    )
    for number, (text, colour) in enumerate(lines):
        axes.text(x + 0.11, y + 0.45 + 0.17 * number, text, fontsize=7.6, color=colour, va="center", zorder=3)
    if failed:
        axes.text(x + BOX_WIDTH - 0.1, middle, "✘", fontsize=10, color=RED, va="center", ha="right", zorder=3)


def _lines(stage: Stage, node: NodeReading | None) -> list[tuple[str, str]]:
    """Say what came in and went out, and what had to be put aside."""
    if node is None:
        return []
    if node.kind == "source":
        first = f"{counted(rows_read(node))} read"
    elif node.kind == "sink":
        first = f"{counted(node.rows_out)} written"
    else:
        first = f"{counted(node.rows_in)} in → {counted(node.rows_out)} out"
        first = first if len(first) <= _FIGURES else f"{counted(node.rows_in)} → {counted(node.rows_out)}"
    trouble = [f"{node.sides[tag]:,} {tag}" for tag in ("late", "invalid") if node.sides.get(tag)]
    return [(first, GREY)] + ([(", ".join(trouble), ORANGE)] if trouble else [])


def _arrow(axes: Axes, start: Place, end: Place, tag: str) -> None:
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    x1, y1, y2 = x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
    colour = GREY if tag == "main" else ORANGE
    if end.band == start.band:
        bend = max(0.16, min(0.6, (x2 - x1) / 2))
        path = Path([(x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)], [1, 4, 4, 4])
    else:
        # On to the next band: out to the right, back between the bands, and in from the left.
        between = _TITLE + end.gap * ROW - (ROW - BOX_HEIGHT) / 2
        path = Path(
            [
                (x1, y1), (x1 + 0.2, y1), (x1 + 0.2, between), (x1, between),
                (x2, between), (x2 - 0.2, between), (x2 - 0.2, y2), (x2, y2),
            ],
            [1, 4, 4, 4, 2, 4, 4, 4],
        )  # fmt: skip
    axes.add_patch(
        FancyArrowPatch(path=path, arrowstyle="-|>,head_length=4,head_width=2.2", color=colour, linewidth=1.0, zorder=1)
    )
    if tag != "main":
        axes.text(
            (x1 + x2) / 2, (y1 + y2) / 2 - 0.07, tag, fontsize=7.4, color=colour, ha="center", va="center", zorder=4
        )
