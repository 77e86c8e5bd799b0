"""The Arrow C Data Interface as a 32-bit guest sees it: structures, formats and types."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from ..dtypes import short
from ..errors import WasmError
from ..lazy import lazy

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

SCHEMA = struct.Struct("<IIIxxxxqqIIII")
"""`ArrowSchema`: format, name, metadata, flags, n_children, children, dictionary, release, private_data."""
ARRAY = struct.Struct("<qqqqqIIIIIxxxx")
"""`ArrowArray`: length, null_count, offset, n_buffers, n_children, buffers, children, dictionary, release, private."""
SLICE = struct.Struct("<IIII")
"""`df_slice`: ptr, len, format, flags."""
BATCH = struct.Struct("<II")
"""`df_batch`: schema, array."""

NULLABLE = 2
BYTES, JSON, ARROW_IPC, ARROW_C = 0, 1, 2, 3
"""`df_slice.format`: what the bytes are; `ARROW_C` is a `df_batch`."""
TAKES_JSON, TAKES_ARROW_IPC, TAKES_ARROW_C = 1, 2, 4
"""The bits of `df_formats`."""
FORMAT_NAMES = {BYTES: "raw bytes", JSON: "JSON", ARROW_IPC: "Arrow IPC", ARROW_C: "Arrow C data"}

_UNITS = {"ms": "m", "us": "u", "ns": "n"}
_PLAIN: dict[pl.DataType, str] = {
    pl.Int8(): "c",
    pl.UInt8(): "C",
    pl.Int16(): "s",
    pl.UInt16(): "S",
    pl.Int32(): "i",
    pl.UInt32(): "I",
    pl.Int64(): "l",
    pl.UInt64(): "L",
    pl.Float32(): "f",
    pl.Float64(): "g",
    pl.Boolean(): "b",
    pl.Date(): "tdD",
    pl.Time(): "ttn",
    pl.String(): "U",
    pl.Binary(): "Z",
}


@lru_cache(maxsize=1)
def _types() -> dict[str, pa.DataType]:
    return {
        "c": pa.int8(),
        "C": pa.uint8(),
        "s": pa.int16(),
        "S": pa.uint16(),
        "i": pa.int32(),
        "I": pa.uint32(),
        "l": pa.int64(),
        "L": pa.uint64(),
        "f": pa.float32(),
        "g": pa.float64(),
        "b": pa.bool_(),
        "tdD": pa.date32(),
        "tdm": pa.date64(),
        "tts": pa.time32("s"),
        "ttm": pa.time32("ms"),
        "ttu": pa.time64("us"),
        "ttn": pa.time64("ns"),
        "u": pa.string(),
        "U": pa.large_string(),
        "z": pa.binary(),
        "Z": pa.large_binary(),
        **{f"tD{u}": pa.duration(n) for u, n in (("s", "s"), ("m", "ms"), ("u", "us"), ("n", "ns"))},
    }


OFFSET_WIDTH = {"u": 4, "U": 8, "z": 4, "Z": 8}
"""Bytes of one offset, for the formats that have offsets."""
_TIMESTAMPS = {"tss:": "s", "tsm:": "ms", "tsu:": "us", "tsn:": "ns"}


@lru_cache(maxsize=512)
def flat_format(dtype: pl.DataType) -> str | None:
    """Return the Arrow format in which a column of that type goes to a guest as C data, None if it is not flat."""
    match dtype:
        case pl.Datetime(time_unit=unit, time_zone=zone):
            return f"ts{_UNITS[unit]}:{zone or ''}"
        case pl.Duration(time_unit=unit):
            return f"tD{_UNITS[unit]}"
        case pl.Categorical() | pl.Enum():
            return "U"
    return _PLAIN.get(dtype)


def format_of(column: str, dtype: pl.DataType) -> str:
    """Return the Arrow format in which a column of that type goes to a guest as C data."""
    found = flat_format(dtype)
    if found is None:
        raise WasmError(f"column `{column}` is {short(dtype)}, which is not flat; {way_out(column, dtype)}")
    return found


def type_of(arrow_format: str) -> pa.DataType | None:
    """Return the Arrow type of a format, None if a guest may not return it."""
    unit = _TIMESTAMPS.get(arrow_format[:4])
    return pa.timestamp(unit, arrow_format[4:] or None) if unit else _types().get(arrow_format)


def way_out(column: str, dtype: pl.DataType) -> str:
    """Say what to do with a column that cannot go to a guest as it is."""
    name = repr(column)
    if isinstance(dtype, pl.Decimal):
        return f"cast it first: pl.col({name}).cast(pl.Float64)"
    if isinstance(dtype, pl.Struct):
        return f"take its fields apart first: .unnest({name})"
    if dtype.is_nested():
        return f"flatten it first: .explode({name}), or pl.col({name}).list.join(',')"
    if isinstance(dtype, pl.Null):
        return f"give it a type first: pl.col({name}).cast(pl.String)"
    if dtype.is_integer():
        return f"cast it first: pl.col({name}).cast(pl.Int64)"
    return f"leave it out: .drop({name}), or name the columns that the stage needs"
