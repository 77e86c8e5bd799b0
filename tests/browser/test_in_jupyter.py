"""The dashboard in JupyterLab and Notebook 7, in a real browser: it moves, answers, comes back, leaves a picture."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")
if importlib.util.find_spec("jupyterlab") is None:
    pytest.skip("jupyterlab is not installed", allow_module_level=True)

from .jupyter import PYTHON, Notebook, Server, notebook

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


def has_subshells() -> bool:
    found = subprocess.run(
        [PYTHON, "-c", "import ipykernel; print(ipykernel.__version__)"], capture_output=True, text=True
    )
    return int(found.stdout.split(".")[0]) >= 7


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


@pytest.mark.parametrize("front", ["lab", "notebook"])
def test_it_moves_answers_while_a_cell_blocks_and_leaves_a_picture(
    server: Server, browser: Browser, front: str, within: Any
) -> None:
    with notebook(server, browser, front, f"live_{front}", JOB, "time.sleep(20)") as book:
        book.run(0)
        shown(book)
        first = rows_in(book)
        book.until(lambda: rows_in(book) != first)
        book.until(lambda: "slow limits the stream" in book.page.locator(".dataflare .verdict").inner_text())
        shot(book, f"{front}_running")
        page = book.page
        card = page.locator(".dataflare .card").nth(1)
        if has_subshells():
            book.run(1, wait=False)
            page.wait_for_timeout(400)
            before = rows_in(book)
            with within(1.0):
                card.click()
                page.wait_for_selector(".dataflare .panel td", timeout=20_000)
            shot(book, f"{front}_rows")
            book.until(lambda: rows_in(book) != before)
            with within(1.0):
                page.get_by_role("button", name="Stop").click()
                page.wait_for_selector(f".dataflare[data-status=stopped], {PICTURE}", timeout=20_000)
            assert book.cell(1).locator(".jp-InputPrompt").inner_text() == "[*]:", "the cell was to be busy meanwhile"
            page.wait_for_selector(PICTURE, timeout=20_000)
        else:
            page.get_by_role("button", name="Stop").click()
            page.wait_for_selector(PICTURE, timeout=20_000)
        assert page.locator(".dataflare").count() == 0
        shot(book, f"{front}_ended")
        (output,) = book.save().cells[0].outputs
        assert set(output.data) == {"text/plain", "image/png"}
        assert output.data["text/plain"].startswith("Job 'ticks': stopped")
        shutil.copy(book.path, book.path.with_name(f"again_{front}.ipynb"))
        again = Notebook(server, page, f"again_{front}", front)
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
