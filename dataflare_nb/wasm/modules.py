"""Compiled modules: measured before they are compiled, compiled once per content, checked before they are linked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import wasmtime

from ..errors import WasmConfiguration, WasmPluginLoad, listing
from .anatomy import MAX_MODULE, inspect
from .cache import CodeCache, current_cache
from .calls import Signature, signature, spelled
from .engine import Engine, settings
from .hostcalls import tame

__all__ = ["CACHE", "IN_PROCESS", "MAX_MODULE", "ModuleCache", "check_module"]

IN_PROCESS = 2 << 10
"""Bytes up to which a foreign module is compiled here: the worst of that size takes a tenth of a second, one of four
KiB seconds, one of fifteen KiB a minute and a half, one of thirty-four KiB three gigabytes."""
SECONDS, SECONDS_PER_MIB = 20.0, 15.0
COMPILER_MEMORY = 1 << 30
_HELD_BYTES = 64 << 20
_MOST_NAME = 256
_NOT_STARTED = (126, 127)
"""What a program is said to have ended with that could not be run, or not find its libraries."""


class ModuleCache:
    """Machine code by content and kind of engine, the least recently used dropped first. Thread safe.

    A foreign module of some size is compiled by a process of its own, with an end in time and memory; what comes
    out is kept on disk for the next kernel. Our own generated code is compiled at once.
    """

    def __init__(
        self,
        capacity: int = _HELD_BYTES,
        *,
        disk: Callable[[], CodeCache | None] = current_cache,
        seconds: float = SECONDS,
        memory: int = COMPILER_MEMORY,
    ) -> None:
        self._capacity, self._disk = capacity, disk
        self._seconds, self._memory = seconds, memory
        self._held: OrderedDict[tuple[str, bool], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._busy: dict[tuple[str, bool], threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._held)

    def compile(self, engine: Engine, module: bytes, *, plugin: str, trusted: bool = False) -> wasmtime.Module:
        """Return `module` ready to be instantiated on `engine`; `trusted` says that we generated it."""
        key = (hashlib.sha256(module).hexdigest(), engine.metered)
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        try:
            with busy:
                return self._compiled(engine, module, key, plugin, trusted)
        finally:
            with self._lock:
                self._busy.pop(key, None)

    def _compiled(
        self, engine: Engine, module: bytes, key: tuple[str, bool], plugin: str, trusted: bool
    ) -> wasmtime.Module:
        with self._lock:
            code = self._held.get(key)
            if code is not None:
                self._held.move_to_end(key)
        if code is not None:
            return wasmtime.Module.deserialize(engine.native, code)
        if not trusted:
            inspect(module, plugin=plugin)
        library = None if trusted or len(module) <= IN_PROCESS else _library()
        if library is None:
            compiled = _compiled_here(engine, module, plugin)
            self._keep(key, bytes(compiled.serialize()))
            return compiled
        return self._compiled_apart(engine, module, key, plugin, library)

    def _compiled_apart(
        self, engine: Engine, module: bytes, key: tuple[str, bool], plugin: str, library: str
    ) -> wasmtime.Module:
        sha256, metered = key
        disk = self._disk()
        code = disk.get(sha256, metered=metered) if disk is not None else None
        if code is not None and disk is not None:
            try:
                compiled = wasmtime.Module.deserialize(engine.native, code)
                self._keep(key, code)
                return compiled
            except wasmtime.WasmtimeError as error:
                disk.reject(sha256, metered, str(error))
        seconds = self._seconds + SECONDS_PER_MIB * len(module) / (1 << 20)
        code = _compiled_in_a_child(library, module, metered, plugin, seconds, self._memory)
        compiled = wasmtime.Module.deserialize(engine.native, code)
        self._keep(key, code)
        if disk is not None:
            disk.put(sha256, code, metered=metered)
        return compiled

    def _keep(self, key: tuple[str, bool], code: bytes) -> None:
        with self._lock:
            self._held[key] = code
            while len(self._held) > 1 and sum(map(len, self._held.values())) > self._capacity:
                self._held.popitem(last=False)


CACHE = ModuleCache()


def _compiled_here(engine: Engine, module: bytes, plugin: str) -> wasmtime.Module:
    try:
        return wasmtime.Module(engine.native, module)
    except wasmtime.WasmtimeError as error:
        raise WasmPluginLoad(f"the module does not compile: {error}", plugin=plugin) from None


def _compiled_in_a_child(library: str, module: bytes, metered: bool, plugin: str, seconds: float, memory: int) -> bytes:
    script = str(Path(__file__).with_name("compiling.py"))
    about = [library, json.dumps(settings(metered)), str(memory), str(os.getpid())]
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", script, *about],
            input=module,
            capture_output=True,
            timeout=seconds,
            env=_loader(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WasmPluginLoad(
            f"the module took more than {seconds:.0f} s to compile; split its largest functions", plugin=plugin
        ) from None
    except OSError as error:
        raise WasmPluginLoad(f"the compiler cannot be started: {error}", plugin=plugin) from None
    if ended.returncode in _NOT_STARTED:
        said = tame(ended.stderr.decode(errors="replace").strip().partition("\n")[0])
        raise WasmPluginLoad(f"the compiler cannot be started by {sys.executable}: {said}", plugin=plugin)
    if ended.returncode or not ended.stdout:
        raise WasmPluginLoad(
            f"the compiler gave up on the module (exit code {ended.returncode}), probably since it needs more than "
            f"{memory >> 20} MiB; split its largest functions",
            plugin=plugin,
        )
    kind, answer = ended.stdout[0], ended.stdout[1:]
    if kind:
        raise WasmPluginLoad(f"the module does not compile: {answer.decode(errors='replace')}", plugin=plugin)
    return answer


def _loader() -> dict[str, str]:
    """Return what of the environment a compiler's process may know: where an interpreter may have its own library."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}


