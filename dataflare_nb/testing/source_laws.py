"""The laws that every source keeps."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import polars as pl

from ..types import Batch, EndOfStream, Json, Reader, Schema, Source
from .rows import LawBroken, assert_same_rows

MOST_EMPTY = 10_000


def check_source(make: Callable[[], Source], *, most_resumes: int = 40) -> None:
    """Prove the laws for a bounded source; raise LawBroken that names the law and the rows that differ.

    * **polls**: a poll gives at most `max_rows` rows, in the schema of the source; any sizes give the same rows in the
      same order, and the same malformed ones.
    * **resume**: a new reader of a new source, opened with an offset that has been through JSON, goes on after the
      last row returned, wherever that is (tried at up to `most_resumes` places of a split).
    * **end**: `EndOfStream` comes again and again, and a reader opened at the end is at the end.
    * **splits**: they are named the same each time, and do not disturb each other.
    * **close**: twice is harmless, and early too.

    `make` returns a new source over the same rows each time. A source that waits for its clock needs one that moves.
    """
    source = make()
    if not source.bounded:
        raise LawBroken("check_source reads to the end, and this source says that it has none")
    names = list(source.splits())
    if names != list(source.splits()) or names != list(make().splits()):
        raise LawBroken(f"splits: they are {names} and then {list(source.splits())} or {list(make().splits())}")
    if len(set(names)) < len(names):
        raise LawBroken(f"splits: a name is there twice: {names}")
    whole = {name: _read(make(), name, _always(1 << 16)) for name in names}
    dice = random.Random(1)
    for name in names:
        ways = {"one row at a time": _always(1), "7 rows at a time": _always(7)}
        ways["polls of 1 to 9 rows"] = iter(lambda: dice.randint(1, 9), 0)
        for way, sizes in ways.items():
            whole[name].same(_read(make(), name, sizes), f"polls: split {name}, {way}")
        _resume(make, name, whole[name], most_resumes)
    _together(make(), whole)
    told = make().total_rows()
    rows = sum(read.rows.height for read in whole.values())
    malformed = sum(read.rejected.height for read in whole.values())
    if told is not None and not rows <= told <= rows + malformed:
        raise LawBroken(f"polls: total_rows says {told}, and there are {rows} rows and {malformed} malformed ones")


@dataclass
class _Read:
    """What a reader gave."""

    schema: Schema
    invalid: Schema
    batches: list[Batch] = field(default_factory=list)
    bad: list[Batch] = field(default_factory=list)

    @property
    def rows(self) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=self.schema), *self.batches])

    @property
    def rejected(self) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=self.invalid), *self.bad])

    def same(self, other: _Read, law: str) -> None:
        assert_same_rows(other.rows, self.rows, law, ordered=True)
        assert_same_rows(other.rejected, self.rejected, f"{law}, malformed rows")

    def poll(self, reader: Reader, size: int) -> bool:
        """Take one poll; tell whether there may be more."""
        try:
            batch = reader.poll(size)
        except EndOfStream:
            self._take_rejected(reader)
            return False
        if batch.height > size:
            raise LawBroken(f"polls: {batch.height} rows came when at most {size} were asked for")
        if batch.schema != self.schema:
            raise LawBroken(f"polls: a batch has {dict(batch.schema)} instead of the source's {dict(self.schema)}")
        self.batches.append(batch)
        self._take_rejected(reader)
        return True

    def _take_rejected(self, reader: Reader) -> None:
        bad = reader.rejected()
        if bad is not None:
            self.bad.append(bad)


def _new(source: Source) -> _Read:
    return _Read(source.schema, source.invalid_schema or Schema())


def _read(source: Source, split: str, sizes: Iterator[int], offset: Json | None = None) -> _Read:
    """Read a split to its end."""
    reader = source.open(split, offset)
    got = _new(source)
    empty = 0
    while got.poll(reader, next(sizes)):
        empty = 0 if got.batches[-1].height else empty + 1
        if empty > MOST_EMPTY:
            raise LawBroken(f"end: split {split} has given nothing {MOST_EMPTY} times and has not ended")
    _at_end(reader, split)
    reader.close()
    reader.close()
    return got


def _at_end(reader: Reader, split: str) -> None:
    for _ in range(2):
        try:
            batch = reader.poll(10)
        except EndOfStream:
            continue
        raise LawBroken(f"end: after EndOfStream split {split} gave {batch.height} more rows")


def _resume(make: Callable[[], Source], split: str, whole: _Read, most: int) -> None:
    size = max(1, whole.rows.height // most)
    source = make()
    reader = source.open(split)
    head = _new(source)
    more = True
    while more:
        offset: Json = json.loads(json.dumps(reader.offset()))
        at = f"resume: split {split}, after {head.rows.height} rows"
        tail = _read(make(), split, _always(3), offset)
        tail.batches, tail.bad = [*head.batches, *tail.batches], [*head.bad, *tail.bad]
        whole.same(tail, at)
        more = head.poll(reader, size)
    ended: Json = json.loads(json.dumps(reader.offset()))
    reader.close()
    after = _read(make(), split, _always(10), ended)
    if after.rows.height:
        raise LawBroken(f"end: a reader of {split} opened at its end gives {after.rows.height} rows")
    early = make().open(split)
    early.close()
    early.close()


def _together(source: Source, whole: dict[str, _Read]) -> None:
    """Read all splits of one source in turns."""
    readers = {name: source.open(name) for name in whole}
    reads = {name: _new(source) for name in whole}
    going = set(whole)
    while going:
        going = {name for name in sorted(going) if reads[name].poll(readers[name], 5)}
    for name, read in reads.items():
        readers[name].close()
        whole[name].same(read, f"splits: split {name}, read in turns with the others")


def _always(size: int) -> Iterator[int]:
    while True:
        yield size
