"""However a job ends, its sinks are settled once and in full, its stages closed, and nobody waits for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.engine.visit import visiting
from dataflare_nb.errors import JobError, JobStopped, StageFailed

TRACED = sys.gettrace() is not None and sys.version_info < (3, 12)
"""Python 3.11 does not get on under a debugger or coverage while an exception waits for a thread that is in C."""


class Stuck:
    """A call that does not return to Python until it is freed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        self._lock.acquire(timeout=2.0 if TRACED else 60.0)

    def free(self) -> None:
        self._lock.release()


class Book:
    """A sink that writes down what is done to it. `on` maps a step to a function called in its place, before it."""

    def __init__(self, on: dict[str, Callable[[], None]] | None = None) -> None:
        self.on = on or {}
        self.steps: list[str] = []
        self.staged = 0
        self.prepared: dict[int, int] = {}
        self.committed: dict[int, int] = {}

    def open(self, ctx: object, schema: pl.Schema) -> Book:
        return self

    def write(self, batch: pl.DataFrame) -> None:
        self._step("write")
        self.staged += batch.height

    def prepare(self, epoch: int) -> dict[str, int]:
        self._step("prepare")
        self.prepared[epoch], self.staged = self.staged, 0
        return {"rows": self.prepared[epoch]}

    def commit(self, epoch: int, prepared: dict[str, int]) -> None:
        self._step("commit")
        self.committed[epoch] = prepared["rows"]

    def abort(self) -> None:
        self._step("abort")
        self.staged = 0

    def close(self) -> None:
        self._step("close")

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.on:
            self.on[name]()


def into(book: Book, stream: flare.Stream) -> flare.Stream:
    name = f"book_{id(book):x}"
    flare.register_sink(name, lambda options, resources: book)
    return stream.write(name)


def once(action: Callable[[], None]) -> Callable[[], None]:
    done = threading.Event()

    def step() -> None:
        if not done.is_set():
            done.set()
            action()

    return step


def fails() -> None:
    raise OSError("no space left")


def slowly() -> None:
    for _ in range(300):
        time.sleep(0.01)


FRAME = flare.from_frame(pl.DataFrame({"value": range(1_000)}))


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def test_sinks_of_a_job_are_committed_together_or_not_at_all():
    good, bad = Book(), Book({"prepare": fails})
    job = flare.run(into(good, FRAME), into(bad, FRAME.select("value")))
    with pytest.raises(StageFailed, match="no space left"):
        job.wait(30)
    assert good.committed == {}
    assert good.steps[-2:] == ["abort", "close"]
    assert bad.steps[-2:] == ["abort", "close"]


def test_a_commit_that_fails_fails_the_job_and_closes_every_sink():
    bad, good = Book({"commit": fails}), Book()
    job = flare.run(into(bad, FRAME), into(good, FRAME.select("value")))
    with pytest.raises(StageFailed, match="no space left"):
        job.wait(30)
    assert job.status == "failed"
    assert bad.steps[-1] == good.steps[-1] == "close"
    assert sum(good.committed.values()) == 1_000


def test_a_commit_that_was_interrupted_is_repeated():
    book = Book({"commit": once(slowly)})
    job = into(book, flare.rate(10_000)).run(commit_every="100ms")
    deadline = time.monotonic() + 30
    while "commit" not in book.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    job.stop()
    assert book.committed == book.prepared
    assert 1 in book.committed
    assert book.steps[-1] == "close"


def test_half_a_batch_is_never_committed():
    book = Book({"write": slowly})
    job = into(book, flare.rate(10_000)).run()
    deadline = time.monotonic() + 30
    while "write" not in book.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    job.stop()
    assert book.committed == {}
    assert book.steps[-2:] == ["abort", "close"]
    assert job.ledger()["balanced"].all()


@pytest.mark.slow
def test_a_sink_that_comes_back_late_is_closed_then(within):
    stuck = Stuck()
    book = Book({"write": stuck})
    job = into(book, flare.rate(10_000)).run()
    deadline = time.monotonic() + 30
    while "write" not in book.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    with within(5.0 if TRACED else 1.0):
        job.stop()
    assert TRACED or "close" not in book.steps
    stuck.free()
    while "close" not in book.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    assert book.steps[-1] == "close"
    assert book.committed == book.prepared


