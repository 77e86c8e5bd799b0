"""Rows for the page: few, as text that is cut, with a word on each column."""

from __future__ import annotations

from typing import Any

import polars as pl

MOST_ROWS, MOST_COLUMNS, LONGEST = 50, 100, 200
MOST_BYTES = 100_000
_MOST_ITEMS = 100


def table(frame: pl.DataFrame, most: int = MOST_ROWS) -> dict[str, Any]:
    """Return the columns with their types and summaries, and the newest rows, at most 50 and at most 100 kB of them."""
    shown = frame.select(frame.columns[:MOST_COLUMNS])
    texts = [_texts(column) for column in shown.tail(most)]
    columns = [{"name": _cut(s.name), "dtype": _cut(str(s.dtype)), "summary": _summary(s)} for s in shown]
    rows: list[list[str | None]] = [list(row) for row in zip(*texts, strict=True)]
    return {"columns": columns, "rows": _bearable(rows)}


def _bearable(rows: list[list[str | None]]) -> list[list[str | None]]:
    """Keep as many of the newest rows as a message should carry, one at least."""
    left, kept = MOST_BYTES, 0
    for row in reversed(rows):
        left -= sum(4 * len(cell or "null") for cell in row)
        if left < 0 and kept:
            break
        kept += 1
    return rows[len(rows) - kept :]


def _texts(column: pl.Series) -> list[str | None]:
    return [None if value is None else _cut(_text(value)) for value in _short(column).to_list()]


def _short(column: pl.Series) -> pl.Series:
    """Cut long values before they become Python's."""
    dtype = column.dtype
    if isinstance(dtype, pl.String):
        return column.str.slice(0, LONGEST + 1)
    if isinstance(dtype, pl.Binary):
        return column.bin.slice(0, LONGEST // 2)
    if isinstance(dtype, pl.List):
        return column.list.head(_MOST_ITEMS)
    if isinstance(dtype, pl.Array):
        return column.arr.to_list().list.head(_MOST_ITEMS)
    return column


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:,.1f}"
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _summary(column: pl.Series) -> str:
    """Say what the values of a column are like, in a few words."""
    nulls = column.null_count()
    parts = [_range(column)] if nulls < column.len() else []
    if nulls:
        parts.append(f"{nulls} null" if nulls < column.len() else "all null")
    return ", ".join(part for part in parts if part)


def _range(column: pl.Series) -> str:
    dtype = column.dtype
    if isinstance(dtype, pl.Boolean):
        return f"{int(column.sum())} true"
    if dtype.is_numeric() or dtype.is_temporal():
        least, most = _text(column.min()), _text(column.max())
        return least if least == most else f"{least} to {most}"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        kinds = column.drop_nulls().n_unique()
        first = _text(column.drop_nulls().mode().sort()[0])
        first = first if len(first) <= 20 else first[:19] + "…"
        return f"always {first}" if kinds == 1 else f"{kinds} different, most often {first}"
    if isinstance(dtype, pl.List):
        lengths = column.list.len()
        return f"{_text(lengths.min())} to {_text(lengths.max())} items"
    return ""
