"""Python expressions as WebAssembly, with CPython's meaning."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .arithmetic import NUMBERS_ONLY, Arithmetic
from .intrinsics import INTRINSICS, Intrinsic
from .source import Source
from .unit import Frame, Unit
from .values import (
    FLOATS,
    INTS,
    Kind,
    Value,
    as_float,
    as_int,
    as_kind,
    join,
    truth,
)

_COMPARISONS = {
    ast.Eq: ("eq", "eq"),
    ast.NotEq: ("ne", "ne"),
    ast.Lt: ("lt", "lt_s"),
    ast.LtE: ("le", "le_s"),
    ast.Gt: ("gt", "gt_s"),
    ast.GtE: ("ge", "ge_s"),
}
_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


def pick(condition: str, wat: str, then: str, other: str) -> str:
    """Return code for one of two values; the other is not evaluated."""
    return f"(if (result {wat}) {condition} (then {then}) (else {other}))"


class Expressions(Arithmetic):
    """Compile the expressions of one function into a frame."""

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        unit: Unit,
        frame: Frame,
        inner: Callable[[Any, ast.Call], tuple[str, Sequence[Kind], Kind]],
    ) -> None:
        super().__init__(source, unit, frame)
        self.names, self._inner = names, inner

    # ---- what statements use ----

    def value(self, node: ast.expr) -> Value:
        """Compile an expression."""
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return self.constant(number, node)
            case ast.Name(id=name) if name in self.frame.kinds:
                return self._local(name, node)
            case ast.Name() | ast.Attribute():
                return self._outer(node)
            case ast.UnaryOp(op=ast.Not()):
                return Value(self.condition(node), Kind.BOOL)
            case ast.UnaryOp(operand=operand):
                return self.unary(node, self.value(operand))
            case ast.BinOp():
                return self.binary(node, self.value(node.left), self.value(node.right))
            case ast.Compare():
                return Value(self._compare(node), Kind.BOOL)
            case ast.BoolOp():
                return self._choice_of(node)
            case ast.IfExp():
                return self._ternary(node)
            case ast.Call():
                return self._call(node)
        raise self.source.error(node, f"{_described(node)} cannot be compiled; {NUMBERS_ONLY}")

    def condition(self, node: ast.expr) -> str:
        """Compile an expression of which only the truth matters."""
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                code = self.condition(parts[-1])
                for part in reversed(parts[:-1]):
                    code = pick(self.condition(part), "i32", code, "(i32.const 0)")
                return code
            case ast.BoolOp(op=ast.Or(), values=parts):
                code = self.condition(parts[-1])
                for part in reversed(parts[:-1]):
                    code = pick(self.condition(part), "i32", "(i32.const 1)", code)
                return code
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"(i32.eqz {self.condition(operand)})"
        return truth(self.value(node))

    # ---- names and numbers ----

    def _local(self, name: str, node: ast.AST) -> Value:
        if name not in self.frame.assigned:
            raise self.source.error(
                node, f"`{name}` has no value on every way to here; give it one before the `if` or the loop"
            )
        return Value(f"(local.get $v_{name})", self.frame.kinds[name])

    def static(self, node: ast.expr) -> Any:
        """Return the Python object that a name or attribute stands for, outside the function."""
        if isinstance(node, ast.Name):
            if node.id in self.frame.kinds:
                raise self.source.error(node, f"`{node.id}` is a number here, without attributes or calls")
            if node.id not in self.names:
                raise self.source.error(node, f"`{node.id}` is not known where the function is defined")
            return self.names[node.id]
        if isinstance(node, ast.Attribute):
            owner = self.static(node.value)
            if isinstance(owner, types.ModuleType) and hasattr(owner, node.attr):
                return getattr(owner, node.attr)
        raise self.source.error(node, f"{_described(node)} cannot be compiled; {NUMBERS_ONLY}")

    def _outer(self, node: ast.Name | ast.Attribute) -> Value:
        found = self.static(node)
        if type(found) in (bool, int, float):
            return self.constant(found, node)
        raise self.source.error(
            node, f"`{ast.unparse(node)}` is {type(found).__name__}; a compiled function sees numbers and other udfs"
        )

    # ---- comparisons and choices ----

    def _compare(self, node: ast.Compare) -> str:
        left = self.value(node.left)
        result: list[str] = []
        for i, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
            if type(op) not in _COMPARISONS:
                raise self.source.error(node, "`in` and `is` cannot be compiled; compare with == and join with `or`")
            right = self.value(right_node)
            if i + 1 < len(node.ops) and right.number is None:
                name = self.frame.temporary(right.kind.wat)
                kept = Value(f"(local.tee {name} {right.code})", right.kind)
                result.append(self._compared(op, left, kept))
                left = Value(f"(local.get {name})", right.kind)
            else:
                result.append(self._compared(op, left, right))
                left = right
        code = result[-1]
        for part in reversed(result[:-1]):
            code = pick(part, "i32", code, "(i32.const 0)")
        return code

    def _compared(self, op: ast.cmpop, left: Value, right: Value) -> str:
        floats, ints = _COMPARISONS[type(op)]
        if not {left.kind, right.kind} & FLOATS:
            return f"(i64.{ints} {as_int(left)} {as_int(right)})"
        exact = Kind.INT not in {left.kind, right.kind}
        if exact:
            return f"(f64.{floats} {as_float(left)} {as_float(right)})"
        self.unit.helpers.add("compare")
        # The helper takes the int first; what is written first is still evaluated first.
        if right.kind is Kind.INT:
            held = self.frame.temporary("f64")
            code = f"(local.set {held} {as_float(left)}) (call $compare {right.code} (local.get {held}))"
            return _ordered(f"(block (result i32) {code})", _MIRRORED[floats])
        return _ordered(f"(call $compare {left.code} {as_float(right)})", floats)

    def _choice_of(self, node: ast.BoolOp) -> Value:
        values = [self.value(part) for part in node.values]
        kind = self.joined(values, node, "and" if isinstance(node.op, ast.And) else "or")
        code = as_kind(values[-1], kind)
        for value in reversed(values[:-1]):
            held = self.frame.temporary(kind.wat)
            kept = Value(f"(local.tee {held} {as_kind(value, kind)})", kind)
            again = f"(local.get {held})"
            branches = (code, again) if isinstance(node.op, ast.And) else (again, code)
            code = pick(truth(kept), kind.wat, *branches)
        return Value(code, kind)

    def _ternary(self, node: ast.IfExp) -> Value:
        test = self.condition(node.test)
        values = [self.value(node.body), self.value(node.orelse)]
        kind = self.joined(values, node, "the branches of `if ... else`")
        return Value(pick(test, kind.wat, as_kind(values[0], kind), as_kind(values[1], kind)), kind)

    def joined(self, values: Sequence[Value], node: ast.AST, what: str) -> Kind:
        """Return the kind that holds all values."""
        kind: Kind | None = values[0].kind
        for value in values[1:]:
            kind = join(kind, value.kind) if kind else None
        if kind is None:
            kinds = " and ".join(dict.fromkeys(value.kind.spoken for value in values))
            raise self.source.error(node, f"{what}: {kinds} do not mix; convert with float(...), int(...) or bool(...)")
        return kind

    # ---- calls ----

    def _call(self, node: ast.Call) -> Value:
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise self.source.error(node, "calls take plain arguments here, without names or stars")
        target = self.static(node.func)
        found: Intrinsic | None = None
        if isinstance(target, (type, types.BuiltinFunctionType)):
            found = INTRINSICS.get(target)
        if found is not None:
            return found(self, node, [self.value(arg) for arg in node.args])
        name, params, returns = self._inner(target, node)
        if len(params) != len(node.args):
            raise self.source.error(node, f"`{ast.unparse(node.func)}` takes {len(params)} arguments")
        args = [self.passed(self.value(arg), kind, arg) for arg, kind in zip(node.args, params, strict=True)]
        result = self.frame.temporary(returns.wat)
        call = f"(local.set {result} (call {name} {' '.join(args)}))"
        failed = f"(if (global.get $error) (then {self.frame.fail}))"
        return Value(f"(block (result {returns.wat}) {call} {failed} (local.get {result}))", returns)

    def passed(self, value: Value, kind: Kind, node: ast.AST) -> str:
        """Return code for a value as a parameter or result of that kind."""
        if kind is Kind.FLOAT and value.kind is not Kind.BOOL:
            return as_float(value)
        if value.kind is kind or (kind is Kind.INT and value.kind in INTS):
            return value.code
        raise self.source.error(
            node, f"this is {value.kind.spoken} and must be {kind.spoken}; convert it with {kind.value}(...)"
        )


def _ordered(code: str, op: str) -> str:
    tests = {"eq": "eqz", "lt": ("eq", -1), "le": ("le_s", 0), "gt": ("eq", 1), "ge": ("lt_u", 2), "ne": ("ne", 0)}
    test = tests[op]
    return f"(i32.eqz {code})" if isinstance(test, str) else f"(i32.{test[0]} {code} (i32.const {test[1]}))"


def _described(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=value):
            return f"{type(value).__name__} {value!r}"
        case ast.Attribute(attr=name):
            return f"the attribute `{name}`"
    return {
        "ListComp": "a comprehension",
        "GeneratorExp": "a generator",
        "JoinedStr": "text",
        "Subscript": "indexing",
        "Lambda": "a lambda",
        "NamedExpr": "`:=`",
    }.get(type(node).__name__, f"a {type(node).__name__.lower()}")
