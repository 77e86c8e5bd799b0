"""Source plugins begin a stream and Destination plugins end one, under the laws of sources and sinks."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl
import pytest
from laws.helpers import timed

import dataflare_nb as flare
from dataflare_nb.errors import (
    BadOption,
    SourceError,
    StageFailed,
    UnknownColumn,
    WasmConfiguration,
    WasmError,
    WasmPluginExecution,
    WrongType,
)
from dataflare_nb.testing import check_sink, check_source
from dataflare_nb.types import EndOfStream
from dataflare_nb.wasm import Plugin, WasmPluginConfig
from dataflare_nb.wasm.reading import PluginSource
from dataflare_nb.wasm.writing import PluginSink

from .compiled import compiled, numbers
from .guests import described, plugin

HUNDRED = pl.DataFrame({"n": range(100), "split": ["all"] * 100})


# Sources


def test_a_source_plugin_begins_a_stream():
    stream = flare.read_wasm(numbers())
    assert stream.schema == pl.Schema({"n": pl.Int64, "split": pl.String})
    assert stream.collect().equals(HUNDRED)
    assert stream.filter(pl.col("n") % 2 == 0).select("n").collect()["n"].to_list() == list(range(0, 100, 2))
    assert stream.draw() == "read wasm numbers"


@pytest.mark.parametrize("seeks", [True, False], ids=["seeks", "is read again"])
@pytest.mark.slow
def test_source_plugins_keep_the_laws(seeks: bool):
    check_source(lambda: PluginSource(numbers(seeks=seeks, rows="53", each="7")))
    check_source(lambda: PluginSource(numbers(seeks=seeks, rows="1")))
    check_source(lambda: PluginSource(numbers(seeks=seeks, rows="20", each="20", splits=["a", "b", "c"])))


def test_a_source_that_seeks_is_not_read_again():
    source = PluginSource(numbers(rows="1000000", each="10"))
    reader = source.open("all")
    assert reader.poll(1_000).height == 10
    assert reader.poll(4)["n"].to_list() == [10, 11, 12, 13]
    offset = json.loads(json.dumps(reader.offset()))
    assert offset["skip"] == 4
    reader.close()
    calls = source.counters["numbers/calls"]
    again = PluginSource(numbers(rows="1000000", each="10"))
    reader = again.open("all", offset)
    assert reader.poll(3)["n"].to_list() == [14, 15, 16]
    reader.close()
    assert calls < 10
    assert again.counters["numbers/rows_out"] == 10


def test_splits_are_instances_that_know_their_name():
    stream = flare.read_wasm(numbers(rows="3", splits=["east", "west"]))
    assert sorted(stream.collect().rows()) == [(n, s) for n in range(3) for s in ("east", "west")]
    mine = flare.read_wasm(numbers(rows="2"), splits=["mine"])
    assert mine.collect()["split"].to_list() == ["mine", "mine"]


def test_windows_over_a_source_plugin():
    stream = flare.read_wasm(numbers(rows="100")).with_columns(t=pl.from_epoch(pl.col("n"), time_unit="s"))
    out = timed(stream).window(flare.tumbling("10s")).agg(total=pl.col("n").sum()).collect()
    assert out["total"].to_list() == [sum(range(n, n + 10)) for n in range(0, 100, 10)]


def test_a_graph_with_a_source_plugin_is_a_document():
    stream = flare.read_wasm(numbers(rows="5"), splits=["x"]).select("n")
    back = flare.Graph.from_json(stream.to_json(), stream.graph.blobs)
    assert back == stream.graph
    assert flare.Stream(back, stream.ref).collect()["n"].to_list() == list(range(5))
    assert flare.read_wasm(numbers(rows="5")).graph == flare.read_wasm(numbers(rows="5")).graph
    assert flare.read_wasm(numbers(rows="5")).graph != flare.read_wasm(numbers(rows="6")).graph


JSON_ROWS = '[{\\"n\\": 1, \\"at\\": \\"2026-01-01\\"}, {\\"n\\": null}]'
ONCE = """
    (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
    (if (i32.gt_u (global.get $turn) (i32.const 1)) (then (return (i32.const 0))))
    (i32.store (i32.const 16) (i32.const 256)) (i32.store (i32.const 20) (i32.const %d))
    (i32.store (i32.const 24) (i32.const 1)) (i32.const 16)"""
TURN = f'(global $turn (mut i32) (i32.const 0)) (data (i32.const 256) "{JSON_ROWS}")'


def once(**fields: Any) -> Any:
    return plugin(ONCE % len(JSON_ROWS.replace("\\", "")), kind="Source", extra=TURN, formats=1, **fields)


def test_a_source_may_speak_json_if_it_names_its_columns():
    frame = flare.read_wasm(once(schema={"n": "Int16", "at": "Date"})).collect()
    assert frame.schema == pl.Schema({"n": pl.Int16, "at": pl.Date})
    assert frame["n"].to_list() == [1, None]
    with pytest.raises(WasmConfiguration, match="it answers in JSON, which has no types; name its columns in `schema`"):
        flare.read_wasm(once())
    with pytest.raises(StageFailed, match=r"unknown field `at`|Object contains unknown field"):
        flare.read_wasm(once(schema={"n": "Int16"})).collect()


def test_a_source_without_a_batch_has_to_name_its_columns():
    empty = plugin("(i32.const 0)", kind="Source")
    with pytest.raises(WasmConfiguration, match="it gives no batch, so its columns are unknown"):
        flare.read_wasm(empty)
    assert flare.read_wasm(plugin("(i32.const 0)", kind="Source", schema={"x": "Int8"})).collect().shape == (0, 1)


def test_a_source_that_is_not_as_it_was_is_found_out():
    reader = PluginSource(numbers(seeks=False, rows="10")).open("all", {"rows": 12})
    with pytest.raises(SourceError, match="ends 2 rows before the place where it is to go on"):
        reader.poll(5)
    reader.close()
    with pytest.raises(SourceError, match="no longer exports df_offset and df_seek"):
        PluginSource(numbers(seeks=False)).open("all", {"position": "", "skip": 0})
    with pytest.raises(WasmPluginExecution, match="the position is of another version of this plugin"):
        PluginSource(numbers()).open("all", {"position": "AAA=", "skip": 0})


def test_a_source_that_fails_says_where():
    batch = compiled(
        """DF_NO_INIT
        static i32 turn;
        DF_READ() {
          if (++turn > 2) return df_fail(DF_E_INTERNAL, "the tape tore");
          df_out out = df_out_rows(3, "i", "x");
          for (i32 i = 0; i < 3; i++) ((i32*)out.data)[i] = i;
          return df_return(&out, 1);
        }""",
        "Source",
        "tape",
    )
    with pytest.raises(
        StageFailed, match=r"read.* failed at split all, row 6: .*plugin tape: it failed: the tape tore"
    ):
        flare.read_wasm(batch).collect()


def test_a_live_source_is_stopped_inside_a_call():
    forever = plugin(
        "(loop $again (br $again)) (i32.const 0)",
        kind="Source",
        schema={"x": "Int8"},
        policy={"max_execution_time": "1h"},
    )
    job = flare.read_wasm(forever, bounded=False).run("stuck")
    time.sleep(0.2)
    start = time.monotonic()
    job.stop()
    assert time.monotonic() - start < 2.0
    assert job.status == "stopped"


def test_a_source_with_nothing_yet_is_asked_again():
    source = PluginSource(
        compiled(
            """DF_NO_INIT
            static i32 turn;
            DF_READ() { /* every other batch is empty */
              if (turn == 10) return DF_END;
              df_out out = df_out_rows((u32)(turn & 1), "i", "x");
              if (turn & 1) *(i32*)out.data = turn;
              turn++;
              return df_return(&out, 1);
            }""",
            "Source",
        )
    )
    check_source(lambda: source)
    reader = source.open("all")
    assert [reader.poll(10).height for _ in range(4)] == [0, 1, 0, 1]
    reader.close()


def test_reading_goes_on_to_the_end_again_and_again():
    reader = PluginSource(numbers(rows="1")).open("all")
    assert reader.poll(5).height == 1
    for _ in range(2):
        with pytest.raises(EndOfStream):
            reader.poll(5)
    reader.close()
    reader.close()


def test_what_a_source_plugin_counts_is_seen():
    job = flare.read_wasm(numbers(rows="50", each="10")).run("counted").wait()
    table = job.plugins()
    assert table.select("plugin", "rows_out", "errors").rows() == [("numbers", 50, 0)]
    assert table["calls"][0] >= 6
    assert table["memory_peak"][0] >= 65536
    assert table["seconds"][0] > 0


# Destinations

SAYS = """
    (call $log (i32.const 1) (local.get $at) (local.get $n)) (i32.const 0)"""
LOGS = '(import "dataflare" "host_log" (func $log (param i32 i32 i32)))'


def saying(name: str) -> Any:
    """Return a destination that takes JSON and logs it: anybody can read there what was written."""
    return plugin(SAYS, kind="Destination", name=name, imports=LOGS, formats=1)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    caplog.set_level(logging.INFO, logger="dataflare_nb.wasm")

    def rows(name: str) -> list[dict[str, Any]]:
        found = []
        for record in caplog.records:
            who, _, text = record.getMessage().partition(": ")
            found += json.loads(text) if who == name else []
        return found

    return rows


def test_a_destination_plugin_ends_a_stream(said: Any):
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    stream = flare.from_frame(frame).write_wasm(saying("diary"))
    assert stream.draw() == "read frame\n-> write wasm diary"
    job = stream.run().wait()
    assert said("diary") == frame.to_dicts()
    assert job.plugins().select("plugin", "rows_in").rows() == [("diary", 3)]
    flare.from_frame(frame).write_wasm(saying("narrow"), column="b").run().wait()
    assert said("narrow") == [{"b": "x"}, {"b": None}, {"b": "z"}]


def test_a_destination_plugin_keeps_the_laws(said: Any):
    check_sink(
        lambda place: PluginSink(saying(place)),
        lambda place: pl.DataFrame(said(place), schema={"id": pl.Int64, "word": pl.String, "x": pl.Float64}),
        delivery="at_least_once",
    )


LEDGER = """
    DF_NO_INIT
    static i64 pending[64], count, visible, kept;
    static void tell(const char* what, i64 value) { u32 n = 0; while (what[n]) n++; host_counter(what, n, value); }
    DF_WRITE(batch) {
      const struct ArrowArray* x = df_find(batch, "x", "l");
      if (!x) return df_fail(DF_E_INPUT, "ledger takes a column x (Int64)");
      for (u32 i = 0; i < (u32)x->length; i++) pending[count++ & 63] = ((const i64*)x->buffers[1])[i];
      return 0;
    }
    DF_PREPARE(epoch) {
      kept = 0;
      for (i64 i = 0; i < count; i++) kept += pending[i & 63];
      count = 0;
      tell("prepared", epoch);
      return df_return_bytes(&kept, sizeof kept, DF_FORMAT_BYTES);
    }
    DF_COMMIT(epoch, token, length) {
      if (length != sizeof kept) return df_fail(DF_E_INPUT, "a token of another size");
      if (epoch <= visible) return 0; /* again */
      visible = epoch;
      i64 sum;
      __builtin_memcpy(&sum, token, sizeof sum);
      tell("committed", sum);
      return 0;
    }
    DF_ABORT() { count = 0; tell("aborted", 1); return 0; }
"""


class Context:
    node_id = "sink"
    watermark = 0
    restored = False
    clock = flare.testing.ManualClock()

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + by


def test_a_destination_may_commit_epoch_by_epoch():
    ledger = compiled(LEDGER, "Destination", "ledger")
    frame = pl.DataFrame({"x": [1, 2, 3, 4]})
    ctx = Context()
    writer = PluginSink(ledger).open(ctx, frame.schema)
    writer.write(frame[:3])
    assert "ledger.committed" not in ctx.counters
    prepared = json.loads(json.dumps(writer.prepare(1)))
    assert ctx.counters["ledger.prepared"] == 1
    writer.commit(1, prepared)
    writer.commit(1, prepared)
    assert ctx.counters["ledger.committed"] == 6
    writer.write(frame[3:])
    later = json.loads(json.dumps(writer.prepare(2)))
    writer.close()
    writer.close()
    fresh = PluginSink(ledger).open(ctx, frame.schema)
    fresh.commit(2, later)
    assert ctx.counters["ledger.committed"] == 10
    fresh.write(frame)
    fresh.abort()
    assert ctx.counters["ledger.aborted"] == 1
    fresh.close()
    job = flare.from_frame(frame).write_wasm(ledger).run().wait()
    (sink,) = (node for node in job.read().nodes.values() if node.kind == "sink")
    assert sink.counters["ledger.committed"] == 10


def test_a_live_job_that_is_stopped_commits_what_it_wrote():
    ledger = compiled(LEDGER, "Destination", "ledger")
    job = flare.rate(2000.0).select(x=pl.col("value")).write_wasm(ledger).run("ledger", commit_every="1h")
    deadline = time.monotonic() + 10
    while not any(node.rows_out for node in job.read().nodes.values() if node.kind == "sink"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.stop()
    (sink,) = (node for node in job.read().nodes.values() if node.kind == "sink")
    assert sink.counters["ledger.prepared"] == 1
    assert job.status == "stopped"


@pytest.mark.slow
def test_a_job_is_stopped_inside_a_destination_and_keeps_nothing_of_half_a_batch():
    stuck = plugin("(loop $again (br $again)) (i32.const 0)", kind="Destination", policy={"max_execution_time": "1h"})
    job = flare.rate(1000.0).write_wasm(stuck).run("stuck_sink", commit_every="1h")
    time.sleep(0.3)
    start = time.monotonic()
    job.stop()
    assert time.monotonic() - start < 3.0
    assert job.status == "stopped"


def test_a_destination_that_refuses_rows_fails_the_job():
    ledger = compiled(LEDGER, "Destination", "ledger")
    with pytest.raises(StageFailed, match=r"plugin ledger: it does not accept this input: ledger takes a column x"):
        flare.from_frame(pl.DataFrame({"y": [1]})).write_wasm(ledger).run().wait()


def test_columns_without_a_way_to_a_destination_are_refused_when_the_stream_is_built():
    nested = flare.from_frame(pl.DataFrame({"l": [[1]], "x": [1]}))
    ledger = compiled(LEDGER, "Destination", "ledger")
    with pytest.raises(
        WasmError, match=r"write_wasm at .*column `l` is List\[Int64\], which goes to a plugin as Arrow"
    ):
        nested.write_wasm(ledger)
    nested.write_wasm(ledger, column="x").run().wait()
    with pytest.raises(UnknownColumn, match="the plugin is to read `y`; the stream has l, x"):
        nested.write_wasm(ledger, columns=["x", "y"])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda s, p: flare.read_wasm(p["Filter"]), r"guest is a Filter; read_wasm takes .* A Filter goes into .wasm"),
        (lambda s, p: s.write_wasm(p["Source"]), r"is a Source; write_wasm takes .* goes into flare.read_wasm"),
        (lambda s, p: s.wasm(p["Destination"]), r"is a Destination; .wasm takes .* goes into .write_wasm"),
        (lambda s, p: flare.wasm.aggregate(p["Processor"], "x"), r"is a Processor; aggregate takes .* goes into .wasm"),
        (lambda s, p: s.wasm(p["Aggregator"]), r"is a Aggregator; .* goes into .agg\(name=flare.wasm.aggregate"),
    ],
    ids=["read", "write", "wasm", "aggregate", "wasm of an aggregator"],
)
def test_a_plugin_at_the_wrong_door_is_shown_the_right_one(build: Any, says: str):
    kinds = {kind: plugin(kind=kind) for kind in ("Filter", "Source", "Destination", "Processor", "Aggregator")}
    with pytest.raises(BadOption, match=says):
        build(flare.from_frame(pl.DataFrame({"x": [1]})), kinds)


def test_splits_that_are_none_are_refused():
    for wrong in ([], ["a", "a"], ["a", ""]):
        with pytest.raises(BadOption, match="splits"):
            flare.read_wasm(numbers(), splits=wrong)
    with pytest.raises(WrongType, match=r"splits='a'; it is a list of str or None"):
        flare.read_wasm(numbers(), splits="a")
    for bad in ("a", [1], ["a", "a"]):
        with pytest.raises(WasmConfiguration, match="`splits` in its config"):
            flare.read_wasm(numbers(splits=bad))


def test_an_instance_that_trapped_is_gone():
    torn = described(
        """(module (memory (export "memory") 2)
          (func (export "df_abi_version") (result i32) (i32.const 1))
          (func (export "df_formats") (result i32) (i32.const 4))
          (func (export "df_alloc") (param i32) (result i32) (i32.const 65536))
          (func (export "df_reset"))
          (func (export "write_data") (param i32 i32) (result i32) (unreachable)))""",
        kind="Destination",
    )
    writer = PluginSink(torn).open(Context(), pl.Schema({"x": pl.Int64}))
    frame = pl.DataFrame({"x": [1]})
    with pytest.raises(WasmPluginExecution, match="gave up"):
        writer.write(frame)
    with pytest.raises(WasmError, match="its instance is gone"):
        writer.write(frame)
    writer.abort()
    writer.close()


@pytest.mark.slow
def test_a_batch_of_other_columns_than_the_first_is_refused():
    changing = compiled(
        """DF_NO_INIT
        static i32 turn;
        DF_READ() {
          df_out out = df_out_rows(1, turn++ ? "l" : "i", "x");
          return df_return(&out, 1);
        }""",
        "Source",
    )
    with pytest.raises(StageFailed, match=r"a batch has \{'x': Int64\}, and the source \{'x': Int32\}"):
        flare.read_wasm(changing).collect()
    with pytest.raises(StageFailed, match=r"the guest returned x: Int32, and its description says x: Int8"):
        flare.read_wasm(dataclasses.replace(changing, config=narrowed(changing))).collect()


def narrowed(changing: Plugin) -> WasmPluginConfig:
    return msgspec.structs.replace(changing.config, schema={"x": "Int8"})
