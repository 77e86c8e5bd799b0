"""Instances of one module, lent to one thread at a time and thrown away after any accident."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..errors import WasmInterrupted, WasmRuntimeError
from .calls import Signature
from .engine import Engine, unmetered
from .guest import Guest, Limits
from .hostcalls import HostFunctions
from .modules import CACHE, check_module
from .traps import GuestError

_IDLE = 8


class Pool:
    """Lend instances of one module.

    An instance comes back only from a call that ended well, or with an error the guest itself reported; after
    a trap, a timeout, output that does not hold, or memory above three quarters of its limit, it is discarded.
    """

    def __init__(
        self,
        module: bytes,
        *,
        name: str,
        exports: Mapping[str, Signature],
        optional: Mapping[str, Signature] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        host: HostFunctions | None = None,
        prepare: Callable[[Guest], None] | None = None,
        metered: bool = True,
        fast: bool = True,
    ) -> None:
        self.name, self.limits = name, limits
        self._prepare, self._fast = prepare, fast
        self._engine = Engine(metered=True, budget_ms=limits.time_ms) if metered else unmetered()
        self._module = CACHE.compile(self._engine, module, plugin=name)
        check_module(self._module, plugin=name, imports=host.signatures if host else {}, exports=exports)
        self._exports = {**(optional or {}), **exports}
        self._linker = host.link(self._engine.native, self._module) if host else None
        self._lock = threading.Lock()
        self._idle: list[Guest] = []
        self._lent = 0
        self._interrupted = False
        self._closed = False

    @property
    def idle(self) -> int:
        """Instances waiting to be lent."""
        return len(self._idle)

    @property
    def lent(self) -> int:
        """Instances at work."""
        return self._lent

    @property
    def ticking(self) -> bool:
        """Whether the thread that meters this pool is alive."""
        return self._engine.metered and self._engine.ticker.running

    @contextmanager
    def guest(self) -> Iterator[Guest]:
        """Lend an instance, its time just started."""
        with self._lock:
            if self._closed:
                raise WasmRuntimeError("its pool is closed", plugin=self.name)
            if self._interrupted:
                raise WasmInterrupted("the job was stopped", plugin=self.name)
            guest = self._idle.pop() if self._idle else None
            self._lent += 1
        sound = False
        try:
            if guest is None:
                guest = self._made()
            guest.arm()
            yield guest
            sound = True
        except GuestError:
            sound = True
            raise
        finally:
            self._take_back(guest, sound)

    def interrupt(self) -> None:
        """Abort the running guests; they and all later calls raise `WasmInterrupted` until `resume`."""
        self._interrupted = True
        if self._engine.metered:
            self._engine.expire()

    def resume(self) -> None:
        """Lend again after an interrupt."""
        self._interrupted = False

    def close(self) -> None:
        """Free the instances and end the ticker. May be called twice; guests still at work are interrupted."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            at_work = self._lent > 0
        if at_work:
            self.interrupt()
        for guest in idle:
            guest.close()
        if self._engine.metered:
            self._engine.close()

    def _made(self) -> Guest:
        guest = Guest(
            self._engine,
            self._module,
            self._linker,
            self._exports,
            name=self.name,
            limits=self.limits,
            stopped=lambda: self._interrupted,
            fast=self._fast,
        )
        if self._prepare is not None:
            self._prepare(guest)
        return guest

    def _take_back(self, guest: Guest | None, sound: bool) -> None:
        keep = sound and guest is not None and guest.memory.size <= self.limits.memory * 3 // 4
        with self._lock:
            self._lent -= 1
            keep = keep and not self._closed and not self._interrupted and len(self._idle) < _IDLE
            if keep and guest is not None:
                self._idle.append(guest)
        if not keep and guest is not None:
            guest.close()
