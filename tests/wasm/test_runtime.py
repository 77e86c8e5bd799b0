"""The seed's way: load a plugin, call its functions with JSON or frames, see what it did, unload it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption
from dataflare_nb.wasm import (
    WasmBadOutput,
    WasmComponentConfig,
    WasmComponentManager,
    WasmComponentType,
    WasmConfiguration,
    WasmError,
    WasmInterrupted,
    WasmPluginExecution,
    WasmPluginLoad,
    WasmRuntime,
    WasmRuntimeError,
    WasmTimeout,
    WasmTrap,
)

from .compiled import DISTINCT, JOINED, WEIGHTED, compiled, numbers
from .guests import ANY_ECHO, FORMAT, described, plugin

CARRIER = Path(__file__).parents[2] / "plugins" / "carrier_code" / "plugin.json"
JSON = plugin(ANY_ECHO, extra=FORMAT, formats=1, name="parrot")


def test_call_function_is_as_in_the_seed():
    with WasmRuntime() as runtime:
        parrot = runtime.load_plugin(JSON)
        assert parrot == "parrot"
        assert runtime.call_function(parrot, "process_data", [{"input": "hello"}]) == [{"input": "hello"}]
        assert runtime.call_function(parrot, "process_data", [{"input": [1, {"a": None}]}, 2, "x"]) == [
            {"input": [1, {"a": None}]},
            2,
            "x",
        ]


def test_a_plugin_that_knows_only_columns_is_handed_the_rows_as_such():
    with WasmRuntime() as runtime:
        airlines = runtime.load_plugin(CARRIER)
        rows = [{"carrier": "AA"}, {"carrier": None}, {"carrier": "??"}]
        assert runtime.call_function(airlines, "process_data", rows) == [
            {"airline": "American Airlines Inc."},
            {"airline": None},
            {"airline": None},
        ]
        frame = runtime.call_function(airlines, "process_data", pl.DataFrame(rows))
        assert isinstance(frame, pl.DataFrame)
        assert frame["airline"][0] == "American Airlines Inc."
        assert runtime.call_function(airlines, "process_data", rows, output="frame").equals(frame)
        assert len(runtime.call_function(airlines, "process_data", pl.DataFrame(rows), output="json")) == 3
        with pytest.raises(WasmRuntimeError, match="it takes no JSON, so its arguments have to be rows"):
            runtime.call_function(airlines, "process_data", ["AA"])
        with pytest.raises(WasmRuntimeError, match="its arguments are a list of JSON values or a frame, not str"):
            runtime.call_function(airlines, "process_data", "AA")


def test_every_type_has_its_function():
    with WasmRuntime() as runtime:
        load, call = runtime.load_plugin, runtime.call_function
        turned = load(plugin(ANY_ECHO, kind="Transformer", name="turned", extra=FORMAT, formats=5))
        assert call(turned, "transform_data", [{"a": 1}]) == [{"a": 1}]
        frame = pl.DataFrame({"a": [1, 2]})
        assert call(turned, "transform_data", frame).equals(frame)
        kept = load(plugin(kind="Filter", name="kept"))
        assert call(kept, "filter_data", [{"keep": True}, {"keep": None}]) == [True, None]
        source = load(numbers(rows="5", each="3"))
        assert [len(call(source, "read_data") or []) for _ in range(3)] == [3, 2, 0]
        assert call(source, "read_data") is None
        sink = load(plugin("(i32.const 0)", kind="Destination", name="sink"))
        assert call(sink, "write_data", frame) is None
        assert call(load(DISTINCT), "aggregate_data", [{"x": 1}, {"x": 2}, {"x": 1}]) == [{"distinct": 2}]
        weighted = call(load(WEIGHTED), "aggregate_data", pl.DataFrame({"x": [1.0, 3.0], "w": [3.0, 1.0]}))
        assert weighted.rows() == [(1.5, 4.0)]
        assert call(load(JOINED), "aggregate_data", [{"s": "a"}, {"s": "b"}]) == [{"joined": "ab"}]
        with pytest.raises(WasmRuntimeError, match="there are no rows to aggregate"):
            call("distinct", "aggregate_data", [])


def test_plugin_init_starts_the_plugin_anew_with_a_config():
    with WasmRuntime() as runtime:
        source = runtime.load_plugin(numbers(rows="2"))
        assert len(runtime.call_function(source, "read_data")) == 2
        assert runtime.call_function(source, "read_data") is None
        assert runtime.call_function(source, "plugin_init", [{"rows": "3"}]) == 0
        assert len(runtime.call_function(source, "read_data")) == 3
        with pytest.raises(WasmConfiguration, match="each is how many rows a batch has, at least 1"):
            runtime.call_function(source, "plugin_init", [{"each": "0"}])
        assert runtime.call_function(source, "read_data") is None
        assert runtime.stats(source).rows_out == 5
        with pytest.raises(WasmConfiguration, match="plugin_init takes one object, the config"):
            runtime.call_function(source, "plugin_init", [1])


@pytest.mark.parametrize("args", [None, 5, {"a": 1}, {1, 2}, iter([1]), object()])
def test_arguments_that_are_none_are_refused_in_words(args: Any):
    with WasmRuntime() as runtime:
        for made in (JSON, plugin()):
            guest = runtime.load_plugin(made)
            with pytest.raises(WasmRuntimeError, match="its arguments are a list of JSON values or a frame, not"):
                runtime.call_function(guest, "process_data", args)
            if not isinstance(args, dict):
                with pytest.raises(WasmConfiguration, match="plugin_init takes one object, the config"):
                    runtime.call_function(guest, "plugin_init", args)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda runtime, _: runtime.call_function([], "process_data"), r"call_function at .*: plugin_id=\[\]; it is a"),
        (lambda runtime, _: runtime.call_function({}, "process_data"), r"call_function at .*: plugin_id=\{\}; it is a"),
        (lambda runtime, _: runtime.call_function("x", []), r"call_function at .*: function=\[\]; it is a str"),
        (
            lambda runtime, _: runtime.call_function("x", "process_data", output=1),
            "call_function at .*: output=1; it is 'json' or 'frame'",
        ),
        (lambda runtime, _: runtime.call_function("x"), "missing a required argument: 'function'"),
        (lambda runtime, _: runtime.unload_plugin(None), "unload_plugin at .*: plugin_id=None; it is a str"),
        (lambda runtime, _: runtime.stats([]), r"stats at .*: plugin_id=\[\]; it is a str or None"),
        (lambda runtime, _: runtime.load_plugin(), "load_plugin at .*: missing a required argument: 'config'"),
        (lambda _, manager: manager.call([]), r"call at .*: name=\[\]; it is a str"),
        (lambda _, manager: manager.component(3), "component at .*: name=3; it is a str"),
        (lambda _, manager: manager.health({}), r"health at .*: name=\{\}; it is a str or None"),
        (lambda _, manager: manager.get_stats({}), r"get_stats at .*: name=\{\}; it is a str or None"),
        (lambda _, manager: manager.unregister_component(names=3), "has no option `names`; it has name. Did you mean"),
        (lambda *_: flare.wasm.bundled_plugin(3), "bundled_plugin at .*: name=3; it is a str"),
        (lambda *_: flare.wasm.bundled_plugin(), "bundled_plugin at .*: missing a required argument: 'name'"),
    ],
)
def test_a_call_that_does_not_fit_is_named_at_its_line(call: Callable[..., Any], said: str):
    with (
        WasmRuntime() as runtime,
        WasmComponentManager() as manager,
        pytest.raises(flare.DataflareError, match=said) as told,
    ):
        call(runtime, manager)
    assert "test_runtime.py, line" in str(told.value)


def test_plugin_cleanup_ends_the_instance():
    with WasmRuntime() as runtime:
        source = runtime.load_plugin(numbers(rows="2"))
        assert len(runtime.call_function(source, "read_data")) == 2
        assert runtime.call_function(source, "plugin_cleanup") == 0
        assert len(runtime.call_function(source, "read_data")) == 2


def test_cleaning_up_is_asked_of_an_instance_of_ones_own():
    farewell = compiled(
        """
        static i32 written;
        static i32 df_configure(const char* json, u32 length);
        DF_EXPORT("plugin_cleanup") i32 plugin_cleanup(void) { host_log(DF_INFO, "bye", 3); return written; }
        DF_WRITE(batch) { written++; return 0; }
        """,
        "Destination",
        "farewell",
        defines="",
    )
    with WasmRuntime() as runtime:
        name = runtime.load_plugin(farewell)
        for _ in range(3):
            runtime.call_function(name, "write_data", pl.DataFrame({"x": [1]}))
        assert runtime.call_function(name, "plugin_cleanup") == 3


SMALL = plugin(ANY_ECHO, extra=FORMAT, formats=1, name="small", policy={"max_memory": "2MiB"})


@pytest.mark.parametrize(
    ("rows", "output"),
    [
        ([[]] * 300_000, "json"),
        ([{"x": [{}] * 300_000}], "frame"),
        ([{f"name{i}": 1} for i in range(3_000)], "frame"),
        ([{"x": {"y": {f"name{i}": 1}}} for i in range(3_000)], "frame"),
        ([{"x": [[{f"name{i}": 1} for i in range(3_000)], None]}], "frame"),
    ],
    ids=["lists of nothing", "objects of nothing", "many names", "many names inside", "many names in lists"],
)
def test_what_an_answer_in_json_takes_is_in_proportion_to_max_memory(rows: Any, output: Any):
    with WasmRuntime() as runtime:
        small = runtime.load_plugin(SMALL)
        with pytest.raises(WasmBadOutput, match=r"small: the returned JSON has .* far more than fits? into its 2097"):
            runtime.call_function(small, "process_data", rows, output=output)


def test_an_answer_in_json_that_is_mostly_text_is_read_whatever_the_text_says():
    rows = [{"text": '[{"a": 1}, "\\\\"], ' * 10_000}, {"text": "x,"}]
    with WasmRuntime() as runtime:
        small = runtime.load_plugin(SMALL)
        assert runtime.call_function(small, "process_data", rows) == rows
        wide = [{"a": n, "b": {"c": [n], "d": None}} for n in range(10_000)]
        assert runtime.call_function(small, "process_data", wide, output="frame").height == 10_000


def test_what_cannot_be_called_is_said():
    with WasmRuntime() as runtime:
        parrot = runtime.load_plugin(JSON)
        with pytest.raises(WasmRuntimeError, match=r"no plugin `parot` is loaded; .* Did you mean `parrot`\?"):
            runtime.call_function("parot", "process_data", [])
        with pytest.raises(WasmRuntimeError, match=r"`proces_data` cannot be called; .* Did you mean `process_data`\?"):
            runtime.call_function(parrot, "proces_data", [])
        with pytest.raises(WasmRuntimeError, match="it does not export `filter_data`; it is a Processor"):
            runtime.call_function(parrot, "filter_data", [])
        with pytest.raises(BadOption, match=r"call_function at .*: output='table'; it is 'json' or 'frame' or None"):
            runtime.call_function(parrot, "process_data", [], output="table")  # type: ignore[arg-type]
        with pytest.raises(WasmRuntimeError, match="its arguments are not JSON"):
            runtime.call_function(parrot, "process_data", [object()])


def test_ids_are_names_and_unloading_frees_them():
    runtime = WasmRuntime()
    assert [runtime.load_plugin(JSON) for _ in range(3)] == ["parrot", "parrot-2", "parrot-3"]
    runtime.unload_plugin("parrot-2")
    assert list(runtime.plugins) == ["parrot", "parrot-3"]
    assert runtime.load_plugin(JSON) == "parrot-2"
    with pytest.raises(WasmRuntimeError, match="no plugin `parrot-9`"):
        runtime.unload_plugin("parrot-9")
    runtime.close()
    runtime.close()
    assert runtime.plugins == {}
    with pytest.raises(WasmRuntimeError, match="this runtime is closed"):
        runtime.load_plugin(JSON)


def test_what_does_not_start_is_not_loaded():
    with WasmRuntime() as runtime:
        with pytest.raises(WasmPluginLoad, match="it takes no format"):
            runtime.load_plugin(plugin(formats=0))
        with pytest.raises(WasmConfiguration, match="cannot read"):
            runtime.load_plugin("nowhere/plugin.json")
        assert runtime.plugins == {}


TROUBLE = described(
    """(module (memory (export "memory") 2)
      (func (export "df_abi_version") (result i32) (i32.const 1))
      (func (export "df_formats") (result i32) (i32.const 4))
      (func (export "df_alloc") (param i32) (result i32) (i32.const 65536))
      (func (export "df_reset"))
      (func $deep (param i32) (if (i32.eqz (local.get 0)) (then unreachable))
        (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (func $work_hard (export "process_data") (param i32 i32) (result i32) (call $deep (i32.const 2)) (i32.const 0))
      (func (export "transform_data") (param i32 i32) (result i32) (loop $again (br $again)) (i32.const 0))
      (func (export "filter_data") (param i32 i32) (result i32) (i32.const -1007)))""",
    kind="Processor",
    name="trouble",
    policy={"max_execution_time": "200ms"},
)


def test_errors_have_kinds_causes_and_the_back_trace_of_the_guest():
    frame = pl.DataFrame({"x": [1]})
    with WasmRuntime() as runtime:
        trouble = runtime.load_plugin(TROUBLE)
        with pytest.raises(WasmTrap) as trapped:
            runtime.call_function(trouble, "process_data", frame)
        assert trapped.value.plugin == "trouble"
        assert trapped.value.guest_trace == ("deep", "deep", "deep", "work_hard")
        assert "\n    in work_hard" in str(trapped.value)
        assert runtime.status == {"trouble": "failed"}
        with pytest.raises(WasmTimeout, match="ran longer than its 200 ms"):
            runtime.call_function(trouble, "transform_data", frame)
        with pytest.raises(WasmPluginExecution, match="error -1007") as refused:
            runtime.call_function(trouble, "filter_data", frame)
        assert refused.value.code == -1007  # type: ignore[attr-defined]
        stats = runtime.stats(trouble)
        assert stats.errors == 3
        assert stats.errors_by_kind == {"WasmTrap": 1, "WasmTimeout": 1, "GuestError": 1}
        assert "error -1007" in stats.last_error
        assert stats.failures_in_a_row == 3
        for error in (WasmTrap, WasmTimeout, WasmPluginLoad, WasmRuntimeError, WasmConfiguration):
            assert issubclass(error, WasmError)


def test_stats_add_up():
    frame = pl.DataFrame({"carrier": ["AA"] * 1000})
    with WasmRuntime() as runtime:
        airlines = runtime.load_plugin(CARRIER)
        assert runtime.stats(airlines).calls == 0
        assert runtime.status == {airlines: "ready"}
        for _ in range(4):
            runtime.call_function(airlines, "process_data", frame)
        stats = runtime.stats(airlines)
        assert (stats.calls, stats.rows_in, stats.rows_out, stats.errors) == (4, 4000, 4000, 0)
        assert stats.bytes_in > 4 * 1000 * 8
        assert stats.bytes_out >= 4 * 1000 * 22
        assert stats.memory_peak >= 65536
        assert stats.seconds > 0
        assert stats.rows_per_second > 0
        assert runtime.stats() == {airlines: stats}


def test_a_runtime_is_safe_from_many_threads():
    runtime = WasmRuntime()
    airlines = runtime.load_plugin(CARRIER)
    source = runtime.load_plugin(numbers(rows="400", each="1"))
    read: list[int] = []
    wrong: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                rows = [{"carrier": "AA"}, {"carrier": "B6"}]
                answer = runtime.call_function(airlines, "process_data", rows)
                assert [row["airline"][:3] for row in answer] == ["Ame", "Jet"]
                read.append(runtime.call_function(source, "read_data")[0]["n"])
                other = runtime.load_plugin(JSON)
                assert runtime.call_function(other, "process_data", [1]) == [1]
                runtime.unload_plugin(other)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert sorted(read) == list(range(200))
    assert runtime.stats(airlines).calls == 200
    runtime.close()


def test_unloading_ends_a_call_in_another_thread():
    runtime = WasmRuntime()
    stuck = runtime.load_plugin(plugin("(loop $again (br $again)) (i32.const 0)", policy={"max_execution_time": "1h"}))
    caught: list[BaseException] = []

    def work() -> None:
        try:
            runtime.call_function(stuck, "process_data", pl.DataFrame({"x": [1]}))
        except WasmError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 10
    while runtime.status != {stuck: "busy"}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    runtime.unload_plugin(stuck)
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(caught[0], WasmInterrupted)
    assert "it was unloaded while it was called" in str(caught[0])


def test_plugin_init_lets_calls_in_other_threads_finish():
    busy = """(local $i i64)
        (loop $more
          (local.set $i (i64.add (local.get $i) (i64.const 1)))
          (br_if $more (i64.lt_u (local.get $i) (i64.const 400000000))))"""
    takes = "(param $at i32) (param $n i32) (result i32)"
    long = {"max_execution_time": "1h"}
    slow = plugin(busy + ANY_ECHO, extra=FORMAT, formats=1, name="slow", exports=takes, policy=long)
    answers: list[Any] = []
    with WasmRuntime() as runtime:
        runtime.load_plugin(slow)
        thread = threading.Thread(target=lambda: answers.append(runtime.call_function("slow", "process_data", [1])))
        thread.start()
        deadline = time.monotonic() + 60
        while runtime.status != {"slow": "busy"}:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        assert runtime.call_function("slow", "plugin_init", [{"a": 1}]) == 0
        assert runtime.plugins["slow"].config.config == {"a": 1}
        assert runtime.status == {"slow": "busy"}
        thread.join(100)
        assert answers == [[1]]
        assert runtime.status == {"slow": "ready"}
        assert runtime.call_function("slow", "process_data", [2]) == [2]
        assert runtime.stats("slow").calls == 2


def test_a_source_that_is_started_anew_again_and_again_is_read_without_an_error():
    wrong: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                rows = runtime.call_function(source, "read_data")
                assert rows is None or [row["n"] for row in rows] == [0, 1]
        except BaseException as error:
            wrong.append(error)

    with WasmRuntime() as runtime:
        source = runtime.load_plugin(numbers(rows="2"))
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            runtime.call_function(source, "plugin_init", [{"rows": "2"}])
        ended.set()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert runtime.stats(source).errors == 0


# Components


def test_components_are_registered_watched_and_used():
    with WasmComponentManager() as manager:
        name = manager.register_component(
            WasmComponentConfig(name="airlines", component_type="processor", plugin=CARRIER, config={"column": "who"})
        )
        assert name == "airlines"
        assert manager.components() == {"airlines": WasmComponentType.PROCESSOR}
        assert manager.call("airlines", [{"carrier": "AA"}]) == [{"who": "American Airlines Inc."}]
        flights = flare.from_frame(pl.DataFrame({"carrier": ["AA", "B6", "??"]}))
        out = flights.wasm(manager.component("airlines"), column="carrier").collect()
        assert out["who"].to_list() == ["American Airlines Inc.", "JetBlue Airways", None]
        stats = manager.get_stats("airlines")
        assert stats.rows_in == 4
        assert manager.get_stats() == {"airlines": stats}
        assert manager.health("airlines").ok
        manager.unregister_component("airlines")
        assert manager.components() == {}
        assert manager.get_stats() == {}
        with pytest.raises(WasmRuntimeError, match="no component `airlines` is registered"):
            manager.health("airlines")


def test_a_component_may_be_described_by_a_mapping():
    with WasmComponentManager() as manager:
        manager.register_component({"name": "n", "plugin": numbers(rows="4"), "component_type": "Source"})
        assert [row["n"] for row in manager.call("n")] == [0, 1, 2, 3]
        assert manager.call("n") is None
        assert flare.read_wasm(manager.component("n")).collect().height == 4
        manager.register_component({"name": "d", "plugin": DISTINCT})
        frame = flare.from_frame(pl.DataFrame({"x": [1, 1, 2]}))
        counted = frame.window(flare.global_window()).agg(flare.wasm.aggregate(manager.component("d"), "x"))
        assert counted.collect()["d"].to_list() == [2]
        assert manager.get_stats("d").calls >= 2


def test_health_says_how_its_calls_went():
    with WasmComponentManager() as manager:
        manager.register_component(WasmComponentConfig(name="t", plugin=TROUBLE))
        assert manager.health() == {"t": manager.health("t")}
        assert manager.health("t").state == "healthy"
        for expected in ("degraded", "degraded", "failed"):
            with pytest.raises(WasmTrap):
                manager.call("t", [{"x": 1}])
            assert manager.health("t").state == expected
        assert "calls failed: plugin t: gave up" in str(manager.health("t").reason)


def test_what_is_wrong_with_a_component_is_told_at_once():
    with WasmComponentManager() as manager:
        with pytest.raises(WasmConfiguration) as caught:
            manager.register_component(
                WasmComponentConfig(name="", component_type="Procesor", plugin="nowhere.json", config=[1])  # type: ignore[arg-type]
            )
        for part in ("`name`", "`config`: it is list", "`component_type`: 'Procesor' is not one of", "cannot read"):
            assert part in str(caught.value), part
        with pytest.raises(
            WasmConfiguration, match=r"it is Filter, and the plugin is a Processor, which goes into \.wasm"
        ):
            manager.register_component(WasmComponentConfig(name="f", component_type="Filter", plugin=CARRIER))
        with pytest.raises(
            WasmConfiguration, match=r"`plugn` is not known. Did you mean `plugin`\?; .*`plugin` is missing"
        ):
            manager.register_component({"name": "x", "plugn": CARRIER})
        manager.register_component({"name": "x", "plugin": CARRIER})
        with pytest.raises(WasmConfiguration, match="there is a component `x` already; unregister_component"):
            manager.register_component({"name": "x", "plugin": CARRIER})


def test_a_plugin_json_and_a_dict_load_the_same(tmp_path: Path):
    document: dict[str, Any] = json.loads(CARRIER.read_text())
    document["module_path"] = str(CARRIER.with_name("carrier_code.wasm"))
    (tmp_path / "plugin.json").write_text(json.dumps(document))
    with WasmRuntime() as runtime:
        for config in (document, tmp_path / "plugin.json", str(tmp_path / "plugin.json")):
            name = runtime.load_plugin(config)
            assert runtime.call_function(name, "process_data", [{"carrier": "DL"}]) == [
                {"airline": "Delta Air Lines Inc."}
            ]
