"""Instances of one module, lent to one thread at a time and thrown away after any accident."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..errors import WasmInterrupted, WasmRuntimeError
from .calls import Signature
from .doors import Doors
from .guest import Guest, Limits
from .hostcalls import HostFunctions
from .machine import STOCK, Machine, machine_key
from .policy import SecurityPolicy
from .traps import GuestError

_IDLE = 8
IDLE_SECONDS = 30.0
"""How long an instance waits in a pool that does well without it."""


class Pool:
    """Lend instances of one module.

    An instance comes back only from a call that ended well, or with an error the guest itself reported; after
    a trap, a timeout, output that does not hold, or memory above three quarters of its limit, it is discarded. So
    are those that had nothing to do for a while.

    With `share`, what is idle when the pool closes goes to the next pool that asks for the very same: module,
    name, exports, limits, settings, policy and what stands behind it, and seed. So a cell that is run again neither
    compiles nor starts anything. Two pools never use an instance at the same time, and what holds files is not shared.
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
        policy: SecurityPolicy | None = None,
        settings: bytes = b"{}",
        prepare: Callable[[Guest], None] | None = None,
        metered: bool = True,
        trusted: bool = False,
        share: bool = False,
        fast: bool = True,
    ) -> None:
        self.name, self.limits = name, limits
        self._prepare, self._host = prepare, host
        doors = None
        if host is not None:
            doors = Doors(policy or SecurityPolicy(), plugin=name, settings=settings, most_memory=limits.memory)
        behind = doors.behind if doors is not None else ()
        self._key = None
        if share and behind is not None and (host is None or host.sleeps):
            signatures = (sorted(exports.items()), sorted((optional or {}).items()))
            about = (name, signatures, limits, settings, policy, metered, trusted, fast)
            self._key = machine_key(module, about, behind, (host.seed, host.stage) if host is not None else ())
        self._machine = (STOCK.take(self._key) if self._key is not None else None) or Machine(
            module,
            name=name,
            exports=exports,
            optional=optional or {},
            limits=limits,
            doors=doors,
            metered=metered,
            trusted=trusted,
            fast=fast,
        )
        self._lock = threading.Lock()
        self._lent = 0
        self.memory_peak = 0
        """Bytes of the largest instance that came back."""
        # Guests ask it and know nothing of the pool, so that who drops a pool has its memory back without a collector.
        self._interrupted = threading.Event()
        self._closed = False

    @property
    def idle(self) -> int:
        """Instances waiting to be lent."""
        return 0 if self._closed else len(self._machine.idle)

    @property
    def lent(self) -> int:
        """Instances at work."""
        return self._lent

    @property
    def ticking(self) -> bool:
        """Whether the thread that meters this pool is alive."""
        return self._machine.engine.metered and self._machine.engine.ticker.running

    @contextmanager
    def guest(self, about: Callable[[], bytes] | None = None, *, fresh: bool = False) -> Iterator[Guest]:
        """Lend an instance, its time just started; a `fresh` one has worked for nobody before.

        `about` names what it is to work on, for the random numbers it may draw.
        """
        with self._lock:
            if self._closed:
                raise WasmRuntimeError("its pool is closed", plugin=self.name)
            if self._interrupted.is_set():
                raise WasmInterrupted("the job was stopped", plugin=self.name)
            guest = self._machine.idle.pop() if self._machine.idle and not fresh else None
            self._lent += 1
        sound = False
        try:
            if guest is None:
                guest = self._made()
            else:
                guest.serve(self._interrupted.is_set, self._host)
            guest.arm(about)
            yield guest
            sound = True
        except GuestError:
            sound = True
            raise
        finally:
            self._take_back(guest, sound)

    def interrupt(self) -> None:
        """Abort the running guests; they and all later calls raise `WasmInterrupted` until `resume`."""
        self._interrupted.set()
        if self._machine.engine.metered:
            self._machine.engine.expire()

    def resume(self) -> None:
        """Lend again after an interrupt."""
        self._interrupted.clear()

    def close(self) -> None:
        """Let the instances go. May be called twice; guests still at work are interrupted."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            at_work = self._lent > 0
            share = self._key if not at_work and self._machine.idle else None
        if share is not None:
            for guest in self._machine.idle:
                guest.serve(bool, HostFunctions(self.name))
            STOCK.put(share, self._machine)
            return
        if at_work:
            self.interrupt()
        self._machine.close()

    def _made(self) -> Guest:
        guest = self._machine.guest(self._host, self._interrupted.is_set)
        try:
            if self._prepare is not None:
                self._prepare(guest)
        except BaseException:
            guest.close()
            raise
        return guest

    def _take_back(self, guest: Guest | None, sound: bool) -> None:
        keep = sound and guest is not None and guest.memory.size <= self.limits.memory * 3 // 4
        leaving = [] if keep or guest is None else [guest]
        with self._lock:
            self._lent -= 1
            if guest is not None:
                self.memory_peak = max(self.memory_peak, guest.memory.size)
            idle = self._machine.idle
            if keep and guest is not None:
                now = guest.idle_since = time.monotonic()
                if self._closed or self._interrupted.is_set() or len(idle) >= _IDLE:
                    leaving.append(guest)
                else:
                    idle.append(guest)
                # The last to come is the first to go, so the first of the row is the one least needed.
                if len(idle) > 1 and now - idle[0].idle_since > IDLE_SECONDS:
                    leaving.append(idle.pop(0))
        for gone in leaving:
            gone.close()
