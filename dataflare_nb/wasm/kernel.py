"""A compiled column function: its module, with all that is known about it inside."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from ..dtypes import short
from ..errors import WasmPluginLoad, WasmTimeout
from .anatomy import Malformed, sections
from .columns import TYPES, Slot, accepts, advice
from .library import leb
from .policy import MOST_TIME_MS
from .traps import GuestError

SECTION = "dataflare.udf.2"
ENTRY = "kernel"
_MOST_QUOTED = 200
START, MOST_START = 64, 1 << 24
MOST_SLOTS = 1024
"""Parameters, and columns of a result: with a chunk of each, addresses stay within 32 bits."""


class Site(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in the source that can fail; `line` counts from the first line of `function`."""

    error: str
    message: str
    function: str
    line: int
    text: str
    quotes: bool = False
    """Whether Python's message ends with the text that could not be read, which the kernel leaves in memory."""

    @property
    def reason(self) -> str:
        """The error as Python ends a traceback with it."""
        return f"{self.error}: {self.message}" if self.message else self.error


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the module says about itself, in a section of its own.

    `record` says that the outputs are the fields of one value, even if there is one. Where the function stands
    is left out, so that running a cell again gives the same module.
    """

    name: str
    params: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    record: bool
    sites: tuple[Site, ...]
    metered: bool
    vector: bool
    time_ms: int
    start: int = START
    """Where the columns begin; below are constants, and the tables and the stack of what the kernel calls."""
    no_room: int = 0
    """The place that fails if a row gives more text than fits, if it gives any."""
    arena: bool = False
    """Whether it makes text, for which its memory may grow."""

    @property
    def text(self) -> bool:
        """Whether it reads, makes or gives text."""
        return self.arena or any(slot.type == "str" for slot in (*self.params, *self.outputs))

    @property
    def dtype(self) -> pl.DataType:
        """The type of the result as one column."""
        if self.record:
            return pl.Struct({slot.name: slot.dtype for slot in self.outputs})
        return self.outputs[0].dtype

    @property
    def returns(self) -> str:
        """The type of the result in words."""
        return f"({', '.join(map(str, self.outputs))})" if self.record else self.outputs[0].spelled


class UdfFailed(GuestError):  # noqa: N818 - as the rest of the family
    """A row on which the Python function would have raised.

    `row` counts from the begin of the batch; `error` and `reason` say what was raised, `place` where.
    """

    row: int
    error: str
    reason: str
    place: str

    def __init__(self, message: str) -> None:
        # Polars makes an error anew from its message, when it passes one on.
        super().__init__(message, -1000)

    @classmethod
    def at(cls, kernel: Kernel, row: int, site: Site, args: Sequence[Any], quoted: str | None = None) -> UdfFailed:
        """Return the error of a row, given the arguments of that row."""
        facts, place = kernel.facts, kernel.place(site)
        reason = site.reason if quoted is None else f"{site.reason}: {quoted[:_MOST_QUOTED]!r}"
        given = ", ".join(f"{slot.name}={_shown(arg)}" for slot, arg in zip(facts.params, args, strict=True))
        failed = cls(f"{facts.name}: {reason} at row {row} of the batch ({given}), {place}: `{site.text}`")
        failed.row, failed.error, failed.reason, failed.place = row, site.error, reason, place
        return failed


def _shown(value: Any) -> str:
    text = str(value) if hasattr(value, "isoformat") else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@dataclass(frozen=True, slots=True)
class Kernel:
    """A column function that can be stored and sent: everything is in the bytes of its module.

    `origin` is the file or cell and the line where the function begins, `defined` where its `def` stands, for errors
    only.
    """

    facts: Facts
    module: bytes = field(repr=False)
    trusted: bool = False
    origin: tuple[str, int] | None = field(default=None, compare=False)
    defined: str = field(default="", compare=False)

    @classmethod
    def load(cls, module: bytes, *, origin: tuple[str, int] | None = None) -> Kernel:
        """Read a kernel that was stored. It runs metered, since nothing proves that it ends."""
        return cls(read_facts(module), bytes(module), origin=origin)

    def place(self, site: Site) -> str:
        """Return where a site stands: `flights.py, line 12`, or `line 3 of gained` if the file is not known."""
        if self.origin is None or site.function != self.facts.name:
            return f"line {site.line} of {site.function}"
        return f"{self.origin[0]}, line {self.origin[1] + site.line - 1}"

    def too_long(self) -> WasmTimeout:
        """Return the error of a function whose time is up: it is told where it begins."""
        name, where = self.facts.name, f" ({self.defined})" if self.defined else ""
        error = WasmTimeout(
            f"@udf {name}{where}: ran longer than its {self.facts.time_ms} ms for one batch; look for a loop that does "
            "not end, or give it more time with @flare.udf(max_execution_time=...)"
        )
        error.plugin = name
        return error

    def mismatch(
        self, columns: Sequence[str], schema: Mapping[str, pl.DataType], without: Container[str] = ()
    ) -> str | None:
        """Return which column cannot be its parameter, and what to do with it; some are given no column."""
        slots = [slot for slot in self.facts.params if slot.name not in without]
        for column, slot in zip(columns, slots, strict=True):
            dtype = schema[column]
            if not accepts(slot.type, dtype):
                way = advice(column, slot.type, dtype)
                return f"`{column}`, a {short(dtype)}, as `{slot}` of {self.facts.name}; {way}"
        return None

    @staticmethod
    def takes(slot: Slot, dtype: pl.DataType) -> bool:
        """Tell whether a parameter can be given a column of that type."""
        return accepts(slot.type, dtype)

    def columns(self, output: str | None, outputs: Sequence[str]) -> dict[str, pl.DataType]:
        """Return what a step makes of the result: the column `output`, or `outputs`, one for each field."""
        if outputs:
            return {name: slot.dtype for name, slot in zip(outputs, self.facts.outputs, strict=True)}
        return {} if output is None else {output: self.dtype}

    @property
    def sha256(self) -> str:
        """The sum of the module, which is the kernel's name as a blob."""
        return hashlib.sha256(self.module).hexdigest()

    @property
    def dtype(self) -> pl.DataType:
        """The type of the result as one column."""
        return self.facts.dtype


