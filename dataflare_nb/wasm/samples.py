"""Frames to try a plugin on: empty, null, extreme, and such as its own example, changed a little."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

_HEIGHTS = (1, 2, 7, 8, 9, 63, 64, 65, 1000)
_NULLS = 0.2
_TEXTS = (
    *(
        "",
        " ",
        "a",
        "A",
        "0",
        "-1",
        "1e999",
        "nan",
        "null",
        "\0",
        "a\0b",
        "\n",
        "\r\n",
        "\t",
        '"',
        "'",
        "\\",
        "\\u0041",
    ),
    *(
        "%",
        "%%",
        "%4",
        "%zz",
        "{}",
        "[",
        "]",
        "{",
        "$",
        "$.",
        "..",
        "/",
        "//",
        "?",
        "#",
        "@",
        ":",
        "://",
        "=",
        "&",
        ",",
    ),
    *("é", "ÿ", "ß", "İ", "ﬀ", "\u0301", "\u200d", "\u202e", "\ufeff", "\uffff", "中", "😀", "👩‍👩‍👧", "\U0010ffff"),
    *("x" * 15, "x" * 16, "x" * 17, "ab" * 500, "é" * 1000, "0" * 400, "[" * 2000, '{"a":' * 500),
)
_LETTERS = "aZ09 .,:;/?#@&=%+-_'\"\\[]{}()<>$é中😀\0\n"
_FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.1, 90.0, 180.0, -180.0, 1e-300, 5e-324, 1.7e308, -1.7e308),
    *(float("inf"), float("-inf"), float("nan")),
)
_SPANS: dict[type[pl.DataType], tuple[int, int]] = {
    pl.Int8: (-(2**7), 2**7 - 1),
    pl.Int16: (-(2**15), 2**15 - 1),
    pl.Int32: (-(2**31), 2**31 - 1),
    pl.Int64: (-(2**63), 2**63 - 1),
    pl.UInt8: (0, 2**8 - 1),
    pl.UInt16: (0, 2**16 - 1),
    pl.UInt32: (0, 2**32 - 1),
    pl.UInt64: (0, 2**64 - 1),
}


def frames(
    schema: pl.Schema, rng: random.Random, examples: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield frames of a schema, each with what is special about it."""
    yield "no rows", pl.DataFrame(schema=schema)
    for rows in (1, 9, 64):
        yield f"{rows} rows of nulls", pl.DataFrame({name: [None] * rows for name in schema}, schema=schema)
    extremes = {name: _extremes(dtype) for name, dtype in schema.items()}
    most = max(map(len, extremes.values()), default=0)
    columns = {name: [values[i % len(values)] for i in range(most)] for name, values in extremes.items()}
    yield "extreme rows", pl.DataFrame(columns, schema=schema)
    for i in range(0, most, max(1, most // 24)):
        yield (
            f"the extreme row {i}",
            pl.DataFrame({name: [values[i]] for name, values in columns.items()}, schema=schema),
        )
    for rows in _HEIGHTS:
        yield f"{rows} mixed rows", mutated(schema, rng, examples, rows)


def mutated(schema: pl.Schema, rng: random.Random, examples: Mapping[str, Sequence[Any]], rows: int) -> pl.DataFrame:
    """Return rows that are extreme, random, or an example with something changed; a fifth is null."""

    def one(name: str, dtype: pl.DataType, extremes: Sequence[Any]) -> Any:
        if rng.random() < _NULLS:
            return None
        known = examples.get(name, ())
        if known and rng.random() < 0.6:
            value = rng.choice(known)
            return _changed(value, rng) if isinstance(value, str) and rng.random() < 0.7 else value
        return rng.choice(extremes) if rng.random() < 0.4 else _any(dtype, rng)

    all_extremes = {name: _extremes(dtype) for name, dtype in schema.items()}
    columns = {name: [one(name, dtype, all_extremes[name]) for _ in range(rows)] for name, dtype in schema.items()}
    return pl.DataFrame(columns, schema=schema, strict=False)


def _extremes(dtype: pl.DataType) -> list[Any]:
    span = _SPANS.get(type(dtype))
    if span is not None:
        return sorted({span[0], span[1], *(n for n in (-1, 0, 1, 2, 10) if span[0] <= n <= span[1])})
    if dtype.is_float():
        return list(_FLOATS)
    if isinstance(dtype, pl.Boolean):
        return [True, False]
    if isinstance(dtype, pl.String):
        return list(_TEXTS)
    if isinstance(dtype, pl.Binary):
        return [b"", b"\0", b"\xff\xfe", bytes(range(256)), b"x" * 5000, *(text.encode() for text in _TEXTS[:8])]
    if isinstance(dtype, pl.Date):
        return [dt.date.min, dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2000, 2, 29), dt.date.max]
    if isinstance(dtype, pl.Datetime):
        return [dt.datetime(1678, 1, 1), dt.datetime(1970, 1, 1), dt.datetime(2024, 2, 29, 23, 59, 59, 999999)]
    if isinstance(dtype, pl.Duration):
        return [dt.timedelta(0), dt.timedelta(days=-1), dt.timedelta(days=100_000)]
    if isinstance(dtype, pl.Time):
        return [dt.time.min, dt.time.max]
    if isinstance(dtype, pl.Enum):
        return [*dtype.categories, None]
    if isinstance(dtype, pl.Categorical):
        return list(_TEXTS[:20])
    return [None]


def _any(dtype: pl.DataType, rng: random.Random) -> Any:
    span = _SPANS.get(type(dtype))
    if span is not None:
        return rng.randint(max(span[0], -1000), min(span[1], 1000)) if rng.random() < 0.5 else rng.randint(*span)
    if dtype.is_float():
        return rng.uniform(-180, 180) if rng.random() < 0.7 else rng.uniform(-1e18, 1e18)
    if isinstance(dtype, pl.String):
        return "".join(rng.choice(_LETTERS) for _ in range(rng.randrange(40)))
    if isinstance(dtype, pl.Binary):
        return rng.randbytes(rng.randrange(40))
    return rng.choice(_extremes(dtype))


def _changed(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    match rng.randrange(5):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + rng.choice(_LETTERS) + text[at:]
        case 2:
            return text[:at] + text[at + 1 :]
        case 3:
            return text[:at] + rng.choice(_LETTERS) + text[at + 1 :]
        case _:
            return text[:at] + text
