"""A compiled column function: its module with all that is known about it inside, and how it is called."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from ..errors import WasmConfiguration, WasmPluginExecution, WasmPluginLoad
from ..lazy import lazy
from .guest import Guest, Limits
from .inbound import bits
from .pool import Pool
from .traps import GuestError

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

CHUNK = 65536
"""Rows of one call: more are cut, so that a kernel's memory never grows. A multiple of 8, for the bitmaps."""
START = 64
SECTION = "dataflare.udf"
ENTRY = "kernel"
WIDTHS = {"float": 8, "int": 8, "bool": 1}
DTYPES: dict[str, pl.DataType] = {"float": pl.Float64(), "int": pl.Int64(), "bool": pl.Boolean()}
_ARROW = {"float": "float64", "int": "int64", "bool": "uint8"}
_SHOWN = 1_000_000


class Site(msgspec.Struct, frozen=True):
    """A place in the source that can fail; `line` counts from the first line of `function`."""

    error: str
    message: str
    function: str
    line: int
    text: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the module says about itself, in a section of its own.

    Where the function stands is left out, so that running a cell again gives the same module.
    """

    name: str
    params: tuple[tuple[str, str], ...]
    returns: str
    sites: tuple[Site, ...]
    metered: bool
    vector: bool
    time_ms: int


class UdfFailed(GuestError):  # noqa: N818 - as the rest of the family
    """A row on which the Python function would have raised. `row`, `error` and `place` say what and where."""

    def __init__(self, kernel: Kernel, row: int, site: Site) -> None:
        name = kernel.facts.name
        self.row, self.error, self.place = row, site.error, kernel.place(site)
        self.reason = f"{site.error}: {site.message}" if site.message else site.error
        super().__init__(f"{name}: {self.reason} at row {row} of the batch, {self.place}: `{site.text}`", -1000)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A column function that can be stored and sent: everything is in the bytes of its module.

    `origin` is the file or cell and the line where the function begins, for errors only.
    """

    facts: Facts
    module: bytes = field(repr=False)
    trusted: bool = False
    origin: tuple[str, int] | None = field(default=None, compare=False)

    @classmethod
    def load(cls, module: bytes, *, origin: tuple[str, int] | None = None) -> Kernel:
        """Read a kernel that was stored. It runs metered, since nothing proves that it ends."""
        return cls(read_facts(module), bytes(module), origin=origin)

    def place(self, site: Site) -> str:
        """Return where a site stands: `flights.py, line 12`, or `line 3 of gained` if the file is not known."""
        if self.origin is None or site.function != self.facts.name:
            return f"line {site.line} of {site.function}"
        return f"{self.origin[0]}, line {self.origin[1] + site.line - 1}"

    @property
    def sha256(self) -> str:
        """The sum of the module, which is the kernel's name as a blob."""
        return hashlib.sha256(self.module).hexdigest()

    @property
    def dtype(self) -> pl.DataType:
        """The type of the result."""
        return DTYPES[self.facts.returns]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a kernel's columns stand in its memory, which never grows."""

    valid: int
    inputs: tuple[int, ...]
    output: int
    end: int

    @classmethod
    def of(cls, params: Sequence[str], returns: str) -> Layout:
        """Lay out one chunk of each column."""
        places, at = [], START + CHUNK // 8
        for kind in [*params, returns]:
            places.append(at)
            at += CHUNK * WIDTHS[kind] + 64
        return cls(START, tuple(places[:-1]), places[-1], at)


