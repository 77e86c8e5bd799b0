"""Texts known to be one character, as their code point: how it is read, and what is asked of it.

A loop over a text knows the code point of each character. Beside the text it is kept in a local, see `Value.point`, so
that a test of a character is a comparison or reads a table, without a call and nearly without branches.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import text_inline as inline
from .library import table
from .values import Kind, Value

if TYPE_CHECKING:
    from .arithmetic import Arithmetic

_ALPHA, _DECIMAL, _DIGIT, _NUMERIC, _UPPER, _LOWER, _TITLE = (1 << bit for bit in range(7))
_BLOCKS, _VALUES, _BLOCK = "flag_blocks", "flag_values", 5
"""The tables of plugins/udf_runtime/src/text_tables.h, in which 32 characters are a block."""
_FLAGS = {
    "isalpha": _ALPHA,
    "isdecimal": _DECIMAL,
    "isdigit": _DIGIT,
    "isnumeric": _NUMERIC,
    "isalnum": _ALPHA | _DECIMAL | _DIGIT | _NUMERIC,
    "istitle": _UPPER | _TITLE,
}
_CASES = {"isupper": _UPPER, "islower": _LOWER}
_SPACES = [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F]
_SPACES += [0x3000]
_FEW, _MOST = 3, 16
"""Runs of characters that are compared one by one, for ASCII and beyond."""
_ORDER = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt_u",
    ast.LtE: "le_u",
    ast.Gt: "gt_u",
    ast.GtE: "ge_u",
}


def is_constant(point: str) -> bool:
    """Whether a code point is a known one."""
    return point.startswith("(i32.const ")


def _is_read(code: str) -> bool:
    return code.startswith(("(local.get ", "(i64.const ", "(i32.const "))


# ---- reading ----


def first(ex: Arithmetic, at: str, point: str, next_: str) -> str:
    """Return code that reads the character at an address, and where the next one begins, into locals."""
    lead = f"(local.get {point})"
    is_three, is_four = (f"(i32.ge_u {lead} (i32.const {least}))" for least in (0xE0, 0xF0))
    behind = f"(i32.add (i32.add (local.get {next_}) (i32.const 1)) (i32.add {is_three} {is_four}))"
    return (
        f"(local.set {point} (i32.load8_u {at})) (local.set {next_} (i32.add {at} (i32.const 1))) "
        f"(if (i32.ge_u {lead} (i32.const 128)) (then (local.set {next_} {behind}) "
        f"(local.set {point} {_wide(ex, at, lead)})))"
    )


def only(ex: Arithmetic, text: str) -> str:
    """Return code for the code point of a text of one character, which can be read any number of times."""
    byte = ex.frame.temporary("i32")
    lead, at = f"(local.get {byte})", inline.address(text)
    return (
        f"(block (result i32) (local.set {byte} (i32.load8_u {at})) (if (result i32) (i32.lt_u {lead} (i32.const 128)) "
        f"(then {lead}) (else {_wide(ex, at, lead)})))"
    )


def _wide(ex: Arithmetic, at: str, lead: str) -> str:
    """Return code for the character of several bytes at an address, given the first of them."""
    four = ex.frame.temporary("i32")
    bytes_ = f"(local.get {four})"
    after_one, after_two, after_three = (
        f"(i32.and (i32.shr_u {bytes_} (i32.const {8 * n})) (i32.const 63))" for n in (1, 2, 3)
    )
    tail = f"(i32.or (i32.shl {after_one} (i32.const 6)) {after_two})"
    two = f"(i32.or (i32.shl (i32.and {lead} (i32.const 31)) (i32.const 6)) {after_one})"
    three = f"(i32.or (i32.shl (i32.and {lead} (i32.const 15)) (i32.const 12)) {tail})"
    top = f"(i32.or (i32.shl (i32.and {lead} (i32.const 7)) (i32.const 18)) (i32.shl {tail} (i32.const 6)))"
    is_three, is_four = (f"(i32.ge_u {lead} (i32.const {least}))" for least in (0xE0, 0xF0))
    found = f"(select (i32.or {top} {after_three}) (select {three} {two} {is_three}) {is_four})"
    return f"(block (result i32) (local.set {four} (i32.load {at})) {found})"


def between(at: str, end: str, point: str) -> str:
    """Return code for the text of a character from one address to another."""
    ascii_ = f"(i32.shl (i32.lt_u {point} (i32.const 128)) (i32.const 31))"
    size = f"(i64.shl (i64.extend_i32_u (i32.sub {end} {at})) (i64.const 32))"
    return f"(i64.or {size} (i64.extend_i32_u (i32.or {at} {ascii_})))"


def read(ex: Arithmetic, value: Value) -> tuple[str, str]:
    """Return code that keeps the code point of a value that has one, and code that reads it any number of times."""
    assert value.point is not None
    if _is_read(value.code) and _is_read(value.point):
        return "", value.point
    return _kept(ex, f"(drop {value.code})", value.point)


def _kept(ex: Arithmetic, start: str, point: str) -> tuple[str, str]:
    held = ex.frame.temporary("i32")
    return f"{start} (local.set {held} {point})", f"(local.get {held})"


def _after(start: str, code: str) -> str:
    return f"(block (result i32) {start} {code})" if start else code


# ---- asking ----


def number(ex: Arithmetic, value: Value) -> Value:
    """Compile `ord(character)`."""
    return Value(f"(i64.extend_i32_u {_after(*read(ex, value))})", Kind.INT)


def tested(ex: Arithmetic, value: Value, name: str) -> str:
    """Return code for a test of a character, such as `isdigit`."""
    start, point = read(ex, value)
    if name == "isascii":
        code = f"(i32.lt_u {point} (i32.const 128))"
    elif name == "isspace":
        code = _inside(point, _SPACES)
    elif name in _CASES:
        cased = f"(i32.and {_flags(ex, point)} (i32.const {_UPPER | _LOWER | _TITLE}))"
        code = f"(i32.eq {cased} (i32.const {_CASES[name]}))"
    else:
        code = f"(i32.ne (i32.and {_flags(ex, point)} (i32.const {_FLAGS[name]})) (i32.const 0))"
    return _after(start, code)


def _flags(ex: Arithmetic, point: str) -> str:
    """Return code for what the tables say of a character; behind their end nothing has one of our flags."""
    end = len(table(_BLOCKS).content) // 2 << _BLOCK
    known = f"(select {point} (i32.const 0) (i32.lt_u {point} (i32.const {end})))"
    place = f"(i32.shl (i32.shr_u {known} (i32.const {_BLOCK})) (i32.const 1))"
    block = f"(i32.shl (i32.load16_u offset={ex.unit.table(_BLOCKS)} {place}) (i32.const {_BLOCK}))"
    inside = f"(i32.and {point} (i32.const {(1 << _BLOCK) - 1}))"
    return f"(i32.load8_u offset={ex.unit.table(_VALUES)} (i32.or {block} {inside}))"


def compared(ex: Arithmetic, op: ast.cmpop, left: Value, right: Value) -> str | None:
    """Return code that compares two texts of which one is a character, None if it takes more than code points."""
    if left.point is not None and right.point is not None:
        start, one = read(ex, left)
        more, other = read(ex, right)
        if more and not is_constant(one):
            # What the right side assigns must not be seen by the left.
            start, one = _kept(ex, start, one)
        return _after(f"{start} {more}".strip(), f"(i32.{_ORDER[type(op)]} {one} {other})")
    value, known = (left, right.number) if left.point is not None else (right, left.number)
    if isinstance(known, str) and isinstance(op, (ast.Eq, ast.NotEq)):
        return f"(block (result i32) (drop {value.code}) (i32.const {int(isinstance(op, ast.NotEq))}))"
    return None


def among(ex: Arithmetic, value: Value, characters: Iterable[str]) -> str | None:
    """Return code that says whether a character is one of those, None if they are too many."""
    points = sorted({ord(c) for c in characters})
    if len(_runs([point for point in points if point >= 128])) > _MOST:
        return None
    start, point = read(ex, value)
    return _after(start, _inside(point, points))


def _inside(point: str, points: list[int]) -> str:
    """Return code that says whether a code point is one of those, in their order."""
    plain, beyond = [one for one in points if one < 128], [one for one in points if one >= 128]
    if len(_runs(points)) <= _FEW:
        return _one_of(point, points)
    if len(_runs(plain)) <= _FEW:
        found = _one_of(point, plain)
    else:
        low, high = (sum(1 << one % 64 for one in plain if one // 64 == half) for half in (0, 1))
        half = f"(select (i64.const {low:#x}) (i64.const {high:#x}) (i32.lt_u {point} (i32.const 64)))"
        bit = f"(i32.wrap_i64 (i64.shr_u {half} (i64.extend_i32_u {point})))"
        found = f"(i32.and {bit} (i32.lt_u {point} (i32.const 128)))"
    if not beyond:
        return found
    is_plain = f"(i32.lt_u {point} (i32.const 128))"
    return f"(if (result i32) {is_plain} (then {found}) (else {_one_of(point, beyond)}))"


def _one_of(point: str, points: list[int]) -> str:
    code = ""
    for begin, end in _runs(points):
        if begin == end:
            one = f"(i32.eq {point} (i32.const {begin}))"
        else:
            one = f"(i32.le_u (i32.sub {point} (i32.const {begin})) (i32.const {end - begin}))"
        code = f"(i32.or {code} {one})" if code else one
    return code or "(i32.const 0)"


def _runs(points: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of code points, which are in their order."""
    runs: list[tuple[int, int]] = []
    for point in points:
        begin = runs.pop()[0] if runs and runs[-1][1] == point - 1 else point
        runs.append((begin, point))
    return runs
