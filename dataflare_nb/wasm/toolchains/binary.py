"""Look into the binary form of a module without compiling it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

CUSTOM, IMPORTS, GLOBALS, EXPORTS, DATA = 0, 2, 6, 7, 11
_HEADER = 8
_FUNCTION = 0


def sections(module: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each section's number, its content and the whole of it."""
    at = _HEADER
    while at < len(module):
        size, body = unsigned(module, at + 1)
        yield module[at], module[body : body + size], module[at : body + size]
        at = body + size


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return the LEB128 number at a place, and the place after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def stripped(module: bytes, *, keep: Collection[str] = ()) -> bytes:
    """Return the module without its custom sections, but for those named in `keep`."""
    kept = (whole for number, body, whole in sections(module) if number != CUSTOM or _custom_name(body) in keep)
    return module[:_HEADER] + b"".join(kept)


def exported_functions(module: bytes) -> list[str]:
    """Return the names of the functions that a module exports."""
    body = next((body for number, body, _ in sections(module) if number == EXPORTS), b"\0")
    count, at = unsigned(body, 0)
    names = []
    for _ in range(count):
        size, at = unsigned(body, at)
        name, kind = body[at : at + size], body[at + size]
        _, at = unsigned(body, at + size + 1)
        if kind == _FUNCTION:
            names.append(name.decode(errors="replace"))
    return names


def imported(module: bytes) -> list[str]:
    """Return what a module imports, as `module.name`; of memories, tables and globals none can be read."""
    body = next((body for number, body, _ in sections(module) if number == IMPORTS), b"\0")
    count, at = unsigned(body, 0)
    names = []
    for _ in range(count):
        size, at = unsigned(body, at)
        home, at = body[at : at + size].decode(errors="replace"), at + size
        size, at = unsigned(body, at)
        name, kind = body[at : at + size].decode(errors="replace"), body[at + size]
        names.append(f"{home}.{name}")
        if kind != _FUNCTION:
            break
        _, at = unsigned(body, at + size + 1)
    return names


def stack_is_first(module: bytes) -> bool:
    """Whether the stack of a module linked by LLVM grows down to address 0, where an overflow traps.

    Elsewhere it would run into data.
    """
    found = {number: body for number, body, _ in sections(module)}
    stack = unsigned(found[GLOBALS], found[GLOBALS].index(b"\x7f\x01\x41") + 3)[0] if GLOBALS in found else 0
    data = unsigned(found[DATA], found[DATA].index(b"\x41") + 1)[0] if DATA in found else stack
    return stack <= data


def _custom_name(body: bytes) -> str:
    size, at = unsigned(body, 0)
    return body[at : at + size].decode(errors="replace")
