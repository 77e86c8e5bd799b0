"""When a frame may be sent: as fast as the page paints, and never more than a message server bears."""

from __future__ import annotations

from collections import deque
from weakref import WeakSet

HZ = 10.0
CREDIT = 10
"""Frames that may be out without a word from the page that it has painted them."""
STARVED, LOST, HIDDEN = 0.25, 1.0, 1.0
"""Seconds between frames: without credit, without any for `_PATIENCE` seconds, and when nobody looks."""
MESSAGES_PER_S, BYTES_PER_S = 10, 200_000
ALL_PER_S = 30
"""Frames a second that all dashboards of a process share. Twenty at full speed would take 8 % of a core."""
_PATIENCE = 5.0
_EARLY = 0.04


class Flow:
    """The credit that the views of one dashboard give. Times are seconds of any clock that goes forward only.

    `crowd` holds those dashboards that are seen at present: what they get in all is shared among them.
    """

    def __init__(self, hz: float = HZ, crowd: WeakSet[Flow] | None = None) -> None:
        self._interval = 1.0 / hz
        self._crowd: WeakSet[Flow] = WeakSet() if crowd is None else crowd
        self._views: dict[str, bool] = {}
        self._seq = self._acked = 0
        self._last = float("-inf")
        self._starved_since: float | None = None
        self._sent: deque[tuple[float, int]] = deque()

    @property
    def views(self) -> int:
        """The views that are open, whether seen or not."""
        return len(self._views)

    @property
    def watched(self) -> bool:
        """Whether a view is seen."""
        return any(self._views.values())

    def wants(self, now: float, size: int) -> bool:
        """Tell whether it is time for a frame of so many bytes."""
        # A little early is in time: who samples at 10 Hz would else miss every other turn.
        pause = max(self._pause(now), len(self._crowd) / ALL_PER_S)
        early = _EARLY if pause == self._interval else 0.0
        return now - self._last >= pause - early and self._bearable(now, size)

    def frame(self, now: float, size: int) -> int:
        """Count a frame, and return its number."""
        self._seq += 1
        self._last = now
        if self._seq - self._acked >= CREDIT and self._starved_since is None:
            self._starved_since = now
        self.count(now, size)
        return self._seq

    def count(self, now: float, size: int) -> None:
        """Count any message; answers to clicks are never held back, frames make room for them."""
        self._sent.append((now, size))

    def ack(self, seq: int) -> None:
        """The page has painted this frame, or a newer one."""
        self._acked = max(self._acked, min(seq, self._seq))
        if self._seq - self._acked < CREDIT:
            self._starved_since = None

    def hello(self, view: str | None = None) -> None:
        """A view has opened. What an older page has not acked is forgotten."""
        if view is not None:
            self.look(view, True)
        self._acked, self._starved_since = self._seq, None

    def look(self, view: str, visible: bool) -> None:
        """A view is seen, or is not."""
        self._views[view] = visible
        self._join()

    def bye(self, view: str) -> None:
        """A view is gone."""
        self._views.pop(view, None)
        self._join()

    def close(self) -> None:
        """Nobody looks any more."""
        self._views.clear()
        self._join()

    def _join(self) -> None:
        if self.watched:
            self._crowd.add(self)
        else:
            self._crowd.discard(self)

    def _pause(self, now: float) -> float:
        if not self.watched:
            return HIDDEN
        if self._starved_since is None:
            return self._interval
        return STARVED if now - self._starved_since < _PATIENCE else LOST

    def _bearable(self, now: float, size: int) -> bool:
        while self._sent and now - self._sent[0][0] >= 1.0:
            self._sent.popleft()
        room = BYTES_PER_S - sum(before for _, before in self._sent)
        # One that is larger than a second's worth goes alone.
        return len(self._sent) < MESSAGES_PER_S and (size <= room or not self._sent)
