"""Where the things are that a Polars, pandas or Spark user looks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import nearest

_WINDOW = "key_by(...).window(...).agg(...)"
_SHOW = "collect() for all rows, or flare.table(...) to watch them"
_TABLE = "map_batches(lambda batch: batch.join(table, ...)) to look rows up in a frame; two streams are not joined"

_OF_A_STREAM = {
    "group_by": _WINDOW,
    "groupby": _WINDOW,
    "groupBy": _WINDOW,
    "group_by_dynamic": "window(flare.tumbling('1h')) or window(flare.hopping('1h', every='5m'))",
    "rolling": "window(flare.hopping('1h', every='5m'))",
    "count": _WINDOW,
    "sum": _WINDOW,
    "mean": _WINDOW,
    "min": _WINDOW,
    "max": _WINDOW,
    "where": "filter",
    "assign": "with_columns",
    "withColumn": "with_columns",
    "withWatermark": "event_time",
    "drop_nulls": "filter(pl.col(...).is_not_null())",
    "dropna": "filter(pl.col(...).is_not_null())",
    "fill_null": "with_columns(pl.col(...).fill_null(...))",
    "fillna": "with_columns(pl.col(...).fill_null(...))",
    "join": _TABLE,
    "merge": _TABLE,
    "sink_parquet": "write_parquet",
    "sink_csv": "write_csv",
    "sink_ipc": "write_ipc",
    "sink_ndjson": "write_ndjson",
    "collect_schema": "schema",
    "concat": "union",
    "map": "map_batches or @flare.udf",
    "apply": "map_batches or @flare.udf",
    "foreachBatch": "for_each_batch",
    "sort": "collect().sort(...): a stream has no last row",
    "head": "collect().head(...), or job.peek(...) of a live one",
    "limit": "collect().head(...), or job.peek(...) of a live one",
    "tail": "collect().tail(...), or job.peek(...) of a live one",
    "unique": "key_by(...).window(...).agg(pl.all().first())",
    "show": _SHOW,
    "print": _SHOW,
    "to_pandas": "collect().to_pandas()",
    "to_polars": "collect()",
    "load": "flare.load(folder)",
    "from_json": "flare.load(Graph.from_json(...))",
}
_OF_THE_PACKAGE = {
    "sliding": "hopping('1h', every='5m')",
    "rolling": "hopping('1h', every='5m')",
    "concat": "one.union(other)",
    "union": "one.union(other)",
    "read_json": "read_ndjson, which reads an object from each line",
    "scan_csv": "read_csv",
    "scan_ipc": "read_ipc",
    "scan_ndjson": "read_ndjson",
    "scan_parquet": "read_parquet",
    "from_json": "load, which reads what Stream.save wrote",
    "from_arrow": "from_frame",
    "from_dict": "from_frame(pl.DataFrame(...))",
    "from_dicts": "from_frame(pl.DataFrame(...))",
    "from_pandas": "from_frame",
    "from_polars": "from_frame",
    "col": "pl.col, of Polars",
    "lit": "pl.lit, of Polars",
    "len": "pl.len, of Polars",
}


def hint(name: str, known: Iterable[str]) -> str:
    """Say what to use for a method that a stream does not have.

    >>> hint("sort", [])
    ' Use collect().sort(...): a stream has no last row.'
    """
    return _hint(name, known, _OF_A_STREAM)


def package_hint(name: str, known: Iterable[str]) -> str:
    """Say what to use for a name that the package does not have.

    >>> package_hint("sliding", [])
    " Use hopping('1h', every='5m')."
    """
    return _hint(name, known, _OF_THE_PACKAGE)


def _hint(name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f" Use {elsewhere[name]}."
    return nearest(name, [each for each in known if not each.startswith("_")])
