"""Column types: as users give them, and as JSON, the one spelling of graph documents and of options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import polars as pl

from .errors import GraphFormat, WrongType, nearest
from .interrupts import schema_of
from .types import Schema

_SIMPLE = {
    dtype.__name__: dtype
    for dtype in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128),
        *(pl.Float16, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Null),
        pl.Categorical,
    )
}

_BARE: dict[Any, pl.DataType] = {
    pl.Datetime: pl.Datetime("us"),
    pl.Duration: pl.Duration("us"),
    pl.Categorical: pl.Categorical(),
}
"""What Polars takes a class for that has parameters."""


def of(columns: Mapping[str, Any]) -> Schema:
    """Read a user's schema, in which types may be instances, classes or Python's own.

    >>> of({"n": pl.Int8, "text": str, "at": pl.Datetime})
    Schema([('n', Int8), ('text', String), ('at', Datetime(time_unit='us', time_zone=None))])
    """
    try:
        whole = {name: _BARE.get(dtype, dtype) if isinstance(dtype, type) else dtype for name, dtype in columns.items()}
        return Schema(schema_of(pl.LazyFrame(schema=pl.Schema(whole))))
    except (TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        texts = [value for value in columns.values() if isinstance(value, str)]
        hint = _meant(texts[0], as_python=True) if texts else ""
        raise WrongType(
            f"{str(error).splitlines()[0]}; types are such as pl.Int64{'.' if hint else ''}{hint}"
        ) from None


def to_json(schema: Mapping[str, pl.DataType]) -> dict[str, Any]:
    """Return a schema as JSON: `{"ts": {"Datetime": ["us", "UTC"]}, "n": "Int64"}`."""
    return {name: write(dtype) for name, dtype in schema.items()}


def from_json(document: Mapping[str, Any]) -> Schema:
    """Return the schema that `to_json` wrote. Raises GraphFormat for a type it does not know."""
    schema = Schema({name: read(value) for name, value in document.items()})
    for name, dtype in schema.items():
        # Only a type with parameters can be none.
        if not isinstance(document[name], str) and (fault := _fault(dtype)) is not None:
            raise GraphFormat(f"`{name}` has a type that cannot be: {fault}")
    return schema


@lru_cache(maxsize=256)
def _fault(dtype: pl.DataType) -> str | None:
    """Ask Polars, which looks into a type when it is used."""
    try:
        schema_of(pl.LazyFrame(schema={"": dtype}))
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        return str(error).splitlines()[0]
    return None


def write(dtype: pl.DataType) -> Any:
    """Return a type as JSON. Raises GraphFormat for one that means something in this process only."""
    match dtype:
        case pl.Datetime():
            return {"Datetime": [dtype.time_unit, dtype.time_zone]}
        case pl.Duration():
            return {"Duration": dtype.time_unit}
        case pl.List():
            return {"List": write(dtype.inner)}  # type: ignore[arg-type]
        case pl.Array():
            return {"Array": [write(dtype.inner), dtype.size]}  # type: ignore[arg-type]
        case pl.Struct():
            return {"Struct": {field.name: write(field.dtype) for field in dtype.fields}}  # type: ignore[arg-type]
        case pl.Decimal():
            return {"Decimal": [dtype.precision, dtype.scale]}
        case pl.Enum():
            return {"Enum": dtype.categories.to_list()}
        case _ if type(dtype).__name__ in _SIMPLE:
            return type(dtype).__name__
        case _:
            raise GraphFormat(f"columns of type {dtype} cannot be written to a graph; cast them first")


_WORDS = {
    **dict.fromkeys(("int", "integer", "long", "bigint"), "Int64"),
    **dict.fromkeys(("float", "double", "real", "number"), "Float64"),
    **dict.fromkeys(("str", "text", "varchar", "utf8", "object"), "String"),
    **dict.fromkeys(("bool", "logical"), "Boolean"),
    **dict.fromkeys(("bytes", "blob"), "Binary"),
    **dict.fromkeys(("datetime", "timestamp", "datetime64", "datetime64[us]"), "Datetime('us')"),
    **dict.fromkeys(("duration", "timedelta", "interval"), "Duration('us')"),
    **dict.fromkeys(("list", "array"), "List(pl.Int64)"),
    "decimal": "Decimal(18, 2)",
    "struct": "Struct({'x': pl.Int64})",
    "category": "Categorical",
}
"""Types by the words of Python, SQL and pandas."""


def _meant(word: str, *, as_python: bool = False) -> str:
    """Say which type a word may stand for."""
    near = re.search("`(.*)`", nearest(word, _SIMPLE))
    spelled = _WORDS.get(word.lower()) or (near[1] if near else None)
    if spelled is None:
        return ""
    return f" Did you mean {f'pl.{spelled}' if as_python or '(' in spelled else f'`{spelled}`'}?"


_UNITS = {"ms": "ms", "us": "μs", "ns": "ns"}
_FIELDS = 3


def short(dtype: Any) -> str:
    """Return a type in a word, as people are told of it.

    >>> short(pl.Datetime("us")), short(pl.List(pl.Datetime("ms", "UTC"))), short(pl.Struct({"a": pl.Int64()}))
    ('Datetime[μs]', 'List[Datetime[ms, UTC]]', 'Struct[a: Int64]')
    """
    match dtype:
        case pl.Datetime():
            parts = [_UNITS[dtype.time_unit], *([dtype.time_zone] if dtype.time_zone else [])]
        case pl.Duration():
            parts = [_UNITS[dtype.time_unit]]
        case pl.List():
            parts = [short(dtype.inner)]
        case pl.Array():
            parts = [short(dtype.inner), str(dtype.size)]
        case pl.Decimal():
            parts = [str(dtype.precision), str(dtype.scale)]
        case pl.Enum():
            parts = [f"{len(dtype.categories)} words"]
        case pl.Struct():
            parts = [f"{field.name}: {short(field.dtype)}" for field in dtype.fields[:_FIELDS]]
            parts += [f"{len(dtype.fields) - _FIELDS} more"] if len(dtype.fields) > _FIELDS else []
        case _:
            return str(dtype)
    return f"{type(dtype).__name__}[{', '.join(parts)}]"


def a_value_of(dtype: Any) -> str:
    """Return a type in a word, with its article.

    >>> a_value_of(pl.Int64()), a_value_of(pl.UInt8()), a_value_of(pl.Datetime("us"))
    ('an Int64', 'a UInt8', 'a Datetime[μs]')
    """
    word = short(dtype)
    return f"{'an' if word.startswith(('I', 'E', 'A', 'O')) else 'a'} {word}"


def read(value: Any) -> pl.DataType:
    """Return the type that `write` wrote. Raises GraphFormat for what is none."""
    try:
        return _read(value)
    except (TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise GraphFormat(f"{value!r} is not a column type: {str(error).splitlines()[0]}") from None


def _read(text: Any) -> pl.DataType:
    match text:
        case str() if text in _SIMPLE:
            return _SIMPLE[text]()
        case {"Datetime": [unit, str() | None as zone]}:
            return pl.Datetime(unit, zone)
        case {"Duration": unit}:
            return pl.Duration(unit)
        case {"List": inner}:
            return pl.List(_read(inner))
        case {"Array": [inner, size]}:
            return pl.Array(_read(inner), size)
        case {"Struct": fields}:
            return pl.Struct({name: _read(field) for name, field in fields.items()})
        case {"Decimal": [precision, scale]}:
            return pl.Decimal(precision, scale)
        case {"Enum": categories}:
            return pl.Enum(categories)
        case _:
            hint = _meant(text) if isinstance(text, str) else ""
            raise GraphFormat(f"{text!r} is not a column type such as 'Int64' or {{'Datetime': ['us', None]}}.{hint}")
