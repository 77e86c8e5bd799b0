"""Plugin descriptions: every field is checked, and every mistake is told at once."""

from __future__ import annotations

import hashlib
import json
import math
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from wasmtime import wat2wasm

import dataflare_nb as flare
from dataflare_nb.errors import WasmConfiguration, WasmError, WasmPluginLoad
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
    with pytest.raises(WasmConfiguration, match=r"Is a directory; give the file, .*plugin\.json"):
        Plugin.load(tmp_path)
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


@pytest.mark.parametrize(
    ("time", "ms"), [(250, 250), ("2s", 2000), ("1m30s", 90_000), ("20ms", 20), (timedelta(seconds=2), 2000)]
)
def test_time_is_milliseconds_or_as_windows_have_it(time: int | str | timedelta, ms: int):
    assert SecurityPolicy.load({"max_execution_time": time}).max_execution_time == ms


@pytest.mark.parametrize("time", ["1.5s", "20 ms", "5", "1mo", "-1s", "9" * 400 + "h", "0s", "2h", 1.5, True, None])
def test_other_times_are_refused(time: Any):
    with pytest.raises(WasmConfiguration, match=r"`max_execution_time`: .* is (not milliseconds, text|outside 1 ms)"):
        SecurityPolicy.load({"max_execution_time": time})


@pytest.mark.parametrize("memory", ["9" * 400 + "GiB", "9" * 20, -1, 10**400, 1.5, True, "1 TiB"])
def test_other_sizes_are_refused(memory: Any):
    with pytest.raises(WasmConfiguration, match=r"`max_memory`: .{1,70} is (not bytes or text|outside 65536 to)"):
        SecurityPolicy.load({"max_memory": memory})


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


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"allowed_paths": "data"}, "`allowed_paths`: Expected `array`, got `str`"),
        ({"allowed_hosts": (3,)}, "`allowed_hosts`: Expected `str`, got `int`"),
        ({"allow_network": "no"}, "`allow_network`: Expected `bool`, got `str`"),
        ({"allowed_env_vars": None}, "`allowed_env_vars`: Expected `array`, got `null`"),
    ],
)
def test_types_of_a_policy_written_in_python_are_checked(policy: dict[str, Any], said: str):
    with pytest.raises(WasmConfiguration, match=said):
        SecurityPolicy(**policy)


def test_what_python_may_write_for_a_field_is_taken():
    assert SecurityPolicy(allow_file_system=True, allowed_paths=["data"]).allowed_paths == ("data",)  # type: ignore[arg-type]
    config = WasmPluginConfig(**GOOD, security_policy={"max_memory": "1MiB"})  # type: ignore[arg-type]
    assert config.limits.memory == 1 << 20
    with pytest.raises(WasmConfiguration, match=r"`config`: it is not JSON: Encoding objects of type object"):
        WasmPluginConfig(**{**GOOD, "config": {"a": object()}})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_say_is_refused_in_a_config(number: float):
    config = {"a": [1, 2.5, {"most": (number,)}]}
    said = r"`config`: `a\[2\]\.most\[0\]` is NaN or infinity, which JSON cannot say"
    with pytest.raises(WasmConfiguration, match=said):
        WasmPluginConfig(**{**GOOD, "config": config})  # type: ignore[arg-type]
    with pytest.raises(WasmConfiguration, match=said):
        WasmPluginConfig.load({**GOOD, "config": config})
    with pytest.raises(WasmConfiguration, match=r"`to\[0\]\.lat` is NaN or infinity"):
        flare.wasm.bundled_plugin("haversine", to=[{"lat": number}])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"config": ' + b'{"a": ' * 200_000, "is not JSON: maximum recursion depth"),
        (b'{"name": "\xff"}', "is not JSON: 'utf-8' codec can't decode"),
        (b'{"name": "\\ud800"}', "is not JSON"),
        (b" " * (17 << 20) + b"{}", "it has more than the 16777216 bytes that are allowed"),
    ],
)
def test_a_description_may_hold_anything(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "plugin.json").write_bytes(content)
    with pytest.raises(WasmConfiguration, match=said):
        Plugin.load(tmp_path / "plugin.json")


@pytest.mark.parametrize("path", [3, None, b"plugin.json", "a\0b", "a\ud800", "a" * 5000, "/dev/zero", "/dev/tty"])
def test_a_path_may_be_anything(path: Any):
    with pytest.raises(WasmConfiguration, match=r"is not a path, an object or a Plugin|cannot read"):
        Plugin.load(path)
    with pytest.raises(WasmError, match=r"cannot read its module|`module_path`: Expected `str`"):
        Plugin.load({**GOOD, "module_path": path})


def test_nobody_waits_for_what_is_not_a_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WasmPluginLoad, match="pipe: it is not a plain file; build it"):
        Plugin.load({**GOOD, "module_path": str(tmp_path / "pipe")})
    (tmp_path / "large.wasm").write_bytes(bytes((8 << 20) + 1))
    with pytest.raises(WasmPluginLoad, match="it has more than the 8388608 bytes that are allowed"):
        Plugin.load({**GOOD, "module_path": str(tmp_path / "large.wasm")})


@pytest.mark.parametrize("name", ["a\nERROR root: all is lost", "\x1b[2J", "a\u2028b", "\u202egpj.exe"])
def test_a_name_cannot_write_lines_of_a_log(name: str):
    with pytest.raises(WasmConfiguration, match=r"`name`: .* has characters that cannot be shown") as caught:
        WasmPluginConfig.load({**GOOD, "name": name})
    assert str(caught.value).isprintable()
    assert WasmPluginConfig.load({**GOOD, "name": "räume 数据 ☀"}).name == "räume 数据 ☀"


def test_mistakes_of_any_size_and_number_are_told_briefly():
    many: dict[str, Any] = {**GOOD, **{f"k{i}": 1 for i in range(100_000)}, "type": "x" * 10_000_000}
    with pytest.raises(WasmConfiguration, match=r"`k11` is not known.; 99988 more are not known") as caught:
        WasmPluginConfig.load(many)
    assert len(str(caught.value)) < 1000
    with pytest.raises(WasmConfiguration, match="`yyyy") as caught:
        WasmPluginConfig.load({**GOOD, "y" * 10_000_000: 1})
    assert len(str(caught.value)) < 300


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
