"""Read Arrow IPC files a record batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ..errors import SourceError
from ..lazy import lazy
from ..types import Batch, Json, Schema
from .frame import require_schema

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")


class IpcRows:
    """Arrow IPC files (Feather version 2). A record batch is the least that can be in memory."""

    lenient = False

    def schema(self, file: str) -> Schema:
        raw, ipc = _open(file)
        with raw:
            return _schema(file, ipc)

    def rows(self, file: str) -> int | None:
        return None

    def grows(self, file: str) -> bool:
        return False

    def start(self, file: str, schema: Schema) -> Json | None:
        return {"batch": 0, "row": 0}

    def open(self, file: str, schema: Schema, columns: Sequence[str], offset: Json) -> IpcCursor:
        return IpcCursor(file, schema, columns, offset)


class IpcCursor:
    """One IPC file. The offset is the record batch and the row in it."""

    def __init__(self, file: str, schema: Schema, columns: Sequence[str], offset: Json) -> None:
        self._file = file
        self._columns = list(columns)
        self._raw, self._ipc = _open(file)
        require_schema(file, _schema(file, self._ipc), schema)
        self._batch: int = offset["batch"]
        self._row: int = offset["row"]
        self._frame: pl.DataFrame | None = None

    def read(self, max_rows: int) -> Batch | None:
        while self._batch < self._ipc.num_record_batches:
            if self._frame is None:
                self._frame = self._load()
            if self._row < self._frame.height:
                batch = self._frame.slice(self._row, max_rows)
                self._row += batch.height
                return batch
            self._frame = None
            self._batch, self._row = self._batch + 1, 0
        return None

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        return {"batch": self._batch, "row": self._row}

    def close(self) -> None:
        self._frame = None
        self._raw.close()

    def _load(self) -> pl.DataFrame:
        try:
            return pl.DataFrame(self._ipc.get_batch(self._batch)).select(self._columns)
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(f"{self._file} cannot be read at record batch {self._batch}: {error}") from error


def _open(file: str) -> tuple[Any, Any]:
    try:
        raw = pa.OSFile(file)
        return raw, pa.ipc.open_file(raw)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is not an Arrow IPC file that can be read: {error}") from error


def _schema(file: str, ipc: Any) -> Schema:
    try:
        return pl.DataFrame(ipc.schema.empty_table()).schema
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{file} has a column type that cannot be streamed: {error}") from error
