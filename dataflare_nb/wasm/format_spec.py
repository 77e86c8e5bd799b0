"""Format specifications, the part of an f-string behind the colon, read when a function is compiled."""

from __future__ import annotations

import re
import struct

_GRAMMAR = re.compile(
    r"(?:(?P<fill>.)?(?P<align>[<>=^]))?(?P<sign>[-+ ])?(?P<z>z)?(?P<alternate>\#)?(?P<zero>0)?"
    r"(?P<width>\d+)?(?P<grouping>[,_])?(?:\.(?P<precision>\d+))?(?P<type>[bdeEfFgGosxX%])?",
    re.DOTALL | re.ASCII,
)
_LAYOUT = struct.Struct("<ii4s8B")
_SAMPLES = {"float": 1.0, "int": 1, "bool": True, "str": "a"}
MOST = 1000
"""The largest precision."""


class Unreadable(ValueError):  # noqa: N818 - caught where it is raised
    """A specification that Python refuses, or that is not compiled."""


def read_format(spec: str, kind: str) -> tuple[str, bytes]:
    """Return which formatter a value of that kind needs, `float`, `int` or `str`, and what it is told."""
    try:
        format(_SAMPLES[kind], spec)
    except ValueError as error:
        raise Unreadable(str(error)) from None
    found = _GRAMMAR.fullmatch(spec)
    if found is None:
        raise Unreadable(f"the format {spec!r} is not compiled")
    part = found.groupdict()
    letter = part["type"] or ""
    formatter = "str" if kind == "str" else "float" if kind == "float" or (letter and letter in "eEfFgG%") else "int"
    if int(part["width"] or 0) > 1 << 30 or int(part["precision"] or 0) > MOST:
        raise Unreadable(f"the format {spec!r} asks for more than {MOST} digits or 2**30 characters")
    fill, align = part["fill"] or " ", part["align"]
    if part["zero"] and part["fill"] is None:
        fill = "0"
    if align is None:
        align = "<" if formatter == "str" else "=" if part["zero"] else ">"
    if fill > "\ud7ff" and fill < "\ue000":
        raise Unreadable("the fill is half a character")
    utf8 = fill.encode()
    return formatter, _LAYOUT.pack(
        int(part["width"]) if part["width"] else -1,
        int(part["precision"]) if part["precision"] else -1,
        utf8,
        len(utf8),
        ord(align),
        ord(part["sign"] or "-"),
        ord("f" if letter == "%" else letter or "\0"),
        ord(part["grouping"] or "\0"),
        part["alternate"] is not None,
        part["z"] is not None,
        letter == "%",
    )
