"""Merge the watermarks of several inputs into one."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import FOREVER, NEVER, EventTime, Json, Split
from .packet import WHOLE


class Inputs:
    """What is known of the time of each input.

    An input is a split; a branch is all splits under one path, and ends as a whole. The merged time is the minimum
    over the splits that are not idle. It is unknown until each branch has announced its splits and each of these has
    spoken or is idle, and it never goes back.
    """

    def __init__(self, branches: Iterable[Split] = (WHOLE,)) -> None:
        self._silent = set(branches)
        self._open = set(branches)
        self._times: dict[Split, EventTime | None] = {}
        self.time = NEVER

    def tell(self, split: Split, time: EventTime | None) -> None:
        """Note that a split has reached a time, or with None that it, or a branch without splits, is idle."""
        branch = self._branch(split)
        self._silent.discard(branch)
        if split != branch:
            self._times.pop(branch, None)  # A branch that was idle as a whole speaks by its splits again.
        self._times[split] = time

    def end(self, split: Split) -> None:
        """Note that a split, or a whole branch, has ended."""
        if split in self._open:
            self._open.discard(split)
            self._silent.discard(split)
            self._times = {s: t for s, t in self._times.items() if s[: len(split)] != split}
        else:
            self._silent.discard(self._branch(split))
            self._times.pop(split, None)

    @property
    def ended(self) -> bool:
        return not self._open

    @property
    def idle(self) -> bool:
        """Whether nothing that is open says anything about time."""
        return not self._silent and not self.ended and all(time is None for time in self._times.values())

    def merged(self) -> EventTime | None:
        """Return the time reached if it is further than before, and remember it."""
        if self.ended:
            now = FOREVER
        else:
            known = [time for time in self._times.values() if time is not None]
            if self._silent or not known:
                return None
            now = min(known)
        if now <= self.time:
            return None
        self.time = now
        return now

    def behind(self) -> dict[Split, EventTime | None]:
        """Return the time of each split, None for an idle one."""
        return dict(self._times)

    def snapshot(self) -> Json:
        """Return all that is known, as JSON holds it."""
        return {
            "time": self.time,
            "open": [list(branch) for branch in self._open],
            "silent": [list(branch) for branch in self._silent],
            "times": [[list(split), time] for split, time in self._times.items()],
        }

    def restore(self, saved: Json) -> None:
        """Know what a snapshot knew."""
        self.time = EventTime(saved["time"])
        self._open = {tuple(branch) for branch in saved["open"]}
        self._silent = {tuple(branch) for branch in saved["silent"]}
        self._times = {tuple(split): time for split, time in saved["times"]}

    def _branch(self, split: Split) -> Split:
        return next((b for b in self._open if split[: len(b)] == b), WHOLE)
