"""Rows for the page: few, as text that is cut, with a word on each column.

Long and nested values are cut by Polars, before they become Python's: a list of a million texts costs no more than
what is shown of it.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from ..dtypes import short

MOST_ROWS, MOST_COLUMNS, LONGEST = 50, 100, 200
MOST_BYTES = 100_000
_MOST_ITEMS = 100
_DAY_US = 86_400_000_000
# What Python's dates can hold, in microseconds since 1970; Polars cannot write what lies far beyond.
_FIRST, _LAST = -719_162 * _DAY_US, 2_932_897 * _DAY_US - 1
_PER_US = {"ms": 1_000, "us": 1, "ns": 1}
_SINCE = {"ms": " ms since 1970", "us": " μs since 1970", "ns": " ns since 1970"}


def table(frame: pl.DataFrame, most: int = MOST_ROWS) -> dict[str, Any]:
    """Return the columns with their types and summaries, and the newest rows, at most 50 and at most 100 kB of them.

    `hidden` is how many columns there are beyond the first hundred.
    """
    # Polars takes a name that looks like a pattern for one.
    shown = [column.alias("x") for column in frame.get_columns()[:MOST_COLUMNS]]
    texts = [_texts(column.tail(most)) for column in shown]
    columns = [
        {"name": _cut(name), "dtype": _cut(short(column.dtype)), "summary": _summary(column)}
        for name, column in zip(frame.columns, shown, strict=False)
    ]
    rows: list[list[str | None]] = [list(row) for row in zip(*texts, strict=True)]
    return {"columns": columns, "rows": _bearable(rows), "hidden": frame.width - len(shown)}


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
    words = _words(pl.col("x"), column.dtype)
    plain = column if words is None else column.to_frame().select(words).to_series()
    return [None if value is None else _cut(_text(value)) for value in plain.to_list()]


def _words(column: pl.Expr, dtype: Any) -> pl.Expr | None:
    """Return values as texts that are little longer than is shown, None where Python's own are short enough."""
    match dtype:
        case pl.String():
            return column.str.slice(0, LONGEST + 1)
        case pl.Binary():
            return column.bin.slice(0, LONGEST // 2).bin.encode("hex").str.replace_all("(..)", "$1 ").str.strip_chars()
        case pl.Date() | pl.Datetime() | pl.Duration() | pl.Time():
            return _time(column, dtype)
        case pl.Array():
            return _words(column.arr.to_list(), pl.List(dtype.inner))
        case pl.List():
            # A hundred items are longer than what is shown, so that the end of the text says that there are more.
            items = column.list.head(_MOST_ITEMS).list.eval(_inner(pl.element(), dtype.inner)).list.join(", ")
            return _between("[", items, "]", column)
        case pl.Struct():
            fields = [
                pl.format("{}: {}", pl.lit(field.name), _inner(column.struct.field(field.name), field.dtype))
                for field in dtype.fields[:_MOST_ITEMS]
            ]
            return _between("{", pl.concat_str(fields or [pl.lit("")], separator=", "), "}", column)
        case _:
            return None


def _inner(item: pl.Expr, dtype: Any) -> pl.Expr:
    words = _words(item, dtype)
    if isinstance(dtype, pl.String):
        words = pl.format("'{}'", words)
    elif dtype.is_numeric() or isinstance(dtype, pl.Boolean | pl.Categorical | pl.Enum | pl.Null):
        words = item.cast(pl.String)
    # Of types that others bring, Polars knows no text.
    return words.fill_null("null") if words is not None else pl.lit(short(dtype))


def _between(begin: str, inside: pl.Expr, end: str, column: pl.Expr) -> pl.Expr:
    text = pl.concat_str(pl.lit(begin), inside.str.slice(0, LONGEST + 1), pl.lit(end))
    return pl.when(column.is_not_null()).then(text)


def _time(column: pl.Expr, dtype: Any) -> pl.Expr:
    """Return times as text; those of no calendar as what they count."""
    if isinstance(dtype, pl.Time):
        return column.dt.to_string("iso").str.replace(r"\.0+$", "")
    if isinstance(dtype, pl.Duration):
        return column.dt.to_string("polars")
    number = column.to_physical().cast(pl.Int64)
    if isinstance(dtype, pl.Date):
        fits, since = number.is_between(_FIRST // _DAY_US, _LAST // _DAY_US), " days since 1970"
    else:
        per = _PER_US[dtype.time_unit]
        fits, since = number.is_between(_FIRST // per, _LAST // per), _SINCE[dtype.time_unit]
    # Both branches are worked out for all rows, so the others are taken away before.
    written = pl.when(fits).then(column).dt.to_string("iso").str.replace(r"\.0+(Z|[+-]\d\d:\d\d)?$", "$1")
    return pl.when(fits).then(written).otherwise(pl.concat_str(number.cast(pl.String), pl.lit(since)))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
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
        ends = column.to_frame().select(pl.col("x").min().append(pl.col("x").max())).to_series()
        least, most = (str(text) for text in _texts(ends))
        day, _, time = most.partition(" ")
        # The same day is not said twice.
        most = time if isinstance(dtype, pl.Datetime) and least != most and least.startswith(f"{day} ") else most
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
