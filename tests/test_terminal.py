"""Following a job on a terminal, and where there is none."""

from __future__ import annotations

import importlib
import io
import re
import sys
import time

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import terminal
from dataflare_nb.errors import BadOption, JobTimeout, StageFailed


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def slow(seconds: float = 0.7) -> flare.Stream:
    """Give a row each tenth of a second."""
    return flare.rate(10.0, rows=round(seconds * 10)).named("slow")


def fails(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.height:
        raise ValueError("no luck")
    return frame


@pytest.fixture
def _no_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


@pytest.mark.slow
def test_a_bar_goes_on_to_the_end():
    screen = Screen()
    reading = terminal.follow(slow().run(name="bar"), total=7, out=screen)
    assert reading.status == "finished"
    assert terminal.rows_read(reading) == 7
    assert "bar: 100%" in screen.getvalue()


@pytest.mark.slow
def test_without_a_total_the_job_tells_how_far_it_is():
    screen = Screen()
    terminal.follow(slow().run(name="bar"), out=screen)
    assert "7.00/7.00" in screen.getvalue()


@pytest.mark.usefixtures("_no_tqdm")
@pytest.mark.slow
def test_without_tqdm_a_line_is_written_over():
    screen = Screen()
    stream = slow(1.0).event_time("timestamp", watermark_every=1).window(flare.tumbling("100ms")).agg(n=pl.len())
    terminal.follow(stream.run(name="line"), out=screen)
    lines = screen.getvalue().split("\r\x1b[K")
    assert len(lines) > 2
    assert re.match(r"\d+ rows, \d+%, [\d,]+ rows/s", lines[-1])
    assert re.search(r"watermark 20\d\d-\d\d-\d\d \d\d:\d\d UTC", lines[-1])
    assert lines[-1].endswith("\n")


@pytest.mark.slow
def test_where_there_is_no_terminal_a_line_is_written_now_and_then():
    out = io.StringIO()
    terminal.follow(slow(2.5).run(name="lines"), out=out)
    lines = out.getvalue().splitlines()
    assert lines
    assert all(re.match(r"\d+ rows, \d+%, [\d,]+ rows/s$", line) for line in lines)


def test_what_a_job_fails_with_is_raised_and_the_bar_closed():
    screen = Screen()
    with pytest.raises(StageFailed, match="no luck"):
        terminal.follow(slow().map_batches(fails).run(name="broken"), out=screen)
    assert screen.getvalue().endswith("\n")


@pytest.mark.slow
def test_an_interrupt_stops_the_job():
    class Interrupting(io.StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    job = flare.rate(100.0).run(name="endless")
    with pytest.raises(KeyboardInterrupt):
        terminal.follow(job, out=Interrupting())
    assert job.status == "stopped"


def test_a_step_says_how_long_it_took_and_ends_its_line_when_it_fails():
    out = io.StringIO()
    with terminal.step("Counting", out):
        time.sleep(0.01)
    assert re.fullmatch(r"Counting \.\.\. \d+\.\d s\n", out.getvalue())
    out = io.StringIO()
    with pytest.raises(ValueError, match="no"), terminal.step("Failing", out):
        raise ValueError("no")
    assert out.getvalue() == "Failing ... \n"


@pytest.mark.slow
def test_collect_shows_a_bar_where_it_is_asked_to(capsys):
    importlib.import_module("tqdm.auto")
    assert slow().collect(progress=True).height == 7
    assert "100%" in capsys.readouterr().err
    with pytest.raises(StageFailed, match="no luck"):
        slow().map_batches(fails).collect(progress=True)


@pytest.mark.slow
def test_waiting_for_a_job_shows_a_bar_where_it_is_asked_to(capsys):
    importlib.import_module("tqdm.auto")
    assert slow().run(name="waited").wait(progress=True).status == "finished"
    assert "waited: 100%" in capsys.readouterr().err
    live = flare.rate(1_000).run(name="live")
    with pytest.raises(JobTimeout, match="job live is still running after"):
        live.wait(0.3, progress=True)
    assert "live: " in capsys.readouterr().err
    live.stop()


@pytest.mark.usefixtures("_no_tqdm")
def test_collect_says_that_its_bar_needs_tqdm():
    with pytest.raises(BadOption, match="progress=True shows its bar with tqdm, which is not installed"):
        slow().collect(progress=True)
