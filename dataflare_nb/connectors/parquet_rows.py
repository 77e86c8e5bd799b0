"""Read Parquet a few pages at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ..errors import SourceError
from ..lazy import lazy
from ..types import Batch, Json, Schema
from .frame import require_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa = lazy("pyarrow")
    pq = lazy("pyarrow.parquet")

_BATCH_ROWS = 65_536
_PAGE_BUFFER = 1 << 20


class ParquetRows:
    """Parquet files, streamed through a small buffer, so that a row group need not fit in memory."""

    lenient = False

    def schema(self, file: str) -> Schema:
        with _open(file) as parquet:
            return _schema(file, parquet)

    def rows(self, file: str) -> int | None:
        with _open(file) as parquet:
            return int(parquet.metadata.num_rows)

    def grows(self, file: str) -> bool:
        return False

    def start(self, file: str, schema: Schema) -> Json | None:
        return {"row": 0}

    def open(self, file: str, schema: Schema, columns: Sequence[str], offset: Json) -> ParquetCursor:
        return ParquetCursor(file, schema, columns, offset["row"])


class ParquetCursor:
    """One Parquet file. The offset is the row in the file; resuming skips whole row groups unread."""

    def __init__(self, file: str, schema: Schema, columns: Sequence[str], row: int) -> None:
        self._file = file
        self._parquet = _open(file)
        require_schema(file, _schema(file, self._parquet), schema)
        self._row = row
        self._columns = list(columns)
        self._wanted = pl.Schema({name: schema[name] for name in columns})
        self._frame = pl.DataFrame(schema=self._wanted)
        groups, skip = self._groups_from(row)
        self._batches = self._iterate(groups, skip)

    def read(self, max_rows: int) -> Batch | None:
        while self._frame.is_empty():
            frame = next(self._batches, None)
            if frame is None:
                return None
            self._frame = frame
        batch, self._frame = self._frame.head(max_rows), self._frame.slice(max_rows)
        self._row += batch.height
        return batch

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        return {"row": self._row}

    def close(self) -> None:
        self._batches = iter(())
        self._parquet.close(force=True)

    def _groups_from(self, row: int) -> tuple[list[int], int]:
        metadata = self._parquet.metadata
        skip = row
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if skip < rows:
                return list(range(group, metadata.num_row_groups)), skip
            skip -= rows
        return [], 0

    def _iterate(self, groups: list[int], skip: int) -> Iterator[pl.DataFrame]:
        if not groups:
            return
        try:
            for arrow in self._parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=self._columns):
                frame = pl.DataFrame(arrow).select(self._columns)
                yield frame.slice(skip)
                skip = max(0, skip - frame.height)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{self._file} cannot be read near row {self._row}: {error}") from error


def _open(file: str) -> Any:
    try:
        return pq.ParquetFile(file, buffer_size=_PAGE_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file} is not a Parquet file that can be read: {error}") from error


def _schema(file: str, parquet: Any) -> Schema:
    try:
        return pl.DataFrame(parquet.schema_arrow.empty_table()).schema
    except (pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise SourceError(f"{file} has a column type that cannot be streamed: {error}") from error
