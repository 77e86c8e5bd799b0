"""Calls: of builtins, of methods, of other compiled functions and of the records they return."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .columns import Slot
from .intrinsics import ATTRIBUTES, INTRINSICS, METHODS
from .refusals import refusal
from .signature import record_fields
from .source import Source
from .unit import Frame, Inner, Unit, results
from .values import NONE, Kind, Value, as_float, as_kind


class Calls:
    """Compile calls and attributes."""

    source: Source
    unit: Unit
    frame: Frame
    names: Mapping[str, Any]
    inner: Callable[[Any, ast.Call], Inner]

    if TYPE_CHECKING:

        def value(self, node: ast.expr) -> Value: ...
        def maybe(self, node: ast.expr) -> Value: ...
        def is_value(self, node: ast.expr) -> bool: ...
        def static(self, node: ast.expr) -> Any: ...
        def known(self, found: Any, node: ast.AST) -> Value: ...
        def record(self, values: Sequence[Value], node: ast.AST, fields: Sequence[str] | None = None) -> Value: ...
        def _part(self, owner: Value, index: int) -> Value: ...
        def failing(self, condition: str, error: str, message: str, node: ast.AST, *, quotes: bool = False) -> str: ...

    def call(self, node: ast.Call) -> Value:
        """Compile a call."""
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                raise self.source.error(arg, refusal(arg))
        if any(keyword.arg is None for keyword in node.keywords):
            raise self.source.error(node, refusal(ast.Starred))
        if isinstance(node.func, ast.Attribute) and self.is_value(node.func.value):
            return self._method(node, node.func)
        target = self.static(node.func)
        if isinstance(target, (type, types.BuiltinFunctionType)) and target in INTRINSICS:
            return INTRINSICS[target](self, node)  # type: ignore[arg-type]
        fields = record_fields(target)
        if fields is not None:
            return self._record(node, fields)
        return self._inner_call(self.inner(target, node), node)

    def attribute(self, node: ast.Attribute) -> Value:
        """Compile `value.name`."""
        owner = self.maybe(node.value)
        if owner.kind is Kind.RECORD and node.attr in owner.fields:
            return self._part(owner, owner.fields.index(node.attr))
        owner = self.value(node.value)
        found = ATTRIBUTES.get((owner.kind, node.attr))
        if found is None:
            raise self.source.error(node, f"{owner.kind.spoken} has no attribute `{node.attr}` here")
        return found(self, node, owner)  # type: ignore[arg-type]

    def _method(self, node: ast.Call, func: ast.Attribute) -> Value:
        owner = self.value(func.value)
        found = METHODS.get((owner.kind, func.attr))
        if found is None:
            raise self.source.error(func, f"{owner.kind.spoken} has no method `{func.attr}` here")
        return found(self, node, owner)  # type: ignore[arg-type]

    def _record(self, node: ast.Call, fields: Mapping[str, Any]) -> Value:
        values = self.arguments(node, list(fields), {k: v for k, v in fields.items() if v is not ...})
        return self.record(values, node, list(fields))

    def arguments(self, node: ast.Call, names: Sequence[str], defaults: Mapping[str, Any]) -> list[Value]:
        """Return the values for the parameters; they are evaluated in the order in which they are written."""
        called = ast.unparse(node.func)
        if len(node.args) > len(names):
            raise self.source.error(node, f"`{called}` takes {len(names)} arguments: {', '.join(names)}")
        given = _given(node, names)
        if not set(given) <= set(names) or len(given) < len(node.args) + len(node.keywords):
            raise self.source.error(node, f"`{called}` takes {', '.join(names)}, each once")
        missing = [name for name in names if name not in given and name not in defaults]
        if missing:
            raise self.source.error(node, f"`{called}` takes {len(names)} arguments: `{missing[0]}` is missing")
        ordered = list(given) == [name for name in names if name in given]
        if not ordered:
            raise self.source.error(node, "give the arguments in the order of the parameters")
        return [self.maybe(given[name]) if name in given else self.known(defaults[name], node) for name in names]

    def _inner_call(self, inner: Inner, node: ast.Call) -> Value:
        names = [slot.name for slot in inner.params]
        values = self.arguments(node, names, inner.defaults)
        nodes = _given(node, names)
        args: list[str] = []
        for value, slot in zip(values, inner.params, strict=True):
            fit = self.passed(value, slot, nodes.get(slot.name, node))
            args += [fit.code, fit.none or "(i32.const 0)"] if slot.optional else [fit.code]
        kept = [self.frame.temporary(wat) for wat in results(inner.returns.slots)]
        call = f"(call {inner.name} {' '.join(args)}) " + " ".join(f"(local.set {name})" for name in reversed(kept))
        if inner.recursive:
            deep = self.failing(
                f"(i32.ge_u (global.get $depth) (i32.const {MOST_DEPTH}))",
                "RecursionError",
                "maximum recursion depth exceeded",
                node,
            )
            call = f"{deep} {_DEEPER.format('add')} {call} {_DEEPER.format('sub')}"
        failed = f"(if (global.get $error) (then {self.frame.fail}))"
        parts = []
        places = iter(kept)
        for slot in inner.returns.slots:
            code = f"(local.get {next(places)})"
            parts.append(Value(code, Kind(slot.type), none=f"(local.get {next(places)})" if slot.optional else None))
        if inner.returns.record:
            fields = inner.returns.fields if inner.returns.maker else tuple(map(str, range(len(parts))))
            return Value(f"{call} {failed}", Kind.RECORD, parts=tuple(parts), fields=fields)
        (part,) = parts
        return Value(f"(block (result {part.kind.wat}) {call} {failed} {part.code})", part.kind, none=part.none)

    def passed(self, value: Value, slot: Slot, node: ast.AST) -> Value:
        """Return a value as a parameter or result of that type."""
        kind = Kind(slot.type)
        if value.none is not None and not slot.optional:
            what = "is None" if value.kind is Kind.NONE else "may be None"
            raise self.source.error(
                node, f"this {what} and must be {kind.spoken}; test it first, or annotate `{slot.type} | None`"
            )
        if value.kind is Kind.NONE:
            return Value(as_kind(value, kind), kind, none=NONE.none)
        if kind is Kind.FLOAT and value.kind in _TO_FLOAT:
            return Value(as_float(value), kind, none=value.none)
        if value.kind is kind or (kind is Kind.INT and value.kind is Kind.LITERAL):
            return Value(value.code, kind, none=value.none, point=value.point)
        way = f"; convert it with {kind.value}(...)" if {value.kind, kind} <= _CONVERTIBLE else ""
        raise self.source.error(node, f"this is {value.kind.spoken} and must be {kind.spoken}{way}")


def _given(node: ast.Call, names: Sequence[str]) -> dict[str, ast.expr]:
    """Return the arguments by the names of their parameters, in the order in which they are written."""
    return {**dict(zip(names, node.args, strict=False)), **{str(k.arg): k.value for k in node.keywords}}


MOST_DEPTH = 500
"""Calls of a function by itself that may be open, which is what fits on a guest's stack."""
_DEEPER = "(global.set $depth (i32.{} (global.get $depth) (i32.const 1)))"
_TO_FLOAT = {Kind.FLOAT, Kind.MIXED, Kind.INT, Kind.LITERAL}
_CONVERTIBLE = {Kind.FLOAT, Kind.MIXED, Kind.INT, Kind.LITERAL, Kind.BOOL, Kind.STR}
