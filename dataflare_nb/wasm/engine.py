"""Wasmtime engines: metered ones stop a guest that runs too long, unmetered ones are for code that cannot."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import cache

import wasmtime

from ..interrupts import HeldBack

MAX_STACK = 256 << 10
"""Bytes a guest may use of the calling thread's stack, which should have 2 MiB or more."""

TICK = 0.005
_MOST_TICKS = 2000


class Ticker:
    """Call `tick` once per period while someone needs it, making up for the periods it slept through.

    The thread starts with the first `acquire`, lingers a little after the last `release` so that a
    stream of small batches does not start a thread each, and then ends.
    """

    def __init__(
        self,
        tick: Callable[[], None],
        period: float,
        *,
        linger: float = 0.25,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tick, self._period, self._linger, self._now = tick, period, linger, now
        self._lock = threading.Lock()
        self._wanted = 0
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._started = 0.0
        self._done = 0

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None

    def acquire(self) -> None:
        """Keep ticking until the matching `release`."""
        with self._lock:
            self._wanted += 1
            if self._thread is None:
                with HeldBack():
                    self._begin()

    def _begin(self) -> None:
        self.start_counting()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stopped,), name="dataflare-wasm-ticker", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Stop ticking soon unless others still need it."""
        with self._lock:
            self._wanted -= 1

    def start_counting(self) -> None:
        """Count periods from now on."""
        self._started, self._done = self._now(), 0

    def catch_up(self) -> int:
        """Tick for every period since `start_counting` that has no tick yet; return how many."""
        due = int((self._now() - self._started) / self._period) - self._done
        for _ in range(due):
            self._tick()
        self._done += max(due, 0)
        return max(due, 0)

    def _run(self, stopped: threading.Event) -> None:
        idle_since: float | None = None
        while not stopped.wait(self._period):
            self.catch_up()
            with self._lock:
                if stopped.is_set():
                    return
                if self._wanted:
                    idle_since = None
                elif idle_since is None:
                    idle_since = self._now()
                elif self._now() - idle_since > self._linger:
                    self._thread = None
                    return

    def close(self) -> None:
        """End the thread and wait for it. May be called twice, and `acquire` starts anew."""
        with self._lock, HeldBack():
            thread, self._thread = self._thread, None
            self._stopped.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()


class Engine:
    """A wasmtime engine and, when it is metered, the clock of its guests.

    A pool has a metered engine of its own, so that `expire` stops that pool's guests and no others.
    """

    def __init__(self, *, metered: bool, budget_ms: int = 5_000) -> None:
        self.metered = metered
        self.native = wasmtime.Engine(_config(metered))
        self._period = max(TICK, budget_ms / 1000 / _MOST_TICKS)
        self._furthest = 0
        self.ticker = Ticker(self.native.increment_epoch, self._period)

    def arm(self, store: wasmtime.Store, budget_ms: int) -> None:
        """Give the guests of `store` that much time from now on."""
        if self.metered:
            ticks = math.ceil(budget_ms / 1000 / self._period) + 1
            self._furthest = max(self._furthest, ticks)
            store.set_epoch_deadline(ticks)

    def expire(self) -> None:
        """Make every running guest of a metered engine trap at its next loop or call."""
        if self.metered:
            for _ in range(self._furthest + 1):
                self.native.increment_epoch()

    def close(self) -> None:
        """Stop the ticker. May be called twice."""
        self.ticker.close()


@cache
def unmetered() -> Engine:
    """Return the engine of kernels that are proved to end."""
    return Engine(metered=False)


SETTINGS: dict[str, bool | int] = {
    "max_wasm_stack": MAX_STACK,
    "memory_may_move": False,
    "wasm_threads": False,
    "wasm_memory64": False,
    "wasm_multi_memory": False,
    "wasm_gc": False,
}
"""What all engines have in common, by the names of wasmtime's configuration; compiled code depends on it."""


def settings(metered: bool) -> dict[str, bool | int]:
    """Return the settings of one kind of engine."""
    return {"epoch_interruption": metered, **SETTINGS}


def _config(metered: bool) -> wasmtime.Config:
    config = wasmtime.Config()
    for name, value in settings(metered).items():
        setattr(config, name, value)
    return config
