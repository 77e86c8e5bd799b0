"""Read files: one split each, or all as one sequence, and new ones as they come."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import polars as pl

from .. import dtypes
from ..errors import BadOption, SourceError, listing
from ..types import Batch, EndOfStream, Json, Schema
from ..windows import microseconds
from .folder import Folder, Watch
from .follow import FollowedFile
from .options import Options, Resources, path_problems, schema_problems

SEQUENCE = "sequence"
_PACKED = 20
"""How many times smaller a packed text may be, but for one that repeats itself without an end."""
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

    @property
    def endless(self) -> bool:
        """Whether more may come for ever."""
        return self.watch

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

    def grows(self, file: str) -> bool:
        """Tell whether a file is read on as it grows."""
        ...

    def start(self, file: str, schema: Schema) -> Json | None:
        """Return the offset of the first row; None if a file that grows has not come so far."""
        ...

    def open(self, file: str, schema: Schema, columns: Sequence[str], offset: Json) -> Any:
        """Open a file whose full schema must be `schema`; returns a Cursor."""
        ...


class FileFormat(Protocol):
    """What a file source must know of its format."""

    @property
    def name(self) -> str: ...
    @property
    def suffixes(self) -> Sequence[str]: ...
    @property
    def text(self) -> bool: ...
    def reader(self, options: Any) -> RowFormat: ...


class FileSource:
    """Rows of files. The first file, by name, gives the schema unless the options do; all files must fit it."""

    def __init__(self, file_format: FileFormat, options: FileOptions, resources: Resources) -> None:
        self._place = f"read_{file_format.name}"
        self._options = options
        self._rows = file_format.reader(options)
        folder = Folder(self._place, options.path, file_format.suffixes)
        self.bounded = not options.endless
        self._files = list(folder.files(missing_ok=options.endless))
        self._watch: Watch | None = None
        interval = microseconds(options.watch_interval, "watch_interval")
        if options.endless:
            otherwise = ", or read files that grow with follow=True" if file_format.text else ""
            self._watch = Watch(folder, resources.clock, interval, grows=self._rows.grows, otherwise=otherwise)
            self._watch.files()
        self._full = self._full_schema(resources.schema)
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
    def counters(self) -> dict[str, int]:
        """Watched files that have changed in a way that cannot be read."""
        return {"changed_files": self._watch.changed} if self._watch and self._watch.changed else {}

    def total_rows(self) -> int | None:
        if self._watch or len(self._files) > 1_000:
            return None
        counts = [self._rows.rows(file) for file in self._files]
        return None if None in counts else sum(count or 0 for count in counts)

    def total_bytes(self) -> int:
        """Return about how much there is to read, unpacked."""
        return sum(os.path.getsize(file) * (_PACKED if file.endswith(".gz") else 1) for file in self._files)

    def splits(self) -> Sequence[str]:
        return [SEQUENCE] if self._options.splits == SEQUENCE else self._known()

    def open(self, split: str, offset: Json | None = None) -> FileReader | SequenceReader:
        if self._options.splits == SEQUENCE:
            return SequenceReader(self.schema, self._known, self._open, offset, endless=self._watch is not None)
        return FileReader(self._open(split, offset))

    def _known(self) -> list[str]:
        return self._watch.files() if self._watch else self._files

    def _open(self, file: str, offset: Json | None) -> Cursor:
        def open_at(place: Json) -> Any:
            return self._rows.open(file, self._full, self._columns, place)

        def start() -> Json | None:
            return self._rows.start(file, self._full)

        if self._watch and self._rows.grows(file):
            return FollowedFile(file, self.schema, self._watch, start, open_at, offset)
        cursor: Cursor = open_at(offset or start() or {})
        return cursor

    def _full_schema(self, built_on: Schema | None) -> Schema:
        if self._options.schema is not None:
            return dtypes.from_json(self._options.schema)
        if self._watch and built_on is not None and self._options.columns is None:
            # The file that told it may be gone, or a log that has grown since.
            return built_on
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
    """Files one after another as a single split; those that grow are read on in turn when they have grown.

    The offset remembers every file that is done, and how far those are that were begun.
    """

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
        saved = offset or {"done": [], "files": {}, "file": None, "owed": []}
        self._done: dict[str, None] = dict.fromkeys(saved["done"])
        self._cursors: dict[str, Cursor] = {name: open_file(name, at) for name, at in saved["files"].items()}
        self._file: str | None = saved["file"]
        """The file being read."""
        self._leftover = [pl.DataFrame(saved["owed"], schema=REJECTED, orient="row")] if saved["owed"] else []

    def poll(self, max_rows: int) -> Batch:
        if self._file is not None and (batch := self._read(self._file, max_rows)) is not None:
            return batch
        for file in self._known():
            if file not in self._done and (batch := self._read(file, max_rows)) is not None:
                return batch
        if self._endless:
            return self._empty
        raise EndOfStream

    def rejected(self) -> Batch | None:
        frames, self._leftover = self._leftover, []
        return pl.concat(frames) if frames else None

    def offset(self) -> Json:
        files = {name: cursor.offset() for name, cursor in self._cursors.items()}
        owed = [list(row) for frame in self._leftover for row in frame.rows()]
        return {"done": list(self._done), "files": files, "file": self._file, "owed": owed}

    def close(self) -> None:
        for cursor in self._cursors.values():
            cursor.close()

    def _read(self, file: str, max_rows: int) -> Batch | None:
        """Return what a file has to give, rows or rejects; None if there is nothing (more) in it."""
        if file not in self._cursors:
            self._cursors[file] = self._open(file, None)
        self._file, cursor = file, self._cursors[file]
        batch = cursor.read(max_rows)
        if (bad := cursor.rejected()) is not None:
            self._leftover.append(bad)
        if batch is None:
            cursor.close()
            del self._cursors[file]
            self._done[file] = None
        if batch is None or (batch.is_empty() and bad is None):
            self._file = None
            return None
        return batch
