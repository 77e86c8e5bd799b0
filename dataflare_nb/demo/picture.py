"""The picture of the demo: a week of cancellations, a day of disorder, and a year of rows that came too late."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.dates as mdates
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..engine.plot import INK, quiet
from .data import ZONE
from .job import SLACK_MINUTES, WATERMARK_EVERY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AIRPORTS = {"EWR": ("Newark", "#0072B2"), "JFK": ("Kennedy", "#E69F00"), "LGA": ("LaGuardia", "#009E73")}
LATE, ON_TIME, MARK = "#D55E00", "#56B4E9", "#000000"


def draw(flights: pl.DataFrame, hourly: pl.DataFrame, late: pl.DataFrame, path: Path) -> None:
    """Draw what the job has found to a PNG. `flights` is its input, in the order in which the job read it."""
    figure = Figure(figsize=(11, 9.2), dpi=110, layout="constrained")
    grid = figure.subplot_mosaic([["week", "week"], ["day", "year"]], height_ratios=[1, 1.25], width_ratios=[1.25, 1])
    _week(grid["week"], final(hourly))
    _day(grid["day"], flights, late)
    _year(grid["year"], flights, late)
    figure.savefig(path, metadata={"Software": None})


def final(hourly: pl.DataFrame) -> pl.DataFrame:
    """Return the last revision of each window."""
    return hourly.sort("revision").unique(["origin", "window_start"], keep="last").sort("window_start", "origin")


def watermarks(flights: pl.DataFrame) -> pl.DataFrame:
    """Return where the job's watermark stood as each flight came by: it moves after every so many rows."""
    turn = pl.int_range(pl.len()) // WATERMARK_EVERY
    slack = pl.duration(minutes=SLACK_MINUTES)
    per_turn = flights.lazy().group_by(turn.alias("turn") + 1).agg(pl.col("scheduled").max())
    marks = per_turn.sort("turn").select("turn", (pl.col("scheduled").cum_max() - slack).alias("watermark"))
    return (
        flights.lazy()
        .with_columns(turn.alias("turn"))
        .join(marks, on="turn", how="left", maintain_order="left")
        .drop("turn")
        .collect()
    )


def _week(axes: Axes, windows: pl.DataFrame) -> None:
    """Draw the week that has the hour with the most cancelled flights: in a full year, a blizzard."""
    per_day = windows.group_by(pl.col("window_start").dt.date().alias("day")).agg(pl.col("cancelled").sum())
    worst = per_day.sort("cancelled", "day", descending=[True, False])["day"][0]
    start = dt.datetime.combine(worst - dt.timedelta(days=4), dt.time())
    week = windows.with_columns(_naive("window_start")).filter(
        pl.col("window_start").is_between(start, start + dt.timedelta(days=7), closed="left")
    )
    hours = pl.DataFrame({"window_start": pl.datetime_range(start, start + dt.timedelta(days=7), "1h", eager=True)})
    for origin, (name, colour) in AIRPORTS.items():
        one = hours.join(week.filter(origin=origin), on="window_start", how="left").with_columns(
            (pl.col("flights") - pl.col("cancelled")).fill_null(0).alias("flown"), pl.col("cancelled").fill_null(0)
        )
        axes.step(one["window_start"], one["flown"], where="post", color=colour, linewidth=1.5, label=name)
    gone = hours.join(week.group_by("window_start").agg(pl.col("cancelled").sum()), on="window_start", how="left")
    counts, edges = gone["cancelled"].fill_null(0), mdates.date2num(gone["window_start"])
    axes.stairs(
        counts[:-1], edges, fill=True, color="#BBBBBB", zorder=0, label=f"cancelled, all three ({counts.sum():,})"
    )
    quiet(axes, f"Flights per hour in the week of {worst:%-d %B %Y}, the day with the most cancellations")
    axes.set_xlim(_place(start), _place(start + dt.timedelta(days=6, hours=23, minutes=59)))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("flights in the hour", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(mdates.DayLocator())
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%a %-d %b"))
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("left")
    axes.legend(loc="upper right", ncols=4, frameon=False, fontsize=9, bbox_to_anchor=(1, 1.13), labelcolor=INK)


def _day(axes: Axes, flights: pl.DataFrame, late: pl.DataFrame) -> None:
    """Draw event time against the time of arrival on the day with the most late rows, and the watermark below."""
    day = late.group_by(pl.col("departed").dt.date().alias("day")).len().sort("len", "day", descending=[True, False])
    chosen = day["day"][0] if day.height else flights["departed"][0].date()
    start = dt.datetime.combine(chosen, dt.time(5))
    end = start + dt.timedelta(hours=22)
    on_day = _naive("departed").is_between(start, end)
    marked = watermarks(flights).filter(on_day)
    came = marked.select(_naive("departed"), _naive("scheduled"), _naive("watermark"))
    missed = late.filter(on_day).select(_naive("departed"), _naive("scheduled"))
    axes.scatter(came["departed"], came["scheduled"], s=5, color=ON_TIME, linewidths=0, label="in its window")
    axes.scatter(missed["departed"], missed["scheduled"], s=9, color=LATE, linewidths=0, label="too late for it")
    axes.step(
        came["departed"],
        came["watermark"],
        where="post",
        color=MARK,
        linewidth=1.6,
        label=f"watermark, told every {WATERMARK_EVERY} rows",
    )
    quiet(axes, f"Disorder on {chosen:%-d %B}: when flights left, and when they should have")
    axes.set_xlim(_place(start), _place(end))
    axes.set_ylim(_place(start - dt.timedelta(hours=1)), _place(end))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(mdates.HourLocator(byhour=range(0, 24, 3)))
        axis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    axes.set_xlabel("departure: the order of the stream", fontsize=9, color=INK)
    axes.set_ylabel("scheduled departure: the event time", fontsize=9, color=INK)
    axes.legend(loc="upper left", frameon=False, fontsize=9, markerscale=2.5, labelcolor=INK)


def _year(axes: Axes, flights: pl.DataFrame, late: pl.DataFrame) -> None:
    """Draw for each week the share of rows that came too late."""
    week = _naive("scheduled").dt.truncate("1w").alias("week")
    read = flights.group_by(week).len().rename({"len": "flights"})
    missed = late.group_by(week).len().rename({"len": "late"})
    weeks = (
        read.join(missed, on="week", how="left")
        .sort("week")
        .select("week", share=pl.col("late").fill_null(0) / pl.col("flights"))
    )
    axes.bar(weeks["week"], weeks["share"], width=6, align="edge", color=LATE)
    quiet(axes, f"{late.height / flights.height:.1%} of {flights.height:,} rows came too late; by week")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_ylabel("rows in the late output", fontsize=9, color=INK)
    months = weeks.height > 26
    axes.xaxis.set_major_locator(mdates.MonthLocator(bymonth=range(1, 13, 2)) if months else mdates.AutoDateLocator())
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%b" if months else "%-d %b"))


def _naive(column: str) -> pl.Expr:
    """Return a time as a clock in New York shows it."""
    return pl.col(column).dt.convert_time_zone(ZONE).dt.replace_time_zone(None)


def _place(time: dt.datetime) -> float:
    return float(mdates.date2num(time))
