"""The patterns of `match` that compare: constants, several of them, and names that catch what is left."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .values import NONE, NUMBERS, Kind, Value

if TYPE_CHECKING:
    from .expressions import Expressions


def cases(ex: Expressions, node: ast.Match, subject: Value) -> Iterator[tuple[ast.match_case, str, str | None]]:
    """Yield each case with the code that says whether it fits (none if it always does) and the name it gives."""
    if subject.kind is Kind.RECORD:
        raise ex.source.error(node.subject, "match takes one value here, not a tuple")
    for case in node.cases:
        pattern: ast.pattern = case.pattern
        name: str | None = None
        if isinstance(pattern, ast.MatchAs):
            name = pattern.name
            pattern = pattern.pattern or pattern
        fits = "" if isinstance(pattern, ast.MatchAs) else _fits(ex, pattern, subject)
        yield case, fits, name


def _fits(ex: Expressions, pattern: ast.pattern, subject: Value) -> str:
    match pattern:
        case ast.MatchOr(patterns=patterns):
            code = "(i32.const 0)"
            for one in patterns:
                code = f"(i32.or {code} {_fits(ex, one, subject)})"
            return code
        case ast.MatchSingleton(value=None):
            return subject.none or "(i32.const 0)"
        case ast.MatchSingleton(value=bool() as value):
            if subject.kind is not Kind.BOOL:
                return "(i32.const 0)"
            return _present(subject, subject.code if value else f"(i32.eqz {subject.code})")
        case ast.MatchValue(value=value):
            constant = ex.value(value)
            if constant.number is None:
                raise ex.source.error(value, "a pattern is a constant here")
            if subject.kind is NONE.kind or (constant.kind in NUMBERS) != (subject.kind in NUMBERS):
                return "(i32.const 0)"
            plain = Value(subject.code, subject.kind)
            return _present(subject, ex.relation(ast.Eq(), plain, constant, value))
    raise ex.source.error(
        pattern, "a pattern is a constant, several joined with `|`, or a name; write other tests as `if`"
    )


def _present(subject: Value, code: str) -> str:
    return code if subject.none is None else f"(i32.and {code} (i32.eqz {subject.none}))"
