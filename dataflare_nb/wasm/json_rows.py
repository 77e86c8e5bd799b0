"""JSON rows to and from a guest: an array with an object for each row, the slow way that every language knows."""

from __future__ import annotations

import decimal
import re
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from ..dtypes import short
from ..errors import WasmBadOutput, WasmError, listing
from .ipc import plain, travels
from .layout import way_out

_DIGITS = {"ms": "3", "us": "6", "ns": "9"}
_FIELD = "f{}"
_PLACE, _VALUE, _UNFOLDED = 8, 64, 4
"""Bytes of a value that is left out, those that one becomes in Python with what holds it, and how many times a guest's
memory its answer may take when it is read."""


def written(frame: pl.DataFrame) -> bytes:
    """Return a frame as JSON rows. Times are ISO 8601 text, a Duration a number in its unit, Binary is Base64.

    JSON has no word for NaN and infinity, so they are refused.
    """
    for name, dtype in frame.schema.items():
        if not travels(dtype):
            raise WasmError(f"column `{name}` is {short(dtype)}, which JSON cannot hold; {way_out(name, dtype)}")
    endless = [bad.any().alias(n) for n, t in frame.schema.items() if (bad := _endless(pl.col(n), t)) is not None]
    if endless:
        found = [name for name, bad in frame.select(endless).row(0, named=True).items() if bad]
        if found:
            raise WasmError(
                f"column `{found[0]}` holds NaN or infinity, which JSON cannot say; replace it first, as with "
                f"pl.col('{found[0]}').fill_nan(None), or build the plugin to take Arrow"
            )
    if not frame.width:
        return msgspec.json.encode([{}] * frame.height)
    told = frame.select(_told(pl.col(name), plain(dtype)).alias(name) for name, dtype in frame.schema.items())
    return told.write_json().encode()


def read(data: bytes, schema: pl.Schema | None, *, budget: int) -> pl.DataFrame:
    """Return the frame that JSON rows hold. With a schema every value has to fit; without, types are found out.

    `budget` are the bytes a guest may have; what it leaves out of its rows takes room too, once it is read.
    """
    if schema is None:
        rows = decoded(data, budget=budget)
        if isinstance(rows, list) and _unfolded(rows) * _PLACE > _UNFOLDED * budget:
            raise WasmBadOutput(
                f"the returned JSON has {len(rows)} rows whose names differ so much that as columns they are far more "
                f"than fits into its {budget} bytes; give all rows the same names, or raise max_memory"
            )
        return untyped(rows)
    objects, places = data.count(b"{"), sum(map(_places, schema.dtypes()))
    if objects * places * _PLACE > _UNFOLDED * budget:
        raise WasmBadOutput(
            f"the returned JSON has {objects} objects for {places} columns and fields, far more values than fit into "
            f"its {budget} bytes; raise max_memory, answer in smaller batches, or in Arrow"
        )
    try:
        rows = _decoder(tuple(schema.items())).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WasmBadOutput(f"the returned JSON does not hold: {error}") from error
    columns = []
    for place, (name, dtype) in enumerate(schema.items()):
        field = _FIELD.format(place)
        values = [_plain_value(getattr(row, field)) for row in rows]
        try:
            column = pl.Series(name, values, dtype=_wire(dtype), strict=True)
            columns.append(column.to_frame().select(_heard(pl.col(name), dtype).alias(name)).to_series())
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
            raise WasmBadOutput(
                f"returned column `{name}` does not fit {short(dtype)}: {_first_line(error)}"
            ) from error
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=len(rows))


def read_mask(data: bytes) -> pl.DataFrame:
    """Return what a filter answers: `[true, false, null, ...]` as one Boolean column."""
    try:
        return pl.DataFrame({"keep": pl.Series(_mask.decode(data), dtype=pl.Boolean)})
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WasmBadOutput(f"the returned JSON is no array of true and false: {error}") from error


def decoded(data: bytes, *, budget: int) -> Any:
    """Return any JSON value, if what it becomes is in proportion to the `budget`, the bytes a guest may have."""
    # Marks inside of texts count as well, until there are so many that it is worth while to look.
    if _marks(data) * _VALUE > _UNFOLDED * budget and (values := _marks(_TEXT.sub(b"", data))) * _VALUE > (
        _UNFOLDED * budget
    ):
        raise WasmBadOutput(
            f"the returned JSON has some {values} values, far more than fit into its {budget} bytes; raise max_memory, "
            "or answer in smaller batches"
        )
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WasmBadOutput(f"the returned JSON does not hold: {error}") from error


