"""Stepping through a paused job, batch by batch."""

from __future__ import annotations

import threading
import time

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import JobError, JobStopped, JobTimeout, StageFailed

ROWS = pl.DataFrame({"n": range(200_000)})


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


@pytest.fixture
def gate():
    """Hold the first batch back until the test has paused the job."""
    opened = threading.Event()
    yield opened
    opened.set()


def held(gate: threading.Event, stream: flare.Stream) -> flare.Stream:
    def wait(frame: pl.DataFrame) -> pl.DataFrame:
        assert not frame.height or gate.wait(60)
        return frame

    return stream.map_batches(wait)


def settled(job: flare.Job) -> int:
    """Wait until a paused job has nothing more to do with what was under way, and return the rows read."""
    deadline, before = time.monotonic() + 60, None
    while (now := [(node.rows_in, node.rows_out, node.in_flight) for node in job.read().nodes.values()]) != before:
        assert time.monotonic() < deadline
        before = now
        time.sleep(0.2)
    return read(job)


def read(job: flare.Job) -> int:
    return sum(node.rows_out for node in job.read().nodes.values() if node.kind == "source")


def paused(gate: threading.Event, stream: flare.Stream, name: str, **options: object) -> flare.Job:
    job = held(gate, stream).run(name=name, latency="50ms", **options)
    job.pause()
    gate.set()
    settled(job)
    return job


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_a_step_reads_one_batch_and_lets_it_through(gate, workers):
    job = paused(gate, flare.from_frame(ROWS), "stepped", workers=workers)
    for _ in range(3):
        before, batches = settled(job), source(job).batches_out
        assert job.step() is job
        assert read(job) > before
        assert source(job).batches_out == batches + 1
        assert job.result().height == read(job)
        assert job.status == "paused"
    job.resume()
    assert job.wait(60).result()["n"].to_list() == ROWS["n"].to_list()


def source(job: flare.Job):
    return next(node for node in job.read().nodes.values() if node.kind == "source")


def test_each_source_gives_a_batch_in_a_step(gate):
    left, right = (flare.from_frame(ROWS.with_columns(side=pl.lit(word))).named(word) for word in ("left", "right"))
    job = paused(gate, left.union(right), "two")
    before = {name: job.read().nodes[name].batches_out for name in ("left", "right")}
    job.step()
    assert {name: job.read().nodes[name].batches_out - n for name, n in before.items()} == {"left": 1, "right": 1}


def test_steps_lead_to_the_end_of_the_input(gate):
    job = paused(gate, flare.from_frame(ROWS.head(3_000)), "short")
    for _ in range(20):
        if job.status != "paused":
            break
        job.step()
    assert job.status == "finished"
    assert job.result().height == 3_000
    with pytest.raises(JobStopped, match="job short is finished"):
        job.step()


def test_only_a_paused_job_is_stepped():
    job = flare.rate(10.0).run(name="going")
    with pytest.raises(JobError, match=r"job going is running; job\.pause\(\) it first"):
        job.step()


def test_a_source_that_gives_nothing_is_waited_for_so_long_and_no_longer():
    clock = flare.testing.clock()
    job = flare.rate(1.0).run(name="quiet", clock=clock)
    job.pause()
    settled(job)
    job_before = read(job)
    with pytest.raises(JobTimeout, match=r"after 0\.2 s no source has given a row; it stays paused"):
        job.step(timeout=0.2)
    clock.advance(3_000_000)
    job.step()
    assert read(job) > job_before
    assert job.status == "paused"


def test_a_stage_that_fails_in_a_step_says_so_there(gate):
    broken = threading.Event()

    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height and broken.is_set():
            raise ValueError("too large")
        return frame

    job = paused(gate, flare.from_frame(ROWS).map_batches(fail), "failing")
    broken.set()
    with pytest.raises(StageFailed, match="too large"):
        job.step()
    assert job.status == "failed"


def test_a_job_that_is_stopped_ends_the_step():
    clock = flare.testing.clock()
    job = flare.rate(1.0).run(name="cut", clock=clock)
    job.pause()
    seen: list[BaseException | None] = []

    def step() -> None:
        try:
            job.step(timeout=60)
            seen.append(None)
        except Exception as error:
            seen.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    job.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert job.status == "stopped"
