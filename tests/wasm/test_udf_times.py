"""Dates and times in compiled functions: Python's naive ones, with microseconds, in years 1 to 9999."""

from __future__ import annotations

import datetime as dt
import itertools
from datetime import date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.errors import UdfError, WasmConfiguration, WrongType
from dataflare_nb.wasm import Udf, UdfFailed, udf

from .programs import compiled
from .python_side import compare

OPENING = datetime(2013, 1, 5, 9)
DAY = dt.timedelta(days=1)


@udf
def fields(t: datetime) -> tuple[int, int, int, int, int, int, int]:
    return t.year, t.month, t.day, t.hour, t.minute, t.second, t.microsecond


@udf
def days(t: datetime) -> tuple[int, int, int, date, time]:
    return t.weekday(), t.isoweekday(), t.toordinal(), t.date(), t.time()


@udf
def iso(d: date) -> tuple[int, int, int]:
    year, week, weekday = d.isocalendar()
    return year, week, weekday + d.isocalendar().week * 0


@udf
def parts_of_a_day(t: time) -> tuple[int, int, int, int, bool]:
    return t.hour, t.minute, t.second, t.microsecond, bool(t)


@udf
def parts_of_a_span(d: timedelta) -> tuple[int, int, int, float, bool]:
    return d.days, d.seconds, d.microseconds, d.total_seconds(), bool(d)


@udf
def between(a: datetime, b: datetime) -> timedelta:
    return a - b


@udf
def days_between(a: date, b: date) -> timedelta:
    return a - b


@udf
def later(t: datetime, d: timedelta) -> datetime:
    return t + d


@udf
def earlier(t: datetime, d: timedelta) -> datetime:
    return t - d


@udf
def day_later(t: date, d: timedelta) -> date:
    return d + t


@udf
def day_earlier(t: date, d: timedelta) -> date:
    return t - d


@udf
def spans(a: timedelta, b: timedelta) -> tuple[timedelta, timedelta, timedelta, timedelta]:
    return a + b, a - b, -a, abs(b)


@udf
def ratios(a: timedelta, b: timedelta) -> tuple[float, int, timedelta]:
    return a / b, a // b, a % b


@udf
def scaled(a: timedelta, n: int) -> tuple[timedelta, timedelta]:
    return a * n, n * a


@udf
def shared(a: timedelta, n: int) -> tuple[timedelta, timedelta]:
    return a // n, a / n


@udf
def compared(a: datetime, b: datetime) -> tuple[bool, bool, bool]:
    return a < b, a >= b > OPENING, a == b


@udf
def extremes(a: datetime, b: datetime) -> tuple[datetime, datetime]:
    return min(a, b, OPENING), max(a, b)


@udf
def on_holidays(d: date) -> bool:
    return d in (date(2000, 2, 29), date(1970, 1, 1)) or d == date.max


@udf
def hour_begun(t: datetime) -> datetime:
    return t.replace(minute=0, second=0, microsecond=0)


@udf
def month_begun(d: date) -> date:
    return d.replace(day=1)


@udf
def made(y: int, m: int) -> date:
    return date(2000 + y % 9, m, 29)


@udf
def made_with_clock(n: int, m: int) -> datetime:
    return datetime(2001, 2, 28, n, minute=m)


@udf
def made_clock(n: int, m: int) -> time:
    return time(n, m, second=m)


@udf
def joined(d: date, t: time) -> datetime:
    return datetime.combine(d, t)


@udf
def span_of(n: int, m: int) -> timedelta:
    return timedelta(days=n, minutes=m) + timedelta(hours=1.5) + DAY


@udf
def maybe(t: datetime | None, d: date | None) -> date | None:
    if t is not None:
        return t.date()
    return d


@udf
def day_of_year(d: date) -> int:
    return (d - date(d.year, 1, 1)).days + 1


