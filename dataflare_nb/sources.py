"""Where streams begin: files, frames and generators."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from . import dtypes, plugin_steps, storing
from .connectors.frame import as_frame
from .connectors.registry import make_source, source_options
from .errors import BadOption, GraphError, WrongType, listing, located, shown
from .graph import Graph, fingerprint, node
from .plugin_steps import PluginLike
from .signature import held
from .stream import Stream

Paths = str | Path | Sequence[str | Path]


@held
def read(source: str, *, blobs: Mapping[str, Any] | None = None, **options: Any) -> Stream:
    """Read from a registered source by its name. `blobs` holds what its options name.

    >>> read("rate", rows_per_second=10.0, rows=5).columns
    ['value', 'timestamp']
    """
    return _read(f"read {source}", source, options, blobs or {})


@held
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
    as one. `watch=True` follows the folder or glob for new files, for ever. A file must come in whole: write it under a
    name that begins with a dot and rename it, or what is written after a pause is not read, and the log warns of it.
    """
    return _files("parquet", path, columns=columns, splits=splits, watch=watch, watch_interval=watch_interval)


@held
def read_ipc(
    path: Paths,
    *,
    columns: Sequence[str] | None = None,
    splits: Literal["file", "sequence"] = "file",
    watch: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read Arrow IPC (Feather) files, record batch by record batch; the options are those of `read_parquet`.

    With `watch=True` files must be renamed in whole, as there.
    """
    return _files("ipc", path, columns=columns, splits=splits, watch=watch, watch_interval=watch_interval)


@held
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
    follow: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read CSV files in pieces. The types come from the first `infer_rows` rows of the first file, or from `schema`.

    A row that cannot be read fails the job with file, line and column, or goes to `.invalid` with
    `on_error="dead_letter"`. Paths, `splits` and `watch` are as in `read_parquet`: a watched file must come in whole.

    `try_parse_dates=True` makes times of a column in which all of those first rows are times. Where some may be none,
    say the type: `schema_overrides={"at": pl.Datetime("us")}` with `on_error="dead_letter"`.

    `follow=True` reads logs: new files as they come, and all of them on as they grow, each record once its line end is
    there. A file that is cut off or replaced, which cannot be read on, is named in the log and counted; one that is
    renamed is a new file, so give logs that rotate a name with their date. Compressed files are read once.
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
        follow=follow,
        watch_interval=watch_interval,
    )


@held
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
    follow: bool = False,
    watch_interval: str = "200ms",
) -> Stream:
    """Read files of one JSON object per line; the options are those of `read_csv`, `follow` among them."""
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
        follow=follow,
        watch_interval=watch_interval,
    )


@held
def read_wasm(plugin: PluginLike, *, splits: Sequence[str] | None = None, bounded: bool = True) -> Stream:
    """Read from a Source plugin: a `plugin.json`, the same as a dict, or a `Plugin`.

    Each split is an instance of its own, which finds its name as `split` in its config. `splits` goes before the list
    of that name in the plugin's config; without either there is one. Say `bounded=False` of a plugin that never ends.
    """
    item, blobs = plugin_steps.read_wasm(plugin, splits, bounded)
    graph, head = Graph().add(item, blobs)
    return Stream(graph, head)


@held
def from_frame(frame: Any) -> Stream:
    """Stream a frame that is already in memory: Polars, pandas, pyarrow, DuckDB, or anything that speaks Arrow.

    >>> from_frame(pl.DataFrame({"a": [1, 2]})).filter(pl.col("a") > 1).collect()["a"].to_list()
    [2]
    """
    with located("from_frame"):
        # Frames can be changed in place, and this one is the user's.
        table = _with_columns(as_frame(frame)).clone()
        key = fingerprint.of_frame(table)
        return _read("from_frame", "frame", {"frame": key}, {key: table})


@held
def from_frames(frames: Iterable[Any]) -> Stream:
    """Stream several frames of one schema, each a split with a watermark of its own.

    >>> from_frames([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})]).collect().height
    2
    """
    with located("from_frames"):
        if isinstance(frames, pl.DataFrame | str) or not isinstance(frames, Iterable):
            raise WrongType(f"several frames are needed, such as a list, not {type(frames).__name__}")
        tables = [_with_columns(as_frame(frame)).clone() for frame in frames]
        if not tables:
            raise BadOption("there is no frame; a stream needs at least one for its schema")
        keys = [f"{fingerprint.of_frame(table)}-{number}" for number, table in enumerate(tables)]
        return _read("from_frames", "frame", {"frames": keys}, dict(zip(keys, tables, strict=True)))


@held
def rate(rows_per_second: float = 1.0, *, rows: int | None = None, splits: int = 1, seed: int | None = None) -> Stream:
    """Make rows at a steady rate, with `value` and `timestamp`: for trying things out. Without `rows`, for ever.

    >>> rate(1000.0, rows=3).collect()["value"].to_list()
    [0, 1, 2]
    """
    options = {"rows_per_second": rows_per_second, "rows": rows, "splits": splits, "seed": seed}
    return _read("rate", "rate", options, {})


@held
def load(saved: str | Path | Graph, *, output: str | None = None, blobs: str | Path | None = None) -> Stream:
    """Return the stream that `Stream.save` wrote into a folder, that of a graph document, or that of a `Graph`.

    `output` says which stage it is where a graph has several outputs, or names a side output: `"hourly.late"`. For a
    document by itself `blobs` is the folder with the functions, plugins and frames that it names.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     from_frame(pl.DataFrame({"a": [1, 2]})).filter(pl.col("a") > 1).save(folder)
    ...     load(folder).collect()["a"].to_list()
    [2]
    """
    with located("load"):
        graph = saved if isinstance(saved, Graph) else _stored(saved, blobs)
        outputs = graph.outputs()
        if output is None and len(outputs) != 1:
            which = f"say which, as output={outputs[0]!r}" if outputs else "there is nothing to run"
            raise BadOption(f"the graph has {len(outputs)} outputs, {listing(outputs)}; {which}")
        ref = outputs[0] if output is None else output
        graph.edge(ref)
        return Stream(graph.upstream([ref]), ref)


def _stored(saved: Any, blobs: str | Path | None) -> Graph:
    if not isinstance(saved, str | os.PathLike):
        way = "; Graph.from_json(document, blobs) reads one" if isinstance(saved, bytes) else ""
        raise WrongType(f"{shown(saved)} is not the path of a saved stream or a Graph{way}")
    try:
        return storing.read(Path(saved), Path(blobs) if blobs is not None else None)
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise GraphError(f"{told}; Stream.save(folder) writes what is loaded") from None


def _with_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Refuse a frame of no columns, in which rows could not be told from none."""
    if not frame.width:
        rows = f", though {frame.height} rows" if frame.height else ""
        raise BadOption(f"the frame has no columns{rows}; a stream needs at least one, such as frame.with_row_index()")
    return frame


def _files(source: str, path: Paths, **options: Any) -> Stream:
    paths = os.fspath(path) if isinstance(path, str | os.PathLike) else [os.fspath(each) for each in path]
    return _read(f"read_{source}", source, {"path": paths, **options}, {})


def _read(step: str, source: str, options: Mapping[str, Any], blobs: Mapping[str, Any]) -> Stream:
    with located(step) as where:
        checked = source_options(source, options)
        made = make_source(source, checked, blobs)
        item = node.Read(
            source=source,
            options=checked,
            schema=dtypes.to_json(made.schema),
            bounded=made.bounded,
            invalid_schema=dtypes.to_json(made.invalid_schema) if made.invalid_schema is not None else None,
            where=where,
        )
        graph, head = Graph().add(item, blobs)
        return Stream(graph, head)
