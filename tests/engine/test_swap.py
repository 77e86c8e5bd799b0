"""`job.swap`: a running stage goes on with another version between two batches, and no row is lost or done by both."""

from __future__ import annotations

import itertools
import logging
import threading
import time

import polars as pl
import pytest
from plugins.cells import CELLS

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.errors import (
    BadOption,
    JobError,
    JobStopped,
    JobTimeout,
    StageFailed,
    UnknownStage,
    WasmConfiguration,
    WasmPluginExecution,
    WasmPluginLoad,
    WrongType,
)
from dataflare_nb.wasm import Plugin, WasmPluginConfig, toolchains


def times(factor: float, *, name: str = "times", kind: str = "Processor", column: str = "y") -> Plugin:
    """A plugin that makes `y` of `x`."""
    text = CELLS["wat"].replace("(f64.const 2)", f"(f64.const {factor})").replace('"y\\00"', f'"{column}\\00"')
    built = toolchains.build_text(text, "wat", name=name, label="times")
    return Plugin.of(WasmPluginConfig.load({"name": name, "type": kind, "module_path": "-"}), built.module)


@flare.udf
def plus_one(x: float) -> float:
    return x + 1.0


@flare.udf
def plus_two(x: float) -> float:
    return x + 2.0


@flare.udf
def inverse(x: float) -> float:
    return 1.0 / x


@flare.udf
def as_whole(x: float) -> int:
    return int(x)


@flare.udf
def patient(x: float) -> float:
    total = 0.0
    for _ in range(2_000_000_000):
        total += x
    return total


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def fed() -> testing.Feed:
    return testing.Feed({"i": pl.Int64, "x": pl.Float64})


def rows(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"i": numbers, "x": [float(n) for n in numbers]})


def give(feed: testing.Feed, job: flare.Job, frame: pl.DataFrame) -> None:
    """Give rows and wait until they are through, however many workers there are."""
    wanted = job.result().height + frame.height
    feed.give(frame)
    deadline = time.monotonic() + 60
    while job.result().height < wanted:
        assert time.monotonic() < deadline, "the rows do not come"
        time.sleep(0.005)


def versions(frame: pl.DataFrame) -> list[float]:
    """Return for each row, in order, by what its number was multiplied."""
    return (frame["y"] / frame["x"]).to_list()


def test_rows_before_a_swap_are_the_old_ones_and_all_after_the_new_ones(caplog: pytest.LogCaptureFixture) -> None:
    feed = fed()
    one, two = times(2), times(3)
    job = feed.stream.wasm(one, column="x").named("scale").run(workers=1, clock=testing.clock(7_000_000))
    feed.give(rows(1, 2, 3)).settle()
    with caplog.at_level(logging.INFO, "dataflare_nb"):
        swap = job.swap("scale", two)
    feed.give(rows(4, 5)).settle()
    assert versions(job.result()) == [2, 2, 2, 3, 3]
    assert (swap.stage, swap.row, swap.at) == ("scale", 3, 7_000_000)
    assert swap.before == f"times {one.sha256[:12]}"
    assert swap.after == f"times {two.sha256[:12]}"
    assert f"stage scale runs {swap.after} instead of {swap.before} from row 3 on" in caplog.text
    again = job.swap("scale", one)
    assert (again.before, again.row) == (swap.after, 5)
    assert job.swaps().rows() == [
        ("scale", swap.before, swap.after, 3, pl.Series([7_000_000]).cast(pl.Datetime("us"))[0]),
        ("scale", swap.after, swap.before, 5, pl.Series([7_000_000]).cast(pl.Datetime("us"))[0]),
    ]
    ledger = job.ledger()
    assert ledger["balanced"].all()
    assert ledger.filter(stage="scale")["swapped_at"].to_list() == [5]
    assert ledger.filter(pl.col("stage") != "scale")["swapped_at"].null_count() == ledger.height - 1
    assert job.drain(60).status == "finished"
    assert job.swaps().height == 2


