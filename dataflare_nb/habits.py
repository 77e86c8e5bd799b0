"""Where the things are that a Polars, pandas or Spark user looks for."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import nearest

_ELSEWHERE = {
    "group_by": "key_by(...).window(...).agg(...)",
    "groupby": "key_by(...).window(...).agg(...)",
    "group_by_dynamic": "window(flare.tumbling('1h')) or window(flare.hopping('1h', every='5m'))",
    "rolling": "window(flare.hopping('1h', every='5m'))",
    "where": "filter",
    "sink_parquet": "write_parquet",
    "sink_csv": "write_csv",
    "sink_ipc": "write_ipc",
    "sink_ndjson": "write_ndjson",
    "collect_schema": "schema",
    "concat": "union",
    "map": "map_batches or @flare.udf",
    "apply": "map_batches or @flare.udf",
    "sort": "collect().sort(...): a stream has no last row",
    "head": "collect().head(...), or job.peek(...) of a live one",
    "limit": "collect().head(...), or job.peek(...) of a live one",
    "unique": "key_by(...).window(...).agg(pl.all().first())",
}


def hint(name: str, known: Iterable[str]) -> str:
    """Say what to use for a method that a stream does not have.

    >>> hint("sort", [])
    ' Use collect().sort(...): a stream has no last row.'
    """
    if name in _ELSEWHERE:
        return f" Use {_ELSEWHERE[name]}."
    return nearest(name, [each for each in known if not each.startswith("_")])
