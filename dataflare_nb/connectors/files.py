"""Read files: one split each, or all as one sequence, and new ones as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import polars as pl

from .. import dtypes
from ..errors import BadOption, SourceError, listing
from ..types import Batch, EndOfStream, Json, Schema
from ..windows import microseconds
from .folder import Folder, Watch
from .options import Options, Resources, path_problems, schema_problems

SEQUENCE = "sequence"
REJECTED = pl.Schema(
    {"file": pl.String(), "line": pl.Int64(), "column": pl.String(), "reason": pl.String(), "raw": pl.String()}
)
"""Schema of malformed rows."""


class FileOptions(Options, frozen=True, kw_only=True):
    """Options of every file source."""

    path: str | list[str]
    columns: list[str] | None = None
    schema: dict[str, Any] | None = None
    splits: Literal["file", "sequence"] = "file"
    watch: bool = False
    watch_interval: str = "200ms"

    def problems(self) -> Iterable[str]:
        if not self.path:
            yield "`path` is empty"
        for path in [self.path] if isinstance(self.path, str) else self.path:
            yield from path_problems(path, SourceError)
        if self.columns is not None and not self.columns:
            yield "`columns` is empty; leave it out to read them all"
        if twice := [name for name, times in Counter(self.columns or ()).items() if times > 1]:
            yield f"columns: {listing(twice)} stands twice"
        try:
            microseconds(self.watch_interval, "watch_interval")
        except BadOption as error:
            yield str(error)
        yield from schema_problems("schema", self.schema)


class Cursor(Protocol):
    """One file being read."""

    def read(self, max_rows: int) -> Batch | None:
        """Return up to `max_rows` rows, or None at the end. May be empty before it."""
        ...

    def rejected(self) -> Batch | None: ...
    def offset(self) -> Json: ...
    def close(self) -> None: ...


class RowFormat(Protocol):
    """How to read the files of one format, with the options given."""

    @property
    def lenient(self) -> bool:
        """Whether malformed rows are handed over instead of raised."""
        ...

    def schema(self, file: str) -> Schema:
        """Read or infer the schema of a file, all its columns."""
        ...

    def rows(self, file: str) -> int | None:
        """Count the rows if the file says so itself."""
        ...

    def open(self, file: str, schema: Schema, columns: Sequence[str], offset: Json | None) -> Cursor:
        """Open a file whose full schema must be `schema`."""
        ...


class FileFormat(Protocol):
    """What a file source must know of its format."""

    @property
    def name(self) -> str: ...
    @property
    def suffixes(self) -> Sequence[str]: ...
    def reader(self, options: Any) -> RowFormat: ...


class FileSource:
    """Rows of files. The first file, by name, gives the schema unless the options do; all files must fit it."""

    def __init__(self, file_format: FileFormat, options: FileOptions, resources: Resources) -> None:
        self._place = f"read_{file_format.name}"
        self._options = options
        self._rows = file_format.reader(options)
        folder = Folder(self._place, options.path, file_format.suffixes)
        self.bounded = not options.watch
        self._files = list(folder.files(missing_ok=options.watch))
        interval = microseconds(options.watch_interval, "watch_interval")
        self._watch = Watch(folder, resources.clock, interval) if options.watch else None
        if self._watch:
            self._watch.complete()
        self._full = self._full_schema()
        self._columns = list(options.columns or self._full)
        if unknown := [name for name in self._columns if name not in self._full]:
            raise SourceError(
                f"{self._place}: columns={unknown} are not in {self._files[0] if self._files else 'the schema'}, "
                f"which has {', '.join(self._full)}"
            )
        self.schema = pl.Schema({name: self._full[name] for name in self._columns})
        self.invalid_schema = REJECTED if self._rows.lenient else None

    @classmethod
    def factory(cls, file_format: FileFormat) -> Callable[[Any, Resources], FileSource]:
        """Make the factory that the registry wants."""
        return lambda options, resources: cls(file_format, options, resources)

    @property
    def changed_files(self) -> int:
        """How many watched files have changed after they were taken for whole."""
        return self._watch.changed if self._watch else 0

    def total_rows(self) -> int | None:
        if self._watch or len(self._files) > 1_000:
            return None
        counts = [self._rows.rows(file) for file in self._files]
        return None if None in counts else sum(count or 0 for count in counts)

    def splits(self) -> Sequence[str]:
        return [SEQUENCE] if self._options.splits == SEQUENCE else self._known()

    def open(self, split: str, offset: Json | None = None) -> FileReader | SequenceReader:
        if self._options.splits == SEQUENCE:
            return SequenceReader(self.schema, self._known, self._open, offset, endless=self._watch is not None)
        return FileReader(self._open(split, offset))

    def _known(self) -> list[str]:
        return self._watch.complete() if self._watch else self._files

    def _open(self, file: str, offset: Json | None) -> Cursor:
        return self._rows.open(file, self._full, self._columns, offset)

    def _full_schema(self) -> Schema:
        if self._options.schema is not None:
            return dtypes.from_json(self._options.schema)
        if not self._files:
            raise SourceError(
                f"{self._place}: {self._options.path} holds no file yet, so its columns are unknown; "
                "give them as schema={'column': pl.Int64, ...}"
            )
        return self._rows.schema(self._files[0])


class FileReader:
    """One file as a split."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def poll(self, max_rows: int) -> Batch:
        batch = self._cursor.read(max_rows)
        if batch is None:
            raise EndOfStream
        return batch

    def rejected(self) -> Batch | None:
        return self._cursor.rejected()

    def offset(self) -> Json:
        return self._cursor.offset()

    def close(self) -> None:
        self._cursor.close()


