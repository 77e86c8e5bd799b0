"""Sinks that stay in the process: a buffer, and a function."""

from __future__ import annotations

import threading

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.connectors import MemoryBuffer, make_sink
from dataflare_nb.errors import SinkError, WrongType

from .helpers import Lent, put

ROWS = pl.DataFrame({"a": range(10)})


def test_rows_are_visible_at_once() -> None:
    buffer = MemoryBuffer()
    writer = make_sink("memory", {"buffer": "b"}, {"b": buffer}).open(Lent(), ROWS.schema)
    assert buffer.rows().schema == ROWS.schema
    writer.write(ROWS)
    assert buffer.rows().equals(ROWS)
    assert buffer.height == 10
    writer.close()


def test_an_abort_takes_back_what_was_not_prepared_of_this_writer() -> None:
    buffer = MemoryBuffer()
    sink = make_sink("memory", {"buffer": "b"}, {"b": buffer})
    one, two = sink.open(Lent("1"), ROWS.schema), sink.open(Lent("2"), ROWS.schema)
    one.write(ROWS.head(1))
    one.commit(1, one.prepare(1))
    one.write(ROWS.head(2))
    two.write(ROWS.head(3))
    one.abort()
    assert buffer.height == 4
    assert buffer.rows().height == 4


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 15))
def test_a_bounded_buffer_keeps_the_newest_and_counts_the_rest(sizes: list[int], bound: int) -> None:
    buffer = MemoryBuffer()
    start = 0
    batches = []
    for size in sizes:
        batches.append(pl.DataFrame({"a": range(start, start + size)}, schema={"a": pl.Int64}))
        start += size
    put(
        make_sink("memory", {"buffer": "b", "max_rows": bound}, {"b": buffer}),
        batches,
        schema=pl.Schema({"a": pl.Int64()}),
    )
    assert buffer.rows()["a"].to_list() == list(range(start))[-bound:]
    assert buffer.dropped == max(0, start - bound)


def test_many_threads_write_and_look() -> None:
    buffer = MemoryBuffer(max_rows=500)
    sink = make_sink("memory", {"buffer": "b"}, {"b": buffer})

    def work() -> None:
        writer = sink.open(Lent(), ROWS.schema)
        for epoch in range(50):
            writer.write(ROWS)
            assert buffer.rows().height <= 500
            writer.prepare(epoch)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert buffer.rows().height == buffer.height == 500
    assert buffer.dropped == 4 * 50 * 10 - 500


def test_clearing_forgets_the_rows() -> None:
    buffer = MemoryBuffer()
    buffer.add(ROWS)
    buffer.clear()
    assert buffer.rows().is_empty()
    assert buffer.rows().schema == ROWS.schema


def test_a_function_gets_every_batch_and_its_epoch() -> None:
    seen: list[tuple[int, int]] = []
    sink = make_sink(
        "for_each_batch", {"function": "f"}, {"f": lambda batch, epoch: seen.append((batch.height, epoch))}
    )
    put(sink, [ROWS, ROWS.head(2)], [], [ROWS.head(3)])
    assert seen == [(10, 1), (2, 1), (3, 3)]
    again = sink.open(Lent(), ROWS.schema)
    again.commit(7, {})
    again.write(ROWS.head(4))
    again.abort()
    again.close()
    assert seen[-1] == (4, 8)


def test_a_buffer_takes_rows_of_one_schema_only() -> None:
    buffer = flare.MemoryBuffer()
    one, other = pl.DataFrame({"a": [1]}), pl.DataFrame({"z": ["q"]})
    with pytest.raises(SinkError, match=r"holds a: Int64, and this stream has z: String; give each its own"):
        flare.run(flare.from_frame(one).to_memory(buffer), flare.from_frame(other).to_memory(buffer)).wait(10)
    with pytest.raises(WrongType, match=r"holds a: Int64, and these rows have z: String"):
        buffer.add(other)
    assert buffer.rows().columns == ["a"]
