"""Numbers that add up: shares of time, latency histograms, rates."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

BUSY, IDLE, BACKPRESSURED = "busy", "idle", "backpressured"


class Shares:
    """How a stage spends its time: busy, idle or backpressured. The three always sum to the time since the start."""

    def __init__(self, now: float) -> None:
        self._state = IDLE
        self._since = now
        self._spent = {BUSY: 0.0, IDLE: 0.0, BACKPRESSURED: 0.0}

    def switch(self, state: str, now: float) -> None:
        """Be in another state from now on."""
        if state != self._state:
            self._spent[self._state] += now - self._since
            self._state, self._since = state, now

    def seconds(self, now: float) -> dict[str, float]:
        """Return the seconds spent in each state."""
        spent = dict(self._spent)
        spent[self._state] += max(0.0, now - self._since)
        return spent

    def shares(self, now: float) -> dict[str, float]:
        """Return the part of the time spent in each state; they sum to 1."""
        spent = self.seconds(now)
        total = sum(spent.values())
        return {state: seconds / total for state, seconds in spent.items()} if total else {**spent, IDLE: 1.0}


class Histogram:
    """Durations in buckets that grow by a quarter, so a quantile is right to about 12 %. Seconds in, seconds out."""

    _BASE = 1e-6
    _STEP = math.log(1.25)
    _BUCKETS = 128

    def __init__(self) -> None:
        self.counts = [0] * self._BUCKETS
        self.total = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        place = math.log(max(seconds, self._BASE) / self._BASE) / self._STEP
        self.counts[min(self._BUCKETS - 1, int(place))] += 1
        self.total += 1

    def quantile(self, q: float) -> float | None:
        """Return the duration that a share `q` stays below, None when nothing was counted."""
        if not self.total:
            return None
        seen, wanted = 0, q * self.total
        for place, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return self._BASE * math.exp((place + 0.5) * self._STEP)
        raise AssertionError("the counts sum to the total")


@dataclass(slots=True)
class Counters:
    """What a stage has counted. Rows and bytes since the start."""

    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    batches_in: int = 0
    batches_out: int = 0
    sides: dict[str, int] = field(default_factory=dict)
    last_batch_rows: int = 0
