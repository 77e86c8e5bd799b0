"""What a guest returns, on its way out: bounds-checked, copied, validated in full, and only then read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ..dtypes import short
from ..errors import WasmBadOutput, WasmConfiguration, listing
from ..lazy import lazy
from . import ipc, json_rows
from .layout import ARRAY, ARROW_C, ARROW_IPC, BATCH, FORMAT_NAMES, JSON, OFFSET_WIDTH, SCHEMA, SLICE, type_of
from .memory import GuestMemory

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    format: str
    type: pa.DataType


class Reader:
    """Read one answer. `budget` bounds the bytes copied, since columns may share one buffer a thousand times."""

    def __init__(self, memory: GuestMemory, *, budget: int) -> None:
        self._memory, self._budget = memory, budget

    def frame(
        self,
        address: int,
        *,
        rows: int | None = None,
        schema: pl.Schema | None = None,
        mask: bool = False,
        untyped: bool = True,
    ) -> pl.DataFrame:
        """Return the frame behind a `df_slice`.

        `rows` says how many it must have, `schema` which columns; JSON without one gets types that fit, or with
        `untyped=False` is refused. `mask` says that JSON is what a filter answers.
        """
        where, length, kind, _ = self._memory.unpack(SLICE, address, "the returned df_slice")
        if kind == ARROW_C:
            frame = self._arrow(where, length, rows)
        elif kind in (ARROW_IPC, JSON):
            if kind == JSON and schema is None and not mask and not untyped:
                raise WasmConfiguration(
                    "it answers in JSON, which has no types; name its columns in `schema` of its plugin.json"
                )
            frame = self._bytes_as_frame(where, length, kind, schema, mask)
            for name, dtype in frame.schema.items():
                _refuse_name(name, dtype)
        else:
            raise WasmBadOutput(
                f"the guest answered in {FORMAT_NAMES.get(kind, f'format {kind}')}; "
                "return an Arrow batch (format 3), an Arrow IPC stream (2) or JSON rows (1)"
            )
        if rows is not None and frame.height != rows:
            raise WasmBadOutput(f"the guest returned {frame.height} rows for {rows}; it must return one for each")
        if schema is not None and frame.schema != schema:
            raise WasmBadOutput(
                f"the guest returned {_shown(frame.schema)}, and its description says {_shown(schema)}; correct "
                "`schema` in its plugin.json, or the plugin"
            )
        return frame

    def kind(self, address: int) -> int:
        """Return the format of an answer."""
        kind: int = self._memory.unpack(SLICE, address, "the returned df_slice")[2]
        return kind

    def raw(self, address: int) -> tuple[int, bytes]:
        """Return the format and the bytes behind a `df_slice` that is no Arrow C batch."""
        where, length, kind, _ = self._memory.unpack(SLICE, address, "the returned df_slice")
        if kind == ARROW_C:
            return kind, b""
        return kind, self._memory.read(where, length, "the returned bytes")

    def _bytes_as_frame(self, where: int, length: int, kind: int, schema: pl.Schema | None, mask: bool) -> pl.DataFrame:
        if kind == ARROW_IPC:
            return ipc.read(self._memory.copy_out(where, length, "the returned IPC stream"), budget=self._budget)
        data = self._memory.read(where, length, "the returned JSON")
        return json_rows.read_mask(data) if mask else json_rows.read(data, schema, budget=self._budget)

    def _arrow(self, where: int, length: int, rows: int | None) -> pl.DataFrame:
        if length < BATCH.size:
            raise WasmBadOutput(f"the returned df_batch has {length} bytes instead of {BATCH.size}")
        self._memory.check(where, length, "the returned df_batch")
        schema, array = self._memory.unpack(BATCH, where, "the returned df_batch")
        fields = self._fields(schema)
        count, arrays = self._root(array, len(fields), rows)
        series = [_series(field, self._array(field, at, count)) for field, at in zip(fields, arrays, strict=True)]
        if len(series) == 1:
            return series[0].to_frame()
        return pl.DataFrame(series) if series else pl.DataFrame(height=count)

    def _fields(self, address: int) -> list[_Field]:
        root = self._memory.unpack(SCHEMA, address, "the returned schema")
        kind = self._memory.text(root[0], "the format of the returned schema")
        if kind != "+s":
            raise WasmBadOutput(f"the returned schema is `{kind}`; a batch is a struct, `+s`")
        count = root[4]
        if not 0 <= count <= ipc.MOST_COLUMNS:
            raise WasmBadOutput(f"the returned schema has {count} columns; at most {ipc.MOST_COLUMNS} are allowed")
        fields = [self._field(at, i) for i, at in enumerate(self._memory.pointers(root[5], count, "its children"))]
        ipc.refuse_twice([field.name for field in fields])
        return fields

    def _field(self, address: int, index: int) -> _Field:
        what = f"the schema of returned column {index}"
        schema = self._memory.unpack(SCHEMA, address, what)
        arrow_format = self._memory.text(schema[0], f"the format in {what}")
        name = self._memory.text(schema[1], f"the name in {what}")
        if schema[6]:
            raise WasmBadOutput(f"returned column `{name}` is dictionary-encoded; return its values")
        kind = type_of(arrow_format)
        if kind is None or schema[4]:
            raise WasmBadOutput(
                f"returned column `{name}` has the format `{arrow_format}`, which is not one of the flat Arrow types"
            )
        return _Field(name, arrow_format, kind)

    def _root(self, address: int, columns: int, rows: int | None) -> tuple[int, tuple[int, ...]]:
        root = self._memory.unpack(ARRAY, address, "the returned array")
        length, nulls, offset, _, children, buffers = root[:6]
        if children != columns:
            raise WasmBadOutput(f"the returned array has {children} columns, its schema {columns}")
        if length < 0 or length > self._memory.size * 8:
            raise WasmBadOutput(f"the returned array claims {length} rows")
        if rows is not None and length != rows:
            raise WasmBadOutput(f"the guest returned {length} rows for {rows}; it must return one for each")
        if offset or nulls > 0 or (root[3] and self._memory.pointers(buffers, 1, "its buffers")[0]):
            raise WasmBadOutput("the returned batch has an offset or nulls of its own; put them into its columns")
        return length, self._memory.pointers(root[6], columns, "the children of the returned array")

    def _array(self, field: _Field, address: int, rows: int) -> pa.Array:
        what = f"returned column `{field.name}`"
        length, nulls, offset, count, children, table, _, dictionary = self._memory.unpack(ARRAY, address, what)[:8]
        width = OFFSET_WIDTH.get(field.format)
        expected = 2 if width is None else 3
        if length != rows:
            raise WasmBadOutput(f"{what} has {length} rows, the batch {rows}")
        if count != expected or children or dictionary:
            raise WasmBadOutput(f"{what} has {count} buffers and {children} children instead of {expected} and 0")
        span = length + offset
        if offset < 0 or span > self._memory.size * 8:
            raise WasmBadOutput(f"{what} claims the offset {offset}")
        if not -1 <= nulls <= length:
            raise WasmBadOutput(f"{what} claims {nulls} nulls in {length} rows")
        places = self._memory.pointers(table, expected, f"the buffers of {what}")
        valid = self._buffer(places[0], (span + 7) // 8, f"the null bitmap of {what}") if places[0] else None
        if valid is None and nulls > 0:
            raise WasmBadOutput(f"{what} claims {nulls} nulls and has no bitmap")
        if width is None:
            size = (span * field.type.bit_width + 7) // 8
            data = [self._needed(places[1], size, f"the data of {what}")]
        else:
            offsets = self._needed(places[1], (span + 1) * width if span or places[1] else 0, f"the offsets of {what}")
            end = int.from_bytes(offsets[span * width :], "little", signed=True) if offsets.size else 0
            if end < 0:
                raise WasmBadOutput(f"the last offset of {what} is {end}")
            data = [offsets, self._needed(places[2], end, f"the text of {what}")]
        try:
            array = pa.Array.from_buffers(field.type, length, [valid, *data], nulls if valid is not None else 0, offset)
            array.validate(full=True)
        except pa.ArrowException as error:
            raise WasmBadOutput(f"{what} does not hold: {error}") from None
        return array

    def _needed(self, address: int, size: int, what: str) -> pa.Buffer:
        if not address and size:
            raise WasmBadOutput(f"{what} is missing")
        return self._buffer(address, size, what) if address else pa.py_buffer(b"")

    def _buffer(self, address: int, size: int, what: str) -> pa.Buffer:
        self._memory.check(address, size, what)
        self._budget -= size
        if self._budget < 0:
            raise WasmBadOutput("the guest returned more data than its memory limit, by sharing buffers")
        return self._memory.copy_out(address, size, what)


def _series(field: _Field, array: pa.Array) -> pl.Series:
    try:
        return pl.Series(field.name, array)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, pa.ArrowException) as error:
        raise WasmBadOutput(f"returned column `{field.name}` does not hold: {error}") from None


def _refuse_name(name: str, dtype: object) -> None:
    """Refuse a name that Arrow cannot carry, at any depth: further on, it would be a panic rather than an error."""
    if "\0" in name:
        raise WasmBadOutput(f"the guest returned a column or field called {name!r}, and names have no byte 0")
    match dtype:
        case pl.Struct(fields=fields):
            for field in fields:
                _refuse_name(field.name, field.dtype)
        case pl.List(inner=inner) | pl.Array(inner=inner):
            _refuse_name("", inner)


def _shown(schema: pl.Schema) -> str:
    return listing(f"{name}: {short(dtype)}" for name, dtype in schema.items())
