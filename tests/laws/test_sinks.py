"""Every sink keeps the laws."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.connectors import MemoryBuffer, make_sink
from dataflare_nb.testing import check_sink
from dataflare_nb.testing.sink_laws import ROWS

READERS = {
    "parquet": pl.read_parquet,
    "csv": lambda path: pl.read_csv(path, schema=ROWS.schema),
    "ndjson": lambda path: pl.read_ndjson(path, schema=ROWS.schema),
    "ipc": pl.read_ipc,
}


def visible(folder: Path, name: str) -> pl.DataFrame:
    """Return what a reader of a folder or file sees."""
    if folder.is_file():
        return READERS[name](folder)
    files = sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    return pl.concat([ROWS.clear(), *(READERS[name](path) for path in files)])


@pytest.mark.parametrize("name", READERS)
def test_folders_keep_the_laws(tmp_path, name):
    def make(place):
        return make_sink(name, {"path": str(tmp_path / place), "mode": "append"})

    check_sink(make, lambda place: visible(tmp_path / place, name), rows=rows_for(name))


@pytest.mark.parametrize("name", READERS)
def test_folders_of_small_parts_keep_the_laws(tmp_path, name):
    def make(place):
        return make_sink(name, {"path": str(tmp_path / place), "mode": "append", "max_rows_per_file": 2})

    check_sink(make, lambda place: visible(tmp_path / place, name), rows=rows_for(name))


@pytest.mark.parametrize("name", READERS)
def test_single_files_keep_the_laws(tmp_path, name):
    def make(place):
        return make_sink(name, {"path": str(tmp_path / f"{place}.{name}"), "mode": "append"})

    check_sink(make, lambda place: visible(tmp_path / f"{place}.{name}", name), rows=rows_for(name))


def test_memory_keeps_the_laws():
    buffers = defaultdict(MemoryBuffer)

    def read_back(place):
        return buffers[place].rows()

    def make(place):
        return make_sink("memory", {"buffer": "b"}, {"b": buffers[place]})

    check_sink(make, read_back, delivery="at_least_once")


def test_for_each_batch_keeps_the_laws():
    seen = defaultdict(list)

    def make(place):
        return make_sink("for_each_batch", {"function": "f"}, {"f": lambda batch, epoch: seen[place].append(batch)})

    check_sink(make, lambda place: pl.concat([ROWS.clear(), *seen[place]]), delivery="at_least_once")


def rows_for(name: str) -> pl.DataFrame:
    """CSV cannot tell an empty text from none."""
    return ROWS.with_columns(pl.col("word").replace("", "-")) if name == "csv" else ROWS
