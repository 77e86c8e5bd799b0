"""The dashboard in a real kernel, as a page sees it: greeting, frames, buttons, clicks, and what stays at the end."""

from __future__ import annotations

import base64
import re
import struct
import time
from typing import Any

import pytest
from ipykernels import OTHERS, has_subshells, python_path

from .kernel import Kernel, kernel

pytestmark = pytest.mark.slow

SETUP = """
import threading, time
import polars as pl
import dataflare_nb as flare

def slowly(seconds):
    def work(batch):
        if batch.height:
            time.sleep(seconds)
        return batch
    return work

def ticking(name, seconds=0.005, rate=20_000.0):
    return flare.rate(rate).map_batches(slowly(seconds)).named("slow").run(name)
"""


@pytest.fixture(scope="module")
def shared():
    with kernel() as started:
        started.run(SETUP)
        started.subshell()
        yield started


@pytest.fixture
def running(shared: Kernel):
    yield shared
    shared.run("flare.stop_all()")


def opened(k: Kernel, code: str = "ticking('ticks')") -> str:
    """Show a job, greet its dashboard as a page would, and return its comm."""
    k.run(code)
    comm = k.dashboard()
    k.tell(comm, {"t": "hello", "view": "view"})
    k.until(lambda: k.said(comm, "history"))
    return comm


def models(k: Kernel) -> int:
    """Return how many models are open, those of layouts too."""
    last = {m["content"]["comm_id"]: m["msg_type"] for m in k.seen if m["msg_type"].startswith("comm_")}
    return sum(kind != "comm_close" for kind in last.values())


def numbers(
    k: Kernel, comm: str, message: dict[str, Any]
) -> tuple[dict[str, dict[str, float]], list[dict[str, float]]]:
    """Return a frame's numbers by stage and by edge."""
    state = k.state(comm)
    fields, graph = state["fields"], state["graph"]
    (buffer,) = message["buffers"]
    flat = list(struct.unpack(f"<{len(bytes(buffer)) // 8}d", bytes(buffer)))
    wide, stages = len(fields["node"]), len(graph["nodes"])
    assert len(flat) == wide * stages + len(fields["edge"]) * len(graph["edges"])
    nodes = {
        node["label"]: dict(zip(fields["node"], flat[wide * place : wide * (place + 1)], strict=True))
        for place, node in enumerate(graph["nodes"])
    }
    rest, narrow = flat[wide * stages :], len(fields["edge"])
    edges = [
        dict(zip(fields["edge"], rest[narrow * place : narrow * (place + 1)], strict=True))
        for place in range(len(graph["edges"]))
    ]
    return nodes, edges


def test_a_job_as_the_last_line_opens_a_dashboard_of_its_graph(running):
    shown = running.run("job = ticking('ticks')\njob")
    assert [m["msg_type"] for m in shown] == ["display_data"]
    data = shown[0]["content"]["data"]
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].splitlines()[:2] == ["Job 'ticks'", "  stage      reads"]
    assert shown[0]["content"]["transient"]["display_id"]
    state = running.state(running.dashboard())
    assert [node["label"] for node in state["graph"]["nodes"]] == ["read rate", "slow", "result"]
    assert state["graph"]["edges"][0] == {"from": 0, "to": 1, "port": 0, "tag": "main"}
    assert state["status"] == "running"
    assert state["can"] == ["pause", "resume", "step", "drain", "stop"]
    assert "export" in state["_esm"]


def test_frames_come_ten_times_a_second_while_they_are_painted(running):
    comm = opened(running)
    start = len(running.said(comm, "frame"))
    until = time.monotonic() + 2
    acked = 0
    while time.monotonic() < until:
        running.read(0.05)
        newest = running.said(comm, "frame")[-1]["seq"]
        if newest - acked >= 5:
            running.tell(comm, {"t": "ack", "seq": newest})
            acked = newest
    frames = running.said(comm, "frame")[start:]
    assert 12 <= len(frames) <= 21
    assert [frame["seq"] for frame in frames] == list(range(frames[0]["seq"], frames[0]["seq"] + len(frames)))
    nodes, edges = numbers(running, comm, frames[-1])
    assert frames[-1]["totals"]["rows_in"] == nodes["read rate"]["rows_out"] > 0
    assert all(node["busy"] + node["backpressured"] + node["idle"] == pytest.approx(1) for node in nodes.values())
    assert edges[0]["capacity"] > 0
    assert frames[-1]["verdict"]["words"]


