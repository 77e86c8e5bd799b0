"""Columns of text on their way through a kernel: as many rows at a time as fit, and results drained as they come."""

from __future__ import annotations

import bisect
import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import wasmtime

from ..errors import WasmBadOutput, WasmMemoryLimit
from ..lazy import lazy
from .kernel_layout import AT, BASE, TEXT, Layout, Places
from .memory import GuestMemory

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

MEMORY = 256 << 20
"""Bytes of memory of a kernel that works on text."""
_MOST_GIVEN = 16 << 20
"""Bytes of text of one chunk, of all arguments together; eight rows are always taken together."""
_LEAST_ROOM, _MOST_ROOM = 1 << 20, 32 << 20
"""Bytes for the text of a result before it is drained: twice what is given, within these; doubled while a single row
needs more."""
_GAP = 64
_QUOTED = 24
"""Where a text stands that could not be read as a number, see plugins/udf_runtime/src/text.h."""


class TextInput:
    """An argument that is text."""

    def __init__(self, array: pa.Array) -> None:
        buffers = array.buffers()
        self._keep = buffers
        count = len(array)
        first = array.offset
        self.offsets = (
            memoryview(buffers[1]).cast("B").cast("q")[first : first + count + 1]
            if count
            else memoryview(bytes(8)).cast("q")
        )
        self.address = buffers[1].address + 8 * first if count else 0
        self._data = buffers[2].address if buffers[2] is not None else 0

    def most(self, start: int, rows: int, size: int) -> int:
        """Return how many of the rows from `start` on have no more than `size` bytes together."""
        offsets = self.offsets
        if offsets[start + rows] - offsets[start] <= size:
            return rows
        return bisect.bisect_right(offsets, offsets[start] + size, start, start + rows) - 1 - start

    def size(self, start: int, rows: int) -> int:
        """Return the bytes of some rows."""
        return int(self.offsets[start + rows] - self.offsets[start])

    def put(self, memory: GuestMemory, place: Places, at: int, start: int, rows: int) -> bytes:
        """Copy some rows to a guest's memory, the text to `at`; return the words that say where it is."""
        begin, size = self.offsets[start], self.size(start, rows)
        ctypes.memmove(memory.base + place.data, self.address + 8 * start, 8 * (rows + 1))
        memory.copy_in(at, self._data + begin, size)
        return struct.pack("<III", (at - begin) & 0xFFFFFFFF, at, size)


@dataclass(slots=True)
class TextOutput:
    """A result that is text: the offsets of all rows, and the pieces of text as they were drained."""

    offsets: Any
    pieces: list[pa.Buffer] = field(default_factory=list)
    drained: int = 0
    room: int = _LEAST_ROOM
    at: int = 0

    def words(self) -> bytes:
        """Return the words that say where the next text goes, and what makes an offset of its end."""
        return struct.pack("<IIq", self.at, self.at + self.room, self.drained - self.at)

    def drain(self, memory: GuestMemory, place: Places, row: int) -> int:
        """Take the text of the rows before `row` of the chunk; return how much it was."""
        (end,) = struct.unpack("<q", memory.read(place.data + 8 * row, 8, "an offset of text"))
        size: int = end - self.drained
        if not 0 <= size <= self.room:
            raise WasmBadOutput(f"the text of a column is {size} bytes, and there is room for {self.room}")
        if size:
            self.pieces.append(memory.copy_out(self.at, size, "the text of a column"))
        self.drained = end
        return size

    def begin(self, memory: GuestMemory, place: Places, given: int) -> None:
        """Write the first offset of a chunk, of which so much text is given."""
        self.room = min(max(2 * given, _LEAST_ROOM), _MOST_ROOM)
        memory.copy_in(place.data, struct.pack("<q", self.drained), 8)

    def take(self, memory: GuestMemory, place: Places, start: int, rows: int) -> None:
        """Copy the offsets of a chunk."""
        ctypes.memmove(self.offsets.address + 8 * start, memory.base + place.data, 8 * (rows + 1))

    def array(self, rows: int, valid: Any, *, trusted: bool) -> pa.Array:
        """Return the column."""
        if not rows:
            ctypes.memset(self.offsets.address, 0, 8)
        array = pa.Array.from_buffers(pa.large_string(), rows, [valid, self.offsets, self._content()])
        if not trusted:
            try:
                array.validate(full=True)
            except pa.ArrowException as error:
                raise WasmBadOutput(f"a column of text does not hold: {error}") from None
        return array

    def _content(self) -> pa.Buffer:
        if len(self.pieces) == 1:
            return self.pieces[0]
        whole = pa.allocate_buffer(self.drained)
        at = whole.address
        for piece in self.pieces:
            ctypes.memmove(at, piece.address, piece.size)
            at += piece.size
        return whole


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
        given = [column for column in self._inputs if column is not None]
        for column in given:
            rows = min(rows, max(column.most(start, rows, _MOST_GIVEN // len(given)), 8) if rows > 8 else rows)
        return rows

    def put(self, memory: GuestMemory, start: int, rows: int) -> None:
        """Copy a chunk of the arguments, and note where they are."""
        at = self._layout.end
        sizes = [column.size(start, rows) if column is not None else 0 for column in self._inputs]
        for output, place in zip(self._outputs, self._layout.outputs, strict=True):
            if output is not None:
                output.begin(memory, place, sum(sizes))
        self._reserve(memory, at + sum(sizes) + _GAP * len(sizes) + sum(self._rooms()), start, rows, sum(sizes))
        for i, (column, size) in enumerate(zip(self._inputs, sizes, strict=True)):
            if column is not None:
                place = self._layout.params[i]
                words = column.put(memory, place, at, start, rows)
                memory.copy_in(self._layout.word(i, BASE), words, len(words))
                at += size + _GAP
        self._arguments_end = at
        self._place_outputs(memory)

    def drain(self, memory: GuestMemory, before: int, row: int) -> bool:
        """Take the text of the rows up to `row`, where the kernel stopped. Return whether it can go on."""
        for output, place in zip(self._outputs, self._layout.outputs, strict=True):
            if output is not None:
                output.drain(memory, place, row)
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
                memory.copy_in(place.data + 8 * (row + 1), struct.pack("<q", output.drained), 8)
        self._place_outputs(memory)

    def take(self, memory: GuestMemory, start: int, rows: int) -> None:
        """Copy what is left of a chunk of the result."""
        for output, place in zip(self._outputs, self._layout.outputs, strict=True):
            if output is not None:
                output.drain(memory, place, rows)
                output.take(memory, place, start, rows)

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

    def _reserve(self, memory: GuestMemory, size: int, start: int, rows: int, text: int) -> None:
        try:
            memory.reserve(size + _GAP)
        except wasmtime.WasmtimeError:
            raise WasmMemoryLimit(
                f"rows {start} to {start + rows - 1} of the batch hold {text >> 20} MiB of text, "
                "and a compiled function has not so much memory"
            ) from None


def quoted_text(memory: GuestMemory) -> str:
    """Return the text that a kernel could not read as a number."""
    place, size = struct.unpack("<II", memory.read(_QUOTED, 8, "the text of an error"))
    return memory.read(place & 0x7FFFFFFF, size, "the text of an error").decode(errors="replace")


assert TEXT == BASE + 1
