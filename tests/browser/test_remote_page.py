"""The dashboard of a job on a cluster, in JupyterLab: what it shows and can do, and that it comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")

from deploy.flink import Flink, served
from deploy.test_attach import running

from .jupyter import Server, notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SHOTS = os.environ.get("DATAFLARE_SHOTS")
"""A folder for pictures of what the tests see."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("jupyter"))
    try:
        yield made.wait()
    finally:
        made.close()


def total(page: Page, name: str) -> str:
    texts: list[str] = page.locator(".dataflare .totals").inner_text().split("\n")
    return texts[texts.index(name) + 1] if name in texts else ""


def fact(page: Page, node: int, name: str) -> str:
    texts: list[str] = page.locator(f"[data-node='{node}'] .facts").inner_text().split("\n")
    texts = [each for each in texts if each]
    return texts[texts.index(name) + 1] if name in texts else ""


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


def test_a_job_of_a_cluster_has_the_same_dashboard_with_what_is_known_of_it(server: Any, browser: Browser) -> None:
    flink = Flink()
    running(flink, parallelism=1_000)
    flink.add("hourly")
    with served(flink) as url:
        cell = f"import dataflare_nb as flare\njob = flare.attach({url!r}, job='hourly')\njob"
        with notebook(server, browser, "lab", "cluster", cell) as book:
            page = book.page
            book.run(0)
            page.wait_for_selector(".dataflare .card", timeout=30_000)
            assert page.locator(".dataflare .name").all_inner_texts() == ["rows +2", "hourly", "write parquet out"]
            book.until(lambda: total(page, "rows in") == "1,000")
            assert (fact(page, 1, "instances"), fact(page, 1, "late")) == ("1.00k", "3")
            # What nobody tells has no place, and neither has the memory of this kernel.
            assert (fact(page, 1, "p50"), fact(page, 1, "batch"), total(page, "memory")) == ("", "", "")
            told = [total(page, name) for name in ("checkpoints", "failed checkpoints", "restarts")]
            assert told == ["7", "1", "0"]
            assert page.locator("[data-node='1'] .parts").inner_text().split() == ["■", "80%", "▨", "10%", "□", "10%"]
            buttons = page.locator(".dataflare .buttons button")
            assert buttons.all_inner_texts() == ["Checkpoint", "Stop with savepoint", "Cancel"]
            shot(page, "cluster-running")
            page.locator("[data-do=checkpoint]").click()
            book.until(lambda: "checkpoint 8 is complete" in page.locator(".dataflare header .note").inner_text())
            page.locator("[data-node='1']").click()
            book.until(lambda: "pass nobody here" in page.locator(".dataflare .panel .note").inner_text())
            page.keyboard.press("Escape")
        with notebook(server, browser, "lab", "again", cell) as book:
            page = book.page
            book.run(0)
            book.until(lambda: total(page, "rows in") == "1,000")
            flink.html, flink.status = True, 503
            book.until(lambda: page.locator(".dataflare .pill").inner_text() == "disconnected")
            book.until(lambda: "HTTP 503" in page.locator(".dataflare .verdict").inner_text())
            assert total(page, "rows in") == "1,000"
            shot(page, "cluster-disconnected")
            flink.html = False
            book.until(lambda: page.locator(".dataflare .pill").inner_text() == "running")
            page.locator("[data-do=savepoint]").click()
            # A picture takes its place when it has ended.
            page.wait_for_selector(".jp-OutputArea-output img", timeout=30_000)
            shot(page, "cluster-stopped")