class SequenceReader:
    """Files one after another as a single split. The offset remembers every file that is done."""

    def __init__(
        self,
        schema: Schema,
        known: Callable[[], Sequence[str]],
        open_file: Callable[[str, Json | None], Cursor],
        offset: Json | None,
        *,
        endless: bool,
    ) -> None:
        self._empty = pl.DataFrame(schema=schema)
        self._known = known
        self._open = open_file
        self._endless = endless
        self._done: dict[str, None] = dict.fromkeys(offset["done"]) if offset else {}
        self._file: str | None = offset["file"] if offset else None
        self._cursor = open_file(self._file, offset["at"]) if offset and self._file else None
        owed = offset["owed"] if offset else []
        self._leftover = [pl.DataFrame(owed, schema=REJECTED, orient="row")] if owed else []

    def poll(self, max_rows: int) -> Batch:
        while True:
            if self._cursor is None and not self._next():
                if self._endless:
                    return self._empty
                raise EndOfStream
            assert self._cursor is not None
            batch = self._cursor.read(max_rows)
            if batch is not None:
                return batch
            self._finish()

    def rejected(self) -> Batch | None:
        current = self._cursor.rejected() if self._cursor else None
        frames = [*self._leftover, *([current] if current is not None else [])]
        self._leftover = []
        return pl.concat(frames) if frames else None

    def offset(self) -> Json:
        at = self._cursor.offset() if self._cursor else None
        owed = [list(row) for frame in self._leftover for row in frame.rows()]
        return {"done": list(self._done), "file": self._file, "at": at, "owed": owed}

    def close(self) -> None:
        if self._cursor:
            self._cursor.close()

    def _next(self) -> bool:
        self._file = next((file for file in self._known() if file not in self._done), None)
        if self._file is not None:
            self._cursor = self._open(self._file, None)
        return self._file is not None

    def _finish(self) -> None:
        assert self._cursor is not None
        assert self._file is not None
        self._done[self._file] = None
        if (rest := self._cursor.rejected()) is not None:
            self._leftover.append(rest)
        self._cursor.close()
        self._cursor = self._file = None
