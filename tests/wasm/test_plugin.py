"""Plugin descriptions: every field is checked, and every mistake is told at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from wasmtime import wat2wasm

from dataflare_nb.errors import WasmConfiguration, WasmPluginLoad
from dataflare_nb.wasm import Plugin, PluginType, SecurityPolicy, WasmPluginConfig

from .guests import text

MODULE = bytes(wat2wasm(text()))
GOOD: dict[str, Any] = {"name": "p", "type": "Processor", "module_path": "p.wasm"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.wasm").write_bytes(MODULE)
    document = {
        **GOOD,
        "sha256": hashlib.sha256(MODULE).hexdigest(),
        "config": {"a": [1]},
        "metadata": {"version": "1"},
    }
    (tmp_path / "plugin.json").write_text(json.dumps(document))
    return tmp_path


def test_a_plugin_is_read_from_its_folder(folder: Path):
    plugin = Plugin.load(folder / "plugin.json")
    assert plugin.name == "p"
    assert plugin.config.type is PluginType.PROCESSOR
    assert plugin.module == MODULE
    assert Plugin.load(str(folder / "plugin.json")) == plugin
    assert Plugin.load(plugin) is plugin
    assert repr(plugin) == f"Plugin(p, Processor, sha256={plugin.sha256[:8]}...)"


def test_a_plugin_is_read_from_a_dict(folder: Path):
    assert Plugin.load({**GOOD, "module_path": str(folder / "p.wasm")}).module == MODULE


def test_the_key_depends_on_what_the_plugin_does_and_not_on_where_it_lies(folder: Path):
    def key(**changes: Any) -> str:
        return Plugin.load({**GOOD, "module_path": str(folder / "p.wasm"), **changes}).key

    assert key() == key(metadata={"author": "someone"})
    assert len({key(), key(config={"a": 1}), key(timeout_ms=5), key(security_policy={"max_memory": "1MiB"})}) == 4


def test_a_changed_module_is_refused(folder: Path):
    (folder / "p.wasm").write_bytes(MODULE + b"\0\1\0")
    with pytest.raises(
        WasmPluginLoad, match=r"plugin p: its module has the sha256 .* rebuild it, or write the new sum"
    ):
        Plugin.load(folder / "plugin.json")


def test_what_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(WasmConfiguration, match=r"cannot read .*plugin.json: No such file"):
        Plugin.load(tmp_path / "plugin.json")
    (tmp_path / "plugin.json").write_text("{")
    with pytest.raises(WasmConfiguration, match="is not JSON"):
        Plugin.load(tmp_path / "plugin.json")
    (tmp_path / "plugin.json").write_text("[1]")
    with pytest.raises(WasmConfiguration, match="holds list, not an object"):
        Plugin.load(tmp_path / "plugin.json")
    with pytest.raises(WasmPluginLoad, match=r"cannot read its module .*p.wasm: No such file .*; build it"):
        Plugin.load({**GOOD, "module_path": str(tmp_path / "p.wasm")})


def test_all_mistakes_are_told_at_once():
    with pytest.raises(WasmConfiguration) as caught:
        WasmPluginConfig.load(
            {
                "type": "Procesor",
                "module_path": 3,
                "config": [],
                "timeout_ms": "soon",
                "memory_limit": "1KiB",
                "sha256": "xyz",
                "tiemout_ms": 5,
                "schema": {"day": "Dat"},
                "security_policy": {
                    "max_memory": "4GiB",
                    "max_execution_time": 0,
                    "allow_netwrok": True,
                    "allowed_paths": 1,
                },
            }
        )
    said = str(caught.value)
    for part in (
        "`name` is missing",
        "`type`: 'Procesor' is not one of Source, Destination, Processor, Transformer, Filter, Aggregator",
        "`module_path`: Expected `str`, got `int`",
        "`config`: Expected `object`, got `array`",
        "`timeout_ms`: 'soon' is not milliseconds",
        "`memory_limit`: '1KiB' is outside 65536 to",
        "`sha256`: 'xyz' is not 64 hexadecimal digits",
        "`tiemout_ms` is not known. Did you mean `timeout_ms`?",
        "`schema`: column `day`: 'Dat' is not a column type such as 'Int64'",
        "in `security_policy`, `max_memory`: '4GiB' is outside",
        "in `security_policy`, `max_execution_time`: 0 is outside 1 ms to 1 h",
        "in `security_policy`, `allow_netwrok` is not known. Did you mean `allow_network`?",
        "in `security_policy`, `allowed_paths`",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    ("memory", "bytes_"), [(131072, 131072), ("64MiB", 64 << 20), ("1.5 MB", 1_500_000), ("128 kib", 131072)]
)
def test_memory_is_bytes_or_text(memory: int | str, bytes_: int):
    assert SecurityPolicy.load({"max_memory": memory}).max_memory == bytes_


@pytest.mark.parametrize(("time", "ms"), [(250, 250), ("2s", 2000), ("1.5s", 1500), ("1m", 60_000), ("20 ms", 20)])
def test_time_is_milliseconds_or_text(time: int | str, ms: int):
    assert SecurityPolicy.load({"max_execution_time": time}).max_execution_time == ms


def test_the_smaller_limit_holds():
    config = WasmPluginConfig.load(
        {**GOOD, "memory_limit": "1MiB", "timeout_ms": "1m", "security_policy": {"max_execution_time": "1s"}}
    )
    assert config.limits.memory == 1 << 20
    assert config.limits.time_ms == 1000


@pytest.mark.parametrize("wrong", [5, "x", [1], None])
def test_a_policy_that_is_no_object_is_refused(wrong: Any):
    with pytest.raises(WasmConfiguration, match="in `security_policy`, it is"):
        WasmPluginConfig.load({**GOOD, "security_policy": wrong})


def test_a_policy_and_a_config_written_in_python_are_checked_too():
    assert SecurityPolicy(max_memory="1MiB", max_execution_time="2s").max_memory == 1 << 20  # type: ignore[arg-type]
    with pytest.raises(WasmConfiguration, match=r"SecurityPolicy .*`max_memory`: -5 .*; `max_execution_time`: 0"):
        SecurityPolicy(max_memory=-5, max_execution_time=0)
    config = WasmPluginConfig(name="p", type="filter", module_path="-", timeout_ms="1s")  # type: ignore[arg-type]
    assert config.type is PluginType.FILTER
    assert config.limits.time_ms == 1000
    with pytest.raises(WasmConfiguration, match="`name`: '' is not a name"):
        WasmPluginConfig(name="", type=PluginType.FILTER, module_path="-")


def test_a_config_survives_being_stored(folder: Path):
    plugin = Plugin.load(folder / "plugin.json")
    stored = msgspec.json.decode(msgspec.json.encode(plugin.config), type=WasmPluginConfig)
    assert Plugin.of(stored, plugin.module) == plugin
    assert Plugin.of(stored, plugin.module).key == plugin.key


def test_the_columns_of_an_answer_are_spelled_as_in_graphs_or_as_polars_types():
    spelled = WasmPluginConfig.load(
        {**GOOD, "schema": {"n": "Int64", "at": {"Datetime": ["us", "UTC"]}, "l": pl.List(pl.Date)}}
    )
    assert spelled.answers == pl.Schema({"n": pl.Int64, "at": pl.Datetime("us", "UTC"), "l": pl.List(pl.Date)})
    assert msgspec.json.decode(msgspec.json.encode(spelled), type=WasmPluginConfig).answers == spelled.answers
    assert WasmPluginConfig.load(GOOD).answers is None
    for wrong in ({}, [], {"n": 3}, {1: "Int64"}):
        with pytest.raises(WasmConfiguration, match="`schema`"):
            WasmPluginConfig.load({**GOOD, "schema": wrong})
