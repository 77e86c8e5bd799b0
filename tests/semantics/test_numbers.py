"""Numbers, units and zones."""

from __future__ import annotations

import math
from datetime import datetime

import polars as pl
import pytest

import dataflare_nb as flare

from .helpers import EPOCH, at, told

LARGEST = {pl.Int8: 2**7 - 1, pl.Int16: 2**15 - 1, pl.Int32: 2**31 - 1, pl.Int64: 2**61}
LARGEST |= {pl.UInt8: 2**8 - 1, pl.UInt16: 2**16 - 1, pl.UInt32: 2**32 - 1, pl.UInt64: 2**62}


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64])
def test_integer_sums_widen_to_64_bit(dtype):
    most = LARGEST[dtype]
    frame = at(1, 2, 3, v=[most] * 3).cast({"v": dtype})
    stream = told(frame).window(flare.tumbling("10s")).agg(v=pl.col("v").sum())
    assert stream.schema["v"] == pl.Int64
    assert stream.collect()["v"].to_list() == [3 * most]


@pytest.mark.parametrize("dtype", [pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64])
def test_unsigned_sums_widen_to_64_bit(dtype):
    most = LARGEST[dtype]
    frame = at(1, 2, 3, v=[most] * 3).cast({"v": dtype})
    out = told(frame).window(flare.tumbling("10s")).agg(v=pl.col("v").sum()).collect()
    assert out["v"].to_list() == [3 * most]


def test_integer_sums_widen_when_rows_are_kept_too():
    frame = at(1, 2, 3).with_columns(v=pl.lit(2**31 - 1, pl.Int32))
    stream = told(frame).window(flare.tumbling("10s")).agg(v=pl.col("v").sum(), m=pl.col("v").median())
    assert stream.collect()["v"].to_list() == [3 * (2**31 - 1)]


def test_float_sums_do_not_depend_on_the_batch_cut_beyond_the_last_bits():
    values = [(-1) ** n * 1.1**n for n in range(200)]
    frame = at(*[n / 100 for n in range(200)], v=values)
    wanted = sum(values)
    for cut in (1, 7, 200):
        stream = flare.from_frame(frame).event_time("t", watermark_every=cut).window(flare.tumbling("10s"))
        out = stream.agg(s=pl.col("v").sum(), m=pl.col("v").mean(), sd=pl.col("v").std()).collect()
        assert out["s"].item() == pytest.approx(wanted, rel=1e-12)
        assert out["m"].item() == pytest.approx(wanted / 200, rel=1e-12)
        assert out["sd"].item() == pytest.approx(frame["v"].std(), rel=1e-12)


def test_variance_stays_true_far_from_zero():
    frame = at(*range(100)).with_columns(v=1e9 + pl.int_range(pl.len()) % 10)
    stream = told(frame).window(flare.hopping("100s", every="5s")).agg(sd=pl.col("v").std(), n=pl.len())
    out = stream.collect().filter(pl.col("n") == 100)
    assert out["sd"].item() == pytest.approx(frame["v"].std(), rel=1e-9)


def test_sums_of_nothing_and_of_nulls_are_as_in_polars():
    frame = at(1, 2).with_columns(v=pl.lit(None, pl.Int32), x=pl.lit(None, pl.Float64))
    aggs = {
        "s": pl.col("v").sum(),
        "m": pl.col("v").mean(),
        "lo": pl.col("v").min(),
        "c": pl.col("v").count(),
        "sd": pl.col("x").std(),
        "f": pl.col("v").first(),
        "any": (pl.col("v") > 0).any(),
    }
    out = told(frame).window(flare.tumbling("10s")).agg(**aggs).collect()
    assert out.select(*aggs).row(0) == frame.select(**aggs).row(0)


def test_a_naive_time_is_utc():
    out = told(at(3)).window(flare.tumbling("10s")).agg(n=pl.len()).collect()
    assert out.schema["window_start"] == pl.Datetime("us")
    assert out["window_start"].item() == EPOCH


def test_a_naive_time_is_read_in_the_zone_that_is_said():
    frame = pl.DataFrame({"t": [datetime(2024, 7, 1, 0, 30)]})
    stream = flare.from_frame(frame).event_time("t", time_zone="America/New_York")
    assert stream.schema["t"] == pl.Datetime("us", "America/New_York")
    in_utc = stream.collect()["t"].dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    assert in_utc.item() == datetime(2024, 7, 1, 4, 30)


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_integer_times_become_microseconds(unit, per_second):
    frame = pl.DataFrame({"t": [-3 * per_second, 14 * per_second]})
    stream = flare.from_frame(frame).event_time("t", "1h", unit=unit)
    assert stream.schema["t"] == pl.Datetime("us")
    out = stream.window(flare.tumbling("10s")).agg(n=pl.len()).collect()
    assert out["window_start"].dt.epoch("s").to_list() == [-10, 10]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_event_time_is_microseconds_inside(unit):
    frame = at(1.5).cast({"t": pl.Datetime(unit)})
    assert flare.from_frame(frame).event_time("t").schema["t"] == pl.Datetime("us")


def test_nanoseconds_before_1970_are_rounded_towards_minus_infinity():
    frame = pl.DataFrame({"t": [-1, -1_000, -1_001]})
    out = flare.from_frame(frame).event_time("t", "1s", unit="ns").collect()
    assert out["t"].dt.epoch("us").to_list() == [-1, -1, -2]
    zoned = frame.cast({"t": pl.Datetime("ns")})
    assert flare.from_frame(zoned).event_time("t", "1s").collect()["t"].dt.epoch("us").to_list() == [-1, -1, -2]


def test_a_date_is_midnight():
    frame = pl.DataFrame({"t": [datetime(2024, 5, 1).date()]})
    assert flare.from_frame(frame).event_time("t").collect()["t"].item() == datetime(2024, 5, 1)


def test_each_frame_keeps_the_sign_of_its_zeros():
    both = flare.from_frame(pl.DataFrame({"a": [0.0]})).union(flare.from_frame(pl.DataFrame({"a": [-0.0]})))
    assert sorted((1 / both.collect()["a"]).to_list()) == [-math.inf, math.inf]


@pytest.mark.parametrize("window", [flare.global_window(), flare.tumbling("10s"), flare.session("9s"), flare.count(9)])
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_zeros_of_either_sign_are_one_key_and_so_are_all_nan(window, cut):
    keys = [0.0, -0.0, math.nan, -math.nan, -0.0, 0.0, None]
    frame = pl.DataFrame({"k": keys, "t": range(7)}).with_columns(pl.from_epoch("t"))
    stream = flare.from_frames([frame[:cut], frame[cut:]]).event_time("t").key_by("k")
    out = stream.window(window).agg(n=pl.len()).collect()
    assert sorted(out.select(pl.col("k").cast(pl.String).str.strip_prefix("-"), "n").rows(), key=str) == [
        ("0.0", 4),
        ("NaN", 2),
        (None, 1),
    ]
