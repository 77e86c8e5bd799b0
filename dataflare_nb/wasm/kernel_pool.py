"""Call a kernel on columns: what goes in, what comes out, and which rows failed."""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from ..errors import WasmConfiguration, WasmPluginExecution, WasmTimeout
from ..lazy import lazy
from .columns import TYPES, fitted
from .guest import Guest, Limits
from .inbound import bits
from .kernel import ENTRY, Facts, Kernel, Site, UdfFailed
from .kernel_layout import CHUNK, FULL, FULL_AND_FAILED, Layout
from .kernel_straight import Straight
from .kernel_text import MEMORY, MOST_GIVEN, VIEWS, TextArea, TextInput, TextOutput, quoted_text
from .pool import Pool
from .traps import too_long

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

_DONE = -1
_PLAIN = pl.CompatLevel.oldest()
_SIGNATURE = (("i32", "i32", "i32"), ("i64",))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result columns, and for each row the number of the place that failed, 0 if none did."""

    columns: list[pl.Series]
    failed: pl.Series | None = None

    def nulled(self) -> list[pl.Series]:
        """Return the columns with null where a row failed."""
        if self.failed is None:
            return self.columns
        fine = self.failed == 0
        frame = pl.DataFrame(self.columns).with_columns(pl.when(fine).then(pl.all()))
        return frame.get_columns()


class KernelPool:
    """Call a kernel from any number of threads. `limits` are those of a policy, if it has one."""

    def __init__(self, kernel: Kernel, *, fast: bool = True, limits: Limits | None = None) -> None:
        self.kernel = kernel
        self._has_policy = limits is not None
        facts = kernel.facts
        self._layout = Layout.of(facts.start, facts.params, facts.outputs)
        self._straight = Straight.of(facts, self._layout)
        pages = -(-self._layout.end // 65536)
        self._pool = Pool(
            kernel.module,
            name=facts.name,
            exports={ENTRY: _SIGNATURE},
            limits=limits or Limits(memory=MEMORY if facts.text else pages * 65536 * 2, time_ms=facts.time_ms),
            prepare=partial(_check, self._layout.end),
            metered=facts.metered or not kernel.trusted,
            trusted=kernel.trusted,
            fast=fast,
        )

    @property
    def pool(self) -> Pool:
        """The instances."""
        return self._pool

    def call(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Return the result as one column, a struct if it has fields; the first failing row raises `UdfFailed`."""
        return self.packed(self.kernel.facts, self.columns(columns))

    def columns(self, columns: Sequence[pl.Series]) -> list[pl.Series]:
        """Return the columns of the result; the first failing row raises `UdfFailed`."""
        try:
            return self._columns(columns)
        except WasmTimeout as error:
            raise self._told(error) from None

    def _columns(self, columns: Sequence[pl.Series]) -> list[pl.Series]:
        if self._straight is not None and len(columns) == len(self.kernel.facts.params):
            found = self._straight.columns(columns, self._pool.guest())
            if found is not None:
                return found
        call = self._prepared(columns)
        with self._pool.guest() as guest:
            failure = self._run(guest, call)
            quoted = quoted_text(guest.memory) if failure is not None and failure[1].quotes else None
        if failure is not None:
            row, site = failure
            raise UdfFailed.at(self.kernel, row, site, [_value(column, row) for column in columns], quoted)
        return call.result(trusted=self.kernel.trusted)

    def apart(self, columns: Sequence[pl.Series]) -> Outcome:
        """Return the columns of the result, with zeros in the failing rows, and which rows failed where."""
        call = self._prepared(columns, collect=True)
        try:
            with self._pool.guest() as guest:
                self._run(guest, call)
        except WasmTimeout as error:
            raise self._told(error) from None
        failed = call.failed()
        if failed is not None:
            self._site(int(failed.max()))  # type: ignore[arg-type]
        return Outcome(call.result(trusted=self.kernel.trusted), failed)

    def reasons(self, failed: pl.Series) -> pl.Series:
        """Return what went wrong, and where, for the numbers of places that failed."""
        numbers = failed.unique()
        told = [f"{site.reason} ({self.kernel.place(site)})" for site in map(self._site, numbers)]
        return failed.replace_strict(numbers, told, return_dtype=pl.String)

    @staticmethod
    def packed(facts: Facts, columns: Sequence[pl.Series]) -> pl.Series:
        """Return the columns of a result as one; a struct without a single value is null."""
        if not facts.record:
            return columns[0]
        fields = pl.DataFrame([s.alias(slot.name) for slot, s in zip(facts.outputs, columns, strict=True)])
        if not all(series.null_count() for series in columns):
            return fields.to_struct(facts.name)
        some = pl.any_horizontal(pl.all().is_not_null())
        return fields.select(pl.when(some).then(pl.struct(pl.all())).alias(facts.name)).to_series()

    def interrupt(self) -> None:
        """Abort the running calls."""
        self._pool.interrupt()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        self._pool.close()

    def _told(self, error: WasmTimeout) -> WasmTimeout:
        """Return the error of a call whose time is up, in the words of whoever said how long it may take."""
        return error if self._has_policy else self.kernel.too_long()

    def _prepared(self, columns: Sequence[pl.Series], *, collect: bool = False) -> _Call:
        facts = self.kernel.facts
        if len(columns) != len(facts.params):
            raise WasmConfiguration(f"{facts.name} takes {len(facts.params)} columns and was given {len(columns)}")
        cast = [fitted(facts.name, series, slot) for series, slot in zip(columns, facts.params, strict=True)]
        lengths = {series.len() for series in cast}
        if len(lengths) > 1:
            raise WasmConfiguration(f"{facts.name} was given columns of different lengths: {sorted(lengths)}")
        return _Call(facts, cast, lengths.pop() if lengths else 0, collect=collect)

    def _run(self, guest: Guest, call: _Call) -> tuple[int, Site] | None:
        base = guest.memory.base
        table = call.table(self._layout)
        ctypes.memmove(base + self._layout.table, table, len(table))
        area = TextArea(self._layout, call.texts_in, call.texts_out) if self.kernel.facts.text else None
        start = 0
        while start < call.rows:
            rows = min(CHUNK, call.rows - start)
            if area is not None:
                rows = area.most(start, rows)
                area.put(guest.memory, start, rows)
            call.put(base, self._layout, start, rows)
            ended = guest.call(ENTRY, 0, rows, self._layout.table)
            some_failed = False
            if area is not None:
                ended, some_failed = self._resumed(guest, call, area, rows, ended)
            if ended >= 0:
                return start + min(ended >> 16, rows - 1), self._site(ended & 0xFFFF)
            call.take(base, self._layout, start, rows, some_failed=some_failed or ended != _DONE)
            if area is not None:
                area.take(guest.memory, start, rows)
            start += rows
        return None

    def _resumed(self, guest: Guest, call: _Call, area: TextArea, rows: int, ended: int) -> tuple[int, bool]:
        """Call again as long as the kernel only stopped for room; return how it ended, and whether rows failed."""
        before, some_failed, budget = 0, False, guest.limits.time_ms
        while ended >= 0 and ended & 0xFFFF in (FULL, FULL_AND_FAILED):
            row = min(max(ended >> 16, before), rows - 1)
            some_failed |= ended & 0xFFFF == FULL_AND_FAILED
            if not area.drain(guest.memory, before, row):
                if not call.collects:
                    return row << 16 | self.kernel.facts.no_room, some_failed
                guest.memory.copy_in(self._layout.errors + 2 * row, struct.pack("<H", self.kernel.facts.no_room), 2)
                area.skip(guest.memory, row)
                some_failed, row = True, row + 1
            if time.monotonic() - call.started > budget / 1000:
                raise too_long(budget, plugin=self.kernel.facts.name)
            before = row
            ended = guest.call(ENTRY, row, rows, self._layout.table)
        return ended, some_failed

    def _site(self, number: int) -> Site:
        sites = self.kernel.facts.sites
        if not 1 <= number <= len(sites):
            raise WasmPluginExecution(
                f"the kernel failed at an unknown place ({number})", plugin=self.kernel.facts.name
            )
        return sites[number - 1]


