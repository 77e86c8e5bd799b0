"""A signature says who made a plugin, and holds for that plugin alone."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from wasmtime import wat2wasm

import dataflare_nb as flare
from dataflare_nb.clock import ManualClock
from dataflare_nb.errors import WasmConfiguration, WasmPluginLoad, WasmUntrusted
from dataflare_nb.wasm import (
    Plugin,
    SecurityPolicy,
    Session,
    WasmComponentConfig,
    WasmComponentManager,
    WasmPluginConfig,
)
from dataflare_nb.wasm.environment import REQUIRE_SIGNED, TRUST
from dataflare_nb.wasm.keys import key_id, public_key
from dataflare_nb.wasm.signing import generate_key, sign, trust_key, trusted_keys, verify

from .guests import text

DAY = 86_400_000_000
NOON = ManualClock(20_000 * DAY + DAY // 2)
TODAY = dt.date(1970, 1, 1) + dt.timedelta(20_000)


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(TRUST, str(tmp_path / "trust"))
    monkeypatch.delenv(REQUIRE_SIGNED, raising=False)
    return tmp_path / "trust"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "p.wasm").write_bytes(bytes(wat2wasm(text())))
    description = {"name": "p", "type": "Processor", "module_path": "p.wasm", "config": {"rate": 1.5, "who": "Zoë"}}
    description["security_policy"] = {"max_memory": "1MiB"}
    (folder / "plugin.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    generate_key(tmp_path / "ana.key")
    trust_key(tmp_path / "ana.pub")
    return tmp_path / "ana.key"


def changed(folder: Path, change: Any) -> None:
    path = folder / "plugin.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


LAYOUTS = {
    "as people write": '{\n  "name": "p",  "type":"Processor",\n  "module_path": "p.wasm",\n\n  "config": {}\n}\n',
    "tabs": '{\n\t"name": "p",\n\t"type": "Processor",\n\t"module_path": "p.wasm"\n}',
    "Windows": '{\r\n    "name": "p",\r\n    "type": "Processor",\r\n    "module_path": "p.wasm"\r\n}\r\n',
    "one line": '{"name":"p","type":"Processor","module_path":"p.wasm","metadata":{"signature":"Zo\\u00eb, \\"}"}}',
    "odd": ' \n{ "name" :"p" ,"type": "Processor"\n, "module_path": "p.wasm" , "metadata": {"who": "Zoë"} } ',
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_signature_leaves_the_rest_as_it_stands(folder: Path, key: Path, layout: str):
    path = folder / "plugin.json"
    path.write_bytes(layout.encode())
    sign(folder, key, clock=NOON)
    once = path.read_bytes().decode()
    assert verify(folder, clock=NOON).name == "ana"
    assert json.loads(once)["metadata" if "metadata" in layout else "name"]
    sign(folder, key, clock=NOON, expires=dt.date(2999, 1, 1))
    twice = path.read_bytes().decode()
    assert verify(folder, clock=NOON).expires == dt.date(2999, 1, 1)
    assert list(json.loads(twice)) == list(json.loads(once))
    before, _, after = layout.rpartition("}")
    for signed in (once, twice):
        assert signed.startswith(before.rstrip())
        assert signed.endswith(before[len(before.rstrip()) :] + "}" + after)
        assert signed.count("\r\n") == (signed.count("\n") if "\r" in layout else 0)


def test_a_signature_is_written_as_the_rest_is(folder: Path, key: Path):
    (folder / "plugin.json").write_text(LAYOUTS["tabs"])
    signature = sign(folder, key, clock=NOON)
    lines = (folder / "plugin.json").read_text().split("\n")
    assert lines[3:6] == ['\t"module_path": "p.wasm",', '\t"signature": {', f'\t\t"key": "{signature.key}",']
    assert lines[-2:] == ["\t}", "}"]


def test_a_signed_plugin_names_its_signer(folder: Path, key: Path):
    signature = sign(folder, key, expires=dt.date(2999, 1, 1), clock=NOON)
    signer = verify(folder, clock=NOON)
    assert (signer.name, signer.key, signer.signed) == ("ana", signature.key, TODAY)
    assert signature.key == key_id(public_key(key.with_suffix(".pub")))
    assert Plugin.load(folder / "plugin.json", require_signed=True).name == "p"
    assert verify(folder / "plugin.json", clock=NOON) == signer
    assert {path.name for path in folder.iterdir()} == {"p.wasm", "plugin.json"}


def test_a_signature_travels_with_a_stored_plugin(folder: Path, key: Path):
    sign(folder, key, clock=NOON)
    plugin = Plugin.load(folder / "plugin.json")
    stored = msgspec.json.decode(msgspec.json.encode(plugin.config), type=WasmPluginConfig)
    assert verify(Plugin.of(stored, plugin.module), clock=NOON).name == "ana"


def test_how_a_description_is_written_and_where_the_module_lies_does_not_matter(folder: Path, key: Path):
    sign(folder, key, clock=NOON)
    changed(folder, lambda d: d["security_policy"].update(max_memory=1 << 20, allowed_paths=[]))
    (folder / "p.wasm").rename(folder / "moved.wasm")
    changed(folder, lambda d: d.update(module_path="moved.wasm", type="processor", config={"who": "Zoë", "rate": 1.5}))
    assert verify(folder, clock=NOON).name == "ana"


def test_being_signed_changes_nothing_that_a_plugin_does(folder: Path, key: Path):
    before = Plugin.load(folder / "plugin.json").key
    sign(folder, key)
    assert Plugin.load(folder / "plugin.json").key == before


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["config"].update(rate=2.5),
        lambda d: d["config"].update(more=1),
        lambda d: d["security_policy"].update(max_memory="2MiB"),
        lambda d: d["security_policy"].update(allow_network=True, allowed_hosts=["example.org"]),
        lambda d: d.update(name="q"),
        lambda d: d.update(type="Filter"),
        lambda d: d.update(timeout_ms="1h"),
        lambda d: d["signature"].update(expires="2999-01-01"),
        lambda d: d["signature"].update(signed="1999-01-01"),
        lambda d: d["signature"].update(ed25519=d["signature"]["ed25519"][::-1]),
        lambda d: d["signature"].update(ed25519="AAAA"),
        lambda d: d["signature"].update(ed25519="not base64"),
        lambda d: d["signature"].update(ed25519=""),
    ],
)
def test_any_other_change_of_the_description_is_found_out(folder: Path, key: Path, change: Any):
    sign(folder, key, clock=NOON)
    changed(folder, change)
    with pytest.raises(WasmUntrusted, match="description was changed after it was signed, or it was not signed by ana"):
        verify(folder, clock=NOON)


def test_a_changed_module_is_found_out(folder: Path, key: Path):
    sign(folder, key)
    module = (folder / "p.wasm").read_bytes()
    (folder / "p.wasm").write_bytes(module + b"\0\1\0")
    with pytest.raises(WasmUntrusted, match="plugin p: its module was changed after it was signed"):
        verify(folder)
    changed(folder, lambda d: d["signature"].update(sha256=Plugin.read(folder / "plugin.json").sha256))
    with pytest.raises(WasmUntrusted, match="or it was not signed by ana"):
        verify(folder)


def test_an_unsigned_plugin_and_an_unknown_key_are_not_trusted(folder: Path, key: Path, trust: Path, tmp_path: Path):
    with pytest.raises(WasmUntrusted, match="plugin p: it is not signed"):
        verify(folder)
    public = generate_key(tmp_path / "eve.key")
    sign(folder, tmp_path / "eve.key")
    with pytest.raises(WasmUntrusted, match=r"key [0-9a-f]{32}, which is not in the trust store .*; there is ana \("):
        verify(folder)
    assert verify(folder, trust=trust_key(public, trust=tmp_path / "other").parent).name == "eve"
    with pytest.raises(WasmUntrusted, match=r"nothing is in it yet; `dataflare plugin trust KEY\.pub`"):
        verify(folder, trust=tmp_path / "empty")
    # A key of the right name is not the right key.
    changed(folder, lambda d: d["signature"].update(key=key_id(public_key(tmp_path / "ana.pub"))))
    with pytest.raises(WasmUntrusted, match="or it was not signed by ana"):
        verify(folder)


def test_a_signature_holds_until_the_end_of_its_last_day(folder: Path, key: Path):
    sign(folder, key, expires=TODAY, clock=NOON)
    assert verify(folder, clock=NOON).expires == TODAY
    with pytest.raises(WasmUntrusted, match=f"the signature of ana held until {TODAY}"):
        verify(folder, clock=ManualClock(20_001 * DAY))
    with pytest.raises(WasmConfiguration, match="would never hold"):
        sign(folder, key, expires=TODAY - dt.timedelta(1), clock=NOON)


def test_signing_again_replaces_the_signature(folder: Path, key: Path):
    first, second = sign(folder, key, clock=NOON), sign(folder, key, clock=ManualClock(20_001 * DAY))
    assert first != second
    assert verify(folder).signed == TODAY + dt.timedelta(1)


def test_where_signatures_are_asked_for_nothing_unsigned_runs(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch):
    plugin = Plugin.load(folder / "plugin.json")
    with pytest.raises(WasmUntrusted, match="it is not signed"):
        Plugin.load(plugin, require_signed=True)
    monkeypatch.setenv(REQUIRE_SIGNED, "1")
    with pytest.raises(WasmUntrusted, match=r"plugin p: it is not signed.*DATAFLARE_REQUIRE_SIGNED is set"):
        Plugin.load(folder / "plugin.json")
    with pytest.raises(WasmUntrusted, match="it is not signed"):
        Session(plugin)
    sign(folder, key)
    session = Session(Plugin.load(folder / "plugin.json", require_signed=False))
    assert session.call(pl.DataFrame({"x": [1]})).height == 1
    session.close()
    monkeypatch.setenv(REQUIRE_SIGNED, "maybe")
    with pytest.raises(WasmConfiguration, match="DATAFLARE_REQUIRE_SIGNED='maybe' is neither 1 nor 0"):
        Plugin.load(folder / "plugin.json")


def test_keys_are_kept_from_others_and_never_overwritten(folder: Path, key: Path, tmp_path: Path):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(WasmConfiguration, match="is there already"):
        generate_key(key)
    with pytest.raises(WasmConfiguration, match="is there already"):
        trust_key(tmp_path / "ana.pub")
    with pytest.raises(WasmConfiguration, match=r"'\.\./x' is not a name for a key"):
        trust_key(tmp_path / "ana.pub", name="../x")
    key.chmod(0o644)
    with pytest.raises(WasmConfiguration, match="can be read by others; chmod 600"):
        sign(folder, key)


def test_a_key_with_a_password_needs_it(folder: Path, tmp_path: Path):
    trust_key(generate_key(tmp_path / "bo.key", password="sesame"))
    for wrong in (None, "open"):
        with pytest.raises(WasmConfiguration, match="cannot be opened"):
            sign(folder, tmp_path / "bo.key", password=wrong)
    sign(folder, tmp_path / "bo.key", password="sesame")
    assert verify(folder).name == "bo"


@pytest.mark.parametrize("open_to", ["store", "key"])
def test_a_trust_store_that_others_can_change_is_worth_nothing(folder: Path, key: Path, trust: Path, open_to: str):
    sign(folder, key)
    (trust if open_to == "store" else trust / "ana.pub").chmod(0o777)
    with pytest.raises(WasmConfiguration, match="can be changed by other users"):
        verify(folder)


def test_what_is_no_key_is_named(folder: Path, key: Path, trust: Path, tmp_path: Path):
    (tmp_path / "bad.key").write_text("hello")
    (tmp_path / "bad.key").chmod(0o600)
    with pytest.raises(WasmConfiguration, match=r"bad.key cannot be opened"):
        sign(folder, tmp_path / "bad.key")
    with pytest.raises(WasmConfiguration, match=r"cannot read the key .*none\.key: No such file"):
        sign(folder, tmp_path / "none.key")
    (trust / "bad.pub").write_text("hello")
    with pytest.raises(WasmConfiguration, match=r"bad.pub is not a public key in PEM"):
        trusted_keys()


def test_without_the_extra_the_way_to_it_is_told(folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch):
    sign(folder, key)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for attempt in (lambda: verify(folder), lambda: sign(folder, key), lambda: generate_key(key.with_name("x.key"))):
        with pytest.raises(WasmConfiguration, match=r'pip install "dataflare-nb\[sign\]"'):
            attempt()
    assert Plugin.load(folder / "plugin.json").name == "p"


def test_a_signature_of_another_shape_does_not_load(folder: Path):
    changed(folder, lambda d: d.update(signature={"key": "x"}))
    with pytest.raises((WasmConfiguration, WasmPluginLoad), match="`signature`"):
        Plugin.load(folder / "plugin.json")


def test_a_signed_plugin_stays_signed_under_a_name_and_config_of_its_user(
    folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch
):
    sign(folder / "plugin.json", key, clock=NOON)
    monkeypatch.setenv(REQUIRE_SIGNED, "1")
    signed = Plugin.load(folder / "plugin.json")
    mine = signed.with_config({"rate": 2}, name="mine").with_config({"rate": 3})
    assert mine.signed is signed
    session = Session(mine)
    assert session.call(pl.DataFrame({"x": [1]}))["x"].to_list() == [1]
    session.close()
    with WasmComponentManager() as manager:
        manager.register_component(WasmComponentConfig(name="c", plugin=folder / "plugin.json", config={"rate": 4}))
        assert flare.from_frame(pl.DataFrame({"x": [1]})).wasm(manager.component("c")).collect()["x"].to_list() == [1]
    grown = dataclasses.replace(
        mine, config=msgspec.structs.replace(mine.config, security_policy=SecurityPolicy(max_memory=2 << 30 >> 1))
    )
    with pytest.raises(WasmUntrusted, match="changed after it was signed"):
        Session(grown)
    other = dataclasses.replace(mine, module=mine.module + b"\0\2\1\0")
    with pytest.raises(WasmUntrusted, match="its module was changed after it was signed"):
        Session(other)
