"""Drive one sink: write, and make visible epoch by epoch."""

from __future__ import annotations

from ..types import Batch, Clock, Context, EventTime, Interruptible, Json, Schema, Sink


class SinkDriver:
    """Writes to a sink. Rows become visible when an epoch is committed: at the end, and for live input at intervals.

    A commit has two steps, `prepare` and `commit`. What is prepared is kept until it is committed, so that a commit
    that was interrupted is repeated and not replaced. A write or prepare that did not return leaves the writer torn:
    nobody knows how much of the batch it holds, and what it holds is never committed.
    """

    def __init__(self, sink: Sink, ctx: Context, schema: Schema, clock: Clock, *, commit_every: int | None) -> None:
        self._clock = clock
        self._commit_every = commit_every
        self._writer = sink.open(ctx, schema)
        self._epoch = 0
        self._prepared: Json | None = None
        self._committing = self._kept = False
        self._written = 0
        self._committed_at = clock.now()
        self._closed = False
        self.torn = False

    def write(self, batch: Batch) -> None:
        self.torn = True
        self._writer.write(batch)
        self.torn = False
        self._written += batch.height
        if self._commit_every is not None and self._clock.now() - self._committed_at >= self._commit_every:
            self.commit()

    def due(self) -> EventTime | None:
        """Next processing time at which rows want to be committed."""
        if self._commit_every is None or not self._written:
            return None
        return EventTime(self._committed_at + self._commit_every)

    def prepare(self) -> None:
        """Make sure that what was written can be committed."""
        if self._prepared is not None:
            return
        self.torn = True
        prepared = self._writer.prepare(self._epoch + 1)
        self.torn = False
        self._epoch += 1
        self._prepared = prepared

    def snapshot(self) -> Json:
        """Prepare what was written, and return what another driver needs to commit it, whatever becomes of this one."""
        self.prepare()
        self._kept = True
        return {"epoch": self._epoch, "prepared": self._prepared}

    def restore(self, saved: Json) -> None:
        """Commit what a snapshot has prepared, as its own driver may have done already, and go on from there."""
        self._epoch, self._prepared = saved["epoch"], saved["prepared"]
        self.commit()

    def commit(self) -> None:
        """Make visible what was written."""
        self.prepare()
        assert self._prepared is not None
        self._committing = True
        self._writer.commit(self._epoch, self._prepared)
        self._prepared, self._committing, self._kept = None, False, False
        self._written = 0
        self._committed_at = self._clock.now()

    def abort(self) -> None:
        """Throw away what was not committed, unless a snapshot holds it or a commit has begun with it."""
        if self._closed:
            return
        self._writer.abort()
        discard = getattr(self._writer, "discard", None)
        if self._prepared is not None and not (self._committing or self._kept) and discard is not None:
            discard(self._prepared)

    def interrupt(self) -> None:
        """Make a running write end soon, if the writer can."""
        if isinstance(self._writer, Interruptible):
            self._writer.interrupt()

    def close(self) -> None:
        """Close the writer. May be called twice."""
        if not self._closed:
            self._closed = True
            self._writer.close()
