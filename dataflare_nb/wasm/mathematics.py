"""The functions of `math` that a compiled function may call, and `**` of floats."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import words
from .intrinsics import intrinsic
from .values import FLOATS, INT_MIN, INTS, Kind, Value, as_float, as_int, float_text

if TYPE_CHECKING:
    from .arithmetic import Arithmetic
    from .expressions import Expressions

_DOMAIN = ("ValueError", words.MATH_DOMAIN)
_RANGE = ("OverflowError", words.MATH_RANGE)


def held(ex: Arithmetic, value: Value) -> tuple[str, str]:
    """Return code that keeps a value as a float, and code that reads it again."""
    name = ex.frame.temporary("f64")
    return f"(local.set {name} {as_float(value)})", f"(local.get {name})"


def _infinite(x: str) -> str:
    return f"(f64.eq (f64.abs {x}) (f64.const inf))"


def _finite(x: str) -> str:
    return f"(f64.lt (f64.abs {x}) (f64.const inf))"


def _function(target: Any, name: str, pole: tuple[str, str] = _DOMAIN) -> None:
    """Register a function of one number. NaN from a number is a domain error, infinity from a finite one a pole."""

    @intrinsic(target)
    def body(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
        return one(ex, node, args[0], name, pole)


def one(ex: Arithmetic, node: ast.AST, value: Value, name: str, pole: tuple[str, str]) -> Value:
    """Compile a call of a function of the library, with Python's errors."""
    ex.unit.needs.add(f"math_{name}")
    keep, x = held(ex, value)
    result = ex.frame.temporary("f64")
    r = f"(local.get {result})"
    domain = ex.failing(f"(f64.ne {r} {r})", *_DOMAIN, node)
    range_ = ex.failing(f"(i32.and {_infinite(r)} {_finite(x)})", *pole, node)
    check = f"(if {_finite(r)} (then) (else (if (f64.eq {x} {x}) (then {domain})) {range_}))"
    return Value(f"(block (result f64) {keep} (local.set {result} (call $math_{name} {x})) {check} {r})", Kind.FLOAT)


for _target, _name in [
    (math.sin, "sin"),
    (math.cos, "cos"),
    (math.tan, "tan"),
    (math.asin, "asin"),
    (math.acos, "acos"),
    (math.atan, "atan"),
    (math.tanh, "tanh"),
    (math.cbrt, "cbrt"),
    (math.log2, "log2"),
    (math.log10, "log10"),
    (math.log1p, "log1p"),
]:
    _function(_target, _name)

for _target, _name in [
    (math.exp, "exp"),
    (math.exp2, "exp2"),
    (math.expm1, "expm1"),
    (math.sinh, "sinh"),
    (math.cosh, "cosh"),
]:
    _function(_target, _name, _RANGE)


