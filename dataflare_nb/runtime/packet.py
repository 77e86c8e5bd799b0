"""A message on its way, with where it came from."""

from __future__ import annotations

import polars as pl

from ..types import Message, Side, Split

WHOLE: Split = ()


class Packet:
    """A message, the split it belongs to, and for latency and error messages when and where it was read.

    `born` is in seconds of the monotonic clock; `origin` names the split and the first row. `rows` and `bytes` are
    those of the message, and nothing for a message about time.
    """

    __slots__ = ("born", "bytes", "message", "origin", "rows", "split")

    def __init__(self, message: Message | Side, split: Split = WHOLE, born: float = 0.0, origin: str = "") -> None:
        self.message = message
        self.split = split
        self.born = born
        self.origin = origin
        batch = message.batch if isinstance(message, Side) else message
        self.rows, self.bytes = 0, 0
        if isinstance(batch, pl.DataFrame):
            self.rows, self.bytes = batch.height, int(batch.estimated_size())

    def carrying(self, message: Message | Side, split: Split | None = None) -> Packet:
        """Return another message with the same history."""
        return Packet(message, self.split if split is None else split, self.born, self.origin)

    def cut(self, rows: int) -> tuple[Packet, Packet]:
        """Return a batch as two: the first rows, and the rest. Both say where the whole began."""
        assert isinstance(self.message, pl.DataFrame)
        return self.carrying(self.message.head(rows)), self.carrying(self.message.slice(rows))
