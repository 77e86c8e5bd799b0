"""What compiled functions call and WebAssembly has not: a library in which they find it, function by function.

`library.bin` is built from the C sources in `plugins/udf_runtime`. A kernel's text imports what it calls, so that its
own functions are numbered behind them, and `link` puts the bodies where the imports stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

import msgspec

_FILE = Path(__file__).with_name("library.bin")
STACK = 16 << 10
"""Bytes for the local arrays of library functions, which do not recurse."""
_IMPORT, _FUNCTION, _CODE, _DATA = 2, 3, 10, 11


class PatchKind(IntEnum):
    """What goes to a place in a function's code: five bytes of a LEB128 number each."""

    CALL = 0
    ADDRESS = 1
    CONSTANT = 2
    STACK = 3


class Patch(msgspec.Struct, frozen=True, array_like=True):
    """A place in a function's code, and the function or table it means."""

    at: int
    kind: PatchKind
    target: int
    addend: int


class Function(msgspec.Struct, frozen=True, array_like=True):
    """One function: its code begins with its locals."""

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    code: bytes
    patches: tuple[Patch, ...]


class Data(msgspec.Struct, frozen=True, array_like=True):
    """One table."""

    name: str
    align: int
    content: bytes


class Library(msgspec.Struct, frozen=True, array_like=True):
    """All functions and tables; patches count in these."""

    functions: tuple[Function, ...]
    data: tuple[Data, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """The functions that a kernel needs, in their order, and where their tables and their stack stand."""

    functions: tuple[int, ...]
    places: dict[int, int]
    stack: int | None
    end: int

    def imports(self) -> str:
        """Return the text that declares the functions."""
        return "\n".join(f"  {_declared(library().functions[i])}" for i in self.functions)

    def globals(self) -> str:
        """Return the text that declares the stack, which must be the first global."""
        return "" if self.stack is None else f"(global $stack (mut i32) (i32.const {self.stack}))"

    def placed(self, text: str) -> str:
        """Return the text with the places of tables where it has their marks."""
        for number, at in self.places.items():
            text = text.replace(table_mark(library().data[number].name), str(at))
        return text

    def tables(self) -> list[bytes]:
        """Return the tables as data segments."""
        content = library().data
        return [
            b"\0\x41" + _signed(at) + b"\x0b" + leb(len(content[i].content)) + content[i].content
            for i, at in self.places.items()
        ]


NOTHING = Selection((), {}, None, 0)


@cache
def library() -> Library:
    """Return the library, which is read once."""
    return msgspec.msgpack.decode(_FILE.read_bytes(), type=Library)


@cache
def _numbers() -> dict[str, int]:
    return {function.name: i for i, function in enumerate(library().functions)}


@cache
def _table_numbers() -> dict[str, int]:
    return {table.name: i for i, table in enumerate(library().data)}


def table(name: str) -> Data:
    """Return a table by its name."""
    return library().data[_table_numbers()[name]]


def table_mark(name: str) -> str:
    """Return what stands in a kernel's text for the place of a table until `Selection.placed`."""
    return f"<{name}>"


def select(names: Iterable[str], start: int, tables: Iterable[str] = ()) -> Selection:
    """Return what the named functions and whoever reads the named tables need; all of it begins at `start`."""
    numbers, functions = _numbers(), library().functions
    waiting = [numbers[name] for name in names]
    wanted: set[int] = set()
    wanted_tables = {_table_numbers()[name] for name in tables}
    stack = False
    while waiting:
        number = waiting.pop()
        if number in wanted:
            continue
        wanted.add(number)
        for patch in functions[number].patches:
            if patch.kind is PatchKind.CALL:
                waiting.append(patch.target)
            elif patch.kind is PatchKind.STACK:
                stack = True
            else:
                wanted_tables.add(patch.target)
    at = _up(start, 16) + (STACK if stack else 0)
    top = at if stack else None
    places = {}
    for number in sorted(wanted_tables):
        table = library().data[number]
        at = _up(at, table.align)
        places[number] = at
        at += len(table.content)
    return Selection(tuple(sorted(wanted)), places, top, at)


def link(module: bytes, selection: Selection) -> bytes:
    """Return the module with the bodies of what it imports, and the tables that are read."""
    if not selection.functions and not selection.places:
        return module
    found: list[tuple[int, bytes]] = []
    at = 8
    while at < len(module):
        number = module[at]
        size, at = unsigned(module, at + 1)
        found.append((number, module[at : at + size]))
        at += size
    kinds = next((_kinds(content) for number, content in found if number == _IMPORT), [])
    more = {
        _FUNCTION: [leb(kind) for kind in kinds],
        _CODE: [_body(library().functions[i], selection) for i in selection.functions],
        _DATA: selection.tables(),
    }
    out = [module[:8]]
    for number, content in found:
        if number == _IMPORT:
            continue
        if number in more:
            content = _longer(content, more.pop(number))
        out.append(_section(number, content))
        if number == _CODE and _DATA not in dict(found) and more[_DATA]:
            out.append(_section(_DATA, _longer(b"\0", more[_DATA])))
    return b"".join(out)


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


def _longer(content: bytes, parts: Sequence[bytes]) -> bytes:
    """Return a section's content with more parts at its beginning."""
    count, rest = unsigned(content, 0)
    return leb(count + len(parts)) + b"".join(parts) + content[rest:]


def _kinds(content: bytes) -> list[int]:
    """Return the type of each imported function."""
    count, at = unsigned(content, 0)
    kinds = []
    for _ in range(count):
        for _ in range(2):
            size, at = unsigned(content, at)
            at += size
        kind, at = unsigned(content, at + 1)
        kinds.append(kind)
    return kinds


def _body(function: Function, selection: Selection) -> bytes:
    code = bytearray(function.code)
    for patch in function.patches:
        if patch.kind is PatchKind.CALL:
            value = selection.functions.index(patch.target)
        elif patch.kind is PatchKind.STACK:
            value = 0
        else:
            value = selection.places[patch.target] + patch.addend
        code[patch.at : patch.at + 5] = _signed(value)
    return leb(len(code)) + bytes(code)


def _signed(value: int) -> bytes:
    """Return a number below 2**31 as a LEB128 number of five bytes, which reads the same signed and unsigned."""
    return bytes([*(value >> shift & 127 | 128 for shift in (0, 7, 14, 21)), value >> 28 & 127])


def data_text(at: int, content: bytes) -> str:
    """Return the text of a data segment."""
    escaped = "".join(f"\\{byte:02x}" for byte in content)
    return f'(data (i32.const {at}) "{escaped}")'


def _declared(function: Function) -> str:
    params = "".join(f" (param {kind})" for kind in function.params)
    results = "".join(f" (result {kind})" for kind in function.results)
    return f'(import "library" "{function.name}" (func ${function.name}{params}{results}))'


def _up(value: int, to: int) -> int:
    return (value + to - 1) // to * to


def leb(value: int) -> bytes:
    """Return an unsigned number as LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return the LEB128 number at a place, and the place after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
