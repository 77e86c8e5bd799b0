"""The types of compiled Python, and how they meet.

`literal` is an int constant that a float holds exactly, and `mixed` a value that is such an int on one path
and a float on another, as in `max(x, 0)`. CPython keeps the int; we keep a float that equals it, and refuse
the few operations that could tell the two apart (they differ in the sign of zero). Dates and times are ints:
microseconds, or days for a date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an expression gives, beside None."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    TIMEDELTA = "timedelta"
    STR = "str"
    TEXTS = "texts"
    LITERAL = "literal"
    MIXED = "mixed"
    NONE = "None"
    RECORD = "record"

    @property
    def wat(self) -> str:
        """The WebAssembly type it lives in."""
        return _WAT[self]

    @property
    def spoken(self) -> str:
        """The kind as an error calls it."""
        return _SPOKEN.get(self, f"a {self.value}")


_WAT = dict.fromkeys(Kind, "i64") | {
    Kind.FLOAT: "f64",
    Kind.MIXED: "f64",
    Kind.BOOL: "i32",
    Kind.NONE: "i32",
}
_SPOKEN = {
    Kind.LITERAL: "an int",
    Kind.INT: "an int",
    Kind.MIXED: "an int or a float",
    Kind.NONE: "None",
    Kind.RECORD: "a tuple",
    Kind.TEXTS: "a list of texts",
}
FLOATS = frozenset({Kind.FLOAT, Kind.MIXED})
INTS = frozenset({Kind.INT, Kind.LITERAL})
NUMBERS = FLOATS | INTS | {Kind.BOOL}
TIMES = frozenset({Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.TIMEDELTA})
EXACT = 1 << 53
"""Up to here every int is a float."""
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Type:
    """What a variable holds: values of one kind, or also None."""

    kind: Kind
    optional: bool = False

    @property
    def spoken(self) -> str:
        """The type as an error calls it."""
        return f"{self.kind.spoken} or None" if self.optional and self.kind is not Kind.NONE else self.kind.spoken


@dataclass(frozen=True, slots=True)
class Value:
    """Code that leaves one value, its kind, and the number or text if it is known.

    `none` is code that says, once `code` has run, whether the value is None; without it, it never is. In the same way
    `point` gives the code point of a text that is known to be one character, and not None. A record leaves nothing:
    its code puts the `parts` where they can be read, any number of times.
    """

    code: str
    kind: Kind
    number: int | float | bool | str | None = None
    none: str | None = None
    parts: tuple[Value, ...] = ()
    fields: tuple[str, ...] = ()
    point: str | None = None

    @property
    def type(self) -> Type:
        """What a variable must hold to hold this value."""
        return Type(self.kind, self.none is not None)


NONE = Value("(i32.const 0)", Kind.NONE, none="(i32.const 1)")


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
    both = {one, other} - {Kind.NONE}
    if len(both) <= 1:
        return both.pop() if both else Kind.NONE
    if both <= INTS:
        return Kind.INT
    return Kind.MIXED if both <= FLOATS | {Kind.LITERAL} else None


def joined(types: Iterable[Type]) -> Type | None:
    """Return the type that holds all of some types, None if there is none."""
    kind, optional = Kind.NONE, False
    for one in types:
        found = join(kind, one.kind)
        if found is None:
            return None
        kind, optional = found, optional or one.optional
    return Type(kind, optional)


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
    if value.kind is Kind.NONE and kind is not Kind.NONE:
        zero = f"({kind.wat}.const 0)"
        return zero if value.code == NONE.code else f"(block (result {kind.wat}) (drop {value.code}) {zero})"
    return as_float(value) if kind in FLOATS else as_int(value) if kind in INTS else value.code


def truth(value: Value) -> str:
    """Return code for `bool(value)`."""
    if value.kind is Kind.NONE:
        return as_kind(value, Kind.BOOL)
    if value.kind in {Kind.DATETIME, Kind.DATE, Kind.TIME}:
        found = f"(block (result i32) (drop {value.code}) (i32.const 1))"
    elif value.kind in {Kind.STR, Kind.TEXTS}:
        found = f"(i64.ne (i64.shr_u {value.code} (i64.const 32)) (i64.const 0))"
    else:
        found = {
            "f64": f"(f64.ne {value.code} (f64.const 0))",
            "i64": f"(i64.ne {value.code} (i64.const 0))",
            "i32": value.code,
        }[value.kind.wat]
    # What is None was given zero bits somewhere, or none at all: only the flag decides.
    return found if value.none is None else f"(i32.and {found} (i32.eqz {value.none}))"
