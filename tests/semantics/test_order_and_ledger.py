"""The order of rows, results that do not depend on how the work is cut up, and the ledger."""

from __future__ import annotations

import functools

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.runtime.plan import plan

from .helpers import at, live, told

SCHEMA = at(0.0, k=["a"]).schema
MANY = at(*[(n * 7919) % 1_000 + n / 4 for n in range(3_000)], k=[f"k{n % 7}" for n in range(3_000)], v=range(3_000))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_rows_of_one_split_keep_their_order(workers):
    stream = flare.from_frame(MANY).filter(pl.col("v") % 3 > 0).with_columns(w=pl.col("v") * 2)
    out = stream.run(workers=workers, latency="1ms").wait(60).result()
    assert out["v"].to_list() == [n for n in range(3_000) if n % 3]


def test_same_input_gives_the_same_rows_for_any_batch_cut_and_any_number_of_workers():
    frames = list(MANY.head(900).iter_slices(300))
    stream = (
        flare.from_frames(frames)
        .event_time("t", "100s", watermark_every=37)
        .filter(pl.col("v") != 5)
        .key_by("k")
        .window(flare.hopping("30s", every="10s"), allowed_lateness="20s")
        .agg(n=pl.len(), v=pl.col("v").sum())
    )
    wanted = None
    for workers in (1, 2, 3):
        for latency in ("throughput", "1ms"):
            job = flare.run(stream, stream.late, workers=workers, latency=latency).wait(60)
            got = job.result(stream.ref), job.result(stream.late.ref)
            wanted = wanted or got
            assert got[1].height > 0
            testing.assert_same_rows(got[0], wanted[0], f"workers={workers}, latency={latency}")
            testing.assert_same_rows(got[1], wanted[1], f"late, workers={workers}, latency={latency}")


def test_results_come_in_the_same_order_for_any_batch_cut_and_any_number_of_workers():
    frame = MANY.with_columns(k=pl.col("v") % 300)
    for window in (flare.tumbling("200s"), flare.hopping("200s", every="100s"), flare.session("20s"), flare.count(4)):
        stream = flare.from_frame(frame).event_time("t", "99d").key_by("k").window(window).agg(v=pl.col("v").sum())
        first = stream.run(workers=1).wait(60).result()
        assert first.height > 300
        for workers, latency in ((1, "throughput"), (1, "1ms"), (2, "1ms")):
            again = stream.run(workers=workers, latency=latency).wait(60).result()
            testing.assert_same_rows(again, first, str(window), ordered=True)


def test_a_stage_after_a_window_sees_its_results_in_a_fixed_order():
    frame = MANY.with_columns(k=pl.col("v") % 300)
    stream = flare.from_frame(frame).event_time("t", "99d").key_by("k").window(flare.tumbling("100s"))
    chained = stream.agg(v=pl.col("v").sum()).window(flare.tumbling("500s"))
    ordered = chained.agg(first=pl.col("v").first(), keys=pl.col("k").implode())
    first = ordered.collect(workers=1)
    for latency in ("throughput", "1ms"):
        testing.assert_same_rows(ordered.run(workers=2, latency=latency).wait(60).result(), first)


def test_windows_come_in_the_order_of_their_ends():
    for window in (flare.tumbling("50s"), flare.hopping("90s", every="30s"), flare.session("1s")):
        out = told(MANY.head(150)).key_by("k").window(window).agg(n=pl.len()).collect()
        assert out.height > 5
        if window != flare.session("1s"):
            assert out["window_end"].is_sorted()


def test_the_ledger_is_exact_at_the_end():
    stream = (
        flare.from_frame(MANY.with_columns(t=pl.when(pl.col("v") == 9).then(None).otherwise("t")))
        .event_time("t", "50s", watermark_every=100)
        .filter(pl.col("v") % 2 == 0)
        .key_by("k")
        .window(flare.tumbling("10s"), allowed_lateness="10s")
        .agg(n=pl.len())
    )
    job = flare.run(stream, stream.late).wait(60)
    ledger = job.ledger()
    assert ledger["balanced"].all()
    assert ledger.select(pl.col("in_flight", "held").sum()).row(0) == (0, 0)
    windows = ledger.filter(stage=stream.ref).row(0, named=True)
    assert windows["late"] == job.result(stream.late.ref).height > 0
    assert windows["aggregated"] + windows["late"] == windows["in"] == 1_500
    times = ledger.filter(pl.col("stage").str.starts_with("event_time")).row(0, named=True)
    assert (times["in"], times["out"], times["invalid"]) == (3_000, 2_999, 1)


