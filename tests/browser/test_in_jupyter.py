"""The dashboard in JupyterLab and Notebook 7, in a real browser: it moves, answers, comes back, leaves a picture."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")
if importlib.util.find_spec("jupyterlab") is None:
    pytest.skip("jupyterlab is not installed", allow_module_level=True)

from ipykernels import OTHERS, has_subshells, python_path

from .jupyter import Notebook, Server, notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

JOB = """
import time
import polars as pl
import dataflare_nb as flare

def slowly(batch):
    if batch.height:
        time.sleep(0.005)
    return batch

job = flare.rate(5_000.0).map_batches(slowly).named("slow").run("ticks")
job
"""
EVIL = "<img src=x onerror='window.harm=1'><script>window.harm=2</script>"
WINDOWS = f"""
import time
import polars as pl
import dataflare_nb as flare

EVIL = {EVIL!r}

def slowly(batch):
    if batch.height:
        time.sleep(0.002)
    return batch

stream = flare.rate(5_000.0).event_time("timestamp").map_batches(slowly).named("slow")
stream = stream.with_columns(key=pl.lit(EVIL), **{{EVIL: pl.lit(1)}}).named("named")
job = stream.key_by("key").window(flare.tumbling("1h")).agg(n=pl.len()).named("hours").run("steered")
job
"""
LIVE = f"""
import polars as pl
import dataflare_nb as flare

gain = flare.param(3, min=0, max=10)
stream = flare.rate(200.0).with_columns(y=pl.col("value") % 7 + gain, k=pl.lit({EVIL!r}))
shown = flare.table(stream, rows=5)
shown
"""
PICTURE = ".jp-OutputArea-output img"
SHOTS = os.environ.get("DATAFLARE_SHOTS")
"""A folder for pictures of what the tests see."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("jupyter"))
    try:
        yield made.wait()
    finally:
        made.close()


def shot(book: Notebook, name: str) -> None:
    if SHOTS:
        book.page.screenshot(path=f"{SHOTS}/{name}.png")


def rows_in(book: Notebook) -> str:
    texts: list[str] = book.page.locator(".dataflare .totals").inner_text().split("\n")
    return texts[texts.index("rows in") + 1]


def shown(book: Notebook) -> None:
    """Wait until the dashboard is painted with numbers."""
    book.page.wait_for_selector(".dataflare .card", timeout=30_000)
    book.until(lambda: rows_in(book) not in ("", "–", "0"))


@pytest.mark.parametrize(
    ("front", "version"), [("lab", None), ("notebook", None), *(("lab", version) for version in OTHERS)]
)
def test_it_moves_answers_while_a_cell_blocks_and_leaves_a_picture(
    server: Server, browser: Browser, front: str, version: str | None, within: Any
) -> None:
    seconds = 15 if has_subshells(version) else 8
    kernel, name = "python3", f"{front}_{version or 'newest'}"
    if version is not None:
        kernel = server.offer(f"ipykernel-{version}", python_path(version))
    with notebook(server, browser, front, name, JOB, f"time.sleep({seconds})", kernel=kernel) as book:
        book.run(0)
        shown(book)
        first = rows_in(book)
        book.until(lambda: rows_in(book) != first)
        book.until(lambda: "slow limits the stream" in book.page.locator(".dataflare .verdict").inner_text())
        shot(book, f"{name}_running")
        page = book.page
        card = page.locator(".dataflare .card").nth(1)
        if has_subshells(version):
            book.run(1, wait=False)
            page.wait_for_timeout(400)
            before = rows_in(book)
            with within(1.0):
                card.click()
                page.wait_for_selector(".dataflare .panel td", timeout=20_000)
            shot(book, f"{name}_rows")
            book.until(lambda: rows_in(book) != before)
            with within(1.0):
                page.get_by_role("button", name="Stop").click()
                page.wait_for_selector(f".dataflare[data-status=stopped], {PICTURE}", timeout=20_000)
            assert book.cell(1).locator(".jp-InputPrompt").inner_text() == "[*]:", "the cell was to be busy meanwhile"
            page.wait_for_selector(PICTURE, timeout=20_000)
        else:
            # Such a kernel hears nothing before the cell has ended; what it sends comes all the same.
            book.run(1, wait=False)
            page.wait_for_timeout(400)
            before = rows_in(book)
            page.get_by_role("button", name="Stop").click()
            page.wait_for_selector("text=the kernel is busy: waiting for the cell to end", timeout=5_000)
            book.until(lambda: rows_in(book) != before)
            shot(book, f"{name}_busy")
            assert book.cell(1).locator(".jp-InputPrompt").inner_text() == "[*]:", "the cell was to be busy meanwhile"
            page.wait_for_selector(PICTURE, timeout=40_000)
        assert page.locator(".dataflare").count() == 0
        shot(book, f"{name}_ended")
        (output,) = book.save().cells[0].outputs
        assert set(output.data) == {"text/plain", "image/png"}
        assert output.data["text/plain"].startswith("Job 'ticks': stopped")
        shutil.copy(book.path, book.path.with_name(f"again_{name}.ipynb"))
        again = Notebook(server, page, f"again_{name}", front)
        page.goto(again.address, wait_until="domcontentloaded")
        # A copy is not trusted, and the picture is there all the same.
        picture = page.wait_for_selector(PICTURE, timeout=60_000)
        assert picture is not None
        assert picture.evaluate("e => e.complete && e.naturalWidth > 300")


