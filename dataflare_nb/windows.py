"""Windows and durations, as values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TypeAlias

import msgspec

from .errors import BadOption, BadWindow, located, shown
from .signature import spelled

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_UNIT_DAYS = {"d": 1, "w": 7}
_UNIT_MONTHS = {"mo": 1, "q": 3, "y": 12}
_PART = re.compile(r"(\d+)(us|ms|mo|s|m|h|d|w|q|y)")
_WORDS = {"mic": "us", "mil": "ms", "sec": "s", "min": "m", "hou": "h", "day": "d", "wee": "w", "mon": "mo", "yea": "y"}
_LIMIT_US = 2**62
_LONGEST_DAYS = 10_000 * 366
_MOST_WINDOWS = 100_000
_MOST_ROWS = 1 << 62

DAY_US = 86_400_000_000


def _meant(value: str) -> str:
    """Say which duration `5min` or `2 hours` is here."""
    found = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]{3,})\s*", value)
    unit = next((unit for word, unit in _WORDS.items() if found and found[2].lower().startswith(word)), None)
    return f" Did you mean '{found[1]}{unit}'?" if found and unit else ""


class Duration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
            raise BadOption(f"{what} is {shown(value)}; write it as '5s', '10m', '1h', '1d' or a timedelta")
        if value == "0":
            return cls("0s")
        if value.startswith("-"):
            raise BadOption(f"{what} is {shown(value)}; it cannot be negative")
        parts = _PART.findall(value)
        if not parts or "".join(n + u for n, u in parts) != value:
            raise BadOption(
                f"{what} is {shown(value)}; write it as '5s', '10m', '1h', '1d' (units: us ms s m h d w mo q y) "
                f"or a timedelta.{_meant(value)}"
            )
        us = sum(int(n) * _UNITS_US.get(u, 0) for n, u in parts)
        days = sum(int(n) * _UNIT_DAYS.get(u, 0) for n, u in parts)
        months = sum(int(n) * _UNIT_MONTHS.get(u, 0) for n, u in parts)
        if us + days * DAY_US + months * 31 * DAY_US >= _LIMIT_US:
            raise BadOption(f"{what} is {shown(value)}, longer than event time can count")
        if months and (us or days):
            raise BadOption(f"{what} is {shown(value)}; months do not mix with smaller units")
        if not (us or days or months):
            return cls("0s")
        return cls(value, us=us, days=days, months=months)

    @classmethod
    def _from_us(cls, us: int, what: str) -> Duration:
        if us < 0:
            raise BadOption(f"{what} is {us} microseconds; it cannot be negative")
        if us == 0:
            return cls("0s")
        if us >= _LIMIT_US:
            raise BadOption(f"{what} is {us} microseconds, longer than event time can count")
        for unit in ("h", "m", "s", "ms", "us"):
            if us % _UNITS_US[unit] == 0:
                return cls(f"{us // _UNITS_US[unit]}{unit}", us=us)
        raise AssertionError("every count of microseconds is a multiple of one")

    @classmethod
    def of_us(cls, us: int) -> Duration:
        """Return so many microseconds in the largest unit that counts them.

        >>> str(Duration.of_us(90_000_000))
        '90s'
        """
        return cls._from_us(us, "a duration")

    def __bool__(self) -> bool:
        return bool(self.us or self.days or self.months)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def fixed_us(self, what: str) -> int:
        """Microseconds, a day being 24 hours. Months have no fixed length and are refused."""
        if self.months:
            raise BadOption(f"{what} is '{self.text}'; months and years have no fixed length here, use days or less")
        return self.us + self.days * DAY_US


DurationLike: TypeAlias = str | timedelta | Duration


def microseconds(value: DurationLike, what: str) -> int:
    """Read a length of time that is the same on every day.

    >>> microseconds("1m30s", "the gap")
    90000000
    """
    return Duration.of(value, what).fixed_us(what)


class Tumbling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="tumbling"):
    """Windows of one size, side by side."""

    size: Duration
    offset: Duration = Duration("0s")

    def __str__(self) -> str:
        return f"tumbling({self.size}{f', offset={self.offset}' if self.offset else ''})"

    __repr__ = __str__


class Hopping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hopping"):
    """Windows of one size that start `every` so often: a row is in each one that covers it."""

    size: Duration
    every: Duration
    offset: Duration = Duration("0s")

    def __str__(self) -> str:
        return f"hopping({self.size}, every={self.every}{f', offset={self.offset}' if self.offset else ''})"

    __repr__ = __str__


class Cumulative(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="cumulative"):
    """Windows that share a start and grow by `step` until they reach `max`."""

    max: Duration
    step: Duration
    offset: Duration = Duration("0s")

    def __str__(self) -> str:
        return f"cumulative({self.max}, step={self.step}{f', offset={self.offset}' if self.offset else ''})"

    __repr__ = __str__


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="session"):
    """Rows of one key that follow each other at a distance of at most `gap`."""

    gap: Duration

    def __str__(self) -> str:
        return f"session({self.gap})"

    __repr__ = __str__


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="count"):
    """Every `n` rows of a key, in the order they arrive."""

    n: int

    def __str__(self) -> str:
        return f"count({self.n})"

    __repr__ = __str__


class Global(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="global"):
    """One window over everything; it closes when the input ends."""

    def __str__(self) -> str:
        return "global_window()"

    __repr__ = __str__


WindowSpec: TypeAlias = Tumbling | Hopping | Cumulative | Session | Count | Global


class Every(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="every"):
    """Early results each time this much processing time has passed."""

    period: Duration

    def __str__(self) -> str:
        return f"every({self.period})"

    __repr__ = __str__


class AfterCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="after_count"):
    """Early results each time a window of a key has gained this many rows."""

    n: int

    def __str__(self) -> str:
        return f"after_count({self.n})"

    __repr__ = __str__


EarlySpec: TypeAlias = Every | AfterCount


@spelled
def tumbling(size: DurationLike, *, offset: DurationLike = "0s") -> Tumbling:
    """Return windows of `size` side by side; `offset` shifts their starts (less than one size).

    Sizes in months, quarters, years and weeks, and days in a time zone, follow the calendar as
    Polars' `dt.truncate` does; so do hours and minutes where the zone's clock is not at whole ones of UTC's.
    Windows begin when the clock first shows their start or a later time: one that begins in an hour which is
    left out begins with the jump, and an hour that is shown twice is, the second time, in the window open until then.

    >>> str(tumbling("1d", offset="5h"))
    'tumbling(1d, offset=5h)'
    """
    with located("tumbling"):
        length, shift = _length(size, "size"), _duration(offset, "offset")
        _check_offset(shift, length, "size")
        return Tumbling(length, shift)


@spelled
def hopping(size: DurationLike, every: DurationLike, *, offset: DurationLike = "0s") -> Hopping:
    """Return windows of `size` that start `every` so often.

    Raises BadWindow when `every` is larger than `size`: rows between two windows would be in none.

    >>> str(hopping("1h", every="5m"))
    'hopping(1h, every=5m)'
    """
    with located("hopping"):
        length, step, shift = _length(size, "size"), _length(every, "every"), _duration(offset, "offset")
        if _fixed(step, "every") > _fixed(length, "size"):
            raise BadWindow(
                f"every={step} is larger than size={length}, so the rows between two windows would be in none. "
                f"Use tumbling('{step}'), or a size of at least {step}"
            )
        _refuse_crowd(length, step, "every")
        _check_offset(shift, step, "every")
        return Hopping(length, step, shift)


@spelled
def cumulative(max: DurationLike, step: DurationLike, *, offset: DurationLike = "0s") -> Cumulative:
    """Return windows that start each `max` and give a result each `step`: one day so far, hour by hour.

    Raises BadWindow when `step` does not divide `max`.

    >>> str(cumulative("1d", step="1h"))
    'cumulative(1d, step=1h)'
    """
    with located("cumulative"):
        whole, part, shift = _length(max, "max"), _length(step, "step"), _duration(offset, "offset")
        if _fixed(whole, "max") % _fixed(part, "step"):
            raise BadWindow(f"max={whole} is not a multiple of step={part}, so the last step would be cut")
        _refuse_crowd(whole, part, "step")
        _check_offset(shift, whole, "max")
        return Cumulative(whole, part, shift)


@spelled
def session(gap: DurationLike) -> Session:
    """Return sessions: rows of one key at a distance of at most `gap` belong together (an exact gap still does).

    So a session has ended when the watermark is past its end, a gap after its last row: at the end itself a row of it
    may yet come.

    >>> str(session("30m"))
    'session(30m)'
    """
    with located("session"):
        length = _length(gap, "gap")
        _fixed(length, "gap")
        return Session(length)


@spelled
def count(n: int) -> Count:
    """Return windows of `n` rows per key. What is left when the input ends is given as a smaller window.

    >>> str(count(100))
    'count(100)'
    """
    with located("count"):
        return Count(_rows(n))


@spelled
def global_window() -> Global:
    """Return one window over everything: a result when the input ends, and early ones if asked for.

    >>> str(global_window())
    'global_window()'
    """
    return Global()


@spelled
def every(period: DurationLike) -> Every:
    """Ask for early results each `period` of processing time, for windows that have changed.

    >>> str(every("1s"))
    'every(1s)'
    """
    with located("every"):
        length = _length(period, "period")
        _fixed(length, "period")
        return Every(length)


@spelled
def after_count(n: int) -> AfterCount:
    """Ask for an early result each time a window of a key has gained `n` rows, looked at when time is told.

    >>> str(after_count(100))
    'after_count(100)'
    """
    with located("after_count"):
        return AfterCount(_rows(n))


def pane_us(size: int, every: int) -> int:
    """Return the length of the pieces that both `size` and `every` are made of."""
    return math.gcd(size, every)


def durations(spec: WindowSpec) -> Iterable[Duration]:
    """Yield the durations a window is made of."""
    return (value for name in spec.__struct_fields__ if isinstance(value := getattr(spec, name), Duration))


def recheck(window: WindowSpec, early: EarlySpec | None = None) -> None:
    """Hold a window that was read from a document to what the functions above ask for."""
    early_lengths = [early.period] if isinstance(early, Every) else []
    for length in (*durations(window), *early_lengths):
        if _duration(length.text, "a length") != length:
            raise BadWindow(f"a length is {length.text!r} and counts something else")
    match window:
        case Tumbling(size=size, offset=offset):
            tumbling(size, offset=offset)
        case Hopping(size=size, every=step, offset=offset):
            hopping(size, step, offset=offset)
        case Cumulative(max=whole, step=step, offset=offset):
            cumulative(whole, step, offset=offset)
        case Session(gap=gap):
            session(gap)
        case Count(n=n):
            count(n)
    match early:
        case Every(period=period):
            every(period)
        case AfterCount(n=n):
            after_count(n)


def _duration(value: DurationLike, what: str) -> Duration:
    try:
        return Duration.of(value, what)
    except BadOption as error:
        raise BadWindow(str(error)) from None


def _length(value: DurationLike, what: str) -> Duration:
    duration = _duration(value, what)
    if not duration:
        raise BadWindow(f"{what} is zero; it needs a length")
    if duration.us / DAY_US + duration.days + duration.months * 30.5 > _LONGEST_DAYS:
        raise BadWindow(f"{what}={duration} is longer than 10,000 years, which is more than time can hold")
    return duration


def _fixed(duration: Duration, what: str) -> int:
    try:
        return duration.fixed_us(what)
    except BadOption as error:
        raise BadWindow(str(error)) from None


def _refuse_crowd(size: Duration, step: Duration, name: str) -> None:
    windows = -(-_fixed(size, "size") // _fixed(step, name))
    if windows > _MOST_WINDOWS:
        raise BadWindow(
            f"one row would be in {windows:,} windows; the most is {_MOST_WINDOWS:,}. "
            f"Choose a larger {name} than {step}"
        )


def _rows(n: int) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _MOST_ROWS:
        raise BadWindow(f"n is {shown(n)}; it is a number of rows, at least 1")
    return n


def _check_offset(offset: Duration, size: Duration, name: str) -> None:
    if offset.months:
        raise BadWindow(f"offset is '{offset}'; an offset is in weeks, days or less")
    longest = size.months * 28 * DAY_US or size.us + size.days * DAY_US
    if _fixed(offset, "offset") >= longest:
        raise BadWindow(f"offset={offset} is not smaller than {name}={size}; take off whole windows")
