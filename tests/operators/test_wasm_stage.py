"""Stages that run in WebAssembly keep the contract of an operator."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from wasmtime import wat2wasm

import dataflare_nb as flare
from dataflare_nb.clock import ManualClock
from dataflare_nb.errors import (
    BadOption,
    StageFailed,
    UnknownColumn,
    WasmBadOutput,
    WasmConfiguration,
    WasmInterrupted,
    WasmTrap,
    WrongType,
)
from dataflare_nb.operators.udf import UdfStage
from dataflare_nb.operators.wasm import WasmStage
from dataflare_nb.types import NEVER, Clock, EventTime, Operator, Side
from dataflare_nb.wasm import Plugin, UdfFailed, WasmPluginConfig, udf
from tests.wasm.guests import ECHO, ROOT_ARRAY, SCHEMA, plugin

CARRIER = Plugin.load(Path(__file__).parents[2] / "plugins" / "carrier_code" / "plugin.json")
FLIGHTS = pl.DataFrame({"carrier": ["AA", "??", "B6"], "delay": [5.0, None, -2.0]})


class Host:
    """The smallest context."""

    node_id = "node"
    watermark: EventTime = NEVER
    clock: Clock = ManualClock()

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by


@udf
def doubled(x: float) -> float:
    return x * 2


@udf
def inverse(x: float) -> float:
    return 1 / x


@udf
def late(x: float) -> bool:
    return x > 0


@udf(max_execution_time="1h")
def patient(x: float) -> float:
    while x > 0:
        x = x + 0.0
    return x


def guest(work: str, kind: str = "Processor", **policy: Any) -> Plugin:
    """Return a plugin whose work is given in WebAssembly text, with the batch at `$at`."""
    function = {"Processor": "process_data", "Transformer": "transform_data", "Filter": "filter_data"}[kind]
    module = wat2wasm(f"""(module (memory (export "memory") 4) (global $top (mut i32) (i32.const 65536))
      (func (export "df_abi_version") (result i32) (i32.const 1))
      (func (export "df_formats") (result i32) (i32.const 4))
      (func (export "df_reset") (global.set $top (i32.const 65536)))
      (func (export "df_alloc") (param $n i32) (result i32) (global.get $top)
        (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get $n)) (i32.const 63)) (i32.const -64))))
      (func (export "{function}") (param $at i32) (param $n i32) (result i32) {work}
        (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (i32.const 8))
        (i32.store (i32.const 24) (i32.const 3)) (i32.const 16)))""")
    config = WasmPluginConfig.load(
        {"name": "guest", "type": kind, "module_path": "-", "security_policy": {"max_memory": 262144, **policy}}
    )
    return Plugin.of(config, bytes(module))


# Trap if the first column, of ints, holds 13.
UNLUCKY = """(local $i i32) (local $rows i32) (local $data i32)
  (local.set $rows (i32.wrap_i64 (i64.load (i32.load offset=4 (local.get $at)))))
  (local.set $data (i32.load (i32.load offset=44 (i32.load offset=4 (local.get $at)))))
  (local.set $data (i32.load offset=4 (i32.load offset=40 (local.get $data))))
  (block $end (loop $next
    (br_if $end (i32.ge_u (local.get $i) (local.get $rows)))
    (if (i64.eq (i64.load (i32.add (local.get $data) (i32.shl (local.get $i) (i32.const 3)))) (i64.const 13))
      (then unreachable))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br $next)))"""


def only(stage: Operator, batch: pl.DataFrame) -> Any:
    """Return the one batch that a stage gives for one batch."""
    (out,) = stage.process(batch)
    return out


@pytest.fixture
def opened() -> Iterator[Any]:
    stages: list[Any] = []

    def start(stage: Any) -> Any:
        stages.append(stage)
        stage.open(Host())
        return stage

    yield start
    for stage in stages:
        stage.close()
        stage.close()


def test_both_are_operators_that_may_run_in_parallel():
    for stage in (UdfStage(doubled.kernel, ["delay"]), WasmStage(CARRIER, columns=["carrier"])):
        assert isinstance(stage, Operator)
        assert stage.parallel
        assert stage.snapshot() == {}
        assert stage.due() is None
        stage.close()


def test_a_udf_adds_or_replaces_a_column(opened: Any):
    stage = opened(UdfStage(doubled.kernel, ["delay"]))
    assert only(stage, FLIGHTS)["doubled"].to_list() == [10.0, None, -4.0]
    stage = opened(UdfStage(doubled.kernel, ["delay"], "delay"))
    out = only(stage, FLIGHTS)
    assert out.columns == ["carrier", "delay"]
    assert out["delay"].to_list() == [10.0, None, -4.0]
    assert out.schema == stage.output_schema(FLIGHTS.schema)


def test_a_udf_filters(opened: Any):
    stage = opened(UdfStage(late.kernel, ["delay"], mode="filter"))
    assert only(stage, FLIGHTS).equals(FLIGHTS[:1])
    assert stage.output_schema(FLIGHTS.schema) == FLIGHTS.schema
    with pytest.raises(WrongType, match="it returns float, and a filter needs bool"):
        UdfStage(doubled.kernel, ["delay"], mode="filter")


def test_a_udf_stage_checks_columns_before_anything_runs():
    with pytest.raises(
        UnknownColumn, match=r"doubled reads `dealy`; the stream has carrier, delay\. Did you mean `delay`?"
    ):
        UdfStage(doubled.kernel, ["dealy"]).output_schema(FLIGHTS.schema)
    with pytest.raises(WrongType, match="doubled is given `carrier`, a String, as `x: float`"):
        UdfStage(doubled.kernel, ["carrier"]).output_schema(FLIGHTS.schema)
    with pytest.raises(BadOption, match="takes 1 columns and was given 2"):
        UdfStage(doubled.kernel, ["a", "b"])
    with pytest.raises(BadOption, match=r"on_error='dead-letter' is not .* Did you mean `dead_letter`?"):
        UdfStage(doubled.kernel, ["delay"], on_error="dead-letter")  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", [partial(UdfStage, doubled.kernel, ["delay"]), partial(WasmStage, CARRIER)])
def test_rows_are_not_skipped_in_silence(stage: Any):
    with pytest.raises(BadOption, match=r"on_error='skip' is not offered, since rows would be lost .*'dead_letter'"):
        stage(on_error="skip")


def test_a_failing_row_of_a_udf_fails_the_batch_or_goes_aside(opened: Any):
    frame = pl.DataFrame({"id": [1, 2, 3, 4], "delay": [2.0, 0.0, None, 0.0]})
    with pytest.raises(UdfFailed, match="ZeroDivisionError: float division by zero at row 1"):
        list(opened(UdfStage(inverse.kernel, ["delay"])).process(frame))
    good, bad = opened(UdfStage(inverse.kernel, ["delay"], on_error="dead_letter")).process(frame)
    assert good.to_dict(as_series=False) == {"id": [1, 3], "delay": [2.0, None], "inverse": [0.5, None]}
    assert isinstance(bad, Side)
    assert bad.tag == "invalid"
    assert bad.batch["id"].to_list() == [2, 4]
    assert bad.batch["reason"][0].startswith("ZeroDivisionError: float division by zero (test_wasm_stage.py, line ")
    assert good.height + bad.batch.height == frame.height


def test_a_processor_is_given_the_named_column_and_merged(opened: Any):
    stage = opened(WasmStage(CARRIER, columns=["carrier"]))
    out = only(stage, FLIGHTS)
    assert out.columns == ["carrier", "delay", "airline"]
    assert out["airline"].to_list() == ["American Airlines Inc.", None, "JetBlue Airways"]
    assert stage.output_schema(FLIGHTS.schema) == out.schema


def test_the_schema_is_known_before_it_is_opened():
    stage = WasmStage(CARRIER, columns=["carrier"], output="name")
    assert stage.output_schema(FLIGHTS.schema) == pl.Schema({**FLIGHTS.schema, "name": pl.String})
    stage.close()
    with pytest.raises(UnknownColumn, match="plugin carrier_code reads `carier`"):
        WasmStage(CARRIER, columns=["carier"]).output_schema(FLIGHTS.schema)


def test_output_names_the_one_column(opened: Any):
    stage = opened(WasmStage(CARRIER, columns=["carrier"], output="carrier"))
    out = only(stage, FLIGHTS)
    assert out.columns == ["carrier", "delay"]
    assert out["carrier"][0] == "American Airlines Inc."
    two = opened(WasmStage(guest(""), output="z"))
    with pytest.raises(WasmConfiguration, match="output='z' names one column, and the plugin returned carrier, delay"):
        list(two.process(FLIGHTS))


def test_a_transformer_of_all_columns_answers_with_the_batch(opened: Any):
    shorter = """(i64.store (i32.load offset=4 (local.get $at)) (i64.const 1))
      (i64.store (i32.load (i32.load offset=44 (i32.load offset=4 (local.get $at)))) (i64.const 1))"""
    frame = pl.DataFrame({"x": [7, 8, 9]})
    stage = opened(WasmStage(guest(shorter, "Transformer")))
    assert only(stage, frame).equals(frame[:1])
    narrow = opened(WasmStage(guest(shorter, "Transformer"), columns=["x"]))
    with pytest.raises(WasmBadOutput, match="returned 1 rows for 3"):
        list(narrow.process(frame))


def test_a_filter_plugin_keeps_rows(opened: Any):
    frame = pl.DataFrame({"keep": [True, None, False, True], "x": [1, 2, 3, 4]})
    stage = opened(WasmStage(guest("", "Filter"), columns=["keep"]))
    assert only(stage, frame)["x"].to_list() == [1, 4]
    assert stage.output_schema(frame.schema) == frame.schema
    wrong = opened(WasmStage(guest("", "Filter"), columns=["x"]))
    with pytest.raises(WasmBadOutput, match="a filter answers with one Boolean column"):
        list(wrong.process(frame))


def test_rows_a_plugin_chokes_on_go_aside_one_by_one(opened: Any):
    frame = pl.DataFrame({"x": [13 if i in (3, 500, 501, 999) else i * 2 for i in range(1000)]})
    with pytest.raises(WasmTrap, match="gave up"):
        list(opened(WasmStage(guest(UNLUCKY))).process(frame))
    good, bad = opened(WasmStage(guest(UNLUCKY), on_error="dead_letter")).process(frame)
    assert good.equals(frame.filter(pl.col("x") != 13))
    assert isinstance(bad, Side)
    assert bad.tag == "invalid"
    assert bad.batch["x"].to_list() == [13] * 4
    assert bad.batch.columns == ["x", "reason"]
    assert "plugin guest: gave up" in bad.batch["reason"][0]


def test_a_batch_too_large_for_the_guest_is_cut_when_errors_are_set_aside(opened: Any):
    frame = pl.DataFrame({"x": range(100_000)})
    (good,) = opened(WasmStage(guest(""), on_error="dead_letter")).process(frame)
    assert good.equals(frame)


def test_counters_and_clock_come_from_the_host():
    module = wat2wasm("""(module (import "dataflare" "host_counter" (func $count (param i32 i32 i64)))
      (memory (export "memory") 2) (data (i32.const 128) "rows") (func (export "df_reset"))
      (func (export "df_abi_version") (result i32) (i32.const 1))
      (func (export "df_formats") (result i32) (i32.const 4))
      (func (export "df_alloc") (param i32) (result i32) (i32.const 65536))
      (func (export "process_data") (param $at i32) (param i32) (result i32)
        (call $count (i32.const 128) (i32.const 4) (i64.load (i32.load offset=4 (local.get $at))))
        (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (i32.const 8))
        (i32.store (i32.const 24) (i32.const 3)) (i32.const 16)))""")
    config = WasmPluginConfig.load({"name": "counting", "type": "Processor", "module_path": "-"})
    stage, host = WasmStage(Plugin.of(config, bytes(module))), Host()
    stage.open(host)
    list(stage.process(FLIGHTS))
    list(stage.process(FLIGHTS))
    assert host.counts["counting.rows"] == 6
    assert host.counts["counting/calls"] == 2
    assert host.counts["counting/rows_in"] == host.counts["counting/rows_out"] == 6
    stage.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: UdfStage(patient.kernel, ["x"]),
        lambda: WasmStage(guest("(loop $again (br $again))", max_execution_time="1h")),
    ],
    ids=["udf", "plugin"],
)
def test_a_stage_is_interrupted_and_can_be_opened_again(make: Any, within: Any):
    stage = make()
    stage.open(Host())
    caught: list[BaseException] = []

    def work() -> None:
        try:
            list(stage.process(pl.DataFrame({"x": [1.0]})))
        except WasmInterrupted as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    with within(0.5):
        stage.interrupt()
        thread.join(30)
    assert caught
    stage.close()
    stage.close()


def test_a_closed_stage_opens_again():
    stage = WasmStage(CARRIER, columns=["carrier"])
    for _ in range(2):
        stage.open(Host())
        assert only(stage, FLIGHTS).width == 3
        stage.interrupt()
        stage.close()


def test_a_source_is_no_stage():
    config = WasmPluginConfig.load({"name": "s", "type": "Source", "module_path": "-"})
    with pytest.raises(
        BadOption, match=r"plugin s is a Source; \.wasm takes a plugin of type Processor, Transformer, Filter"
    ):
        WasmStage(Plugin.of(config, b""))


SOME = f"(i64.gt_s (i64.load {ROOT_ARRAY}) (i64.const 0))"
"""Whether there are rows."""
RENAMES = f"(if {SOME} (then (i32.store8 (i32.load offset=4 {SCHEMA}) (i32.const 122)))) {ECHO}"
RETYPES = f"(if {SOME} (then (i32.store8 (i32.load offset=0 {SCHEMA}) (i32.const 108)))) {ECHO}"


@pytest.mark.parametrize(
    ("kind", "work", "said"),
    [
        ("Processor", RENAMES, "`z` is new"),
        ("Transformer", RENAMES, "`z` is new, `x` is missing"),
        ("Processor", RETYPES, "`x` is Int64 and was Float64"),
        ("Transformer", RETYPES, "`x` is Int64 and was Float64"),
    ],
)
def test_a_plugin_keeps_the_columns_it_answered_with_when_the_stream_was_built(kind: str, work: str, said: str):
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    stream = flare.from_frame(frame).wasm(plugin(work, kind=kind))
    assert stream.schema == frame.schema
    with pytest.raises(StageFailed, match=f"plugin guest: it answers with other columns than for no rows.*: {said}"):
        stream.collect()
    aside = flare.from_frame(frame).wasm(plugin(work, kind=kind), on_error="dead_letter")
    assert aside.invalid.collect()["reason"].str.contains(said, literal=True).all()
