"""Builtins that do more than convert a number: `round` to digits, `divmod`, and those that look into a tuple."""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING, Any

from . import words
from .intrinsics import INTRINSICS
from .text_methods import split_length
from .texts import TEXTUAL, length
from .values import FLOATS, INTS, NUMBERS, Kind, Value, as_int, truth

if TYPE_CHECKING:
    from .expressions import Expressions

_MOST_DIGITS = 22
"""Up to here a power of ten is a float, so that rounding can be decided without long arithmetic."""
_MOST_INT_DIGITS = 18
_round_to_int = INTRINSICS[builtins.round]


def _round(ex: Expressions, node: ast.Call) -> Value:
    if len(node.args) != 2 or node.keywords:
        return _round_to_int(ex, node)
    value, digits = ex.value(node.args[0]), ex.maybe(node.args[1])
    if digits.kind is Kind.NONE:
        return _round_to_int(ex, ast.copy_location(ast.Call(node.func, node.args[:1], []), node))
    if value.kind not in NUMBERS:
        raise ex.source.error(node.args[0], f"`round` takes a number here, not {value.kind.spoken}")
    number = digits.number
    if type(number) is not int or abs(number) > _MOST_DIGITS:
        most = _MOST_DIGITS
        raise ex.source.error(node.args[1], f"round to a constant number of digits, from -{most} to {most}")
    if value.kind is Kind.MIXED:
        raise ex.mixed(node, "round")
    if value.kind is Kind.FLOAT:
        name = "round_digits" if number >= 0 else "round_tens"
        ex.unit.helpers.add(name)
        return Value(f"(call ${name} {value.code} (f64.const {(10.0 ** abs(number)).hex()}))", Kind.FLOAT)
    if number >= 0:
        return Value(as_int(value), Kind.INT)
    if number < -_MOST_INT_DIGITS:
        return Value(_far_rounded(ex, node, value, number), Kind.INT)
    ten = Value(f"(i64.const {10**-number})", Kind.INT)
    ex.unit.helpers.add("divide_nearest")
    nearest = Value(f"(call $divide_nearest {as_int(value)} {ten.code})", Kind.INT)
    return ex.integer(_operation(node, ast.Mult()), nearest, ten)


def _far_rounded(ex: Expressions, node: ast.Call, value: Value, digits: int) -> str:
    """Return code for rounding to a power of ten that no int reaches: 0, or too much if half of it is reached."""
    x = ex.frame.temporary("i64")
    start = f"(local.set {x} {as_int(value)})"
    if digits == -_MOST_INT_DIGITS - 1:
        half = 5 * 10**_MOST_INT_DIGITS
        far = f"(i64.gt_u (i64.add (local.get {x}) (i64.const {half})) (i64.const {2 * half - 2**64}))"
        start += f" {ex.failing(far, 'OverflowError', ex.no_room, node)}"
    return f"(block (result i64) {start} (i64.const 0))"


def _divmod(ex: Expressions, node: ast.Call) -> Value:
    if len(node.args) != 2 or node.keywords:
        raise ex.source.error(node, "`divmod` takes two numbers")
    held = [ex.hold(ex.value(arg)) for arg in node.args]
    left, right = (value for _, value in held)
    message = words.FLOAT_DIVMOD if {left.kind, right.kind} & FLOATS else words.INT_DIVMOD
    zero = ex.failing(f"(i32.eqz {truth(right)})", "ZeroDivisionError", message, node)
    parts = [ex.binary(_operation(node, sign), left, right) for sign in (ast.FloorDiv(), ast.Mod())]
    both = ex.record(parts, node)
    start = " ".join(code for code, _ in held)
    return Value(f"{start} {zero} {both.code}", Kind.RECORD, parts=both.parts, fields=both.fields)


def _operation(node: ast.Call, sign: ast.operator) -> ast.BinOp:
    """Return an operation that stands where a call does."""
    return ast.copy_location(ast.BinOp(node, sign, node), node)


def _tuple(ex: Expressions, node: ast.Call) -> Value:
    """Return the one tuple that a call is given."""
    name = ast.unparse(node.func)
    if len(node.args) == 1 and not node.keywords:
        given = node.args[0]
        if isinstance(given, ast.List):
            given = ast.copy_location(ast.Tuple(given.elts, given.ctx), given)
        if not isinstance(given, ast.GeneratorExp):
            found = ex.maybe(given)
            if found.kind is Kind.RECORD:
                return found
    raise ex.source.error(node, f"`{name}` takes a tuple of a few values here: {name}((a, b))")


def _sum(ex: Expressions, node: ast.Call) -> Value:
    given = _tuple(ex, node)
    total = ex.constant(0, node)
    for part in given.parts:
        if part.none is not None or part.kind not in INTS | {Kind.BOOL}:
            raise ex.source.error(
                node, "`sum` adds ints here; of floats the result depends on the version of Python: write a + b + c"
            )
        total = ex.binary(_operation(node, ast.Add()), total, part)
    return Value(f"(block (result i64) {given.code} {as_int(total)})", Kind.INT)


def _quantifier(target: Any, operator: str, empty: int) -> None:
    def found(ex: Expressions, node: ast.Call) -> Value:
        given = _tuple(ex, node)
        code = f"(i32.const {empty})"
        for part in given.parts:
            code = f"(i32.{operator} {code} {truth(part)})"
        return Value(f"(block (result i32) {given.code} {code})", Kind.BOOL)

    INTRINSICS[target] = found


def _len(ex: Expressions, node: ast.Call) -> Value:
    if len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], (ast.List, ast.Tuple)):
        counted = split_length(ex, node.args[0])
        if counted is not None:
            return counted
        found = ex.maybe(node.args[0])
        if found.kind in TEXTUAL and found.none is None:
            return length(ex, found)
    return ex.constant(len(_tuple(ex, node).parts), node)


INTRINSICS[builtins.round] = _round
INTRINSICS[builtins.divmod] = _divmod
INTRINSICS[builtins.sum] = _sum
INTRINSICS[builtins.len] = _len
_quantifier(builtins.all, "and", 1)
_quantifier(builtins.any, "or", 0)