def test_it_comes_back_with_its_past_when_the_page_is_loaded_again_and_knows_when_the_kernel_is_gone(
    server: Server, browser: Browser
) -> None:
    with notebook(
        server, browser, "lab", "again", JOB, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    ) as book:
        book.run(0)
        shown(book)
        book.page.wait_for_timeout(1_500)
        book.save()
        book.page.reload(wait_until="domcontentloaded")
        shown(book)
        trace = book.page.locator(".dataflare .card .spark .line").first
        book.until(lambda: len(trace.get_attribute("d") or "") > 60)
        first = rows_in(book)
        book.until(lambda: rows_in(book) != first)
        shot(book, "lab_reloaded")
        # Nobody stops the job of a kernel that is killed; one that is restarted in order says `stopped`.
        book.run(1, wait=False)
        book.page.wait_for_selector(".dataflare[data-status=disconnected]", timeout=20_000)
        shot(book, "lab_disconnected")


def test_a_job_that_is_shown_again_after_its_end_is_a_picture_at_once(server: Server, browser: Browser) -> None:
    bounded = JOB.replace("flare.rate(5_000.0)", "flare.rate(5_000.0, rows=5_000)").replace("0.005", "0.0")
    with notebook(server, browser, "lab", "bounded", bounded, "job.wait()\njob.dashboard()") as book:
        book.run(0)
        book.run(1)
        for cell in (0, 1):
            book.until(lambda cell=cell: book.cell(cell).locator(PICTURE).count() == 1)
        shot(book, "lab_bounded")
        outputs = [cell.outputs[0].data for cell in book.save().cells]
        assert outputs[0] == outputs[1]
        assert "5,000 rows read, 5,000 written" in outputs[0]["text/plain"]


def test_every_button_does_what_it_says_and_stages_and_queues_are_looked_into(server: Server, browser: Browser) -> None:
    with notebook(server, browser, "lab", "steered", WINDOWS) as book:
        page = book.page
        book.run(0)
        shown(book)
        view = page.locator(".dataflare")
        note = view.locator("header .note")

        def press(name: str, says: str, status: str) -> None:
            view.get_by_role("button", name=name, exact=True).click()
            book.until(lambda: note.is_visible() and says in note.inner_text())
            book.until(lambda: view.get_attribute("data-status") == status)

        press("Pause", "paused: no more is read", "paused")
        book.until(lambda: "all that was under way is through" in view.locator(".verdict").inner_text())
        held = rows_in(book)
        page.wait_for_timeout(500)
        assert rows_in(book) == held, "a paused job reads nothing"
        press("Step", "read one more batch", "paused")
        book.until(lambda: rows_in(book) != held)
        # What went well is not said for ever.
        book.until(lambda: not note.is_visible(), 8.0)
        press("Resume", "goes on", "running")
        # A stage by the keyboard, its windows, and the queue before it by a click.
        card = view.locator(".card", has=page.locator(".name", has_text="hours"))
        card.focus()
        page.keyboard.press("Enter")
        panel = view.locator(".panel")
        panel.get_by_role("tab", name="Open windows").click()
        book.until(lambda: "fires when the watermark has moved on by" in panel.inner_text())
        assert "Datetime[μs]" in panel.inner_text()
        assert panel.get_by_role("tabpanel").get_attribute("aria-label") == "Open windows"
        shot(book, "lab_windows")
        page.keyboard.press("Escape")
        assert not panel.is_visible()
        view.locator(".edge .hit").nth(3).click(force=True)
        book.until(lambda: panel.locator("td").count() > 0)
        assert panel.locator("h4").inner_text() == "named → hours"
        # The names and values of the user are text here, as everywhere.
        assert EVIL in panel.locator("th b").all_inner_texts()
        assert any(text.startswith("<img src=x") for text in panel.locator("td").all_inner_texts())
        assert page.evaluate("window.harm") is None
        shot(book, "lab_queue")
        view.get_by_role("button", name="Drain", exact=True).click()
        page.wait_for_selector(PICTURE, timeout=30_000)
        (output,) = book.save().cells[0].outputs
        assert output.data["text/plain"].startswith("Job 'steered': drained: ")


def test_tables_charts_and_sliders_live_in_a_page_and_leave_what_reads_well(server: Server, browser: Browser) -> None:
    cells = (LIVE, 'flare.chart(stream, x="timestamp", y="y", by="k")', "gain", "stream", "flare.stop_all()")
    with notebook(server, browser, "lab", "live", *cells) as book:
        page = book.page
        for number in range(4):
            book.run(number)
        table, chart = book.cell(0).locator(".dataflare-live"), book.cell(1).locator(".dataflare-live")

        def least() -> int:
            return min(int(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts())

        book.until(lambda: table.locator("tbody tr").count() == 5)
        book.until(lambda: "M" in (chart.locator("path.s0").first.get_attribute("d") or ""))
        assert table.locator(".state").inner_text() == "live"
        # The slider is a value in the stream that runs.
        book.cell(2).locator(".noUi-handle, input[type=range], [role=slider]").first.focus()
        for _ in range(7):
            page.keyboard.press("ArrowRight")
        book.until(lambda: least() >= 10)
        shot(book, "lab_live")
        book.save()
        page.reload(wait_until="domcontentloaded")
        book.until(lambda: table.locator("tbody tr").count() == 5, 60.0)
        first = table.locator("tbody td").first.inner_text()
        book.until(lambda: table.locator("tbody td").first.inner_text() != first)
        book.ready()
        book.run(4)
        # This page came after the outputs, and cannot replace them. They stay as they were at the end.
        book.until(lambda: [each.locator(".state").inner_text() for each in (table, chart)] == ["ended"] * 2)
        assert table.locator("tbody tr").count() == 5
        book.run(0)
        book.run(4)
        book.until(lambda: book.cell(0).locator("table caption").count() == 1)
        shot(book, "lab_live_ended")
        assert page.evaluate("window.harm") is None
        saved = [[set(output.data) for output in cell.outputs] for cell in book.save().cells]
        assert saved[0] == [{"text/plain", "text/html"}]
