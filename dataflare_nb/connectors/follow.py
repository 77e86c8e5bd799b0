"""Read a text file on as it grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from ..errors import SourceError
from ..types import Batch, Json, Schema
from .folder import Stamp, Watch
from .place import FileChanged

if TYPE_CHECKING:
    from .files import Cursor


class FollowedFile:
    """A file that is read on whenever it has grown. Between that nothing is open, and no row is in memory.

    A file that is not the one any more that was read is given up: nobody knows which of its rows have been read.
    """

    def __init__(
        self,
        file: str,
        schema: Schema,
        watch: Watch,
        start: Callable[[], Json | None],
        open_at: Callable[[Json], Cursor],
        offset: Json | None,
    ) -> None:
        self._file = file
        self._empty = pl.DataFrame(schema=schema)
        self._watch = watch
        self._start = start
        self._open_at = open_at
        self._offset = offset or None
        self._seen: Stamp | None = None
        self._cursor: Cursor | None = None
        self._lost = False

    def read(self, max_rows: int) -> Batch | None:
        """Return the whole records that are there; None once the file has been given up."""
        if self._cursor is None:
            self._cursor = self._look()
        if self._cursor is None:
            return None if self._lost else self._empty
        batch = self._cursor.read(max_rows)
        if batch is None:
            self._offset = self._cursor.offset()
            self._cursor.close()
            self._cursor = None
            return self._empty
        return batch

    def rejected(self) -> Batch | None:
        return self._cursor.rejected() if self._cursor else None

    def offset(self) -> Json:
        return self._cursor.offset() if self._cursor else self._offset or {}

    def close(self) -> None:
        if self._cursor:
            self._cursor.close()

    def _look(self) -> Cursor | None:
        """Open the file if it has changed since it was read to its end."""
        stamp = None if self._lost else self._watch.stamp(self._file)
        if stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        try:
            self._offset = self._offset or self._start()
            return self._open_at(self._offset) if self._offset else None
        except FileChanged as changed:
            self._lost = True
            self._watch.warn(self._file, f"{changed.what}: nothing more is read of it. {changed.way_out}")
        except SourceError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._seen = None
        return None