def test_a_page_that_does_not_paint_gets_four_frames_a_second_and_a_hidden_one_one(running):
    comm = opened(running)
    running.listen(1.5)
    start = len(running.said(comm, "frame"))
    running.listen(1.5)
    assert 3 <= len(running.said(comm, "frame")) - start <= 7
    running.tell(comm, {"t": "view", "visible": False, "view": "view"})
    running.tell(comm, {"t": "ack", "seq": running.said(comm, "frame")[-1]["seq"]})
    running.listen(0.5)
    start = len(running.said(comm, "frame"))
    running.listen(1.6)
    assert 1 <= len(running.said(comm, "frame")) - start <= 2


def test_a_page_that_comes_again_gets_the_past_and_all_of_the_log(running):
    comm = opened(running)
    running.listen(1.0)
    running.tell(comm, {"t": "bye", "view": "view"})
    running.tell(comm, {"t": "hello", "view": "again"})
    running.until(lambda: len(running.said(comm, "history")) == 2)
    past = running.said(comm, "history")[1]
    assert len(past["elapsed"]) >= 5
    assert past["elapsed"] == sorted(past["elapsed"])
    assert len(bytes(past["buffers"][0])) == 8 * 3 * len(past["elapsed"])
    fresh = running.until(lambda: [f for f in running.said(comm, "frame") if f["seen_at"] >= past["seen_at"]])[0]
    assert [line["text"] for line in fresh["log"]] == ["started"]


def press(k: Kernel, comm: str, what: str, timeout: float = 30.0) -> dict[str, Any]:
    """Press a button, and return how it was done."""
    before = len(k.said(comm, "done"))
    k.tell(comm, {"t": "do", "do": what})
    answer: dict[str, Any] = k.until(lambda: k.said(comm, "done")[before:], timeout)[0]
    assert answer["do"] == what
    return answer


def test_buttons_answer_that_they_are_heard_and_when_they_are_done(running):
    comm = opened(running, "job = ticking('ticks', seconds=0.0, rate=2_000.0)\njob")
    assert "job.pause() it first" in press(running, comm, "step")["error"]
    assert running.said(comm, "doing")[-1]["do"] == "step"
    paused = press(running, comm, "pause")
    assert (paused["error"], paused["status"]) == (None, "paused")
    running.until(lambda: running.state(comm)["status"] == "paused")
    running.listen(0.3)
    before = running.said(comm, "frame")[-1]["totals"]["rows_in"]
    stepped = press(running, comm, "step")
    assert (stepped["error"], stepped["did"]) == (None, "read one more batch")
    running.until(lambda: running.said(comm, "frame")[-1]["totals"]["rows_in"] > before)
    assert press(running, comm, "resume")["status"] == "running"
    assert press(running, comm, "drain")["error"] is None
    running.until(lambda: running.state(comm)["status"] == "finished")


def test_what_a_job_cannot_do_is_said(running):
    comm = opened(running)
    running.tell(comm, {"t": "do", "do": "fly"})
    assert running.until(lambda: running.said(comm, "done"))[0]["error"] == "this job cannot fly"
    running.tell(comm, {"t": "nonsense"})
    running.tell(comm, {"t": "peek", "id": 1, "node": 99})
    assert press(running, comm, "pause")["error"] is None


def test_a_click_shows_the_rows_of_a_stage_of_an_edge_and_of_a_side_output(running):
    comm = opened(
        running,
        """
rows = pl.DataFrame({"t": [0, 100, 3, 200, 5] * 20, "word": ["a", "b"] * 50})
windows = (flare.from_frame(rows).event_time("t", unit="s", watermark_every=1).key_by("word")
    .window(flare.tumbling("10s")).agg(n=pl.len()).named("w"))
gate = threading.Event()
def hold(batch):
    gate.wait(30)
    return batch
flare.run(windows.map_batches(hold, schema=windows.schema).named("held"), windows.late.select("t", "word"), name="late")
""",
    )
    stages = [node["label"] for node in running.state(comm)["graph"]["nodes"]]
    edges = running.state(comm)["graph"]["edges"]

    def ask(**what: int) -> dict[str, Any]:
        asked = len(running.said(comm, "rows"))
        running.tell(comm, {"t": "peek", "id": asked, **what})
        return running.until(lambda: [m for m in running.said(comm, "rows") if m["id"] == asked])[0]

    shown = running.until(lambda: found if (found := ask(node=0))["of"] == 100 else None)
    assert shown["title"] == stages[0]
    assert shown["columns"][1] == {"name": "word", "dtype": "String", "summary": "2 different, most often a"}
    assert len(shown["rows"]) == 50
    assert shown["rows"][-1] == ["5", "b"]
    late = next(place for place, edge in enumerate(edges) if edge["tag"] == "late")
    running.until(lambda: ask(edge=late)["rows"])
    assert ask(edge=late)["title"] == "w.late"
    assert "late_by" in [column["name"] for column in ask(edge=late)["columns"]]
    running.run("gate.set()")