def test_the_ledger_is_exact_while_a_job_runs():
    feed = testing.Feed(SCHEMA)
    window = flare.tumbling("10s")
    stream = feed.stream.event_time("t").key_by("k").window(window, allowed_lateness="5s").agg(n=pl.len())
    with live(stream) as job:
        for number in range(30):
            feed.give(at(number * 3, max(0, number * 3 - 20), k=["a", "b"])).settle()
            ledger = job.ledger()
            assert ledger["balanced"].all(), ledger
            windows = ledger.filter(stage=stream.ref).row(0, named=True)
            assert windows["in"] == 2 * (number + 1)
            assert windows["held"] > 0
            assert windows["in"] == windows["aggregated"] + windows["late"] + windows["held"] + windows["in_flight"]
        assert windows["late"] > 0


@pytest.mark.parametrize(
    "window", [flare.session("4s"), flare.count(3), flare.hopping("9s", every="4s"), flare.global_window()]
)
def test_the_ledger_of_every_window_is_exact_while_a_job_runs(window):
    feed = testing.Feed(SCHEMA)
    stream = feed.stream.event_time("t").key_by("k").window(window).agg(n=pl.len())
    with live(stream) as job:
        for number in range(12):
            feed.give(at(number * 3, max(0, number * 3 - 20), k=["a", "b"])).settle()
            assert job.ledger()["balanced"].all(), job.ledger()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_that_meets_itself_again_and_again_comes_copy_after_copy_and_balances(workers):
    frame = pl.DataFrame({"n": [1, 2, 3]})
    stream = functools.reduce(lambda each, _: each.union(each), range(6), flare.from_frame(frame))
    job = stream.run(workers=workers).wait(60)
    assert job.result()["n"].to_list() == [1, 2, 3] * 64
    assert job.ledger()["balanced"].all()
    counted = stream.key_by("n").window(flare.global_window()).agg(times=pl.len()).collect(workers=workers)
    assert sorted(counted.rows()) == [(1, 64), (2, 64), (3, 64)]


def test_results_of_windows_may_be_doubled_anew():
    def doubled(stream: flare.Stream) -> flare.Stream:
        return functools.reduce(lambda each, _: each.union(each), range(6), stream)

    frame = flare.from_frame(pl.DataFrame({"n": [1, 2, 3]}))
    counted = doubled(frame).window(flare.global_window()).agg(times=pl.len())
    assert counted.edge.ways == 1
    assert doubled(counted).collect()["times"].to_list() == [3 * 64] * 64


@pytest.mark.parametrize("workers", [1, 2])
def test_unions_one_after_the_other_read_as_one(workers, within):
    streams = [flare.from_frame(pl.DataFrame({"n": [n, n]})) for n in range(200)]
    chained = functools.reduce(flare.Stream.union, streams)
    assert len(plan(chained.graph).stages) == 201
    assert "199 unions read as one" in chained.explain()
    with within(5.0):
        job = chained.run(workers=workers).wait(60)
    assert job.result()["n"].to_list() == [n for n in range(200) for _ in range(2)]
    assert job.ledger()["balanced"].all()


def test_a_union_that_others_read_or_that_has_a_name_stays_one():
    one, two, three = (flare.from_frame(pl.DataFrame({"n": [n]})) for n in range(3))
    both = one.union(two)
    all_three = both.union(three)
    large = both.filter(pl.col("n") > 0)
    assert len(plan(all_three.graph).stages) == 4
    assert len(plan(all_three.union(large).graph).stages) == 6
    named = both.named("both")
    assert len(plan(named.union(three).graph).stages) == 5
    ticks = flare.rate(10.0).select(n=pl.col("value"))
    assert len(plan(both.union(ticks).graph).stages) == 6
    assert len(plan(ticks.union(one).union(two).graph).stages) == 5
    job = flare.run(named, all_three).wait(60)
    assert job.result("both")["n"].to_list() == [0, 1]
    assert job.result(all_three.ref)["n"].to_list() == [0, 1, 2]
