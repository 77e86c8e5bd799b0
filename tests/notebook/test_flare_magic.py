"""`%flare` in a real shell: it tells of jobs, graphs and plugins, and stops jobs."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from IPython.core.error import UsageError

import dataflare_nb as flare
from dataflare_nb.errors import UnknownStage

from .shell import Shell
from .shell import shell as lend


@pytest.fixture
def shell() -> Iterator[Shell]:
    flare.stop_all()
    with lend() as lent:
        lent.run("import dataflare_nb as flare\nimport polars as pl")
        yield lent
    flare.stop_all()


def test_jobs_are_told_as_a_frame(shell: Shell) -> None:
    assert shell.run("%flare jobs").value.is_empty()
    shell.run("live = flare.rate(1_000).named('ticks').run('live')")
    shell.run("done = flare.from_frame(pl.DataFrame({'a': [1, 2, 3]})).filter(pl.col('a') > 1).run('done').wait()")
    shell.run("def bad(frame):\n    return frame.select('b') if frame.height else frame")
    shell.run("broken = flare.from_frame(pl.DataFrame({'a': [1]})).map_batches(bad)")
    shell.run("broken.run('broken')")
    with pytest.raises(flare.DataflareError):
        flare.job("broken").wait()
    jobs = shell.run("rows = %flare jobs\nrows").value
    assert isinstance(jobs, pl.DataFrame)
    assert dict(jobs.select("job", "status").iter_rows()) == {
        "live": "running",
        "done": "finished",
        "broken": "failed",
    }
    done = jobs.row(by_predicate=pl.col("job") == "done", named=True)
    assert (done["rows_read"], done["rows_written"], done["error"]) == (3, 2, None)
    assert "map_batches" in jobs.row(by_predicate=pl.col("job") == "broken", named=True)["error"]


def test_jobs_are_stopped_by_name_or_all(shell: Shell) -> None:
    for name in ("one", "two", "three"):
        shell.run(f"flare.rate(10).run('{name}')")
    assert shell.run("%flare stop two").out == "two: stopped\n"
    assert {name: job.status for name, job in flare.jobs().items()} == {
        "one": "running",
        "two": "stopped",
        "three": "running",
    }
    assert shell.run("%flare stop --all").out == "one: stopped\ntwo: had stopped already\nthree: stopped\n"


def test_stop_alone_tells_what_runs_and_how_to_stop_it(shell: Shell) -> None:
    assert shell.run("%flare stop").out == "no job is running\n"
    for name in ("one", "two", "three"):
        shell.run(f"flare.rate(10).run('{name}')")
    shell.run("%flare stop two")
    *running, how = shell.run("%flare stop").out.splitlines()
    assert [line.split()[:2] for line in running] == [["one", "running,"], ["three", "running,"]]
    assert how == "To stop: %flare stop one, several by their names, or %flare stop all"
    assert [job.status for job in flare.jobs().values()] == ["running", "stopped", "running"]
    assert shell.run("%flare stop all").out == "one: stopped\ntwo: had stopped already\nthree: stopped\n"
    assert "stop all" in shell.run("%flare help").out


def test_a_job_that_is_called_all_is_stopped_by_its_name(shell: Shell) -> None:
    for name in ("all", "other"):
        shell.run(f"flare.rate(10).run('{name}')")
    assert shell.run("%flare stop all").out == "all: stopped\n"
    assert flare.job("other").status == "running"
    assert shell.run("%flare stop --all").out == "all: had stopped already\nother: stopped\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("stop onee", r"no job is called onee\. Did you mean `one`"),
        ("stop 7", r"no job is called 7\. There are one\."),
        ("stop one --all", "stops those jobs"),
        ("graph hourl", r"no stream or job is called hourl\. Did you mean `hourly`"),
        ("graph", "say which; there are one, hourly"),
        ("grap", "invalid choice: 'grap'"),
        ("jobs 'a", "No closing quotation"),
    ],
)
def test_a_mistake_says_what_there_is(shell: Shell, line: str, why: str) -> None:
    shell.run("flare.rate(10).run('one')\nhourly = flare.rate(10)")
    error = shell.run(f"%flare {line}").error
    assert isinstance(error, UsageError)
    with pytest.raises(UsageError, match=why):
        raise error


def test_graphs_are_drawn(shell: Shell) -> None:
    shell.run("hourly = flare.rate(10).filter(pl.col('value') > 1).named('large')")
    drawn = shell.run("%flare graph hourly").shown[0]
    assert "large: filter" in drawn["text/plain"]
    assert "<b>large</b>" in drawn["text/html"]
    assert shell.run("%flare graph hourly --mermaid").out.startswith("flowchart LR\n")
    shell.run("hourly.run('them')")
    assert "large: filter" in shell.run("%flare graph them").shown[0]["text/plain"]


def test_plugins_are_told_and_what_they_have_done(shell: Shell) -> None:
    shell.run("@flare.udf\ndef doubled(x: float) -> float:\n    'Twice x.'\n    return 2 * x")
    found = shell.run("%flare plugins").value
    assert {"doubled", "geohash", "url_parts"} <= set(found["name"])
    assert found.row(by_predicate=pl.col("name") == "doubled", named=True)["from"] == "this notebook"
    assert found["bytes"].min() > 0
    shell.run("from dataflare_nb.wasm import bundled_plugin")
    shell.run("rows = flare.from_frame(pl.DataFrame({'carrier': ['UA', 'AA']}))")
    shell.run("rows.wasm(bundled_plugin('carrier_code'), column='carrier').named('airline').run('work').wait()")
    done = shell.run("%flare plugins work").value
    assert done.select("stage", "plugin", "rows_in").rows() == [("airline", "carrier_code", 2)]
    assert isinstance(shell.run("%flare plugins wrok").error, UnknownStage)


def test_help_and_doctor(shell: Shell) -> None:
    for line in ("%flare", "%flare help", "%flare --help"):
        assert "draw a stream" in shell.run(line).out
    assert "dataflare_nb" in shell.run("%flare doctor").out
