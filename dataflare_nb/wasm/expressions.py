"""Python expressions as WebAssembly, with CPython's meaning."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import UdfError
from ..parameters import Param
from . import builtin_calls  # noqa: F401 - it registers what it compiles
from .arithmetic import Arithmetic
from .calling import Calls
from .characters import is_constant
from .choices import choose
from .comparing import Comparisons, named
from .refusals import refusal
from .source import Source
from .temporal import constant_time
from .text_formats import formatted
from .text_methods import split_item
from .texts import TEXTUAL, constant_text, item
from .unit import Flow, Frame, Inner, Unit, absence, code_point, variable
from .values import NONE, Kind, Type, Value, as_kind, joined, truth


class Unsettled(Exception):  # noqa: N818 - a signal, not an error
    """So far only None is known for a variable; the next pass may know more."""


def pick(condition: str, wat: str, then: str, other: str) -> str:
    """Return code for one of two values; the other is not evaluated."""
    return f"(if (result {wat}) {condition} (then {then}) (else {other}))"


class Expressions(Calls, Comparisons, Arithmetic):
    """Compile the expressions of one function into a frame.

    What is known at a place of the code, the frame's `flow`, is brought along in the order of evaluation.
    """

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        unit: Unit,
        frame: Frame,
        inner: Callable[[Any, ast.Call], Inner],
        first_line: dict[str, int],
    ) -> None:
        super().__init__(source, unit, frame)
        self.names, self.inner = names, inner
        self._first_line = first_line

    # ---- what statements use ----

    def value(self, node: ast.expr) -> Value:
        """Compile an expression that leaves a value, which is not None."""
        found = self.maybe(node)
        if found.kind is Kind.RECORD:
            raise self.source.error(node, refusal(ast.Tuple))
        if found.kind is Kind.NONE:
            raise self.source.error(node, "this is None here, and a value is needed")
        if found.none is not None:
            raise self.source.error(
                node, f"`{ast.unparse(node)}` may be None here; test it first: `if {ast.unparse(node)} is not None:`"
            )
        return found

    def maybe(self, node: ast.expr) -> Value:
        """Compile an expression of any kind, also one that may be None."""
        match node:
            case ast.Constant(value=None):
                return NONE
            case ast.Constant(value=bool() | int() | float() as number):
                return self.constant(number, node)
            case ast.Constant(value=str() as text):
                return constant_text(self, text, node)
            case ast.JoinedStr():
                return formatted(self, node)
            case ast.Name(id=name) if self.is_local(name):
                return self._local(name, node)
            case ast.NamedExpr(target=ast.Name(id=name), value=inner):
                return self._walrus(name, self.maybe(inner), node)
            case ast.UnaryOp(op=ast.Not()) | ast.Compare():
                return Value(self.condition(node), Kind.BOOL)
            case ast.UnaryOp(operand=operand):
                return self.unary(node, self.value(operand))
            case ast.BinOp():
                return self.binary(node, self.value(node.left), self.value(node.right))
            case ast.BoolOp():
                value, true, false = self._choice_of(node)
                self.frame.flow = Flow.meet([true, false])
                return value
            case ast.IfExp():
                return self._ternary(node)
            case ast.Call():
                return self.call(node)
            case ast.Tuple(elts=parts) if not any(isinstance(part, ast.Starred) for part in parts):
                return self.record([self.maybe(part) for part in parts], node)
            case ast.Subscript(value=owner) if self.is_value(owner):
                return self._item(node)
            case ast.Attribute(value=owner) if self.is_value(owner):
                return self.attribute(node)
            case ast.Name(id=name) if name in self.frame.stored:
                if self.frame.unsettled:
                    raise Unsettled
                raise self._unassigned(name, node)
            case ast.Name() | ast.Attribute():
                return self.known(self.static(node), node)
        raise self.source.error(node, refusal(node))

    def test(self, node: ast.expr) -> tuple[str, Flow, Flow]:
        """Compile an expression of which only the truth matters; return also what holds if it is true, or false."""
        match node:
            case ast.BoolOp(op=op, values=parts):
                stops = isinstance(op, ast.Or)
                codes, ends = [], []
                for part in parts:
                    code, *flows = self.test(part)
                    codes.append(code)
                    ends.append(flows[not stops])
                    last = self.frame.flow = flows[stops]
                code = codes.pop()
                for earlier in reversed(codes):
                    code = (
                        pick(earlier, "i32", "(i32.const 1)", code)
                        if stops
                        else pick(earlier, "i32", code, "(i32.const 0)")
                    )
                end = Flow.meet(ends)
                return (code, end, last) if stops else (code, last, end)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                code, true, false = self.test(operand)
                return f"(i32.eqz {code})", false, true
            case ast.Compare():
                return self.compared(node)
        found = self.maybe(node)
        if found.kind is Kind.RECORD:
            raise self.source.error(node, refusal(ast.Tuple))
        true, false = self.frame.flow.copy(), self.frame.flow.copy()
        if (name := named(node)) is not None:
            true.present.add(name)
        return truth(found), true, false

    def condition(self, node: ast.expr) -> str:
        """Compile an expression of which only the truth matters, whatever it tells about names."""
        code, true, false = self.test(node)
        self.frame.flow = Flow.meet([true, false])
        return code

    # ---- names and numbers ----

    def is_local(self, name: str) -> bool:
        """Whether a name is a variable of the function."""
        return name in self.frame.types or name in self.frame.records

    def is_value(self, node: ast.expr) -> bool:
        """Whether an expression gives a value, and not a module or class known from outside."""
        match node:
            case ast.Name(id=name):
                return name in self.frame.stored or not isinstance(self.static(node), (types.ModuleType, type))
            case ast.Attribute(value=owner):
                return self.is_value(owner) or not isinstance(self.static(node), (types.ModuleType, type))
        return True

    def _local(self, name: str, node: ast.AST) -> Value:
        if name not in self.frame.flow.assigned:
            raise self._unassigned(name, node)
        fields = self.frame.records.get(name)
        if fields is not None:
            parts = tuple(self._local(f"{name}.{i}", node) for i in range(len(fields)))
            return Value("", Kind.RECORD, parts=parts, fields=fields)
        kept = self.frame.types[name]
        present = name in self.frame.flow.present
        if kept.kind is Kind.NONE:
            if present:
                raise Unsettled
            return NONE
        none = f"(local.get {absence(name)})" if kept.optional and not present else None
        point = f"(local.get {code_point(name)})" if name in self.frame.flow.characters else None
        return Value(f"(local.get {variable(name)})", kept.kind, none=none, point=point)

    def _unassigned(self, name: str, node: ast.AST) -> UdfError:
        return self.source.error(
            node, f"`{name}` has no value on every way to here; give it one before the `if` or the loop"
        )

    def assign(self, name: str, value: Value, node: ast.AST) -> str:
        """Return code that gives a variable a value."""
        flow = self.frame.flow
        if value.kind is Kind.RECORD:
            self._assign_record(name, value, node)
            flow.assigned.add(name)
            stores = [self.assign(f"{name}.{i}", part, node) for i, part in enumerate(value.parts)]
            return " ".join([value.code, *stores])
        before = self.frame.types.get(name)
        line = self._first_line.setdefault(name, self.source.line(node))
        kept = joined([before or value.type, value.type])
        if kept is None or name in self.frame.records:
            where = f"on line {line}" if line != self.source.line(node) else "as a parameter"
            was = "a tuple" if name in self.frame.records or before is None else before.spoken
            raise self.source.error(
                node,
                f"`{name.partition('.')[0]}` is {was} {where} and {value.type.spoken} here; "
                "convert one of them, or use another name",
            )
        self.frame.types[name] = kept
        flow.assigned.add(name)
        (flow.present.add if value.none is None else flow.present.discard)(name)
        code = f"(local.set {variable(name)} {as_kind(value, kept.kind)})"
        if kept.optional:
            code += f" (local.set {absence(name)} {value.none or '(i32.const 0)'})"
        if value.point is None:
            flow.characters.discard(name)
        else:
            flow.characters.add(name)
            self.frame.slots[code_point(name)] = "i32"
            code += f" (local.set {code_point(name)} {value.point})"
        return code

    def _assign_record(self, name: str, value: Value, node: ast.AST) -> None:
        known = self.frame.records.setdefault(name, value.fields)
        self._first_line.setdefault(name, self.source.line(node))
        if known != value.fields or name in self.frame.types:
            raise self.source.error(node, f"`{name}` is something else before; use another name for this tuple")

    def _walrus(self, name: str, value: Value, node: ast.AST) -> Value:
        if value.kind is Kind.RECORD:
            raise self.source.error(node, "a tuple is assigned on a line of its own")
        code = self.assign(name, value, node)
        found = self._local(name, node)
        code = f"(block (result {found.kind.wat}) {code} {found.code})"
        return Value(code, found.kind, none=found.none, point=found.point)

    def static(self, node: ast.expr) -> Any:
        """Return the Python object that a name or attribute stands for, outside the function."""
        if isinstance(node, ast.Name):
            if self.is_local(node.id):
                raise self.source.error(node, f"`{node.id}` is a value here and cannot be called")
            if node.id not in self.names:
                raise self.source.error(node, f"`{node.id}` is not known where the function is defined")
            return self.names[node.id]
        if isinstance(node, ast.Attribute):
            owner = self.static(node.value)
            if isinstance(owner, (types.ModuleType, type)) and hasattr(owner, node.attr):
                return getattr(owner, node.attr)
        raise self.source.error(node, refusal(node))

    def known(self, found: Any, node: ast.AST) -> Value:
        """Compile an object that is known from outside."""
        if found is None:
            return NONE
        if type(found) in (bool, int, float):
            return self.constant(found, node)
        if type(found) is str:
            return constant_text(self, found, node)
        timed = constant_time(found)
        if timed is not None:
            return timed
        if type(found) is tuple:
            return self.record([self.known(part, node) for part in found], node)
        if isinstance(found, Param):
            raise self.source.error(
                node,
                f"`{ast.unparse(node)}` is a param, which may change; let the function have a parameter for it and "
                f"pass it as an argument: {self.source.tree.name}(..., {found.spec.name})",
            )
        raise self.source.error(
            node,
            f"`{ast.unparse(node)}` is {type(found).__name__}; "
            "a compiled function sees numbers, dates, texts, tuples of them, and other udfs",
        )

    # ---- tuples ----

    def record(self, values: Sequence[Value], node: ast.AST, fields: Sequence[str] | None = None) -> Value:
        """Return a tuple, its values evaluated in order."""
        code, parts = [], []
        for value in values:
            if value.kind is Kind.RECORD:
                raise self.source.error(node, "a tuple inside a tuple cannot be compiled; write its values out")
            if value.number is not None or value.kind is Kind.NONE:
                parts.append(value)
                continue
            held, part = self.hold(value)
            code.append(held)
            parts.append(part)
        names = tuple(fields) if fields is not None else tuple(map(str, range(len(values))))
        return Value(" ".join(code), Kind.RECORD, parts=tuple(parts), fields=names)

    def hold(self, value: Value, kept: Type | None = None) -> tuple[str, Value]:
        """Return code that keeps a value, and the value as it can be read any number of times."""
        kept = kept or value.type
        name = self.frame.temporary(kept.kind.wat)
        code = f"(local.set {name} {as_kind(value, kept.kind)})"
        none = None
        if kept.optional:
            flag = self.frame.temporary("i32")
            code += f" (local.set {flag} {value.none or '(i32.const 0)'})"
            none = f"(local.get {flag})"
        point = value.point
        if point is not None and not is_constant(point):
            kept_point = self.frame.temporary("i32")
            code += f" (local.set {kept_point} {point})"
            point = f"(local.get {kept_point})"
        return code, Value(f"(local.get {name})", kept.kind, none=none, point=point)

    def _item(self, node: ast.Subscript) -> Value:
        piece = split_item(self, node)
        if piece is not None:
            return piece
        owner = self.maybe(node.value)
        if owner.kind in TEXTUAL:
            return item(self, node, self.value(node.value) if owner.none is not None else owner)
        if owner.kind is Kind.RECORD:
            index = self.maybe(node.slice).number if not isinstance(node.slice, ast.Slice) else None
            if type(index) is not int or not -len(owner.parts) <= index < len(owner.parts):
                most = len(owner.parts) - 1
                raise self.source.error(node.slice, f"this tuple is indexed by a constant from 0 to {most}")
            return self._part(owner, index)
        raise self.source.error(node, refusal(node))

    def _part(self, owner: Value, index: int) -> Value:
        part = owner.parts[index]
        if not owner.code:
            return part
        return Value(
            f"(block (result {part.kind.wat}) {owner.code} {part.code})",
            part.kind,
            part.number,
            none=part.none,
            point=part.point,
        )

    # ---- choices ----

    def _tested(self, node: ast.expr) -> tuple[Value, Flow, Flow]:
        """Compile a value, and say what holds if it is true, or false."""
        match node:
            case ast.BoolOp():
                return self._choice_of(node)
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                code, true, false = self.test(node)
                return Value(code, Kind.BOOL), true, false
        value = self.maybe(node)
        if value.kind is Kind.RECORD:
            raise self.source.error(node, refusal(ast.Tuple))
        true, false = self.frame.flow.copy(), self.frame.flow.copy()
        if (name := named(node)) is not None:
            true.present.add(name)
        return value, true, false

    def _choice_of(self, node: ast.BoolOp) -> tuple[Value, Flow, Flow]:
        stops = isinstance(node.op, ast.Or)
        held: list[tuple[str, Value]] = []
        ends: list[Flow] = []
        for part in node.values[:-1]:
            value, *flows = self._tested(part)
            ends.append(flows[not stops])
            self.frame.flow = flows[stops]
            held.append(self.hold(value))
        last, *flows = self._tested(node.values[-1])
        ends.append(flows[not stops])
        end, on = Flow.meet(ends), flows[stops]
        true, false = (end, on) if stops else (on, end)
        # What is false is never the result of `or`, so a None before the end is not.
        kinds = [Type(value.kind, value.none is not None and not stops) for _, value in held]
        kept = self.joined([*kinds, last.type], node, "or" if stops else "and")
        if not kept.optional:
            code = as_kind(last, kept.kind)
            for start, value in reversed(held):
                branches = (as_kind(value, kept.kind), code) if stops else (code, as_kind(value, kept.kind))
                code = f"(block (result {kept.kind.wat}) {start} {pick(truth(value), kept.kind.wat, *branches)})"
            return Value(code, kept.kind), true, false
        flag = self.frame.temporary("i32")
        code = self._flagged(last, kept.kind, flag)
        for start, value in reversed(held):
            own = self._flagged(Value(value.code, value.kind) if stops else value, kept.kind, flag)
            branches = (own, code) if stops else (code, own)
            code = f"(block (result {kept.kind.wat}) {start} {pick(truth(value), kept.kind.wat, *branches)})"
        return Value(code, kept.kind, none=f"(local.get {flag})"), true, false

    def _flagged(self, value: Value, kind: Kind, flag: str) -> str:
        """Return code that leaves a value and notes in a local whether it is None."""
        return f"{as_kind(value, kind)} (local.set {flag} {value.none or '(i32.const 0)'})"

    def _ternary(self, node: ast.IfExp) -> Value:
        test, true, false = self.test(node.test)
        self.frame.flow = true
        then = self.maybe(node.body)
        true, self.frame.flow = self.frame.flow, false
        other = self.maybe(node.orelse)
        self.frame.flow = Flow.meet([true, self.frame.flow])
        what = "the branches of `if ... else`"
        if Kind.RECORD in (then.kind, other.kind):
            return self._either(test, then, other, node)
        kept = self.joined([then.type, other.type], node, what)
        if not kept.optional:
            sides = (as_kind(then, kept.kind), as_kind(other, kept.kind))
            return Value(choose(self.frame, test, kept.kind.wat, *sides), kept.kind)
        flag = self.frame.temporary("i32")
        branches = (self._flagged(value, kept.kind, flag) for value in (then, other))
        return Value(pick(test, kept.kind.wat, *branches), kept.kind, none=f"(local.get {flag})")

    def _either(self, test: str, then: Value, other: Value, node: ast.AST) -> Value:
        if then.fields != other.fields:
            raise self.source.error(node, "the branches of `if ... else` are not tuples of the same fields")
        kept = [
            self.joined([a.type, b.type], node, f"field {field} of the branches of `if ... else`")
            for field, a, b in zip(then.fields, then.parts, other.parts, strict=True)
        ]
        names = [(self.frame.temporary(one.kind.wat), self.frame.temporary("i32")) for one in kept]

        def stores(value: Value) -> str:
            code = [value.code]
            for part, one, (name, flag) in zip(value.parts, kept, names, strict=True):
                code.append(f"(local.set {name} {as_kind(part, one.kind)})")
                code.append(f"(local.set {flag} {part.none or '(i32.const 0)'})")
            return " ".join(code)

        parts = tuple(
            Value(f"(local.get {name})", one.kind, none=f"(local.get {flag})" if one.optional else None)
            for one, (name, flag) in zip(kept, names, strict=True)
        )
        code = f"(if {test} (then {stores(then)}) (else {stores(other)}))"
        return Value(code, Kind.RECORD, parts=parts, fields=then.fields)

    def joined(self, found: Sequence[Type], node: ast.AST, what: str) -> Type:
        """Return the type that holds all values."""
        kept = joined(found)
        if kept is None:
            kinds = " and ".join(dict.fromkeys(one.spoken for one in found))
            raise self.source.error(node, f"{what}: {kinds} do not mix; convert with float(...), int(...) or bool(...)")
        return kept