@intrinsic(math.log, None)
def _log(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    if not 1 <= len(args) <= 2:
        raise ex.source.error(node, "`log` takes a number, and a base if it is not e")
    if len(args) == 1:
        return one(ex, node, args[0], "log", _DOMAIN)
    (keep, x), (keep_base, base) = held(ex, args[0]), held(ex, args[1])
    above = one(ex, node, Value(x, Kind.FLOAT), "log", _DOMAIN)
    below = one(ex, node, Value(base, Kind.FLOAT), "log", _DOMAIN)
    y = ex.frame.temporary("f64")
    top = ex.frame.temporary("f64")
    zero = ex.failing(f"(f64.eq (local.get {y}) (f64.const 0))", "ZeroDivisionError", words.FLOAT_DIVISION, node)
    code = f"{keep} {keep_base} (local.set {top} {above.code}) (local.set {y} {below.code}) {zero}"
    return Value(f"(block (result f64) {code} (f64.div (local.get {top}) (local.get {y})))", Kind.FLOAT)


@intrinsic(math.sqrt)
def _sqrt(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    keep, x = held(ex, args[0])
    check = ex.failing(f"(f64.lt {x} (f64.const 0))", *_DOMAIN, node)
    return Value(f"(block (result f64) {keep} {check} (f64.sqrt {x}))", Kind.FLOAT)


@intrinsic(math.pow, 2)
def _pow(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    ex.unit.needs.add("math_pow")
    (keep, x), (keep_other, y) = held(ex, args[0]), held(ex, args[1])
    result = ex.frame.temporary("f64")
    r = f"(local.get {result})"
    given = f"(i32.and {_finite(x)} {_finite(y)})"
    domain = ex.failing(f"(i32.or (f64.ne {r} {r}) (f64.eq {x} (f64.const 0)))", *_DOMAIN, node)
    range_ = ex.failing("(i32.const 1)", *_RANGE, node)
    check = f"(if (i32.and (i32.eqz {_finite(r)}) {given}) (then {domain} {range_}))"
    code = f"{keep} {keep_other} (local.set {result} (call $math_pow {x} {y})) {check} {r}"
    return Value(f"(block (result f64) {code})", Kind.FLOAT)


@intrinsic(math.atan2, 2)
def _atan2(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    ex.unit.needs.add("math_atan2")
    return Value(f"(call $math_atan2 {as_float(args[0])} {as_float(args[1])})", Kind.FLOAT)


@intrinsic(math.hypot, None)
def _hypot(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    if not 1 <= len(args) <= 3:
        raise ex.source.error(node, "`hypot` takes one to three numbers here")
    if len(args) == 1:
        return Value(f"(f64.abs {as_float(args[0])})", Kind.FLOAT)
    name = "math_hypot" if len(args) == 2 else "math_hypot3"
    ex.unit.needs.add(name)
    return Value(f"(call ${name} {' '.join(map(as_float, args))})", Kind.FLOAT)


@intrinsic(math.fabs)
def _fabs(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    return Value(f"(f64.abs {as_float(args[0])})", Kind.FLOAT)


@intrinsic(math.copysign, 2)
def _copysign(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    return Value(f"(f64.copysign {as_float(args[0])} {as_float(args[1])})", Kind.FLOAT)


@intrinsic(math.fmod, 2)
def _fmod(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    ex.unit.helpers.add("fmod")
    (keep, x), (keep_other, y) = held(ex, args[0]), held(ex, args[1])
    numbers = f"(i32.and (f64.eq {x} {x}) (f64.eq {y} {y}))"
    outside = f"(i32.or (f64.eq {y} (f64.const 0)) {_infinite(x)})"
    check = ex.failing(f"(i32.and {numbers} {outside})", *_DOMAIN, node)
    return Value(f"(block (result f64) {keep} {keep_other} {check} (call $fmod {x} {y}))", Kind.FLOAT)


def _scaling(target: Any, factor: float) -> None:
    @intrinsic(target)
    def body(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
        return Value(f"(f64.mul {as_float(args[0])} (f64.const {float_text(factor)}))", Kind.FLOAT)


_scaling(math.degrees, 180.0 / math.pi)
_scaling(math.radians, math.pi / 180.0)


def _test(target: Any, body: Callable[[str], str]) -> None:
    @intrinsic(target)
    def test(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
        keep, x = held(ex, args[0])
        return Value(f"(block (result i32) {keep} {body(x)})", Kind.BOOL)


_test(math.isnan, lambda x: f"(f64.ne {x} {x})")
_test(math.isinf, _infinite)
_test(math.isfinite, _finite)


@intrinsic(math.gcd, None)
def _gcd(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    if any(value.kind not in INTS | {Kind.BOOL} for value in args):
        raise ex.source.error(node, "`gcd` takes ints")
    ex.unit.needs.add("math_gcd")
    code = "(i64.const 0)"
    for value in args:
        code = f"(call $math_gcd {code} {as_int(value)})"
    result = ex.frame.temporary("i64")
    wide = ex.failing(
        f"(i64.eq (local.get {result}) (i64.const {INT_MIN}))",
        "OverflowError",
        "the result does not fit into 64 bits",
        node,
    )
    return Value(f"(block (result i64) (local.set {result} {code}) {wide} (local.get {result}))", Kind.INT)


def float_power(ex: Arithmetic, node: ast.AST, left: Value, right: Value) -> Value:
    """Compile `left ** right` where one is a float, or the exponent a negative int."""
    if Kind.MIXED in {left.kind, right.kind} and not {left.kind, right.kind} <= FLOATS:
        raise ex.source.error(
            node,
            "`**` meets a value that is an int on one path and a float on another; "
            "write the int constant as a float, such as 0.0",
        )
    (keep, x), (keep_other, y) = held(ex, left), held(ex, right)
    result = ex.frame.temporary("f64")
    r = f"(local.get {result})"
    known = right.number
    assert not isinstance(known, str)
    checks = []
    if known is None or known < 0:
        below = f"(i32.and (f64.lt {y} (f64.const 0)) {_finite(y)})"
        zero = f"(i32.and (f64.eq {x} (f64.const 0)) {below})"
        checks.append(ex.failing(zero, "ZeroDivisionError", words.FLOAT_ZERO_POWER, node))
    if known is None or known % 1:
        below = f"(i32.and (f64.lt {x} (f64.const 0)) {_finite(x)})"
        part = f"(i32.and {_finite(y)} (f64.ne (f64.trunc {y}) {y}))"
        checks.append(
            ex.failing(
                f"(i32.and {below} {part})", "ValueError", "a negative number to a fractional power is complex", node
            )
        )
    if known == 2:
        raised = f"(f64.mul {x} {x})"
    else:
        ex.unit.needs.add("math_pow")
        raised = f"(call $math_pow {x} {y})"
    given = f"(i32.and {_finite(x)} {_finite(y)})"
    wide = ex.failing(f"(i32.and {_infinite(r)} {given})", "OverflowError", words.FLOAT_POWER_RANGE, node)
    code = f"{keep} {keep_other} {' '.join(checks)} (local.set {result} {raised}) {wide} {r}"
    return Value(f"(block (result f64) {code})", Kind.FLOAT)
