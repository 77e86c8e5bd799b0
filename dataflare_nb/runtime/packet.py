"""A message on its way, with where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..types import Message, Side

Split: TypeAlias = tuple[str | int, ...]
"""The path of a split: the ports of the unions it passed, last first, then its name. `()` is the stream as a whole."""

WHOLE: Split = ()


@dataclass(frozen=True, slots=True)
class Packet:
    """A message, the split it belongs to, and for latency and error messages when and where it was read.

    `born` is in seconds of the monotonic clock; `origin` names the split and the first row.
    """

    message: Message | Side
    split: Split = WHOLE
    born: float = 0.0
    origin: str = ""

    def carrying(self, message: Message | Side, split: Split | None = None) -> Packet:
        """Return another message with the same history."""
        return Packet(message, self.split if split is None else split, self.born, self.origin)

    @property
    def rows(self) -> int:
        """Rows in the message; none for a message about time."""
        match self.message:
            case Side(batch=batch):
                return batch.height
            case message:
                return getattr(message, "height", 0)
