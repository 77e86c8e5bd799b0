"""Arithmetic on numbers, with CPython's meaning and 64 bits."""

from __future__ import annotations

import ast
from collections.abc import Callable

from ..errors import UdfError
from . import words
from .mathematics import float_power
from .refusals import NUMBERS_ONLY
from .source import Source
from .temporal import temporal
from .texts import TEXTUAL, operation
from .unit import Frame, Unit
from .values import FLOATS, INT_MAX, INT_MIN, INTS, NUMBERS, Kind, Value, as_float, as_int, constant

_FLOAT_OPS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_FLOAT_ZERO = {
    ast.Div: words.FLOAT_DIVISION,
    ast.FloorDiv: words.FLOAT_FLOOR_DIVISION,
    ast.Mod: words.FLOAT_MODULO,
}
_INT_ZERO = {ast.Div: words.INT_DIVISION, ast.FloorDiv: words.INT_FLOOR_DIVISION, ast.Mod: words.INT_MODULO}
_BIT_OPS = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
SIGNS = {
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
UNARY = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~"}
_MOST_POWER = 64
NO_64_BITS = "the result does not fit into 64 bits"


class Arithmetic:
    """Compile what unary and binary operators do to values."""

    no_room = NO_64_BITS

    def __init__(self, source: Source, unit: Unit, frame: Frame) -> None:
        self.source, self.unit, self.frame = source, unit, frame

    def failing(self, condition: str, error: str, message: str, node: ast.AST, *, quotes: bool = False) -> str:
        """Return a statement that ends the row with an error if `condition` holds."""
        number = self.unit.site(error, message, self.source, node, quotes=quotes)
        return f"(if {condition} (then (global.set $error (i32.const {number})) {self.frame.fail}))"

    def constant(self, number: float | bool, node: ast.AST) -> Value:
        """Compile a known number."""
        if isinstance(number, int) and not INT_MIN <= number <= INT_MAX:
            raise self.source.error(node, f"{number} does not fit into 64 bits; write it as a float")
        return constant(number)

    def unary(self, node: ast.UnaryOp, value: Value) -> Value:
        """Compile `-`, `+` or `~` of a value."""
        if value.kind is Kind.TIMEDELTA and not isinstance(node.op, ast.Invert):
            return Value(self.unary(node, Value(value.code, Kind.INT)).code, value.kind)
        if value.kind not in NUMBERS:
            raise self.source.error(node, f"`{UNARY[type(node.op)]}` takes a number, not {value.kind.spoken}")
        if value.number is not None and value.kind in INTS | {Kind.BOOL}:
            number = int(value.number)
            folded = {ast.USub: -number, ast.UAdd: number, ast.Invert: ~number}[type(node.op)]
            return self.constant(folded, node)
        if isinstance(node.op, ast.Invert):
            if value.kind in FLOATS:
                raise self.source.error(node, "`~` takes an int")
            return Value(f"(i64.xor {as_int(value)} (i64.const -1))", Kind.INT)
        if isinstance(node.op, ast.UAdd):
            return Value(as_int(value), Kind.INT) if value.kind is Kind.BOOL else value
        if value.kind is Kind.MIXED:
            raise self.mixed(node, "-")
        if value.kind is Kind.FLOAT:
            return Value(f"(f64.neg {value.code})", Kind.FLOAT)
        x = self.frame.temporary("i64")
        check = self.failing(f"(i64.eq (local.get {x}) (i64.const {INT_MIN}))", "OverflowError", NO_64_BITS, node)
        code = f"(local.set {x} {as_int(value)}) {check} (i64.sub (i64.const 0) (local.get {x}))"
        return Value(f"(block (result i64) {code})", Kind.INT)

    def mixed(self, node: ast.AST, sign: str) -> UdfError:
        """Return the error for a value that is an int on one path and a float on another."""
        return self.source.error(
            node,
            f"`{sign}` meets a value that is an int on one path and a float on another; "
            "write the int constant as a float, such as 0.0",
        )

    def binary(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        """Compile `left op right`."""
        sign = SIGNS[type(node.op)]
        kinds = {left.kind, right.kind}
        if kinds & TEXTUAL:
            return operation(self, node, sign, left, right)
        if not kinds <= NUMBERS:
            timed = temporal(self, node, left, right)  # type: ignore[arg-type]
            if timed is not None:
                return timed
            raise self.source.error(node, f"`{sign}` takes numbers, not {left.kind.spoken} and {right.kind.spoken}")
        if isinstance(node.op, ast.Pow):
            return self._power(node, left, right)
        if type(node.op) in _BIT_OPS:
            return self._bits(node, left, right)
        if not kinds & FLOATS:
            return self.integer(node, left, right)
        if type(node.op) not in {*_FLOAT_OPS, ast.FloorDiv, ast.Mod}:
            raise self.source.error(node, f"`{sign}` takes ints, not {left.kind.spoken} and {right.kind.spoken}")
        if Kind.FLOAT not in kinds:
            raise self.mixed(node, sign)
        a, b = as_float(left), as_float(right)
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            return Value(f"(f64.{_FLOAT_OPS[type(node.op)]} {a} {b})", Kind.FLOAT)
        y = self.frame.temporary("f64")
        x = self.frame.temporary("f64")
        check = ""
        if not right.number:
            zero = f"(f64.eq (local.get {y}) (f64.const 0))"
            check = self.failing(zero, "ZeroDivisionError", _FLOAT_ZERO[type(node.op)], node)
        if isinstance(node.op, ast.Div):
            result = f"(f64.div (local.get {x}) (local.get {y}))"
        else:
            helper = "modulo" if isinstance(node.op, ast.Mod) else "floor_divide"
            self.unit.helpers.add(helper)
            result = f"(call ${helper} (local.get {x}) (local.get {y}))"
        return Value(f"(block (result f64) (local.set {x} {a}) (local.set {y} {b}) {check} {result})", Kind.FLOAT)

    def integer(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        """Compile `left op right` of ints."""
        if left.number is not None and right.number is not None:
            folded = self._folded(node, int(left.number), int(right.number))
            if folded is not None:
                return self.constant(folded, node)
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
        zero = self.failing(f"(i64.eqz {b})", "ZeroDivisionError", _INT_ZERO.get(type(node.op), ""), node)
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
        raise self.source.error(node, f"`{SIGNS[type(node.op)]}` cannot be compiled; {NUMBERS_ONLY}")

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
        negative = self.failing(f"(i64.lt_s {b} (i64.const 0))", "ValueError", words.NEGATIVE_SHIFT, node)
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
                node, f"`{SIGNS[type(node.op)]}` takes ints or bools; in a function, use `and`, `or`, `not`"
            )
        return Value(f"(i64.{name} {as_int(left)} {as_int(right)})", Kind.INT)

    def _power(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        number = right.number
        assert not isinstance(number, str)
        if {left.kind, right.kind} & FLOATS or (number is not None and number < 0):
            return float_power(self, node, left, right)
        if number is None or number > _MOST_POWER:
            return self._any_power(node, left, right)
        exponent = int(number)
        if left.number is not None:
            return self.constant(int(left.number) ** exponent, node)
        base = self.frame.temporary("i64")
        again = Value(f"(local.get {base})", Kind.INT)
        power = Value("(i64.const 1)", Kind.INT)
        # From the highest bit down, no partial power is larger than the result, so only the result can overflow.
        product = ast.copy_location(ast.BinOp(ast.Constant(0), ast.Mult(), ast.Constant(0)), node)
        for place, bit in enumerate(f"{exponent:b}"):
            if place:
                root = self.frame.temporary("i64")
                held = Value(f"(local.get {root})", Kind.INT)
                squared = self.integer(product, held, held)
                power = Value(f"(block (result i64) (local.set {root} {power.code}) {squared.code})", Kind.INT)
            if bit == "1":
                power = self.integer(product, power, again) if place else again
        return Value(f"(block (result i64) (local.set {base} {as_int(left)}) {power.code})", Kind.INT)

    def _any_power(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        self.unit.helpers.add("int_power")
        x, y, r = (self.frame.temporary("i64") for _ in range(3))
        wide = self.frame.temporary("i32")
        a, b = f"(local.get {x})", f"(local.get {y})"
        negative = f"(i64.lt_s {b} (i64.const 0))"
        zero = self.failing(f"(i32.and {negative} (i64.eqz {a}))", "ZeroDivisionError", words.ZERO_POWER, node)
        fraction = self.failing(negative, "ValueError", "a negative power of an int is a float", node)
        overflow = self.failing(f"(local.get {wide})", "OverflowError", NO_64_BITS, node)
        start = f"(local.set {x} {as_int(left)}) (local.set {y} {as_int(right)}) {zero} {fraction}"
        call = f"(call $int_power {a} {b}) local.set {wide} local.set {r} {overflow}"
        return Value(f"(block (result i64) {start} {call} (local.get {r}))", Kind.INT)