@pytest.mark.slow
def test_a_stage_that_fails_does_not_wait_for_one_that_is_busy():
    stuck, inside = Stuck(), threading.Event()

    def wait(frame: pl.DataFrame) -> pl.DataFrame:
        inside.set()
        stuck()
        return frame

    def broken(frame: pl.DataFrame) -> pl.DataFrame:
        inside.wait(30)
        raise ValueError("boom")

    schema = {"value": pl.Int64}
    slow = FRAME.map_batches(wait, schema=schema)
    job = flare.run(slow, FRAME.map_batches(broken, schema=schema), workers=3)
    with pytest.raises(StageFailed, match="boom"):
        job.wait(30)
    assert job.status == "failed"
    stuck.free()


def test_looking_at_windows_changes_nothing():
    rows = 400_000
    frame = pl.DataFrame({"t": range(rows), "k": [i % 50 for i in range(rows)]})
    stream = flare.from_frame(frame).event_time("t", unit="us", watermark_every=2_000).key_by("k")
    job = stream.window(flare.tumbling("100ms")).agg(n=pl.len()).run(workers=2)
    looked = 0
    while job.status == "running":
        job.explain_window(key=3)
        looked += 1
        time.sleep(0.002)
    assert job.wait(60).result()["n"].sum() == rows
    assert looked


def test_a_job_cannot_wait_for_itself():
    for name in ("wait", "drain"):
        ready, told = threading.Event(), []

        def inside(frame: pl.DataFrame, epoch: int, name=name, ready=ready, told=told) -> None:
            ready.wait(30)
            with pytest.raises(JobError, match="cannot wait for itself"):
                getattr(flare.job("itself"), name)()
            told.append(name)

        job = FRAME.for_each_batch(inside).run(name="itself")
        ready.set()
        job.wait(30)
        assert told == [name]


def test_a_job_can_be_stopped_from_inside():
    def inside(frame: pl.DataFrame, epoch: int) -> None:
        flare.job("suicidal").stop()
        time.sleep(0.01)

    job = flare.rate(1_000).for_each_batch(inside).run(name="suicidal")
    deadline = time.monotonic() + 30
    while job.status != "stopped" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.status == "stopped"
    assert job.error is None


def test_drain_says_when_somebody_else_has_stopped_the_job():
    inside = threading.Event()

    def wait(frame: pl.DataFrame, epoch: int) -> None:
        inside.set()
        while True:
            time.sleep(0.01)

    job = flare.rate(100_000).for_each_batch(wait).run()
    assert inside.wait(30)
    threading.Timer(0.3, job.stop).start()
    with pytest.raises(JobStopped, match="before it had drained"):
        job.drain(30)


@pytest.mark.slow
def test_a_slow_input_of_a_union_does_not_let_the_other_fill_the_memory():
    slow = flare.rate(5.0, rows=20).select("value")
    quick = flare.from_frame(pl.DataFrame({"value": range(8_000_000)})).select(pl.col("value") + 1)
    job = slow.union(quick).run(workers=2, latency="20ms")
    # The slow one is still read when its third row is through; the quick one could have been read to its end by then.
    deadline = time.monotonic() + 30
    while job.result().height < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    peaks = [stats.peak_rows for stats in job.read().channels.values()]
    job.stop()
    assert 0 < max(peaks) < 100_000


def test_early_results_by_the_clock_come_though_the_stage_is_never_out_of_work():
    rows = 2_000_000
    frame = pl.DataFrame({"t": range(rows), "k": [i % 1_000 for i in range(rows)]})
    stream = flare.from_frame(frame).event_time("t", unit="us", watermark_every=5_000).key_by("k")
    job = stream.window(flare.tumbling("1h"), early=flare.every("50ms")).agg(n=pl.len()).run(workers=2)
    early = 0
    while job.status == "running" and not early:
        early = job.result().filter(pl.col("pane") == "early").height
        time.sleep(0.01)
    job.stop()
    assert early


