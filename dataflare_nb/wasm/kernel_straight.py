"""The short way for what is called most: one chunk of whole numbers without a null, no row of which fails.

It does what the long way does with as little Python as that takes. Wherever the case is another, it says so, and
the caller takes the long way.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import polars as pl

from ..lazy import lazy
from .columns import TYPES, fitted
from .guest import Guest
from .kernel import ENTRY, Facts
from .kernel_layout import CHUNK, Layout

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

_DONE = -1
_PLAIN = pl.CompatLevel.oldest()


class Straight:
    """Calls of one kernel whose columns are floats and ints, and whose results are never None."""

    def __init__(self, facts: Facts, layout: Layout) -> None:
        self._table = layout.words(valid=False, errors=False, nulls=[False] * len(facts.params))
        self._at = layout.table
        self._name = facts.name
        self._params = [
            (slot, TYPES[slot.type].as_it_is, p.width, p.data)
            for slot, p in zip(facts.params, layout.params, strict=True)
        ]
        self._outputs = [
            (slot.name, TYPES[slot.type].width, p.data, pa.type_for_alias(TYPES[slot.type].arrow), slot.type == "bool")
            for slot, p in zip(facts.outputs, layout.outputs, strict=True)
        ]

    @classmethod
    def of(cls, facts: Facts, layout: Layout) -> Straight | None:
        """Return the short way for a kernel, if it has one."""
        plain = all(TYPES[slot.type].as_it_is is not None for slot in facts.params)
        fixed = all(slot.type in ("float", "int", "bool") for slot in facts.outputs)
        straight = plain and fixed and not facts.text and not any(slot.optional for slot in facts.outputs)
        return cls(facts, layout) if straight else None

    def columns(self, columns: Sequence[pl.Series], lend: AbstractContextManager[Guest]) -> list[pl.Series] | None:
        """Return the result, or None if the long way has to be gone."""
        moves = []
        rows = None
        for series, (slot, kind, width, place) in zip(columns, self._params, strict=True):
            if type(series.dtype) is not kind:
                series = fitted(self._name, series, slot)
            if series.n_chunks() != 1 or "\0" in series.name:
                return None
            array = series.to_arrow(compat_level=_PLAIN)
            if rows is None:
                rows = len(array)
            if array.null_count or len(array) != rows or not 0 < rows <= CHUNK:
                return None
            # The array is kept, since it is what keeps its values where they are.
            moves.append((place, array.buffers()[1].address + array.offset * width, rows * width, array))
        assert rows is not None
        memmove, found = ctypes.memmove, []
        with lend as guest:
            base = guest.memory.base
            memmove(base + self._at, self._table, len(self._table))
            for place, address, size, _ in moves:
                memmove(base + place, address, size)
            if guest.call(ENTRY, 0, rows, self._at) != _DONE:
                return None
            for name, width, place, arrow, is_bool in self._outputs:
                data = pa.allocate_buffer(rows * width)
                memmove(data.address, base + place, rows * width)
                made = pl.Series(name, pa.Array.from_buffers(arrow, rows, [None, data]))
                found.append(made.cast(pl.Boolean) if is_bool else made)
        return found