def _library() -> str | None:
    """Return where wasmtime's library is, None if this wasmtime keeps it elsewhere."""
    try:
        from wasmtime._ffi import dll
    except ImportError:  # pragma: no cover - a wasmtime with other insides
        return None
    name = getattr(dll, "_name", None)
    return name if isinstance(name, str) and os.path.isabs(name) else None


def check_module(
    module: wasmtime.Module,
    *,
    plugin: str,
    imports: Mapping[tuple[str, str], Signature],
    exports: Mapping[str, Signature],
) -> None:
    """Refuse a module that asks for what it may not have, or lacks what it must have; all of it at once."""
    asked, wrong = [], []
    for wanted in module.imports:
        key = (wanted.module, wanted.name or "")
        name = tame(f"{key[0]}.{key[1]}"[:_MOST_NAME])
        if key not in imports:
            asked.append(name)
        elif not isinstance(wanted.type, wasmtime.FuncType) or signature(wanted.type) != imports[key]:
            wrong.append(f"import {name} must be {spelled(imports[key])}")
    if asked:
        allowed = listing((f"{m}.{n}" for m, n in imports), most=8)
        raise WasmConfiguration(
            f"the module imports {listing(asked)}, which its policy does not grant; it may import {allowed}",
            plugin=plugin,
        )
    found = {export.name: export.type for export in module.exports}
    memory = found.get("memory")
    if not isinstance(memory, wasmtime.MemoryType):
        wrong.append("it must export its memory as `memory`")
    for name, expected in exports.items():
        kind = found.get(name)
        if not isinstance(kind, wasmtime.FuncType):
            wrong.append(f"it must export the function `{name}` {spelled(expected)}")
        elif signature(kind) != expected:
            wrong.append(f"`{name}` is {spelled(signature(kind))} and must be {spelled(expected)}")
    if wrong:
        raise WasmPluginLoad("the module does not keep the interface: " + "; ".join(wrong), plugin=plugin)
