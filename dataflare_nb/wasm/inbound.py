"""A Polars frame on its way in: Arrow arrays in one allocation of a guest's memory."""

from __future__ import annotations

import ctypes
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from ..lazy import lazy
from .layout import ARRAY, ARROW_C, BATCH, NULLABLE, OFFSET_WIDTH, SCHEMA, format_of

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

_ALIGN = 64
_PADDING = 16
_PLAIN = pl.CompatLevel.oldest()
Chunk: TypeAlias = tuple[int | bytes, int, object]
"""Where bytes are (an address or the bytes), how many, and what keeps them alive."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column as a guest sees it: from offset 0, in one piece. A missing bitmap is None."""

    name: str
    format: str
    nulls: int
    buffers: tuple[Chunk | None, ...]


def columns_of(frame: pl.DataFrame) -> list[Column]:
    """Return the columns of a frame, without views, dictionaries, chunks or offsets.

    Fixed-width data is not copied. Strings leave Polars' views for 64-bit offsets, which is a copy.
    """
    return [_column(series) for series in frame.get_columns()]


def _column(series: pl.Series) -> Column:
    arrow_format = format_of(series.name, series.dtype)
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    if series.n_chunks() > 1:
        series = series.rechunk()
    array = series.to_arrow(compat_level=_PLAIN)
    return arrow_column(series.name, arrow_format, array)


def arrow_column(name: str, arrow_format: str, array: pa.Array) -> Column:
    """Return a column from an Arrow array of the format's own type, sliced or not."""
    length, offset, nulls = len(array), array.offset, array.null_count
    width = OFFSET_WIDTH.get(arrow_format)
    if width is not None and offset:
        array = pa.concat_arrays([array, array.slice(0, 0)])
        offset = array.offset
    parts = array.buffers()
    valid = bits(parts[0], offset, length) if nulls else None
    if width is not None:
        return Column(name, arrow_format, nulls, (valid, *_text(parts, length, width)))
    if arrow_format == "b":
        return Column(name, arrow_format, nulls, (valid, bits(parts[1], offset, length)))
    size = array.type.bit_width // 8
    return Column(name, arrow_format, nulls, (valid, _range(parts[1], offset * size, length * size)))


def bits(buffer: pa.Buffer, offset: int, length: int) -> Chunk:
    """Return a bitmap that starts with the bit at `offset`."""
    first, shift = offset >> 3, offset & 7
    if not shift or not length:
        return _range(buffer, first, (length + 7) >> 3)
    window = memoryview(buffer)[first : (offset + length + 7) >> 3]
    # One big integer shifts a bitmap at memory speed, without another dependency.
    moved = (int.from_bytes(window, "little") >> shift).to_bytes(len(window), "little")
    return moved, (length + 7) >> 3, moved


def _text(parts: list[pa.Buffer | None], length: int, width: int) -> tuple[Chunk, Chunk]:
    offsets, data = parts[1], parts[2]
    if not length or offsets is None:
        return (bytes(width), width, None), (b"", 0, None)
    layout = "<i" if width == 4 else "<q"
    end: int = struct.unpack_from(layout, offsets, length * width)[0]
    return _range(offsets, 0, (length + 1) * width), _range(data, 0, end)


def _range(buffer: pa.Buffer | None, start: int, size: int) -> Chunk:
    return (b"", 0, None) if buffer is None else (buffer.address + start, size, buffer)


class Parcel:
    """A frame laid out for one allocation; `size` is known before the address is."""

    format = ARROW_C
    length = BATCH.size
    """What the guest is told as the length."""

    def __init__(self, columns: list[Column], length: int) -> None:
        self._columns, self._length = columns, length
        count = len(columns)
        self._schemas = 8
        self._schema_list = self._schemas + SCHEMA.size * (count + 1)
        self._arrays = _up(self._schema_list + 4 * count, 8)
        self._array_list = self._arrays + ARRAY.size * (count + 1)
        self._no_validity = self._array_list + 4 * count
        self._buffer_lists = self._no_validity + 4
        self._texts = self._buffer_lists + 4 * sum(len(c.buffers) for c in columns)
        self._names = bytearray(b"+s\0\0")
        self._spots: list[tuple[int, int]] = []
        for column in columns:
            at = self._texts + len(self._names)
            self._names += column.format.encode() + b"\0"
            self._spots.append((at, self._texts + len(self._names)))
            self._names += column.name.encode() + b"\0"
        self._head = end = _up(self._texts + len(self._names), _ALIGN)
        self._places: list[list[int]] = []
        for column in columns:
            places = []
            for chunk in column.buffers:
                places.append(0 if chunk is None else end)
                end += 0 if chunk is None else _up(chunk[1] + _PADDING, _ALIGN)
            self._places.append(places)
        self.size = end

    def digest(self) -> bytes:
        """Return a sum of the content, the same wherever and whenever the same rows are sent."""
        summed = hashlib.blake2b(self._names, digest_size=16)
        summed.update(struct.pack("<q", self._length))
        for chunk in (chunk for column in self._columns for chunk in column.buffers):
            if chunk is not None and chunk[1]:
                at, size, _held = chunk
                summed.update(at if isinstance(at, bytes) else (ctypes.c_char * size).from_address(at))
        return summed.digest()

    def write(self, base: int, at: int) -> None:
        """Copy everything to the guest address `at`; `base` is where the guest's memory starts in ours."""
        head = bytearray(self._head)
        head[self._texts : self._texts + len(self._names)] = self._names
        count, length = len(self._columns), self._length
        BATCH.pack_into(head, 0, at + self._schemas, at + self._arrays)
        children = at + self._schema_list
        SCHEMA.pack_into(head, self._schemas, at + self._texts, at + self._texts + 3, 0, 0, count, children, 0, 0, 0)
        ARRAY.pack_into(
            head, self._arrays, length, 0, 0, 1, count, at + self._no_validity, at + self._array_list, 0, 0, 0
        )
        pointers = self._buffer_lists
        for i, (column, places, spot) in enumerate(zip(self._columns, self._places, self._spots, strict=True)):
            schema, array = self._schemas + SCHEMA.size * (i + 1), self._arrays + ARRAY.size * (i + 1)
            struct.pack_into("<I", head, self._schema_list + 4 * i, at + schema)
            struct.pack_into("<I", head, self._array_list + 4 * i, at + array)
            SCHEMA.pack_into(head, schema, at + spot[0], at + spot[1], 0, NULLABLE, 0, 0, 0, 0, 0)
            ARRAY.pack_into(head, array, length, column.nulls, 0, len(places), 0, at + pointers, 0, 0, 0, 0)
            for chunk, place in zip(column.buffers, places, strict=True):
                struct.pack_into("<I", head, pointers, at + place if chunk is not None else 0)
                pointers += 4
                if chunk is not None and chunk[1]:
                    ctypes.memmove(base + at + place, chunk[0], chunk[1])
        ctypes.memmove(base + at, bytes(head), len(head))


def _up(value: int, to: int) -> int:
    return (value + to - 1) // to * to
