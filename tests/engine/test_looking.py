"""Asking a job, or for a job, what is not there."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import engine
from dataflare_nb.errors import BadOption, JobStopped, UnknownStage
from dataflare_nb.runtime.probe import Probe

ROWS = flare.from_frame(pl.DataFrame({"n": range(10)}))


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def test_a_result_is_asked_for_by_its_name_where_there_are_several():
    job = flare.run(ROWS.filter(pl.col("n") > 4).named("large"), ROWS.select("n").named("all"), name="both").wait(60)
    assert job.result("large").height == 5
    with pytest.raises(BadOption, match="job both has several outputs; say which: large, all"):
        job.result()
    with pytest.raises(UnknownStage, match=r"no output `lrage`; there are large, all\. Did you mean `large`\?"):
        job.result("lrage")


def test_a_job_that_writes_all_to_sinks_says_where_to_look(tmp_path):
    job = ROWS.write_parquet(tmp_path / "out.parquet").run(name="written").wait(60)
    with pytest.raises(BadOption, match=r"job written writes all its outputs to sinks; .* job\.peek"):
        job.result()
    # A sink has no rows of its own to show; what went into it has.
    assert job.peek()["n"].to_list() == list(range(10))


def test_an_output_that_has_given_nothing_is_an_empty_frame_of_its_columns():
    stream = flare.from_frame(pl.DataFrame({"t": [0, 5]})).event_time("t", unit="s")
    job = stream.window(flare.tumbling("10s")).agg(n=pl.len()).named("w").run().wait(60)
    late = job.peek("w.late")
    assert late.is_empty()
    assert "late_by" in late.columns
    assert job.peek("w")["n"].to_list() == [2]
    with pytest.raises(UnknownStage, match="no stage `x`"):
        job.peek("x")


def test_a_probe_shows_the_newest_rows_of_a_stage():
    probe: Probe = ROWS.named("rows").run().wait(60)
    assert probe.sample("rows", rows=2)["n"].to_list() == [8, 9]


def test_an_ended_job_is_neither_paused_nor_resumed():
    job = ROWS.run(name="over").wait(60)
    for steer in (job.pause, job.resume):
        with pytest.raises(JobStopped, match="job over is finished"):
            steer()
    assert repr(job) == "Job('over', finished)"
    job.stop()
    assert job.status == "finished"


def test_a_job_is_found_by_its_name_and_a_wrong_one_is_answered_with_the_nearest():
    job = flare.rate(10.0).run(name="ticking")
    assert engine.job("ticking") is job
    assert job.status == "running"
    job.pause()
    assert job.status == "paused"
    with pytest.raises(UnknownStage, match=r"no job is called `tickling`; .*Did you mean `ticking`\?"):
        engine.job("tickling")


@pytest.mark.slow
def test_looking_while_a_job_ends_hangs_nobody(tmp_path: Path) -> None:
    # In a process of its own: two threads that wait for each other inside of Polars cannot be interrupted.
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import threading, time
            import polars as pl
            from dataflare_nb.engine import stage

            frame = pl.DataFrame({"a": range(20_000), "s": ["x" * 5] * 20_000})
            end = time.monotonic() + 1

            def look():
                while time.monotonic() < end:
                    frame.lazy()

            looking = threading.Thread(target=look)
            looking.start()
            while time.monotonic() < end:
                assert stage._copied(frame).height == 20_000
            looking.join()
        """)
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=60)
