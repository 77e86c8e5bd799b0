"""Count what a module is made of before it is given to the compiler, whose work grows faster than its input."""

from __future__ import annotations

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
_CODE = 10


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
        _inspect(module, plugin)
    except IndexError:
        raise WasmPluginLoad("the module does not compile: it ends in the middle of a section", plugin=plugin) from None


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return a LEB128 number of at most five bytes and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError


def _inspect(module: bytes, plugin: str) -> None:
    at = len(MAGIC)
    while at < len(module):
        section = module[at]
        size, at = unsigned(module, at + 1)
        end = at + size
        if end > len(module):
            raise IndexError
        if section in MOST and size:
            what, most = MOST[section]
            count, _ = unsigned(module, at)
            if count > most:
                raise WasmPluginLoad(f"the module has {count} {what}; at most {most} are allowed", plugin=plugin)
        elif section == _CODE and size:
            _bodies(module, at, end, plugin)
        at = end


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
            raise IndexError
