"""Keep rows in memory, where a notebook can look at them."""

from __future__ import annotations

import threading
from collections import deque

import polars as pl

from ..dtypes import short
from ..errors import BadOption, SinkError, WrongType, listing, shown, user_line
from ..types import Batch, Context, Json, Schema
from .options import Options, Positive, Resources


class MemoryBuffer:
    """Rows collected by `memory` sinks. Safe from any thread.

    With `max_rows` the newest rows stay and `dropped` counts the others.

    >>> buffer = MemoryBuffer()
    >>> buffer.add(pl.DataFrame({"a": [1, 2]}))
    >>> buffer.rows().height
    2
    """

    def __init__(self, max_rows: int | None = None) -> None:
        if max_rows is not None and (not isinstance(max_rows, int) or isinstance(max_rows, bool) or max_rows < 1):
            wanted = "it is a number of rows, at least 1"
            raise BadOption(f"MemoryBuffer at {user_line()}: max_rows={shown(max_rows)}; {wanted}")
        self.max_rows = max_rows
        self.schema: Schema | None = None
        self._lock = threading.Lock()
        self._frames: deque[tuple[object, pl.DataFrame]] = deque()
        self._height = 0
        self._dropped = 0

    @property
    def height(self) -> int:
        """Rows kept."""
        return self._height

    @property
    def dropped(self) -> int:
        """Rows given up for newer ones."""
        return self._dropped

    def __repr__(self) -> str:
        more = f", {self._dropped:,} dropped" if self._dropped else ""
        return f"<MemoryBuffer, {self._height:,} rows{more}>"

    def rows(self) -> pl.DataFrame:
        """Return the rows so far."""
        with self._lock:
            frames = [frame for _, frame in self._frames]
        return pl.concat(frames) if frames else pl.DataFrame(schema=self.schema)

    def add(self, batch: Batch, owner: object = None) -> None:
        """Append rows; they are provisional as long as `owner` has not settled."""
        if not isinstance(batch, pl.DataFrame):
            raise WrongType(f"MemoryBuffer.add at {user_line()} takes a polars.DataFrame, not {type(batch).__name__}")
        if self.schema is not None and batch.schema != self.schema:
            raise WrongType(
                f"MemoryBuffer.add at {user_line()}: the buffer holds {_columns(self.schema)}, and these rows have "
                f"{_columns(batch.schema)}"
            )
        with self._lock:
            self.schema = self.schema or batch.schema
            if batch.is_empty():
                return
            self._frames.append((owner, batch))
            self._height += batch.height
            while self.max_rows is not None and self._height > self.max_rows:
                self._drop(self._height - self.max_rows)

    def settle(self, owner: object) -> None:
        """Keep the rows of `owner` for good."""
        with self._lock:
            self._frames = deque((None if o is owner else o, frame) for o, frame in self._frames)

    def discard(self, owner: object) -> None:
        """Take back the provisional rows of `owner`."""
        with self._lock:
            self._frames = deque((o, frame) for o, frame in self._frames if o is not owner)
            self._height = sum(frame.height for _, frame in self._frames)

    def clear(self) -> None:
        """Forget all rows, not the counts."""
        with self._lock:
            self._frames.clear()
            self._height = 0

    def _drop(self, excess: int) -> None:
        owner, oldest = self._frames.popleft()
        gone = min(excess, oldest.height)
        if gone < oldest.height:
            self._frames.appendleft((owner, oldest.slice(gone)))
        self._height -= gone
        self._dropped += gone


def _columns(schema: Schema) -> str:
    return listing([f"{name}: {short(dtype)}" for name, dtype in schema.items()])


class MemoryOptions(Options, frozen=True, kw_only=True):
    """Options of `memory`: the blob key of a `MemoryBuffer`, and a bound that goes before the buffer's own."""

    buffer: str
    max_rows: Positive | None = None


class MemorySink:
    """Rows into a `MemoryBuffer`, visible at once; an abort takes back what was not yet prepared."""

    def __init__(self, buffer: MemoryBuffer) -> None:
        self._buffer = buffer

    @classmethod
    def make(cls, options: MemoryOptions, resources: Resources) -> MemorySink:
        buffer = resources.blob("memory", "buffer", options.buffer)
        if not isinstance(buffer, MemoryBuffer):
            raise BadOption(f"memory: buffer={options.buffer!r} is {type(buffer).__name__}, not a MemoryBuffer")
        if options.max_rows is not None:
            buffer.max_rows = options.max_rows
        return cls(buffer)

    def open(self, ctx: Context, schema: Schema) -> MemoryWriter:
        known = self._buffer.schema
        if known is not None and known != schema:
            raise SinkError(
                f"to_memory: the buffer holds {_columns(known)}, and this stream has {_columns(schema)}; "
                "give each its own flare.MemoryBuffer"
            )
        self._buffer.schema = schema
        return MemoryWriter(self._buffer)


class MemoryWriter:
    """One writer to a buffer."""

    def __init__(self, buffer: MemoryBuffer) -> None:
        self._buffer = buffer

    def write(self, batch: Batch) -> None:
        self._buffer.add(batch, self)

    def prepare(self, epoch: int) -> Json:
        self._buffer.settle(self)
        return {}

    def commit(self, epoch: int, prepared: Json) -> None:
        return None

    def abort(self) -> None:
        self._buffer.discard(self)

    def close(self) -> None:
        return None
