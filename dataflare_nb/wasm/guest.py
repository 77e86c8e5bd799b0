"""One running instance: a store, its memory and its exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import wasmtime

from ..errors import WasmError, WasmInterrupted
from .calls import Call, Signature, bind
from .engine import Engine
from .memory import GuestMemory
from .traps import from_start, from_trap


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use."""

    memory: int = 64 << 20
    time_ms: int = 5_000


class Guest:
    """An instance that belongs to one thread at a time.

    Its time runs from `arm`: everything called until the next `arm` shares one budget. `stopped` is asked
    after the deadline is set, so that an interrupt cannot fall between the two and be lost.
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
        fast: bool = True,
    ) -> None:
        self.name, self.limits = name, limits
        self._engine, self._stopped = engine, stopped
        self._store = wasmtime.Store(engine.native)
        self._store.set_limits(memory_size=limits.memory, table_elements=100_000, instances=1, tables=16, memories=1)
        self.arm()
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

    def arm(self) -> None:
        """Start the time that the next calls may take together."""
        self._engine.arm(self._store, self.limits.time_ms)
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
        result = self._run(lambda: call(*args))
        self.memory.refresh()
        return result

    def close(self) -> None:
        """Free the instance. May be called twice."""
        self._calls = {}
        self._store.close()

    def _run(self, work: Callable[[], Any]) -> Any:
        if not self._engine.metered:
            return self._translated(work)
        self._engine.ticker.acquire()
        try:
            return self._translated(work)
        finally:
            self._engine.ticker.release()

    def _translated(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except wasmtime.Trap as trap:
            if self._stopped():
                raise WasmInterrupted("the job was stopped while the guest ran", plugin=self.name) from None
            error: WasmError = from_trap(trap, plugin=self.name, budget_ms=self.limits.time_ms)
            raise error from None
        except wasmtime.WasmtimeError as failed:
            raise from_start(failed, plugin=self.name) from None
