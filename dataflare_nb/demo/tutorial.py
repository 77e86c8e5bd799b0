"""Pictures for the tutorials: rows against the watermark, windows on one time line."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.dates as mdates
import polars as pl

from ..engine.plot import COLOURS, INK, PALE, Picture, quiet
from .data import ZONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
_LANE = 0.34
_HOUR = 1 / 24
_WORTH_A_NUMBER = 1.5 * _HOUR
_LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}


def against_watermark(
    rows: pl.DataFrame, late: pl.DataFrame, *, arrival: str, event: str, slack: dt.timedelta, title: str
) -> Picture:
    """Draw each row where it came (x) and when it happened (y), with the watermark that trails the newest by `slack`.

    `late` are the rows of the side output. A row below the watermark that is not among them found its window open.
    """
    rows = rows.sort(arrival, maintain_order=True).with_columns(
        (pl.col(event).cum_max() - slack).alias("watermark"), (pl.col(event).cum_max() - slack).shift(1).alias("before")
    )
    missed = rows.join(late.select(arrival, event, "flight"), on=[arrival, event, "flight"], how="semi")
    rest = rows.join(missed, on=[arrival, event, "flight"], how="anti")
    behind = rest.filter(pl.col(event) < pl.col("before"))
    ahead = rest.join(behind, on=[arrival, event, "flight"], how="anti")
    picture = Picture(figsize=(9, 6), layout="constrained")
    axes = picture.subplots()
    quiet(axes, title)
    for frame, colour, marker, label in (
        (ahead, BLUE, "o", f"ahead of the watermark ({ahead.height})"),
        (behind, GREEN, "s", f"behind it, but its window is still open ({behind.height})"),
        (missed, RED, "X", f"late: its window has fired ({missed.height})"),
    ):
        axes.scatter(
            _places(frame[arrival]), _places(frame[event]), s=26, color=colour, marker=marker, linewidths=0, label=label
        )
    axes.step(_places(rows[arrival]), _places(rows["watermark"]), where="post", color="black", label="the watermark")
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(mdates.HourLocator(byhour=range(0, 24, 2)))
        axis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    _labels(axes, f"arrival: when the flight left ({arrival})", f"event time: when it should have left ({event})")
    axes.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK, markerscale=1.3)
    return picture


def time_line(
    rain: pl.DataFrame, windows: Mapping[str, pl.DataFrame], *, value: str = "rain", unit: str = "inches", title: str
) -> Picture:
    """Draw the rows as bars, and below them each kind of window: from start to end, with what it gave."""
    lanes = {name: _lanes(frame) for name, frame in windows.items()}
    heights = [2.6, *(0.3 + _LANE * (1 + max(lane)) for lane in lanes.values())]
    picture = Picture(figsize=(9.5, sum(heights)), layout="constrained")
    top, *below = picture.subplots(len(heights), 1, height_ratios=heights, sharex=True)
    quiet(top, title)
    top.bar(_places(rain["time"]), rain["precip"], width=0.86 * _HOUR, align="edge", color=SKY)
    top.set_ylabel(f"rain in the hour, {unit}", fontsize=9, color=INK)
    top.tick_params(labelbottom=False)
    times = _places(rain["time"])
    first, last = times[0], times[-1] + _HOUR
    for number, (axes, (name, frame)) in enumerate(zip(below, windows.items(), strict=True)):
        colour = (BLUE, ORANGE, GREEN, "#CC79A7", RED, "#999999")[number % 6]
        _windows(axes, name, frame.select("window_start", "window_end", value), lanes[name], colour, (first, last))
    below[-1].set_xlim(first, last)
    below[-1].xaxis.set_major_locator(mdates.HourLocator(byhour=range(0, 24, 6)))
    below[-1].xaxis.set_major_formatter(mdates.DateFormatter("%H:%M\n%-d %b"))
    below[-1].set_xlabel(f"event time, {ZONE.replace('_', ' ')}", fontsize=9, color=INK)
    return picture


def wind_rose(hours: pl.DataFrame, *, runway: float, title: str) -> Picture:
    """Draw how strong the wind blew from where, and how much of it went across a runway of that direction."""
    per = hours.group_by("wind_dir").agg(pl.col("wind_speed", "across").mean()).sort("wind_dir")
    picture = Picture(figsize=(7.4, 5), layout="constrained")
    axes: Any = picture.subplots(subplot_kw={"projection": "polar"})
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    angles, width = [math.radians(angle) for angle in per["wind_dir"]], math.radians(9)
    axes.bar(angles, per["wind_speed"], width=width, color="#CCCCCC", label="the wind, on average")
    axes.bar(angles, per["across"], width=width, color=BLUE, label="the part across the runway")
    reach = 1.1 * max(per["wind_speed"].to_list())
    ends = [math.radians(runway), math.radians(runway + 180)]
    axes.plot(ends, [reach, reach], color=ORANGE, linewidth=5, solid_capstyle="butt", label="the runway")
    axes.set_thetagrids(range(0, 360, 45), ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
    rings = range(5, int(reach) + 1, 5)
    axes.set_rgrids(rings, labels=["" for _ in rings])
    for ring in rings:
        axes.text(math.radians(157), ring, ring, ha="center", va="center", fontsize=9, color=INK, bbox=_LABEL)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, labelcolor=INK)
    axes.grid(color=PALE)
    axes.spines["polar"].set_visible(False)
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=18)
    axes.legend(loc="upper left", bbox_to_anchor=(1.04, 1.02), frameon=False, fontsize=9, labelcolor=INK)
    return picture


def bars(values: Mapping[str, float], *, unit: str, title: str) -> Picture:
    """Draw a few numbers to be compared, the largest as long as the picture is wide."""
    picture = Picture(figsize=(8, 0.75 + 0.42 * len(values)), layout="constrained")
    axes = picture.subplots()
    quiet(axes, title)
    drawn = axes.barh(list(values), list(values.values()), color=[COLOURS[number % 8] for number in range(len(values))])
    axes.bar_label(drawn, [f"{value:,.3g} {unit}" for value in values.values()], padding=4, fontsize=9, color=INK)
    axes.set_xlim(0, 1.18 * max(values.values()))
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return picture


def _windows(
    axes: Axes, name: str, frame: pl.DataFrame, lanes: list[int], colour: str, shown: tuple[float, float]
) -> None:
    """Draw windows in their lanes, each with its value in the middle of what can be seen of it."""
    quiet(axes, name)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(max(lanes) + 0.6, -0.6)
    starts, ends, values = (frame.to_series(column) for column in range(3))
    for left, right, value, lane in zip(_places(starts), _places(ends), values, lanes, strict=True):
        axes.barh(lane, right - left, left=left, height=0.8, color=colour, alpha=0.3)
        axes.barh(lane, right - left, left=left, height=0.8, fill=False, edgecolor=colour, linewidth=1)
        left, right = max(left, shown[0]), min(right, shown[1])
        if right - left > _WORTH_A_NUMBER:
            axes.text((left + right) / 2, lane, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color=INK)


def _lanes(frame: pl.DataFrame) -> list[int]:
    """Put windows that overlap into lanes below each other."""
    ends: list[dt.datetime] = []
    lanes = []
    for start, end in frame.select("window_start", "window_end").iter_rows():
        lane = next((number for number, last in enumerate(ends) if last <= start), len(ends))
        ends[lane:] = [end, *ends[lane + 1 :]]
        lanes.append(lane)
    return lanes


def _labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)


def _places(times: pl.Series) -> list[float]:
    """Return where times stand on an axis, as a clock in New York shows them: in days."""
    shown = times.dt.convert_time_zone(ZONE).dt.replace_time_zone(None)
    return [float(mdates.date2num(time)) for time in shown]
