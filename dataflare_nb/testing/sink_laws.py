"""The laws that every sink keeps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Literal

import polars as pl

from ..clock import ManualClock
from ..types import NEVER, Batch, Clock, EventTime, Json, Sink, Writer
from .rows import LawBroken, assert_same_rows

ROWS = pl.DataFrame(
    {"id": range(12), "word": ["a", None, "ü", "", "b,c", 'd"e', *"fghijk"], "x": [0.5 * n for n in range(12)]}
)


def check_sink(
    make: Callable[[str], Sink],
    read_back: Callable[[str], pl.DataFrame],
    *,
    rows: pl.DataFrame = ROWS,
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once",
) -> None:
    """Prove the laws for a sink; raise LawBroken that names the law and the rows that differ.

    `make(place)` returns a sink that adds to a place of that name, empty when the name is new, and `read_back(place)`
    the rows that anybody can see there.

    * **visible**: what is committed can be seen, in the order written, however it was cut into batches and epochs. For
      `exactly_once` nothing can be seen before, not even after `prepare`.
    * **commit**: twice is harmless; so is an epoch without rows.
    * **crash**: a new writer commits what a writer that is gone had prepared, by way of JSON, and goes on; what was
      not prepared is gone (`exactly_once`).
    * **abort**: leaves nothing of what was not prepared, and all that was committed (`exactly_once`).
    * **close**: twice is harmless, and early too: nothing that was not committed can be seen (`exactly_once`).
    """
    laws = _Laws(make, read_back, rows)
    laws.visible()
    laws.commit()
    laws.close()
    if delivery == "exactly_once":
        laws.hidden()
        laws.crash()
        laws.abort()


class LentContext:
    """What a host would lend."""

    def __init__(self, node_id: str = "checked", *, restored: bool = False) -> None:
        self.node_id = node_id
        self.watermark: EventTime = NEVER
        self.clock: Clock = ManualClock()
        self.restored = restored
        self.counters: dict[str, int] = {}

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + by


class _Laws:
    def __init__(
        self, make: Callable[[str], Sink], read_back: Callable[[str], pl.DataFrame], rows: pl.DataFrame
    ) -> None:
        self._make = make
        self._read_back = read_back
        self._rows = rows
        self._places = (f"place_{number}" for number in itertools.count())

    def visible(self) -> None:
        half = self._rows.height // 2
        whole, empty = [self._rows], self._rows.clear()
        singly = list(self._rows.iter_slices(1))
        ways: dict[str, Sequence[Sequence[Batch]]] = {
            "one batch": [whole],
            "a row at a time": [singly],
            "two epochs": [[self._rows.head(half)], [self._rows.slice(half)]],
            "an epoch for each row": [[row] for row in singly],
            "an empty epoch between": [[self._rows.head(half)], [], [self._rows.slice(half)]],
            "empty batches between": [[empty, self._rows.head(half), empty, self._rows.slice(half)]],
        }
        for way, epochs in ways.items():
            place = next(self._places)
            writer = self._open(place)
            for epoch, batches in enumerate(epochs, start=1):
                self._write(writer, batches)
                writer.commit(epoch, _json(writer.prepare(epoch)))
            writer.close()
            self._sees(place, self._rows, f"visible: {way}")

    def commit(self) -> None:
        place = next(self._places)
        writer = self._open(place)
        writer.write(self._rows)
        prepared = _json(writer.prepare(1))
        for times in ("once", "twice", "three times"):
            writer.commit(1, prepared)
            self._sees(place, self._rows, f"commit: {times}")
        writer.close()
        self._sees(place, self._rows, "commit: then closed")

    def close(self) -> None:
        writer = self._open(next(self._places))
        writer.close()
        writer.close()
        place = next(self._places)
        writer = self._open(place)
        writer.write(self._rows)
        writer.commit(1, _json(writer.prepare(1)))
        writer.close()
        writer.close()
        self._sees(place, self._rows, "close: twice")

    def hidden(self) -> None:
        place = next(self._places)
        nothing = self._rows.clear()
        writer = self._open(place)
        self._sees(place, nothing, "visible: only opened")
        writer.write(self._rows)
        self._sees(place, nothing, "visible: written and not prepared")
        prepared = _json(writer.prepare(1))
        self._sees(place, nothing, "visible: prepared and not committed")
        writer.commit(1, prepared)
        writer.write(self._rows)
        self._sees(place, self._rows, "visible: an epoch committed, and rows of the next written")
        writer.close()
        self._sees(place, self._rows, "close: rows written and not prepared")

    def crash(self) -> None:
        first, second = self._rows.head(5), self._rows.slice(5)
        place = next(self._places)
        gone = self._open(place)
        gone.write(first)
        prepared = _json(gone.prepare(1))
        gone.write(second)  # Never prepared, so it never was.
        again = self._open(place, restored=True)
        again.commit(1, prepared)
        self._sees(place, first, "crash: a new writer commits what was prepared")
        again.commit(1, prepared)
        self._sees(place, first, "crash: and commits it once more")
        again.write(second)
        again.commit(2, _json(again.prepare(2)))
        again.close()
        self._sees(place, self._rows, "crash: and goes on")
        gone.close()
        self._sees(place, self._rows, "crash: a writer that was thought gone closes late")

        place = next(self._places)
        gone = self._open(place)
        gone.write(first)
        done = _json(gone.prepare(1))
        gone.commit(1, done)
        gone.write(second)
        gone.prepare(2)
        # The checkpoint that would have known of the second epoch was never written.
        again = self._open(place, restored=True)
        again.commit(1, done)
        again.write(second)
        again.commit(2, _json(again.prepare(2)))
        again.close()
        self._sees(place, self._rows, "crash: after an epoch was prepared that no checkpoint knows of")
        gone.close()

    def abort(self) -> None:
        first, second = self._rows.head(5), self._rows.slice(5)
        place = next(self._places)
        writer = self._open(place)
        writer.write(first)
        writer.abort()
        writer.abort()
        writer.close()
        self._sees(place, self._rows.clear(), "abort: of what was written")

        place = next(self._places)
        writer = self._open(place)
        writer.write(first)
        writer.commit(1, _json(writer.prepare(1)))
        writer.write(second)
        writer.abort()
        self._sees(place, first, "abort: after an epoch was committed")
        writer.close()
        self._sees(place, first, "abort: and closed")

    def _open(self, place: str, *, restored: bool = False) -> Writer:
        return self._make(place).open(LentContext(restored=restored), self._rows.schema)

    @staticmethod
    def _write(writer: Writer, batches: Sequence[Batch]) -> None:
        for batch in batches:
            kept = batch.clone()
            writer.write(batch)
            assert_same_rows(batch, kept, "input: write changed its batch", ordered=True)

    def _sees(self, place: str, rows: pl.DataFrame, law: str) -> None:
        got = self._read_back(place)
        if not rows.height and not got.height:
            return  # A place that nobody has committed to may not even have columns.
        if got.columns != rows.columns:
            raise LawBroken(f"{law}: the columns are {got.columns} instead of {rows.columns}")
        assert_same_rows(got, rows, law, ordered=True)


def _json(prepared: Json) -> Json:
    out: Json = json.loads(json.dumps(prepared))
    return out
