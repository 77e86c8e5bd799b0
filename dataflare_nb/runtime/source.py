"""Drive one source: read its splits in turn and tell time where it may be told."""

from __future__ import annotations

from collections.abc import Iterator

from ..types import NEVER, Batch, Clock, End, EndOfStream, Idle, Reader, Side, Source, Watermark
from .packet import WHOLE, Packet

MOST_OPEN = 16
"""Splits that are read at the same time."""


class SourceDriver:
    """Reads a source split by split.

    The splits take turns. A turn ends after `quantum` rows, and there, at the same rows whatever the size of the polls,
    stands a watermark: this is why bounded input gives the same result for any batch size and any number of workers.
    Without a quantum (live input) a turn is one poll. Each split is announced before its first row, so that nobody
    takes time for known before every split has spoken.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        *,
        quantum: int | None,
        idle_timeout: int | None = None,
        in_order: bool = False,
    ) -> None:
        self._source = source
        self._clock = clock
        self._quantum = quantum
        self._idle_timeout = idle_timeout
        self._most_open = 1 if in_order else MOST_OPEN
        self._known: set[str] = set()
        self._waiting: list[str] = []
        self._turns: list[_Split] = []
        self._last_open = clock.now()
        self._idle = False
        self._at: tuple[str, _Split | None] | None = None
        self._total = _total_rows(source)
        self.rows = 0
        self.bytes = 0
        self.ended = False

    def step(self, most: int, born: float) -> tuple[list[Packet], bool]:
        """Return what one poll gives, and whether there may be more at once.

        `most` bounds the rows; `born` is the time to put on the packets.
        """
        out = [Packet(Watermark(NEVER), (name,), born) for name in self._discover()]
        while len(self._turns) < self._most_open and self._waiting:
            self._at = self._waiting[0], None
            self._turns.append(_Split(self._waiting[0], self._source.open(self._waiting[0]), self._clock.now()))
            self._waiting.pop(0)
        if not self._turns:
            if self._source.bounded:
                self.ended = True
                out.append(Packet(End(), WHOLE, born))
            elif self._is_idle():
                out.append(Packet(Idle(), WHOLE, born))
            return out, False
        self._last_open, self._idle = self._clock.now(), False
        ready = False
        for _ in range(len(self._turns)):
            got = list(self._poll(self._turns[0], most, born))
            out += got
            ready = any(packet.rows or isinstance(packet.message, End) for packet in got)
            if ready:
                break
        return out, ready

    def position(self) -> str:
        """Say which split is being read, and how far."""
        if self._at is None:
            return "its start"
        name, split = self._at
        return f"split {name}, row {split.rows if split is not None else 0}"

    def progress(self) -> float | None:
        """Return how much of the source has been read, between 0 and 1, where that is known."""
        total = self._total
        return None if total is None else min(1.0, self.rows / total) if total else 1.0

    def close(self) -> None:
        """Close what is open. May be called twice."""
        turns, self._turns = self._turns, []
        for split in turns:
            split.reader.close()

    def _is_idle(self) -> bool:
        """Tell, once, that there has been no split to read for the time that makes a source idle."""
        if self._idle or self._idle_timeout is None or self._clock.now() - self._last_open < self._idle_timeout:
            return False
        self._idle = True
        return True

    def _discover(self) -> list[str]:
        names = [name for name in self._source.splits() if name not in self._known]
        self._known.update(names)
        self._waiting += names
        return names

    def _poll(self, split: _Split, most: int, born: float) -> Iterator[Packet]:
        room = most if self._quantum is None else min(most, self._quantum - split.since_mark)
        self._at = split.name, split
        path, origin = (split.name,), f"split {split.name}, row {split.rows}"
        try:
            batch = split.reader.poll(room)
        except EndOfStream:
            yield from self._rejected(split, born)
            split.reader.close()
            self._turns.remove(split)
            yield Packet(End(), path, born, origin)
            return
        yield from self._rejected(split, born)
        now = self._clock.now()
        if batch.height:
            yield from self._rows(split, batch, born, origin, now)
            return
        self._turns.append(self._turns.pop(0))
        if self._idle_timeout is not None and not split.idle and now - split.last_row >= self._idle_timeout:
            split.idle = True
            yield Packet(Idle(), path, born)

    def _rows(self, split: _Split, batch: Batch, born: float, origin: str, now: int) -> Iterator[Packet]:
        split.rows += batch.height
        split.since_mark += batch.height
        split.last_row, split.idle = now, False
        self.rows += batch.height
        yield Packet(batch, (split.name,), born, origin)
        if self._quantum is None or split.since_mark >= self._quantum:
            split.since_mark = 0
            self._turns.append(self._turns.pop(0))
            yield Packet(Watermark(NEVER), (split.name,), born)

    def _rejected(self, split: _Split, born: float) -> Iterator[Packet]:
        rejected = split.reader.rejected()
        if rejected is not None and rejected.height:
            yield Packet(Side("invalid", rejected), (split.name,), born)


def _total_rows(source: Source) -> int | None:
    """Return the rows of a source if it can tell. It is for a progress bar, so trouble shows when they are read."""
    try:
        return source.total_rows()
    except Exception:
        return None


class _Split:
    __slots__ = ("idle", "last_row", "name", "reader", "rows", "since_mark")

    def __init__(self, name: str, reader: Reader, now: int) -> None:
        self.name = name
        self.reader = reader
        self.rows = 0
        self.since_mark = 0
        self.last_row = now
        self.idle = False
