"""Text as WebAssembly: constants, operators, indexing, and the builtins that make or read text.

A text is an int of 64 bits, described in plugins/udf_runtime/src/text.h; a list of texts looks the same.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import characters, words
from . import text_inline as inline
from .intrinsics import INTRINSICS, OnNumbers, intrinsic, overloads
from .values import FLOATS, INT_MAX, INTS, NUMBERS, Kind, Value, as_int

if TYPE_CHECKING:
    from .arithmetic import Arithmetic
    from .expressions import Expressions

TEXTUAL = frozenset({Kind.STR, Kind.TEXTS})
_ASCII = 1 << 31
_STATUS = "(i32.load (i32.const 20))"
NO_ROOM = ("MemoryError", "the text of this row needs more memory than a compiled function has")
_ORDER = {ast.Lt: "lt_s", ast.LtE: "le_s", ast.Gt: "gt_s", ast.GtE: "ge_s"}
START, STOP = "(i64.const 0)", f"(i64.const {INT_MAX})"
"""What a slice has where a bound is left out."""


# ---- constants and calls ----


def constant_text(ex: Arithmetic, text: str, node: ast.AST) -> Value:
    """Compile a known text."""
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise ex.source.error(node, "half of a surrogate pair is no text that a column can hold") from None
    flag = _ASCII if text.isascii() else 0
    place = ex.unit.constant(content) if content else 0
    point = f"(i32.const {ord(text)})" if len(text) == 1 else None
    return Value(f"(i64.const {len(content) << 32 | place | flag})", Kind.STR, text, point=point)


def plain(ex: Arithmetic, name: str, *args: str) -> str:
    """Return a call of a function of the library that neither fails nor makes text."""
    ex.unit.needs.add(name)
    return f"(call ${name} {' '.join(args)})"


def found(ex: Arithmetic, node: ast.AST, wrong: tuple[str, str], code: str) -> str:
    """Return code that fails with that error if it gives a negative number."""
    result = ex.frame.temporary("i64")
    check = ex.failing(f"(i64.lt_s (local.get {result}) (i64.const 0))", *wrong, node)
    return f"(block (result i64) (local.set {result} {code}) {check} (local.get {result}))"


def finding(ex: Arithmetic, node: ast.AST, wrong: tuple[str, str], name: str, *args: str) -> str:
    """Return a call that gives a negative number if Python raises that error."""
    return found(ex, node, wrong, plain(ex, name, *args))


def making(ex: Arithmetic, node: ast.AST, name: str, *args: str, wrong: tuple[str, str] | None = None) -> str:
    """Return a call that makes text, for which there may be no room, or that Python refuses with that error."""
    ex.unit.arena = True
    result = ex.frame.temporary("i64")
    got = f"(local.get {result})"
    checks = ex.failing("(i32.const 1)", *NO_ROOM, node)
    if wrong is not None:
        checks = ex.failing(f"(i64.eq {got} (i64.const -1))", *wrong, node) + checks
    failed = f"(if (i64.lt_s {got} (i64.const 0)) (then {checks}))"
    return f"(block (result i64) (local.set {result} {plain(ex, name, *args)}) {failed} {got})"


def size_of(code: str) -> str:
    """Return code for the bytes of a text, or the length of a list."""
    return f"(i64.shr_u {code} (i64.const 32))"


# ---- operators ----


def joined(ex: Arithmetic, node: ast.AST, left: Value, right: Value) -> Value:
    """Compile `left + right` of texts."""
    if isinstance(left.number, str) and isinstance(right.number, str):
        return constant_text(ex, left.number + right.number, node)
    if left.number == "" or right.number == "":
        return right if left.number == "" else left
    content = inline.short(right)
    if right.point is not None and content is None:
        return Value(
            inline.with_character(
                ex, left.code, right.code, lambda text, more: making(ex, node, "text_concat", text, more)
            ),
            Kind.STR,
        )
    if content is None or not content.isascii():
        return Value(making(ex, node, "text_concat", left.code, right.code), Kind.STR)

    def made(text: str) -> str:
        return making(ex, node, "text_concat", text, right.code)

    return Value(inline.longer(ex, left.code, right.code, len(content), made), Kind.STR)


def operation(ex: Arithmetic, node: ast.BinOp | ast.AugAssign, sign: str, left: Value, right: Value) -> Value:
    """Compile an operator of which one side is text."""
    kinds = (left.kind, right.kind)
    if isinstance(node.op, ast.Add) and kinds == (Kind.STR, Kind.STR):
        return joined(ex, node, left, right)
    if isinstance(node.op, ast.Mult) and Kind.STR in kinds and set(kinds) & (INTS | {Kind.BOOL}):
        if right.kind is Kind.STR:
            held = ex.frame.temporary("i64")
            start = f"(local.set {held} {as_int(left)})"
            made = making(ex, node, "text_repeat", right.code, f"(local.get {held})")
            return Value(f"(block (result i64) {start} {made})", Kind.STR)
        return Value(making(ex, node, "text_repeat", left.code, as_int(right)), Kind.STR)
    if isinstance(node.op, ast.Mod) and left.kind is Kind.STR:
        raise ex.source.error(node, "`%` does not format here; write an f-string")
    way = "; convert with str(...), float(...) or int(...)" if isinstance(node.op, ast.Add) else ""
    raise ex.source.error(node, f"`{sign}` does not take {left.kind.spoken} and {right.kind.spoken}{way}")


def relation(ex: Arithmetic, op: ast.cmpop, left: Value, right: Value) -> str:
    """Return code that compares two texts."""
    if left.point is not None or right.point is not None:
        code = characters.compared(ex, op, left, right)
        if code is not None:
            return code
    if isinstance(op, (ast.Eq, ast.NotEq)):
        one, other = (left, right) if inline.short(left) is None else (right, left)
        content = inline.short(other)
        if content is None:
            same = plain(ex, "text_equal", left.code, right.code)
        else:
            same = inline.equals(ex, one.code, content)
        return same if isinstance(op, ast.Eq) else f"(i32.eqz {same})"
    return f"(i32.{_ORDER[type(op)]} {plain(ex, 'text_compare', left.code, right.code)} (i32.const 0))"


def contains(ex: Arithmetic, whole: Value, part: Value, node: ast.AST) -> str:
    """Return code for `part in whole`; both can be read any number of times."""
    if part.kind is not Kind.STR:
        raise ex.source.error(node, f"`in` of {whole.kind.spoken} takes a str, not {part.kind.spoken}")
    if part.point is not None and isinstance(whole.number, str):
        code = characters.among(ex, part, whole.number)
        if code is not None:
            return code
    return plain(ex, "text_contains" if whole.kind is Kind.STR else "texts_contain", whole.code, part.code)


# ---- indexing ----


def _index(ex: Expressions, node: ast.expr) -> Value:
    value = ex.value(node)
    if value.kind not in INTS | {Kind.BOOL}:
        raise ex.source.error(node, f"an index is an int, not {value.kind.spoken}")
    return value


def _bound(ex: Expressions, node: ast.expr | None) -> str | None:
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return None
    return as_int(_index(ex, node))


def item(ex: Expressions, node: ast.Subscript, owner: Value) -> Value:
    """Compile `owner[index]` and `owner[from:to:step]`."""
    if not isinstance(node.slice, ast.Slice):
        name, wrong = ("text_item", words.TEXT_INDEX) if owner.kind is Kind.STR else ("texts_item", words.LIST_INDEX)
        index = as_int(_index(ex, node.slice))
        if owner.kind is not Kind.STR:
            return Value(finding(ex, node, ("IndexError", wrong), name, owner.code, index), Kind.STR)
        code = inline.item(ex, owner.code, index, lambda *args: plain(ex, name, *args))
        result = ex.frame.temporary("i64")
        code = f"(local.tee {result} {found(ex, node, ('IndexError', wrong), code)})"
        return Value(code, Kind.STR, point=characters.only(ex, f"(local.get {result})"))
    if owner.kind is not Kind.STR:
        raise ex.source.error(node, "a list of texts is indexed by an int here, not by a slice")
    first, last = _bound(ex, node.slice.lower), _bound(ex, node.slice.upper)
    step = _index(ex, node.slice.step) if node.slice.step is not None else None
    if step is None or step.number == 1:

        def sliced(text: str, first: str | None, last: str | None) -> str:
            return plain(ex, "text_slice", text, first or START, last or STOP)

        return Value(inline.slice_(ex, owner.code, first, last, sliced), Kind.STR)
    open_ = (first is None) + 2 * (last is None)
    args = [owner.code, first or START, last or STOP, as_int(step), f"(i32.const {open_})"]
    zero = None if step.number else ("ValueError", words.SLICE_STEP)
    return Value(making(ex, node, "text_stride", *args, wrong=zero), Kind.STR)


# ---- lists of texts, and the characters of one ----


def parts_of(ex: Arithmetic, whole: Value) -> tuple[str, str, str, Value, str]:
    """Return what a loop over the characters of a text, or the texts of a list, is made of.

    It is code that begins, a test for the end, code that reads what is next, that, and code that goes on behind it;
    the last may run as soon as the value was taken.
    """
    at, end = (ex.frame.temporary("i32") for _ in range(2))
    place, stop = f"(local.get {at})", f"(local.get {end})"
    wide = whole.kind is Kind.TEXTS
    start = f"(i32.wrap_i64 {whole.code})" if wide else inline.address(whole.code)
    size = f"(i32.shl {inline.size(whole.code)} (i32.const 3))" if wide else inline.size(whole.code)
    begin = f"(local.set {at} {start}) (local.set {end} (i32.add {place} {size}))"
    done = f"(i32.ge_u {place} {stop})"
    if wide:
        on = f"(local.set {at} (i32.add {place} (i32.const 8)))"
        return begin, done, "", Value(f"(i64.load {place})", Kind.STR), on
    point, next_ = (ex.frame.temporary("i32") for _ in range(2))
    get = f"(local.get {point})"
    text = Value(characters.between(place, f"(local.get {next_})", get), Kind.STR, point=get)
    return begin, done, characters.first(ex, place, point, next_), text, f"(local.set {at} (local.get {next_}))"


def spread(ex: Expressions, value: Value, count: int, node: ast.AST) -> tuple[str, Value]:
    """Return a list of texts as a tuple of so many, and code that fails if it has another number."""
    if value.kind is not Kind.TEXTS or value.none is not None:
        return "", value
    start, held = ex.hold(value)
    code = [start]
    for found in range(count):
        fewer = f"(i64.eq {size_of(held.code)} (i64.const {found}))"
        code.append(ex.failing(fewer, "ValueError", words.too_few(count, found), node))
    more = f"(i64.gt_u {size_of(held.code)} (i64.const {count}))"
    code.append(ex.failing(more, "ValueError", words.too_many(count), node))
    parts = tuple(Value(f"(i64.load offset={8 * i} (i32.wrap_i64 {held.code}))", Kind.STR) for i in range(count))
    return " ".join(code), Value("", Kind.RECORD, parts=parts, fields=tuple(map(str, range(count))))


# ---- builtins ----


def to_text(ex: Arithmetic, node: ast.AST, value: Value) -> Value:
    """Compile `str(value)`."""
    if value.kind is Kind.STR:
        return value
    if value.kind is Kind.BOOL:
        true, false = (constant_text(ex, text, node).code for text in ("True", "False"))
        return Value(f"(if (result i64) {value.code} (then {true}) (else {false}))", Kind.STR)
    if value.kind in INTS:
        return Value(making(ex, node, "text_from_int", value.code), Kind.STR)
    if value.kind is Kind.MIXED:
        raise ex.mixed(node, "str")
    if value.kind in FLOATS:
        return Value(making(ex, node, "text_from_float", value.code), Kind.STR)
    raise ex.source.error(node, f"{value.kind.spoken} is not turned into text here; use pl.col(...).dt.to_string()")


@intrinsic(builtins.str, also=frozenset(Kind) - NUMBERS)
def _str(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    return to_text(ex, node, args[0])


def _parsed(ex: Expressions, node: ast.Call, code: str, kind: Kind, message: str) -> Value:
    """Return a number that was read from text, unless that is none."""
    result = ex.frame.temporary(kind.wat)
    bad = ex.failing(f"(i32.eq {_STATUS} (i32.const 1))", "ValueError", message, node, quotes=True)
    if kind is Kind.INT:
        bad += ex.failing("(i32.const 1)", "OverflowError", ex.no_room, node)
    check = f"(if {_STATUS} (then {bad}))"
    return Value(f"(block (result {kind.wat}) (local.set {result} {code}) {check} (local.get {result}))", kind)


def _float(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    return _parsed(ex, node, plain(ex, "text_to_float", args[0].code), Kind.FLOAT, words.NO_FLOAT)


def _int(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    base = args[1].number if len(args) == 2 else 10
    if len(args) > 2 or type(base) is not int or not (base == 0 or 2 <= base <= 36):
        raise ex.source.error(node, "int(text, base) takes a constant base: 0, or 2 to 36")
    if base == 10:
        code = plain(ex, "text_to_decimal", args[0].code)
    else:
        code = plain(ex, "text_to_int", args[0].code, f"(i32.const {base})")
    return _parsed(ex, node, code, Kind.INT, words.NO_INT.replace("10", str(base)))


def length(ex: Arithmetic, value: Value) -> Value:
    """Compile `len(value)` of a text or a list of them."""
    if isinstance(value.number, str):
        return Value(f"(i64.const {len(value.number)})", Kind.LITERAL, len(value.number))
    if value.kind is Kind.TEXTS:
        return Value(size_of(value.code), Kind.INT)
    return Value(inline.length(ex, value.code, lambda text: plain(ex, "text_length", text)), Kind.INT)


@intrinsic(builtins.ord, also=TEXTUAL)
def _ord(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    if args[0].kind is not Kind.STR:
        raise ex.source.error(node, f"`ord` takes a str, not {args[0].kind.spoken}")
    if args[0].point is not None:
        return characters.number(ex, args[0])
    return Value(finding(ex, node, ("TypeError", words.NOT_ONE_CHARACTER), "text_ord", args[0].code), Kind.INT)


@intrinsic(builtins.chr)
def _chr(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    if args[0].kind not in INTS | {Kind.BOOL}:
        raise ex.source.error(node, f"`chr` takes an int, not {args[0].kind.spoken}")
    return Value(making(ex, node, "text_chr", as_int(args[0]), wrong=("ValueError", words.NO_CHARACTER)), Kind.STR)


def _register(target: object, body: OnNumbers) -> None:
    overloads[target, Kind.STR] = body


_register(builtins.float, _float)
_register(builtins.int, _int)
assert builtins.float in INTRINSICS
