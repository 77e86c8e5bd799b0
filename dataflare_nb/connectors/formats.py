"""The file formats: how each is named, read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Literal

from ..types import Schema
from .csv_rows import CsvOptions, CsvRows
from .file_sink import FileSinkOptions
from .files import FileOptions, RowFormat
from .ipc_rows import IpcRows
from .ndjson_rows import NdjsonOptions, NdjsonRows
from .options import Char
from .parquet_rows import ParquetRows
from .parts import CsvPart, IpcPart, NdjsonPart, ParquetPart, Part


class ParquetSinkOptions(FileSinkOptions, frozen=True, kw_only=True):
    """Options of the `parquet` sink."""

    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] = "zstd"


class IpcSinkOptions(FileSinkOptions, frozen=True, kw_only=True):
    """Options of the `ipc` sink."""

    compression: Literal["zstd", "lz4"] | None = None


class CsvSinkOptions(FileSinkOptions, frozen=True, kw_only=True):
    """Options of the `csv` sink."""

    include_header: bool = True
    separator: Char = ","


class NdjsonSinkOptions(FileSinkOptions, frozen=True, kw_only=True):
    """Options of the `ndjson` sink."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format. `flat` formats hold no nested column, `text` formats can be joined byte by byte."""

    name: str
    suffixes: tuple[str, ...]
    read_options: type[FileOptions]
    write_options: type[FileSinkOptions]
    reader: Callable[[Any], RowFormat]
    part: Callable[[IO[bytes], Schema, Any, bool], Part]
    flat: bool = False
    text: bool = False


PARQUET = Format(
    "parquet",
    (".parquet",),
    FileOptions,
    ParquetSinkOptions,
    lambda options: ParquetRows(),
    lambda stream, schema, options, first: ParquetPart(stream, schema, options.compression),
)
CSV = Format(
    "csv",
    (".csv", ".csv.gz"),
    CsvOptions,
    CsvSinkOptions,
    CsvRows,
    lambda stream, schema, options, first: CsvPart(
        stream, schema, header=options.include_header and first, separator=options.separator
    ),
    flat=True,
    text=True,
)
NDJSON = Format(
    "ndjson",
    (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz"),
    NdjsonOptions,
    NdjsonSinkOptions,
    NdjsonRows,
    lambda stream, schema, options, first: NdjsonPart(stream),
    text=True,
)
IPC = Format(
    "ipc",
    (".arrow", ".ipc", ".feather"),
    FileOptions,
    IpcSinkOptions,
    lambda options: IpcRows(),
    lambda stream, schema, options, first: IpcPart(stream, schema, options.compression),
)
