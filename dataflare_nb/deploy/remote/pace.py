"""How fast a count grows, when it is told in steps of some seconds."""

from __future__ import annotations

import math
from collections import deque

LEAST, STEPS = 0.9, 3
"""Steps that a rate is taken over: at least, since the first change may have been seen in part, and at most."""
TOGETHER = 0.5
"""Changes within so much of a step are one: instances are told of one after the other."""
PATIENCE, LONGEST = 2.5, 30.0
"""A count that has not moved for so many of its steps stands still, and after so many seconds in any case."""


class Rate:
    """Rows per second over the last changes of a count. Flink renews what it tells only every few seconds.

    When a value is first seen it may have stood for a while, so that only changes are points of time.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._value = math.nan
        self._changes: deque[tuple[float, float]] = deque()
        self._rate = math.nan

    def tell(self, value: float, now: float) -> float:
        """Take the count of this moment, and return the rate; NaN as long as there is none."""
        if math.isnan(value):
            return math.nan
        if math.isnan(self._value) or value < self._value:
            # The first, or a job that began again.
            self._changes.clear()
            self._rate = math.nan
        elif value > self._value:
            self._change(value, now)
        elif self._changes and now - self._changes[-1][0] > min(LONGEST, PATIENCE * max(self._step, self._gap())):
            self._rate = 0.0
        self._value = value
        return self._rate

    def _change(self, value: float, now: float) -> None:
        if self._changes and now - self._changes[-1][0] < TOGETHER * self._step:
            now, _ = self._changes.pop()
        else:
            self._take_rate()
        self._changes.append((now, value))
        while len(self._changes) > 2 and now - self._changes[1][0] >= STEPS * self._step:
            self._changes.popleft()

    def _take_rate(self) -> None:
        """Take the rate up to the last change, which is whole when another begins."""
        if len(self._changes) > 1:
            (began, before), (ended, after) = self._changes[0], self._changes[-1]
            if ended - began >= LEAST * self._step:
                self._rate = (after - before) / (ended - began)

    def _gap(self) -> float:
        """Return the seconds between the last two changes."""
        return self._changes[-1][0] - self._changes[-2][0] if len(self._changes) > 1 else 0.0
