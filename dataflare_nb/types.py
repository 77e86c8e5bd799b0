"""The words everyone uses: batches, messages, and the protocols between the rooms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NewType, Protocol, TypeAlias, runtime_checkable

import polars as pl

Batch: TypeAlias = pl.DataFrame
Schema: TypeAlias = pl.Schema
EventTime = NewType("EventTime", int)
"""Microseconds since the epoch, UTC."""
State: TypeAlias = Mapping[str, pl.DataFrame]
"""Named tables. A keyed table carries a `__key_group` column, so that it can be split and joined blindly."""
Json: TypeAlias = dict[str, Any]
Split: TypeAlias = tuple[str | int, ...]
"""The path of a split: the ports of the unions it passed, last first, then its name. `()` is the stream as a whole."""

NEVER = EventTime(-(2**63))
FOREVER = EventTime(2**63 - 1)


@dataclass(frozen=True, slots=True)
class Watermark:
    """No row with an event time before `time` is expected any more."""

    time: EventTime


@dataclass(frozen=True, slots=True)
class Idle:
    """This input says nothing about time until its next watermark."""


@dataclass(frozen=True, slots=True)
class End:
    """This input is finished."""


@dataclass(frozen=True, slots=True)
class Side:
    """Rows for a side output, such as `late` or `invalid`."""

    tag: str
    batch: Batch


Message: TypeAlias = Batch | Watermark | Idle | End
Output: TypeAlias = Batch | Side


class EndOfStream(Exception):  # noqa: N818 - a signal, not an error
    """A bounded reader has given its last row."""


@runtime_checkable
class Clock(Protocol):
    """Processing time. Nobody below the engine reads the wall clock any other way."""

    def now(self) -> EventTime: ...


class Context(Protocol):
    """What a host lends to an operator or writer, from `open` to `close`."""

    @property
    def node_id(self) -> str: ...
    @property
    def watermark(self) -> EventTime: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def restored(self) -> bool:
        """Whether this run goes on from a checkpoint of an earlier one."""
        ...

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter that the probe shows beside the host's own. Safe from any thread."""
        ...


@runtime_checkable
class Operator(Protocol):
    """One thing done to batches. Knows neither threads nor clusters.

    `parallel` says that `process` keeps nothing between calls and may run on several threads at once.
    """

    parallel: bool

    def open(self, ctx: Context) -> None: ...
    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]: ...
    def on_watermark(self, time: EventTime) -> Iterable[Output]:
        """Event time reached `time`; `ctx.watermark` still holds the time before."""
        ...

    def due(self) -> EventTime | None:
        """Next event time at which `on_watermark` has work; `NEVER` means at the very next watermark."""
        ...

    def on_clock(self, now: EventTime) -> Iterable[Output]: ...
    def due_clock(self) -> EventTime | None:
        """Next processing time at which `on_clock` has work."""
        ...

    def held(self) -> int:
        """Input rows that the state still answers for."""
        ...

    def snapshot(self) -> State: ...
    def restore(self, states: Iterable[State]) -> None:
        """Take up the state of one or, after a rescale, several operators."""
        ...

    def interrupt(self) -> None:
        """Make a running `process` return or raise soon. Called from another thread when a job is stopped."""
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """One split being read."""

    def poll(self, max_rows: int) -> Batch:
        """Return the rows that are ready, none if there are none yet, at most `max_rows`.

        Never waits. Raises `EndOfStream` after the last row of a bounded split.
        """
        ...

    def rejected(self) -> Batch | None:
        """Hand over the malformed rows met since the last call, in the source's `invalid_schema`."""
        ...

    def offset(self) -> Json:
        """Where to resume: after the last row returned."""
        ...

    def close(self) -> None: ...


class Source(Protocol):
    """Rows from outside. Splits are independent, ordered sequences of rows."""

    @property
    def schema(self) -> Schema: ...
    @property
    def bounded(self) -> bool: ...
    @property
    def invalid_schema(self) -> Schema | None:
        """Schema of the rows that `Reader.rejected` gives; None when nothing can be malformed."""
        ...

    def total_rows(self) -> int | None:
        """Rows in all if that is cheap to know, for progress bars."""
        ...

    def splits(self) -> Sequence[str]:
        """The splits known now; a watching source may name more at each call."""
        ...

    def open(self, split: str, offset: Json | None = None) -> Reader: ...


class Writer(Protocol):
    """One open sink. Rows become visible by `prepare` then `commit`, epoch by epoch.

    What is prepared waits for its `commit`, which may come from another writer after a crash. A writer that has a
    method `discard(prepared)` is told so when none will come, because the job has failed.
    """

    def write(self, batch: Batch) -> None: ...
    def prepare(self, epoch: int) -> Json:
        """Flush what was written since the last epoch so that it survives a crash; it is not yet visible."""
        ...

    def commit(self, epoch: int, prepared: Json) -> None:
        """Make a prepared epoch visible. Safe to repeat."""
        ...

    def abort(self) -> None:
        """Throw away what was written and not prepared."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Interruptible(Protocol):
    """A source or writer whose calls can be ended from another thread, such as one that runs a guest."""

    def interrupt(self) -> None:
        """Make a running call return or raise soon."""
        ...


class Sink(Protocol):
    """Rows to outside."""

    def open(self, ctx: Context, schema: Schema) -> Writer: ...
