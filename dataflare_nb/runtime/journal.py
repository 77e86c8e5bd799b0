"""The log of a job: its newest lines, numbered, for displays."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MOST_LINES, MOST_TEXT = 200, 2_000
INFO, WARNING, ERROR = "info", "warning", "error"


@dataclass(frozen=True, slots=True)
class LogLine:
    """`n` counts from 0 and never repeats; `at` is in seconds since the start of the job."""

    n: int
    at: float
    level: str
    text: str


class Journal:
    """A ring of lines. May be written to and read from any thread."""

    def __init__(self, elapsed: Callable[[], float], most: int = MOST_LINES) -> None:
        self._elapsed = elapsed
        self._lines: deque[LogLine] = deque(maxlen=most)
        self._written = 0
        self._lock = threading.Lock()

    def say(self, level: str, text: str) -> None:
        """Add a line; the oldest goes when there are too many."""
        text = text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
        with self._lock:
            self._lines.append(LogLine(self._written, self._elapsed(), level, text))
            self._written += 1

    def hear(self, level: int, plugin: str, text: str) -> None:
        """Add what a guest has logged, at one of the levels of Python's logging."""
        word = ERROR if level >= logging.ERROR else WARNING if level >= logging.WARNING else INFO
        self.say(word, f"{plugin}: {text}")

    def lines(self) -> tuple[LogLine, ...]:
        """Return the lines that are kept, the oldest first."""
        with self._lock:
            return tuple(self._lines)