def test_the_open_windows_of_a_stage_say_what_they_wait_for(running):
    comm = opened(
        running,
        """
(flare.rate(100.0).event_time("timestamp").window(flare.tumbling("1h")).agg(n=pl.len()).named("hours").run("open"))
""",
    )
    (place,) = [n for n, node in enumerate(running.state(comm)["graph"]["nodes"]) if node["stateful"]]

    def ask() -> dict[str, Any]:
        asked = len(running.said(comm, "windows"))
        running.tell(comm, {"t": "windows", "id": asked, "node": place})
        return running.until(lambda: [m for m in running.said(comm, "windows") if m["id"] == asked])[0]

    shown = running.until(lambda: (found := ask()) if (found := ask())["rows"] and found["watermark"] else None)
    assert shown["of"] == len(shown["rows"]) == len(shown["waits"]) in (1, 2)
    assert re.fullmatch(r"fires when the watermark has moved on by [\d.]+ (ms|s|min|h)", shown["waits"][-1])
    running.tell(comm, {"t": "windows", "id": 1_000, "node": 0})
    refused = running.until(lambda: [m for m in running.said(comm, "windows") if m["id"] == 1_000])[0]
    assert refused["rows"] == []
    assert "with windows" in refused["note"]


def test_clicks_are_answered_while_a_cell_blocks_the_kernel(running):
    assert_answers_while_a_cell_blocks(running)


@pytest.mark.parametrize("version", OTHERS)
def test_clicks_are_answered_while_a_cell_blocks_a_kernel_of_another_version(version):
    """Where the kernel has no subshells frames still come."""
    with kernel(PYTHONPATH=python_path(version)) as started:
        started.run(SETUP)
        assert started.subshell() == has_subshells(version)
        assert_answers_while_a_cell_blocks(started)


def assert_answers_while_a_cell_blocks(running: Kernel) -> None:
    comm = opened(running)
    running.listen(0.3)
    before = len(running.said(comm, "frame"))
    asked = running.send("time.sleep(4)")
    running.listen(0.5)
    worst = 0.0
    if running.shell is not None:
        for turn in range(6):
            start = time.monotonic()
            running.tell(comm, {"t": "peek", "id": turn, "node": 1})
            running.until(lambda turn=turn: [m for m in running.said(comm, "rows") if m["id"] == turn], 10)
            worst = max(worst, time.monotonic() - start)
            running.listen(0.15)
        start = time.monotonic()
        assert press(running, comm, "stop")["error"] is None
        worst = max(worst, time.monotonic() - start)
        assert not running._idle(asked), "the cell was to be busy all the while"
    # A click takes some milliseconds; this leaves room for a machine that does ten other things.
    assert worst < 1.0
    assert len(running.said(comm, "frame")) > before
    running.until(lambda: running._idle(asked))


def test_the_end_of_a_job_takes_the_place_of_its_dashboard(running):
    shown = running.run("job = flare.rate(1_000.0, rows=700).named('some').run('ending')\njob\n")
    comm = running.dashboard()
    running.tell(comm, {"t": "hello", "view": "v"})
    name = shown[0]["content"]["transient"]["display_id"]

    def replaced() -> list[dict[str, Any]]:
        found = [m["content"] for m in running.seen if m["msg_type"] == "update_display_data"]
        return [content for content in found if content["transient"]["display_id"] == name]

    (content,) = running.until(replaced)
    assert content["data"]["text/plain"] == (
        "Job 'ending': finished, all its input is through: 700 rows read, 700 written\n"
        "  stage   reads  rows in  rows out\n"
        "  some                         700\n"
        "  result  some       700       700"
    )
    assert base64.b64decode(content["data"]["image/png"]).startswith(b"\x89PNG")
    assert set(content["data"]) == {"text/plain", "image/png"}
    state = running.state(comm)
    assert state["status"] == "finished"
    assert state["last"]["totals"]["rows_out"] == 700
    assert [row[1] for row in state["last"]["node"]] == [700, 700]
    assert [line["text"] for line in state["last"]["log"]][-1] == "finished: 700 rows were read"
    running.tell(comm, {"t": "bye", "view": "v"})
    running.until(
        lambda: [m for m in running.seen if m["msg_type"] == "comm_close" and m["content"]["comm_id"] == comm]
    )


