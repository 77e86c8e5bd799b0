"""How fast a count grows, when it is told in steps of some seconds."""

from __future__ import annotations

import math

PATIENCE, LONGEST = 2.5, 30.0
"""A count that has not moved for so many of its steps stands still, and after so many seconds in any case."""


class Rate:
    """Rows per second between the last two changes of a count. Flink renews what it tells only every few seconds."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._value = math.nan
        self._at = math.nan
        self._rate = math.nan
        self._gap = 0.0

    def tell(self, value: float, now: float) -> float:
        """Take the count of this moment, and return the rate; NaN as long as there is none."""
        if math.isnan(value):
            return math.nan
        if math.isnan(self._value) or value < self._value:
            # The first, or a job that began again.
            self._value, self._at, self._rate = value, now, math.nan
        elif value > self._value:
            gone = now - self._at
            if gone > 0:
                self._rate = (value - self._value) / gone
                self._value, self._at, self._gap = value, now, gone
        elif now - self._at > min(LONGEST, PATIENCE * max(self._step, self._gap)):
            self._rate = 0.0
        return self._rate
