"""Compiled modules: checked before they are linked, compiled once per content."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping

import wasmtime

from ..errors import WasmConfiguration, WasmPluginLoad, listing
from .calls import Signature, signature, spelled
from .engine import Engine

MAX_MODULE = 8 << 20
"""Bytes of a module. Compilation cannot be interrupted, so its size is what bounds it."""

_CACHE_BYTES = 64 << 20


class ModuleCache:
    """Machine code by content and kind of engine, the least recently used dropped first. Thread safe."""

    def __init__(self, capacity: int = _CACHE_BYTES) -> None:
        self._capacity = capacity
        self._held: OrderedDict[tuple[str, bool], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def compile(self, engine: Engine, module: bytes, *, plugin: str) -> wasmtime.Module:
        """Return `module` ready to be instantiated on `engine`."""
        if len(module) > MAX_MODULE:
            raise WasmPluginLoad(
                f"the module has {len(module)} bytes, more than the {MAX_MODULE} allowed; build it without debug info",
                plugin=plugin,
            )
        if module[:8] != b"\0asm\1\0\0\0":
            raise WasmPluginLoad("this is not a core WebAssembly module (its first eight bytes differ)", plugin=plugin)
        key = (hashlib.sha256(module).hexdigest(), engine.metered)
        with self._lock:
            code = self._held.get(key)
            if code is not None:
                self._held.move_to_end(key)
        if code is not None:
            return wasmtime.Module.deserialize(engine.native, code)
        try:
            compiled = wasmtime.Module(engine.native, module)
        except wasmtime.WasmtimeError as error:
            raise WasmPluginLoad(f"the module does not compile: {error}", plugin=plugin) from None
        self._keep(key, bytes(compiled.serialize()))
        return compiled

    def _keep(self, key: tuple[str, bool], code: bytes) -> None:
        with self._lock:
            self._held[key] = code
            while len(self._held) > 1 and sum(map(len, self._held.values())) > self._capacity:
                self._held.popitem(last=False)


CACHE = ModuleCache()


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
        name = f"{key[0]}.{key[1]}"
        if key not in imports:
            asked.append(name)
        elif not isinstance(wanted.type, wasmtime.FuncType) or signature(wanted.type) != imports[key]:
            wrong.append(f"import {name} must be {spelled(imports[key])}")
    if asked:
        allowed = listing(f"{m}.{n}" for m, n in imports)
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
