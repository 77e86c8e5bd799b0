"""Write one file of each format, batch by batch."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Protocol

import polars as pl

from ..dtypes import short
from ..errors import SinkError
from ..lazy import lazy
from ..types import Batch, Schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa = lazy("pyarrow")
    pq = lazy("pyarrow.parquet")

_ROW_GROUP_ROWS = 131_072


class Part(Protocol):
    """One file being written. The stream stays the caller's to sync and close."""

    def write(self, batch: Batch) -> None: ...
    def finish(self) -> None:
        """Write what the format wants at the end."""
        ...

    def discard(self) -> None:
        """Let go without raising; the file will be removed."""
        ...


class ParquetPart:
    """Gathers batches to row groups of a useful size."""

    def __init__(self, stream: IO[bytes], schema: Schema, compression: str) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(stream, arrow_schema(schema), compression=compression)
        self._frames: list[pl.DataFrame] = []
        self._height = 0

    def write(self, batch: Batch) -> None:
        self._frames.append(batch)
        self._height += batch.height
        if self._height >= _ROW_GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def discard(self) -> None:
        self._frames, self._height = [], 0
        with suppress(OSError, pa.ArrowException):
            self._writer.close()

    def _flush(self) -> None:
        if self._height:
            table = arrow_table(pl.concat(self._frames), self._writer.schema)
            self._writer.write_table(table, row_group_size=max(self._height, 1))
        self._frames, self._height = [], 0


class IpcPart:
    """A record batch for each batch."""

    def __init__(self, stream: IO[bytes], schema: Schema, compression: str | None) -> None:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._schema = arrow_schema(schema)
        self._writer = pa.ipc.new_file(stream, self._schema, options=options)

    def write(self, batch: Batch) -> None:
        for record_batch in arrow_table(batch.rechunk(), self._schema).to_batches():
            self._writer.write_batch(record_batch)

    def finish(self) -> None:
        self._writer.close()

    def discard(self) -> None:
        with suppress(OSError, pa.ArrowException):
            self._writer.close()


class CsvPart:
    """A header, if wanted, then rows."""

    def __init__(self, stream: IO[bytes], schema: Schema, *, header: bool, separator: str) -> None:
        self._stream = stream
        self._separator = separator
        if header:
            self._put(pl.DataFrame(schema=schema), header=True)

    def write(self, batch: Batch) -> None:
        self._put(batch, header=False)

    def finish(self) -> None:
        return None

    def discard(self) -> None:
        return None

    def _put(self, frame: pl.DataFrame, *, header: bool) -> None:
        text = io.BytesIO()
        frame.write_csv(text, include_header=header, separator=self._separator)
        self._stream.write(text.getbuffer())


class NdjsonPart:
    """An object a row."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, batch: Batch) -> None:
        if not batch.is_empty():
            text = io.BytesIO()
            batch.write_ndjson(text)
            self._stream.write(text.getbuffer())

    def finish(self) -> None:
        return None

    def discard(self) -> None:
        return None


def arrow_schema(schema: Schema) -> Any:
    """Return the Arrow schema that other programs read; string views are too new for some."""
    return pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema


def arrow_table(frame: pl.DataFrame, schema: Any) -> Any:
    """Return rows in exactly that Arrow schema."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table if table.schema.equals(schema) else table.cast(schema)


def require_writable(place: str, schema: Schema, *, text: bool, flat: bool) -> None:
    """Raise `SinkError` that names every column the format cannot hold."""
    bad = [
        f"column `{name}` is {short(dtype)}"
        for name, dtype in schema.items()
        if (flat and (dtype.is_nested() or dtype == pl.Duration))
        or dtype == pl.Object
        or (text and dtype == pl.Binary)
        or (not text and dtype in (pl.Int128, pl.UInt128))
    ]
    if bad:
        raise SinkError(
            f"{place} cannot hold this stream: {'; '.join(bad)}. Convert it first, or "
            + ("write Parquet" if text else "cast it to Int64 or String")
        )
