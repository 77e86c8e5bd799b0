"""What a compiled function takes and gives: its annotations, read and checked before anything is compiled."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import WrongArguments, shown
from .columns import NAMES, TYPES, Slot
from .source import Source

_KNOWN = ", ".join(TYPES)
_RESULTS = ", and tuples, NamedTuples or plain dataclasses of them"
_OPTIONS = ("on_error",)


@dataclass(frozen=True, slots=True)
class Returns:
    """The result: one value, or the fields of a tuple, a NamedTuple or a dataclass (then `maker` makes one)."""

    slots: tuple[Slot, ...]
    record: bool = False
    maker: Callable[..., Any] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(slot.name for slot in self.slots)


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters with their default values, and the result."""

    params: tuple[Slot, ...]
    defaults: Mapping[str, Any]
    returns: Returns
    fixed: Mapping[str, Any] = field(default_factory=dict)
    fixed_slots: tuple[Slot, ...] = ()

    def fix(self, values: Mapping[str, Any]) -> Signature:
        """Return the signature of a function that is given values for some parameters once and for all."""
        gone = tuple(slot for slot in self.params if slot.name in values)
        rest = tuple(slot for slot in self.params if slot.name not in values)
        for slot in gone:
            if values[slot.name] is None and not slot.optional:
                raise WrongArguments(f"`{slot}` was given None; every result would be null")
        fixed = {slot.name: as_parameter(values[slot.name], slot) for slot in gone}
        return replace(self, params=rest, fixed=fixed, fixed_slots=gone)


def read_signature(function: Callable[..., Any], source: Source, output: Sequence[str] = ()) -> Signature:
    """Return the signature of a function, or an error that points at what is wrong with it."""
    tree = source.tree
    if tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs:
        raise source.error(tree.args.vararg or tree.args.kwarg or tree, "a udf takes plain parameters, without `*`")
    if not tree.args.args and not tree.args.posonlyargs:
        raise source.error(tree, "a udf needs at least one parameter; use pl.lit(...) for a constant column")
    closed = inspect.getclosurevars(function).nonlocals
    try:
        found = inspect.signature(function, eval_str=True, locals=dict(closed))
    except NameError as error:
        raise source.error(tree, f"an annotation cannot be read: {error}") from None
    nodes = {arg.arg: arg for arg in [*tree.args.posonlyargs, *tree.args.args]}
    for name in _OPTIONS:
        if name in nodes:
            raise source.error(nodes[name], f"`{name}` is an option of the call; call the parameter otherwise")
    params = tuple(_slot(name, p.annotation, source, nodes[name]) for name, p in found.parameters.items())
    defaults = {name: p.default for name, p in found.parameters.items() if p.default is not p.empty}
    for slot in params:
        if slot.name in defaults:
            _check_default(slot, defaults[slot.name], source, nodes[slot.name])
    return Signature(params, defaults, _returns(function, found.return_annotation, source, output, closed))


def record_fields(kind: Any) -> dict[str, Any] | None:
    """Return the fields of a NamedTuple or a plain dataclass, each with its default or `...`, None of anything else."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        defaults = getattr(kind, "_field_defaults", {})
        return {name: defaults.get(name, ...) for name in kind._fields}
    if dataclasses.is_dataclass(kind) and not hasattr(kind, "__post_init__"):
        own = dataclasses.fields(kind)
        if all(f.init and f.default_factory is dataclasses.MISSING for f in own):
            return {f.name: ... if f.default is dataclasses.MISSING else f.default for f in own}
    return None


def _slot(name: str, annotation: Any, source: Source, node: ast.AST) -> Slot:
    kind, optional = _unwrapped(annotation)
    if kind not in NAMES:
        raise source.error(node, f"`{name}` {_unkind(annotation)}")
    return Slot(name, NAMES[kind], optional)


def _unwrapped(annotation: Any) -> tuple[Any, bool]:
    """Return what `T | None` or `Optional[T]` may hold beside None, and whether it was one."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(inner) == 1:
            return inner[0], True
    return annotation, False


def _check_default(slot: Slot, value: Any, source: Source, node: ast.AST) -> None:
    try:
        as_parameter(value, slot)
    except WrongArguments:
        text = f"the default of `{slot}` is {value!r}; a default is a value of its type"
        raise source.error(node, text) from None


def as_parameter(value: Any, slot: Slot) -> Any:
    """Return a value as a column of the parameter would hold it."""
    if value is None and slot.optional:
        return None
    kind = TYPES[slot.type].python
    fits = isinstance(value, (int, float)) if kind is float else type(value) is kind
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise WrongArguments(f"`{slot.name}` is {slot.spelled} and was given {shown(value)}")
    return float(value) if kind is float else value


def _returns(
    function: Callable[..., Any], annotation: Any, source: Source, output: Sequence[str], closed: Mapping[str, Any]
) -> Returns:
    node = source.tree.returns or source.tree
    kind, optional = _unwrapped(annotation)
    maker = None
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if not parts or Ellipsis in parts:
            raise source.error(node, "say how many values the tuple has: tuple[float, int]")
        names = list(output) or [f"{function.__name__}_{i}" for i in range(len(parts))]
    elif (fields := record_fields(kind)) is not None:
        maker = kind
        hints = typing.get_type_hints(kind, localns={**vars(kind), **closed})
        names, parts = list(output) or list(fields), tuple(hints.get(name, inspect.Parameter.empty) for name in fields)
    else:
        if kind not in NAMES:
            raise source.error(node, f"the result {_unkind(annotation, _RESULTS)}")
        names = list(output) or [function.__name__]
        _check_names(names, 1, source, node)
        return Returns((Slot(names[0], NAMES[kind], optional),))
    _check_names(names, len(parts), source, node)
    slots = [_slot(name, part, source, node) for name, part in zip(names, parts, strict=True)]
    return Returns(
        tuple(Slot(slot.name, slot.type, slot.optional or optional) for slot in slots), record=True, maker=maker
    )


def _check_names(names: Sequence[str], count: int, source: Source, node: ast.AST) -> None:
    if len(names) != count or len(set(names)) != count:
        raise source.error(node, f"output={list(names)!r} must name {count} columns, each differently")


def _unkind(annotation: object, more: str = "") -> str:
    if annotation is inspect.Parameter.empty:
        return f"has no type; annotate it with one of {_KNOWN}"
    named = annotation.__name__ if type(annotation) is type else str(annotation)
    if annotation is None or annotation is type(None):
        return f"is None; annotate it with one of {_KNOWN}, or `float | None` if it may be missing"
    return f"is {named}; a udf takes {_KNOWN}{more}. Use .map_batches for other types"
