"""The patterns of `match` that compare: constants, several of them, and names that catch what is left."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .values import NUMBERS, Kind, Value

if TYPE_CHECKING:
    from .expressions import Expressions


def bound(pattern: ast.pattern) -> tuple[ast.pattern | None, str | None]:
    """Return what a pattern compares with (None if it fits all), and the name it gives to what fits."""
    if isinstance(pattern, ast.MatchAs):
        return pattern.pattern, pattern.name
    return pattern, None


def takes_none(pattern: ast.pattern) -> bool:
    """Whether a pattern fits None."""
    if isinstance(pattern, ast.MatchOr):
        return any(map(takes_none, pattern.patterns))
    return isinstance(pattern, ast.MatchSingleton) and pattern.value is None


def fits(ex: Expressions, pattern: ast.pattern, subject: Value) -> str:
    """Return code that says whether a value fits a pattern."""
    match pattern:
        case ast.MatchOr(patterns=patterns):
            code = "(i32.const 0)"
            for one in patterns:
                code = f"(i32.or {code} {fits(ex, one, subject)})"
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
            if subject.kind is Kind.NONE or (constant.kind in NUMBERS) != (subject.kind in NUMBERS):
                return "(i32.const 0)"
            plain = Value(subject.code, subject.kind, point=subject.point)
            return _present(subject, ex.relation(ast.Eq(), plain, constant, value))
    raise ex.source.error(
        pattern, "a pattern is a constant, several joined with `|`, or a name; write other tests as `if`"
    )


def _present(subject: Value, code: str) -> str:
    return code if subject.none is None else f"(i32.and {code} (i32.eqz {subject.none}))"
