"""The functions of Python that a compiled function may call, and the lists that others add theirs to."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from . import words
from .values import FLOATS, INT_MIN, NUMBERS, TIMES, Kind, Value, as_float, as_int, as_kind, truth

if TYPE_CHECKING:
    from .expressions import Expressions

Call: TypeAlias = Callable[["Expressions", ast.Call], Value]
Method: TypeAlias = Callable[["Expressions", ast.Call, Value], Value]
Attribute: TypeAlias = Callable[["Expressions", ast.AST, Value], Value]
OnNumbers: TypeAlias = Callable[["Expressions", ast.Call, Sequence[Value]], Value]

INTRINSICS: dict[Any, Call] = {}
"""Functions and types by the object that a name stands for."""
overloads: dict[tuple[Any, Kind], OnNumbers] = {}
"""What a function does instead if its first argument is of that kind."""
METHODS: dict[tuple[Kind, str], Method] = {}
ATTRIBUTES: dict[tuple[Kind, str], Attribute] = {}


def intrinsic(
    target: Any, count: int | None = 1, also: frozenset[Kind] = frozenset()
) -> Callable[[OnNumbers], OnNumbers]:
    """Register how `target` is compiled, after checking the number of arguments and that they are numbers."""

    def register(body: OnNumbers) -> OnNumbers:
        def checked(ex: Expressions, node: ast.Call) -> Value:
            called = ast.unparse(node.func)
            if node.keywords:
                raise ex.source.error(node, f"`{called}` takes plain arguments here, without names")
            args = [ex.value(arg) for arg in node.args]
            if args and (target, args[0].kind) in overloads:
                return overloads[target, args[0].kind](ex, node, args)
            if count is not None and len(node.args) != count:
                plural = "argument" if count == 1 else "arguments"
                raise ex.source.error(node, f"`{called}` takes {count} {plural} here")
            for arg, value in zip(node.args, args, strict=True):
                if value.kind not in NUMBERS | also:
                    raise ex.source.error(arg, f"`{called}` takes a number here, not {value.kind.spoken}")
            return body(ex, node, args)

        INTRINSICS[target] = checked
        return body

    return register


@intrinsic(builtins.float)
def _float(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    return Value(as_float(args[0]), Kind.FLOAT)


@intrinsic(builtins.bool, also=TIMES | {Kind.STR, Kind.TEXTS})
def _bool(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    return Value(truth(args[0]), Kind.BOOL)


@intrinsic(builtins.abs, also=frozenset({Kind.TIMEDELTA}))
def _abs(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
    value = args[0]
    if value.kind in FLOATS:
        return Value(f"(f64.abs {value.code})", value.kind)
    kind = Kind.TIMEDELTA if value.kind is Kind.TIMEDELTA else Kind.INT
    x = ex.frame.temporary("i64")
    check = ex.failing(f"(i64.eq (local.get {x}) (i64.const {INT_MIN}))", "OverflowError", ex.no_room, node)
    negated = f"(i64.sub (i64.const 0) (local.get {x}))"
    chosen = f"(select {negated} (local.get {x}) (i64.lt_s (local.get {x}) (i64.const 0)))"
    return Value(f"(block (result i64) (local.set {x} {as_int(value)}) {check} {chosen})", kind)


def _rounding(target: Any, instruction: str) -> None:
    @intrinsic(target)
    def body(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
        value = args[0]
        if value.kind not in FLOATS:
            return Value(as_int(value), Kind.INT)
        x = ex.frame.temporary("f64")
        get = f"(local.get {x})"
        nan = ex.failing(f"(f64.ne {get} {get})", "ValueError", words.NAN_TO_INT, node)
        infinite = f"(f64.eq (f64.abs {get}) (f64.const inf))"
        endless = ex.failing(infinite, "OverflowError", words.INFINITY_TO_INT, node)
        inside = f"(i32.and (f64.ge {get} (f64.const -0x1p63)) (f64.lt {get} (f64.const 0x1p63)))"
        wide = ex.failing(f"(i32.eqz {inside})", "OverflowError", "the result does not fit into 64 bits", node)
        checked = f"(if {inside} (then) (else {nan} {endless} {wide}))"
        code = f"(local.set {x} (f64.{instruction} {value.code})) {checked} (i64.trunc_f64_s {get})"
        return Value(f"(block (result i64) {code})", Kind.INT)


_rounding(builtins.int, "trunc")
_rounding(builtins.round, "nearest")
_rounding(math.trunc, "trunc")
_rounding(math.floor, "floor")
_rounding(math.ceil, "ceil")


def _extreme(target: Any, name: str, floats: str, ints: str) -> None:
    @intrinsic(target, None, TIMES)
    def body(ex: Expressions, node: ast.Call, args: Sequence[Value]) -> Value:
        if len(args) < 2:
            raise ex.source.error(node, f"`{name}` takes two or more numbers here")
        if any(value.kind is Kind.BOOL for value in args):
            raise ex.source.error(node, f"`{name}` takes numbers; convert a bool with int(...)")
        kind = ex.joined([value.type for value in args], node, f"`{name}`").kind
        wat = kind.wat
        compare = f"f64.{floats}" if kind in FLOATS else f"i64.{ints}"
        holders = [ex.frame.temporary(wat) for _ in args]
        code = " ".join(f"(local.set {h} {as_kind(value, kind)})" for h, value in zip(holders, args, strict=True))
        best = holders[0]
        for holder in holders[1:]:
            # Python keeps the earlier one unless the later compares beyond it, also when one is NaN.
            test = f"({compare} (local.get {holder}) (local.get {best}))"
            code += f" (local.set {best} (select (local.get {holder}) (local.get {best}) {test}))"
        return Value(f"(block (result {wat}) {code} (local.get {best}))", kind)


_extreme(builtins.min, "min", "lt", "lt_s")
_extreme(builtins.max, "max", "gt", "gt_s")