def test_shown_rows_equal_the_ledger(running):
    running.run("job = ticking('counted', seconds=0.001, rate=5_000.0)\njob")
    comm = running.dashboard()
    running.tell(comm, {"t": "hello", "view": "v"})
    running.listen(1.0)
    ledger = running.run("job.stop(); print({r['stage']: (r['in'], r['out']) for r in job.ledger().to_dicts()})")
    known = eval(ledger[0]["content"]["text"])
    state = running.until(lambda: running.state(comm)["last"] and running.state(comm))
    shown = dict(zip((n["id"] for n in state["graph"]["nodes"]), state["last"]["node"], strict=True))
    assert {stage: (row[0], row[1]) for stage, row in shown.items()} == known
    frame = running.said(comm, "frame")[-1]
    assert frame["totals"]["rows_in"] == sum(out for stage, (_, out) in known.items() if stage.startswith("read"))


def saved(k: Kernel) -> list[str]:
    return [m["content"]["data"]["text/plain"] for m in k.seen if m["msg_type"] == "update_display_data"]


def test_a_job_that_fails_says_where_and_why(running):
    comm = opened(
        running,
        """
def fail(batch):
    if batch.height and batch["value"][-1] > 300:
        raise ValueError("no such carrier")
    return batch
flare.rate(1_000.0).map_batches(fail).named("lookup").run("broken")
""",
    )
    running.until(lambda: running.state(comm)["status"] == "failed")
    assert "stage lookup failed" in running.state(comm)["error"]
    assert running.state(comm)["last"]["log"][-1]["level"] == "error"
    text = running.until(lambda: [text for text in saved(running) if text.startswith("Job 'broken'")])[0]
    assert "no such carrier" in text


def test_a_cell_that_is_run_20_times_leaves_one_job_one_model_and_as_many_threads(running):
    cell = "job = ticking('again')\njob"
    opened(running, cell)
    running.listen(0.3)
    before, known = running.threads(), models(running)
    for _ in range(19):
        # The page takes away what a cell has shown before it is run again.
        running.tell(running.dashboard(), {"t": "bye", "view": "view"})
        running.run(cell)
        running.tell(running.dashboard(), {"t": "hello", "view": "view"})
    running.listen(1.0)
    running.until(lambda: len(running.threads()) <= len(before), 30)
    assert running.run("print(len(flare.jobs()), job.status)")[0]["content"]["text"].split() == ["1", "running"]

    running.until(lambda: models(running) <= known, 20, "models of earlier runs are kept")


def test_a_dashboard_that_is_asked_for_twice_is_one_and_can_be_closed(running):
    running.run("job = ticking('twice')\na, b = job.dashboard(), job.dashboard()")
    assert running.run("print(a is b)")[0]["content"]["text"].strip() == "True"
    assert any(name.endswith(":dashboard") for name in running.threads())
    running.run("a.close(); a.close()")
    running.until(lambda: not any(name.endswith(":dashboard") for name in running.threads()))
    assert running.run("print(job.status, job.dashboard() is a)")[0]["content"]["text"].split() == ["running", "False"]


def test_static_mode_shows_the_picture_and_the_same_text_each_time():
    cell = """
import dataflare_nb as flare, polars as pl
rows = flare.from_frame(pl.DataFrame({"t": [0, 100, 3, 200, 5] * 2_000}))
windows = rows.event_time("t", unit="s", watermark_every=8).window(flare.tumbling("10s")).agg(n=pl.len()).named("w")
job = windows.run("same")
"""
    with kernel(DATAFLARE_STATIC="1") as k:
        k.run(cell)
        first = k.run("job")
        again = [k.run(cell + "job") for _ in range(3)]
        asked = k.run("job.dashboard()")
        live = [k.run("flare.rate(100.0).run('live')") for _ in range(2)]
        assert not [m for m in k.seen if m["msg_type"] == "comm_open"]
    bundles = [m["content"]["data"] for shown in (first, *again, asked) for m in shown]
    assert len(bundles) == 5
    assert all(set(bundle) == {"text/plain", "image/png"} for bundle in bundles)
    assert len({bundle["text/plain"] for bundle in bundles}) == 1
    assert len({bundle["image/png"] for bundle in bundles}) == 1
    assert "late" in bundles[0]["text/plain"]
    texts = [shown[0]["content"]["data"]["text/plain"] for shown in live]
    assert texts[0] == texts[1] == "Job 'live': running\n  stage      reads\n  read rate\n  result     read rate"
