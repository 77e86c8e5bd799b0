"""One guest's side of its host calls: whom they speak for, what they reach, and when they must end."""

from __future__ import annotations

import ctypes
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import wasmtime

from ..errors import WasmInterrupted, WasmTimeout
from .hostcalls import HostFunctions
from .traps import too_long

if TYPE_CHECKING:
    from .fetch import Fetched, Fetcher
    from .wasi import Wasi

SLICE = 0.02
"""Seconds after which a host call that waits looks whether it should go on."""


class Fault(Exception):  # noqa: N818 - a signal between a host call and its caller
    """A guest named a range outside its memory."""


class Window:
    """The memory of a guest during a host call. Every range is checked; `Fault` says that one does not hold."""

    __slots__ = ("_base", "_caller", "_size")

    def __init__(self, caller: wasmtime.Caller) -> None:
        self._caller = caller
        self._size = -1
        self._base = 0

    def check(self, address: int, length: int) -> int:
        """Return where in the process a range of the guest begins."""
        if self._size < 0:
            memory = self._caller.get("memory")
            if not isinstance(memory, wasmtime.Memory):
                raise Fault
            self._base = ctypes.addressof(memory.data_ptr(self._caller).contents)
            self._size = memory.data_len(self._caller)
        address, length = address & 0xFFFFFFFF, length & 0xFFFFFFFF
        if address + length > self._size:
            raise Fault
        return self._base + address

    def read(self, address: int, length: int) -> bytes:
        """Return a copy of a range."""
        return ctypes.string_at(self.check(address, length), length & 0xFFFFFFFF)

    def write(self, address: int, data: bytes) -> None:
        """Fill a range."""
        ctypes.memmove(self.check(address, len(data)), data, len(data))

    def view(self, address: int, length: int) -> ctypes.Array[ctypes.c_char]:
        """Return a range itself, for as long as the call lasts."""
        return (ctypes.c_char * length).from_address(self.check(address, length))

    def offer(self, address: int, room: int, data: bytes) -> int:
        """Write as much as there is room for; return how long the whole is."""
        self.write(address, data[: room & 0xFFFFFFFF])
        return len(data)


class Desk:
    """What the host calls of one guest work on, call after call.

    A host call that must end its guest leaves the reason in `pending`, where whoever called the guest finds it.
    """

    def __init__(self, settings: bytes, wasi: Wasi | None, fetcher: Fetcher | None) -> None:
        self.settings, self.wasi, self.fetcher = settings, wasi, fetcher
        self.fetched: Fetched | None = None
        self.fetches = 0
        self.pending: BaseException | None = None
        self.host = HostFunctions("")
        self._stopped: Callable[[], bool] = bool
        self._deadline = self._budget = self._slept = 0.0
        self._about: Callable[[], bytes] | None = None
        self._dice: random.Random | None = None
        self._ahead = 0
        if wasi is not None:
            wasi.desk = self

    def serve(self, host: HostFunctions, stopped: Callable[[], bool]) -> None:
        """Speak for a session from now on."""
        self.host, self._stopped = host, stopped

    def begin(self, seconds: float, about: Callable[[], bytes] | None) -> None:
        """Begin a call with so much time; `about` names what it works on, for the random numbers."""
        self._deadline = time.monotonic() + seconds
        self._budget, self._slept = seconds, 0.0
        self._about, self._dice = about, None
        self.fetched, self.fetches = None, 0
        if self.wasi is not None:
            self.wasi.begin()

    def end(self) -> BaseException | None:
        """End a call; return what it must fail with."""
        if self.wasi is not None:
            self.wasi.flush()
        pending, self.pending = self.pending, None
        return pending

    def close(self) -> None:
        """Close what the guest left open."""
        if self.wasi is not None:
            self.wasi.close()

    @property
    def left(self) -> float:
        """Seconds until the guest's time is up."""
        return self._deadline - time.monotonic()

    @property
    def wanted(self) -> bool:
        """Whether a host call that waits should go on waiting."""
        return self.left > 0 and not self._stopped()

    def expire(self) -> None:
        """End the guest if a host call has used up its time, or if the job was stopped meanwhile."""
        if self._stopped():
            self.stop(WasmInterrupted("the job was stopped while the guest ran", plugin=self.host.plugin))
        elif self.left <= 0:
            self.stop(too_long(round(self._budget * 1000), plugin=self.host.plugin))

    def stop(self, error: BaseException) -> None:
        """End the guest with an error, when the host call returns."""
        if self.pending is None:
            self.pending = error

    def now(self) -> int:
        """Return the time in microseconds; where the clock stands still, what was slept is added."""
        return int(self.host.clock.now()) + self._ahead

    def sleep(self, seconds: float) -> None:
        """Wait, though never longer than the guest has time."""
        if not self.host.sleeps:
            self._slept += seconds
            if self._slept > self._budget:
                self.stop(WasmTimeout(f"slept longer than its {self._budget:g} s", plugin=self.host.plugin))
            else:
                self._ahead += int(seconds * 1e6)
            return
        until = time.monotonic() + seconds
        while self.wanted and (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, SLICE, max(self.left, 0)))
        self.expire()

    @property
    def dice(self) -> random.Random:
        """The random numbers of this call."""
        if self._dice is None:
            self._dice = self.host.dice(self._about() if self._about is not None else self.host.visit())
        return self._dice


class _AtWork(threading.local):
    desk: Desk | None = None


AT_WORK = _AtWork()
"""The desk of the guest that runs on this thread."""
