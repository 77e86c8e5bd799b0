"""The widget of a live table or chart: one model, newest wins, and no more than the page paints."""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

if TYPE_CHECKING:
    from .live import Live

STATIC = Path(__file__).parent / "static"
_PATIENCE, _SILENCE, _RATE = 2.0, 2.0, 200_000
"""Seconds that a page is waited for, and after which it is told that nothing is new; bytes per second at most."""


class LiveView(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """Sends what changed when the page has painted what it had."""

    _css = STATIC / "live.css"
    ended = traitlets.Bool(False).tag(sync=True)

    def __init__(self, live: Live) -> None:
        self._live = weakref.ref(live)
        self._door = threading.RLock()
        self._sent = self._painted = 0
        self._when = self._beaten = self._bytes = 0.0
        self._waiting = True
        self._making = self._closed = self._over = False
        self._final: tuple[dict[str, Any], bytes] | None = None
        self._seen_by: set[str] = set()
        super().__init__()
        self.on_msg(self._hear)

    def open(self) -> None:
        """Open the comm, and let messages come in while a cell blocks, as a dashboard does."""
        super().open()
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = None

    def show(self, *, last: bool = False) -> None:
        """Send what there is, if the page can take it; else as soon as it can."""
        live = self._live()
        with self._door:
            now = time.monotonic()
            behind = self._painted < self._sent and now - self._when < _PATIENCE
            early = behind or now - self._when < self._bytes / _RATE
            if self._final is not None:
                self._give(*self._final)
                return
            if live is None or self._closed or self._making or (early and not last):
                self._waiting = True
                return
            self._making, self._waiting = True, False
        # Out of the door: whoever says that it has painted does not wait for what is made of many rows.
        try:
            words, numbers = live.document()
        finally:
            self._making = False
        with self._door:
            self._give(words, numbers)
            if last:
                self._final = words, numbers
        if last:
            self.ended = True

    def _give(self, words: dict[str, Any], numbers: bytes) -> None:
        if self._closed:
            return
        self._sent, self._when = self._sent + 1, time.monotonic()
        self._bytes = len(numbers) + len(str(words))
        self.send({"t": "show", "seq": self._sent, **words}, buffers=[numbers])

    def end(self, *, replaced: bool) -> None:
        """Let go when no page shows it any more, at once if the cell shows another.

        A page that was loaded again knows nothing of the picture that took its place, and keeps this instead.
        """
        with self._door:
            self._over = True
            gone = replaced and not self._seen_by
        if gone:
            self.close()

    def close(self) -> None:
        """Take the view away."""
        with self._door:
            self._closed = True
        super().close()
        # A model of its own, that nobody else closes.
        self.layout.close()

    def beat(self) -> None:
        """Give a sign of life when there has been nothing to show, so that a page knows when the kernel is gone."""
        now = time.monotonic()
        with self._door:
            quiet = not self._closed and now - max(self._when, self._beaten) >= _SILENCE
            if quiet:
                self._beaten = now
                self.send({"t": "alive"})
        if self._waiting and quiet:
            self.show()

    def _hear(self, _: Any, said: Any, __: Any) -> None:
        match said:
            case {"t": "hello", **more}:
                with self._door:
                    self._seen_by.add(str(more.get("view")))
                    self._painted, self._bytes = self._sent, 0.0
                self.show()
            case {"t": "bye", **more}:
                with self._door:
                    self._seen_by.discard(str(more.get("view")))
                    gone = self._over and not self._seen_by
                if gone:
                    self.close()
            case {"t": "ack", "seq": int(seq)}:
                with self._door:
                    self._painted = max(self._painted, seq)
                    due = self._waiting and time.monotonic() - self._when >= 0.25
                if due:
                    self.show()
            case _:
                pass


class TableView(LiveView):
    """The page of a table."""

    _esm = STATIC / "live_table.js"


class ChartView(LiveView):
    """The page of a chart."""

    _esm = STATIC / "live_chart.js"


def view_of(live: Live) -> LiveView:
    """Return a view for it."""
    return {"table": TableView, "chart": ChartView}[live.kind](live)
