"""What stays of a job in a notebook: as saved, converted, compared, in a terminal, and without anywidget."""

from __future__ import annotations

import io
import random
import re
from base64 import b64decode
from html import unescape
from pathlib import Path

import nbformat
import polars as pl
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

import dataflare_nb as flare
from dataflare_nb.errors import DataflareError, StageFailed
from dataflare_nb.notebook.display import saved_form
from dataflare_nb.notebook.layers import COLUMNS, placed

from .kernel import ROOT, kernel
from .shell import shell

CELL = """
import polars as pl
import dataflare_nb as flare
rows = flare.from_frame(pl.DataFrame({"t": [0, 100, 3, 200, 5] * 200}))
job = rows.event_time("t", unit="s", watermark_every=4).window(flare.tumbling("10s")).agg(n=pl.len()).run("kept")
job
"""
# The picture takes the dashboard's place when the thread that fed it is over.
ENDED = """
import threading
job.wait()
for each in threading.enumerate():
    if each.name.startswith("dataflare:"):
        each.join(30)
"""


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def executed(monkeypatch: pytest.MonkeyPatch, static: bool) -> nbformat.NotebookNode:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DATAFLARE_STATIC", "1" if static else "")
    cells = [CELL, ENDED, "job.dashboard()"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    done: nbformat.NotebookNode = NotebookClient(book, timeout=60, kernel_name="python3").execute()
    return done


@pytest.mark.slow
def test_a_converted_notebook_has_the_picture_and_no_widget_and_the_same_bytes_each_time(monkeypatch):
    books = [executed(monkeypatch, static) for static in (True, False)]
    outputs = [[output for cell in book.cells for output in cell.outputs] for book in books]
    assert all(len(shown) == 2 for shown in outputs)
    bundles = [output.data for shown in outputs for output in shown]
    assert all(set(bundle) == {"text/plain", "image/png"} for bundle in bundles)
    assert len({bundle["text/plain"] for bundle in bundles}) == 1
    assert len({bundle["image/png"] for bundle in bundles}) == 1
    for book in books:
        html, _ = HTMLExporter().from_notebook_node(book)
        pictures = re.findall(r'<img[^>]*src="data:image/png;base64,[^>]*>', unescape(html))
        assert len(pictures) == 2
        classic, _ = HTMLExporter(template_name="classic").from_notebook_node(book)
        assert unescape(classic).count("alt=\"Job 'kept': finished") == 2
        assert '<script type="application/vnd.jupyter.widget-view+json"' not in html
        assert "Error displaying widget" not in html


def text(job: flare.Job) -> list[str]:
    return str(saved_form(job)[0]["text/plain"]).split("\n")


def test_the_text_reads_well_in_a_diff():
    stream = flare.from_frame(pl.DataFrame({"t": [0, 100, 3, 200, 5] * 20})).named("clicks")
    windows = stream.event_time("t", unit="s", watermark_every=1).named("timed").window(flare.tumbling("10s"))
    counts = windows.agg(n=pl.len()).named("counts")
    job = flare.run(counts, counts.late, name="clicks_by_time").wait(60)
    assert text(job) == [
        "Job 'clicks_by_time': finished, all its input is through: 100 rows read, 81 written, 78 late",
        "  stage     reads        rows in  rows out  late",
        "  clicks                               100     0",
        "  timed     clicks           100       100     0",
        "  counts    timed            100         3    78",
        "  result    counts             3         3     0",
        "  result 2  counts.late       78        78     0",
    ]


def test_what_differs_from_run_to_run_is_left_out_where_outputs_are_compared(monkeypatch):
    job = flare.rate(1_000.0).named("ticks").run(name="live")
    job.drain(60)
    assert "rows read" in text(job)[0]
    monkeypatch.setenv("DATAFLARE_STATIC", "1")
    assert text(job) == ["Job 'live': drained", "  stage   reads", "  ticks", "  result  ticks"]
    other = flare.rate(1_000.0).run(name="cut")
    other.stop()
    assert text(other)[0] == "Job 'cut': stopped"


def test_a_failed_job_names_the_stage_and_the_reason():
    def fail(batch: pl.DataFrame) -> pl.DataFrame:
        raise ValueError("no such carrier: $XX$ {")

    rows = flare.from_frame(pl.DataFrame({"n": [1]}))
    job = rows.map_batches(fail, schema=rows.schema).named("lookup").run("failed")
    with pytest.raises(StageFailed):
        job.wait(60)
    assert text(job)[0].startswith("Job 'failed': failed")
    assert "stage lookup failed at" in text(job)[1]
    assert "no such carrier: $XX$ {" in text(job)[1]
    # Dollars are not mathematics in the picture.
    assert picture(job).size[0] > 300


def test_the_picture_of_a_failed_job_and_its_text_have_the_whole_reason():
    def failed(reason: str) -> flare.Job:
        def fail(batch: pl.DataFrame) -> pl.DataFrame:
            raise ValueError(reason)

        rows = flare.from_frame(pl.DataFrame({"n": [1]}))
        job = rows.map_batches(fail, schema=rows.schema).named("lookup").run("failed")
        with pytest.raises(StageFailed):
            job.wait(60)
        return job

    long = "the table of carriers has more than one row for AA, " + "which is said at length " * 2
    whole = failed(long + "of 2013")
    alt = saved_form(whole)[1]["image/png"]["alt"]
    assert alt.startswith("Job 'failed': failed")
    assert " ".join(f"ValueError: {long}of 2013".split()) in alt
    assert alt.endswith(str(whole.error).rpartition(" ")[2])
    # What differs at its end only is another picture, and none that grows without an end.
    assert picture(whole).tobytes() != picture(failed(long + "of 2014")).tobytes()
    assert picture(failed("short")).height < picture(whole).height <= picture(failed(long * 50)).height < 400


def picture(job: flare.Job) -> Image.Image:
    return Image.open(io.BytesIO(b64decode(saved_form(job)[0]["image/png"])))


@pytest.mark.slow
def test_the_picture_is_the_same_for_the_same_job_and_not_large():
    rows = pl.DataFrame({"n": range(1_000)})

    def once(limit: int) -> bytes:
        stream = flare.from_frame(rows)
        for number in range(12):
            stream = stream.map_batches(lambda batch: batch).named(f"step_{number}")
        job = stream.filter(pl.col("n") < limit).named("few").run("same").wait(60)
        return b64decode(saved_form(job)[0]["image/png"])

    first = once(10)
    assert first == once(10) != once(11)
    assert len(first) < 40_000


def test_a_job_in_a_terminal_is_its_repr(capsys):
    job = flare.from_frame(pl.DataFrame({"n": [1]})).run("plain").wait(60)
    with pytest.raises(NotImplementedError):
        job._ipython_display_()
    with shell() as ip:
        ip.ip.push({"job": job})
        assert ip.run("job").out.strip().endswith("Job('plain', finished)")
        assert ip.run("job.dashboard()").out.rstrip().splitlines()[-1].split() == ["result", "read", "frame", "1", "1"]


def test_without_anywidget_a_job_is_text_and_a_word_on_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dataflare_nb.notebook.dashboard", None)
    job = flare.rate(1.0).run("bare")
    with pytest.raises(DataflareError, match=r"a dashboard needs anywidget; .*dataflare-nb\[notebook\]"):
        job.dashboard()


@pytest.mark.slow
def test_in_a_kernel_without_anywidget_the_last_line_is_text():
    with kernel() as k:
        k.run("import sys; sys.modules['anywidget'] = None; import dataflare_nb as flare")
        shown = k.run("job = flare.rate(1.0).run('bare')\njob")
    (data,) = [m["content"]["data"] for m in shown]
    assert data["text/plain"].splitlines() == [
        "Job 'bare'",
        "  stage      reads",
        "  read rate",
        "  result     read rate",
        'It is shown live with anywidget: pip install "dataflare-nb[notebook]"',
    ]


@pytest.mark.parametrize("stages", [1, 2, 7, 20, 60])
def test_stages_are_placed_apart_and_after_what_they_read(stages):
    for seed in range(20):
        dice = random.Random(seed)
        edges = [(dice.randrange(place), place) for place in range(1, stages) if dice.random() < 0.9]
        edges += [tuple(sorted(dice.sample(range(stages), 2))) for _ in range(stages // 4)]
        places, columns, rows = placed(stages, edges)
        assert len(places) == stages
        for number, place in enumerate(places):
            assert 0 <= place.column < columns <= COLUMNS
            assert 0 <= place.row < rows
            for other in places[:number]:
                assert place.column != other.column or abs(place.row - other.row) > 1 - 1e-9
        for sender, receiver in edges:
            before, after = places[sender], places[receiver]
            assert (before.band, before.column) < (after.band, after.column)


def test_the_bundle_is_part_of_the_package():
    folder = Path(flare.__file__).parent / "notebook" / "static"
    assert {path.name for path in folder.iterdir()} >= {"dashboard.js", "dashboard.css"}
