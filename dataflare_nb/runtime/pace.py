"""How many rows to ask a source for: as many as the latency target allows."""

from __future__ import annotations

import polars as pl

from ..types import Schema

SMALLEST, LARGEST = 64, 1 << 23
LARGEST_BYTES = 128 << 20
FIRST_FOR_LATENCY, FIRST_FOR_THROUGHPUT = 1_024, 65_536
QUEUED_BATCHES = 4
"""Batches that a channel has room for. Fewer stall the workers, more only add latency."""
TURN_BATCHES, TURN_ROWS = 8, 1 << 18
"""Where latency does not count, a worker takes on several batches that are not large in one turn."""


class Pace:
    """The size of the next poll, adapted so that a row gets through in `target` seconds.

    Without a target (throughput mode) polls are as large as may be, eight million rows or 128 MiB, as soon as it is
    known how wide rows are: a batch costs some tenths of a millisecond however small it is.

    With one, the size follows the latency that whole batches had: down in proportion when they took longer, up by a
    quarter when they took less than half. After each change only batches polled since then teach anything: those in
    the queues still have the old size. `most` bounds the size where sources give less at a time anyway, so that queues
    are counted in batches that come.
    """

    def __init__(self, target: float | None, most: int = LARGEST) -> None:
        self.target = target
        self._largest = min(most, LARGEST)
        self.rows = min(self._largest, FIRST_FOR_THROUGHPUT if target is None else FIRST_FOR_LATENCY)
        self._most = self._largest
        self._changed = 0.0
        self._measured = False

    @property
    def turn(self) -> int:
        """Batches that a worker takes on at once; one before it is known how large they are to be."""
        return TURN_BATCHES if self._measured and self.target is None and self.rows <= TURN_ROWS else 1

    @property
    def capacity(self) -> int:
        """Rows that a channel has room for."""
        return self.rows * self.turn * QUEUED_BATCHES

    def note_size(self, rows: int, size: int) -> None:
        """Learn how wide rows are, so that a poll of wide ones is not larger than memory allows."""
        self._measured = True
        if size:
            self._most = max(1, min(self._largest, LARGEST_BYTES * rows // size))
            self.rows = self._most if self.target is None else min(self.rows, self._most)

    def learn(self, born: float, now: float, *, full: bool) -> None:
        """Take note that a batch polled at `born` is through, and whether sources fill their polls."""
        if born < self._changed or self.target is None:
            return
        before, latency = self.rows, now - born
        if latency > self.target:
            self.rows = max(SMALLEST, int(self.rows * max(0.5, self.target / latency)))
        elif latency < self.target / 2 and full:
            self.rows = min(self._most, self.rows + self.rows // 4 + 1)
        if self.rows != before:
            self._changed = now


_WIDTHS: dict[type[pl.DataType], int] = {
    **dict.fromkeys((pl.Boolean, pl.Int8, pl.UInt8), 1),
    **dict.fromkeys((pl.Int16, pl.UInt16), 2),
    **dict.fromkeys((pl.Int32, pl.UInt32, pl.Float32, pl.Date), 4),
    **dict.fromkeys((pl.Int64, pl.UInt64, pl.Float64, pl.Datetime, pl.Duration, pl.Time), 8),
    **dict.fromkeys((pl.Int128, pl.UInt128, pl.Decimal), 16),
}


def row_width(schema: Schema) -> int | None:
    """Return the bytes of a row, None where they depend on what is in it."""
    widths = [_WIDTHS.get(type(dtype)) for dtype in schema.dtypes()]
    return None if None in widths else sum(width for width in widths if width)
