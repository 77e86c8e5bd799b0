"""What a job notes of itself while it runs."""

from __future__ import annotations

import threading

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import StageFailed
from dataflare_nb.runtime.journal import Journal
from tests.wasm.asking import call, data, imported
from tests.wasm.guests import ECHO, plugin

ROWS = pl.DataFrame({"t": [0, 100, 3, 200, 5], "n": range(5)})


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def said(job: flare.Job) -> list[tuple[str, str]]:
    return [(line.level, line.text) for line in job.read().log]


def test_a_job_notes_how_it_began_and_ended():
    job = flare.from_frame(ROWS).run(name="plain").wait(60)
    assert said(job) == [("info", "started"), ("info", "finished: 5 rows were read")]
    assert job.log()["text"].to_list() == ["started", "finished: 5 rows were read"]
    assert job.log()["n"].to_list() == [0, 1]


def test_a_job_notes_what_was_steered():
    job = flare.rate(100.0).run(name="steered")
    job.pause()
    job.pause()
    job.resume()
    job.drain(60)
    texts = [text for _, text in said(job)]
    assert texts[:4] == [
        "started",
        "paused: no more is read",
        "resumed",
        "draining: no more is read, and what is under way goes on to its end",
    ]
    assert texts[4].startswith("drained: ")
    other = flare.rate(100.0).run(name="stopped")
    other.stop()
    assert said(other)[-1][1].endswith("what was under way is given up")


def test_a_job_notes_the_stage_that_failed_and_why():
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("no such carrier")

    job = flare.from_frame(ROWS).map_batches(fail, schema=ROWS.schema).named("lookup").run(name="broken")
    with pytest.raises(StageFailed):
        job.wait(60)
    level, text = said(job)[-1]
    assert level == "error"
    assert "lookup" in text
    assert "no such carrier" in text


def test_the_first_late_rows_are_noted_once():
    stream = flare.from_frame(ROWS).event_time("t", unit="s", watermark_every=1)
    job = stream.window(flare.tumbling("10s")).agg(n=pl.len()).named("w").run(name="tardy").wait(60)
    assert job.read().nodes["w"].sides == {"late": 2}
    noted = [(level, text) for level, text in said(job) if "late" in text]
    assert noted == [("warning", "`w` has its first late rows: 1, their windows were over")]


def test_what_a_guest_logs_stands_in_the_log_of_its_job():
    work = f"{call('host_log', 2, 128, 5)} {ECHO}"
    guest = plugin(work, imports=imported("host_log"), extra=data(128, "hello"))
    job = flare.from_frame(pl.DataFrame({"x": [1, 2, 3]})).wasm(guest).run(name="guest").wait(60)
    assert ("warning", "guest: hello") in said(job)


def test_only_the_newest_lines_are_kept_and_numbers_go_on():
    journal = Journal(lambda: 1.5, most=3)
    threads = [threading.Thread(target=lambda: [journal.say("info", "x" * 5_000) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line.n for line in journal.lines()] == [197, 198, 199]
    assert {len(line.text) for line in journal.lines()} == {2_000}
