"""A Polars frame on its way in: Arrow arrays in one allocation of a guest's memory."""

from __future__ import annotations

import ctypes
import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
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


Shape: TypeAlias = tuple[tuple[str, str, tuple[int | None, ...]], ...]
"""Name, format and bytes of each buffer of each column; None for a bitmap that is missing."""


class Parcel:
    """A frame laid out for one allocation; `size` is known before the address is."""

    format = ARROW_C
    length = BATCH.size
    """What the guest is told as the length."""

    def __init__(self, columns: list[Column], length: int) -> None:
        self._columns, self._length = columns, length
        self._shape: Shape = tuple(
            (c.name, c.format, tuple([None if chunk is None else chunk[1] for chunk in c.buffers])) for c in columns
        )
        self._layout = _layout(self._shape)
        self.size = self._layout.size

    def digest(self) -> bytes:
        """Return a sum of the content, the same wherever and whenever the same rows are sent."""
        summed = hashlib.blake2b(self._layout.texts, digest_size=16)
        summed.update(struct.pack("<q", self._length))
        for chunk in (chunk for column in self._columns for chunk in column.buffers):
            if chunk is not None and chunk[1]:
                at, size, _held = chunk
                summed.update(at if isinstance(at, bytes) else (ctypes.c_char * size).from_address(at))
        return summed.digest()

    def write(self, base: int, at: int) -> None:
        """Copy everything to the guest address `at`; `base` is where the guest's memory starts in ours."""
        head = _head(self._shape, tuple([column.nulls for column in self._columns]), self._length, at)
        memmove, start = ctypes.memmove, base + at
        memmove(start, head, len(head))
        for column, places in zip(self._columns, self._layout.places, strict=True):
            for chunk, place in zip(column.buffers, places, strict=True):
                if chunk is not None and chunk[1]:
                    memmove(start + place, chunk[0], chunk[1])


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything is, counted from the beginning of the allocation."""

    schemas: int
    schema_list: int
    arrays: int
    array_list: int
    no_validity: int
    buffer_lists: int
    texts_at: int
    texts: bytes
    spots: tuple[tuple[int, int], ...]
    """Format and name of each column."""
    head: int
    """How long that is which stands before the buffers."""
    places: tuple[tuple[int, ...], ...]
    size: int


# Batch after batch has the same columns, and mostly as many rows.
@lru_cache(maxsize=64)
def _layout(shape: Shape) -> _Layout:
    count = len(shape)
    schemas = 8
    schema_list = schemas + SCHEMA.size * (count + 1)
    arrays = _up(schema_list + 4 * count, 8)
    array_list = arrays + ARRAY.size * (count + 1)
    no_validity = array_list + 4 * count
    buffer_lists = no_validity + 4
    texts_at = buffer_lists + 4 * sum(len(sizes) for _, _, sizes in shape)
    texts, spots = bytearray(b"+s\0\0"), []
    for name, arrow_format, _ in shape:
        at = texts_at + len(texts)
        texts += arrow_format.encode() + b"\0"
        spots.append((at, texts_at + len(texts)))
        texts += name.encode() + b"\0"
    head = end = _up(texts_at + len(texts), _ALIGN)
    places = []
    for _, _, sizes in shape:
        here = []
        for size in sizes:
            here.append(0 if size is None else end)
            end += 0 if size is None else _up(size + _PADDING, _ALIGN)
        places.append(tuple(here))
    return _Layout(
        schemas=schemas,
        schema_list=schema_list,
        arrays=arrays,
        array_list=array_list,
        no_validity=no_validity,
        buffer_lists=buffer_lists,
        texts_at=texts_at,
        texts=bytes(texts),
        spots=tuple(spots),
        head=head,
        places=tuple(places),
        size=end,
    )


@lru_cache(maxsize=64)
def _head(shape: Shape, nulls: tuple[int, ...], length: int, at: int) -> bytes:
    """Return the structures and texts that stand before the buffers, for an allocation at the guest address `at`."""
    layout, count = _layout(shape), len(shape)
    head = bytearray(layout.head)
    texts = layout.texts_at
    head[texts : texts + len(layout.texts)] = layout.texts
    BATCH.pack_into(head, 0, at + layout.schemas, at + layout.arrays)
    children = at + layout.schema_list
    SCHEMA.pack_into(head, layout.schemas, at + texts, at + texts + 3, 0, 0, count, children, 0, 0, 0)
    ARRAY.pack_into(
        head, layout.arrays, length, 0, 0, 1, count, at + layout.no_validity, at + layout.array_list, 0, 0, 0
    )
    pointers = layout.buffer_lists
    for i, ((_, _, sizes), places, spot) in enumerate(zip(shape, layout.places, layout.spots, strict=True)):
        schema, array = layout.schemas + SCHEMA.size * (i + 1), layout.arrays + ARRAY.size * (i + 1)
        struct.pack_into("<I", head, layout.schema_list + 4 * i, at + schema)
        struct.pack_into("<I", head, layout.array_list + 4 * i, at + array)
        SCHEMA.pack_into(head, schema, at + spot[0], at + spot[1], 0, NULLABLE, 0, 0, 0, 0, 0)
        ARRAY.pack_into(head, array, length, nulls[i], 0, len(places), 0, at + pointers, 0, 0, 0, 0)
        for size, place in zip(sizes, places, strict=True):
            struct.pack_into("<I", head, pointers, 0 if size is None else at + place)
            pointers += 4
    return bytes(head)


def _up(value: int, to: int) -> int:
    return (value + to - 1) // to * to