@pytest.mark.parametrize("workers", [1, 4])
def test_many_swaps_under_way_lose_no_row_and_give_none_to_both(workers: int) -> None:
    factors = (2, 3, 5, 7)
    plugins = [times(factor) for factor in factors]
    stream = flare.rate(200_000).select(x=pl.col("value").cast(pl.Float64) + 1)
    job = stream.wasm(plugins[0], column="x").named("scale").run(workers=workers, latency="20ms")
    swaps = []
    for number in range(1, 12):
        time.sleep(0.03)
        swaps.append(job.swap("scale", plugins[number % 4]))
    time.sleep(0.1)
    found = job.drain(120).result()
    bounds = [0, *(swap.row for swap in swaps), found.height]
    assert bounds == sorted(bounds)
    assert bounds[-2] > 0
    assert found["x"].to_list() == [float(n) for n in range(1, found.height + 1)]
    runs = [[factors[n % 4]] * (end - start) for n, (start, end) in enumerate(itertools.pairwise(bounds))]
    assert versions(found) == list(itertools.chain(*runs))
    assert job.ledger()["balanced"].all()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_compiled_function_is_swapped_too(workers: int) -> None:
    feed = fed()
    job = feed.stream.with_columns(y=plus_one("x")).named("add").run(workers=workers)
    give(feed, job, rows(1, 2))
    assert job.swap("add", plus_two).row == 2
    give(feed, job, rows(3))
    assert job.swap("add", plus_one.kernel).row == 3
    give(feed, job, rows(4))
    assert job.result()["y"].to_list() == [2.0, 3.0, 5.0, 5.0]


def test_a_filter_is_swapped() -> None:
    @flare.udf
    def small(x: float) -> bool:
        return x < 3.0

    @flare.udf
    def large(x: float) -> bool:
        return x >= 3.0

    feed = fed()
    job = feed.stream.filter(small("x")).named("keep").run(workers=1)
    feed.give(rows(1, 5)).settle()
    job.swap("keep", large)
    feed.give(rows(2, 6)).settle()
    assert job.result()["i"].to_list() == [1, 6]
    with pytest.raises(WrongType, match="returns float, and a filter needs bool"):
        job.swap("keep", plus_one)


