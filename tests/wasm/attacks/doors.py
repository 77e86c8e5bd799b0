"""Guests that reach for what their policy does not grant: functions, files, variables, hosts."""

from __future__ import annotations

import json
from typing import Any

from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution, WasmPluginLoad, WasmTimeout
from dataflare_nb.wasm import Plugin

from ..asking import call, data, i64
from .attack import Attack, Ground, hostile

READ, WRITE = 1 << 1, 1 << 6
BADF, INVAL, LOOP, PERM, ROFS, DQUOT = 8, 28, 32, 63, 69, 19
NOT_ALLOWED, PRIVATE, TOO_MANY_CALLS, TOO_MANY_REDIRECTS, BAD_REQUEST = -2, -3, -8, -9, -1
FILES = ("path_open", "path_create_directory", "path_unlink_file", "path_rename", "path_symlink", "fd_write", "fd_read")


def _said(code: int) -> str:
    return f"error {-1000 - code}"


def _report(question: str) -> str:
    """Return statements that fail with what the host answered, so that the test sees it."""
    return f"(return (i32.sub (i32.const -1000) {question}))"


def _imports(name: str, wat: str, match: str, error: type[Exception] = WasmConfiguration) -> Attack:
    return Attack(
        name=f"import of {name}",
        tries="to be given what is not granted",
        error=error,
        match=match,
        make=lambda place: _importing(wat),
        loads=True,
        budget_ms=1000,
    )


def _importing(wat: str) -> Plugin:
    from wasmtime import wat2wasm

    from ..guests import text
    from .attack import described

    return described(bytes(wat2wasm(text(imports=wat))))


IMPORTS = [
    _imports("a function nobody knows", '(import "dataflare" "host_exec" (func))', r"imports dataflare\.host_exec"),
    _imports("another module", '(import "env" "system" (func (param i32) (result i32)))', r"imports env\.system"),
    _imports("files", '(import "wasi_snapshot_preview1" "path_open" (func))', r"wasi_snapshot_preview1\.path_open"),
    _imports("sockets", '(import "wasi_snapshot_preview1" "sock_accept" (func))', r"preview1\.sock_accept"),
    _imports("old WASI", '(import "wasi_unstable" "fd_write" (func))', r"imports wasi_unstable\.fd_write"),
    _imports(
        "threads", '(import "wasi" "thread-spawn" (func (param i32) (result i32)))', r"imports wasi\.thread-spawn"
    ),
    _imports("the network", '(import "dataflare" "host_http" (func))', r"imports dataflare\.host_http"),
    _imports("a table of the host", '(import "dataflare" "table" (table 1 funcref))', r"imports dataflare\.table"),
    _imports(
        "a function of another shape",
        '(import "dataflare" "host_log" (func (param i64)))',
        r"import dataflare\.host_log must be \(i32, i32, i32\) -> nothing",
        WasmPluginLoad,
    ),
]


def _opening(path: str, rights: int = READ, how: int = 0) -> str:
    return call("path_open", 3, 1, 1024, len(path), how, i64(rights), i64(0), 0, 64)


def _files(name: str, question: str, code: int, *, path: str = "in.txt", writable: bool = False) -> Attack:
    def make(place: Ground) -> Plugin:
        grant = f"{place.folder}/data=/data" + (":rw" if writable else "")
        return hostile(
            _report(question.replace("SECRET", str(place.folder / "secret.txt"))),
            imports=FILES,
            extra=data(1024, path.replace("SECRET", str(place.folder / "secret.txt"))),
            policy={"allow_file_system": True, "allowed_paths": [grant]},
        )

    return Attack(
        name=name,
        tries="to reach files beyond its folder",
        error=WasmPluginExecution,
        match=_said(code),
        make=make,
        budget_ms=5000,
    )


PATHS = [
    _files("escape by ..", _opening("../secret.txt"), PERM, path="../secret.txt"),
    _files("escape by .. in the middle", _opening("sub/../../secret.txt"), PERM, path="sub/../../secret.txt"),
    _files("escape by a symbolic link", _opening("out"), PERM, path="out"),
    _files("escape by an absolute link", _opening("absolute"), PERM, path="absolute"),
    _files("escape by an absolute path", _opening("/etc/passwd"), PERM, path="/etc/passwd"),
    _files("escape by a byte 0", _opening("in.txt\0../x"), INVAL, path="in.txt\0../x"),
    _files("escape by making a link", call("path_symlink", 1024, 6, 3, 1030, 1), 58, path="/etc/px", writable=True),
    _files("escape by renaming", call("path_rename", 3, 1024, 6, 3, 1030, 5), PERM, path="in.txt../up", writable=True),
    _files("write where reading is granted", _opening("in.txt", READ | WRITE), ROFS),
    _files("create where reading is granted", _opening("new.txt", WRITE, 1), ROFS, path="new.txt"),
    _files("truncate where reading is granted", _opening("in.txt", READ, 8), ROFS),
    _files("remove where reading is granted", call("path_unlink_file", 3, 1024, 6), ROFS),
    _files("descriptor of the host", call("fd_read", 5, 1024, 1, 64), BADF),
    _files("descriptor -1", call("fd_read", -1, 1024, 1, 64), BADF),
]
VARIABLES = [
    Attack(
        name="environment",
        tries="to read what the process knows",
        error=WasmPluginExecution,
        match="error -1000$",
        strike=f"(drop {call('environ_sizes_get', 0, 4)}) {_report('(i32.load (i32.const 0))')}",
        imports=("environ_sizes_get",),
    ),
    Attack(
        name="environment beyond what is granted",
        tries="to read what the process knows",
        error=WasmPluginExecution,
        match="error -1001$",
        policy={"allow_env_vars": True, "allowed_env_vars": ["PATH"]},
        strike=f"(drop {call('environ_sizes_get', 0, 4)}) {_report('(i32.load (i32.const 0))')}",
        imports=("environ_sizes_get",),
    ),
    Attack(
        name="arguments",
        tries="to read how the process was called",
        error=WasmPluginExecution,
        match="error -1000$",
        strike=f"(drop {call('args_sizes_get', 0, 4)}) {_report('(i32.load (i32.const 0))')}",
        imports=("args_sizes_get",),
    ),
]


