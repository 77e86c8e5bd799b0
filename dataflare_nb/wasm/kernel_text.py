"""Columns of text on their way through a kernel: as many rows at a time as fit, and results drained as they come."""

from __future__ import annotations

import bisect
import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl
import wasmtime

from ..errors import WasmBadOutput, WasmMemoryLimit
from ..lazy import lazy
from .kernel_layout import AT, BASES, BEGIN, CHUNK, END, NUMBER, SIZE, TEXT, Layout, Places
from .memory import GuestMemory

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

MEMORY = 256 << 20
"""Bytes of memory of a kernel that works on text."""
MOST_GIVEN = 16 << 20
"""Bytes of text of one chunk, of all arguments together; eight rows are always taken together."""
_SMALL, _A_ROW = 64 << 10, 128
"""Bytes of buffers that are taken as they are, whatever they hold, and how many more for each row."""
_LEAST_ROOM, _MOST_ROOM = 1 << 20, 32 << 20
"""Bytes for the text of a result before it is drained: twice what is given, within these; doubled while a single row
needs more."""
_GAP, _VIEW = 64, 16
VIEWS, _PLAIN = pl.CompatLevel.newest(), pl.CompatLevel.oldest()
_QUOTED = 24
"""Where a text stands that could not be read as a number, see plugins/udf_runtime/src/text.h."""


