"""The types of compiled Python, and how they meet.

`literal` is an int constant that a float holds exactly, and `mixed` a value that is such an int on one path
and a float on another, as in `max(x, 0)`. CPython keeps the int; we keep a float that equals it, and refuse
the few operations that could tell the two apart (they differ in the sign of zero).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an expression gives."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    LITERAL = "literal"
    MIXED = "mixed"

    @property
    def wat(self) -> str:
        """The WebAssembly type it lives in."""
        return {"float": "f64", "mixed": "f64", "int": "i64", "literal": "i64", "bool": "i32"}[self]

    @property
    def spoken(self) -> str:
        """The kind as an error calls it."""
        return {"literal": "an int", "int": "an int", "float": "a float", "bool": "a bool"}.get(
            self, "an int or a float"
        )


FLOATS = frozenset({Kind.FLOAT, Kind.MIXED})
INTS = frozenset({Kind.INT, Kind.LITERAL})
EXACT = 1 << 53
"""Up to here every int is a float."""
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Value:
    """Code that leaves one value, its kind, and the number if it is known."""

    code: str
    kind: Kind
    number: int | float | bool | None = None


def constant(number: float | bool) -> Value:
    """Return a known number; an int must fit into 64 bits."""
    if isinstance(number, bool):
        return Value(f"(i32.const {int(number)})", Kind.BOOL, number)
    if isinstance(number, int):
        kind = Kind.LITERAL if abs(number) <= EXACT else Kind.INT
        return Value(f"(i64.const {number})", kind, number)
    return Value(f"(f64.const {float_text(number)})", Kind.FLOAT, number)


def float_text(number: float) -> str:
    """Return a float as WebAssembly text, exactly."""
    if number != number:
        return "nan"
    return number.hex() if abs(number) != float("inf") else ("inf" if number > 0 else "-inf")


def join(one: Kind, other: Kind) -> Kind | None:
    """Return the kind that holds both, None if there is none.

    >>> join(Kind.LITERAL, Kind.FLOAT)
    <Kind.MIXED: 'mixed'>
    """
    both = {one, other}
    if len(both) == 1:
        return one
    if both <= INTS:
        return Kind.INT
    return Kind.MIXED if both <= FLOATS | {Kind.LITERAL} else None


def as_float(value: Value) -> str:
    """Return code for `float(value)`."""
    if value.number is not None:
        return f"(f64.const {float_text(float(value.number))})"
    match value.kind:
        case Kind.BOOL:
            return f"(f64.convert_i32_u {value.code})"
        case Kind.INT | Kind.LITERAL:
            return f"(f64.convert_i64_s {value.code})"
        case _:
            return value.code


def as_int(value: Value) -> str:
    """Return code for an int or bool as an int."""
    return f"(i64.extend_i32_u {value.code})" if value.kind is Kind.BOOL else value.code


def as_kind(value: Value, kind: Kind) -> str:
    """Return code for a value as a kind that `join` found to hold it."""
    return as_float(value) if kind in FLOATS else as_int(value) if kind in INTS else value.code


def truth(value: Value) -> str:
    """Return code for `bool(value)`."""
    match value.kind.wat:
        case "f64":
            return f"(f64.ne {value.code} (f64.const 0))"
        case "i64":
            return f"(i64.ne {value.code} (i64.const 0))"
        case _:
            return value.code