def test_results_made_by_the_clock_have_no_latency_of_years():
    stream = flare.rate(1_000).event_time("timestamp").window(flare.tumbling("1h"), early=flare.every("50ms"))
    job = stream.agg(n=pl.len()).run()
    deadline = time.monotonic() + 30
    while job.result().height < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    metrics, batch = job.metrics(), job.read().batch_rows
    job.stop()
    assert (metrics["p99_ms"].max() or 0.0) < 60_000
    assert batch > 64


def test_a_name_whose_new_job_cannot_open_keeps_its_old_one(tmp_path):
    FRAME.write_parquet(tmp_path / "taken.parquet").run().wait(60)
    old = flare.rate(10).run(name="live")
    with pytest.raises(flare.DataflareError, match="taken"):
        FRAME.write_parquet(tmp_path / "taken.parquet").run(name="live")
    assert flare.job("live") is old
    assert old.status == "stopped"


def test_a_job_ends_whatever_its_rows_are_made_of():
    frame = pl.DataFrame({"nothing": pl.Series([[], None], dtype=pl.Array(pl.Int64, 0))})
    job = flare.from_frame(frame).run(name="zero").wait(10)
    assert job.result().equals(frame)
    assert job.peek().equals(frame)


class Breaking:
    """A source whose sixth poll fails."""

    bounded = True
    invalid_schema = None
    schema = pl.Schema({"t": pl.Datetime("us"), "n": pl.Int64()})

    def __init__(self) -> None:
        self.polls = 0

    def total_rows(self) -> None:
        return None

    def splits(self) -> list[str]:
        return ["only"]

    def open(self, split: str, offset: object = None) -> Breaking:
        return self

    def poll(self, max_rows: int) -> pl.DataFrame:
        self.polls += 1
        if self.polls == 6:
            raise OSError("the disk is gone")
        return pl.DataFrame({"t": [self.polls], "n": [self.polls]}, schema=self.schema)

    def rejected(self) -> None:
        return None

    def offset(self) -> dict[str, int]:
        return {"polls": self.polls}

    def close(self) -> None:
        return None


def test_what_was_read_before_a_poll_that_fails_goes_its_way():
    flare.register_source("breaking", lambda options, resources: Breaking())
    seen: list[int] = []
    stream = flare.read("breaking").event_time("t")
    job = stream.for_each_batch(lambda frame, epoch: seen.extend(frame["n"])).run(workers=1)
    with pytest.raises(StageFailed, match=r"split only, row 5: OSError: the disk is gone"):
        job.wait(10)
    assert seen == [1, 2, 3, 4, 5]
    assert job.ledger()["in"].to_list() == [5, 5, 5]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.slow
def test_a_process_that_is_forked_off_leaves_the_jobs_to_its_parent(tmp_path):
    script = """
    import os, sys, time
    import polars as pl
    import dataflare_nb as flare

    job = flare.rate(2000.0).write_csv(sys.argv[1]).run("written", workers=1, commit_every="100s")
    while job.ledger()["out"][-1] < 500:
        time.sleep(0.01)
    child = os.fork()
    if not child:
        sys.exit(bool(flare.jobs()))
    assert os.waitpid(child, 0)[1] == 0
    job.drain(20)
    rows = pl.read_csv(sys.argv[1] + "/*.csv")
    assert rows["value"].to_list() == list(range(job.ledger()["out"][-1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_whoever_looks_into_a_stage_is_not_one_that_cannot_be_stopped(caplog):
    timed = flare.rate(1000.0).event_time("timestamp").window(flare.tumbling("1s")).agg(n=pl.len()).named("w")
    job = timed.run(name="looked", workers=1)
    with visiting(job._scheduler, job._stages["w"], 5.0):
        job.stop()
    assert not caplog.records


def test_a_job_that_fails_ends_at_once():
    def fails(frame):
        if frame.height:
            raise ValueError("no")
        return frame

    stream = flare.from_frames([pl.DataFrame({"n": range(1_000)})] * 20).map_batches(fails)
    took = []
    for _ in range(5):
        begun = time.monotonic()
        with pytest.raises(StageFailed):
            stream.run(name="failing", workers=2).wait()
        took.append(time.monotonic() - begun)
    # A few hundredths, and room for a busy machine; workers that waited for each other took 0.9 s every time.
    assert min(took) < 0.5
