"""Windows and durations are values, and know what cannot be."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb import windows
from dataflare_nb.errors import BadOption, BadWindow
from dataflare_nb.windows import Duration

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "us", "days", "months"),
    [
        ("5s", 5_000_000, 0, 0),
        ("1h30m", 5_400_000_000, 0, 0),
        ("10us", 10, 0, 0),
        ("7ms", 7_000, 0, 0),
        ("1d", 0, 1, 0),
        ("2w3d", 0, 17, 0),
        ("1mo", 0, 0, 1),
        ("1q", 0, 0, 3),
        ("2y", 0, 0, 24),
        ("1d12h", 12 * HOUR, 1, 0),
        ("0s", 0, 0, 0),
    ],
)
def test_a_duration_is_read_as_polars_reads_it(text: str, us: int, days: int, months: int) -> None:
    read = Duration.of(text)
    assert (read.us, read.days, read.months) == (us, days, months)
    if read and not months:
        start = pl.Series([0]).cast(pl.Datetime("us"))
        assert start.dt.offset_by(text).to_physical().item() == read.fixed_us("it")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=40_000)))
def test_a_timedelta_is_read_to_the_microsecond(value: timedelta) -> None:
    read = Duration.of(value)
    assert timedelta(microseconds=read.fixed_us("it")) == value
    assert Duration.of(read.text) == read


def test_a_window_is_shown_as_it_was_asked_for() -> None:
    assert repr(windows.tumbling("1d", offset="5h")) == "tumbling(1d, offset=5h)"
    assert repr(windows.after_count(3)) == "after_count(3)"
    assert repr(Duration.of("90s")) == "Duration('90s')"


def test_a_duration_is_itself() -> None:
    assert Duration.of(Duration.of("5s")) == Duration.of("5s")
    assert not Duration.of("0s")
    assert Duration.of("0m") == Duration.of("0")
    assert str(Duration.of_us(HOUR)) == "1h"


@pytest.mark.parametrize(
    "value", ["", "5", "s", "5 s", "five", "-5s", "5s ", "1.5h", "1mo1d", 5, None, b"5s", timedelta(-1)]
)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(BadOption, match=r"^the gap is "):
        Duration.of(value, "the gap")


def test_a_duration_beyond_event_time_is_refused() -> None:
    for value in ("99999999999999h", timedelta.max, "99999999y"):
        with pytest.raises(BadOption, match="longer than event time can count"):
            Duration.of(value)


@given(st.text(alphabet="0123456789usmhdwqyo -", max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with contextlib.suppress(BadOption):
        assert Duration.of(text).us >= 0


SPECS = [
    windows.tumbling("1h"),
    windows.tumbling("1mo", offset="5d"),
    windows.tumbling(timedelta(hours=1), offset=timedelta(minutes=1)),
    windows.hopping("1h", "5m"),
    windows.hopping("1d", every="6h", offset="1h"),
    windows.cumulative("1d", "1h"),
    windows.session("30m"),
    windows.count(3),
    windows.global_window(),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_window_goes_to_json_and_back(spec: windows.WindowSpec) -> None:
    back = msgspec.json.decode(msgspec.json.encode(spec), type=windows.WindowSpec)
    assert back == spec
    assert hash(back) == hash(spec)
    windows.recheck(back, windows.every("1s"))


def test_a_window_reads_as_it_is_written() -> None:
    assert [str(spec) for spec in SPECS] == [
        "tumbling(1h)",
        "tumbling(1mo, offset=5d)",
        "tumbling(1h, offset=1m)",
        "hopping(1h, every=5m)",
        "hopping(1d, every=6h, offset=1h)",
        "cumulative(1d, step=1h)",
        "session(30m)",
        "count(3)",
        "global_window()",
    ]
    assert str(windows.after_count(5)) == "after_count(5)"


@pytest.mark.parametrize(
    "make",
    [
        lambda: windows.hopping("1h", every="61m"),
        lambda: windows.hopping("1h", every="5m", offset="5m"),
        lambda: windows.hopping("1mo", every="1d"),
        lambda: windows.tumbling("1mo", offset="1mo"),
        lambda: windows.tumbling("1mo", offset="28d"),
        lambda: windows.tumbling("1d", offset="24h"),
        lambda: windows.cumulative("1h", step="25m"),
        lambda: windows.cumulative("1h", step="2h"),
        lambda: windows.session("1mo"),
        lambda: windows.session(timedelta(0)),
        lambda: windows.count(-1),
        lambda: windows.count(True),
        lambda: windows.count(2.0),
        lambda: windows.every("0s"),
        lambda: windows.every("1y"),
        lambda: windows.after_count(0),
        lambda: windows.recheck(windows.Tumbling(Duration("1h"))),
        lambda: windows.recheck(windows.Count(0)),
        lambda: windows.recheck(windows.Global(), windows.AfterCount(0)),
    ],
)
def test_a_window_that_cannot_be_is_refused(make: Any) -> None:
    with pytest.raises(BadWindow):
        make()


def test_every_as_long_as_size_is_a_tumbling_window() -> None:
    assert windows.hopping("1h", every="60m").every.us == HOUR
    assert windows.pane_us(6, 4) == 2


@pytest.mark.parametrize("make", [windows.hopping, windows.cumulative])
def test_windows_by_the_million_are_refused(make: Any) -> None:
    with pytest.raises(BadWindow, match="one row would be in 86,400,000,000 windows"):
        make("1d", "1us")
    make("1d", "1s")


@pytest.mark.parametrize("size", ["50000000d", "140000y"])
def test_windows_longer_than_time_are_refused(size: str) -> None:
    with pytest.raises(BadWindow, match=f"size={size} is longer than 10,000 years"):
        windows.tumbling(size)
