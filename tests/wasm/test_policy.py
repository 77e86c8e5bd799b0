"""A policy says all it grants, or is refused with every reason."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration
from dataflare_nb.wasm import SecurityPolicy, Session, WasmPluginConfig
from dataflare_nb.wasm.environment import cache_folder, config_folder
from dataflare_nb.wasm.folders import Folder
from dataflare_nb.wasm.hosts import HostPattern, address_of, canonical, first_match, kind_of

from .guests import plugin


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"allow_network": True}, "`allow_network` is true and `allowed_hosts` is empty"),
        ({"allowed_hosts": ["example.org"]}, "`allowed_hosts` lists example.org and `allow_network` is false"),
        ({"allow_file_system": True}, "`allow_file_system` is true and `allowed_paths` is empty"),
        ({"allowed_paths": ["data"]}, "`allowed_paths` lists data and `allow_file_system` is false"),
        ({"allow_env_vars": True}, "`allow_env_vars` is true and `allowed_env_vars` is empty"),
        ({"allowed_env_vars": ["HOME"]}, "`allowed_env_vars` lists HOME and `allow_env_vars` is false"),
        ({"allow_network": True, "allowed_hosts": ["*"]}, r"`allowed_hosts`: '\*' is not a host such as"),
        ({"allow_network": True, "allowed_hosts": ["*.com"]}, r"'\*.com' is not a host"),
        ({"allow_network": True, "allowed_hosts": ["a.b/c"]}, "and no path"),
        ({"allow_network": True, "allowed_hosts": ["ftp://a.b"]}, "only http and https"),
        ({"allow_network": True, "allowed_hosts": ["a.b:0"]}, "the port is not a number"),
        ({"allow_network": True, "allowed_hosts": ["::1"]}, "in brackets"),
        ({"allow_network": True, "allowed_hosts": ["127.1"]}, "is not a host"),
        ({"allow_file_system": True, "allowed_paths": ["/"]}, "never granted|is not a folder"),
        ({"allow_file_system": True, "allowed_paths": ["/proc/self"]}, "is never granted"),
        ({"allow_file_system": True, "allowed_paths": ["//proc"]}, "is never granted"),
        ({"allow_file_system": True, "allowed_paths": ["/data/../sys"]}, "is never granted|has no name"),
        ({"allow_file_system": True, "allowed_paths": ["data:rwx"]}, "ends in `:rwx`; write `:rw`"),
        ({"allow_file_system": True, "allowed_paths": ["../up"]}, "say what the plugin calls it, as `../up=/data`"),
        ({"allow_file_system": True, "allowed_paths": [""]}, "is not a folder|has no name"),
        ({"allow_file_system": True, "allowed_paths": ["a=/x", "b=/x:rw"]}, "two folders would be called /x"),
        ({"allow_env_vars": True, "allowed_env_vars": ["AWS_*"]}, "written out, without patterns"),
    ],
)
def test_what_a_policy_cannot_mean_is_refused(policy: dict[str, Any], said: str):
    with pytest.raises(WasmConfiguration, match=f"in `security_policy`, .*({said})"):
        WasmPluginConfig.load({"name": "p", "type": "Processor", "module_path": "-", "security_policy": policy})
    with pytest.raises(WasmConfiguration, match=said):
        SecurityPolicy.load(policy)


def test_a_policy_written_in_python_is_looked_at_before_a_plugin_runs():
    made = plugin()
    config = type(made.config)(
        name="p", type=made.config.type, module_path="-", security_policy=SecurityPolicy(allow_network=True)
    )
    with pytest.raises(WasmConfiguration, match="plugin p: `allow_network` is true and `allowed_hosts` is empty"):
        Session(type(made).of(config, made.module))


def test_all_that_is_wrong_is_told_at_once():
    wrong = {"allow_network": True, "allowed_hosts": ["a b"], "allowed_paths": ["/proc"], "allow_env_vars": True}
    with pytest.raises(WasmConfiguration) as caught:
        SecurityPolicy.load(wrong)
    for part in (
        "'a b' is not a host",
        "`allowed_paths` lists /proc",
        "/proc' is never granted",
        "`allow_env_vars` is",
    ):
        assert part in str(caught.value)


# ---- folders ----


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("data", Folder("data", "/data")),
        ("./data/ref/", Folder("./data/ref/", "/data/ref")),
        ("data:ro", Folder("data", "/data")),
        ("data:rw", Folder("data", "/data", True)),
        ("/mnt/lake", Folder("/mnt/lake", "/mnt/lake")),
        ("../ref=/ref:rw", Folder("../ref", "/ref", True)),
        ("~/ref=/ref", Folder("~/ref", "/ref")),
        ("day=2024", Folder("day=2024", "/day=2024")),
    ],
)
def test_a_folder_is_for_reading_unless_it_says_otherwise(text: str, folder: Folder):
    assert Folder.read(text) == folder


def granting(*paths: str) -> Any:
    return plugin(policy={"allow_file_system": True, "allowed_paths": list(paths)})


def test_a_folder_has_to_be_there_when_the_plugin_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WasmConfiguration, match=f"plugin guest: its policy grants data, .* start at {tmp_path}"):
        Session(granting("data"))
    (tmp_path / "data").write_text("x")
    with pytest.raises(WasmConfiguration, match="grants data, which is a file; name its folder"):
        Session(granting("data"))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(WasmConfiguration, match="grants loop, which is not there"):
        Session(granting("loop"))
    (tmp_path / "ok").mkdir()
    Session(granting("ok")).close()


@pytest.mark.parametrize("target", ["/", "/proc", "/sys", "/dev"])
def test_no_link_leads_to_what_is_never_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(target)
    with pytest.raises(WasmConfiguration, match=f"grants data, but {target} is never granted"):
        Session(granting("data"))


def test_the_folders_of_the_wall_itself_are_never_granted():
    cache = cache_folder()
    assert cache is not None
    for folder in (config_folder(), cache):
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, folder.parent, folder / "modules"):
            path.mkdir(exist_ok=True)
            with pytest.raises(WasmConfiguration, match="where dataflare keeps keys or compiled modules"):
                Session(granting(f"{path}=/x"))


# ---- hosts ----


@pytest.mark.parametrize(
    ("pattern", "passes", "stops"),
    [
        ("api.example.com", ["https api.example.com 443", "http api.example.com 80"], ["https api.example.com 8443"]),
        ("API.Example.com.", ["https api.example.com 443"], ["https example.com 443", "https xapi.example.com 443"]),
        ("https://a.b", ["https a.b 443"], ["http a.b 80", "http a.b 443"]),
        ("a.b:8080", ["http a.b 8080", "https a.b 8080"], ["http a.b 80", "https c.a.b 8080"]),
        ("*.a.b", ["https x.a.b 443", "https y.x.a.b 443"], ["https a.b 443", "https xa.b 443", "https a.b.c 443"]),
        ("*.a.b:81", ["http x.a.b 81"], ["http x.a.b 80"]),
        ("10.0.0.1", ["http 10.0.0.1 80"], ["http 10.0.0.2 80"]),
        ("[::1]:80", ["http ::1 80"], ["http ::2 80"]),
        ("münchen.example", ["https xn--mnchen-3ya.example 443"], []),
    ],
)
def test_a_pattern_lets_pass_what_it_says(pattern: str, passes: list[str], stops: list[str]):
    found = HostPattern.read(pattern)
    for url in passes + stops:
        scheme, host, port = url.split()
        assert found.allows(scheme, host, int(port)) is (url in passes), url


def test_what_was_written_out_may_be_private_and_a_pattern_may_not():
    literal = [HostPattern.read(p).literal for p in ("10.0.0.1", "[::1]", "db.lan:5000", "http://localhost:80")]
    others = [HostPattern.read(p).literal for p in ("db.lan", "*.lan.example:80", "https://localhost")]
    assert literal == [True] * 4
    assert others == [False] * 3
    both = (HostPattern.read("*.b.c:80"), HostPattern.read("a.b.c:80"))
    assert first_match(both, "http", "a.b.c", 80) is both[1]


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("private", ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"]),
        ("shared", ["100.64.0.1"]),
        ("loopback", ["127.0.0.1", "127.255.0.1", "::1"]),
        ("link-local", ["169.254.169.254", "fe80::1", "febf::1"]),
        ("multicast", ["224.0.0.1", "239.1.1.1", "ff02::1"]),
        ("unspecified", ["0.0.0.0", "0.1.2.3", "::"]),
        ("reserved", ["240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "203.0.113.9", "192.88.99.1"]),
        ("reserved", ["2001::1", "2001:db8::1", "2002:7f00:1::", "64:ff9b::7f00:1", "3fff::1", "4000::1", "::7f00:1"]),
        ("IPv4-mapped private", ["::ffff:10.0.0.1"]),
        ("IPv4-mapped loopback", ["::ffff:127.0.0.1"]),
        ("IPv4-mapped IPv4", ["::ffff:8.8.8.8"]),
        (None, ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]),
    ],
)
def test_addresses_have_kinds(kind: str | None, addresses: list[str]):
    for address in addresses:
        assert kind_of(ipaddress.ip_address(address)) == kind, address


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_not_public(address: Any):
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert kind_of(address) is not None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2606:4700:0::1]", "2606:4700::1"),
        ("127.1", None),
        ("2130706433", None),
        ("0x7f000001", None),
        ("0x7f.0.0.0x1", None),
        ("1.2.3.4.5", None),
        ("a b", None),
        ("a%2eb", None),
        ("-a.b", None),
        ("", None),
        ("..", None),
        ("a..b", None),
        ("[::1%lo]", None),
        ("x" * 64 + ".com", None),
    ],
)
def test_a_host_has_one_spelling_or_none(text: str, host: str | None):
    assert canonical(text) == host


def test_an_address_with_a_scope_is_none():
    assert address_of("fe80::1%eth0") is None


def test_the_policy_of_the_documentation_holds():
    text = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    block = text.partition('    "security_policy": ')[2].partition("\n\n")[0]
    policy = SecurityPolicy.load(json.loads(block))
    assert policy.allow_network
    assert policy.allow_file_system
    assert policy.allow_env_vars
