"""A queue between two stages, bounded in rows and bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .packet import Packet


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """`fill` is between 0 and 1, or more when one over-size batch has passed."""

    rows: int
    bytes: int
    capacity_rows: int
    capacity_bytes: int
    peak_rows: int
    refused: int

    @classmethod
    def of_fill(cls, fill: float) -> ChannelStats:
        """Return those of a queue of which no more is known than how full it is."""
        return cls(0, round(fill * 1_000_000), 1, 1_000_000, 0, 0)

    @property
    def fill(self) -> float:
        return max(self.rows / self.capacity_rows, self.bytes / self.capacity_bytes)


class Channel:
    """First in, first out. A batch is taken in while there is room, so one may reach over the bound."""

    def __init__(self, capacity_rows: int, capacity_bytes: int = 256 << 20) -> None:
        self.capacity_rows = capacity_rows
        self.capacity_bytes = capacity_bytes
        self.rows = 0
        self.bytes = 0
        self._peak_rows = 0
        self._refused = 0
        self._packets: deque[Packet] = deque()

    def __len__(self) -> int:
        return len(self._packets)

    def has_room(self, coming_rows: int = 0) -> bool:
        """Tell whether another batch may come, `coming_rows` being on their way already."""
        return self.rows + coming_rows < self.capacity_rows and self.bytes < self.capacity_bytes

    def refuse(self) -> None:
        """Count that someone wanted in and had to wait."""
        self._refused += 1

    def put(self, packet: Packet) -> None:
        """Append. Asking `has_room` first is the sender's duty; what was made has to go somewhere."""
        self._packets.append(packet)
        self.rows += packet.rows
        self.bytes += packet.bytes
        self._peak_rows = max(self._peak_rows, self.rows)

    def take(self) -> Packet:
        """Remove and return the oldest packet."""
        packet = self._packets.popleft()
        self.rows -= packet.rows
        self.bytes -= packet.bytes
        return packet

    def cut(self, rows: int) -> None:
        """Cut the oldest packet, so that one of so many rows comes before the rest of it."""
        whole = self._packets.popleft()
        head, rest = whole.cut(rows)
        self._packets.extendleft((rest, head))
        self.bytes += head.bytes + rest.bytes - whole.bytes

    def peek(self) -> Packet | None:
        """Return the oldest packet, and leave it."""
        return self._packets[0] if self._packets else None

    def forget(self) -> None:
        """Let go of what is queued, and keep its count."""
        self._packets.clear()

    def stats(self) -> ChannelStats:
        return ChannelStats(
            self.rows, self.bytes, self.capacity_rows, self.capacity_bytes, self._peak_rows, self._refused
        )
