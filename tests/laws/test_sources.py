"""Every source keeps the laws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb.connectors import make_source
from dataflare_nb.testing import Feed, check_source
from dataflare_nb.types import EventTime, Source

WORDS = ["a", None, "ü,", 'q"q', "x y"]
ROWS = pl.DataFrame({"id": range(41), "word": [WORDS[n % 5] for n in range(41)], "x": [n / 8 for n in range(41)]})
WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "parquet": lambda frame, path: frame.write_parquet(path, row_group_size=10),
    "csv": lambda frame, path: frame.write_csv(path),
    "ndjson": lambda frame, path: frame.write_ndjson(path),
    "ipc": lambda frame, path: frame.write_ipc(path, record_batch_size=10),
}


class Walking:
    """A clock that takes a step each time somebody looks."""

    def __init__(self) -> None:
        self._now = 0

    def now(self) -> EventTime:
        self._now += 50_000
        return EventTime(self._now)


def source(name: str, blobs: dict[str, Any] | None = None, **options: Any) -> Callable[[], Source]:
    return lambda: make_source(name, options, blobs or {}, clock=Walking())


def test_frames_keep_the_laws():
    check_source(source("frame", {"f": ROWS}, frame="f"))
    check_source(source("frame", {"f": ROWS, "g": ROWS.head(0), "h": ROWS.tail(3)}, frames=["f", "g", "h"]))


@pytest.mark.parametrize("splits", ["file", "sequence"])
@pytest.mark.parametrize("name", WRITERS)
def test_files_keep_the_laws(tmp_path, name, splits):
    for number, rows in enumerate((23, 18, 1)):
        WRITERS[name](ROWS.head(rows), tmp_path / f"part_{number}.{name}")
    check_source(source(name, path=str(tmp_path), splits=splits))


@pytest.mark.parametrize("name", WRITERS)
def test_some_columns_of_a_file_keep_the_laws(tmp_path, name):
    WRITERS[name](ROWS, tmp_path / f"one.{name}")
    check_source(source(name, path=str(tmp_path / f"one.{name}"), columns=["x", "id"]))


@pytest.mark.parametrize("splits", ["file", "sequence"])
@pytest.mark.parametrize(
    ("name", "good", "bad", "head"),
    [
        ("csv", "{n},1.5\n", "{n},one and a half\n", "id,x\n"),
        ("ndjson", '{{"id":{n},"x":1.5}}\n', '{{"id":{n},"x":\n', ""),
    ],
)
def test_files_with_malformed_rows_keep_the_laws(tmp_path, name, good, bad, head, splits):
    for part in (0, 1):
        lines = [(bad if n % 7 == 3 or n > 25 else good).format(n=n) for n in range(30)]
        (tmp_path / f"part_{part}.{name}").write_text(head + "".join(lines))
    options = {"schema": {"id": "Int64", "x": "Float64"}, "on_error": "dead_letter", "splits": splits}
    check_source(source(name, path=str(tmp_path), **options))


def test_a_rate_keeps_the_laws():
    check_source(source("rate", rows_per_second=100.0, rows=50))
    check_source(source("rate", rows_per_second=3.0, rows=7, splits=3, seed=5))


def test_a_script_keeps_the_laws():
    feed = Feed(ROWS.schema, splits=["a", "b"], bounded=True)
    feed.give(ROWS).give(ROWS.head(0)).give(ROWS.tail(2)).give(ROWS.tail(1), split="b").end()
    check_source(source("script", {"f": feed}, buffer="f"))
