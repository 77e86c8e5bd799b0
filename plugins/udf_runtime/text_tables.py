"""Ask this Python about every character, and print the tables of src/text_tables.h.

python3.11 plugins/udf_runtime/text_tables.py > plugins/udf_runtime/src/text_tables.h

The Unicode version is that of the Python that runs this: 14.0 for 3.11, the oldest that is supported.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable

LAST = 0x110000
ALPHA, DECIMAL, DIGIT, NUMERIC, UPPER, LOWER, TITLE, IGNORABLE = (1 << bit for bit in range(8))
BLOCK = 32


def characters() -> Iterable[int]:
    """Yield all code points but surrogates, which no text of ours has."""
    yield from range(0xD800)
    yield from range(0xE000, LAST)


def flags(c: str) -> int:
    """Return what a character is."""
    found = ALPHA if c.isalpha() else 0
    found |= DECIMAL if c.isdecimal() else 0
    found |= DIGIT if c.isdigit() else 0
    found |= NUMERIC if c.isnumeric() else 0
    found |= UPPER if c.isupper() else LOWER if c.islower() else TITLE if c.istitle() else 0
    # Before a final sigma stands a letter with case; what may be skipped on the way to it is ignorable.
    if f"A{c}Σ".lower()[-1] == "ς" and f"1{c}Σ".lower()[-1] == "σ":
        found |= IGNORABLE
    return found


def two_stages(values: list[int], name: str) -> list[str]:
    """Return a table in which equal blocks are stored once; what is behind the last block with content is 0."""
    blocks: dict[tuple[int, ...], int] = {(0,) * BLOCK: 0}
    index = [blocks.setdefault(tuple(values[at : at + BLOCK]), len(blocks)) for at in range(0, len(values), BLOCK)]
    while not index[-1]:
        index.pop()
    flat = [value for block in blocks for value in block]
    return [
        f"#define {name}_end {len(index) * BLOCK}u",
        array("u16", f"{name}_blocks", index),
        array("u8", f"{name}_values", flat),
    ]


def array(kind: str, name: str, values: Iterable[int]) -> str:
    """Return a C definition."""
    found = list(map(str, values))
    lines = [", ".join(found[at : at + 32]) for at in range(0, len(found), 32)]
    return f"static const {kind} {name}[{len(found)}] = {{\n" + ",\n".join(lines) + "};"


def mapping(name: str, change: Callable[[str], str]) -> list[str]:
    """Return runs of characters that change by the same distance, and those that become several."""
    runs: list[list[int]] = []
    several = []
    for code in characters():
        if code < 128:
            continue
        changed = change(chr(code))
        if len(changed) > 1:
            several.append((code, *[ord(c) for c in changed], *[0] * (3 - len(changed))))
            continue
        distance = ord(changed) - code
        if not distance:
            continue
        if runs:
            first, last, step, known = runs[-1]
            gap = code - last
            if known == distance and gap in (1, 2) and (step == gap or first == last):
                runs[-1][1:3] = [code, gap]
                continue
        runs.append([code, code, 1, distance])
    flat = [value for first, last, step, distance in runs for value in (first, last << 1 | step - 1, distance)]
    lines = [array("i32", f"{name}_runs", flat)]
    if several:
        assert max(max(row) for row in several) < 1 << 16
        lines.append(array("u16", f"{name}_several", [value for row in several for value in row]))
    return lines


def main() -> None:
    """Print the header."""
    values = [0] * LAST
    for code in characters():
        values[code] = flags(chr(code))
    zeros = [code for code in characters() if unicodedata.decimal(chr(code), -1) == 0]
    far = [code for code in range(0xE0000, LAST) if values[code]]
    assert {values[code] for code in far} == {IGNORABLE}
    assert far == [0xE0001, *range(0xE0020, 0xE0080), *range(0xE0100, 0xE01F0)], "see is() in unicode.c"
    values[0xE0000:] = []
    assert all(unicodedata.decimal(chr(zero + i)) == i for zero in zeros for i in range(10))
    lines = [
        f"/* Made by text_tables.py with Unicode {unicodedata.unidata_version}. */",
        "enum { ALPHA = 1, DECIMAL = 2, DIGIT = 4, NUMERIC = 8, UPPER = 16, LOWER = 32, TITLE = 64, IGNORABLE = 128 };",
        *two_stages(values, "flag"),
        array("u32", "decimal_zeros", zeros),
        *mapping("lower", str.lower),
        *mapping("upper", str.upper),
        *mapping("title", str.title),
        *mapping("fold", str.casefold),
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
