"""The laws can be broken, and say which and where."""

from __future__ import annotations

import polars as pl
import pytest

from dataflare_nb import testing
from dataflare_nb.operators.columns import Pass
from dataflare_nb.operators.operator import BaseOperator
from dataflare_nb.testing import LawBroken, check_operator, check_sink, check_source, recut
from dataflare_nb.types import FOREVER, End, EndOfStream, Side

from .helpers import at, mark

SCRIPT = [at(1, 2), mark(5), at(7, 8, key="b"), mark(10), End()]


class Total(BaseOperator):
    """Give the number of rows when the end comes: an operator that keeps the laws."""

    def __init__(self):
        self._rows = 0
        self.released = 0

    def process(self, batch, port=0):
        self._rows += batch.height
        return ()

    def on_watermark(self, time):
        if time == FOREVER and self._rows:
            yield pl.DataFrame({"n": [self._rows]})
            self.released += self._rows
            self._rows = 0

    def due(self):
        return FOREVER if self._rows else None

    def held(self):
        return self._rows

    def snapshot(self):
        return {"rows": pl.DataFrame({"n": [self._rows] if self._rows else []}, schema={"n": pl.Int64})}

    def restore(self, states):
        self._rows = sum(state["rows"]["n"].sum() for state in states)


class PerBatch(BaseOperator):
    def process(self, batch, port=0):
        yield pl.DataFrame({"n": [batch.height]})


class Forgetful(Total):
    def restore(self, states):
        list(states)


class Disturbed(Total):
    def snapshot(self):
        state = super().snapshot()
        self._rows, self.released = 0, self.released + self._rows
        return state


class Sleepy(Total):
    def due(self):
        return None


class Hoarder(Total):
    def on_watermark(self, time):
        yield from super().on_watermark(time)
        self._rows = 1
        self.released -= 1


class Leaky(Total):
    def process(self, batch, port=0):
        return super().process(batch[1:])


class Vandal(BaseOperator):
    def process(self, batch, port=0):
        batch.insert_column(0, pl.lit(1).alias("mine"))
        yield batch


class Duplicating(BaseOperator):
    def process(self, batch, port=0):
        yield batch
        yield Side("late", batch)


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        (PerBatch, "cuts: batches cut into one row at a time"),
        (Forgetful, "restore: from the state after line 0"),
        (Disturbed, "restore|cuts"),
        (Sleepy, "end: 4 rows are still held"),
        (Hoarder, "end: 1 rows are still held"),
        (Leaky, r"ledger: after line 0 \(2 rows\) 2 rows have come in, and 1 held"),
        (Vandal, "input: process changed"),
    ],
)
def test_a_broken_law_is_named_with_its_place(operator, said):
    with pytest.raises(LawBroken, match=said):
        check_operator(operator, SCRIPT)


def test_an_operator_that_keeps_the_laws_passes():
    check_operator(Total, SCRIPT)
    check_operator(Pass, SCRIPT, keys=["k"], ordered=True, exact=True)


def test_a_total_over_all_keys_breaks_the_law_of_key_groups():
    with pytest.raises(LawBroken, match="2 rows instead of 1"):
        check_operator(Total, SCRIPT, keys=["k"])


def test_rows_made_twice_break_an_exact_ledger():
    with pytest.raises(LawBroken, match="4 rows came in, 4 came out and 4 went aside"):
        check_operator(Duplicating, SCRIPT, exact=True)


def test_a_due_that_is_late_is_found():
    class Waiting(Total):
        def on_watermark(self, time):
            if self._rows:
                yield pl.DataFrame({"n": [self._rows]})
                self.released += self._rows
                self._rows = 0

    with pytest.raises(LawBroken, match="`due` is late"):
        check_operator(Waiting, SCRIPT)


def test_the_difference_shows_the_rows_that_differ():
    with pytest.raises(LawBroken, match=r"3 rows instead of 2\n  unexpected:\n    a=2") as caught:
        testing.assert_same_rows(pl.DataFrame({"a": [1, 2, 2]}), pl.DataFrame({"a": [2, 1]}), "here")
    assert str(caught.value).startswith("here: ")
    with pytest.raises(LawBroken, match="the columns are a: Int64 instead of b: Int64"):
        testing.assert_same_rows(pl.DataFrame({"a": [1]}), pl.DataFrame({"b": [1]}))
    with pytest.raises(LawBroken, match="their order is not"):
        testing.assert_same_rows(pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [2, 1]}), ordered=True)