def test_a_batch_that_is_under_way_is_finished_by_the_version_that_took_it() -> None:
    """The swap waits for it; a slow stage after it fills up and holds the batches back meanwhile."""
    gate, inside = threading.Event(), threading.Event()

    def held(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            inside.set()
            assert gate.wait(60)
        return frame

    feed = fed()
    job = feed.stream.wasm(times(2), column="x").named("scale").map_batches(held).run(workers=2)
    feed.give(rows(1, 2))
    assert inside.wait(60)
    swap = job.swap("scale", times(3))
    feed.give(rows(3))
    gate.set()
    give(feed, job, rows(4))
    assert swap.row == 2
    found = job.drain(60).result()
    assert versions(found) == [2, 2, 3, 3]


def test_a_swap_works_while_the_job_is_paused() -> None:
    feed = fed()
    job = feed.stream.wasm(times(2), column="x").named("scale").run(workers=2)
    give(feed, job, rows(1))
    job.pause()
    assert job.swap("scale", times(3)).row == 1
    job.resume()
    give(feed, job, rows(2))
    assert versions(job.result()) == [2, 3]


def test_a_stage_that_stays_busy_is_left_as_it_is(within) -> None:
    feed = fed()
    job = feed.stream.with_columns(y=patient("x")).named("slow").run(workers=2)
    feed.give(rows(1))
    while job.metrics().filter(stage="slow").select("rows_in", "queue_rows").row(0) != (1, 0):
        time.sleep(0.01)
    with within(5), pytest.raises(JobTimeout, match="stage slow was busy all the time; ask again"):
        job.swap("slow", plus_one, timeout=0.2)
    assert job.swaps().is_empty()
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            job.swap("slow", plus_one)
        except JobStopped as error:
            waiting.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    job.stop()
    thread.join(30)
    assert job.status == "stopped"
    assert "has ended at stage `slow`" in str(waiting[0])


def test_a_version_with_another_schema_is_refused_and_the_difference_named() -> None:
    feed = fed()
    job = feed.stream.wasm(times(2), column="x").named("scale").run(workers=1)
    added = fed().stream.with_columns(y=plus_one("x")).named("add").run(workers=1)
    words = "cannot go on with {} [0-9a-f]{{12}}, because its schema would change: {}; start another job"
    with pytest.raises(WrongType, match=words.format("times", r"it would lose `y`, it would add `z` \(Float64\)")):
        job.swap("scale", times(3, column="z"))
    with pytest.raises(WrongType, match=words.format("as_whole", "`y` would be Int64 instead of Float64")):
        added.swap("add", as_whole)
    host = flare.wasm.bundled_plugin("url_parts", parts=["host"])
    with pytest.raises(WasmPluginExecution, match="url_parts takes one text column"):
        job.swap("scale", host)
    feed.give(rows(1)).settle()
    assert versions(job.result()) == [2]
    assert job.swaps().is_empty()


def test_a_version_that_cannot_be_started_leaves_the_job_as_it_is() -> None:
    feed = fed()
    job = feed.stream.wasm(times(2), column="x").named("scale").run(workers=1)
    broken = times(3)
    with pytest.raises(WasmPluginLoad, match="it must export the function `filter_data`"):
        job.swap("scale", times(3, kind="Filter"))
    with pytest.raises(WasmPluginLoad, match="this is not a core WebAssembly module"):
        job.swap("scale", Plugin(broken.config, b"nonsense"))
    with pytest.raises(WasmConfiguration, match="cannot read nowhere"):
        job.swap("scale", "nowhere/plugin.json")
    feed.give(rows(1)).settle()
    assert versions(job.result()) == [2]


def test_a_version_that_fails_later_fails_the_job_as_any_would() -> None:
    feed = fed()
    job = feed.stream.with_columns(y=plus_one("x")).named("add").run(workers=1)
    feed.give(rows(0)).settle()
    assert job.swap("add", inverse).row == 1
    feed.give(rows(0))
    with pytest.raises(StageFailed, match=r"stage add failed .* inverse: ZeroDivisionError: .*division by zero"):
        job.wait(60)
    with pytest.raises(JobStopped, match="is failed"):
        job.swap("add", plus_one)


def test_only_stages_that_run_webassembly_are_swapped() -> None:
    feed = fed()
    stream = feed.stream.filter(pl.col("x") > 0).named("some").wasm(times(2), column="x").named("scale")
    job = stream.run(workers=1)
    with pytest.raises(
        BadOption, match=r"swap at test_swap.py, line .* stage `some` runs no WebAssembly, .* that can are scale"
    ):
        job.swap("some", times(3))
    with pytest.raises(
        UnknownStage, match=r"no stage `scael`; those that can be swapped are scale\. Did you mean `scale`\?"
    ):
        job.swap("scael", times(3))
    with pytest.raises(
        WrongType, match=r"stage `scale` runs a plugin, and <udf plus_one.* is none; save it as one with"
    ):
        job.swap("scale", plus_one)
    with pytest.raises(WrongType, match="stage `scale` runs a plugin, and 3 is none"):
        job.swap("scale", 3)
    other = fed().stream.with_columns(y=plus_one("x")).named("add").run(workers=1)
    with pytest.raises(WrongType, match=r"runs a compiled function, and Plugin.* is none; put @flare.udf over it"):
        other.swap("add", times(3))
    plain = fed().stream.filter(pl.col("x") > 0).named("some").run(workers=1)
    for name, kind in (("some", BadOption), ("scale", UnknownStage)):
        with pytest.raises(kind, match=r"none of this job can be: there is no plugin and no compiled function in it"):
            plain.swap(name, times(3))


def test_a_job_that_has_ended_swaps_nothing() -> None:
    job = flare.from_frame(rows(1, 2)).wasm(times(2), column="x").named("scale").run().wait(60)
    with pytest.raises(JobStopped, match="is finished"):
        job.swap("scale", times(3))
    assert job.swaps().is_empty()


def test_a_job_cannot_swap_from_inside_its_own_functions() -> None:
    caught: list[BaseException] = []

    def try_it(frame: pl.DataFrame) -> pl.DataFrame:
        if frame.height:
            try:
                flare.job("own").swap("scale", times(3))
            except JobError as error:
                caught.append(error)
        return frame

    stream = flare.from_frame(rows(1)).wasm(times(2), column="x").named("scale").map_batches(try_it)
    stream.run(name="own").wait(60)
    assert "cannot wait for itself" in str(caught[0])
