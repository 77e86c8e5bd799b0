"""What stays of a table or chart in a saved notebook: a table, a picture, text. The same rows give the same bytes."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import polars as pl

from ..engine.png import png
from .cells import table

if TYPE_CHECKING:
    from .live import Chart

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#5C5C5C", "#8E4585")
STYLES = ("-", "--", "-.", ":")
_MOST_TEXT = 20
_LONGEST = 28
_WIDTH, _HEIGHT, _DPI = 8.0, 3.6, 144


def table_text(rows: pl.DataFrame, title: str, came: int, note: str) -> str:
    """Return rows as text."""
    try:
        with pl.Config(tbl_rows=_MOST_TEXT, tbl_cols=12, tbl_hide_dataframe_shape=True, tbl_width_chars=120):
            text = str(rows)
    except pl.exceptions.PanicException as error:
        # Polars cannot write times of no calendar.
        text = f"not to be written: {error}"
    return f"{_caption(rows, title, came, note)}\n{text}"


def table_html(rows: pl.DataFrame, title: str, came: int, note: str) -> str:
    """Return rows as a table that needs neither style nor script."""
    shown = table(rows, rows.height)
    head = "".join(
        f"<th>{html.escape(each['name'])}<br><small>{html.escape(each['dtype'])}</small></th>"
        for each in shown["columns"]
    )
    body = "".join(
        "<tr>" + "".join(f"<td>{'<i>null</i>' if c is None else html.escape(c)}</td>" for c in row) + "</tr>"
        for row in shown["rows"]
    )
    if shown["hidden"]:
        note = "; ".join(filter(None, [f"the first {len(shown['columns'])} of {rows.width:,} columns", note]))
    caption = html.escape(_caption(rows, title, came, note))
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _caption(rows: pl.DataFrame, title: str, came: int, note: str) -> str:
    said = "no rows" if not came else f"{came:,} rows"
    said = f"the newest {rows.height:,} of {said}" if rows.height < came else said
    return f"{title}: {said}" + (f"; {note}" if note else "")


def chart_text(chart: Chart, points: pl.DataFrame, came: int, left_out: str) -> str:
    """Return what a chart shows, in words: how far each line goes, and how high."""
    lines = [f"{chart.title}, {came:,} rows" + (f"; {left_out}" if left_out else "")]
    for line in points.partition_by("series", maintain_order=True):
        name: str = line["series"][0]
        values: list[float] = line["y"].to_list()
        least, most, last = min(values), max(values), values[-1]
        first, end = _told(line["x"].gather([0, -1]))
        lines.append(f"  {name}: {least:.6g} to {most:.6g}, {last:.6g} at the end; {first} to {end}")
    return "\n".join(lines)


def _told(x: pl.Series) -> list[str]:
    match x.dtype:
        case pl.Datetime(time_zone=zone):
            return x.dt.to_string("%F %T%.f %Z" if zone else "%F %T%.f").to_list()
        case pl.Date() | pl.Time() | pl.Duration():
            return [str(each) for each in x]
        case _:
            return [f"{each:.6g}" for each in x]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def chart_html(text: str) -> str:
    """Return the words where no picture can be drawn."""
    return f"<pre>{html.escape(text)}</pre>"


def chart_png(chart: Chart, points: pl.DataFrame) -> tuple[bytes, int, int]:
    """Return the picture, and how large it is to be shown."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for at, ((name,), line) in enumerate(points.group_by("series", maintain_order=True)):
        x = line["x"]
        along = (x * 1e3).cast(pl.Int64).cast(pl.Datetime("us")).to_numpy() if chart.temporal else x.to_numpy()
        style = STYLES[at // 2 % len(STYLES)]
        mark = "o" if line.height == 1 else None
        label = _cut(str(name)).replace("$", r"\$")
        axes.plot(along, line["y"].to_numpy(), style, color=COLOURS[at], lw=1.4, marker=mark, label=label)
    if chart.temporal and points.height:
        zone = chart.zone or None
        locator = AutoDateLocator(tz=zone)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    axes.set_xlabel(_cut(chart.x).replace("$", r"\$") + (f" ({chart.zone})" if chart.zone else ""))
    axes.set_ylabel(_cut(chart.y).replace("$", r"\$"))
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.by and points.height:
        axes.legend(title=_cut(chart.by).replace("$", r"\$"), frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return png(figure), round(_WIDTH * 72), round(_HEIGHT * 72)
