"""Processing time, handed in rather than read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .types import EventTime


class SystemClock:
    """The wall clock, in microseconds since the epoch."""

    def now(self) -> EventTime:
        return EventTime(time.time_ns() // 1_000)


class ManualClock:
    """A clock that moves when told to, so that a test can prove what must not happen yet.

    >>> clock = ManualClock()
    >>> clock.advance(5_000_000)
    >>> clock.now()
    5000000
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> EventTime:
        return EventTime(self._now)

    def advance(self, microseconds: int) -> None:
        """Move forward; everything that waits on this clock looks again."""
        with self._lock:
            self._now += microseconds
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each move."""
        with self._lock:
            self._listeners.append(listener)
