"""Aggregator plugins aggregate windows, beside Polars' own aggregations, all groups in one call."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any

import jsonschema
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.errors import (
    BadOption,
    GraphFormat,
    StageFailed,
    UnknownColumn,
    WasmBadOutput,
    WasmMemoryLimit,
    WasmPluginExecution,
    WasmPluginLoad,
    WrongType,
)
from dataflare_nb.wasm import Plugin, aggregate
from dataflare_nb.wasm.aggregator import Aggregator

from .compiled import DISTINCT, JOINED, WEIGHTED, compiled
from .guests import described

START = datetime(2026, 1, 1)
N = 5_000
ROWS = pl.DataFrame(
    {
        "t": [START + timedelta(seconds=i) for i in range(N)],
        "k": [None if i % 7 == 0 else "abc"[i % 3] for i in range(N)],
        "v": [None if i % 11 == 0 else (i * 7919) % 300 for i in range(N)],
        "x": [float(i % 13) for i in range(N)],
        "w": [float(i % 5 + 1) for i in range(N)],
    }
)
STREAM = flare.from_frame(ROWS).event_time("t").key_by("k")
HOURLY = STREAM.window(flare.tumbling("10m"))


def expected() -> pl.DataFrame:
    grouped = ROWS.group_by("k", pl.col("t").dt.truncate("10m").alias("window_start"))
    return grouped.agg(
        rows=pl.len(),
        different=(pl.col("v").drop_nulls() % 256).n_unique().cast(pl.UInt64),
        mean=(pl.col("x") * pl.col("w")).sum() / pl.col("w").sum(),
        most=pl.col("x").max(),
    ).sort("window_start", "k")


def test_plugins_and_polars_aggregate_side_by_side():
    stream = HOURLY.agg(
        rows=pl.len(),
        different=aggregate(DISTINCT, "v"),
        mean=aggregate(WEIGHTED, "x", "w"),
        most=pl.col("x").max(),
    )
    assert stream.columns == ["k", "window_start", "window_end", "rows", "different", "mean", "most"]
    assert stream.schema["mean"] == pl.Struct({"mean": pl.Float64, "weight": pl.Float64})
    out = stream.collect().drop("window_end").with_columns(pl.col("mean").struct.field("mean"))
    wanted = expected()
    assert out.drop("mean").equals(wanted.drop("mean"))
    assert (out["mean"] - wanted["mean"]).abs().max() < 1e-9


def test_an_argument_is_an_expression_over_each_row():
    out = HOURLY.agg(aggregate(DISTINCT, pl.col("v").fill_null(0) // 100).alias("hundreds")).collect()
    wanted = ROWS.group_by("k", pl.col("t").dt.truncate("10m")).agg((pl.col("v").fill_null(0) // 100).n_unique())
    assert sorted(out["hundreds"].to_list()) == sorted(wanted["v"].to_list())


def test_a_plugin_may_be_called_after_itself_and_be_there_twice():
    stream = HOURLY.agg(aggregate(DISTINCT, "v"), other=aggregate(DISTINCT, pl.col("v") * 2), n=pl.len())
    assert stream.columns[3:] == ["distinct", "other", "n"]
    assert stream.collect().height == expected().height
    assert repr(aggregate(DISTINCT, "v").alias("d")) == "AggregateCall(d = distinct(v))"


def test_the_number_of_calls_does_not_depend_on_the_number_of_groups():
    frame = pl.DataFrame({"k": range(20_000), "v": range(20_000)})
    job = flare.from_frame(frame).key_by("k").window(flare.global_window()).agg(d=aggregate(DISTINCT, "v")).run().wait()
    assert job.result()["d"].to_list() == [1] * 20_000
    table = job.plugins()
    assert table["plugin"].to_list() == ["distinct"]
    assert table["calls"][0] <= 4
    assert table["rows_in"][0] == 40_000


def test_without_merge_rows_are_kept_and_come_in_order():
    frame = pl.DataFrame(
        {"t": [START + timedelta(seconds=n) for n in (0, 9, 3, 12, 11)], "s": ["a", "b", "c", "d", None]}
    )
    stream = flare.from_frame(frame).event_time("t", "1m").window(flare.tumbling("10s")).agg(s=aggregate(JOINED, "s"))
    assert "buffered: state holds the rows of open windows: s needs them all at once" in stream.explain()
    assert stream.collect()["s"].to_list() == ["abc", "d"]
    two = HOURLY.agg(d=aggregate(DISTINCT, "v"))
    assert "two-phase: state holds one partial result per key and pane" in two.explain()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=60),
    cuts=st.lists(st.integers(1, 9), min_size=1),
)
def test_states_merge_to_the_same_however_rows_are_cut(rows: list[tuple[int, int]], cuts: list[int]):
    work = Aggregator(DISTINCT)
    frame = pl.DataFrame(rows, schema={"g": pl.Int64, "v": pl.Int64}, orient="row")

    def states(part: pl.DataFrame) -> pl.DataFrame:
        ordered = part.sort("g", maintain_order=True)
        groups = (ordered["g"].rank("dense") - 1).cast(pl.UInt32)
        made = work.states(ordered.select("v"), groups)
        return made.with_columns(ordered["g"].unique(maintain_order=True))

    parts, at = [], 0
    while at < frame.height:
        size = cuts[len(parts) % len(cuts)]
        parts.append(states(frame[at : at + size]))
        at += size
    if parts:
        both = pl.concat(parts).sort("g", maintain_order=True)
        groups = (both["g"].rank("dense") - 1).cast(pl.UInt32)
        merged = work.merged(both.drop("g"), groups)
        assert merged.equals(states(frame).drop("g"))
        assert work.values(merged).to_list() == frame.group_by("g").agg(pl.col("v").n_unique()).sort("g")["v"].to_list()
    work.close()


def small(plugin: Plugin, memory: str) -> Plugin:
    """Return a plugin with less memory."""
    limited = Plugin.of(plugin.config, plugin.module)
    policy = flare.wasm.SecurityPolicy(max_memory=memory)  # type: ignore[arg-type]
    fields = {name: getattr(limited.config, name) for name in limited.config.__struct_fields__}
    return Plugin.of(type(limited.config)(**{**fields, "security_policy": policy}), plugin.module)


def test_what_does_not_fit_into_the_guest_is_cut():
    frame = pl.DataFrame({"k": [i % 3000 for i in range(60_000)], "v": [i % 250 for i in range(60_000)]})
    wanted = frame.group_by("k").agg(pl.col("v").n_unique().cast(pl.UInt64)).sort("k")
    little = small(DISTINCT, "384KiB")
    stream = flare.from_frame(frame).key_by("k").window(flare.global_window()).agg(v=aggregate(little, "v"))
    assert stream.collect().sort("k").equals(wanted)
    one = flare.from_frame(frame).window(flare.global_window()).agg(v=aggregate(little, "v")).run().wait()
    assert one.result()["v"].to_list() == [250]
    assert one.plugins()["memory_peak"][0] <= 384 << 10


def test_a_group_too_large_for_a_plugin_that_cannot_merge_says_so():
    frame = pl.DataFrame({"s": ["x" * 100] * 20_000})
    stream = flare.from_frame(frame).window(flare.global_window()).agg(s=aggregate(small(JOINED, "1MiB"), "s"))
    with pytest.raises(StageFailed, match=r"plugin joined: a batch of 20000 rows needs .* raise max_memory") as failed:
        stream.collect()
    assert isinstance(failed.value.__cause__, WasmMemoryLimit)
    wide = pl.DataFrame({"k": [i // 100 for i in range(20_000)], "s": ["x" * 100] * 20_000})
    fits = flare.from_frame(wide).key_by("k").window(flare.global_window()).agg(s=aggregate(small(JOINED, "1MiB"), "s"))
    assert fits.collect()["s"].str.len_bytes().unique().to_list() == [10_000]


def test_a_graph_with_an_aggregator_is_a_document():
    stream = HOURLY.agg(n=pl.len(), d=aggregate(DISTINCT, "v"), m=pl.col("x").max()).named("counted")
    document = stream.to_json()
    jsonschema.validate(json.loads(document), flare.Graph.json_schema())
    back = flare.Graph.from_json(document, stream.graph.blobs)
    assert back == stream.graph
    assert flare.Stream(back, "counted").collect().equals(stream.collect())
    assert stream.draw().endswith("-> counted: agg n = len(), d = distinct(v), m = x.max()")
    assert HOURLY.agg(d=aggregate(DISTINCT, "v")).ref == HOURLY.agg(d=aggregate(DISTINCT, "v")).ref
    assert HOURLY.agg(d=aggregate(DISTINCT, "v")).ref != HOURLY.agg(d=aggregate(DISTINCT, pl.col("v") + 1)).ref
    with pytest.raises(GraphFormat, match="the graph needs distinct-"):
        flare.Graph.from_json(document, {k: b for k, b in stream.graph.blobs.items() if not k.startswith("distinct")})


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "no window": (lambda: STREAM.agg(d=aggregate(DISTINCT, "v")), flare.errors.UnwindowedAggregate, "needs a window"),
    "a column that is not there": (
        lambda: HOURLY.agg(d=aggregate(DISTINCT, "vv")),
        UnknownColumn,
        r"agg at test_aggregates.py, line \d+ reads `vv`; the stream has .*Did you mean `v`\?",
    ),
    "a column of another type": (
        lambda: HOURLY.agg(d=aggregate(DISTINCT, "x")),
        WasmPluginExecution,
        "agg at .*plugin distinct: a column has a type it does not accept: distinct takes one Int64 column",
    ),
    "an aggregation as argument": (
        lambda: HOURLY.agg(d=aggregate(DISTINCT, pl.col("v").sum())),
        WrongType,
        r"`d = distinct\(v.sum\(\)\)` has `v.sum\(\)`, and a plugin takes a value of each row",
    ),
    "a filter as argument": (
        lambda: HOURLY.agg(d=aggregate(DISTINCT, pl.col("v").drop_nulls())),
        WrongType,
        "takes a value of each row of one column; name each column, leave aggregating to the plugin, and filter before",
    ),
    "a constant": (lambda: HOURLY.agg(d=aggregate(DISTINCT, pl.lit(1))), WrongType, "takes a value of each row"),
    "several columns at once": (
        lambda: HOURLY.agg(d=aggregate(DISTINCT, pl.col("x", "w"))),
        WrongType,
        "takes a value of each row of one column; name each column",
    ),
    "the same name twice": (
        lambda: HOURLY.agg(d=aggregate(WEIGHTED, "x", pl.col("w").alias("x"))),
        BadOption,
        "two columns of one name|makes two columns named `x`",
    ),
    "no column": (lambda: aggregate(DISTINCT), BadOption, "is given no column"),
    "a number as column": (lambda: aggregate(DISTINCT, 5), WrongType, "takes columns or expressions"),  # type: ignore[arg-type]
    "a result named as the key": (lambda: HOURLY.agg(k=aggregate(DISTINCT, "v")), BadOption, "`k` is a column that"),
    "two results of one name": (
        lambda: HOURLY.agg(pl.len().alias("d"), d=aggregate(DISTINCT, "v")),
        BadOption,
        "gives `d` twice",
    ),
    "a plugin in the place of its call": (
        lambda: HOURLY.agg(d=DISTINCT),
        WrongType,
        r"distinct is a plugin; say what it is to aggregate, as flare.wasm.aggregate\(plugin, column\)",
    ),
    "in with_columns": (
        lambda: STREAM.with_columns(d=aggregate(DISTINCT, "v")),
        WrongType,
        r"is an aggregation by a plugin, which goes into .window\(...\).agg\(...\)",
    ),
    "in wasm": (lambda: STREAM.wasm(aggregate(DISTINCT, "v")), WrongType, "is an aggregation; it goes into .agg"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_where_they_are_made(name: str):
    make, error, says = MISTAKES[name]
    with pytest.raises(error, match=says):
        make()


def test_a_plugin_that_fails_names_the_window_stage():
    picky = compiled(
        """DF_NO_INIT
        DF_AGGREGATE(batch, groups) {
          const struct ArrowArray* x = df_find(batch, "", "l");
          for (u32 i = 0; x && i < (u32)x->length; i++)
            if (((const i64*)x->buffers[1])[i] == 13) return df_fail(DF_E_INPUT, "thirteen");
          df_out out = df_out_rows(groups, "l", "n");
          return df_return(&out, 1);
        }""",
        "Aggregator",
        "picky",
    )
    stream = flare.from_frame(pl.DataFrame({"x": [1, 13]})).window(flare.global_window()).agg(p=aggregate(picky, "x"))
    with pytest.raises(
        StageFailed, match=r"stage agg-.* failed .*plugin picky: it does not accept this input: thirteen"
    ):
        stream.collect()


def aggregator(aggregate_data: str, extra: str = "", formats: int = 4) -> Plugin:
    return described(
        f"""(module (memory (export "memory") 2)
          (func (export "df_abi_version") (result i32) (i32.const 1))
          (func (export "df_formats") (result i32) (i32.const {formats}))
          (func (export "df_alloc") (param i32) (result i32) (i32.const 65536))
          (func (export "df_reset"))
          (func (export "df_groups") (param i32)) {extra}
          (func (export "aggregate_data") (param $at i32) (param i32) (result i32) {aggregate_data}))""",
        kind="Aggregator",
        policy={"max_execution_time": "1h"},
    )


ECHO = """(i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (i32.const 8))
  (i32.store (i32.const 24) (i32.const 3)) (i32.const 16)"""


def test_an_aggregator_has_to_take_arrow_and_to_be_told_of_groups():
    with pytest.raises(WasmPluginLoad, match="an aggregator has to take Arrow; set bit 2 or 4 of df_formats"):
        HOURLY.agg(d=aggregate(aggregator(ECHO, formats=1), "v"))
    lacking = described(
        """(module (memory (export "memory") 2)
          (func (export "df_abi_version") (result i32) (i32.const 1))
          (func (export "df_formats") (result i32) (i32.const 4))
          (func (export "df_alloc") (param i32) (result i32) (i32.const 65536))
          (func (export "df_reset")) (func (export "aggregate_data") (param i32 i32) (result i32) (i32.const 0)))""",
        kind="Aggregator",
    )
    with pytest.raises(WasmPluginLoad, match="it must export the function `df_groups`"):
        HOURLY.agg(d=aggregate(lacking, "v"))


def test_a_state_for_each_group_is_asked_for():
    # It answers with what it was given: a row for each row.
    work = Aggregator(aggregator(ECHO))
    with pytest.raises(WasmBadOutput, match="the guest returned 3 rows for 2; it must return one for each"):
        work.states(pl.DataFrame({"x": [1, 2, 3]}), pl.Series([0, 0, 1], dtype=pl.UInt32))
    work.close()


def test_a_job_is_stopped_inside_an_aggregator():
    endless = aggregator(
        "(if (i64.gt_u (i64.load (i32.load offset=4 (local.get $at))) (i64.const 0)) (then (loop $again (br $again)))) "
        + ECHO
    )
    stream = flare.from_frame(pl.DataFrame({"x": [1]})).window(flare.global_window()).agg(e=aggregate(endless, "x"))
    job = stream.run("endless")
    time.sleep(0.3)
    start = time.monotonic()
    job.stop()
    assert time.monotonic() - start < 2.0
    assert job.status == "stopped"


def document(**changes: Any) -> flare.Stream:
    """Return a stream from a document in which something of the plugin's aggregation was changed."""
    frame = pl.DataFrame({"t": [START, START + timedelta(seconds=5)], "s": ["a", "b"]})
    hops = flare.from_frame(frame).event_time("t").window(flare.hopping("10s", every="5s"))
    stream = hops.agg(s=aggregate(JOINED, "s"))
    told = json.loads(stream.to_json())
    (plugin,) = told["nodes"][-1]["plugins"]
    blobs = dict(stream.graph.blobs)
    if (other := changes.pop("blob", None)) is not None:
        blobs[plugin["plugin"]] = other
    told["nodes"][-1]["plugins"] = [{**plugin, **changes}]
    return flare.Stream(flare.Graph.from_json(json.dumps(told), blobs), stream.ref)


def test_a_document_that_says_what_the_plugin_does_not_do_is_found_out():
    assert document().collect()["s"].to_list() == ["a", "ab", "b"]
    with pytest.raises(StageFailed, match="plugin joined: it does not export `df_merge`"):
        document(merges=True).collect()
    with pytest.raises(StageFailed, match="its values are String and were Int64 when the stream was built"):
        document(dtype="Int64").collect()
    with pytest.raises(GraphFormat, match="'Int65' is not a column type"):
        document(dtype="Int65")
    with pytest.raises(GraphFormat, match="is given no column"):
        document(args=[])
    carriers = flare.wasm.bundled_plugin("carrier_code")
    with pytest.raises(BadOption, match="an aggregation by a plugin needs one of type Aggregator, and this is a Proc"):
        document(blob=carriers).collect()
    with pytest.raises(BadOption, match="and this is int"):
        document(blob=7).collect()
