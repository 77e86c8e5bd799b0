"""What one plugin may import, and what stands behind it: its policy made into functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import wasmtime

from ..errors import WasmConfiguration, WasmRuntimeError, listing
from .calls import Halt, Signature
from .desk import AT_WORK, Desk, Fault, Window
from .environment import own_folders
from .fetch import BAD_REQUEST, MOST_RESPONSE, TOO_MANY_CALLS, Fetched, Fetcher, FetchFailed, FetchLimits
from .files import Files, Opened
from .hostcalls import LEVELS, MOST_TEXT, log
from .policy import SecurityPolicy
from .wasi import HARMLESS, INVAL, WITH_FILES, Wasi, environment
from .wasi import MODULE as WASI

MODULE = "dataflare"
SIGNATURES: dict[tuple[str, str], Signature] = {
    (MODULE, "host_log"): (("i32", "i32", "i32"), ()),
    (MODULE, "host_get_time"): ((), ("i64",)),
    (MODULE, "host_random"): ((), ("f64",)),
    (MODULE, "host_counter"): (("i32", "i32", "i64"), ()),
    (MODULE, "host_config"): (("i32", "i32"), ("i32",)),
}
"""What every plugin may import."""
WITH_NETWORK: dict[tuple[str, str], Signature] = {
    (MODULE, "host_http"): (("i32", "i32", "i32", "i32"), ("i32",)),
    (MODULE, "host_http_read"): (("i32", "i32", "i32"), ("i32",)),
}
_OUTSIDE = -1
_MOST_NAME = 128


class Doors:
    """The imports of one plugin. Made once for a plugin; each of its guests gets a desk of its own.

    What the policy grants is looked at here: a folder that is not there, or one that is never granted, is refused
    before a module runs, and variables have the values they had now.
    """

    def __init__(
        self,
        policy: SecurityPolicy,
        *,
        plugin: str,
        settings: bytes = b"{}",
        most_memory: int | None = None,
        limits: FetchLimits | None = None,
    ) -> None:
        self._plugin, self._settings = plugin, settings
        self._variables = environment(policy.variables())
        folders = policy.folders()
        ours = own_folders() if folders else ()
        self._folders = [Opened(str(f.real(plugin=plugin, ours=ours)), f.guest, f.writable) for f in folders]
        memory = most_memory or policy.max_memory
        self._most_written = memory
        hosts = policy.hosts()
        limits = limits or FetchLimits(response_bytes=min(MOST_RESPONSE, memory // 2))
        self._fetcher = Fetcher(hosts, limits) if hosts else None
        self.imports: Mapping[tuple[str, str], Signature] = {
            **SIGNATURES,
            **(WITH_NETWORK if hosts else {}),
            **HARMLESS,
            **(WITH_FILES if folders else {}),
        }

    @property
    def behind(self) -> tuple[tuple[str, str], ...] | None:
        """What stands behind the doors now: guests made with another are not exchangeable.

        None if nobody should take up the guests of another, since they may hold files open.
        """
        return None if self._folders else tuple(sorted(self._variables.items()))

    def desk(self) -> Desk:
        """Return the desk of a new guest."""
        try:
            files = Files(self._folders, most_written=self._most_written)
        except OSError as error:
            granted = listing(folder.path for folder in self._folders)
            told = f"its policy grants {granted}, which is no longer what it was when the plugin started"
            raise WasmConfiguration(f"{told} ({error.strerror})", plugin=self._plugin) from None
        return Desk(self._settings, Wasi(self._variables, files), self._fetcher)

    def link(self, engine: wasmtime.Engine, module: wasmtime.Module) -> wasmtime.Linker | None:
        """Return a linker with what `module` imports, which must have been checked; None if it imports nothing."""
        wanted = {(item.module, item.name or "") for item in module.imports}
        if not wanted:
            return None
        linker = wasmtime.Linker(engine)
        for where, name in wanted:
            params, results = self.imports[where, name]
            kind = wasmtime.FuncType(list(map(_value, params)), list(map(_value, results)))
            linker.define_func(where, name, kind, _callback(where, name, results), access_caller=True)
        return linker


def _callback(where: str, name: str, results: tuple[str, ...]) -> Callable[..., Any]:
    failed: Any = {(): None, ("f64",): 0.0}.get(results, INVAL if where == WASI else _OUTSIDE)
    body = _BODIES.get(name)

    def call(caller: wasmtime.Caller, *args: int) -> Any:
        desk = AT_WORK.desk
        if desk is None:
            return failed
        answer = failed
        try:
            if body is not None:
                answer = body(desk, Window(caller), *args)
            elif desk.wasi is not None:
                answer = desk.wasi.call(name, Window(caller), *args)
        except Exception as error:
            log.exception("%s: %s.%s failed", desk.host.plugin, where, name)
            desk.stop(WasmRuntimeError(f"{where}.{name} failed: {error!r}", plugin=desk.host.plugin))
        except BaseException as error:
            desk.stop(error)
        if desk.pending is not None:
            raise Halt
        return answer

    return call


def _log(desk: Desk, window: Window, level: int, address: int, length: int) -> None:
    try:
        window.check(address, length)
        text = window.read(address, min(length & 0xFFFFFFFF, MOST_TEXT)).decode(errors="replace")
    except Fault:
        desk.host.say(LEVELS[2], None)
        return
    desk.host.say(LEVELS[min(max(level, 0), len(LEVELS) - 1)], text)


def _time(desk: Desk, window: Window) -> int:
    return desk.now()


def _random(desk: Desk, window: Window) -> float:
    return desk.dice.random()


def _count(desk: Desk, window: Window, address: int, length: int, by: int) -> None:
    if not 0 < length <= _MOST_NAME:
        return
    try:
        name = window.read(address, length).decode(errors="replace")
    except Fault:
        return
    desk.host.add(name, by)


def _config(desk: Desk, window: Window, address: int, room: int) -> int:
    try:
        return window.offer(address, room, desk.settings)
    except Fault:
        return _OUTSIDE


def _http(desk: Desk, window: Window, head: int, head_length: int, body: int, body_length: int) -> int:
    count = desk.host.add
    fetcher = desk.fetcher
    if fetcher is None:
        return BAD_REQUEST
    desk.fetches += 1
    try:
        if desk.fetches > fetcher.limits.calls:
            raise FetchFailed(TOO_MANY_CALLS, f"one call may make {fetcher.limits.calls} requests")
        most = fetcher.limits.request_bytes + 1
        window.check(head, head_length)
        window.check(body, body_length)
        asked = window.read(head, min(head_length & 0xFFFFFFFF, most))
        sent = window.read(body, min(body_length & 0xFFFFFFFF, most))
        desk.fetched = fetcher.fetch(asked, sent, wanted=lambda: desk.wanted)
    except Fault:
        desk.fetched = Fetched(BAD_REQUEST, error="the request is outside the guest's memory")
    except FetchFailed as failed:
        desk.fetched = Fetched(failed.code, error=str(failed))
    desk.expire()
    count("http.requests", 1)
    if desk.fetched.status < 0:
        count("http.failed", 1)
        log.debug("%s: host_http: %s", desk.host.plugin, desk.fetched.error)
    else:
        count("http.bytes", len(desk.fetched.body))
    return desk.fetched.status


def _http_read(desk: Desk, window: Window, part: int, address: int, room: int) -> int:
    found = desk.fetched
    if found is None or part not in (0, 1, 2):
        return _OUTSIDE
    try:
        return window.offer(address, room, (found.head, found.body, found.error.encode())[part])
    except Fault:
        return _OUTSIDE


_BODIES: dict[str, Callable[..., Any]] = {
    "host_log": _log,
    "host_get_time": _time,
    "host_random": _random,
    "host_counter": _count,
    "host_config": _config,
    "host_http": _http,
    "host_http_read": _http_read,
}


def _value(name: str) -> wasmtime.ValType:
    return {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64, "f64": wasmtime.ValType.f64}[name]()
