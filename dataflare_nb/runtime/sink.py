"""Drive one sink: write, and make visible epoch by epoch."""

from __future__ import annotations

from ..types import Batch, Clock, Context, EventTime, Schema, Sink


class SinkDriver:
    """Writes to a sink. Rows become visible when an epoch is committed: at the end, and for live input at intervals."""

    def __init__(self, sink: Sink, ctx: Context, schema: Schema, clock: Clock, *, commit_every: int | None) -> None:
        self._clock = clock
        self._commit_every = commit_every
        self._writer = sink.open(ctx, schema)
        self._epoch = 0
        self._written = 0
        self._committed_at = clock.now()
        self._closed = False

    def write(self, batch: Batch) -> None:
        self._writer.write(batch)
        self._written += batch.height
        if self._commit_every is not None and self._clock.now() - self._committed_at >= self._commit_every:
            self.commit()

    def due(self) -> EventTime | None:
        """Next processing time at which rows want to be committed."""
        if self._commit_every is None or not self._written:
            return None
        return EventTime(self._committed_at + self._commit_every)

    def commit(self) -> None:
        """Make visible what was written."""
        self._epoch += 1
        self._writer.commit(self._epoch, self._writer.prepare(self._epoch))
        self._written = 0
        self._committed_at = self._clock.now()

    def abort(self) -> None:
        """Throw away what was not committed."""
        if not self._closed:
            self._writer.abort()

    def close(self) -> None:
        """Close the writer. May be called twice."""
        if not self._closed:
            self._closed = True
            self._writer.close()
