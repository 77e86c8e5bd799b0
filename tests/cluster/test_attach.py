"""A job on a real cluster, attached to: its numbers are true, its verbs do what they say, and a page shows it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.cli import main
from dataflare_nb.deploy.local import LocalCluster
from dataflare_nb.errors import JobStopped

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SHOTS = os.environ.get("DATAFLARE_SHOTS")
"""A folder for pictures of what the tests see."""
BATCH = 64


def slowly(batch: pl.DataFrame) -> pl.DataFrame:
    time.sleep(0.05)
    return batch


def hourly(batches: int, pause: Callable[[pl.DataFrame], pl.DataFrame] = slowly) -> flare.Stream:
    rows = pl.DataFrame({"at": range(batches * BATCH)}).with_columns(
        # Each hundredth row is a day behind.
        at=pl.when(pl.col("at") % 100 == 99).then(pl.col("at") - 86_400).otherwise(pl.col("at")),
        key=(pl.col("at") * 7 % 23).cast(pl.String),
    )
    return (
        flare.from_frame(rows)
        .named("flights")
        .event_time("at", "60s", unit="s", watermark_every=BATCH)
        .map_batches(pause)
        .key_by("key")
        .window(flare.tumbling("1m"))
        .agg(n=pl.len())
        .named("hourly")
    )


@pytest.fixture
def own() -> Iterator[list[Any]]:
    """Jobs that a test has submitted; none keeps its slots when the test is over."""
    made: list[Any] = []
    yield made
    for job in made:
        job.cancel()


def until(holds: Callable[[], Any], seconds: float = 250.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_job_tells_its_numbers_takes_checkpoints_and_stops_with_a_savepoint(
    cluster: LocalCluster, tmp_path: Path, own: list[Any]
) -> None:
    threads = set(threading.enumerate())
    made = hourly(4_000).deploy(cluster, out=tmp_path / "x")
    submitted = made.submit()
    own.append(submitted)
    until(lambda: submitted.status == "running")
    job = flare.attach(cluster.url, job="hourly")
    assert type(job) is type(submitted)
    assert job.id == submitted.id
    assert [stage.label for stage in job.outline().stages] == ["flights +2", "hourly"]
    assert job.parallelism["hourly"] == 2

    def told() -> dict[str, Any] | None:
        rows = {row["stage"]: row for row in job.metrics().to_dicts()}
        full = all(rows[stage][column] for stage, column in (("flights", "rows_per_s"), ("hourly", "rows_in")))
        return rows if full else None

    rows = until(told)
    assert 0 < rows["flights"]["rows_out"] <= 4_000 * BATCH
    assert 0 < rows["hourly"]["rows_in"] <= rows["flights"]["rows_out"] + 2 * BATCH
    # 50 ms for each batch, and what it costs besides.
    assert 20 < rows["flights"]["rows_per_s"] < 1.5 * BATCH / 0.05
    assert 0.3 < rows["flights"]["busy"] <= 1.0
    assert rows["hourly"]["parallelism"] == 2
    assert until(lambda: job.metrics().row(by_predicate=pl.col("stage") == "hourly", named=True)["late"]) > 0
    assert job.metrics().row(by_predicate=pl.col("stage") == "hourly", named=True)["watermark"] is not None
    assert ("hourly", "late") in job.ledger().select("stage", "name").rows()

    number = job.checkpoint()
    until(lambda: number in job.checkpoints().filter(pl.col("status") == "completed")["id"].to_list())
    place = job.stop_with_savepoint(f"file://{tmp_path}/savepoints")
    assert place.startswith(f"file:{tmp_path}")
    assert job.status == "stopped"
    assert "savepoint" in job.log()["text"].str.join(" ")[0]
    until(lambda: submitted.status in ("stopped", "finished"))
    with pytest.raises(JobStopped):
        job.checkpoint()
    job.detach()
    assert set(threading.enumerate()) == threads


def test_the_command_line_submits_a_graph_and_shows_its_rows(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame({"n": range(1_000)}).write_parquet(tmp_path / "in.parquet")
    stream = flare.read_parquet(tmp_path / "in.parquet").filter(pl.col("n") % 100 == 0).named("hundreds")
    graph = tmp_path / "graph.json"
    graph.write_bytes(stream.to_json())
    assert main(["deploy", str(graph), "--out", str(tmp_path / "x"), "--submit", cluster.url]) == 0
    said = capsys.readouterr().out
    assert f"hundreds is on its way to {cluster.url}; Ctrl-C cancels it" in said
    assert "hundreds: finished" in said
    assert "The last rows of hundreds" in said
    assert "900" in said


@pytest.fixture
def page() -> Any:
    pytest.importorskip("playwright")
    pytest.importorskip("jupyterlab")
    from browser.chromium import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def server(tmp_path: Path) -> Any:
    pytest.importorskip("jupyterlab")
    from browser.jupyter import Server

    made = Server(tmp_path)
    try:
        yield made.wait()
    finally:
        made.close()


def test_the_dashboard_shows_a_job_of_the_cluster(
    cluster: LocalCluster, tmp_path: Path, server: Any, page: Any, own: list[Any]
) -> None:
    from browser.jupyter import notebook

    submitted = hourly(6_000).deploy(cluster, out=tmp_path / "x").submit()
    own.append(submitted)
    until(lambda: submitted.status == "running")
    cell = f"import dataflare_nb as flare\njob = flare.attach({cluster.url!r}, job='hourly')\njob"
    with notebook(server, page, "lab", "remote", cell, "job.status") as book:
        book.run(0)
        shown: Page = book.page
        shown.wait_for_selector(".dataflare .card", timeout=30_000)
        assert shown.locator(".dataflare .name").all_inner_texts() == ["flights +2", "hourly"]
        book.until(lambda: _total(shown, "rows in") not in ("", "–", "0"), 200)
        book.until(lambda: shown.locator("[data-node='0'] .rate b").inner_text() not in ("–", "0"), 200)
        assert _fact(shown, 1, "instances") == "2"
        assert int(_total(shown, "checkpoints").replace(",", "")) >= 0
        assert shown.locator(".dataflare .pill").inner_text() == "running"
        assert shown.locator(".dataflare .buttons button").all_inner_texts() == [
            "Checkpoint",
            "Stop with savepoint",
            "Cancel",
        ]
        _shot(shown, "remote-running")
        shown.locator("[data-do=checkpoint]").click()
        book.until(lambda: "is complete" in shown.locator(".dataflare header .note").inner_text(), 200)
        shown.locator("[data-node='1']").click()
        book.until(lambda: "pass nobody here" in shown.locator(".dataflare .panel .note").inner_text())
        _shot(shown, "remote-panel")
        shown.locator(".dataflare .panel").get_by_role("button", name="Close").click()
        shown.locator("[data-do=savepoint]").click()
        # Its place is taken by the picture when it has ended.
        shown.wait_for_selector(".jp-OutputArea-output img", timeout=200_000)
        _shot(shown, "remote-stopped")
        book.run(1)
        book.until(lambda: "'stopped'" in book.cell(1).inner_text())
    until(lambda: not submitted.running)


def _total(page: Page, name: str) -> str:
    texts: list[str] = page.locator(".dataflare .totals").inner_text().split("\n")
    return texts[texts.index(name) + 1] if name in texts else ""


def _fact(page: Page, node: int, name: str) -> str:
    texts: list[str] = page.locator(f"[data-node='{node}'] .facts").inner_text().split("\n")
    texts = [each for each in texts if each]
    return texts[texts.index(name) + 1] if name in texts else ""


def _shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")
