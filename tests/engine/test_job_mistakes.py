"""What is asked of a job in a way that cannot be: the call, the line, what is wrong, what there is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import errors

ROWS = pl.DataFrame(
    {"key": [1, 2, 1], "word": ["x", "y", "x"], "ts": [datetime(2026, 1, 1, hour) for hour in range(3)]}
)
HOURLY = (
    flare.from_frame(ROWS)
    .event_time("ts")
    .key_by("key", "word")
    .window(flare.tumbling("1h"))
    .agg(n=pl.len())
    .named("hourly")
)


@pytest.fixture(scope="module")
def job() -> flare.Job:
    return HOURLY.run("told", workers=1).wait(20)


@pytest.mark.parametrize(
    ("step", "call", "error", "says"),
    [
        ("peek", lambda job: job.peek(5), errors.WrongType, "stage=5; it is a str or None"),
        ("peek", lambda job: job.peek(""), errors.UnknownStage, "no stage ``; there are"),
        ("peek", lambda job: job.peek("hourli"), errors.UnknownStage, "no stage `hourli`; .* mean `hourly`?"),
        ("peek", lambda job: job.peek("hourly.lat"), errors.UnknownStage, ".* no side output `lat`; it has late"),
        ("peek", lambda job: job.peek(rows="all"), errors.WrongType, "rows='all'; it is an int"),
        ("peek", lambda job: job.peek(rows=-1), errors.BadOption, "rows=-1; it is a number of rows, 0 or more"),
        ("sample", lambda job: job.sample(5), errors.WrongType, "node_id=5; it is a str"),
        ("result", lambda job: job.result(5), errors.WrongType, "name=5; it is a str or None"),
        ("result", lambda job: job.result("hourl"), errors.UnknownStage, "no output `hourl`; .* `hourly`?"),
        ("wait", lambda job: job.wait("x"), errors.WrongType, "timeout='x'; it is a number or None"),
        ("wait", lambda job: job.wait(float("nan")), errors.WrongType, "timeout=nan; it is a number or None"),
        ("drain", lambda job: job.drain("x"), errors.WrongType, "timeout='x'; it is a number or None"),
        ("stop", lambda job: job.stop(5), errors.BadOption, "too many .*; it takes no arguments"),
        ("pause", lambda job: job.pause(now=True), errors.BadOption, "has no option `now`; it has no arguments"),
        ("plot", lambda job: job.plot(5), errors.BadOption, "too many positional arguments"),
        ("metrics", lambda job: job.metrics("hourly"), errors.BadOption, "too many positional arguments"),
        ("explain_window", lambda job: job.explain_window(5), errors.WrongType, "key=5 .* keyed by key, word; give a"),
        ("explain_window", lambda job: job.explain_window(()), errors.WrongType, r"key=\(\) has 0 values"),
        ("explain_window", lambda job: job.explain_window(("x", 1)), errors.WrongType, "key='x' cannot .* is Int64"),
        ("explain_window", lambda job: job.explain_window((1, object())), errors.WrongType, "key=<object object>"),
        (
            "explain_window",
            lambda job: job.explain_window(at=object()),
            errors.WrongType,
            "at=<object object> is",
        ),
        ("explain_window", lambda job: job.explain_window(at="noon"), errors.WrongType, "at='noon' is not .* write it"),
        ("explain_window", lambda job: job.explain_window(at=5), errors.WrongType, "at=5 is not a time"),
        ("explain_window", lambda job: job.explain_window(stage=5), errors.WrongType, "stage=5; it is a str or None"),
        ("explain_window", lambda job: job.explain_window(stage="x"), errors.UnknownStage, "no stage `x` with windows"),
    ],
)
def test_a_call_that_cannot_be_is_named_at_its_line(
    job: flare.Job, step: str, call: Callable[[flare.Job], Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=rf"^{step} at test_job_mistakes.py, line \d+:? {says}"):
        call(job)


def test_the_rows_of_the_last_stage_are_those_of_the_output(job: flare.Job) -> None:
    assert job.peek().equals(job.result())
    assert job.peek(rows=10**20).height == 3
    assert job.peek(rows=0).height == 0


def test_an_unkeyed_window_has_no_key_to_ask_for() -> None:
    job = flare.from_frame(ROWS).event_time("ts").window(flare.tumbling("1h")).agg(n=pl.len()).run(workers=1).wait(20)
    assert job.explain_window(()).fired.height == 3
    with pytest.raises(errors.WrongType, match="keyed by nothing; leave key= out"):
        job.explain_window(5)


@pytest.mark.parametrize("window", [flare.count(2), flare.global_window()], ids=str)
def test_a_window_without_times_has_none_to_ask_for(window: Any) -> None:
    job = flare.from_frame(ROWS).event_time("ts").window(window).agg(n=pl.len()).run(workers=1).wait(20)
    with pytest.raises(errors.BadOption, match=r"^explain_window at test_job_mistakes.py.* has no times; leave it out"):
        job.explain_window(at="2026-01-01")


def test_of_several_windows_one_is_to_be_named() -> None:
    windowed = flare.from_frame(ROWS).window(flare.count(2))
    job = flare.run(windowed.agg(n=pl.len()).named("few"), windowed.agg(m=pl.len()).named("many"), workers=1).wait(20)
    with pytest.raises(errors.BadOption, match="several stages have windows; say which: stage='few', of few, many"):
        job.explain_window()
    assert job.explain_window(stage="many").stage == "many"
    with pytest.raises(errors.UnknownStage, match="has no stage with windows"):
        flare.from_frame(ROWS).run(workers=1).wait(20).explain_window()


def test_the_result_of_a_failed_job_is_its_error() -> None:
    def fails(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("no")

    job = flare.from_frame(ROWS).map_batches(fails, schema=ROWS.schema).run(workers=1)
    with pytest.raises(errors.StageFailed, match="no"):
        job.wait(20)
    with pytest.raises(errors.StageFailed, match="no"):
        job.result()
    assert job.peek().height == 0
    assert repr(job).startswith(f"Job({job.name!r}, failed: stage map_batches-")


@pytest.fixture
def live() -> Iterator[flare.Job]:
    job = flare.rate(1_000.0).run(workers=2)
    yield job
    job.stop()


def test_a_job_starts_once(live: flare.Job) -> None:
    def workers() -> int:
        return sum(thread.name.startswith(f"dataflare:{live.name}:") for thread in threading.enumerate())

    before = workers()
    assert before == 2
    assert live.start() is live
    assert workers() == before
    live.stop()
    assert live.start().status == "stopped"
    assert workers() == 0
