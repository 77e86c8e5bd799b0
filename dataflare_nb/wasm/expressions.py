"""Python expressions as WebAssembly, with CPython's meaning."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import UdfError
from .intrinsics import INTRINSICS, Intrinsic
from .source import Source
from .unit import Frame, Unit
from .values import (
    FLOATS,
    INT_MAX,
    INT_MIN,
    INTS,
    Kind,
    Value,
    as_float,
    as_int,
    as_kind,
    constant,
    join,
    truth,
)

_FLOAT_OPS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_BIT_OPS = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
_COMPARISONS = {
    ast.Eq: ("eq", "eq"),
    ast.NotEq: ("ne", "ne"),
    ast.Lt: ("lt", "lt_s"),
    ast.LtE: ("le", "le_s"),
    ast.Gt: ("gt", "gt_s"),
    ast.GtE: ("ge", "ge_s"),
}
_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
_SPOKEN = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
_MOST_POWER = 64
NO_64_BITS = "the result does not fit into 64 bits"
NUMBERS_ONLY = "only numbers and bools can be compiled; use .map_batches for text and objects"


def pick(condition: str, wat: str, then: str, other: str) -> str:
    """Return code for one of two values; the other is not evaluated."""
    return f"(if (result {wat}) {condition} (then {then}) (else {other}))"


class Expressions:
    """Compile the expressions of one function into a frame."""

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        unit: Unit,
        frame: Frame,
        inner: Callable[[Any, ast.Call], tuple[str, Sequence[Kind], Kind]],
    ) -> None:
        self.source, self.names, self.unit, self.frame = source, names, unit, frame
        self._inner = inner

    # ---- what statements use ----

    def value(self, node: ast.expr) -> Value:
        """Compile an expression."""
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return self._constant(number, node)
            case ast.Name(id=name) if name in self.frame.kinds:
                return self._local(name, node)
            case ast.Name() | ast.Attribute():
                return self._outer(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._binary(node, self.value(node.left), self.value(node.right))
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

    def binary(self, node: ast.AugAssign, left: Value, right: Value) -> Value:
        """Compile `left op= right`."""
        return self._binary(node, left, right)

    def failing(self, condition: str, error: str, message: str, node: ast.AST) -> str:
        """Return a statement that ends the row with an error if `condition` holds."""
        number = self.unit.site(error, message, self.source, node)
        return f"(if {condition} (then (global.set $error (i32.const {number})) {self.frame.fail}))"

    # ---- names and numbers ----

    def _constant(self, number: float | bool, node: ast.AST) -> Value:
        if isinstance(number, int) and not INT_MIN <= number <= INT_MAX:
            raise self.source.error(node, f"{number} does not fit into 64 bits; write it as a float")
        return constant(number)

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
            return self._constant(found, node)
        raise self.source.error(
            node, f"`{ast.unparse(node)}` is {type(found).__name__}; a compiled function sees numbers and other udfs"
        )

    # ---- arithmetic ----

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value(f"(i32.eqz {self.condition(node.operand)})", Kind.BOOL)
        value = self.value(node.operand)
        if value.number is not None and value.kind in INTS | {Kind.BOOL}:
            number = int(value.number)
            folded = {ast.USub: -number, ast.UAdd: number, ast.Invert: ~number}[type(node.op)]
            return self._constant(folded, node)
        if isinstance(node.op, ast.Invert):
            if value.kind in FLOATS:
                raise self.source.error(node, "`~` takes an int")
            return Value(f"(i64.xor {as_int(value)} (i64.const -1))", Kind.INT)
        if isinstance(node.op, ast.UAdd):
            return Value(as_int(value), Kind.INT) if value.kind is Kind.BOOL else value
        if value.kind is Kind.MIXED:
            raise self._mixed(node, "-")
        if value.kind is Kind.FLOAT:
            return Value(f"(f64.neg {value.code})", Kind.FLOAT)
        x = self.frame.temporary("i64")
        check = self.failing(f"(i64.eq (local.get {x}) (i64.const {INT_MIN}))", "OverflowError", NO_64_BITS, node)
        code = f"(local.set {x} {as_int(value)}) {check} (i64.sub (i64.const 0) (local.get {x}))"
        return Value(f"(block (result i64) {code})", Kind.INT)

    def _mixed(self, node: ast.AST, sign: str) -> UdfError:
        return self.source.error(
            node,
            f"`{sign}` meets a value that is an int on one path and a float on another; "
            "write the int constant as a float, such as 0.0",
        )

    def _binary(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        sign = _SPOKEN[type(node.op)]
        kinds = {left.kind, right.kind}
        if isinstance(node.op, ast.Pow):
            return self._power(node, left, right)
        if type(node.op) in _BIT_OPS:
            return self._bits(node, left, right)
        if not kinds & FLOATS:
            return self._integer(node, left, right)
        if type(node.op) not in {*_FLOAT_OPS, ast.FloorDiv, ast.Mod}:
            raise self.source.error(node, f"`{sign}` takes ints, not {left.kind.spoken} and {right.kind.spoken}")
        if Kind.FLOAT not in kinds:
            raise self._mixed(node, sign)
        a, b = as_float(left), as_float(right)
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            return Value(f"(f64.{_FLOAT_OPS[type(node.op)]} {a} {b})", Kind.FLOAT)
        y = self.frame.temporary("f64")
        x = self.frame.temporary("f64")
        check = ""
        if not right.number:
            zero = f"(f64.eq (local.get {y}) (f64.const 0))"
            check = self.failing(zero, "ZeroDivisionError", "division by zero", node)
        if isinstance(node.op, ast.Div):
            result = f"(f64.div (local.get {x}) (local.get {y}))"
        else:
            helper = "modulo" if isinstance(node.op, ast.Mod) else "floor_divide"
            self.unit.helpers.add(helper)
            result = f"(call ${helper} (local.get {x}) (local.get {y}))"
        return Value(f"(block (result f64) (local.set {x} {a}) (local.set {y} {b}) {check} {result})", Kind.FLOAT)

    def _integer(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        if left.number is not None and right.number is not None:
            folded = self._folded(node, int(left.number), int(right.number))
            if folded is not None:
                return self._constant(folded, node)
        x, y, r = (self.frame.temporary("i64") for _ in range(3))
        a, b, c = (f"(local.get {name})" for name in (x, y, r))
        start = f"(local.set {x} {as_int(left)}) (local.set {y} {as_int(right)})"

        def overflow(condition: str) -> str:
            return self.failing(condition, "OverflowError", NO_64_BITS, node)

        def block(rest: str, wat: str = "i64") -> Value:
            kind = Kind.INT if wat == "i64" else Kind.FLOAT
            return Value(f"(block (result {wat}) {start} {rest})", kind)

        match node.op:
            case ast.Add():
                wrapped = f"(i64.lt_s (i64.and (i64.xor {a} {c}) (i64.xor {b} {c})) (i64.const 0))"
                return block(f"(local.set {r} (i64.add {a} {b})) {overflow(wrapped)} {c}")
            case ast.Sub():
                wrapped = f"(i64.lt_s (i64.and (i64.xor {a} {b}) (i64.xor {a} {c})) (i64.const 0))"
                return block(f"(local.set {r} (i64.sub {a} {b})) {overflow(wrapped)} {c}")
            case ast.Mult():
                self.unit.helpers.add("product_overflows")
                small = f"(i32.and (i64.eq (i64.extend32_s {a}) {a}) (i64.eq (i64.extend32_s {b}) {b}))"
                checked = overflow(f"(call $product_overflows {a} {b})")
                return block(f"(if {small} (then) (else {checked})) (i64.mul {a} {b})")
            case ast.LShift() | ast.RShift():
                return self._shift(node, block, overflow, a, b, c, r)
        zero = self.failing(f"(i64.eqz {b})", "ZeroDivisionError", "division by zero", node)
        zero = "" if right.number else zero
        match node.op:
            case ast.Div():
                self.unit.helpers.add("true_divide")
                return block(f"{zero} (call $true_divide {a} {b})", "f64")
            case ast.FloorDiv():
                both = f"(i32.and (i64.eq {a} (i64.const {INT_MIN})) (i64.eq {b} (i64.const -1)))"
                guard = overflow(both) if right.number in (None, -1) else ""
                rest = f"(local.set {r} (i64.div_s {a} {b}))"
                inexact = f"(i64.ne (i64.mul {c} {b}) {a})"
                below = f"(i32.and {inexact} (i64.lt_s (i64.xor {a} {b}) (i64.const 0)))"
                return block(f"{zero} {guard} {rest} (i64.sub {c} (i64.extend_i32_u {below}))")
            case ast.Mod():
                rest = f"(local.set {r} (i64.rem_s {a} {b}))"
                adjust = f"(i32.and (i64.ne {c} (i64.const 0)) (i64.lt_s (i64.xor {c} {b}) (i64.const 0)))"
                return block(f"{zero} {rest} (i64.add {c} (select {b} (i64.const 0) {adjust}))")
        raise self.source.error(node, f"`{_SPOKEN[type(node.op)]}` cannot be compiled; {NUMBERS_ONLY}")

    def _shift(
        self,
        node: ast.BinOp | ast.AugAssign,
        block: Callable[[str], Value],
        overflow: Callable[[str], str],
        a: str,
        b: str,
        c: str,
        r: str,
    ) -> Value:
        negative = self.failing(f"(i64.lt_s {b} (i64.const 0))", "ValueError", "negative shift count", node)
        if isinstance(node.op, ast.RShift):
            most = f"(select {b} (i64.const 63) (i64.lt_u {b} (i64.const 63)))"
            return block(f"{negative} (i64.shr_s {a} {most})")
        lost = f"(i64.ne (i64.shr_s {c} {b}) {a})"
        wide = f"(i32.and (i64.gt_u {b} (i64.const 63)) (i64.ne {a} (i64.const 0)))"
        shifted = f"(local.set {r} (select (i64.shl {a} {b}) (i64.const 0) (i64.le_u {b} (i64.const 63))))"
        checked = overflow(f"(i32.or {wide} (i32.and (i64.le_u {b} (i64.const 63)) {lost}))")
        return block(f"{negative} {shifted} {checked} {c}")

    def _folded(self, node: ast.BinOp | ast.AugAssign, a: int, b: int) -> int | None:
        match node.op:
            case ast.Add():
                return a + b
            case ast.Sub():
                return a - b
            case ast.Mult():
                return a * b
            case ast.FloorDiv() if b:
                return a // b
            case ast.Mod() if b:
                return a % b
        return None

    def _bits(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        name = _BIT_OPS[type(node.op)]
        if left.kind is right.kind is Kind.BOOL:
            return Value(f"(i32.{name} {left.code} {right.code})", Kind.BOOL)
        if {left.kind, right.kind} & FLOATS:
            raise self.source.error(
                node, f"`{_SPOKEN[type(node.op)]}` takes ints or bools; in a function, use `and`, `or`, `not`"
            )
        return Value(f"(i64.{name} {as_int(left)} {as_int(right)})", Kind.INT)

    def _power(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        if {left.kind, right.kind} & FLOATS:
            raise self.source.error(
                node,
                "`**` of floats depends on the machine's C library in its last bit, so it is not compiled; "
                "write x * x for a square, math.sqrt(x) for a root, or use Polars: pl.col(...) ** 2",
            )
        if right.number is None or not 0 <= right.number <= _MOST_POWER:
            raise self.source.error(node, f"`**` needs a constant exponent from 0 to {_MOST_POWER}")
        exponent = int(right.number)
        if left.number is not None:
            return self._constant(int(left.number) ** exponent, node)
        base = self.frame.temporary("i64")
        again = Value(f"(local.get {base})", Kind.INT)
        power = Value("(i64.const 1)", Kind.INT)
        # From the highest bit down, no partial power is larger than the result, so only the result can overflow.
        product = ast.copy_location(ast.BinOp(ast.Constant(0), ast.Mult(), ast.Constant(0)), node)
        for place, bit in enumerate(f"{exponent:b}"):
            if place:
                root = self.frame.temporary("i64")
                held = Value(f"(local.get {root})", Kind.INT)
                squared = self._integer(product, held, held)
                power = Value(f"(block (result i64) (local.set {root} {power.code}) {squared.code})", Kind.INT)
            if bit == "1":
                power = self._integer(product, power, again) if place else again
        return Value(f"(block (result i64) (local.set {base} {as_int(left)}) {power.code})", Kind.INT)

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
