"""A job: what it says of itself and how it ends."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_nb as flare
from dataflare_nb.errors import BadOption, JobTimeout, StageFailed, UnknownStage

ROWS = pl.DataFrame({"n": range(1_000), "word": [f"w{i % 7}" for i in range(1_000)]})


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("dataflare:")}


def gone(seconds: float = 30.0) -> bool:
    """Wait until no thread of a job is left."""
    deadline = time.monotonic() + seconds
    while threads() and time.monotonic() < deadline:
        time.sleep(0.005)
    return not threads()


def slowly(seconds: float):
    def wait(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            time.sleep(seconds)
        return frame

    return wait


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()
    assert gone()


def test_run_returns_at_once_and_wait_gives_the_result(within):
    gate = threading.Event()

    def held(frame: pl.DataFrame) -> pl.DataFrame:
        assert not frame.height or gate.wait(30)
        return frame

    with within(0.25):
        job = flare.from_frame(ROWS).map_batches(held).run(name="slow")
    assert job.status == "running"
    gate.set()
    assert_frame_equal(job.wait(60).result(), ROWS)
    assert job.status == "finished"


def test_the_first_result_of_a_small_stream_is_there_in_half_a_second(within):
    flare.from_frame(ROWS).filter(pl.col("n") > 1).collect()
    deadline = time.monotonic() + 30
    with within(0.5):
        job = flare.from_frame(ROWS).filter(pl.col("n") > 2).run()
        while not job.result().height:
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_number_of_workers_keeps_the_order(workers):
    frame = pl.DataFrame({"n": range(100_000)})
    stream = flare.from_frame(frame).with_columns(m=pl.col("n") * 2).filter(pl.col("n") % 3 == 0).select("m")
    expected = frame.filter(pl.col("n") % 3 == 0).select(m=pl.col("n") * 2)
    for _ in range(3):
        assert_frame_equal(stream.run(latency="1ms", workers=workers).wait(60).result(), expected)


def test_large_batches_keep_their_order():
    frame = pl.DataFrame({"n": range(3_000_000)})
    stream = flare.from_frame(frame).filter(pl.col("n") % 3 > 0).with_columns(m=pl.col("n") // 7)
    expected = frame.filter(pl.col("n") % 3 > 0).with_columns(m=pl.col("n") // 7)
    assert_frame_equal(stream.collect(workers=2), expected)


def test_a_stateless_stage_works_on_several_batches_at_once():
    together = threading.Barrier(2, timeout=10)

    def meet(value: pl.Series) -> pl.Series:
        if len(value) > 1:
            together.wait()
        return value

    frame = pl.DataFrame({"n": range(100_000)})
    job = flare.from_frames([frame.head(50_000), frame.tail(50_000)])
    job = job.with_columns(pl.col("n").map_batches(meet, return_dtype=pl.Int64)).run(workers=2).wait(60)
    assert job.result()["n"].sum() == frame["n"].sum()


def test_a_stage_that_raises_fails_the_job_and_names_stage_batch_and_cause():
    def broken(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            raise ZeroDivisionError("no luck")
        return frame

    job = flare.from_frame(ROWS).map_batches(broken).named("unlucky").run()
    told = "stage unlucky failed at split frame-0, row 0, a batch of 1000 rows"
    with pytest.raises(StageFailed, match=told) as caught:
        job.wait(60)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.stage == "unlucky"
    assert job.status == "failed"
    assert gone()


def test_a_failed_job_leaves_nothing_in_its_file(tmp_path):
    def broken(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height and frame["n"].max() > 150_000:
            raise ValueError("too far")
        return frame

    frame = pl.DataFrame({"n": range(200_000)})
    stream = flare.from_frame(frame).map_batches(broken).write_parquet(tmp_path / "out.parquet")
    job = stream.run(latency="1ms")
    with pytest.raises(StageFailed, match="too far"):
        job.wait(60)
    assert list(tmp_path.iterdir()) == []


def test_jobs_that_ended_long_ago_are_forgotten_with_their_results_and_those_that_run_are_not():
    flare.rate(10).run(name="live")
    stream = flare.from_frame(ROWS)
    held = stream.run(name="job_0").wait(60)
    forgotten = weakref.ref(stream.run(name="job_1").wait(60))
    for number in range(2, 34):
        stream.run(name=f"job_{number}").wait(60)
    stream.run(name="job_2").wait(60)
    stream.run(name="another").wait(60)
    assert list(flare.jobs()) == ["live", *(f"job_{number}" for number in range(3, 34)), "job_2", "another"]
    with pytest.raises(UnknownStage, match="no job is called `job_0`"):
        flare.job("job_0")
    assert held.result().height == ROWS.height
    gc.collect()
    assert forgotten() is None


def test_running_a_name_again_replaces_its_job_twenty_times():
    job = flare.rate(1_000).run(name="again")
    first, deadline = len(threads()), time.monotonic() + 60
    for _ in range(20):
        job = flare.rate(1_000).run(name="again")
        while len(threads()) != first:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert list(flare.jobs()) == ["again"]
    assert flare.job("again") is job
    job.stop()
    assert job.status == "stopped"


def test_the_name_of_a_job_is_by_default_that_of_its_output():
    stream = flare.rate(10).filter(pl.col("value") > 1)
    first = stream.run()
    second = stream.run()
    assert first.name == second.name
    assert first.status == "stopped"


def test_stop_ends_a_live_job_in_less_than_a_second(within):
    job = flare.rate(100_000).with_columns(double=pl.col("value") * 2).run()
    while job.result().height < 1_000:
        time.sleep(0.01)
    with within(1.0):
        job.stop()
        assert gone()
    assert job.status == "stopped"
    job.stop()


def test_stop_ends_python_that_never_returns(within):
    started = threading.Event()

    def forever(frame: pl.DataFrame) -> pl.DataFrame:
        while frame.height:
            started.set()
        return frame

    job = flare.from_frame(ROWS).map_batches(forever).run()
    assert started.wait(30)
    with within(1.0):
        job.stop()
        assert gone()


def test_stop_ends_a_looping_guest(within):
    @flare.udf(max_execution_time="60s")
    def forever(n: int) -> int:
        while n >= 0:
            n = n + 1 - 1
        return n

    job = flare.from_frame(ROWS).with_columns(m=forever("n")).run()
    time.sleep(0.2)
    with within(1.0):
        job.stop()
        assert gone()
    assert job.status == "stopped"


def test_drain_fires_open_windows_and_keeps_what_was_read(tmp_path):
    job = (
        flare.rate(10_000)
        .event_time("timestamp")
        .window(flare.tumbling("1h"))
        .agg(rows=pl.len())
        .write_parquet(tmp_path / "windows")
        .run()
    )
    deadline = time.monotonic() + 30
    while job.read().nodes[next(iter(job.read().nodes))].rows_out < 100:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    job.drain(60)
    assert job.status == "finished"
    read = next(node for node in job.read().nodes.values() if node.kind == "source").rows_out
    assert pl.read_parquet(tmp_path / "windows")["rows"].sum() == read


def test_pause_and_resume():
    job = flare.rate(50_000).run()
    while not job.result().height:
        time.sleep(0.005)
    job.pause()
    assert job.status == "paused"
    # What was under way has come through once the newest row is that of the source, twice in a row.
    deadline, settled = time.monotonic() + 30, 0
    while settled < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        read = next(iter(job.read().nodes.values())).rows_out
        settled = settled + 1 if job.result().height == read else 0
    before = job.result().height
    time.sleep(0.2)
    assert job.result().height == before
    job.resume()
    assert job.status == "running"
    deadline = time.monotonic() + 30
    while job.result().height == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_wait_gives_up_in_time():
    job = flare.rate(10).run()
    with pytest.raises(JobTimeout, match="still running"):
        job.wait(0.05)


def test_peek_shows_the_newest_rows_of_a_stage():
    job = flare.from_frame(ROWS).filter(pl.col("n") < 900).named("low").select("word").run().wait(60)
    assert job.peek("low", 3)["n"].to_list() == [897, 898, 899]
    assert job.peek().columns == ["word"]
    with pytest.raises(UnknownStage, match="Did you mean `low`"):
        job.peek("lov")


def test_several_outputs_are_one_job_and_share_their_work(tmp_path):
    calls = []

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        calls.append(frame.height)
        return frame

    base = flare.from_frame(ROWS).map_batches(counted, schema=ROWS.schema)
    low = base.filter(pl.col("n") < 10).named("low")
    high = base.filter(pl.col("n") >= 10).write_parquet(tmp_path / "high.parquet")
    job = flare.run(low, high, name="both").wait(60)
    assert sum(calls) == 1_000
    assert job.result()["n"].to_list() == list(range(10))
    assert pl.read_parquet(tmp_path / "high.parquet").height == 990
    with pytest.raises(BadOption, match="writes all its outputs"):
        flare.run(high.graph and flare.from_frame(ROWS).write_parquet(tmp_path / "x.parquet")).wait(60).result()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0"),
        ({"name": "no spaces"}, "letters, digits"),
        ({"latency": "soon"}, "latency is 'soon'"),
        ({"commit_every": "0s"}, "commit_every"),
    ],
)
def test_options_of_run_are_checked(options, message):
    with pytest.raises(flare.DataflareError, match=message):
        flare.rate(1).run(**options)


def test_results_are_told_apart_however_stages_are_called():
    timed = flare.from_frame(pl.DataFrame({"t": [datetime(2024, 1, 1)]})).event_time("t")
    x = timed.window(flare.tumbling("1h")).agg(n=pl.len()).named("x")
    long = ["l" * 60 + end for end in "12"]
    others = [flare.from_frame(pl.DataFrame({"a": [1]})).named(name) for name in ("x_late", "result_x", *long)]
    job = flare.run(x, x.late, *others).wait(20)
    assert [job.result(name).height for name in ("x", "x.late", "x_late", "result_x", *long)] == [1, 0, 1, 1, 1, 1]
    with pytest.raises(BadOption, match="a job's name is letters"):
        x.run("two\n")
