"""Windows and durations, as values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TypeAlias

import msgspec

from .errors import BadWindow

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_UNIT_DAYS = {"d": 1, "w": 7}
_UNIT_MONTHS = {"mo": 1, "q": 3, "y": 12}
_PART = re.compile(r"(\d+)(us|ms|mo|s|m|h|d|w|q|y)")
_LIMIT_US = 2**62

DAY_US = 86_400_000_000

DurationLike: TypeAlias = "str | timedelta | Duration"


class Duration(msgspec.Struct, frozen=True):
    """A length of time as Polars writes it: `"5s"`, `"1h30m"`, `"1d"`, `"1mo"`, or a `timedelta`.

    `us` counts microseconds; `days` and `months` are calendar units, whose length depends on where they start.

    >>> Duration.of("1h30m").us
    5400000000
    """

    text: str
    us: int = 0
    days: int = 0
    months: int = 0

    @classmethod
    def of(cls, value: DurationLike, what: str = "a duration") -> Duration:
        """Parse, naming `what` in the error."""
        if isinstance(value, Duration):
            return value
        if isinstance(value, timedelta):
            return cls._from_us(value // timedelta(microseconds=1), what)
        if not isinstance(value, str):
            raise BadWindow(f"{what} is {value!r}; write it as '5s', '10m', '1h', '1d' or a timedelta")
        if value in ("0", "0s"):
            return cls("0s")
        parts = _PART.findall(value)
        if not parts or "".join(n + u for n, u in parts) != value:
            raise BadWindow(
                f"{what} is {value!r}; write it as '5s', '10m', '1h', '1d' (units: us ms s m h d w mo q y) or a timedelta"
            )
        us = sum(int(n) * _UNITS_US.get(u, 0) for n, u in parts)
        days = sum(int(n) * _UNIT_DAYS.get(u, 0) for n, u in parts)
        months = sum(int(n) * _UNIT_MONTHS.get(u, 0) for n, u in parts)
        if us + days * DAY_US + months * 31 * DAY_US >= _LIMIT_US:
            raise BadWindow(f"{what} is {value!r}, longer than event time can count")
        if months and (us or days):
            raise BadWindow(f"{what} is {value!r}; months do not mix with smaller units")
        return cls(value, us=us, days=days, months=months)

    @classmethod
    def _from_us(cls, us: int, what: str) -> Duration:
        if us < 0:
            raise BadWindow(f"{what} is negative")
        if us == 0:
            return cls("0s")
        for unit in ("h", "m", "s", "ms", "us"):
            if us % _UNITS_US[unit] == 0:
                return cls(f"{us // _UNITS_US[unit]}{unit}", us=us)
        raise AssertionError("every count of microseconds is a multiple of one")

    def __bool__(self) -> bool:
        return bool(self.us or self.days or self.months)

    def __str__(self) -> str:
        return self.text

    def fixed_us(self, what: str) -> int:
        """Microseconds, a day being 24 hours. Months have no fixed length and are refused."""
        if self.months:
            raise BadWindow(f"{what} is '{self.text}'; months and years have no fixed length here, use days or less")
        return self.us + self.days * DAY_US


class Tumbling(msgspec.Struct, frozen=True, tag="tumbling"):
    """Windows of one size, side by side."""

    size: Duration
    offset: Duration = Duration("0s")

    def __str__(self) -> str:
        return f"tumbling({self.size}{f', offset={self.offset}' if self.offset else ''})"


class Hopping(msgspec.Struct, frozen=True, tag="hopping"):
    """Windows of one size that start `every` so often: a row is in each one that covers it."""

    size: Duration
    every: Duration
    offset: Duration = Duration("0s")

    def __str__(self) -> str:
        return f"hopping({self.size}, every={self.every}{f', offset={self.offset}' if self.offset else ''})"


class Cumulative(msgspec.Struct, frozen=True, tag="cumulative"):
    """Windows that share a start and grow by `step` until they reach `max`."""

    max: Duration
    step: Duration
    offset: Duration = Duration("0s")

    def __str__(self) -> str:
        return f"cumulative({self.max}, step={self.step}{f', offset={self.offset}' if self.offset else ''})"


class Session(msgspec.Struct, frozen=True, tag="session"):
    """Rows of one key that follow each other at a distance of at most `gap`."""

    gap: Duration

    def __str__(self) -> str:
        return f"session({self.gap})"


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Every `n` rows of a key, in the order they arrive."""

    n: int

    def __str__(self) -> str:
        return f"count({self.n})"


