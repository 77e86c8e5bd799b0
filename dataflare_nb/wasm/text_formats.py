"""f-strings and `format`: pieces of text put together, the formats read when the function is compiled."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .format_spec import Unreadable, read_format
from .intrinsics import INTRINSICS
from .texts import constant_text, joined, making, to_text
from .values import FLOATS, INTS, Kind, Value, as_float, as_int

if TYPE_CHECKING:
    from .expressions import Expressions

_KIND = {Kind.STR: "str", Kind.BOOL: "bool", Kind.FLOAT: "float", Kind.INT: "int", Kind.LITERAL: "int"}


def formatted(ex: Expressions, node: ast.JoinedStr) -> Value:
    """Compile an f-string."""
    made: Value | None = None
    for piece in _pieces(ex, node):
        made = piece if made is None else joined(ex, node, made, piece)
    return made if made is not None else constant_text(ex, "", node)


def _pieces(ex: Expressions, node: ast.JoinedStr) -> Iterator[Value]:
    for part in node.values:
        match part:
            case ast.Constant(value=str() as text):
                yield constant_text(ex, text, part)
            case ast.FormattedValue(value=inner, conversion=conversion, format_spec=spec):
                if conversion not in (-1, ord("s")):
                    raise ex.source.error(inner, f"`!{chr(conversion)}` is not compiled; leave it out, or write !s")
                value = ex.value(inner)
                if conversion != -1:
                    value = to_text(ex, inner, value)
                yield with_format(ex, inner, value, _spec(ex, spec) if spec is not None else "")


def _spec(ex: Expressions, node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr) and all(isinstance(part, ast.Constant) for part in node.values):
        return "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    raise ex.source.error(node, "a format is a constant here; pad with rjust, ljust or zfill to a width that varies")


def with_format(ex: Expressions, node: ast.AST, value: Value, spec: str) -> Value:
    """Compile `format(value, spec)`."""
    if not spec or (value.kind is Kind.STR and spec == "s"):
        return to_text(ex, node, value)
    if value.kind is Kind.MIXED:
        raise ex.mixed(node, "format")
    if value.kind not in _KIND:
        raise ex.source.error(node, f"{value.kind.spoken} is not formatted here; use pl.col(...).dt.to_string()")
    try:
        formatter, told = read_format(spec, _KIND[value.kind])
    except Unreadable as error:
        raise ex.source.error(node, str(error)) from None
    place = f"(i32.const {ex.unit.constant(told)})"
    given = as_float(value) if formatter == "float" else value.code if formatter == "str" else as_int(value)
    name = {"float": "text_format_float", "int": "text_format_int", "str": "text_format_text"}[formatter]
    assert value.kind in FLOATS | INTS | {Kind.BOOL, Kind.STR}
    return Value(making(ex, node, name, given, place), Kind.STR)


def _format(ex: Expressions, node: ast.Call) -> Value:
    if not 1 <= len(node.args) <= 2 or node.keywords:
        raise ex.source.error(node, "`format` takes a value and a constant format")
    value = ex.value(node.args[0])
    spec = ex.maybe(node.args[1]).number if len(node.args) == 2 else ""
    if not isinstance(spec, str):
        raise ex.source.error(node.args[1], "a format is a constant text here")
    return with_format(ex, node, value, spec)


INTRINSICS[builtins.format] = _format
