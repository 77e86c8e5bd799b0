"""Polars schemas as JSON and back."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..errors import GraphFormat
from ..types import Schema

_SIMPLE = {
    dtype.__name__: dtype
    for dtype in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Null),
    )
}


def to_json(schema: Schema) -> dict[str, Any]:
    """Return a schema as JSON: `{"ts": {"Datetime": ["us", "UTC"]}, "n": "Int64"}`."""
    return {name: _write(dtype) for name, dtype in schema.items()}


def from_json(document: dict[str, Any]) -> Schema:
    """Return the schema that `to_json` wrote. Raises GraphFormat for a type it does not know."""
    try:
        return Schema({name: _read(text) for name, text in document.items()})
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise GraphFormat(f"a column type cannot be read: {error}") from None


def _write(dtype: pl.DataType) -> Any:
    match dtype:
        case pl.Datetime():
            return {"Datetime": [dtype.time_unit, dtype.time_zone]}
        case pl.Duration():
            return {"Duration": dtype.time_unit}
        case pl.List():
            return {"List": _write(dtype.inner)}  # type: ignore[arg-type]
        case pl.Array():
            return {"Array": [_write(dtype.inner), dtype.size]}  # type: ignore[arg-type]
        case pl.Struct():
            return {"Struct": {field.name: _write(field.dtype) for field in dtype.fields}}  # type: ignore[arg-type]
        case pl.Decimal():
            return {"Decimal": [dtype.precision, dtype.scale]}
        case pl.Enum():
            return {"Enum": dtype.categories.to_list()}
        case pl.Categorical():
            return "Categorical"
        case _ if type(dtype).__name__ in _SIMPLE:
            return type(dtype).__name__
        case _:
            raise GraphFormat(f"columns of type {dtype} cannot be written to a graph; cast them first")


def _read(text: Any) -> pl.DataType:
    match text:
        case "Categorical":
            return pl.Categorical()
        case str() if text in _SIMPLE:
            return _SIMPLE[text]()
        case {"Datetime": [unit, zone]}:
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
            raise GraphFormat(f"{text!r} is not a column type of this version")