class TextPiece:
    """Some rows of an argument: their views, and all buffers that these point into."""

    def __init__(self, array: pa.Array) -> None:
        _, views, *buffers = array.buffers()
        self._keep = array
        self._views = views.address + _VIEW * array.offset if views is not None else 0
        self._rows = len(array)
        self._buffers = [(buffer.address, buffer.size) for buffer in buffers if buffer is not None]
        self.size: int = sum(size for _, size in self._buffers)

    @property
    def room(self) -> int:
        """Bytes that the buffers and their addresses take."""
        return self.size + 4 * len(self._buffers) + 2 * _GAP

    def put(self, memory: GuestMemory, place: Places, at: int) -> tuple[bytes, int]:
        """Copy the views to their place and the buffers to `at`; return the words that say so, and the end."""
        ctypes.memmove(memory.base + place.data, self._views, _VIEW * self._rows)
        first = begin = at + -(-4 * len(self._buffers) // _GAP) * _GAP + _GAP
        bases = []
        for address, size in self._buffers:
            bases.append(begin)
            memory.copy_in(begin, address, size)
            begin += size
        bases = bases or [first]
        memory.copy_in(at, struct.pack(f"<{len(bases)}I", *bases), 4 * len(bases))
        return struct.pack("<III", at, first, self.size), begin


class TextInput:
    """An argument that is text.

    Views may point into buffers that hold much more than the rows at hand, such as those of a slice, and many views
    may share a text. So a column is taken as it is if its buffers are small, for what they are or for so many rows,
    and else a chunk at a time, without what is not used.
    """

    def __init__(self, series: pl.Series, array: pa.Array, most: int) -> None:
        self._series, self._most = series, most
        whole = TextPiece(array) if len(array) <= CHUNK else None
        fits = whole is not None and whole.size <= min(most, _SMALL + _A_ROW * len(array))
        self._whole = whole if fits else None

    @cached_property
    def _ends(self) -> memoryview:
        sizes = self._series.str.len_bytes().cast(pl.Int64).fill_null(0)
        ends = pl.concat([pl.Series([0]), sizes.cum_sum()], rechunk=True).to_arrow()
        return memoryview(ends.buffers()[1]).cast("B").cast("q")

    def most(self, start: int, rows: int) -> int:
        """Return how many of the rows from `start` on are taken together."""
        if self._whole is not None or rows <= 8:
            return rows
        ends = self._ends
        if ends[start + rows] - ends[start] <= self._most:
            return rows
        found = bisect.bisect_right(ends, ends[start] + self._most, start, start + rows) - 1 - start
        return max(found // 8 * 8, 8)

    def piece(self, start: int, rows: int, *, least: bool = False) -> TextPiece:
        """Return some rows; with the least memory, nothing else is in their buffers."""
        if self._whole is not None and not least:
            return self._whole
        some = self._series.slice(start, rows)
        piece = TextPiece(some.to_arrow(compat_level=VIEWS))
        if piece.size <= _SMALL and not least:
            return piece
        return TextPiece(pl.Series(some.to_arrow(compat_level=_PLAIN)).to_arrow(compat_level=VIEWS))


@dataclass(slots=True)
class TextOutput:
    """A result that is text: the views of all rows, and the buffers into which they point, as they were drained."""

    views: Any
    buffers: list[pa.Buffer] = field(default_factory=list)
    room: int = _LEAST_ROOM
    at: int = 0

    def words(self) -> bytes:
        """Return the words that say where the next text goes, and in which buffer that is."""
        return struct.pack("<IIII", self.at, self.at + self.room, self.at, len(self.buffers))

    def drain(self, memory: GuestMemory, word: int) -> None:
        """Take what is in the buffer, which ends where `word` says."""
        (end,) = struct.unpack("<I", memory.read(word, 4, "the end of a text"))
        size: int = end - self.at
        if not 0 <= size <= self.room:
            raise WasmBadOutput(f"the text of a column is {size} bytes, and there is room for {self.room}")
        if size:
            self.buffers.append(memory.copy_out(self.at, size, "the text of a column"))

    def begin(self, given: int) -> None:
        """Begin a chunk, of which so much text is given."""
        self.room = min(max(2 * given, _LEAST_ROOM), _MOST_ROOM)

    def take(self, memory: GuestMemory, place: Places, start: int, rows: int) -> None:
        """Copy the views of a chunk."""
        ctypes.memmove(self.views.address + _VIEW * start, memory.base + place.data, _VIEW * rows)

    def array(self, rows: int, valid: Any, *, trusted: bool) -> pa.Array:
        """Return the column."""
        array = pa.Array.from_buffers(pa.string_view(), rows, [valid, self.views, *self.buffers])
        if not trusted:
            try:
                array.validate(full=True)
            except pa.ArrowException as error:
                raise WasmBadOutput(f"a column of text does not hold: {error}") from None
        return array


class TextArea:
    """Where the text of one chunk lies, behind the columns of fixed width."""

    def __init__(
        self, layout: Layout, inputs: Sequence[TextInput | None], outputs: Sequence[TextOutput | None]
    ) -> None:
        self._layout, self._inputs, self._outputs = layout, inputs, outputs
        self._arguments_end = layout.end
        self.arena = layout.end

    def most(self, start: int, rows: int) -> int:
        """Return how many rows one call takes: all, or a multiple of eight."""
        for column in self._inputs:
            if column is not None:
                rows = column.most(start, rows)
        return rows

    def put(self, memory: GuestMemory, start: int, rows: int) -> None:
        """Copy a chunk of the arguments, and note where they are."""
        pieces = self._reserved(memory, start, rows)
        at = self._layout.end
        for i, piece in enumerate(pieces):
            if piece is not None:
                words, end = piece.put(memory, self._layout.params[i], at)
                memory.copy_in(self._layout.word(i, BASES), words, len(words))
                at = end + _GAP
        self._arguments_end = at
        self._place_outputs(memory)

    def drain(self, memory: GuestMemory, before: int, row: int) -> bool:
        """Take the text of the rows up to `row`, where the kernel stopped. Return whether it can go on."""
        self._drain(memory)
        if row == before:
            for output in self._outputs:
                if output is not None:
                    output.room *= 2
            try:
                memory.reserve(self._arguments_end + sum(self._rooms()) + _GAP)
            except wasmtime.WasmtimeError:
                return False
        self._place_outputs(memory)
        return True

    def skip(self, memory: GuestMemory, row: int) -> None:
        """Give a row that fits nowhere empty text."""
        for output, place in zip(self._outputs, self._layout.outputs, strict=True):
            if output is not None:
                output.room = _LEAST_ROOM
                memory.copy_in(place.data + _VIEW * row, bytes(_VIEW), _VIEW)
        self._place_outputs(memory)

    def take(self, memory: GuestMemory, start: int, rows: int) -> None:
        """Copy what is left of a chunk of the result."""
        self._drain(memory)
        for output, place in zip(self._outputs, self._layout.outputs, strict=True):
            if output is not None:
                output.take(memory, place, start, rows)

    def _drain(self, memory: GuestMemory) -> None:
        for i, output in enumerate(self._outputs):
            if output is not None:
                output.drain(memory, self._layout.word(len(self._inputs) + i, AT))

    def _rooms(self) -> list[int]:
        return [output.room + _GAP for output in self._outputs if output is not None]

    def _place_outputs(self, memory: GuestMemory) -> None:
        at = self._arguments_end
        for i, output in enumerate(self._outputs):
            if output is not None:
                output.at = at
                words = output.words()
                memory.copy_in(self._layout.word(len(self._inputs) + i, AT), words, len(words))
                at += output.room + _GAP
        self.arena = at
        memory.copy_in(self._layout.arena_word, struct.pack("<I", at), 4)

    def _reserved(self, memory: GuestMemory, start: int, rows: int) -> list[TextPiece | None]:
        """Return the rows of the arguments, for which there is room then."""
        for least in (False, True):
            pieces = [None if column is None else column.piece(start, rows, least=least) for column in self._inputs]
            given = sum(piece.size for piece in pieces if piece is not None)
            for output in self._outputs:
                if output is not None:
                    output.begin(given)
            needed = sum(piece.room for piece in pieces if piece is not None) + sum(self._rooms())
            try:
                memory.reserve(self._layout.end + needed + _GAP)
            except wasmtime.WasmtimeError:
                continue
            return pieces
        raise WasmMemoryLimit(
            f"rows {start} to {start + rows - 1} of the batch hold {given >> 20} MiB of text, "
            "and a compiled function has not so much memory"
        )


def quoted_text(memory: GuestMemory) -> str:
    """Return the text that a kernel could not read as a number."""
    place, size = struct.unpack("<II", memory.read(_QUOTED, 8, "the text of an error"))
    return memory.read(place & 0x7FFFFFFF, size, "the text of an error").decode(errors="replace")


assert (TEXT, SIZE) == (BASES + 1, BASES + 2)
assert (END, BEGIN, NUMBER) == (AT + 1, AT + 2, AT + 3)
