"""Hold Ctrl-C back for a moment, where it would leave a lock taken or a thread half begun."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import polars as pl


class HeldBack:
    """Let an interrupt come at the end of a `with` block instead of inside of it. For blocks that take microseconds.

    The locks of `threading` that are written in Python (Condition, Event, Thread.start) stay taken for ever if
    KeyboardInterrupt is raised between their taking and their return, and whoever needs them next waits for ever.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._came = False

    def __enter__(self) -> None:
        # Only the main thread is ever interrupted. A handler that was not set by Python cannot be put back.
        if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
            self._before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            signal.signal(signal.SIGINT, before)
            if self._came:
                signal.raise_signal(signal.SIGINT)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True


class Latch:
    """An event that is set once, whose `wait` may be interrupted at any moment without harm."""

    def __init__(self) -> None:
        self._set = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def set(self) -> None:
        """Let everybody through, from now on."""
        if not self._set:
            self._set = True
            self._gate.release()

    def is_set(self) -> bool:
        """Tell whether it was set."""
        return self._set

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds and return whether it was set.

        One who is interrupted between the two lines keeps the gate shut; others then find out at their timeout.
        """
        if not self._set and self._gate.acquire(timeout=timeout):
            self._gate.release()
        return self._set


def schema_of(query: pl.LazyFrame) -> pl.Schema:
    """Return `query.collect_schema()`, in which an interrupt would make Polars panic."""
    with HeldBack():
        return query.collect_schema()
