"""Draw a job's history: throughput, what each stage spent its time on, and how far the watermark trailed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DataflareError
from ..runtime.metrics import BACKPRESSURED, BUSY, IDLE
from ..runtime.names import short_names
from .png import png

if TYPE_CHECKING:
    from ..runtime.probe import Sample
    from .job import Job

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
except ImportError as error:
    raise DataflareError(
        f'a picture needs matplotlib ({error}); install it with: pip install "dataflare-nb[notebook]"'
    ) from None

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""The palette of Okabe and Ito, which colour-blind readers can tell apart."""
INK, GREY, PALE = "#222222", "#666666", "#E4E4E4"
_STATES = ((BUSY, "#0072B2", "white"), (BACKPRESSURED, "#E69F00", INK), (IDLE, PALE, INK))
_UNITS = ((86_400e6, "days"), (3_600e6, "h"), (60e6, "min"), (1e6, "s"), (1e3, "ms"))
_WORTH_A_NUMBER = 0.06
_MOST_POINTS = 60


class Picture(Figure):
    """A figure that a notebook shows as a PNG, whether or not pyplot is there."""

    def _repr_png_(self) -> bytes:
        return png(self)


def figure(job: Job) -> Picture:
    """Return a figure of a running or ended job, drawn from `job.history`."""
    names = short_names(job.plan)
    history = _thinned(list(job.history))
    picture = Picture(figsize=(9, 3.2 + 3 + 0.34 * len(names)), layout="constrained")
    heights = [2.4, 0.7 + 0.34 * len(names), 1.9]
    throughput, shares, lag = picture.subplots(3, 1, height_ratios=heights)
    picture.suptitle(_title(job, history), x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    _throughput(throughput, history, names)
    _shares(shares, history, names)
    _lag(lag, history, names)
    return picture


def quiet(axes: Axes, title: str) -> None:
    """Take away what does not inform, and set the title on the left."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelcolor=INK, labelsize=9)


def _title(job: Job, history: Sequence[Sample]) -> str:
    if not history:
        return f"{job.name}: {job.status}, nothing measured yet"
    last = history[-1]
    read = sum(last.rows_out[stage.id] for stage in job.plan.stages if stage.kind == "source")
    rate = read / last.elapsed if last.elapsed else 0.0
    return f"{job.name}: {job.status}, {read:,} rows read in {last.elapsed:.1f} s ({rate:,.0f} rows/s)"


def _thinned(history: Sequence[Sample]) -> Sequence[Sample]:
    """Keep as many points as the eye can tell apart, and the last."""
    step = -(-len(history) // _MOST_POINTS) or 1
    return list(reversed(history[::-1][::step]))


def _throughput(axes: Axes, history: Sequence[Sample], names: Mapping[str, str]) -> None:
    quiet(axes, "Rows out per second")
    times = [0.0, *(sample.elapsed for sample in history)]
    for number, (stage, name) in enumerate(names.items()):
        counts = [0, *(sample.rows_out[stage] for sample in history)]
        spans = list(itertools.pairwise(zip(times, counts, strict=True)))
        rates = [(n2 - n1) / (t2 - t1) if t2 > t1 else 0.0 for (t1, n1), (t2, n2) in spans]
        axes.stairs(rates, times, baseline=None, label=name, **_line(number, len(names)))
    axes.set_xlabel("seconds since the start", fontsize=9, color=INK)
    axes.set_xlim(0, times[-1] or 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _legend(axes)


def _shares(axes: Axes, history: Sequence[Sample], names: Mapping[str, str]) -> None:
    quiet(axes, "What each stage spent the time on")
    spent: Mapping[str, Mapping[str, float]] = history[-1].spent if history else {}
    for row, stage in enumerate(names):
        seconds = spent.get(stage, {})
        total = sum(seconds.values())
        left = 0.0
        for state, colour, ink in _STATES:
            share = seconds.get(state, 0.0) / total if total else 0.0
            axes.barh(row, share, left=left, height=0.72, color=colour, label=state if row == 0 else None)
            if share >= _WORTH_A_NUMBER:
                axes.text(left + share / 2, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color=ink)
            left += share
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _legend(axes)


def _lag(axes: Axes, history: Sequence[Sample], names: Mapping[str, str]) -> None:
    worst = max((lag for sample in history for lag in sample.lag_us.values() if lag is not None), default=None)
    size, unit = next(((size, unit) for size, unit in _UNITS if worst and worst >= 2 * size), _UNITS[-1])
    quiet(axes, "How far the watermark trails the newest event time")
    if worst is None:
        axes.text(0.5, 0.5, "no event time", ha="center", va="center", transform=axes.transAxes, color=GREY)
        axes.set_axis_off()
        return
    for number, (stage, name) in enumerate(names.items()):
        points = [(s.elapsed, lag / size) for s in history if (lag := s.lag_us[stage]) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, drawstyle="steps-post", **_line(number, len(names)))
    axes.set_ylabel(unit, fontsize=9, color=INK)
    axes.set_xlabel("seconds since the start", fontsize=9, color=INK)
    axes.set_xlim(0, history[-1].elapsed or 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    _legend(axes)


def _line(number: int, lines: int) -> dict[str, Any]:
    """Draw the first lines wide, so that lines over each other all show."""
    return {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.3 + 0.7 * (lines - 1 - number)}


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False, fontsize=8, labelcolor=INK, handlelength=1.4
    )
