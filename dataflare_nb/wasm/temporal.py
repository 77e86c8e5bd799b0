"""Dates and times: naive ones, as ints of microseconds (of days for a date) since 1970, with `datetime`'s meaning."""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import words
from .intrinsics import ATTRIBUTES, INTRINSICS, METHODS
from .rows import DAY, RANGES
from .values import INT_MAX, INT_MIN, INTS, Kind, Value, as_int

if TYPE_CHECKING:
    from .expressions import Expressions

_EPOCH = dt.datetime(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)
_DATED = (Kind.DATETIME, Kind.DATE)
_CLOCKED = (Kind.DATETIME, Kind.TIME)
_WHOLE = INTS | {Kind.BOOL}
_UNITS = {
    "days": DAY,
    "seconds": 1_000_000,
    "microseconds": 1,
    "milliseconds": 1000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "weeks": 7 * DAY,
}


def constant_time(found: Any) -> Value | None:
    """Return a date or time known from outside; None if it is something else, or has a zone."""
    if isinstance(found, (dt.datetime, dt.time)) and found.tzinfo is not None:
        return None
    match found:
        case dt.datetime():
            return _constant((found - _EPOCH) // _MICROSECOND, Kind.DATETIME)
        case dt.date():
            return _constant((found - _EPOCH.date()).days, Kind.DATE)
        case dt.time():
            clock = (found.hour * 60 + found.minute) * 60 + found.second
            return _constant(clock * 1_000_000 + found.microsecond, Kind.TIME)
        case dt.timedelta() if INT_MIN <= found // _MICROSECOND <= INT_MAX:
            return _constant(found // _MICROSECOND, Kind.TIMEDELTA)
    return None


def _constant(number: int, kind: Kind) -> Value:
    return Value(f"(i64.const {number})", kind, number)


def temporal(ex: Expressions, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value | None:
    """Compile arithmetic with dates and times; None if Python has no such operation, or we do not."""
    match left.kind, node.op, right.kind:
        case (Kind.DATETIME, ast.Sub(), Kind.DATETIME):
            return Value(f"(i64.sub {left.code} {right.code})", Kind.TIMEDELTA)
        case (Kind.DATE, ast.Sub(), Kind.DATE):
            return Value(f"(i64.mul (i64.const {DAY}) (i64.sub {left.code} {right.code}))", Kind.TIMEDELTA)
        case (Kind.TIMEDELTA, ast.Add(), Kind.DATETIME | Kind.DATE):
            start, held = ex.hold(left)
            moved = temporal(ex, node, right, held)
            assert moved is not None
            return Value(f"(block (result i64) {start} {moved.code})", moved.kind)
        case (Kind.DATETIME, ast.Add() | ast.Sub() as op, Kind.TIMEDELTA):
            # A sum that wraps around is far outside of the range too.
            sign = "add" if isinstance(op, ast.Add) else "sub"
            return _ranged(ex, node, f"(i64.{sign} {left.code} {right.code})", Kind.DATETIME)
        case (Kind.DATE, ast.Add() | ast.Sub() as op, Kind.TIMEDELTA):
            ex.unit.helpers.add("days")
            sign = "add" if isinstance(op, ast.Add) else "sub"
            return _ranged(ex, node, f"(i64.{sign} {left.code} (call $days {right.code}))", Kind.DATE)
        case (Kind.TIMEDELTA, ast.Add() | ast.Sub() | ast.Mod(), Kind.TIMEDELTA):
            return _as(Kind.TIMEDELTA, ex.integer(node, _int(left), _int(right)))
        case (Kind.TIMEDELTA, ast.Div() | ast.FloorDiv(), Kind.TIMEDELTA):
            return ex.integer(node, _int(left), _int(right))
        case (Kind.TIMEDELTA, ast.Mult() | ast.FloorDiv(), kind) if kind in _WHOLE:
            return _as(Kind.TIMEDELTA, ex.integer(node, _int(left), _int(right)))
        case (kind, ast.Mult(), Kind.TIMEDELTA) if kind in _WHOLE:
            return _as(Kind.TIMEDELTA, ex.integer(node, _int(left), _int(right)))
        case (Kind.TIMEDELTA, ast.Div(), kind) if kind in _WHOLE:
            return _divided(ex, node, left, right)
    return None


def _int(value: Value) -> Value:
    """Return a number of microseconds as an int whose value is not known, so that nothing is folded."""
    return Value(as_int(value), Kind.INT)


def _as(kind: Kind, value: Value) -> Value:
    return Value(value.code, kind)


def _ranged(ex: Expressions, node: ast.AST, code: str, kind: Kind) -> Value:
    """Return a date that is checked to be one of Python's."""
    held = ex.frame.temporary("i64")
    first, last = RANGES[kind.value]
    got = f"(local.get {held})"
    outside = f"(i32.or (i64.lt_s {got} (i64.const {first})) (i64.gt_s {got} (i64.const {last})))"
    check = ex.failing(outside, "OverflowError", words.DATE_RANGE, node)
    return Value(f"(block (result i64) (local.set {held} {code}) {check} {got})", kind)


def _divided(ex: Expressions, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
    ex.unit.helpers.add("divide_nearest")
    (x, y) = (ex.frame.temporary("i64") for _ in range(2))
    a, b = f"(local.get {x})", f"(local.get {y})"
    zero = ex.failing(f"(i64.eqz {b})", "ZeroDivisionError", words.INT_FLOOR_DIVISION, node)
    least = f"(i32.and (i64.eq {a} (i64.const {INT_MIN})) (i64.eq {b} (i64.const -1)))"
    wide = ex.failing(least, "OverflowError", ex.no_room, node)
    start = f"(local.set {x} {left.code}) (local.set {y} {as_int(right)})"
    return Value(f"(block (result i64) {start} {zero} {wide} (call $divide_nearest {a} {b}))", Kind.TIMEDELTA)


# ---- attributes and methods ----


def _call(ex: Expressions, helper: str, code: str) -> str:
    ex.unit.helpers.add(helper)
    return f"(call ${helper} {code})"


def _days(ex: Expressions, owner: Value) -> str:
    return owner.code if owner.kind is Kind.DATE else _call(ex, "days", owner.code)


def _clock(ex: Expressions, owner: Value) -> str:
    return owner.code if owner.kind is Kind.TIME else _call(ex, "clock", owner.code)


def _attribute(kinds: Sequence[Kind], name: str, code: Callable[[Expressions, Value], str]) -> None:
    def found(ex: Expressions, node: ast.AST, owner: Value) -> Value:
        return Value(code(ex, owner), Kind.INT)

    for kind in kinds:
        ATTRIBUTES[kind, name] = found


def _method(kinds: Sequence[Kind], name: str, code: Callable[[Expressions, Value], str], kind: Kind = Kind.INT) -> None:
    def found(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        if node.args or node.keywords:
            raise ex.source.error(node, f"`{name}()` takes no arguments")
        return Value(code(ex, owner), kind)

    for one in kinds:
        METHODS[one, name] = found


def _of_clock(unit: int, most: int) -> Callable[[Expressions, Value], str]:
    return lambda ex, owner: f"(i64.rem_u (i64.div_u {_clock(ex, owner)} (i64.const {unit})) (i64.const {most}))"


for _name in ("year", "month", "day"):
    _attribute(_DATED, _name, lambda ex, owner, name=_name: _call(ex, name, _days(ex, owner)))  # type: ignore[misc]
for _name, _unit, _most in (
    ("hour", 3_600_000_000, 24),
    ("minute", 60_000_000, 60),
    ("second", 1_000_000, 60),
    ("microsecond", 1, 1_000_000),
):
    _attribute(_CLOCKED, _name, _of_clock(_unit, _most))
_attribute([Kind.TIMEDELTA], "days", lambda ex, owner: _call(ex, "days", owner.code))
_attribute(
    [Kind.TIMEDELTA], "seconds", lambda ex, owner: f"(i64.div_u {_call(ex, 'clock', owner.code)} (i64.const 1000000))"
)
_attribute(
    [Kind.TIMEDELTA],
    "microseconds",
    lambda ex, owner: f"(i64.rem_u {_call(ex, 'clock', owner.code)} (i64.const 1000000))",
)
_method(_DATED, "weekday", lambda ex, owner: _call(ex, "weekday", _days(ex, owner)))
_method(_DATED, "isoweekday", lambda ex, owner: f"(i64.add (i64.const 1) {_call(ex, 'weekday', _days(ex, owner))})")
_method(
    _DATED,
    "toordinal",
    lambda ex, owner: f"(i64.add (i64.const {_EPOCH.toordinal()}) {_days(ex, owner)})",
)
_method([Kind.DATETIME], "date", _days, Kind.DATE)
_method([Kind.DATETIME], "time", _clock, Kind.TIME)
_method(
    [Kind.TIMEDELTA],
    "total_seconds",
    lambda ex, owner: f"{_call(ex, 'true_divide', f'{owner.code} (i64.const 1000000)')}",
    Kind.FLOAT,
)


def _isocalendar(ex: Expressions, node: ast.Call, owner: Value) -> Value:
    names = [ex.frame.temporary("i64") for _ in range(3)]
    code = _call(ex, "iso", _days(ex, owner)) + "".join(f" (local.set {name})" for name in reversed(names))
    parts = tuple(Value(f"(local.get {name})", Kind.INT) for name in names)
    return Value(code, Kind.RECORD, parts=parts, fields=("year", "week", "weekday"))


def _refused(way: str) -> Callable[[Expressions, ast.Call, Value], Value]:
    def found(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        raise ex.source.error(node, f"`{ast.unparse(node.func)}` cannot be compiled; {way}")

    return found


for _kind in _DATED:
    METHODS[_kind, "isocalendar"] = _isocalendar
METHODS[Kind.DATETIME, "timestamp"] = _refused(
    "it depends on the zone of the machine; write (t - datetime(1970, 1, 1)).total_seconds()"
)
METHODS[Kind.DATETIME, "timetuple"] = METHODS[Kind.DATE, "timetuple"] = _refused(
    "take .year, .month, .day; the day of the year is (d - date(d.year, 1, 1)).days + 1"
)
for _kind in (*_DATED, Kind.TIME):
    for _name in ("isoformat", "strftime", "ctime"):
        METHODS[_kind, _name] = _refused("use Polars: pl.col(...).dt.strftime(...)")
for _name in ("astimezone", "utcoffset"):
    METHODS[Kind.DATETIME, _name] = _refused("a datetime has no zone here; use pl.col(...).dt.convert_time_zone(...)")


# ---- making dates and times ----

_DATE_PARTS = {"year": ..., "month": ..., "day": ...}
_TIME_PARTS = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
_C_INT = (
    ("(i64.gt_s {} (i64.const 0x7fffffff))", words.TOO_LARGE_FOR_C),
    ("(i64.lt_s {} (i64.const -0x80000000))", words.TOO_SMALL_FOR_C),
)
_MOST = {"hour": 23, "minute": 59, "second": 59, "microsecond": 999_999}
_PARTS: dict[Kind, dict[str, Any]] = {
    Kind.DATE: _DATE_PARTS,
    Kind.DATETIME: {**_DATE_PARTS, **_TIME_PARTS},
    Kind.TIME: _TIME_PARTS,
}


def _whole(ex: Expressions, node: ast.Call, parts: Mapping[str, Value]) -> dict[str, Value]:
    for name, value in parts.items():
        if value.kind not in _WHOLE or value.none is not None:
            raise ex.source.error(node, f"`{name}` is {value.type.spoken} and must be an int")
    return {name: Value(as_int(value), Kind.INT, value.number) for name, value in parts.items()}


def _made(ex: Expressions, node: ast.Call, kind: Kind, given: Mapping[str, Value], own: Collection[str] = ()) -> Value:
    """Return a date or time of its parts, which are checked as Python does; `own` is code of old parts."""
    parts = _whole(ex, node, given)
    names = {name: ex.frame.temporary("i64") for name in parts}
    code = [f"(local.set {names[name]} {value.code})" for name, value in parts.items()]
    got = {name: f"(local.get {local})" for name, local in names.items()}

    def check(name: str, least: int, most: str, message: str) -> None:
        outside = f"(i32.or (i64.lt_s {got[name]} (i64.const {least})) (i64.gt_s {got[name]} {most}))"
        code.append(ex.failing(outside, "ValueError", message, node))

    # Python turns all of them into ints of C before it looks at one.
    for name in (name for name, value in given.items() if value.number is None and value.code not in own):
        for beyond, message in _C_INT:
            code.append(ex.failing(beyond.format(got[name]), "OverflowError", message, node))
    days = "(i64.const 0)"
    if kind in _DATED:
        ex.unit.helpers |= {"month_length", "date"}
        check("year", 1, "(i64.const 9999)", "year is out of range")
        check("month", 1, "(i64.const 12)", "month must be in 1..12")
        length = f"(call $month_length {got['year']} {got['month']})"
        check("day", 1, length, "day is out of range for month")
        days = f"(call $date {got['year']} {got['month']} {got['day']})"
    if kind is Kind.DATE:
        return Value(f"(block (result i64) {' '.join(code)} {days})", kind)
    for name, most in _MOST.items():
        check(name, 0, f"(i64.const {most})", f"{name} must be in 0..{most}")
    total = f"(i64.mul (i64.const {DAY}) {days})"
    for name in _TIME_PARTS:
        unit = _UNITS[f"{name}s"]
        total = f"(i64.add {total} (i64.mul (i64.const {unit}) {got[name]}))"
    return Value(f"(block (result i64) {' '.join(code)} {total})", kind)


def _constructor(target: type, kind: Kind) -> None:
    def found(ex: Expressions, node: ast.Call) -> Value:
        parts = _PARTS[kind]
        values = ex.arguments(node, list(parts), {name: value for name, value in parts.items() if value is not ...})
        folded = _folded(ex, node, target, [value.number for value in values])
        return folded or _made(ex, node, kind, dict(zip(parts, values, strict=True)))

    INTRINSICS[target] = found

    def replaced(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        start, held = ex.hold(owner)
        read = {name: ATTRIBUTES[kind, name](ex, node, held) for name in _PARTS[kind]}
        given = ex.arguments(node, list(read), dict.fromkeys(read))
        both = zip(read.items(), given, strict=True)
        parts = {name: own if value.kind is Kind.NONE else value for (name, own), value in both}
        made = _made(ex, node, kind, parts, [value.code for value in read.values()])
        return Value(f"(block (result i64) {start} {made.code})", kind)

    METHODS[kind, "replace"] = replaced


def _folded(ex: Expressions, node: ast.Call, target: Callable[..., Any], numbers: Sequence[Any]) -> Value | None:
    if any(number is None for number in numbers):
        return None
    try:
        return constant_time(target(*numbers))
    except (ValueError, OverflowError, TypeError) as error:
        raise ex.source.error(node, f"this can never be computed: {error}") from None


def _timedelta(ex: Expressions, node: ast.Call) -> Value:
    values = ex.arguments(node, list(_UNITS), dict.fromkeys(_UNITS, 0))
    folded = _folded(ex, node, dt.timedelta, [value.number for value in values])
    if folded is not None:
        return folded
    if any(value.kind is Kind.FLOAT for value in values):
        raise ex.source.error(node, "timedelta takes ints here, as Python rounds each float: microseconds=round(x)")
    total: Value | None = None
    operators = (ast.Mult(), ast.Add())
    times, plus = (ast.copy_location(ast.BinOp(node, sign, node), node) for sign in operators)
    for (name, unit), value in zip(_UNITS.items(), values, strict=True):
        if value.number == 0:
            continue
        whole = _whole(ex, node, {name: value})[name]
        scaled = whole
        if unit > 1:
            factor = Value(f"(i64.const {unit})", Kind.INT, unit)
            scaled = ex.integer(times, Value(whole.code, Kind.INT), factor)
        total = scaled if total is None else ex.integer(plus, _int(total), _int(scaled))
    assert total is not None
    return Value(total.code, Kind.TIMEDELTA)


def _combined(ex: Expressions, node: ast.Call) -> Value:
    date, time = ex.arguments(node, ["date", "time"], {})
    if (date.type, time.type) != (_plain(Kind.DATE), _plain(Kind.TIME)):
        raise ex.source.error(node, "datetime.combine takes a date and a time")
    return Value(f"(i64.add (i64.mul (i64.const {DAY}) {date.code}) {time.code})", Kind.DATETIME)


def _plain(kind: Kind) -> Any:
    return Value("", kind).type


_constructor(dt.date, Kind.DATE)
_constructor(dt.datetime, Kind.DATETIME)
_constructor(dt.time, Kind.TIME)
INTRINSICS[dt.timedelta] = _timedelta
INTRINSICS[dt.datetime.combine] = _combined
