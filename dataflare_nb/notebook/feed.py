"""Look at a running job ten times a second, once for all of its dashboards, and tell them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol

from ..runtime.outline import Outline
from ..runtime.probe import Probe, Reading
from .change import ENDED, Frame, frame
from .flow import HZ

log = logging.getLogger("dataflare_nb")

WINDOW = 1.0
"""Seconds that rates and shares are taken over."""
_UNSEEN = 0.5


class Listener(Protocol):
    """Who wants frames. Called on the thread of the feed."""

    def seen(self) -> bool:
        """Tell whether anybody looks, so that it is worth looking ten times a second."""
        ...

    def take(self, frame: Frame) -> None: ...

    def end(self, frame: Frame) -> None:
        """Take the last frame, of a job that has ended."""
        ...


class Feed:
    """One thread that samples a probe, from the first listener to the last, or to the end of the job."""

    def __init__(self, probe: Probe, outline: Outline, hz: float = HZ) -> None:
        self.outline = outline
        self.reads = 0
        self._probe: Probe | None = probe
        self._interval = 1.0 / hz
        self._readings: deque[Reading] = deque()
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, listener: Listener, probe: Probe) -> bool:
        """Tell this one too, from now on, unless it is another probe that is sampled, or the end has been told."""
        with self._lock:
            if self._probe is not probe:
                return False
            self._listeners.append(listener)
            if self._thread is None:
                name = f"dataflare:{self.outline.name}:dashboard"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        self._wake.set()
        return True

    def leave(self, listener: Listener) -> None:
        """Tell this one no more."""
        with self._lock:
            self._listeners = [other for other in self._listeners if other is not listener]
        self._wake.set()

    def look(self) -> Frame | None:
        """Return a frame of this moment, None when the job has ended."""
        probe = self._probe
        if probe is None:
            return None
        now = probe.read()
        with self._lock:
            before = self._readings[0] if self._readings else None
        return frame(self.outline, before, now)

    def hurry(self) -> None:
        """Look again at once."""
        self._wake.set()

    def _run(self) -> None:
        probe = self._probe
        assert probe is not None
        while True:
            begun = time.monotonic()
            shown, ended = self._sample(probe)
            with self._lock:
                listeners = list(self._listeners)
                if not listeners or ended:
                    self._thread = None
                    self._readings.clear()
                if ended:
                    # What an ended job still holds, its rows above all, is not kept alive by its dashboards.
                    self._listeners, self._probe = [], None
            for listener in listeners:
                _told(listener, shown, ended=ended)
            if not listeners or ended:
                return
            pause = self._interval if any(listener.seen() for listener in listeners) else _UNSEEN
            self._wake.wait(max(0.0, begun + pause - time.monotonic()))
            self._wake.clear()

    def _sample(self, probe: Probe) -> tuple[Frame, bool]:
        now = probe.read()
        self.reads += 1
        ended = now.status in ENDED
        with self._lock:
            while len(self._readings) > 1 and now.elapsed - self._readings[1].elapsed >= WINDOW:
                self._readings.popleft()
            before = self._readings[0] if self._readings and not ended else None
            self._readings.append(now)
        return frame(self.outline, before, now), ended


def _told(listener: Listener, shown: Frame, *, ended: bool) -> None:
    """Tell a listener; one that fails, as when the kernel goes away, stops nobody."""
    try:
        listener.take(shown)
        if ended:
            listener.end(shown)
    except Exception as error:
        log.debug("a dashboard could not be told: %s: %s", type(error).__name__, error)
