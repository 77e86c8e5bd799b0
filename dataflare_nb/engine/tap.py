"""A tap: what leaves a stage of a running job, for a display that looks now and then."""

from __future__ import annotations

import threading
from collections import deque

import polars as pl

TAP_ROWS = 200_000


class Tap:
    """Batches that nobody has taken yet. The oldest go when there are too many, and are counted."""

    def __init__(self, most: int = TAP_ROWS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._batches: deque[pl.DataFrame] = deque()
        self._rows = 0
        self._missed = 0

    @property
    def missed(self) -> int:
        """Rows that went before they were taken."""
        return self._missed

    def put(self, batch: pl.DataFrame) -> None:
        """Add a batch. Never waits: the job is not to be held up by who looks."""
        with self._lock:
            self._batches.append(batch)
            self._rows += batch.height
            while self._rows > self._most and len(self._batches) > 1:
                gone = self._batches.popleft().height
                self._rows -= gone
                self._missed += gone

    def take(self) -> list[pl.DataFrame]:
        """Return the batches since the last time."""
        with self._lock:
            found = list(self._batches)
            self._batches.clear()
            self._rows = 0
        return found
