"""What this CPython says when arithmetic fails, asked of itself, since the words change between versions."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable


def said(work: Callable[[], object]) -> str:
    """Return the message of the error that some work raises."""
    try:
        work()
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:
        return str(error)
    raise AssertionError("it was to fail")  # pragma: no cover


def too_few(wanted: int, found: int) -> str:
    """Return what is said when a list is taken apart into more names than it has values."""
    return f"not enough values to unpack (expected {wanted}, got {found})"


def too_many(wanted: int) -> str:
    """Return what is said when a list is taken apart into fewer names than it has values."""
    return f"too many values to unpack (expected {wanted})"


_nan, _inf, _zero, _day = math.nan, math.inf, 0, dt.timedelta(1)

INT_DIVISION = said(lambda: 1 / _zero)
INT_FLOOR_DIVISION = said(lambda: 1 // _zero)
INT_MODULO = said(lambda: 1 % _zero)
INT_DIVMOD = said(lambda: divmod(1, _zero))
FLOAT_DIVISION = said(lambda: 1.0 / _zero)
FLOAT_FLOOR_DIVISION = said(lambda: 1.0 // _zero)
FLOAT_MODULO = said(lambda: 1.0 % _zero)
FLOAT_DIVMOD = said(lambda: divmod(1.0, _zero))
ZERO_POWER = said(lambda: _zero**-1)
NEGATIVE_SHIFT = said(lambda: 1 << (_zero - 1))
ZERO_STEP = said(lambda: range(0, 1, _zero))
NAN_TO_INT = said(lambda: int(_nan))
INFINITY_TO_INT = said(lambda: int(_inf))
FLOAT_ZERO_POWER = said(lambda: float(_zero) ** -1)
FLOAT_POWER_RANGE = said(lambda: 1e300 ** (_zero + 2))
MATH_RANGE = said(lambda: math.exp(1e4))
MATH_DOMAIN = said(lambda: math.sqrt(-1))
TOO_LARGE_FOR_C = said(lambda: dt.date(1, 1, 1 << 40))
TOO_SMALL_FOR_C = said(lambda: dt.date(1, 1, -1 << 40))
TEXT_INDEX = said(lambda: "a"[_zero + 1])
LIST_INDEX = said(lambda: [_zero][_zero + 1])
SLICE_STEP = said(lambda: "a"[::_zero])
NO_SUBSTRING = said(lambda: "a".index("b"))
NO_SEPARATOR = said(lambda: "a".split(""))  # noqa: SIM905
NOT_ONE_FILL = said(lambda: "a".rjust(3, "ab"))
NO_CHARACTER = said(lambda: chr(-1 - _zero))
NO_FLOAT = said(lambda: float("")).partition(":")[0]
NO_INT = said(lambda: int("")).rpartition(":")[0]
NOT_ONE_CHARACTER = "ord() expected a character"
DATE_RANGE = said(lambda: dt.date.max + _day)
