"""Arrow IPC streams to and from a guest: for nested columns, decimals, and guests that speak nothing else."""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from ..errors import WasmBadOutput, listing, shown
from ..lazy import lazy

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.ipc as pa_ipc
    import pyarrow.types as pa_types
else:
    pa = lazy("pyarrow")
    pa_ipc = lazy("pyarrow.ipc")
    pa_types = lazy("pyarrow.types")

MOST_COLUMNS = 4096
_COMPRESSION = 3
"""Which field of the flatbuffer table `RecordBatch` it is."""
_HEADER = 2
"""Which field of the flatbuffer table `Message` the record batch is."""


def travels(dtype: pl.DataType) -> bool:
    """Tell whether a column of that type can be written as Arrow IPC that others read."""
    match dtype:
        case pl.List(inner=inner) | pl.Array(inner=inner):
            return travels(_made(inner))
        case pl.Struct(fields=fields):
            return all(travels(_made(field.dtype)) for field in fields)
        case pl.Categorical() | pl.Enum() | pl.Decimal() | pl.Null() | pl.Float16():
            return True
        case pl.Int128() | pl.UInt128() | pl.Object() | pl.Unknown():
            return False
    return dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.Boolean, pl.String, pl.Binary)


def plain(dtype: pl.DataType) -> pl.DataType:
    """Return a type with text in the place of categories, at any depth."""
    match dtype:
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.List(inner=inner):
            return pl.List(plain(_made(inner)))
        case pl.Array(inner=inner, size=size):
            return pl.Array(plain(_made(inner)), size)
        case pl.Struct(fields=fields):
            return pl.Struct({field.name: plain(_made(field.dtype)) for field in fields})
    return dtype


def written(frame: pl.DataFrame) -> bytes:
    """Return a frame as an uncompressed IPC stream of at most one record batch, without views and dictionaries."""
    casts = {name: wanted for name, dtype in frame.schema.items() if (wanted := plain(dtype)) != dtype}
    buffer = io.BytesIO()
    told = frame.cast(casts) if casts else frame  # type: ignore[arg-type]
    told.rechunk().write_ipc_stream(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def read(stream: pa.Buffer, *, budget: int) -> pl.DataFrame:
    """Return the frame that a guest wrote, after every message and every value has been checked.

    `budget` bounds the bytes that its columns refer to, since they may share a buffer a thousand times.
    """
    try:
        messages = pa_ipc.MessageReader.open_stream(pa.BufferReader(stream))
        schema = _schema(messages)
        batches = []
        rows = 0
        for message in messages:
            if message.type != "record batch":
                raise WasmBadOutput(f"the returned IPC stream has a {message.type}; it may have record batches only")
            _refuse_compressed(message.metadata)
            batch = pa_ipc.read_record_batch(message, schema)
            rows += batch.num_rows
            if batch.num_rows < 0 or rows > stream.size * 8 + 65536:
                raise WasmBadOutput(f"the returned IPC stream claims {rows} rows in {stream.size} bytes")
            budget -= sum(part.size for column in batch.columns for part in column.buffers() if part is not None)
            if budget < 0:
                raise WasmBadOutput("the guest returned more data than its memory limit, by sharing buffers")
            batch.validate(full=True)
            batches.append(batch)
        if not schema.names:
            return pl.DataFrame(height=rows)
        made = pl.from_arrow(pa.Table.from_batches(batches, schema))
    except WasmBadOutput:
        raise
    except (pa.ArrowException, ValueError, TypeError, OSError, MemoryError, EOFError, struct.error) as error:
        raise WasmBadOutput(f"the returned IPC stream does not hold: {error}") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise WasmBadOutput(f"the returned IPC stream cannot be read as columns: {error}") from error
    assert isinstance(made, pl.DataFrame)
    return made


def _schema(messages: pa_ipc.MessageReader) -> pa.Schema:
    first = next(messages, None)
    if first is None:
        raise WasmBadOutput("the returned IPC stream is empty; begin it with the schema")
    if first.type != "schema":
        raise WasmBadOutput(f"the returned IPC stream begins with a {first.type} instead of its schema")
    schema = pa_ipc.read_schema(first)
    if len(schema.names) > MOST_COLUMNS:
        raise WasmBadOutput(f"the returned IPC stream has {len(schema.names)} columns; at most {MOST_COLUMNS}")
    refuse_twice(schema.names)
    for field in schema:
        if (odd := _odd(field.type)) is not None:
            raise WasmBadOutput(
                f"returned column `{field.name}` has the type {odd}; return plain, list or struct columns, and values "
                "in the place of dictionaries"
            )
    return schema


def refuse_twice(names: Sequence[str]) -> None:
    """Refuse columns of the same name."""
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise WasmBadOutput(f"the guest returned several columns called {listing(shown(name)[1:-1] for name in twice)}")


def _odd(kind: pa.DataType) -> pa.DataType | None:
    """Return the part of a type that has no place in a frame."""
    if pa_types.is_list(kind) or pa_types.is_large_list(kind) or pa_types.is_fixed_size_list(kind):
        return _odd(kind.value_type)
    if pa_types.is_struct(kind):
        return next((odd for i in range(kind.num_fields) if (odd := _odd(kind.field(i).type)) is not None), None)
    fits = (
        (pa_types.is_primitive(kind) and not pa_types.is_interval(kind))
        or pa_types.is_decimal128(kind)
        or pa_types.is_null(kind)
        or pa_types.is_boolean(kind)
        or kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view())
    )
    return None if fits else kind


def _refuse_compressed(metadata: pa.Buffer) -> None:
    """Refuse a record batch with compressed buffers: a few bytes could unfold to more than there is memory."""
    data = memoryview(metadata)
    batch = _field(data, _table(data, 0), _HEADER)
    if batch and _field(data, _table(data, batch), _COMPRESSION):
        raise WasmBadOutput("the returned IPC stream is compressed; write it without compression")


def _table(data: memoryview, at: int) -> int:
    """Follow the offset at a place of a flatbuffer."""
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: memoryview, table: int, number: int) -> int:
    """Return where a field of a flatbuffer table is, 0 if it is not there."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    if vtable < 0:
        raise ValueError("a table of its metadata lies outside")
    slot = 4 + 2 * number
    if slot >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset = int(struct.unpack_from("<H", data, vtable + slot)[0])
    return table + offset if offset else 0


def _made(dtype: object) -> pl.DataType:
    """Return a type as an instance, which the inner type of a list may not be."""
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]