class Global(msgspec.Struct, frozen=True, tag="global"):
    """One window over everything; it closes when the input ends."""

    def __str__(self) -> str:
        return "global_window()"


WindowSpec: TypeAlias = Tumbling | Hopping | Cumulative | Session | Count | Global


class Every(msgspec.Struct, frozen=True, tag="every"):
    """Early results each time this much processing time has passed."""

    period: Duration

    def __str__(self) -> str:
        return f"every({self.period})"


class AfterCount(msgspec.Struct, frozen=True, tag="after_count"):
    """Early results each time a window of a key has gained this many rows."""

    n: int

    def __str__(self) -> str:
        return f"after_count({self.n})"


EarlySpec: TypeAlias = Every | AfterCount


def tumbling(size: DurationLike, *, offset: DurationLike = "0s") -> Tumbling:
    """Return windows of `size` side by side; `offset` shifts their starts (less than one size).

    Sizes in months, quarters, years and weeks, and days in a time zone, follow the calendar as
    Polars' `dt.truncate` does.

    >>> str(tumbling("1d", offset="5h"))
    'tumbling(1d, offset=5h)'
    """
    size, offset = _positive(size, "the size"), Duration.of(offset, "the offset")
    _check_offset(offset, size, "size")
    return Tumbling(size, offset)


def hopping(size: DurationLike, every: DurationLike, *, offset: DurationLike = "0s") -> Hopping:
    """Return windows of `size` that start `every` so often.

    Raises BadWindow when `every` is larger than `size`: rows between two windows would be in none.
    """
    size, every_, offset = _positive(size, "the size"), _positive(every, "every"), Duration.of(offset, "the offset")
    if every_.fixed_us("every") > size.fixed_us("the size"):
        raise BadWindow(
            f"hopping({size}, every={every_}): every is larger than size, so the rows between two windows would be in "
            f"none. Use tumbling('{every_}') or a size of at least {every_}"
        )
    _check_offset(offset, every_, "every")
    return Hopping(size, every_, offset)


def cumulative(max: DurationLike, step: DurationLike, *, offset: DurationLike = "0s") -> Cumulative:
    """Return windows that start each `max` and give a result each `step`: one day so far, hour by hour.

    Raises BadWindow when `step` does not divide `max`.
    """
    max_, step_, offset = _positive(max, "max"), _positive(step, "step"), Duration.of(offset, "the offset")
    if max_.fixed_us("max") % step_.fixed_us("step"):
        raise BadWindow(f"cumulative({max_}, step={step_}): max is not a multiple of step, so the last step would be cut")
    _check_offset(offset, max_, "max")
    return Cumulative(max_, step_, offset)


def session(gap: DurationLike) -> Session:
    """Return sessions: rows of one key at a distance of at most `gap` belong together (an exact gap still does)."""
    duration = _positive(gap, "the gap")
    duration.fixed_us("the gap")
    return Session(duration)


def count(n: int) -> Count:
    """Return windows of `n` rows per key. What is left when the input ends is given as a smaller window."""
    return Count(_positive_int(n, "count(n)"))


def global_window() -> Global:
    """Return one window over everything: a result when the input ends, and early ones if asked for."""
    return Global()


def every(period: DurationLike) -> Every:
    """Ask for early results each `period` of processing time, for windows that have changed."""
    duration = _positive(period, "the period")
    duration.fixed_us("the period")
    return Every(duration)


def after_count(n: int) -> AfterCount:
    """Ask for an early result each time a window of a key has gained `n` rows, looked at when time is told."""
    return AfterCount(_positive_int(n, "after_count(n)"))


def pane_us(size: int, every: int) -> int:
    """Return the length of the pieces that both `size` and `every` are made of."""
    return math.gcd(size, every)


def durations(spec: WindowSpec) -> Iterable[Duration]:
    """Yield the durations a window is made of."""
    return (value for name in spec.__struct_fields__ if isinstance(value := getattr(spec, name), Duration))


def _positive(value: DurationLike, what: str) -> Duration:
    duration = Duration.of(value, what)
    if not duration:
        raise BadWindow(f"{what} is zero; a window needs a length")
    return duration


def _positive_int(n: int, what: str) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise BadWindow(f"{what} needs a whole number of at least 1, not {n!r}")
    return n


def _check_offset(offset: Duration, size: Duration, name: str) -> None:
    if offset.months or (not size.months and offset.fixed_us("the offset") >= size.fixed_us(name)):
        raise BadWindow(f"the offset {offset} is not smaller than {name} {size}, or is in months")