def untyped(rows: Any) -> pl.DataFrame:
    """Return rows as a frame, of types that fit what they hold."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise WasmBadOutput("JSON rows are an array of objects, `[{...}, ...]`")
    if not any(rows):
        return pl.DataFrame(height=len(rows))
    try:
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        raise WasmBadOutput(f"JSON rows do not make columns: {_first_line(error)}") from error


def _marks(data: bytes) -> int:
    """Return at most how many values there are: each but the first follows one of these."""
    return sum(map(data.count, (b",", b"[", b"{", b":")))


def _unfolded(rows: list[Any]) -> int:
    """Return how many places rows take as columns, where each has all names that any of them has."""
    places = 0
    waiting = [(len(rows), rows)]
    while waiting:
        height, values = waiting.pop()
        fields: dict[str, list[Any]] = {}
        for value in values:
            for name, item in value.items() if isinstance(value, dict) else ():
                fields.setdefault(name, []).append(item)
        places += height * len(fields)
        for items in fields.values():
            while inner := [item for item in items if isinstance(item, list)]:
                items = [each for item in inner for each in item] + [item for item in items if isinstance(item, dict)]
            objects = [item for item in items if isinstance(item, dict)]
            if objects:
                waiting.append((max(height, len(items)), objects))
    return places


_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_mask = msgspec.json.Decoder(list[bool | None])


@lru_cache(maxsize=256)
def _decoder(fields: tuple[tuple[str, pl.DataType], ...]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[_row("Row", dict(fields))])  # type: ignore[misc]


def _row(name: str, fields: dict[str, pl.DataType]) -> Any:
    """Return a struct that takes objects of just these fields; what is missing is null."""
    names = {_FIELD.format(place): field for place, field in enumerate(fields)}
    types = [(short, _python(dtype) | None, None) for short, dtype in zip(names, fields.values(), strict=True)]
    return msgspec.defstruct(name, types, rename=names, forbid_unknown_fields=True)


def _places(dtype: pl.DataType) -> int:
    """Return how many values an object may have because of a column."""
    match dtype:
        case pl.List(inner=inner) | pl.Array(inner=inner):
            return _places(inner)  # type: ignore[arg-type]
        case pl.Struct(fields=fields):
            inner_places: list[int] = [_places(field.dtype) for field in fields]  # type: ignore[arg-type]
            return 1 + sum(inner_places)
    return 1


def _python(dtype: pl.DataType) -> Any:
    match dtype:
        case pl.List(inner=inner) | pl.Array(inner=inner):
            return list[_python(inner) | None]  # type: ignore[misc, arg-type]
        case pl.Struct(fields=fields):
            return _row("Inner", {field.name: field.dtype for field in fields})  # type: ignore[misc]
        case pl.Decimal():
            return decimal.Decimal
        case pl.Duration():
            return int
        case pl.Boolean():
            return bool
        case pl.Binary():
            return bytes
        case pl.Null():
            return type(None)
        case _ if dtype.is_integer():
            return int
        case _ if dtype.is_float():
            return float
    return str


def _plain_value(value: Any) -> Any:
    """Return a decoded value with dicts in the place of structs."""
    if isinstance(value, msgspec.Struct):
        encoded = value.__struct_encode_fields__
        return {name: _plain_value(getattr(value, _FIELD.format(i))) for i, name in enumerate(encoded)}
    return [_plain_value(item) for item in value] if isinstance(value, list) else value


def _wire(dtype: pl.DataType) -> pl.DataType:
    """Return the type that a column has on the way: text for times."""
    match dtype:
        case pl.Date() | pl.Datetime() | pl.Time() | pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.Duration():
            return pl.Int64()
        case pl.List(inner=inner):
            return pl.List(_wire(inner))  # type: ignore[arg-type]
        case pl.Array(inner=inner, size=size):
            return pl.Array(_wire(inner), size)  # type: ignore[arg-type]
        case pl.Struct(fields=fields):
            return pl.Struct({field.name: _wire(field.dtype) for field in fields})  # type: ignore[arg-type]
    return dtype


def _told(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Date():
            return expr.dt.strftime("%Y-%m-%d")
        case pl.Datetime(time_unit=unit, time_zone=zone):
            expr = expr.dt.convert_time_zone("UTC") if zone else expr
            return expr.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.{_DIGITS[unit]}f{'Z' if zone else ''}")
        case pl.Time():
            return expr.dt.strftime("%H:%M:%S%.9f")
        case pl.Duration():
            return expr.to_physical()
        case pl.Binary():
            return expr.bin.encode("base64")
        case pl.Decimal():
            return expr.cast(pl.String)
        case _:
            return _inside(expr, dtype, _told)


def _heard(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Date():
            return expr.str.to_date("%Y-%m-%d")
        case pl.Datetime(time_unit=unit, time_zone=zone):
            if not zone:
                return expr.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit=unit)
            return expr.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit=unit).dt.convert_time_zone(zone)
        case pl.Time():
            return expr.str.to_time("%H:%M:%S%.f")
        case pl.Duration() | pl.Categorical() | pl.Enum():
            return expr.cast(dtype)
        case _:
            return _inside(expr, dtype, _heard)


def _endless(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    """Return where a value holds NaN or infinity, None for types that cannot."""
    match dtype:
        case pl.List(inner=inner):
            found = _endless(pl.element(), inner)  # type: ignore[arg-type]
            return expr.list.eval(found).list.any() if found is not None else None
        case pl.Array(inner=inner):
            return _endless(expr.arr.to_list(), pl.List(inner))
        case pl.Struct(fields=fields):
            parts = [_endless(expr.struct.field(f.name), f.dtype) for f in fields]  # type: ignore[arg-type]
            known = [part for part in parts if part is not None]
            return pl.any_horizontal(known) if known else None
        case _ if dtype.is_float():
            return ~expr.is_finite()
    return None


def _inside(expr: pl.Expr, dtype: pl.DataType, change: Any) -> pl.Expr:
    """Apply a change to what a nested type is made of."""
    match dtype:
        case pl.List(inner=inner):
            return expr.list.eval(change(pl.element(), inner))
        case pl.Array(inner=inner, size=size):
            made = expr.arr.to_list().list.eval(change(pl.element(), inner))
            return made.list.to_array(size) if change is _heard else made
        case pl.Struct(fields=fields) if fields:
            made = pl.struct(change(expr.struct.field(field.name), field.dtype).alias(field.name) for field in fields)
            return pl.when(expr.is_not_null()).then(made)
    return expr


def _first_line(error: BaseException) -> str:
    return listing([str(error).partition("\n")[0]])