def _http(
    name: str, url: str, code: int, *, hosts: tuple[str, ...] = ("http://localhost:PORT",), **request: Any
) -> Attack:
    def make(place: Ground) -> Plugin:
        def filled(text: str) -> str:
            return text.replace("PORT", str(place.port)).replace("QUIET", str(place.silent))

        raw = filled(json.dumps({"url": url, **request})).encode()
        return hostile(
            _report(call("host_http", 1024, len(raw), 0, 0)),
            imports=("host_http",),
            extra=data(1024, raw),
            policy={"allow_network": True, "allowed_hosts": [filled(host) for host in hosts]},
        )

    return Attack(
        name=name,
        tries="to reach hosts beyond its policy",
        error=WasmPluginExecution,
        match=f"{_said(code)}$",
        make=make,
        budget_ms=5000,
    )


HOSTS = [
    _http("request to another host", "http://example.org/", NOT_ALLOWED),
    _http("request to another port", "http://localhost:QUIET/", NOT_ALLOWED),
    _http("request to loopback by its address", "http://127.0.0.1:PORT/", NOT_ALLOWED),
    _http("request to loopback by its other address", "http://[::1]:PORT/", NOT_ALLOWED),
    _http("request to a private address by a name", "http://localhost/", PRIVATE, hosts=("localhost",)),
    _http("request to the machine's metadata", "http://169.254.169.254/", NOT_ALLOWED),
    _http("request to a file", "file:///etc/passwd", NOT_ALLOWED),
    _http("request with a forged head", "http://localhost:PORT/", BAD_REQUEST, headers={"a": "b\r\nhost: x"}),
    _http("request to a host behind an @", "http://localhost:PORT@example.org/", BAD_REQUEST),
    _http("redirect to loopback", "http://localhost:PORT/to?url=http://127.0.0.1:PORT/", NOT_ALLOWED),
    _http("redirect to metadata", "http://localhost:PORT/to?url=http://169.254.169.254/", NOT_ALLOWED),
    _http(
        "redirect to a private address by a name",
        "http://localhost:PORT/to?url=http://localhost/",
        PRIVATE,
        hosts=("localhost:PORT", "localhost"),
    ),
    _http("redirect to a file", "http://localhost:PORT/to?url=file:///etc/passwd", NOT_ALLOWED),
    _http("redirects without an end", "http://localhost:PORT/loop", TOO_MANY_REDIRECTS),
]


def _flood(place: Ground) -> Plugin:
    raw = json.dumps({"url": f"http://localhost:{place.port}/bytes?n=1"}).encode()
    ask = call("host_http", 1024, len(raw), 0, 0)
    return hostile(
        f"(loop $l (br_if $l (i32.eq {ask} (i32.const 200)))) {_report(ask)}",
        imports=("host_http",),
        extra=data(1024, raw),
        policy={"allow_network": True, "allowed_hosts": [f"localhost:{place.port}"]},
    )


def _hanging(place: Ground) -> Plugin:
    raw = json.dumps({"url": f"http://localhost:{place.silent}/"}).encode()
    return hostile(
        f"(drop {call('host_http', 1024, len(raw), 0, 0)})",
        imports=("host_http",),
        extra=data(1024, raw),
        policy={
            "allow_network": True,
            "allowed_hosts": [f"localhost:{place.silent}"],
            "max_execution_time": 150,
        },
    )


FLOODS = [
    Attack(
        name="flood of requests",
        tries="to attack another with this machine",
        error=WasmPluginExecution,
        match=f"{_said(TOO_MANY_CALLS)}$",
        make=_flood,
        budget_ms=5000,
    ),
    Attack(
        name="request to a host that never answers",
        tries="to wait beyond its time",
        error=WasmTimeout,
        match="ran longer than its 150 ms",
        make=_hanging,
    ),
]
DOORS = (*IMPORTS, *PATHS, *VARIABLES, *HOSTS, *FLOODS)