@udf
def seconds_since(t: datetime) -> float:
    return (t - dt.datetime(1970, 1, 1)).total_seconds()


FUNCTIONS = {name: found for name, found in globals().items() if isinstance(found, Udf)}
VALUES = {
    "datetime": [
        datetime.min,
        datetime.max,
        datetime(1970, 1, 1),
        datetime(1969, 12, 31, 23, 59, 59, 999999),
        datetime(2000, 2, 29, 12),
        datetime(1900, 3, 1),
        datetime(2024, 12, 31, 23, 59, 59),
        OPENING,
        None,
    ],
    "date": [date.min, date.max, date(1970, 1, 1), date(2000, 2, 29), date(2005, 1, 1), date(2008, 12, 29), None],
    "time": [time.min, time.max, time(12, 30, 15, 7), None],
    "timedelta": [
        timedelta(0),
        timedelta(1),
        timedelta(-1),
        timedelta(microseconds=1),
        timedelta(microseconds=-1),
        timedelta(days=-3, seconds=7, microseconds=999999),
        timedelta(3_650_000),
        timedelta(100_000_000),
        None,
    ],
    "int": [0, 1, -1, 2, 3, -7, 12, 23, 24, 59, 60, 10**12, None],
}
STRATEGIES = {
    "datetime": st.datetimes(),
    "date": st.dates(),
    "time": st.times(),
    "timedelta": st.timedeltas(timedelta(-3_000_000), timedelta(3_000_000)),
    "int": st.integers(-100, 100),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_special_times_come_out_as_in_cpython(function: Udf):
    compare(function, itertools.product(*(VALUES[slot.type] for slot in function.params)))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_times_come_out_as_in_cpython(function: Udf, data: st.DataObject):
    row = st.tuples(*(STRATEGIES[slot.type] for slot in function.params))
    compare(function, data.draw(st.lists(row, min_size=1, max_size=30)))


def test_every_day_of_four_centuries_has_its_date():
    first, count = date(1899, 12, 31), 146_200
    column = pl.Series("d", [first + DAY * n for n in range(count)])
    out = iso.call([column]).struct.unnest()
    assert out["iso_0"].equals(column.dt.iso_year().cast(pl.Int64), check_names=False)
    assert out["iso_1"].equals(column.dt.week().cast(pl.Int64), check_names=False)
    assert month_begun.call([column]).equals(column.dt.month_start(), check_names=False)


def test_results_have_the_types_of_polars():
    assert later.dtype == pl.Datetime("us")
    assert month_begun.dtype == pl.Date()
    assert span_of.dtype == pl.Duration("us")
    assert made_clock.dtype == pl.Time()
    frame = pl.DataFrame({"t": [OPENING, None]})
    stream = flare.from_frame(frame).with_columns(hour=hour_begun("t"), day=days("t"))
    assert stream.schema == stream.collect().schema


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_columns_of_any_unit_are_read_as_python_reads_them(unit: str):
    whole = pl.Series("t", [0, 1, -1, 1_999, -1_999, 1_357_398_000_123], dtype=pl.Int64)
    times = whole.cast(pl.Datetime(unit))  # type: ignore[arg-type]
    assert later.call([times, pl.Series([timedelta(0)] * 6)]).to_list() == times.to_list()
    lengths = whole.cast(pl.Duration(unit))  # type: ignore[arg-type]
    assert spans.call([lengths, lengths]).struct.field("spans_2").to_list() == [-x for x in lengths.to_list()]


def test_a_column_in_utc_is_read_as_it_stands_and_others_are_refused():
    column = pl.Series("t", [OPENING]).dt.replace_time_zone("UTC")
    assert fields.call([column]).struct.field("fields_3").to_list() == [9]
    berlin = column.dt.convert_time_zone("Europe/Berlin")
    with pytest.raises(WasmConfiguration, match=r"convert_time_zone\('UTC'\) keeps the instant, .* keeps the hours"):
        fields.call([berlin])
    with pytest.raises(WrongType, match=r"passes `t`, a Datetime.*Berlin.* as `t: datetime`.*; a datetime is UTC"):
        flare.from_frame(berlin.to_frame()).with_columns(fields("t"))


def test_a_date_that_python_has_not_fails_its_row():
    column = pl.Series("t", [0, 10**18], dtype=pl.Int64).cast(pl.Datetime("us"))
    with pytest.raises(UdfFailed, match="OverflowError: date value out of range at row 1 of the batch") as caught:
        hour_begun.call([column])
    assert "`def hour_begun(t: datetime) -> datetime:`" in str(caught.value)
    maybe_far = pl.Series("d", [None, 10_000_000], dtype=pl.Int32).cast(pl.Date)
    with pytest.raises(UdfFailed, match="at row 1"):
        maybe.call([pl.Series("t", [None, None], dtype=pl.Datetime("us")), maybe_far])


def test_a_span_of_more_than_64_bits_overflows():
    with pytest.raises(UdfFailed, match="OverflowError: the result does not fit into 64 bits"):
        scaled.call([pl.Series([timedelta(100_000_000)]), pl.Series([1_000])])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "return t.timestamp()",
            "it depends on the zone of the machine; write (t - datetime(1970, 1, 1)).total_seconds()",
        ),
        ("return float(t.timetuple().tm_yday)", "the day of the year is (d - date(d.year, 1, 1)).days + 1"),
        ("return t.strftime('%Y')", "use Polars: pl.col(...).dt.strftime(...)"),
        ("return t.isoformat()", "use Polars: pl.col(...).dt.strftime(...)"),
        ("return t.astimezone().hour", "a datetime has no zone here"),
        ("return t.century", "a datetime has no attribute `century` here"),
        ("return t.dst()", "a datetime has no method `dst` here"),
        ("return t + 1", "`+` takes numbers, not a datetime and an int"),
        ("return t + t", "`+` takes numbers, not a datetime and a datetime"),
        ("return t < d", "a datetime and a date cannot be compared; convert one of them"),
        ("return t < 3", "a datetime and an int cannot be compared"),
        ("return float(t)", "`float` takes a number here, not a datetime"),
        ("return (s * 1.5).total_seconds()", "`*` takes numbers, not a timedelta and a float"),
        ("return timedelta(hours=x).total_seconds()", "timedelta takes ints here, as Python rounds each float"),
        (
            "return datetime.now().hour",
            "`datetime.now` cannot be called from compiled code; a compiled",
        ),
        ("return date.today().year", "a compiled function has no clock; add a column with the time"),
        ("return datetime.fromtimestamp(x).hour", "write datetime(1970, 1, 1) + timedelta(seconds=n)"),
        ("return date(2001, 2, 29).year", "this can never be computed: day is out of range for month"),
        ("return date(x, 2, 28).year", "`year` is a float and must be an int"),
        ("return ZONED.hour", "`ZONED` is datetime; a compiled function sees numbers, dates, texts"),
        ("return t", "this is a datetime and must be a float"),
        ("return x if t else 0.0 if d - d in (s, s) else 1.0", "`in` looks into constants"),
        ("return -t", "`-` takes a number, not a datetime"),
        ("return max(t, d).hour", "a datetime and a date do not mix"),
        ("return t.replace(tzinfo=None).hour", "`t.replace` takes year, month, day, hour, minute, second, microsecond"),
    ],
)
def test_what_has_no_meaning_here_is_refused(body: str, said: str):
    text = f"def bad(t: datetime, d: date, s: timedelta, x: float) -> float:\n    {body}\n"
    scope = {"datetime": datetime, "date": date, "timedelta": timedelta, "ZONED": datetime(2000, 1, 1, tzinfo=dt.UTC)}
    with pytest.raises(UdfError) as caught:
        compiled(text, "bad", scope)
    assert said in str(caught.value)
