"""Count what a module is made of before it is given to the compiler, whose work grows faster than its input."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import WasmPluginLoad

MAX_MODULE = 8 << 20
"""Bytes of a module."""
MAGIC = b"\0asm\1\0\0\0"
MOST = {
    1: ("types", 10_000),
    2: ("imports", 256),
    3: ("functions", 50_000),
    4: ("tables", 16),
    5: ("memories", 1),
    6: ("globals", 10_000),
    7: ("exports", 1_000),
    9: ("element segments", 10_000),
    11: ("data segments", 100_000),
}
"""How many of each a module may have, by the number of the section."""
MAX_BODY = 1 << 20
"""Bytes of one function."""
MOST_SECTIONS = 1_000
_CODE = 10
_ENDS = "it ends in the middle of a section"


class Malformed(ValueError):  # noqa: N818 - says what, and the caller of what
    """The bytes of a module do not add up."""


def inspect(module: bytes, *, plugin: str) -> None:
    """Refuse what is not a module, and modules beyond any sensible size."""
    if len(module) > MAX_MODULE:
        raise WasmPluginLoad(
            f"the module has {len(module)} bytes, more than the {MAX_MODULE} allowed; build it without debug info",
            plugin=plugin,
        )
    if module[:8] != MAGIC:
        raise WasmPluginLoad("this is not a core WebAssembly module (its first eight bytes differ)", plugin=plugin)
    try:
        for number, at, end in sections(module):
            _measure(module, number, at, end, plugin)
    except Malformed as error:
        raise WasmPluginLoad(f"the module does not compile: {error}", plugin=plugin) from None


def sections(module: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each section of a module, and where its content begins and ends."""
    at = len(MAGIC)
    for _ in range(MOST_SECTIONS):
        if at >= len(module):
            return
        number = module[at]
        size, at = unsigned(module, at + 1)
        end = at + size
        if end > len(module):
            raise Malformed(_ENDS)
        yield number, at, end
        at = end
    if at < len(module):
        raise Malformed(f"it has more than {MOST_SECTIONS} sections")


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return a LEB128 number of at most five bytes and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            raise Malformed(_ENDS)
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise Malformed("a number in it has no end")


def _measure(module: bytes, number: int, at: int, end: int, plugin: str) -> None:
    if number in MOST and end > at:
        what, most = MOST[number]
        count, _ = unsigned(module, at)
        if count > most:
            raise WasmPluginLoad(f"the module has {count} {what}; at most {most} are allowed", plugin=plugin)
    elif number == _CODE and end > at:
        _bodies(module, at, end, plugin)


def _bodies(module: bytes, at: int, end: int, plugin: str) -> None:
    count, at = unsigned(module, at)
    for number in range(min(count, MOST[3][1])):
        size, at = unsigned(module, at)
        if size > MAX_BODY:
            raise WasmPluginLoad(
                f"function {number} of the module's own has {size} bytes; at most {MAX_BODY} are allowed", plugin=plugin
            )
        at += size
        if at > end:
            raise Malformed(_ENDS)
