"""Comparisons: `<`, `==`, `is None`, `in (1, 2, 3)`, and what they tell about the names in them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .characters import among
from .source import Source
from .texts import TEXTUAL, contains
from .texts import relation as text_relation
from .unit import Flow, Frame, Unit
from .values import FLOATS, NUMBERS, Kind, Value, as_float, as_int

_COMPARISONS = {
    ast.Eq: ("eq", "eq"),
    ast.NotEq: ("ne", "ne"),
    ast.Lt: ("lt", "lt_s"),
    ast.LtE: ("le", "le_s"),
    ast.Gt: ("gt", "gt_s"),
    ast.GtE: ("ge", "ge_s"),
}
_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
_SAME = (ast.Eq, ast.NotEq)


class Comparisons:
    """Compile comparisons."""

    source: Source
    unit: Unit
    frame: Frame

    if TYPE_CHECKING:

        def value(self, node: ast.expr) -> Value: ...
        def maybe(self, node: ast.expr) -> Value: ...
        def hold(self, value: Value) -> tuple[str, Value]: ...
        def is_value(self, node: ast.expr) -> bool: ...
        def static(self, node: ast.expr) -> Any: ...
        def known(self, found: Any, node: ast.AST) -> Value: ...

    def compared(self, node: ast.Compare) -> tuple[str, Flow, Flow]:
        """Compile a comparison, chained or not; return also what holds if it is true, or false."""
        left_node, left = node.left, self.maybe(node.left)
        parts: list[str] = []
        present: set[str] = set()
        absent: set[str] = set()
        ends: list[Flow] = []
        last = len(node.ops) - 1
        for i, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
            start = ""
            if isinstance(op, (ast.In, ast.NotIn)):
                if i < last:
                    raise self.source.error(node, "`in` cannot be chained; join the comparisons with `and`")
                parts.append(self._contained(left, left_node, right_node, negated=isinstance(op, ast.NotIn)))
                break
            right = self.maybe(right_node)
            if i < last and right.number is None and right.kind is not Kind.NONE:
                start, right = self.hold(right)
                # The left side is evaluated before the right one is kept.
                held, left = self.hold(left) if left.number is None and left.kind is not Kind.NONE else ("", left)
                start = f"{held} {start}"
            code = self._one(op, left, right, node, (left_node, right_node))
            parts.append(f"(block (result i32) {start} {code})" if start else code)
            name = named(left_node)
            if name is not None:
                is_not = isinstance(op, (ast.IsNot, ast.NotEq))
                if right.kind is Kind.NONE:
                    (present if is_not else absent).add(name)
                elif right.none is None and not is_not:
                    present.add(name)
            if i < last:
                ends.append(self.frame.flow.copy())
            left_node, left = right_node, right
        true, false = self.frame.flow.copy(), Flow.meet([*ends, self.frame.flow])
        true.present |= present
        if len(parts) == 1:
            false.present |= absent
        code = parts[-1]
        for part in reversed(parts[:-1]):
            code = f"(if (result i32) {part} (then {code}) (else (i32.const 0)))"
        return code, true, false

    def _one(
        self, op: ast.cmpop, left: Value, right: Value, node: ast.Compare, sides: tuple[ast.expr, ast.expr]
    ) -> str:
        if isinstance(op, (ast.Is, ast.IsNot)):
            if Kind.NONE not in (left.kind, right.kind):
                raise self.source.error(node, "`is` compares with None only; use ==")
            return self._nothing(left, right, negated=isinstance(op, ast.IsNot))
        if Kind.RECORD in (left.kind, right.kind):
            raise self.source.error(node, "tuples cannot be compared; compare their values, joined with `and`")
        if left.none is None and right.none is None:
            return self.relation(op, left, right, node)
        if not isinstance(op, _SAME):
            side, value = (sides[0], left) if left.none is not None else (sides[1], right)
            text = ast.unparse(side)
            what = "is" if value.kind is Kind.NONE else "may be"
            raise self.source.error(side, f"`{text}` {what} None here; test it first: `{text} is not None and ...`")
        negated = isinstance(op, ast.NotEq)
        if Kind.NONE in (left.kind, right.kind):
            return self._nothing(left, right, negated=negated)
        start, a = self.hold(left)
        then, b = self.hold(right)
        equal = self.relation(ast.Eq(), Value(a.code, a.kind), Value(b.code, b.kind), node)
        nones = [value.none or "(i32.const 0)" for value in (a, b)]
        same = f"(select (i32.and {nones[0]} {nones[1]}) {equal} (i32.or {nones[0]} {nones[1]}))"
        return f"(block (result i32) {start} {then} {f'(i32.eqz {same})' if negated else same})"

    def _nothing(self, left: Value, right: Value, *, negated: bool) -> str:
        """Return code for `left is None`, where one of the two is the None."""
        value = left if right.kind is Kind.NONE else right
        if value.kind is Kind.NONE or value.none is None:
            known = value.kind is Kind.NONE
            drop = f"(drop {value.code})" if value.code and value.kind is not Kind.RECORD else value.code
            return f"(block (result i32) {drop} (i32.const {int(known != negated)}))"
        found = f"(i32.eqz {value.none})" if negated else value.none
        return f"(block (result i32) (drop {value.code}) {found})"

    def _contained(self, left: Value, left_node: ast.expr, right_node: ast.expr, *, negated: bool) -> str:
        if left.none is not None or left.kind is Kind.RECORD:
            text = ast.unparse(left_node)
            raise self.source.error(
                left_node, f"`{text}` may be None here; test it first: `{text} is not None and ...`"
            )
        start, held = self.hold(left)
        if not self._is_constants(right_node):
            whole = self.value(right_node)
            then, whole = ("", whole) if whole.number is not None else self.hold(whole)
            if whole.kind not in TEXTUAL:
                raise self.source.error(right_node, "`in` looks into a text, or a tuple of constants: `n in (1, 2, 3)`")
            inside = contains(self, whole, held, left_node)  # type: ignore[arg-type]
            return f"(block (result i32) {start} {then} {f'(i32.eqz {inside})' if negated else inside})"
        parts = self._elements(right_node)
        found = "(i32.const 0)"
        if held.point is not None:
            texts = [part.number for part in parts if isinstance(part.number, str)]
            known = among(self, held, [text for text in texts if len(text) == 1])  # type: ignore[arg-type]
            if known is not None:
                found, parts = known, []
        for part in parts:
            if part.kind is Kind.NONE or (part.kind not in NUMBERS) != (held.kind not in NUMBERS):
                continue
            if part.kind in NUMBERS or part.kind is held.kind:
                found = f"(i32.or {found} {self.relation(ast.Eq(), held, part, right_node)})"
        return f"(block (result i32) {start} {f'(i32.eqz {found})' if negated else found})"

    def _is_constants(self, node: ast.expr) -> bool:
        """Whether the right side of `in` is a tuple, list or set that is written out or known from outside."""
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return True
        if not isinstance(node, (ast.Name, ast.Attribute)) or self.is_value_name(node):
            return False
        return not isinstance(self.static(node), str)

    def _elements(self, node: ast.expr) -> list[Value]:
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            found = [self.maybe(part) for part in node.elts]
        elif isinstance(node, (ast.Name, ast.Attribute)) and not self.is_value_name(node):
            outer = self.static(node)
            if not isinstance(outer, (tuple, list, set, frozenset)):
                raise self.source.error(node, "`in` looks into a tuple of constants: `n in (1, 2, 3)`")
            # The order decides nothing but the bytes of the module, which are to be the same each time.
            found = [
                self.known(part, node)
                for part in (sorted(outer, key=repr) if isinstance(outer, (set, frozenset)) else outer)
            ]
        else:
            raise self.source.error(node, "`in` looks into a tuple of constants: `n in (1, 2, 3)`")
        for part in found:
            if part.number is None and part.kind is not Kind.NONE:
                raise self.source.error(node, "`in` looks into constants; compare others with == joined with `or`")
        return found

    def is_value_name(self, node: ast.expr) -> bool:
        """Whether a name is a variable of the function."""
        return isinstance(node, ast.Name) and node.id in self.frame.stored

    def relation(self, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> str:
        """Return code that compares two values, neither of which is None."""
        floats, ints = _COMPARISONS[type(op)]
        kinds = {left.kind, right.kind}
        if not kinds <= NUMBERS:
            if left.kind is not right.kind:
                raise self.source.error(
                    node, f"{left.kind.spoken} and {right.kind.spoken} cannot be compared; convert one of them"
                )
            if left.kind is Kind.STR:
                return text_relation(self, op, left, right)  # type: ignore[arg-type]
            return f"(i64.{ints} {left.code} {right.code})"
        if not kinds & FLOATS:
            return f"(i64.{ints} {as_int(left)} {as_int(right)})"
        if Kind.INT not in kinds:
            return f"(f64.{floats} {as_float(left)} {as_float(right)})"
        self.unit.helpers.add("compare")
        # The helper takes the int first; what is written first is still evaluated first.
        if right.kind is Kind.INT:
            held = self.frame.temporary("f64")
            code = f"(local.set {held} {as_float(left)}) (call $compare {right.code} (local.get {held}))"
            return _ordered(f"(block (result i32) {code})", _MIRRORED[floats])
        return _ordered(f"(call $compare {left.code} {as_float(right)})", floats)


def named(node: ast.expr) -> str | None:
    """Return the name whose value an expression is."""
    match node:
        case ast.Name(id=name) | ast.NamedExpr(target=ast.Name(id=name)):
            return name
    return None


def _ordered(code: str, op: str) -> str:
    tests = {"eq": "eqz", "lt": ("eq", -1), "le": ("le_s", 0), "gt": ("eq", 1), "ge": ("lt_u", 2), "ne": ("ne", 0)}
    test = tests[op]
    return f"(i32.eqz {code})" if isinstance(test, str) else f"(i32.{test[0]} {code} (i32.const {test[1]}))"
