"""Write files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO, Any, Literal, Protocol

from ..errors import BadOption, SinkError
from ..types import Batch, Context, Json, Schema
from .options import Options, Positive, Resources, path_problems
from .parts import Part, require_writable
from .staging import Staging, writing


class FileSinkOptions(Options, frozen=True, kw_only=True):
    """Options of every file sink. A path with the suffix of the format is one file, any other a folder of parts."""

    path: str
    mode: Literal["error", "overwrite", "append"] = "error"
    max_rows_per_file: Positive | None = None
    max_bytes_per_file: Positive | None = None

    def problems(self) -> Iterable[str]:
        if not self.path:
            yield "`path` is empty"
        yield from path_problems(self.path, SinkError)


class SinkFormat(Protocol):
    """What a file sink must know of its format."""

    @property
    def name(self) -> str: ...
    @property
    def suffixes(self) -> tuple[str, ...]: ...
    @property
    def flat(self) -> bool: ...
    @property
    def text(self) -> bool: ...
    def part(self, stream: IO[bytes], schema: Schema, options: Any, first: bool, /) -> Part: ...
    def reader(self, options: Any) -> Any: ...


class FileSink:
    """Files staged under hidden names and renamed when their epoch commits: exactly once.

    A single file is for bounded streams: each further epoch writes it anew, with the old rows first.
    """

    def __init__(self, file_format: SinkFormat, options: FileSinkOptions) -> None:
        self._format = file_format
        self._options = options
        self._place = f"write_{file_format.name}"
        self._single = options.path.endswith(file_format.suffixes)
        if options.path.endswith(".gz"):
            raise BadOption(f"{self._place}: {options.path}: compressed text is only read, not written")
        if self._single and (options.max_rows_per_file or options.max_bytes_per_file):
            raise BadOption(
                f"{self._place}: {options.path} is a single file; "
                "max_rows_per_file and max_bytes_per_file need a folder"
            )

    @classmethod
    def factory(cls, file_format: SinkFormat) -> Callable[[Any, Resources], FileSink]:
        """Make the factory that the registry wants."""
        return lambda options, resources: cls(file_format, options)

    def open(self, ctx: Context, schema: Schema) -> FileWriter:
        """Open for writing. With `ctx.restored` true, what is there already is taken for this job's own."""
        require_writable(self._place, schema, text=self._format.text, flat=self._format.flat)
        path = self._options.path
        folder, name = os.path.split(path) if self._single else (path, None)
        staging = Staging(self._place, folder or ".", name, self._format.suffixes, owner=ctx.node_id)
        restored = getattr(ctx, "restored", None)
        if restored is False:
            staging.require_alone()
        return FileWriter(self._format, self._options, staging, schema, restored=restored)


class FileWriter:
    """One open file sink.

    After a crash, commit what the checkpoint had prepared before writing anything: the first write clears away
    whatever the killed run left behind.
    """

    def __init__(
        self,
        file_format: SinkFormat,
        options: FileSinkOptions,
        staging: Staging,
        schema: Schema,
        *,
        restored: bool | None,
    ) -> None:
        self._format = file_format
        self._options = options
        self._staging = staging
        self._schema = schema
        self._stream: IO[bytes] | None = None
        self._part: Part | None = None
        self._rows = 0
        self._finished: list[str] = []
        self._started = False
        self._resumed = bool(restored)
        self._replaces: list[str] = []
        self._bare = not staging.existing
        if restored is False:
            try:
                self._require_room()
            except SinkError:
                staging.release()
                raise

    def write(self, batch: Batch) -> None:
        self._start()
        if batch.schema != self._schema:
            raise SinkError(f"{self._staging.target} was opened for {self._schema} and is given {batch.schema}")
        most = self._options.max_rows_per_file
        while not batch.is_empty():
            part = self._open_part()
            rows = batch if most is None else batch.head(most - self._rows)
            with writing(self._staging.target):
                part.write(rows)
            self._rows += rows.height
            batch = batch.slice(rows.height)
            if self._is_full():
                self._finish_part()

    def prepare(self, epoch: int) -> Json:
        self._start()
        if self._part is None and not self._finished and (self._bare or self._replaces):
            # The first epoch leaves at least a schema, so that an empty stream can be read back.
            self._open_part()
        self._finish_part()
        staged, self._finished = self._finished, []
        replaces: list[str] = []
        if staged:
            replaces, self._replaces, self._bare = self._replaces, [], False
        files = self._staging.name(epoch, staged)
        return {"files": files, "replaces": replaces}

    def commit(self, epoch: int, prepared: Json) -> None:
        if not self._started:
            self._resumed = True
            self._bare = False
        self._staging.publish(prepared["files"], prepared["replaces"])

    def abort(self) -> None:
        self._drop_part()
        self._staging.remove(self._finished)
        self._finished = []

    def discard(self, prepared: Json) -> None:
        self._staging.remove([name for name, _ in prepared["files"]])

    def close(self) -> None:
        self.abort()
        self._staging.release()

    def _start(self) -> None:
        """Decide, once, what becomes of what is there."""
        if self._started:
            return
        self._started = True
        if not self._resumed:
            self._require_room()
            if self._options.mode == "overwrite":
                self._replaces = list(self._staging.existing)
                self._staging.forget_base()
        self._staging.clean(resumed=self._resumed)

    def _require_room(self) -> None:
        if self._options.mode == "error" and self._staging.existing:
            raise SinkError(
                f"{self._staging.target} already holds data ({self._staging.described()}); write with mode='append' to "
                "add to it, with mode='overwrite' to replace it, or to another path"
            )

    def _open_part(self) -> Part:
        if self._part is None:
            with writing(self._staging.target):
                name, self._stream = self._staging.stage()
                self._finished.append(name)
                base = self._staging.base()
                first = base is None or not self._format.text
                self._part = self._format.part(self._stream, self._schema, self._options, first)
                self._rows = 0
                if base is not None:
                    self._carry_over(base)
        return self._part

    def _carry_over(self, base: str) -> None:
        """Begin a single file with the rows it has already."""
        assert self._part is not None
        assert self._stream is not None
        if self._format.text:
            self._staging.copy(base, self._stream)
            return
        rows = self._format.reader(None)
        cursor = rows.open(base, self._schema, list(self._schema), rows.start(base, self._schema))
        while (batch := cursor.read(65_536)) is not None:
            self._part.write(batch)
        cursor.close()

    def _is_full(self) -> bool:
        options = self._options
        if options.max_rows_per_file is not None and self._rows >= options.max_rows_per_file:
            return True
        if options.max_bytes_per_file is None or self._stream is None:
            return False
        return self._stream.tell() >= options.max_bytes_per_file

    def _finish_part(self) -> None:
        if self._part is None or self._stream is None:
            return
        with writing(self._staging.target):
            self._part.finish()
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
        self._part = self._stream = None

    def _drop_part(self) -> None:
        if self._part is not None:
            self._part.discard()
        if self._stream is not None:
            # The file goes away; what could not be written to it no longer matters.
            with suppress(OSError):
                self._stream.close()
        self._part = self._stream = None