def attach_facts(module: bytes, facts: Facts) -> bytes:
    """Return the module with a custom section that holds the facts."""
    name = SECTION.encode()
    body = bytes([len(name)]) + name + msgspec.json.encode(facts)
    return module + b"\0" + leb(len(body)) + body


def read_facts(module: bytes) -> Facts:
    """Return the facts that a module holds. The bytes may be anybody's."""
    head = bytes([len(SECTION)]) + SECTION.encode()
    try:
        for number, at, end in sections(module):
            if number == 0 and module.startswith(head, at, end):
                facts = msgspec.json.decode(module[at + len(head) : end], type=Facts)
                if _sound(facts):
                    return facts
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise WasmPluginLoad("this module is not a compiled udf; make one with @flare.udf")


def _sound(facts: Facts) -> bool:
    """Whether facts hold that anybody may have written."""
    takes, gives = ([slot.name for slot in slots] for slots in (facts.params, facts.outputs))
    types = {slot.type for slot in (*facts.params, *facts.outputs)}
    counted = 0 < len(takes) <= MOST_SLOTS and 0 < len(gives) <= (MOST_SLOTS if facts.record else 1)
    distinct = len(set(takes)) == len(takes) and len(set(gives)) == len(gives)
    named = all(map(str.isidentifier, [facts.name, *takes])) and not any("\0" in name for name in gives)
    placed = START <= facts.start <= MOST_START and 0 <= facts.no_room <= len(facts.sites)
    return counted and distinct and named and types <= TYPES.keys() and placed and 0 < facts.time_ms <= MOST_TIME_MS
