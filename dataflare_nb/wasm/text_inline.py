"""Text operations that are short enough to stand where they are used, instead of a call of the library.

Each is what the library does, for texts known to be ASCII or constants of a few bytes; where more is needed, it calls.
Around any text there are 32 bytes that may be read, see plugins/udf_runtime/src/text.h.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .values import Value

if TYPE_CHECKING:
    from .arithmetic import Arithmetic

MOST_BYTES = 16
"""Bytes of a constant that is compared in place, and of a text that is stripped in place."""
_TWO_BLOCKS = 32
"""Bytes of a text that is searched, or whose case is changed, in place."""
_ASCII = 1 << 31
_ONE_ASCII = 1 << 32 | _ASCII
_KEPT = 64
"""Bytes behind the arena that have to be there."""


def address(text: str) -> str:
    """Return code for where a text begins."""
    return f"(i32.and (i32.wrap_i64 {text}) (i32.const 0x7fffffff))"


def size(text: str) -> str:
    """Return code for the bytes of a text, as an i32."""
    return f"(i32.wrap_i64 {_count(text)})"


def is_ascii(text: str) -> str:
    """Return code that says whether a text is known to be ASCII."""
    return f"(i32.and (i32.wrap_i64 {text}) (i32.const {_ASCII}))"


def short(value: Value) -> bytes | None:
    """Return the bytes of a constant of a few, that is not empty."""
    content = value.number.encode() if isinstance(value.number, str) else b""
    return content if 0 < len(content) <= MOST_BYTES else None


def read(ex: Arithmetic, text: str) -> tuple[str, str]:
    """Return code that keeps a text, and code that reads it any number of times."""
    held = ex.frame.temporary("i64")
    return f"(local.set {held} {text})", f"(local.get {held})"


def _matches(at: str, content: bytes) -> str:
    """Return code that compares bytes with known ones."""
    n = len(content)
    if n <= 8:
        known, mask = int.from_bytes(content, "little"), (1 << 8 * n) - 1
        found = f"(i64.load {at})"
        return f"(i64.eq {found if n == 8 else f'(i64.and {found} (i64.const {mask:#x}))'} (i64.const {known:#x}))"
    first, last = (int.from_bytes(part, "little") for part in (content[:8], content[n - 8 :]))
    same = (
        f"(i64.eq (i64.load {at}) (i64.const {first:#x}))",
        f"(i64.eq (i64.load offset={n - 8} {at}) (i64.const {last:#x}))",
    )
    return f"(i32.and {' '.join(same)})"


def equals(ex: Arithmetic, text: str, content: bytes) -> str:
    """Return code for `text == constant`."""
    start, text = read(ex, text)
    sized = f"(i64.eq {_count(text)} (i64.const {len(content)}))"
    return f"(block (result i32) {start} (i32.and {sized} {_matches(address(text), content)}))"


def starts(text: str, content: bytes) -> str:
    """Return code for `text.startswith(constant)`; the text can be read any number of times."""
    long = f"(i32.ge_u {size(text)} (i32.const {len(content)}))"
    return f"(i32.and {long} {_matches(address(text), content)})"


def ends(text: str, content: bytes) -> str:
    """Return code for `text.endswith(constant)`; the text can be read any number of times."""
    long = f"(i32.ge_u {size(text)} (i32.const {len(content)}))"
    at = f"(i32.sub (i32.add {address(text)} {size(text)}) (i32.const {len(content)}))"
    # An empty text stands at 0, before which is nothing.
    return f"(if (result i32) {long} (then {_matches(at, content)}) (else (i32.const 0)))"


def length(ex: Arithmetic, text: str, otherwise: Callable[[str], str]) -> str:
    """Return code for `len(text)`."""
    start, text = read(ex, text)
    bytes_ = _count(text)
    return f"(block (result i64) {start} (if (result i64) {is_ascii(text)} (then {bytes_}) (else {otherwise(text)})))"


def item(ex: Arithmetic, text: str, index: str, otherwise: Callable[[str, str], str]) -> str:
    """Return code for `text[index]`, a negative number if there is no such character."""
    start, text = read(ex, text)
    at, count = ex.frame.temporary("i64"), _count(text)
    get = f"(local.get {at})"
    back = f"(local.set {at} (select (i64.add {get} {count}) {get} (i64.lt_s {get} (i64.const 0))))"
    one = f"(i64.or (i64.const {1 << 32}) (i64.add {_low(text)} {get}))"
    found = f"(select {one} (i64.const -1) (i64.lt_u {get} {count}))"
    return (
        f"(block (result i64) {start} (local.set {at} {index}) "
        f"(if (result i64) {is_ascii(text)} (then {back} {found}) (else {otherwise(text, get)})))"
    )


def slice_(
    ex: Arithmetic,
    text: str,
    first: str | None,
    last: str | None,
    otherwise: Callable[[str, str | None, str | None], str],
) -> str:
    """Return code for `text[first:last]`, where a bound may be left out."""
    start, text = read(ex, text)
    count = _count(text)
    code, inside = [start], []
    gets: list[str | None] = []
    for bound in (first, last):
        if bound is None:
            gets.append(None)
            continue
        at = ex.frame.temporary("i64")
        get = f"(local.get {at})"
        gets.append(get)
        code.append(f"(local.set {at} {bound})")
        known = _known(bound)
        if known is None or known < 0:
            below = f"(select (i64.add {get} {count}) {get} (i64.lt_s {get} (i64.const 0)))"
            inside.append(f"(local.set {at} {below})")
            inside.append(f"(local.set {at} (select {get} (i64.const 0) (i64.gt_s {get} (i64.const 0))))")
        inside.append(f"(local.set {at} (select {get} {count} (i64.lt_s {get} {count})))")
    begin, end = gets[0] or "(i64.const 0)", gets[1] or count
    at = f"(i64.add {_low(text)} {begin})"
    found = f"(i64.or (i64.shl (i64.sub {end} {begin}) (i64.const 32)) {at})"
    if first is not None and last is not None:
        found = f"(select {found} (i64.const {_ASCII}) (i64.lt_s {begin} {end}))"
    return (
        f"(block (result i64) {' '.join(code)} "
        f"(if (result i64) {is_ascii(text)} (then {' '.join(inside)} {found}) (else {otherwise(text, *gets)})))"
    )


def _known(code: str) -> int | None:
    prefix = "(i64.const "
    return int(code[len(prefix) : -1]) if code.startswith(prefix) else None


def part(text: str, at: str, *, rest: bool) -> str:
    """Return code for the bytes of a text before a place, or for the rest."""
    if not rest:
        return f"(i64.or (i64.shl {at} (i64.const 32)) {_low(text)})"
    count = f"(i64.sub {_count(text)} {at})"
    return f"(i64.or (i64.shl {count} (i64.const 32)) (i64.add {_low(text)} {at}))"


def cased(ex: Arithmetic, text: str, first: int, otherwise: Callable[[str], str]) -> str:
    """Return code that changes the case of the letters from `first` on, 26 of them."""
    start, text = read(ex, text)
    block, top = ex.frame.temporary("v128"), ex.frame.temporary("i32")
    get, to = f"(local.get {block})", f"(local.get {top})"
    begin = f"(local.set {top} (i32.load (i32.const 16)))"
    few = f"(i32.le_u {size(text)} (i32.const {_TWO_BLOCKS}))"
    fits = f"(i32.le_u (i32.add {to} (i32.const {_KEPT + _TWO_BLOCKS})) (i32.shl (memory.size) (i32.const 16)))"
    letters = f"(i8x16.lt_s (i8x16.add {get} {_bytes(-128 - first)}) {_bytes(-128 + 26)})"
    change = " ".join(
        f"(local.set {block} (v128.load offset={at} {address(text)})) "
        f"(v128.store offset={at} {to} (v128.xor {get} (v128.and {letters} {_bytes(32)})))"
        for at in (0, 16)
    )
    made = f"(i64.or (i64.and {text} (i64.const 0xffffffff80000000)) (i64.extend_i32_u {to}))"
    keep = f"(i32.store (i32.const 16) (i32.add {to} {size(text)}))"
    return (
        f"(block (result i64) {start} {begin} (if (result i64) (i32.and (i32.ne {is_ascii(text)} (i32.const 0)) "
        f"(i32.and {few} {fits})) (then {change} {made} {keep}) (else {otherwise(text)})))"
    )


def longer(ex: Arithmetic, text: str, more: str, count: int, otherwise: Callable[[str], str]) -> str:
    """Return code for `text + constant` of so many ASCII characters, where what was made last grows."""
    start, text = read(ex, text)
    top = ex.frame.temporary("i32")
    to = f"(local.get {top})"
    begin = f"(local.set {top} (i32.load (i32.const 16)))"
    last = f"(i32.eq (i32.add {address(text)} {size(text)}) {to})"
    fits = f"(i32.le_u (i32.add {to} (i32.const {_KEPT + MOST_BYTES})) (i32.shl (memory.size) (i32.const 16)))"
    put = f"(v128.store {to} (v128.load {address(more)}))"
    keep = f"(i32.store (i32.const 16) (i32.add {to} (i32.const {count})))"
    made = f"(i64.add {text} (i64.const {count << 32}))"
    return (
        f"(block (result i64) {start} {begin} (if (result i64) (i32.and {last} {fits}) "
        f"(then {put} {keep} {made}) (else {otherwise(text)})))"
    )


def with_character(ex: Arithmetic, text: str, more: str, otherwise: Callable[[str, str], str]) -> str:
    """Return code for `text + character`, where what was made last grows."""
    start, text = read(ex, text)
    then, more = read(ex, more)
    top = ex.frame.temporary("i32")
    to = f"(local.get {top})"
    begin = f"(local.set {top} (i32.load (i32.const 16)))"
    last = f"(i32.eq (i32.add {address(text)} {size(text)}) {to})"
    fits = f"(i32.le_u (i32.add {to} (i32.const {_KEPT})) (i32.shl (memory.size) (i32.const 16)))"
    put = f"(i32.store {to} (i32.load {address(more)}))"
    keep = f"(i32.store (i32.const 16) (i32.add {to} {size(more)}))"
    grown = f"(i64.add {text} (i64.and {more} (i64.const {0xFFFFFFFF << 32:#x})))"
    # It is ASCII if both are.
    made = f"(i64.and {grown} (i64.or {more} (i64.const {0xFFFFFFFF_7FFFFFFF:#x})))"
    return (
        f"(block (result i64) {start} {then} {begin} (if (result i64) (i32.and {last} {fits}) "
        f"(then {put} {keep} {made}) (else {otherwise(text, more)})))"
    )


def place(ex: Arithmetic, text: str, content: bytes, otherwise: Callable[[str], str]) -> str:
    """Return code for `text.find(constant)`."""
    start, text = read(ex, text)
    n = len(content)
    mask, at = ex.frame.temporary("i32"), ex.frame.temporary("i32")
    hits = []
    for block in (0, 16):
        hit = f"(i8x16.eq (v128.load offset={block} {address(text)}) {_bytes(content[0])})"
        if n > 1 and not block:
            last = f"(i8x16.eq (v128.load offset={n - 1} {address(text)}) {_bytes(content[-1])})"
            hit = f"(v128.and {hit} {last})"
        hits.append(f"(i8x16.bitmask {hit})")
    # Only so many bytes behind a text may be read, so that of a longer needle only the first places are looked at.
    found = hits[0] if n > 1 else f"(i32.or {hits[0]} (i32.shl {hits[1]} (i32.const 16)))"
    looked = MOST_BYTES if n > 1 else _TWO_BLOCKS
    first = f"(local.set {at} (i32.ctz (local.tee {mask} {found})))"
    inside = f"(i32.le_u (i32.add (local.get {at}) (i32.const {n})) {size(text)})"
    right = f"(i32.and (i32.ne (local.get {mask}) (i32.const 0)) {inside})"
    if n > 2:
        same = _matches(f"(i32.add {address(text)} (i32.and (local.get {at}) (i32.const 15)))", content)
        right = f"(i32.and {right} {same})"
    missed = f"(i32.and (i32.eqz (local.get {mask})) (i32.lt_u {size(text)} (i32.const {looked + n})))"
    rest = f"(if (result i64) {missed} (then (i64.const -1)) (else {otherwise(text)}))"
    yes = f"(if (result i64) {right} (then (i64.extend_i32_u (local.get {at}))) (else {rest}))"
    return (
        f"(block (result i64) {start} (if (result i64) {is_ascii(text)} (then {first} {yes}) (else {otherwise(text)})))"
    )


def stripped(ex: Arithmetic, text: str, sides: int, otherwise: Callable[[str], str]) -> str:
    """Return code for `text.strip()`; `sides` is 1 for the left one, 2 for the right one, 3 for both."""
    start, text = read(ex, text)
    block, bits, begin = ex.frame.temporary("v128"), ex.frame.temporary("i32"), ex.frame.temporary("i64")
    get, some, first = f"(local.get {block})", f"(local.get {bits})", f"(local.get {begin})"
    few = f"(i32.le_u {size(text)} (i32.const {MOST_BYTES}))"
    short_ = f"(i32.and (i32.ne {is_ascii(text)} (i32.const 0)) {few})"
    spaces = " ".join(f"(i8x16.lt_u (i8x16.sub {get} {_bytes(low)}) {_bytes(5)})" for low in (9, 28))
    end = f"(i32.shl (i32.const 1) {size(text)})"
    # A bit for each character that is no space, and one behind the last.
    letters = f"(i32.and (i32.xor (i8x16.bitmask (v128.or {spaces})) (i32.const -1)) (i32.sub {end} (i32.const 1)))"
    last = f"(i64.extend_i32_u (i32.sub (i32.const 32) (i32.clz {some})))" if sides & 2 else _count(text)
    left = f"(i64.extend_i32_u (i32.ctz (i32.or {some} {end})))" if sides & 1 else "(i64.const 0)"
    nothing = f"(i32.eqz {some})"
    body = f"(i64.or (i64.shl (i64.sub {last} {first}) (i64.const 32)) (i64.add {_low(text)} {first}))"
    then = (
        f"(local.set {block} (v128.load {address(text)})) (local.set {bits} {letters}) (local.set {begin} {left}) "
        f"(select (i64.const {_ASCII}) {body} {nothing})"
    )
    return f"(block (result i64) {start} (if (result i64) {short_} (then {then}) (else {otherwise(text)})))"


def _count(text: str) -> str:
    return f"(i64.shr_u {text} (i64.const 32))"


def _low(text: str) -> str:
    return f"(i64.and {text} (i64.const 0xffffffff))"


def _bytes(value: int) -> str:
    signed = (value + 128) % 256 - 128
    return f"(v128.const i8x16 {' '.join([str(signed)] * 16)})"


def _between(byte: str, first: int, count: int) -> str:
    return f"(i32.lt_u (i32.sub {byte} (i32.const {first})) (i32.const {count}))"


def _any(*tests: str) -> str:
    found, *more = tests
    for test in more:
        found = f"(i32.or {found} {test})"
    return found


def _is_digit(byte: str) -> str:
    return _between(byte, ord("0"), 10)


def _is_letter(byte: str) -> str:
    return _between(f"(i32.or {byte} (i32.const 32))", ord("a"), 26)


CHARACTERS: dict[str, Callable[[str], str]] = {
    "isdigit": _is_digit,
    "isdecimal": _is_digit,
    "isnumeric": _is_digit,
    "isalpha": _is_letter,
    "isalnum": lambda byte: _any(_is_digit(byte), _is_letter(byte)),
    "isupper": lambda byte: _between(byte, ord("A"), 26),
    "islower": lambda byte: _between(byte, ord("a"), 26),
    "isspace": lambda byte: _any(_between(byte, 9, 5), _between(byte, 28, 5)),
}
"""Tests of a text of one ASCII character, given its byte."""


def tested(ex: Arithmetic, text: str, name: str, otherwise: Callable[[str], str]) -> str:
    """Return code for a test of a text that may be a single character."""
    start, text = read(ex, text)
    byte = ex.frame.temporary("i32")
    one = f"(i64.eq (i64.and {text} (i64.const {0xFFFFFFFF80000000:#x})) (i64.const {_ONE_ASCII}))"
    then = f"(local.set {byte} (i32.load8_u {address(text)})) {CHARACTERS[name](f'(local.get {byte})')}"
    return f"(block (result i32) {start} (if (result i32) {one} (then {then}) (else {otherwise(text)})))"