class KernelPool:
    """Call a kernel from any number of threads."""

    def __init__(self, kernel: Kernel, *, fast: bool = True) -> None:
        self.kernel = kernel
        facts = kernel.facts
        self._kinds = [kind for _, kind in facts.params]
        self._layout = Layout.of(self._kinds, facts.returns)
        pages = -(-self._layout.end // 65536)
        signature = (("i32",) * (4 + len(self._kinds)), ("i64",))
        self._pool = Pool(
            kernel.module,
            name=facts.name,
            exports={ENTRY: signature},
            limits=Limits(memory=pages * 65536 * 2, time_ms=facts.time_ms),
            prepare=self._check,
            metered=facts.metered or not kernel.trusted,
            fast=fast,
        )

    @property
    def pool(self) -> Pool:
        """The instances."""
        return self._pool

    def call(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Return the result for each row, null where an argument is; the first failing row raises `UdfFailed`."""
        prepared = self._prepared(columns)
        with self._pool.guest() as guest:
            failure = self._run(guest, prepared, 0)
        if failure is not None:
            raise UdfFailed(self.kernel, *failure)
        return self._result(prepared)

    def call_apart(self, columns: Sequence[pl.Series]) -> tuple[pl.Series, list[UdfFailed]]:
        """Return the result, with anything in the failing rows, and what failed, in order."""
        prepared = self._prepared(columns)
        ctypes.memset(prepared.output.address, 0, prepared.output.size)
        failures: list[UdfFailed] = []
        row = 0
        with self._pool.guest() as guest:
            while (failure := self._run(guest, prepared, row)) is not None:
                failures.append(UdfFailed(self.kernel, *failure))
                row = failure[0] + 1
        return self._result(prepared), failures

    def interrupt(self) -> None:
        """Abort the running calls."""
        self._pool.interrupt()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        self._pool.close()

    def _check(self, guest: Guest) -> None:
        guest.memory.check(0, self._layout.end, "what the kernel's columns need")

    def _prepared(self, columns: Sequence[pl.Series]) -> _Columns:
        facts = self.kernel.facts
        if len(columns) != len(facts.params):
            raise WasmConfiguration(f"{facts.name} takes {len(facts.params)} columns and was given {len(columns)}")
        cast = [
            fitted(facts.name, series, name, kind) for series, (name, kind) in zip(columns, facts.params, strict=True)
        ]
        lengths = {series.len() for series in cast}
        if len(lengths) > 1:
            raise WasmConfiguration(f"{facts.name} was given columns of different lengths: {sorted(lengths)}")
        return _Columns(cast, self._kinds, facts.returns, lengths.pop() if lengths else 0)

    def _run(self, guest: Guest, data: _Columns, first: int) -> tuple[int, Site] | None:
        layout, base, memmove = self._layout, guest.memory.base, ctypes.memmove
        out_width = WIDTHS[self.kernel.facts.returns]
        for start in range(first // CHUNK * CHUNK, data.rows, CHUNK):
            rows = min(CHUNK, data.rows - start)
            if data.valid is not None:
                memmove(base + layout.valid, data.valid_address + start // 8, (rows + 7) // 8)
            for place, (address, width) in zip(layout.inputs, data.addresses, strict=True):
                memmove(base + place, address + start * width, rows * width)
            skip = max(first - start, 0)
            valid = layout.valid if data.valid is not None else 0
            ended = guest.call(ENTRY, skip, rows, valid, *layout.inputs, layout.output)
            stop = rows if ended < 0 else min(ended >> 16, rows)
            done = max(stop - skip, 0) * out_width
            memmove(data.output.address + (start + skip) * out_width, base + layout.output + skip * out_width, done)
            if ended >= 0:
                return start + stop, self._site(ended & 0xFFFF)
        return None

    def _site(self, number: int) -> Site:
        sites = self.kernel.facts.sites
        if not 1 <= number <= len(sites):
            raise WasmPluginExecution(
                f"the kernel failed at an unknown place ({number})", plugin=self.kernel.facts.name
            )
        return sites[number - 1]

    def _result(self, data: _Columns) -> pl.Series:
        valid = pa.py_buffer(data.valid) if data.valid is not None else None
        kind = self.kernel.facts.returns
        array = pa.Array.from_buffers(pa.type_for_alias(_ARROW[kind]), data.rows, [valid, data.output])
        series = pl.Series(self.kernel.facts.name, array)
        return series.cast(pl.Boolean) if kind == "bool" else series


class _Columns:
    """The arguments of one call as addresses, one validity for all, and room for the result."""

    def __init__(self, columns: Sequence[pl.Series], kinds: Sequence[str], returns: str, rows: int) -> None:
        self.rows = rows
        self.valid: bytes | None = None
        self.addresses: list[tuple[int, int]] = []
        self._keep: list[Any] = []
        valid: int | None = None
        for series, kind in zip(columns, kinds, strict=True):
            if kind == "bool":
                series = series.cast(pl.UInt8)
            array = series.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
            buffers = array.buffers()
            if array.null_count:
                at, size, _held = bits(buffers[0], array.offset, rows)
                mask = int.from_bytes(at if isinstance(at, bytes) else ctypes.string_at(at, size), "little")
                valid = mask if valid is None else valid & mask
            width = WIDTHS[kind]
            data = buffers[1]
            self.addresses.append((data.address + array.offset * width if data is not None else 0, width))
            self._keep.append(array)
        if valid is not None:
            size = (rows + 7) // 8
            self.valid = (valid & ((1 << rows) - 1)).to_bytes(size, "little")
            self._valid = ctypes.create_string_buffer(self.valid, size)
            self.valid_address = ctypes.addressof(self._valid)
        self.output = pa.allocate_buffer(rows * WIDTHS[returns])


def fitted(udf: str, series: pl.Series, param: str, kind: str) -> pl.Series:
    """Return a column as a parameter takes it: any int as int, any number as float, bool as bool."""
    dtype = series.dtype
    wanted = DTYPES[kind]
    if dtype == wanted:
        return series
    if not accepts(kind, dtype):
        raise WasmConfiguration(
            f"{udf}: column `{series.name}` is {dtype} and parameter `{param}` is {kind}; {_advice(series.name, kind)}"
        )
    try:
        return series.cast(wanted)
    except pl.exceptions.InvalidOperationError:
        raise WasmPluginExecution(
            f"{udf}: column `{series.name}` ({dtype}) holds values that do not fit into {wanted}, as `{param}` needs"
        ) from None


def accepts(kind: str, dtype: pl.DataType) -> bool:
    """Whether a column of that type can be a parameter of that kind."""
    if isinstance(dtype, pl.Null):
        return True
    if kind == "float":
        return dtype.is_integer() or dtype.is_float()
    return dtype.is_integer() if kind == "int" else isinstance(dtype, pl.Boolean)


def _advice(column: str, kind: str) -> str:
    target = {"float": "pl.Float64", "int": "pl.Int64", "bool": "pl.Boolean"}[kind]
    return f"convert it before: .with_columns(pl.col({column!r}).cast({target}))"


def attach_facts(module: bytes, facts: Facts) -> bytes:
    """Return the module with a custom section that holds the facts."""
    name = SECTION.encode()
    body = bytes([len(name)]) + name + msgspec.json.encode(facts)
    return module + b"\0" + _leb(len(body)) + body


def read_facts(module: bytes) -> Facts:
    """Return the facts that a module holds."""
    at = 8
    name = SECTION.encode()
    try:
        while at < len(module):
            number = module[at]
            size, at = _unleb(module, at + 1)
            body = module[at : at + size]
            if number == 0 and body[1 : 1 + len(name)] == name and body[0] == len(name):
                facts = msgspec.json.decode(body[1 + len(name) :], type=Facts)
                if {facts.returns, *(kind for _, kind in facts.params)} <= WIDTHS.keys():
                    return facts
            at += size
    except (IndexError, msgspec.DecodeError, UnicodeDecodeError):
        pass
    raise WasmPluginLoad("this module is not a compiled udf; make one with @flare.udf")


def _leb(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _unleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
