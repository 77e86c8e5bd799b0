"""One running instance: a store, its memory and its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import wasmtime

from ..errors import WasmError, WasmInterrupted, WasmTrap
from .calls import Call, Halt, Signature, bind
from .desk import AT_WORK, Desk
from .engine import Engine
from .hostcalls import HostFunctions
from .memory import GuestMemory
from .traps import from_start, from_trap

MOST_TABLE, MOST_TABLES = 100_000, 16
"""Entries of all tables of a guest together, and how many tables."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use."""

    memory: int = 64 << 20
    time_ms: int = 5_000


class Guest:
    """An instance that belongs to one thread at a time.

    Its time runs from `arm`: everything called until the next `arm` shares one budget. `stopped` is asked
    after the deadline is set, so that an interrupt cannot fall between the two and be lost. `desk` is where
    its host calls arrive, if it has imports.
    """

    def __init__(
        self,
        engine: Engine,
        module: wasmtime.Module,
        linker: wasmtime.Linker | None,
        exports: Mapping[str, Signature],
        *,
        name: str,
        limits: Limits,
        stopped: Callable[[], bool] = bool,
        desk: Desk | None = None,
        fast: bool = True,
    ) -> None:
        self.name, self.limits = name, limits
        self.idle_since = 0.0
        self._engine, self._stopped, self._desk = engine, stopped, desk
        self._store = wasmtime.Store(engine.native)
        self._store.set_limits(
            memory_size=limits.memory, table_elements=MOST_TABLE, instances=1, tables=MOST_TABLES, memories=1
        )
        self.arm(lambda: b"start")
        instance = self._run(
            lambda: (
                wasmtime.Instance(self._store, module, [])
                if linker is None
                else linker.instantiate(self._store, module)
            )
        )
        found = instance.exports(self._store)
        self._calls: dict[str, Call] = {
            name: bind(self._store, found[name], expected, name, fast=fast)
            for name, expected in exports.items()
            if name in found
        }
        self.memory = GuestMemory(self._store, found["memory"])

    def serve(self, stopped: Callable[[], bool], host: HostFunctions | None) -> None:
        """Work for a session from now on."""
        self._stopped = stopped
        if self._desk is not None and host is not None:
            self._desk.serve(host, stopped)

    def arm(self, about: Callable[[], bytes] | None = None) -> None:
        """Start the time that the next calls may take together; `about` names what they work on."""
        self._engine.arm(self._store, self.limits.time_ms)
        if self._desk is not None:
            self._desk.begin(self.limits.time_ms / 1000, about)
        if self._stopped():
            raise WasmInterrupted("the job was stopped", plugin=self.name)

    def has(self, export: str) -> bool:
        """Whether the guest offers an export."""
        return export in self._calls

    def call(self, export: str, *args: int) -> Any:
        """Call an export and look the memory's size up again."""
        if self._stopped():
            raise WasmInterrupted("the job was stopped", plugin=self.name)
        call = self._calls[export]
        result = self._run(call, *args)
        self.memory.refresh()
        return result

    def close(self) -> None:
        """Free the instance. May be called twice."""
        self._calls = {}
        self._store.close()
        if self._desk is not None:
            self._desk.close()

    def _run(self, work: Callable[..., Any], *args: int) -> Any:
        if not self._engine.metered:
            return self._translated(work, args)
        self._engine.ticker.acquire()
        before, AT_WORK.desk = AT_WORK.desk, self._desk
        try:
            return self._translated(work, args)
        finally:
            AT_WORK.desk = before
            self._engine.ticker.release()

    def _translated(self, work: Callable[..., Any], args: tuple[int, ...]) -> Any:
        try:
            result = work(*args)
        except wasmtime.Trap as trap:
            self._raise_pending()
            if self._stopped():
                raise WasmInterrupted("the job was stopped while the guest ran", plugin=self.name) from None
            error: WasmError = from_trap(trap, plugin=self.name, budget_ms=self.limits.time_ms)
            raise error from None
        except wasmtime.WasmtimeError as failed:
            self._raise_pending()
            raise from_start(failed, plugin=self.name) from None
        except Halt:
            self._raise_pending()
            # Another thread's guest was halted at the same moment, and wasmtime keeps one such error for all.
            raise WasmTrap("trapped, and the reason was lost", plugin=self.name) from None
        self._raise_pending()
        return result

    def _raise_pending(self) -> None:
        pending = self._desk.end() if self._desk is not None else None
        if pending is not None:
            raise pending from None