def _check(size: int, guest: Guest) -> None:
    guest.memory.check(0, size, "what the kernel's columns need")


def _value(column: pl.Series, row: int) -> Any:
    """Return a value of a column, as a number if Python has no date for it."""
    try:
        return column[row]
    except (ValueError, OverflowError):
        return column[row : row + 1].to_physical()[0]


@dataclass(frozen=True, slots=True)
class _Input:
    """A column on its way in: where its values are, which of them are there, and what keeps both alive."""

    address: int
    width: int
    nulls: ctypes.Array[ctypes.c_char] | None
    keep: Any
    text: bool


class _Call:
    """The arguments of one call as addresses, the rows to compute, and room for the result."""

    def __init__(self, facts: Facts, columns: Sequence[pl.Series], rows: int, *, collect: bool) -> None:
        self.rows, self._outputs = rows, facts.outputs
        self.started = time.monotonic()
        self._inputs: list[_Input] = []
        self.texts_in: list[TextInput | None] = []
        valid: int | None = None
        most = MOST_GIVEN // max(sum(slot.type == "str" for slot in facts.params), 1)
        for series, slot in zip(columns, facts.params, strict=True):
            if series.n_chunks() > 1:
                series = series.rechunk()
            if "\0" in series.name:
                # No name of Arrow can hold it, and a kernel asks for none.
                series = series.alias(slot.name)
            text = slot.type == "str"
            array = series.to_arrow(compat_level=VIEWS if text else _PLAIN)
            buffers = array.buffers()
            nulls = None
            if array.null_count:
                at, size, _held = bits(buffers[0], array.offset, rows)
                mask = at if isinstance(at, bytes) else ctypes.string_at(at, size)
                if slot.optional:
                    nulls = ctypes.create_string_buffer(mask[:size], size)
                else:
                    number = int.from_bytes(mask, "little")
                    valid = number if valid is None else valid & number
            self.texts_in.append(TextInput(series, array, most) if text else None)
            width = TYPES[slot.type].width
            address = buffers[1].address + array.offset * width if buffers[1] is not None else 0
            self._inputs.append(_Input(address, width, nulls, array, text))
        size = (rows + 7) // 8
        self._valid = (
            None
            if valid is None
            else ctypes.create_string_buffer((valid & ((1 << rows) - 1)).to_bytes(size, "little"), size)
        )
        # Of text these are the views.
        self._data = [pa.allocate_buffer(rows * TYPES[slot.type].width) for slot in facts.outputs]
        self.texts_out = [
            TextOutput(data) if slot.type == "str" else None
            for slot, data in zip(facts.outputs, self._data, strict=True)
        ]
        self._nulls = [ctypes.create_string_buffer(size) if slot.optional else None for slot in facts.outputs]
        self.collects = collect
        self._errors = pa.allocate_buffer(rows * 2) if collect else None
        self._some_failed = False

    def table(self, layout: Layout) -> bytes:
        """Return the table that the kernel reads."""
        return layout.words(
            valid=self._valid is not None,
            errors=self._errors is not None,
            nulls=[column.nulls is not None for column in self._inputs],
        )

    def put(self, base: int, layout: Layout, start: int, rows: int) -> None:
        """Copy a chunk of the arguments to a guest's memory."""
        memmove, first, size = ctypes.memmove, start // 8, (rows + 7) // 8
        for place, column in zip(layout.params, self._inputs, strict=True):
            if not column.text:
                memmove(base + place.data, column.address + start * column.width, rows * column.width)
            if column.nulls is not None:
                memmove(base + place.nulls, ctypes.addressof(column.nulls) + first, size)
        if self._valid is not None:
            memmove(base + layout.valid, ctypes.addressof(self._valid) + first, size)
        for place in layout.outputs:
            if place.nulls and self._valid is not None:
                memmove(base + place.nulls, ctypes.addressof(self._valid) + first, size)
            elif place.nulls:
                ctypes.memset(base + place.nulls, 255, size)
        if self._errors is not None:
            ctypes.memset(base + layout.errors, 0, rows * 2)

    def take(self, base: int, layout: Layout, start: int, rows: int, *, some_failed: bool) -> None:
        """Copy a chunk of the result from a guest's memory."""
        memmove = ctypes.memmove
        parts = zip(layout.outputs, self._data, self._nulls, self.texts_out, strict=True)
        for place, data, nulls, text in parts:
            if not text:
                memmove(data.address + start * place.width, base + place.data, rows * place.width)
            if nulls is not None:
                memmove(ctypes.addressof(nulls) + start // 8, base + place.nulls, (rows + 7) // 8)
        if self._errors is not None:
            if some_failed and not self._some_failed:
                ctypes.memset(self._errors.address, 0, self._errors.size)
                self._some_failed = True
            if some_failed:
                memmove(self._errors.address + start * 2, base + layout.errors, rows * 2)

    def result(self, *, trusted: bool) -> list[pl.Series]:
        """Return the columns of the result; text that nobody vouches for is validated."""
        strict = pa.py_buffer(self._valid) if self._valid is not None else None
        found = []
        parts = zip(self._outputs, self._data, self._nulls, self.texts_out, strict=True)
        for slot, data, nulls, text in parts:
            kind = TYPES[slot.type]
            valid = strict if nulls is None else pa.py_buffer(nulls)
            if text is not None:
                array = text.array(self.rows, valid, trusted=trusted)
            else:
                array = pa.Array.from_buffers(pa.type_for_alias(kind.arrow), self.rows, [valid, data])
            series = pl.Series(slot.name, array)
            found.append(series if kind.as_it_is is not None else series.cast(kind.dtype))
        return found

    def failed(self) -> pl.Series | None:
        """Return the number of the place that failed for each row, if any did."""
        if not self._some_failed:
            return None
        return pl.Series("failed", pa.Array.from_buffers(pa.uint16(), self.rows, [None, self._errors]))
