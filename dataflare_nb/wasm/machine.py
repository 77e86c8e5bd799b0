"""A module made ready to run, its idle instances, and the stock of those that nobody uses just now."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .calls import Signature
from .doors import Doors
from .engine import Engine, unmetered
from .guest import Guest, Limits
from .hostcalls import HostFunctions
from .modules import CACHE, check_module


class Machine:
    """An engine, a module compiled for it and the instances that wait. One pool uses it at a time.

    A metered engine belongs to its machine, so that interrupting one pool stops no guest of another.
    """

    def __init__(
        self,
        module: bytes,
        *,
        name: str,
        exports: Mapping[str, Signature],
        optional: Mapping[str, Signature],
        limits: Limits,
        doors: Doors | None,
        metered: bool,
        trusted: bool,
        fast: bool,
    ) -> None:
        self.name, self.limits = name, limits
        self._doors, self._fast = doors, fast
        self.engine = Engine(metered=True, budget_ms=limits.time_ms) if metered else unmetered()
        self._module = CACHE.compile(self.engine, module, plugin=name, trusted=trusted)
        check_module(self._module, plugin=name, imports=doors.imports if doors else {}, exports=exports)
        self._exports = {**optional, **exports}
        self._linker = doors.link(self.engine.native, self._module) if doors else None
        self.idle: list[Guest] = []

    def guest(self, host: HostFunctions | None, stopped: Callable[[], bool]) -> Guest:
        """Return a new instance."""
        desk = self._doors.desk() if self._doors is not None and self._linker is not None else None
        if desk is not None and host is not None:
            desk.serve(host, stopped)
        try:
            return Guest(
                self.engine,
                self._module,
                self._linker,
                self._exports,
                name=self.name,
                limits=self.limits,
                stopped=stopped,
                desk=desk,
                fast=self._fast,
            )
        except BaseException:
            if desk is not None:
                desk.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of memory that the idle instances hold."""
        return sum(guest.memory.size for guest in self.idle)

    def close(self) -> None:
        """Free the instances and end the ticker. May be called twice."""
        idle, self.idle = self.idle, []
        for guest in idle:
            guest.close()
        if self.engine.metered:
            self.engine.close()


@dataclass(slots=True)
class _Kept:
    machine: Machine
    until: float


class Stock:
    """Machines without a user, for the next one who needs the very same. Bounded, and each is freed after a while."""

    def __init__(self, *, machines: int = 16, memory: int = 256 << 20, seconds: float = 30.0) -> None:
        self._most, self._memory, self._seconds = machines, memory, seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: str) -> Machine | None:
        """Hand out a machine, which then is the caller's alone."""
        with self._lock:
            found = self._kept.pop(key, None)
        return found.machine if found is not None else None

    def put(self, key: str, machine: Machine) -> None:
        """Keep a machine for a while; the ones that wait longest make room."""
        with self._lock:
            leaving = [self._kept.pop(key)] if key in self._kept else []
            self._kept[key] = _Kept(machine, time.monotonic() + self._seconds)
            while len(self._kept) > self._most or (
                self._kept and sum(kept.machine.size for kept in self._kept.values()) > self._memory
            ):
                leaving.append(self._kept.popitem(last=False)[1])
            self._watch()
        for kept in leaving:
            kept.machine.close()

    def clear(self) -> None:
        """Free everything."""
        with self._lock:
            leaving, self._kept = list(self._kept.values()), OrderedDict()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for kept in leaving:
            kept.machine.close()

    def _watch(self) -> None:
        if self._timer is not None or not self._kept:
            return
        wait = next(iter(self._kept.values())).until - time.monotonic()
        self._timer = threading.Timer(max(wait, 0.01), self._sweep)
        self._timer.daemon, self._timer.name = True, "dataflare-wasm-stock"
        self._timer.start()

    def _sweep(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._timer = None
            old = [key for key, kept in self._kept.items() if kept.until <= now]
            leaving = [self._kept.pop(key) for key in old]
            self._watch()
        for kept in leaving:
            kept.machine.close()


STOCK = Stock()


def machine_key(module: bytes, *parts: object) -> str:
    """Return a hash of all that makes two machines exchangeable."""
    digest = hashlib.sha256(hashlib.sha256(module).digest())
    digest.update(repr(parts).encode())
    return digest.hexdigest()
