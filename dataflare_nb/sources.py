"""Where streams begin: files, frames and generators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from .connectors.frame import as_frame
from .connectors.registry import make_source, source_options
from .errors import BadOption, user_line
from .graph import Graph, dtypes, node
from .stream import Stream

Paths = str | Path | Sequence[str | Path]


def read(source: str, *, blobs: Mapping[str, Any] | None = None, **options: Any) -> Stream:
    """Read from a registered source by its name. `blobs` holds what its options name."""
    where = user_line()
    checked = source_options(source, options)
    made = make_source(source, checked, blobs or {})
    item = node.Read(
        source=source,
        options=checked,
        schema=dtypes.to_json(made.schema),
        bounded=made.bounded,
        invalid_schema=dtypes.to_json(made.invalid_schema) if made.invalid_schema is not None else None,
        where=where,
    )
    graph, head = Graph().add(item, blobs or {})
    return Stream(graph, head)


def read_parquet(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    splits: Literal["file", "sequence"] = "file",
    watch: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read Parquet files, row group by row group: a path, a glob, a folder, or a list of these.

    Each file is a split with a watermark of its own; `splits="sequence"` reads the files in the order of their names
    as one. `watch=True` follows the folder or glob for new files, for ever.
    """
    return _files("parquet", path, columns=columns, splits=splits, watch=watch, watch_interval=watch_interval)


def read_ipc(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    splits: Literal["file", "sequence"] = "file",
    watch: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read Arrow IPC (Feather) files, record batch by record batch; the options are those of `read_parquet`."""
    return _files("ipc", path, columns=columns, splits=splits, watch=watch, watch_interval=watch_interval)


def read_csv(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    schema_overrides: Mapping[str, Any] | None = None,
    infer_rows: int = 1_000,
    on_error: Literal["fail", "dead_letter"] = "fail",
    separator: str = ",",
    quote_char: str | None = '"',
    has_header: bool = True,
    null_values: Sequence[str] | None = None,
    try_parse_dates: bool = False,
    splits: Literal["file", "sequence"] = "file",
    watch: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read CSV files in pieces. The types come from the first `infer_rows` rows of the first file, or from `schema`.

    A row that cannot be read fails the job with file, line and column, or goes to `.invalid` with
    `on_error="dead_letter"`. Paths, `splits` and `watch` are as in `read_parquet`.
    """
    return _files(
        "csv",
        path,
        columns=columns,
        schema=schema,
        schema_overrides=schema_overrides,
        infer_rows=infer_rows,
        on_error=on_error,
        separator=separator,
        quote_char=quote_char,
        has_header=has_header,
        null_values=null_values,
        try_parse_dates=try_parse_dates,
        splits=splits,
        watch=watch,
        watch_interval=watch_interval,
    )


def read_ndjson(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    schema_overrides: Mapping[str, Any] | None = None,
    infer_rows: int = 1_000,
    on_error: Literal["fail", "dead_letter"] = "fail",
    splits: Literal["file", "sequence"] = "file",
    watch: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read files of one JSON object per line; the options are those of `read_csv`."""
    return _files(
        "ndjson",
        path,
        columns=columns,
        schema=schema,
        schema_overrides=schema_overrides,
        infer_rows=infer_rows,
        on_error=on_error,
        splits=splits,
        watch=watch,
        watch_interval=watch_interval,
    )


def from_frame(frame: Any) -> Stream:
    """Stream a frame that is already in memory: Polars, pandas, pyarrow, DuckDB, or anything that speaks Arrow.

    >>> from_frame(pl.DataFrame({"a": [1, 2]})).filter(pl.col("a") > 1).collect()["a"].to_list()
    [2]
    """
    table = as_frame(frame)
    key = _fingerprint(table)
    return read("frame", blobs={key: table}, frame=key)


def from_frames(frames: Iterable[Any]) -> Stream:
    """Stream several frames of one schema, each a split with a watermark of its own."""
    tables = [as_frame(frame) for frame in frames]
    if not tables:
        raise BadOption(f"from_frames at {user_line()} needs at least one frame for its schema")
    keys = [f"{_fingerprint(table)}-{number}" for number, table in enumerate(tables)]
    return read("frame", blobs=dict(zip(keys, tables, strict=True)), frames=keys)


def rate(
    rows_per_second: float = 1.0, *, rows: int | None = None, splits: int = 1, seed: int | None = None
) -> Stream:
    """Make rows at a steady rate, with `value` and `timestamp`: for trying things out. Without `rows`, for ever."""
    return read("rate", rows_per_second=rows_per_second, rows=rows, splits=splits, seed=seed)


def _files(source: str, path: Paths, **options: Any) -> Stream:
    paths = [str(each) for each in path] if isinstance(path, list | tuple) else str(path)
    given = {name: value for name, value in options.items() if value is not None}
    return read(source, path=paths, **given)


_SAMPLED = 1_000_000


def _fingerprint(frame: pl.DataFrame) -> str:
    """Tell one frame from another; of very long ones evenly spaced pieces and the memory they are in."""
    digest = hashlib.sha256(repr((frame.schema, frame.height)).encode())
    if frame.height > _SAMPLED:
        digest.update(str(id(frame)).encode())
        step = frame.height // 64
        frame = pl.concat([frame.slice(start, 256) for start in range(0, frame.height, step)])
    try:
        digest.update(frame.hash_rows(seed=0).to_arrow().buffers()[1].to_pybytes())
    except pl.exceptions.PolarsError:
        digest.update(str(id(frame)).encode())
    return f"frame-{digest.hexdigest()[:12]}"
