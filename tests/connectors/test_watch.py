"""Folders that fill up while they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.clock import ManualClock
from dataflare_nb.connectors import make_source
from dataflare_nb.connectors.files import FileSource
from dataflare_nb.errors import SourceError
from dataflare_nb.types import Source

from .helpers import read

TICK = 200_000
SCHEMA = {"a": pl.Int64}


def drop(path: Path, *rows: int) -> None:
    pl.DataFrame({"a": rows}, schema=SCHEMA).write_csv(path)


def watching(path: Path, clock: ManualClock, **options: object) -> Source:
    return make_source("csv", {"path": path, "watch": True, "schema": SCHEMA, **options}, clock=clock)


def names(source: Source) -> list[str]:
    return [os.path.basename(split) for split in source.splits()]


def test_new_files_become_splits_when_two_looks_agree(tmp_path: Path) -> None:
    clock = ManualClock()
    drop(tmp_path / "b.csv", 1)
    source = watching(tmp_path, clock)
    assert not source.bounded
    assert source.total_rows() is None
    assert names(source) == []
    clock.advance(TICK)
    assert names(source) == ["b.csv"]
    drop(tmp_path / "c.csv", 2)
    drop(tmp_path / "a.csv", 3)
    clock.advance(TICK)
    assert names(source) == ["b.csv"]
    clock.advance(TICK)
    assert names(source) == ["b.csv", "a.csv", "c.csv"]
    assert read(source, str(tmp_path / "c.csv"))["a"].to_list() == [2]


def test_the_folder_is_not_looked_at_more_often_than_asked(tmp_path: Path) -> None:
    clock = ManualClock()
    source = watching(tmp_path, clock, watch_interval="1s")
    drop(tmp_path / "a.csv", 1)
    for _ in range(9):
        clock.advance(100_000)
        assert names(source) == []
    clock.advance(100_000)
    assert names(source) == []
    clock.advance(1_000_000)
    assert names(source) == ["a.csv"]


def test_a_file_that_grows_waits(tmp_path: Path) -> None:
    clock = ManualClock()
    source = watching(tmp_path, clock)
    with (tmp_path / "a.csv").open("w") as file:
        file.write("a\n")
        for row in range(3):
            file.write(f"{row}\n")
            file.flush()
            clock.advance(TICK)
            assert names(source) == []
    drop(tmp_path / ".hidden.csv", 1)
    drop(tmp_path / "_b.csv", 1)
    clock.advance(TICK)
    assert names(source) == ["a.csv"]
    assert read(source)["a"].to_list() == [0, 1, 2]


def test_a_sequence_waits_for_more_and_resumes_without_reading_twice(tmp_path: Path) -> None:
    clock = ManualClock()
    drop(tmp_path / "b.csv", 1, 2, 3)
    source = watching(tmp_path, clock, splits="sequence")
    assert source.splits() == ["sequence"]
    reader = source.open("sequence")
    assert reader.poll(10).is_empty()
    clock.advance(TICK)
    assert reader.poll(2)["a"].to_list() == [1, 2]
    offset = json.loads(json.dumps(reader.offset()))
    reader.close()

    reader = watching(tmp_path, clock, splits="sequence").open("sequence", offset)
    assert reader.poll(10)["a"].to_list() == [3]
    drop(tmp_path / "a.csv", 4)
    polled = []
    for _ in range(4):
        clock.advance(TICK)
        polled += reader.poll(10)["a"].to_list()
    assert polled == [4]
    reader.close()


def test_a_glob_can_be_watched_and_need_not_match_yet(tmp_path: Path) -> None:
    clock = ManualClock()
    source = watching(tmp_path / "in" / "x*.csv", clock)
    (tmp_path / "in").mkdir()
    drop(tmp_path / "in" / "x1.csv", 1)
    drop(tmp_path / "in" / "y1.csv", 1)
    for _ in range(2):
        clock.advance(TICK)
        source.splits()
    assert names(source) == ["x1.csv"]


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "ipc"])
def test_an_empty_folder_needs_a_schema(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match="schema="):
        make_source(kind, {"path": tmp_path, "watch": True})
    assert make_source(kind, {"path": tmp_path, "watch": True, "schema": SCHEMA}).schema == SCHEMA


def test_an_empty_file_is_taken_up_when_it_is_filled(tmp_path: Path) -> None:
    clock = ManualClock()
    source = watching(tmp_path, clock)
    (tmp_path / "a.csv").touch()
    for _ in range(4):
        clock.advance(TICK)
        assert names(source) == []
    drop(tmp_path / "a.csv", 1)
    for _ in range(2):
        clock.advance(TICK)
        source.splits()
    assert read(source)["a"].to_list() == [1]


def test_a_file_that_changes_after_it_was_read_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    drop(tmp_path / "a.csv", 1)
    source = watching(tmp_path, clock)
    assert isinstance(source, FileSource)
    clock.advance(TICK)
    assert names(source) == ["a.csv"]
    for _ in range(3):
        with (tmp_path / "a.csv").open("a") as file:
            file.write("2\n")
        clock.advance(TICK)
        source.splits()
    assert source.counters == {"changed_files": 1}
    assert [record.getMessage().count("a.csv") for record in caplog.records] == [1]
    assert "rename" in caplog.text
