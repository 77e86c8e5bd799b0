"""The numbers of a job add up, while it runs and when it has ended."""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timedelta

import polars as pl
import pytest

import dataflare_nb as flare

START = datetime(2026, 1, 1)


def events(rows: int = 50_000) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts": [START + timedelta(milliseconds=i) for i in range(rows)],
            "key": [i % 5 for i in range(rows)],
            "value": range(rows),
        }
    )


@pytest.fixture
def job():
    frame = events().with_columns(ts=pl.when(pl.col("value") % 1_000 == 7).then(None).otherwise("ts"))
    stream = (
        flare.from_frame(frame)
        .filter(pl.col("value") % 2 == 1)
        .event_time("ts", watermark_every=5_000)
        .key_by("key")
        .window(flare.tumbling("10s"))
        .agg(n=pl.len())
        .named("windows")
    )
    yield stream.run(latency="5ms")
    flare.stop_all()


@pytest.mark.slow
def test_the_ledger_balances_at_any_moment_and_at_the_end(job):
    looked = 0
    while job.status == "running":
        ledger = job.ledger()
        assert ledger["balanced"].all(), ledger
        looked += 1
    job.wait()
    ledger = job.ledger()
    assert ledger["balanced"].all()
    assert ledger["in_flight"].sum() == 0
    assert ledger["held"].sum() == 0
    assert ledger["invalid"].sum() == 50
    sides = ledger.select(
        left=pl.col("in") + pl.col("created"),
        right=pl.sum_horizontal("out", "filtered", "aggregated", "late", "invalid", "in_flight", "held"),
    )
    assert sides["left"].to_list() == sides["right"].to_list()
    windows = ledger.row(by_predicate=pl.col("stage") == "windows", named=True)
    assert windows["aggregated"] == 25_000 - 50
    assert job.result()["n"].sum() == windows["aggregated"]


def test_rows_out_of_a_stage_are_the_rows_in_of_the_next(job):
    nodes = list(job.wait().read().nodes.values())
    for sender, receiver in itertools.pairwise(nodes):
        assert sender.rows_out == receiver.rows_in
        assert sender.bytes_out == receiver.bytes_in


def test_shares_of_time_sum_to_one(job):
    job.wait()
    frame = job.metrics()
    for row in frame.iter_rows(named=True):
        assert row["busy"] + row["idle"] + row["backpressured"] == pytest.approx(1.0)
        assert row["busy"] > 0


def test_metrics_say_latency_queue_batch_and_watermark(job):
    row = job.wait().metrics().row(by_predicate=pl.col("stage") == "windows", named=True)
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["queue_fill"] == 0.0
    assert row["batch_rows"] > 0
    assert row["watermark"] is None  # the end of time is no time
    assert row["rows_per_s"] > 0


def test_a_slow_stage_is_busy_and_what_is_before_it_is_backpressured():
    def slow(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            time.sleep(0.02)
        return frame

    job = (
        flare.from_frame(events(200_000))
        .with_columns(double=pl.col("value") * 2)
        .named("quick")
        .map_batches(slow)
        .named("slow")
        .run(latency="1ms", workers=3)
    )
    # Counted from the start, so what the start took counts less and less.
    deadline = time.monotonic() + 30
    while True:
        nodes = job.read().nodes
        first = next(iter(nodes.values()))
        if nodes["slow"].busy > 0.8 and nodes["quick"].backpressured > 0.6 and first.backpressured > 0.6:
            break
        assert time.monotonic() < deadline, nodes
        time.sleep(0.1)
    job.stop()


@pytest.mark.slow
def test_batches_adapt_to_the_latency_asked_for():
    def slow(frame: pl.DataFrame) -> pl.DataFrame:
        time.sleep(frame.height / 50_000)
        return frame

    stream = flare.from_frame(events(400_000)).map_batches(slow, schema=events(1).schema).named("slow")
    # 50,000 rows a second and at most 5 batches under way: 20 ms are about 200 rows a batch, half a second some 5,000.
    for latency, fewest, most in (("20ms", 1, 600), ("500ms", 2_000, 20_000)):
        job = stream.run(latency=latency)
        deadline = time.monotonic() + 30
        while not fewest <= job.read().nodes["slow"].batch_rows <= most:
            assert time.monotonic() < deadline, (latency, job.read())
            time.sleep(0.05)
        job.stop()
        assert job.read().batch_rows <= most


def test_throughput_mode_takes_large_batches():
    job = flare.from_frame(pl.DataFrame({"n": range(3_000_000)})).select("n").run().wait(60)
    assert job.read().batch_rows > 100_000
    assert job.read().nodes[next(iter(job.read().nodes))].batches_out < 20


def test_progress_of_bounded_input_is_known():
    job = flare.from_frame(events(1_000)).run().wait(60)
    assert job.read().progress == 1.0


def test_the_watermark_and_its_lag_are_shown_while_a_job_waits():
    job = flare.rate(1_000).event_time("timestamp", "2s").window(flare.tumbling("1h")).agg(n=pl.len()).named("w").run()
    deadline = time.monotonic() + 30
    while job.read().nodes["w"].watermark is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # A row is counted before the watermark that follows it has come down, so the lag is read once all has arrived.
    job.pause()
    while job.read().nodes["w"].lag_us != 2_000_000:
        assert time.monotonic() < deadline, job.read().nodes["w"]
        time.sleep(0.01)
    assert job.metrics().filter(stage="w")["lag_ms"].item() == 2_000.0
    report = job.explain_window(at=datetime.now())
    job.stop()
    assert report.stage == "w"


def test_a_window_that_waits_is_explained():
    job = (
        flare.rate(1_000)
        .with_columns(key=pl.lit("JFK"))
        .event_time("timestamp", "2s")
        .key_by("key")
        .window(flare.tumbling("1h"))
        .agg(n=pl.len())
        .named("hourly")
        .run()
    )
    deadline = time.monotonic() + 30
    while not job.read().nodes["hourly"].held or job.read().nodes["hourly"].watermark is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    report = job.explain_window(key="JFK")
    assert report.open.height >= 1
    assert report.open["rows"].sum() > 0
    assert "fires when the watermark has moved on by" in repr(report)
    assert job.explain_window(key="LGA").open.height == 0
    assert "nothing is known of it" in repr(job.explain_window(key="LGA"))
    with pytest.raises(flare.errors.WrongType, match="not a time"):
        job.explain_window(at="yesterday")
    job.stop()
