"""Where a kernel's columns lie in its memory.

A kernel is called with the address of a table of 32-bit addresses: `HEAD` words for the whole call, then
`WORDS` for each parameter, then as many for each output. An address of 0 means that there is no such thing.

A column of text has views of 16 bytes, as Arrow and Polars have them: a size, and the text if it has no more than 12
bytes, else its first 4, the number of a buffer and a place in it. The buffers are laid out anew for each chunk behind
the fixed columns: the arguments, room for each output, and the arena in which a row makes text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .columns import TYPES, Slot

CHUNK = 65536
"""Rows of one call: more are cut, so that a kernel's memory stays small. A multiple of 8, for the bitmaps."""

HEAD, WORDS = 4, 6
SHORT = 12
"""Bytes of text that stand in their view."""
VALID, ERRORS, ARENA = 0, 1, 2
"""Words of the head: the rows to compute, as bits; where to note the error of each row, 16 bits each; where the
arena begins."""
NULLS, DATA = 0, 1
"""Words of a column: its bits that are 0 for None, if it is optional; its values, of text the views."""
BASES, TEXT, SIZE = 2, 3, 4
"""More words of an argument that is text: where the addresses of its buffers stand, one at least; where the first
buffer begins, behind which are the others, and how long they are together."""
AT, END, BEGIN, NUMBER = 2, 3, 4, 5
"""More words of a result that is text: where the next one goes, where room ends; where the buffer begins that is being
filled, and its number."""
FULL, FULL_AND_FAILED = 0xFFFF, 0xFFFE
"""What stands where the number of a place that failed would: the row is to be computed again, or the first to be;
rows before it failed."""
PATIENCE = 64 << 20
"""After making so much text a kernel comes back to the host, so that it can be stopped."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a column lies."""

    nulls: int
    data: int
    width: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One chunk of each column, the table before them, and where all of it ends."""

    table: int
    valid: int
    errors: int
    params: tuple[Places, ...]
    outputs: tuple[Places, ...]
    end: int

    @classmethod
    def of(cls, start: int, params: Sequence[Slot], outputs: Sequence[Slot]) -> Layout:
        """Lay out one chunk."""
        at = start + _up(4 * (HEAD + WORDS * (len(params) + len(outputs))))

        def place(size: int) -> int:
            nonlocal at
            here, at = at, at + _up(size) + 64
            return here

        def column(slot: Slot) -> Places:
            width = TYPES[slot.type].width
            return Places(place(CHUNK // 8) if slot.optional else 0, place(CHUNK * width), width)

        valid, errors = place(CHUNK // 8), place(CHUNK * 2)
        return cls(start, valid, errors, tuple(map(column, params)), tuple(map(column, outputs)), at)

    def word(self, column: int, number: int) -> int:
        """Return the address of a column's word; outputs are counted behind parameters."""
        return self.table + 4 * (HEAD + WORDS * column + number)

    @property
    def arena_word(self) -> int:
        """The address of the word that says where the arena begins."""
        return self.table + 4 * ARENA

    def words(self, *, valid: bool, errors: bool, nulls: Sequence[bool]) -> bytes:
        """Return the table; `nulls` says which parameters have any."""
        words = [self.valid if valid else 0, self.errors if errors else 0, 0, 0]
        for place, some in zip(self.params, nulls, strict=True):
            words += [place.nulls if some else 0, place.data, 0, 0, 0, 0]
        for place in self.outputs:
            words += [place.nulls, place.data, 0, 0, 0, 0]
        return struct.pack(f"<{len(words)}I", *words)


def _up(size: int) -> int:
    return (size + 63) // 64 * 64