def test_floats_may_differ_in_their_last_bits_only():
    testing.assert_same_rows(pl.DataFrame({"a": [0.1 + 0.2, 1.0]}), pl.DataFrame({"a": [1.0, 0.3]}))
    with pytest.raises(LawBroken):
        testing.assert_same_rows(pl.DataFrame({"a": [0.3001]}), pl.DataFrame({"a": [0.3]}))


def test_recut_keeps_ports_and_words_about_time():
    assert [line.height if isinstance(line, pl.DataFrame) else line for line in recut([at(1, 2, 3), mark(5)], [2])] == [
        2,
        1,
        mark(5),
    ]
    assert [(port, frame.height) for port, frame in recut([(1, at(1, 2))], [1])] == [(1, 1), (1, 1)]


class Numbers:
    """A source of three rows, with a fault to choose."""

    schema = pl.Schema({"n": pl.Int64()})
    bounded = True
    invalid_schema = None

    def __init__(self, fault=""):
        self.fault = fault
        self.asked = 0

    def total_rows(self):
        return 7 if self.fault == "total" else 3

    def splits(self):
        self.asked += 1
        return [f"s{self.asked if self.fault == 'splits' else 0}"]

    def open(self, split, offset=None):
        return NumbersReader(self.fault, 0 if self.fault == "resume" else (offset or {"row": 0})["row"])


class NumbersReader:
    def __init__(self, fault, row):
        self.fault, self.row, self.closed, self.over = fault, row, False, False

    def poll(self, max_rows):
        if self.row >= 3 or self.over:
            if self.fault == "zombie" and not self.over:
                self.over, self.row = True, 2
                raise EndOfStream
            self.over = False
            if self.row >= 3:
                raise EndOfStream
        size = 3 if self.fault == "greedy" else max_rows
        batch = pl.DataFrame({"n": [0, 1, 2][self.row : self.row + size]}, schema=Numbers.schema)
        self.row += batch.height
        return batch.cast(pl.Int32) if self.fault == "schema" else batch

    def rejected(self):
        return None

    def offset(self):
        return {"row": self.row}

    def close(self):
        if self.closed and self.fault == "close":
            raise LawBroken("closed twice")
        self.closed = True


def test_a_source_that_keeps_the_laws_passes():
    check_source(Numbers)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("greedy", "polls: 3 rows came when at most 1"),
        ("resume", "resume: split s0, after 1 rows"),
        ("zombie", "end: after EndOfStream"),
        ("splits", "splits: they are"),
        ("total", "total_rows says 7"),
        ("schema", "polls: a batch has"),
        ("close", "closed twice"),
    ],
)
def test_a_source_that_breaks_a_law_is_found(fault, said):
    with pytest.raises(LawBroken, match=said):
        check_source(lambda: Numbers(fault))


class Shelf:
    """A sink into a dict of lists, with a fault to choose."""

    def __init__(self, shelves, place, fault):
        self.shelves, self.place, self.fault = shelves, place, fault

    def open(self, ctx, schema):
        return ShelfWriter(self)


class ShelfWriter:
    def __init__(self, shelf):
        self.shelf, self.kept, self.closed = shelf, [], False

    @property
    def seen(self):
        return self.shelf.shelves.setdefault(self.shelf.place, {})

    def write(self, batch):
        self.kept.append(batch)
        if self.shelf.fault == "early":
            self.seen[len(self.seen) + 1] = batch.rows()

    def prepare(self, epoch):
        rows = [row for batch in self.kept for row in batch.rows()]
        self.kept = []
        return {"rows": rows}

    def commit(self, epoch, prepared):
        key = len(self.seen) if self.shelf.fault == "twice" else epoch
        if self.shelf.fault != "early":
            self.seen[key] = [tuple(row) for row in prepared["rows"]]

    def abort(self):
        if self.shelf.fault == "abort":
            self.seen.setdefault(99, [row for batch in self.kept for row in batch.rows()])
        self.kept = []

    def close(self):
        if self.shelf.fault == "close":
            self.commit(98, self.prepare(98))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("", None),
        ("early", "visible: written and not prepared: 12 rows instead of 0"),
        ("twice", "commit: twice: 24 rows instead of 12"),
        ("abort", "abort: of what was written: 5 rows instead of 0"),
        ("close", "close: rows written and not prepared"),
    ],
)
def test_a_sink_that_breaks_a_law_is_found(fault, said):
    shelves = {}

    def read_back(place):
        rows = [row for _, rows in sorted(shelves.get(place, {}).items()) for row in rows]
        return pl.DataFrame(rows, schema=testing.sink_laws.ROWS.schema, orient="row")

    if said is None:
        check_sink(lambda place: Shelf(shelves, place, fault), read_back)
        return
    with pytest.raises(LawBroken, match=said):
        check_sink(lambda place: Shelf(shelves, place, fault), read_back)
