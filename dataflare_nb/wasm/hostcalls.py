"""Whom a guest talks to in a run: the job's clock, its log, its counters and its seed."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from typing import TypeAlias

from ..clock import SystemClock
from ..types import Clock

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
MOST_TEXT = 1024
MOST_COUNTERS = 64
_MICROSECOND = 1_000_000

log = logging.getLogger("dataflare_nb.wasm")

Listener: TypeAlias = Callable[[int, str, str], None]
"""Is told the level, the plugin and the text of each message."""


def listener(ctx: object) -> Listener | None:
    """Return who hears what guests log, if the host that lends `ctx` has somebody: its `hear`."""
    found: Listener | None = getattr(ctx, "hear", None)
    return found


def ignore(name: str, by: int) -> None:
    """Count nowhere."""


class HostFunctions:
    """What one session lends to its guests. Safe from any thread.

    With a `seed`, the numbers a guest draws depend on the seed, the stage and what it works on, and not on
    the thread, the instance or what ran before. `listen` hears what guests log, as Python's logging does.
    """

    def __init__(
        self,
        plugin: str,
        *,
        clock: Clock | None = None,
        seed: int | None = None,
        stage: str = "",
        count: Callable[[str, int], None] = ignore,
        listen: Listener | None = None,
        messages_per_second: int = 100,
    ) -> None:
        self.plugin = plugin
        self.clock: Clock = clock or SystemClock()
        self.seed, self.stage = seed, stage
        self.count = count
        self.suppressed = 0
        self._listen = listen
        self._rate = messages_per_second
        self._second, self._said = -1, 0
        self._counters: set[str] = set()
        self._visits = 0
        self._lock = threading.Lock()

    @property
    def sleeps(self) -> bool:
        """Whether waiting takes real time; a clock that is moved by hand is only thought forward."""
        return isinstance(self.clock, SystemClock)

    def say(self, level: int, text: str | None) -> None:
        """Log a message of a guest; None is one that could not be read."""
        if not self._may_speak():
            return
        if text is None:
            level, text = logging.WARNING, "a log message outside the guest's memory was left out"
        text = tame(text)
        log.log(level, "%s: %s", self.plugin, text)
        if self._listen is not None:
            self._listen(level, self.plugin, text)

    def add(self, name: str, by: int) -> None:
        """Count for a guest, under at most 64 names. They have no `/`, as what a job itself counts of a plugin has."""
        name = tame(name).replace("/", "_")
        with self._lock:
            if name not in self._counters and len(self._counters) >= MOST_COUNTERS:
                return
            self._counters.add(name)
        self.count(f"{self.plugin}.{name}", by)

    def visit(self) -> bytes:
        """Return a name for a call that works on nothing in particular: its number."""
        with self._lock:
            self._visits += 1
            return b"call %d" % self._visits

    def dice(self, about: bytes) -> random.Random:
        """Return the source of random numbers for one piece of work."""
        if self.seed is None:
            return random.SystemRandom()
        return random.Random(b"%d\0%s\0%s" % (self.seed, self.stage.encode(), about))

    def noise(self, dice: random.Random, size: int) -> bytes:
        """Return random bytes."""
        return os.urandom(size) if self.seed is None else dice.randbytes(size)

    def _may_speak(self) -> bool:
        second = int(self.clock.now()) // _MICROSECOND
        with self._lock:
            if second != self._second:
                if self._said > self._rate:
                    log.warning(
                        "%s: %d more messages in that second were left out", self.plugin, self._said - self._rate
                    )
                self._second, self._said = second, 0
            self._said += 1
            if self._said > self._rate:
                self.suppressed += 1
            return self._said <= self._rate


def tame(text: str) -> str:
    """Return text of a guest's without what would begin a line of its own or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)
