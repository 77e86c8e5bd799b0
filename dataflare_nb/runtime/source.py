"""Drive one source: read its splits in turn and tell time where it may be told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from ..types import (
    NEVER,
    Clock,
    End,
    EndOfStream,
    EventTime,
    Idle,
    Interruptible,
    Json,
    Reader,
    Side,
    Source,
    Watermark,
)
from .packet import WHOLE, Packet

MOST_OPEN = 16
"""Splits that are read at the same time."""
SHORT_STAY, LONGEST_STAY = 1_000_000, 10_000_000
"""Microseconds that a split of live input is read while others wait for its place: one that does not fill its polls,
and any."""
_MOST_POLLS = 64
"""Splits that one step asks before it gives up for the moment."""


class SourceDriver:
    """Reads a source split by split.

    The splits take turns. A turn ends after `quantum` rows, and there, at the same rows whatever the size of the polls,
    stands a watermark: this is why bounded input gives the same result for any batch size and any number of workers.
    Without a quantum (live input) a turn is one poll. Each split is announced before its first row, so that nobody
    takes time for known before every split has spoken. Where there are more live splits than are read at the same time,
    one that has nothing, or has been read for a while, makes room for one that waits, and is gone on with later.
    Bounded splits are read one after the other where time does not matter (`in_order`).
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
        self._most_open = 1 if in_order and source.bounded else MOST_OPEN
        self._known: dict[str, None] = {}
        self._waiting: deque[_Split] = deque()
        self._turns: deque[_Split] = deque()
        self._last_open = clock.now()
        self._idle = False
        self._at: tuple[str, int] | None = None
        self._total = _total_rows(source)
        self.rows = 0
        self.ended = False
        self.fault: Exception | None = None
        """What the next step raises."""

    def step(self, most: int, born: float) -> tuple[list[Packet], bool]:
        """Return what one poll gives, and whether there may be more at once.

        `most` bounds the rows; `born` is the time to put on the packets.
        """
        if self.fault is not None:
            raise self.fault
        out = [Packet(Watermark(NEVER), (name,), born) for name in self._discover()]
        if not self._turns and not self._waiting:
            if self._source.bounded:
                self.ended = True
                out.append(Packet(End(), WHOLE, born))
            elif self._is_idle():
                out.append(Packet(Idle(), WHOLE, born))
            return out, False
        self._last_open, self._idle = self._clock.now(), False
        ready = False
        for _ in range(min(len(self._turns) + len(self._waiting), _MOST_POLLS)):
            self._open_more()
            got = list(self._poll(self._turns[0], most, born))
            out += got
            ready = any(packet.rows or isinstance(packet.message, End) for packet in got)
            if ready:
                break
        return out, ready

    def position(self) -> str:
        """Say which split is being read, and how far."""
        return "its start" if self._at is None else "split {}, row {}".format(*self._at)

    def progress(self) -> float | None:
        """Return how much of the source has been read, between 0 and 1, where that is known."""
        total = self._total
        return None if total is None else min(1.0, self.rows / total) if total else 1.0

    @property
    def counters(self) -> Mapping[str, int]:
        """What the source itself counts."""
        return dict(getattr(self._source, "counters", {}))

    def interrupt(self) -> None:
        """Make a running poll end soon, if the source can."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """Close what is open. May be called twice."""
        turns, self._turns = self._turns, deque()
        for split in turns:
            split.close()

    def snapshot(self) -> Json:
        """Return what another driver of the same source needs to go on from here."""
        now = self._clock.now()
        going = [*self._turns, *self._waiting]
        names = {split.name for split in going}
        return {
            "rows": self.rows,
            "ended": self.ended,
            "quiet": now - self._last_open,
            "idle": self._idle,
            "done": [name for name in self._known if name not in names],
            "splits": [
                {
                    "name": split.name,
                    "open": split.reader is not None,
                    "offset": split.at(),
                    "rows": split.rows,
                    "since_mark": split.since_mark,
                    "quiet": None if split.last_row is None else split.quiet(now),
                    "idle": split.idle,
                }
                for split in going
            ],
        }

    def restore(self, saved: Json) -> None:
        """Go on from a snapshot. Time that has gone by since counts for no one's idleness."""
        now = self._clock.now()
        self.rows, self.ended, self._idle = saved["rows"], saved["ended"], saved["idle"]
        self._last_open = EventTime(now - saved["quiet"])
        self._known = dict.fromkeys([*saved["done"], *(each["name"] for each in saved["splits"])])
        for each in saved["splits"]:
            split = _Split(each["name"])
            split.offset, split.rows, split.since_mark = each["offset"], each["rows"], each["since_mark"]
            split.idle = each["idle"]
            split.last_row = None if each["quiet"] is None else now - each["quiet"]
            if each["open"]:
                self._open(split)
            else:
                self._waiting.append(split)

    def _is_idle(self) -> bool:
        """Tell, once, that there has been no split to read for the time that makes a source idle."""
        if self._idle or self._idle_timeout is None or self._clock.now() - self._last_open < self._idle_timeout:
            return False
        self._idle = True
        return True

    def _discover(self) -> list[str]:
        names = [name for name in self._source.splits() if name not in self._known]
        self._known.update(dict.fromkeys(names))
        self._waiting += [_Split(name) for name in names]
        return names

    def _open_more(self) -> None:
        while len(self._turns) < self._most_open and self._waiting:
            self._open(self._waiting[0])
            self._waiting.popleft()

    def _open(self, split: _Split) -> None:
        self._at = split.name, split.rows
        split.open(self._source, self._clock.now())
        self._turns.append(split)

    def _poll(self, split: _Split, most: int, born: float) -> Iterator[Packet]:
        room = most if self._quantum is None else min(most, self._quantum - split.since_mark)
        self._at = split.name, split.rows
        path, origin = (split.name,), f"split {split.name}, row {split.rows}"
        assert split.reader is not None
        try:
            batch = split.reader.poll(room)
        except EndOfStream:
            yield from self._rejected(split, split.reader, born)
            split.close()
            self._turns.remove(split)
            yield Packet(End(), path, born, origin)
            return
        yield from self._rejected(split, split.reader, born)
        now = self._clock.now()
        if batch.height:
            split.rows += batch.height
            split.since_mark += batch.height
            split.last_row, split.idle = now, False
            self.rows += batch.height
            self._at = split.name, split.rows
            yield Packet(batch, path, born, origin)
            if self._quantum is None or split.since_mark >= self._quantum:
                split.since_mark = 0
                self._pass_on(split, now, SHORT_STAY if batch.height < room else LONGEST_STAY)
                yield Packet(Watermark(NEVER), path, born)
            return
        self._pass_on(split, now, 0)
        if self._idle_timeout is not None and not split.idle and split.quiet(now) >= self._idle_timeout:
            split.idle = True
            yield Packet(Idle(), path, born)

    def _pass_on(self, split: _Split, now: int, stay: int) -> None:
        """End the turn of a split, and its stay if it has lasted so long and others wait."""
        self._turns.remove(split)
        if self._waiting and not self._source.bounded and now - split.opened >= stay:
            split.leave()
            self._waiting.append(split)
        else:
            self._turns.append(split)

    @staticmethod
    def _rejected(split: _Split, reader: Reader, born: float) -> Iterator[Packet]:
        rejected = reader.rejected()
        if rejected is not None and rejected.height:
            yield Packet(Side("invalid", rejected), (split.name,), born)


def _total_rows(source: Source) -> int | None:
    """Return the rows of a source if it can tell. It is for a progress bar, so trouble shows when they are read."""
    try:
        return source.total_rows()
    except Exception:
        return None


class _Split:
    """A split that has not ended. Without a reader it waits, at its offset."""

    __slots__ = ("idle", "last_row", "name", "offset", "opened", "reader", "rows", "since_mark")

    def __init__(self, name: str) -> None:
        self.name = name
        self.offset: Json | None = None
        self.reader: Reader | None = None
        self.opened = 0
        self.rows = 0
        self.since_mark = 0
        self.last_row: int | None = None
        self.idle = False

    def open(self, source: Source, now: int) -> None:
        self.reader = source.open(self.name, self.offset)
        self.opened = now
        self.last_row = now if self.last_row is None else self.last_row

    def leave(self) -> None:
        """Close the reader, to go on from its offset."""
        self.offset = self.at()
        self.close()

    def close(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()

    def at(self) -> Json | None:
        """Return the offset reached, None before the first row."""
        return self.offset if self.reader is None else self.reader.offset()

    def quiet(self, now: int) -> int:
        """Return how long nothing has come."""
        return 0 if self.last_row is None else now - self.last_row
