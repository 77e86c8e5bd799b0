"""What a guest may ask of its host: to log, to know the time, to draw a number, to count."""

from __future__ import annotations

import ctypes
import logging
import random
import threading
from collections.abc import Callable

import wasmtime

from ..clock import SystemClock
from ..types import Clock
from .calls import Signature

MODULE = "dataflare"
SIGNATURES: dict[tuple[str, str], Signature] = {
    (MODULE, "host_log"): (("i32", "i32", "i32"), ()),
    (MODULE, "host_get_time"): ((), ("i64",)),
    (MODULE, "host_random"): ((), ("f64",)),
    (MODULE, "host_counter"): (("i32", "i32", "i64"), ()),
}
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
MOST_TEXT = 1024
MOST_COUNTERS = 64
_MICROSECOND = 1_000_000

log = logging.getLogger("dataflare_nb.wasm")


def ignore(name: str, by: int) -> None:
    """Count nowhere."""


class HostFunctions:
    """The imports of one pool's guests.

    A callback costs about 10 us, so none is meant for every row. None of them raises: what a guest passes
    wrongly is logged or left out. With a `seed`, `host_random` gives the same numbers in the same order.
    """

    signatures = SIGNATURES

    def __init__(
        self,
        plugin: str,
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        count: Callable[[str, int], None] = ignore,
        messages_per_second: int = 100,
    ) -> None:
        self.plugin = plugin
        self.clock: Clock = clock or SystemClock()
        self.count = count
        self.suppressed = 0
        self._random = random.Random(seed)
        self._rate = messages_per_second
        self._second, self._said = -1, 0
        self._counters: set[str] = set()
        self._lock = threading.Lock()

    def link(self, engine: wasmtime.Engine, module: wasmtime.Module) -> wasmtime.Linker | None:
        """Return a linker with what `module` imports; None if it imports nothing."""
        if not module.imports:
            return None
        linker = wasmtime.Linker(engine)
        bodies: dict[str, tuple[Callable[..., object], bool]] = {
            "host_log": (self._log, True),
            "host_get_time": (self._now, False),
            "host_random": (self._random.random, False),
            "host_counter": (self._count, True),
        }
        for wanted in {item.name or "" for item in module.imports}:
            params, results = (list(map(_value, side)) for side in SIGNATURES[MODULE, wanted])
            body, access = bodies[wanted]
            linker.define_func(MODULE, wanted, wasmtime.FuncType(params, results), body, access_caller=access)
        return linker

    def _now(self) -> int:
        return int(self.clock.now())

    def _log(self, caller: wasmtime.Caller, level: int, address: int, length: int) -> None:
        if not self._may_speak():
            return
        text = _text(caller, address, length)
        if text is None:
            log.warning("%s: a log message outside the guest's memory was left out", self.plugin)
        else:
            log.log(LEVELS[min(max(level, 0), len(LEVELS) - 1)], "%s: %s", self.plugin, text)

    def _count(self, caller: wasmtime.Caller, address: int, length: int, by: int) -> None:
        name = _text(caller, address, length) if 0 < length <= 128 else None
        if name is None:
            return
        with self._lock:
            if name not in self._counters and len(self._counters) >= MOST_COUNTERS:
                return
            self._counters.add(name)
        self.count(f"{self.plugin}.{name}", by)

    def _may_speak(self) -> bool:
        second = int(self.clock.now()) // _MICROSECOND
        with self._lock:
            if second != self._second:
                if self._said > self._rate:
                    log.warning(
                        "%s: %d more messages in that second were left out", self.plugin, self._said - self._rate
                    )
                self._second, self._said = second, 0
            self._said += 1
            if self._said > self._rate:
                self.suppressed += 1
            return self._said <= self._rate


def _value(name: str) -> wasmtime.ValType:
    return {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64, "f64": wasmtime.ValType.f64}[name]()


def _text(caller: wasmtime.Caller, address: int, length: int) -> str | None:
    memory = caller.get("memory")
    if not isinstance(memory, wasmtime.Memory):
        return None
    address, length = address & 0xFFFFFFFF, length & 0xFFFFFFFF
    if address + length > memory.data_len(caller):
        return None
    base = ctypes.addressof(memory.data_ptr(caller).contents)
    return ctypes.string_at(base + address, min(length, MOST_TEXT)).decode(errors="replace")
