"""Drive sources and sinks the way an engine does."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from dataflare_nb.clock import ManualClock
from dataflare_nb.types import Batch, Clock, EndOfStream, EventTime, Json, Reader, Sink, Source

NEVER_ENDS = 10_000


class Lent:
    """A context as a host would lend it."""

    def __init__(self, node_id: str = "sink-1", restored: bool | None = None) -> None:
        self.node_id = node_id
        self.watermark = EventTime(0)
        self.clock: Clock = ManualClock()
        self.counts: dict[str, int] = {}
        if restored is not None:
            self.restored = restored

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by


def library(name: str) -> ModuleType:
    """Import an optional library; without it skip, unless everything is required."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("DATAFLARE_REQUIRE_ALL") == "1":
            pytest.fail(f"{name} is required and not installed")
        pytest.skip(f"{name} is not installed")


def polls(reader: Reader, cuts: Iterable[int] = ()) -> tuple[list[Batch], list[Batch]]:
    """Read to the end; the sizes asked for come from `cuts`, then 1000 at a time."""
    rows: list[Batch] = []
    rejected: list[Batch] = []
    sizes = iter(cuts)
    with closing(reader):
        for _ in range(NEVER_ENDS):
            size = next(sizes, 1_000)
            try:
                batch = reader.poll(size)
            except EndOfStream:
                return rows, rejected
            assert batch.height <= size
            rows.append(batch)
            if (bad := reader.rejected()) is not None:
                rejected.append(bad)
    raise AssertionError("the reader does not end")


def read(source: Source, split: str | None = None, cuts: Iterable[int] = ()) -> pl.DataFrame:
    """Return all rows of a split, or of all splits one after the other."""
    splits = [split] if split is not None else source.splits()
    frames = [frame for name in splits for frame in polls(source.open(name), cuts)[0]]
    return pl.concat(frames) if frames else pl.DataFrame(schema=source.schema)


def rejects(source: Source, cuts: Iterable[int] = ()) -> pl.DataFrame:
    """Return the malformed rows of all splits."""
    frames = [frame for name in source.splits() for frame in polls(source.open(name), cuts)[1]]
    assert source.invalid_schema is not None
    return pl.concat(frames) if frames else pl.DataFrame(schema=source.invalid_schema)


def read_resumed(make: Callable[[], Source], split: str, cuts: list[int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read like `read`, but with a new source and reader, by way of JSON, after every poll."""
    offset: Json | None = None
    rows: list[Batch] = []
    rejected: list[Batch] = []
    sizes = iter(cuts)
    source = make()
    for _ in range(NEVER_ENDS):
        reader = make().open(split, offset)
        try:
            rows.append(reader.poll(next(sizes, 1_000)))
        except EndOfStream:
            break
        finally:
            if (bad := reader.rejected()) is not None:
                rejected.append(bad)
            offset = json.loads(json.dumps(reader.offset()))
            reader.close()
    empty = [pl.DataFrame(schema=source.invalid_schema or {})]
    return pl.concat(rows or [pl.DataFrame(schema=source.schema)]), pl.concat(rejected or empty)


def put(sink: Sink, *epochs: list[Batch], schema: pl.Schema | None = None, node_id: str = "sink-1") -> None:
    """Write and commit epochs."""
    writer = sink.open(Lent(node_id), schema or epochs[0][0].schema)
    for epoch, batches in enumerate(epochs, start=1):
        for batch in batches:
            writer.write(batch)
        writer.commit(epoch, json.loads(json.dumps(writer.prepare(epoch))))
    writer.close()


def shown(folder: Any) -> list[str]:
    """List what a reader of a folder would see."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def hidden(folder: Any) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith("."))
