"""How many rows to ask a source for: as many as the latency target allows."""

from __future__ import annotations

SMALLEST, LARGEST = 64, 262_144
THROUGHPUT_ROWS = 65_536
QUEUED_BATCHES = 4
"""Batches that a channel has room for. Fewer stall the workers, more only add latency."""


class Pace:
    """The size of the next poll, adapted so that a row gets through in `target` seconds.

    In `throughput` mode (no target) polls are as large as they may be. Otherwise the size follows the latency that
    whole batches had: down in proportion when they took longer, up by a quarter when they took less than half and the
    source had filled its poll.
    """

    def __init__(self, target: float | None) -> None:
        self.target = target
        self.rows = THROUGHPUT_ROWS if target is None else 1_024
        self.latency: float | None = None

    @property
    def capacity(self) -> int:
        """Rows that a channel has room for."""
        return self.rows * QUEUED_BATCHES

    def learn(self, latency: float, *, full: bool) -> None:
        """Take note that a batch was through after `latency` seconds, and whether sources fill their polls."""
        self.latency = latency if self.latency is None else 0.8 * self.latency + 0.2 * latency
        if self.target is None:
            return
        if latency > self.target:
            self.rows = max(SMALLEST, int(self.rows * max(0.5, self.target / latency)))
        elif latency < self.target / 2 and full:
            self.rows = min(LARGEST, self.rows + self.rows // 4 + 1)
