"""Rows without a time, keys that are null, and rows that cannot be read."""

from __future__ import annotations

import math

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import MalformedRow, StageFailed, WrongType

from .helpers import at, on, told


@flare.udf
def inverse(x: float) -> float:
    return 1.0 / x


def test_a_null_event_time_goes_to_invalid_with_the_reason():
    stream = flare.from_frame(at(1, None, 3, v=[1, 2, 3])).event_time("t")
    job = flare.run(stream, stream.invalid, workers=1).wait(60)
    assert job.result(stream.ref)["v"].to_list() == [1, 3]
    assert job.result(stream.invalid.ref).select("v", "reason").rows() == [(2, "null event time in `t`")]
    assert job.metrics().filter(stage=stream.ref)["invalid"].item() == 1
    assert job.ledger()["balanced"].all()


def test_a_null_event_time_says_nothing_of_time():
    out = told(at(1, None, 2, None)).window(flare.tumbling("10s")).agg(n=pl.len()).collect()
    assert out["n"].to_list() == [2]


def test_an_hour_that_daylight_saving_skips_is_invalid():
    frame = on("2024-03-31 01:30", "2024-03-31 02:30", "2024-03-31 03:30")
    stream = flare.from_frame(frame).event_time("t", time_zone="Europe/Berlin")
    assert stream.collect().height == 2
    assert stream.invalid.collect()["reason"].to_list() == ["`t` is not a time that exists"]


def test_a_float_is_no_event_time_so_that_it_cannot_be_nan():
    frame = pl.DataFrame({"t": [1.0, math.nan]})
    with pytest.raises(WrongType, match="an integer with unit="):
        flare.from_frame(frame).event_time("t", unit="s")


def test_null_is_a_key_like_any_other():
    frame = at(1, 2, 3, k=["a", None, None], j=[1, 1, None])
    for window in (flare.tumbling("10s"), flare.session("10s"), flare.count(5), flare.hopping("10s", every="10s")):
        out = told(frame).key_by("k").window(window).agg(n=pl.len()).collect()
        assert sorted(out.select("k", "n").rows(), key=repr) == [("a", 1), (None, 2)]
        two = told(frame).key_by("k", "j").window(window).agg(n=pl.len()).collect()
        assert sorted(two.select("k", "j").rows(), key=repr) == [("a", 1), (None, 1), (None, None)]


def test_nan_and_negative_zero_are_keys_as_in_polars():
    frame = at(1, 2, 3, 4, k=[math.nan, math.nan, 0.0, -0.0])
    out = told(frame).key_by("k").window(flare.tumbling("10s")).agg(n=pl.len()).collect()
    assert out["n"].to_list() == [2, 2]


def test_a_row_that_cannot_be_read_fails_the_job_and_says_which(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("id,x\n1,1.5\n2,two\n3,2.5\n")
    stream = flare.read_csv(file, schema={"id": pl.Int64, "x": pl.Float64})
    with pytest.raises(StageFailed, match=r"rows\.csv:3, column `x`") as caught:
        stream.collect()
    assert isinstance(caught.value.__cause__, MalformedRow)


def test_a_row_that_cannot_be_read_goes_to_invalid_when_asked_for(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("id,x\n1,1.5\n2,two\n3,2.5\n")
    stream = flare.read_csv(file, schema={"id": pl.Int64, "x": pl.Float64}, on_error="dead_letter")
    assert stream.collect()["id"].to_list() == [1, 3]
    bad = stream.invalid.collect()
    assert bad.select("line", "column", "raw").rows() == [(3, "x", "2,two")]


def test_a_cast_that_does_not_fit_fails_the_job_and_says_where():
    stream = flare.from_frame(pl.DataFrame({"x": ["1", "two"]})).cast({"x": pl.Int64})
    with pytest.raises(StageFailed, match=r"split frame-0, row 0") as caught:
        stream.collect()
    assert "two" in str(caught.value)


def test_an_error_in_a_guest_fails_the_job_and_names_the_stage():
    stream = flare.from_frame(pl.DataFrame({"x": [1.0, 0.0]})).with_columns(y=inverse("x")).named("inverted")
    with pytest.raises(StageFailed, match="stage inverted failed at split frame-0, row 0"):
        stream.collect()
