"""Graphs of every shape come to an end and give the same rows every time."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_nb as flare

FRAME = pl.DataFrame({"n": range(400_000)}).with_columns(ts=pl.col("n").cast(pl.Datetime("us")))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("latency", ["throughput", "1ms"])
def test_a_diamond_ends_and_its_order_does_not_depend_on_the_workers(workers, latency):
    base = flare.from_frame(FRAME)
    few = base.filter(pl.col("n") % 1_000 == 0).with_columns(way=pl.lit("few"))
    many = base.with_columns(way=pl.lit("many"))
    first = few.union(many).run(workers=1).wait(60).result()
    assert first.height == 400_400
    assert_frame_equal(few.union(many).run(workers=workers, latency=latency).wait(60).result(), first)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_branch_that_swells_does_not_block_the_other(workers):
    base = flare.from_frame(FRAME.head(20_000))
    swollen = base.select(pl.col("n").repeat_by(50).alias("n")).explode("n")
    thin = base.select("n").filter(pl.col("n") < 5)
    for stream in (thin.union(swollen), swollen.union(thin)):
        assert stream.run(workers=workers, latency="1ms").wait(60).result().height == 20_000 * 50 + 5


def test_count_windows_over_a_union_are_the_same_for_any_workers():
    def windows(workers: int) -> pl.DataFrame:
        one = flare.from_frame(FRAME.head(150_000))
        two = flare.from_frame(FRAME.slice(150_000, 180_000))
        counted = one.union(two).window(flare.count(1_000)).agg(first=pl.col("n").first(), total=pl.col("n").sum())
        return counted.collect(workers=workers)

    expected = windows(1)
    assert expected["total"].sum() == FRAME["n"].head(330_000).sum()
    for workers in (2, 3, 4):
        assert_frame_equal(windows(workers), expected)


def test_windows_over_a_union_of_two_times_wait_for_both():
    early = flare.from_frame(FRAME.head(1_000)).event_time("ts")
    late = flare.from_frame(FRAME.slice(200_000, 1_000)).event_time("ts")
    stream = early.union(late).window(flare.tumbling("100ms")).agg(n=pl.len())
    assert stream.collect()["n"].to_list() == [1_000, 1_000]


def test_windows_over_windows():
    hourly = flare.from_frame(FRAME).event_time("ts").window(flare.tumbling("10ms")).agg(n=pl.len())
    twice = hourly.window(flare.tumbling("100ms")).agg(n=pl.col("n").sum(), windows=pl.len())
    assert twice.collect().select("n", "windows").rows() == [(100_000, 10)] * 4


def test_a_side_output_can_be_an_output_of_its_own():
    frame = FRAME.head(10).with_columns(ts=pl.when(pl.col("n") == 3).then(None).otherwise("ts"))
    timed = flare.from_frame(frame).event_time("ts").named("timed")
    job = flare.run(timed, timed.invalid).wait(60)
    assert job.result("timed")["n"].to_list() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert job.result("timed.invalid")["n"].to_list() == [3]


def test_an_empty_stream_ends_and_has_its_schema():
    empty = FRAME.clear()
    out = flare.from_frame(empty).event_time("ts").window(flare.tumbling("1s")).agg(n=pl.len()).collect()
    assert out.height == 0
    assert out.columns == ["window_start", "window_end", "n"]


def test_a_file_that_has_changed_since_the_stream_was_built_is_refused(tmp_path):
    file = tmp_path / "c.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(file)
    stream = flare.read_parquet(file)
    pl.DataFrame({"z": ["q"]}).write_parquet(file)
    with pytest.raises(flare.errors.SourceError, match="column `a` is missing, column `z` is new"):
        stream.collect()
