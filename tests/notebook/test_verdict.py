"""Which stage limits a stream: from tables of what stages did, and in real jobs with one slow stage."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.notebook.change import frame
from dataflare_nb.notebook.verdict import Load, Queue, Verdict, verdict


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def chain(*loads: Load, fills: tuple[float, ...] = ()) -> tuple[list[Load], list[Queue]]:
    fills = fills or (0.0,) * (len(loads) - 1)
    return list(loads), [Queue(place, place + 1, fill) for place, fill in enumerate(fills)]


def read(busy: float, waits: float = 0.0, rate: float = 1_000.0) -> Load:
    return Load("read", busy, waits, rate, source=True)


def stage(name: str, busy: float, waits: float = 0.0, rate: float = 1_000.0) -> Load:
    return Load(name, busy, waits, rate)


TABLE = [
    pytest.param(
        chain(read(0.1, 0.87), stage("enrich", 1.0), stage("write", 0.02), fills=(1.0, 0.0)),
        2,
        Verdict(1, "`enrich` limits the stream: busy 100 % of the time, `read` upstream waits 87 %"),
        id="a slow stage",
    ),
    pytest.param(
        chain(read(0.05, 0.95), stage("parse", 0.1, 0.9), stage("write", 0.98), fills=(1.0, 1.0)),
        2,
        Verdict(2, "`write` limits the stream: busy 98 % of the time, `parse` upstream waits 90 %"),
        id="a slow sink, and victims upstream of it",
    ),
    pytest.param(
        chain(read(0.97), stage("parse", 0.1), stage("write", 0.05)),
        2,
        Verdict(0, "`read` limits the stream: busy 97 % of the time, and all that follows waits for its 1,000 rows/s"),
        id="a source that works hard",
    ),
    pytest.param(
        chain(read(0.54), stage("parse", 0.1), stage("write", 0.05)),
        2,
        Verdict(0, "`read` limits the stream: busy 54 % of the time, and all that follows waits for its 1,000 rows/s"),
        id="a source that works more than all that follows",
    ),
    pytest.param(
        chain(read(0.01), stage("parse", 0.12), stage("write", 0.05)),
        2,
        Verdict(
            None,
            "keeps up: the source `read` gives no more than 1,000 rows/s; the busiest stage, `parse`, works 12 % of "
            "the time",
        ),
        id="a source that gives no more",
    ),
    pytest.param(
        chain(read(0.01), stage("parse", 0.55), stage("write", 0.05)),
        2,
        Verdict(
            None,
            "keeps up: the source `read` gives no more than 1,000 rows/s; the busiest stage, `parse`, works 55 % of "
            "the time",
        ),
        id="a stage that works much and still keeps up",
    ),
    pytest.param(
        chain(read(0.01), stage("parse", 0.94), stage("write", 0.05)),
        1,
        Verdict(1, "`parse` limits the stream: busy 94 % of the time, the others share what is left"),
        id="one worker, so that no queue ever fills",
    ),
    pytest.param(
        chain(read(0.0, rate=0.0), stage("parse", 0.0, rate=0.0)),
        2,
        Verdict(None, "nothing to do: no rows have come in the last second"),
        id="no rows",
    ),
    pytest.param(
        chain(read(0.0, rate=0.0), stage("windows", 0.3, rate=40.0)),
        2,
        Verdict(None, "keeps up: no more rows come in, `windows` works on what is left"),
        id="what is left when the input has ended",
    ),
    pytest.param(
        chain(read(0.36), stage("a", 0.33), stage("b", 0.30)),
        1,
        Verdict(
            None,
            "no single stage limits the stream: `read` is the busiest with 36 % of the time, and the processors are "
            "shared",
        ),
        id="work that is spread evenly",
    ),
]


@pytest.mark.parametrize(("did", "workers", "expected"), TABLE)
def test_the_verdict(did, workers, expected):
    assert verdict(*did, workers) == expected


def test_of_two_branches_the_slow_one_is_named_and_not_the_one_that_shares_its_source():
    loads = [read(0.1, 0.9), stage("cheap", 0.1), stage("dear", 0.99), stage("union", 0.05)]
    queues = [Queue(0, 1, 0.0), Queue(0, 2, 1.0), Queue(1, 3, 0.2), Queue(2, 3, 0.0)]
    assert verdict(loads, queues, 2).node == 2


shares = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda t: (t[0], min(t[1], 1.0 - t[0])))


@st.composite
def graphs(draw):
    size = draw(st.integers(1, 8))
    loads = []
    for place in range(size):
        busy, waits = draw(shares)
        loads.append(Load(f"s{place}", busy, waits, draw(st.floats(0, 1e9)), source=place == 0))
    pairs = [(a, b) for b in range(size) for a in range(b)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return loads, [Queue(a, b, draw(st.floats(0, 1.5))) for a, b in chosen], draw(st.integers(1, 8))


@given(graphs())
def test_who_is_named_is_never_held_back_itself_and_nobody_quiet_is(graph):
    loads, queues, workers = graph
    found = verdict(loads, queues, workers)
    assert found.words
    if found.node is not None:
        assert loads[found.node].busy > loads[found.node].backpressured
        assert f"`{loads[found.node].label}` limits the stream" in found.words
    assert verdict(loads, queues, workers) == found


@given(st.integers(0, 4), st.integers(2, 6), st.floats(0.6, 1.0), st.randoms())
def test_in_a_chain_it_is_the_stage_that_all_before_wait_for(culprit, size, busy, dice):
    culprit = min(culprit, size - 1)
    loads = []
    for place in range(size):
        if place < culprit:
            waits = dice.uniform(0.5, 0.9)
            loads.append(Load(f"s{place}", 1 - waits, waits, 10.0, source=place == 0))
        else:
            loads.append(Load(f"s{place}", busy if place == culprit else busy / 10, 0.0, 10.0, source=place == 0))
    if culprit == 0 and busy < 0.9:
        return
    queues = [Queue(place, place + 1, 1.0 if place < culprit else 0.0) for place in range(size - 1)]
    assert verdict(loads, queues, 2).node == culprit


# ---- real jobs ----


class Digging:
    """A source that works for each of its batches."""

    bounded = False
    invalid_schema = None
    schema = pl.Schema({"value": pl.Int64})

    def __init__(self, gate: threading.Event, seconds: float) -> None:
        self.gate, self.seconds = gate, seconds

    def splits(self) -> list[str]:
        return ["all"]

    def total_rows(self) -> int | None:
        return None

    def open(self, split: str, offset: Any = None) -> Digging:
        return self

    def poll(self, max_rows: int) -> pl.DataFrame:
        self.gate.wait(self.seconds)
        return pl.DataFrame({"value": pl.int_range(min(max_rows, 1_000), eager=True)})

    def rejected(self) -> None:
        return None

    def offset(self) -> int:
        return 0

    def close(self) -> None:
        pass


def slow(gate: threading.Event, seconds: float):
    def work(batch: pl.DataFrame, epoch: int = 0) -> pl.DataFrame:
        if batch.height:
            gate.wait(seconds)
        return batch

    return work


def five_stages(number: int, gate: threading.Event) -> tuple[list[flare.Stream], str]:
    """Return a graph of a random shape, a source and three stages and a sink on its longest way, and its slow stage."""
    dice = random.Random(number)
    names = ["source", "first", "second", "third", "sink"]
    culprit = names[number % 5]
    effort = {name: 0.03 if name == culprit else dice.choice([0.0, 0.001]) for name in names}
    flare.register_source("digging", lambda options, resources: Digging(gate, effort["source"]))
    streams = [flare.read("digging").named("source")]
    for name in names[1:4]:
        parent = streams[-1] if dice.random() < 0.6 else dice.choice(streams)
        streams.append(parent.map_batches(slow(gate, effort[name])).named(name))
    end = streams[-1].union(streams[-2]) if dice.random() < 0.4 else streams[-1]
    return [*streams[1:], end.for_each_batch(slow(gate, effort["sink"])).named("sink")], culprit


@pytest.mark.slow
def test_in_20_of_20_random_graphs_the_slow_stage_is_named_and_no_other():
    gate = threading.Event()
    wrong = []
    for number in range(20):
        heads, culprit = five_stages(number, gate)
        job = flare.run(*heads, name="random", workers=2, latency="20ms")
        outline = job.outline()
        time.sleep(0.25)
        before = job.read()
        time.sleep(0.35)
        now = job.read()
        job.stop()
        shown = frame(outline, before, now)
        named = None if shown.verdict.node is None else outline.stages[shown.verdict.node].label
        if named != culprit:
            did = {stage.label: numbers[3:6] for stage, numbers in zip(outline.stages, shown.nodes, strict=True)}
            wrong.append((number, culprit, shown.verdict.words, did))
        assert all(sum(numbers[3:6]) == pytest.approx(1.0) for numbers in shown.nodes)
    assert not wrong
