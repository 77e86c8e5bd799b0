"""Live input by script: rows now, nothing for a while, the end, under a clock that a test moves."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from ..connectors.options import Options, Resources
from ..connectors.registry import register_source
from ..errors import BadOption
from ..types import Batch, Clock, EndOfStream, Json, Schema
from ..windows import DurationLike, microseconds

if TYPE_CHECKING:
    from ..stream import Stream

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Wait:
    """In a script: nothing comes until the job's clock has gone on by so many microseconds."""

    microseconds: int


Entry: TypeAlias = pl.DataFrame | Wait


def wait(length: DurationLike) -> Wait:
    """Return a pause for a script, counted on the job's clock from the last one's end (the first from the start).

    >>> wait("5s")
    Wait(microseconds=5000000)
    """
    return Wait(microseconds(length, "wait"))


def script(*entries: Entry, splits: Mapping[str, Sequence[Entry]] | None = None, bounded: bool = False) -> Stream:
    """Return a stream that gives these frames and pauses, one frame at most per poll; then nothing more comes.

    Give several splits by name. A `bounded` one ends after its last entry.

    >>> import dataflare_nb as flare
    >>> script(pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]}), bounded=True).collect()["a"].to_list()
    [1, 2]
    """
    parts = dict(splits) if splits is not None else {"script-0": entries}
    frames = [entry for part in parts.values() for entry in part if isinstance(entry, pl.DataFrame)]
    if not frames:
        raise BadOption("a script needs at least one frame, which may be empty, for its schema")
    feed = Feed(frames[0].schema, splits=list(parts), bounded=bounded)
    for name, part in parts.items():
        for entry in part:
            feed.give(entry, split=name)
        if bounded:
            feed.end(name)
    return feed.stream


class Feed:
    """Live input by hand. `stream` is what to build on; give rows, let the job settle, look, go on.

    One job at a time reads it. What was given stays, so that a job can start over from an offset.
    """

    def __init__(
        self, schema: Schema | Mapping[str, Any], *, splits: Sequence[str] = ("feed-0",), bounded: bool = False
    ) -> None:
        self.schema = pl.Schema(schema)
        self.bounded = bounded
        self._changed = threading.Condition()
        self._given: dict[str, list[Entry]] = {name: [] for name in splits}
        self._ended: set[str] = set()
        self._quiet = 0
        self._key = f"feed-{next(_numbers)}"

    @property
    def stream(self) -> Stream:
        """The stream of what is given."""
        import dataflare_nb as flare

        return flare.read("script", blobs={self._key: self}, buffer=self._key)

    def give(self, rows: pl.DataFrame | Wait, *, split: str | None = None) -> Feed:
        """Have rows ready for a poll of `split` (the first by default; a new name is a new split)."""
        if isinstance(rows, pl.DataFrame) and rows.schema != self.schema:
            raise BadOption(f"the feed has {dict(self.schema)}, and these rows are {dict(rows.schema)}")
        with self._changed:
            name = split if split is not None else next(iter(self._given))
            self._given.setdefault(name, []).append(rows)
            self._quiet = 0
        return self

    def end(self, *splits: str) -> Feed:
        """Say that nothing more comes, in these splits or in all."""
        with self._changed:
            self._ended.update(splits or self._given)
            self._quiet = 0
        return self

    def settle(self, timeout: float = 10.0) -> Feed:
        """Wait until a job with one worker has done all that follows from what was given and from its clock.

        One worker reads on only when nothing else is to be done, so three looks that found nothing prove it. With more
        workers this proves no more than that all was read. A bounded feed that has ended is waited for with `job.wait`.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._quiet = 0
            while self._quiet < 4:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"nobody has read the feed to its end in {timeout} s; is the job running?")
        return self

    def look(self) -> list[str]:
        """Return the splits, and note that a reader looks for more."""
        with self._changed:
            self._quiet += 1
            self._changed.notify_all()
            return list(self._given)

    def entry(self, split: str, at: int) -> Entry | None:
        """Return the entry at a place; None when there is none yet. Raises EndOfStream when there will be none."""
        with self._changed:
            entries = self._given[split]
            if at < len(entries):
                return entries[at]
            if split in self._ended:
                self._quiet = 0
                raise EndOfStream
            return None

    def taken(self) -> None:
        """Note that rows have gone out."""
        with self._changed:
            self._quiet = 0


class ScriptOptions(Options, frozen=True, kw_only=True):
    """Options of `script`: the blob key of a `Feed`."""

    buffer: str


class ScriptSource:
    """The splits of a feed."""

    invalid_schema: Schema | None = None

    def __init__(self, feed: Feed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self.schema = feed.schema
        self.bounded = feed.bounded

    @classmethod
    def make(cls, options: ScriptOptions, resources: Resources) -> ScriptSource:
        feed = resources.blob("script", "buffer", options.buffer)
        if not isinstance(feed, Feed):
            raise BadOption(f"script: buffer={options.buffer!r} is {type(feed).__name__}, not a Feed")
        return cls(feed, resources.clock)

    def total_rows(self) -> int | None:
        return None

    def splits(self) -> Sequence[str]:
        return self._feed.look()

    def open(self, split: str, offset: Json | None = None) -> ScriptReader:
        return ScriptReader(self._feed, split, self._clock, offset)


class ScriptReader:
    """One split of a feed being read."""

    def __init__(self, feed: Feed, split: str, clock: Clock, offset: Json | None) -> None:
        self._feed = feed
        self._split = split
        self._clock = clock
        self._at: int = offset["at"] if offset else 0
        self._row: int = offset["row"] if offset else 0
        self._until: int = clock.now() - (offset["waited"] if offset else 0)

    def poll(self, max_rows: int) -> Batch:
        while True:
            entry = self._feed.entry(self._split, self._at)
            if isinstance(entry, Wait):
                if self._clock.now() < self._until + entry.microseconds:
                    return self._nothing()
                self._until += entry.microseconds
                self._next()
                continue
            if entry is None:
                return self._nothing()
            batch = entry.slice(self._row, max_rows)
            self._row += batch.height
            if self._row >= entry.height:
                self._next()
            self._feed.taken()
            return batch

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        return {"at": self._at, "row": self._row, "waited": self._clock.now() - self._until}

    def close(self) -> None:
        return None

    def _next(self) -> None:
        self._at, self._row = self._at + 1, 0

    def _nothing(self) -> Batch:
        return pl.DataFrame(schema=self._feed.schema)


register_source("script", ScriptSource.make, options=ScriptOptions)
