"""The format is negotiated: Arrow C data, Arrow IPC or JSON, and in each a frame comes back as it went."""

from __future__ import annotations

import datetime as dt
import io
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import column, dataframes

import dataflare_nb as flare
from dataflare_nb.errors import StageFailed, WasmBadOutput, WasmConfiguration, WasmError
from dataflare_nb.wasm import Session, ipc, json_rows
from dataflare_nb.wasm.formats import choose

from .guests import ANY_ECHO, FORMAT, plugin
from .test_arrow import DTYPES

JSON, IPC, C = 1, 2, 4
NESTED: list[pl.DataType] = [
    pl.Decimal(20, 4),
    pl.List(pl.Int32()),
    pl.List(pl.String()),
    pl.List(pl.List(pl.Float64())),
    pl.List(pl.Datetime("ns", "Europe/Berlin")),
    pl.Array(pl.Int16(), 3),
    pl.Array(pl.String(), 2),
    pl.Struct({"a": pl.Int64(), "b": pl.String()}),
    pl.Struct({"a": pl.List(pl.Struct({"when": pl.Datetime("us"), "how": pl.Duration("ms")}))}),
    pl.List(pl.Struct({"x": pl.Boolean(), "raw": pl.Binary()})),
    pl.Null(),
]
ALL = [*DTYPES, *NESTED]
SAFE: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def echoes() -> Iterator[dict[int, Session]]:
    made = {
        formats: Session(plugin(ANY_ECHO, extra=FORMAT, formats=formats))
        for formats in (JSON, IPC, C, JSON | IPC, IPC | C, JSON | C, JSON | IPC | C)
    }
    yield made
    for session in made.values():
        session.close()


def part(data: st.DataObject, frame: pl.DataFrame) -> pl.DataFrame:
    start = data.draw(st.integers(0, frame.height))
    return frame[start : start + data.draw(st.integers(0, frame.height))]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ALL, ids=str)
@settings(max_examples=25, **SAFE)
@given(data=st.data())
def test_every_type_travels_by_ipc(echoes: dict[int, Session], dtype: pl.DataType, data: st.DataObject):
    frame = data.draw(dataframes(cols=[column("x", dtype, allow_null=True)], max_size=20, allow_chunks=True))
    assert_frame_equal(echoes[IPC].call(frame), frame)
    some = part(data, frame)
    assert_frame_equal(echoes[IPC].call(some), some)


def years(dtype: pl.DataType) -> pl.Expr | None:
    """Return the check that keeps a time within the years that text can say."""
    return pl.col("x").dt.year().is_between(1, 9999) if isinstance(dtype, pl.Date | pl.Datetime) else None


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ALL, ids=str)
@settings(max_examples=25, **SAFE)
@given(data=st.data())
def test_every_type_travels_by_json(dtype: pl.DataType, data: st.DataObject):
    frame = data.draw(
        dataframes(
            cols=[column("x", dtype, allow_null=True)],
            max_size=20,
            allow_infinity=False,
            allow_nan=False,
            allow_chunks=True,
        )
    )
    if (fits := years(dtype)) is not None:
        frame = frame.filter(fits | pl.col("x").is_null())
    for some in (frame, part(data, frame)):
        assert_frame_equal(json_rows.read(json_rows.written(some), some.schema, budget=1 << 24), some)


@settings(max_examples=60, **SAFE)
@given(data=st.data())
@pytest.mark.slow
def test_any_schema_travels_in_the_best_format_that_both_can(echoes: dict[int, Session], data: st.DataObject):
    chosen = data.draw(st.lists(st.sampled_from(ALL), max_size=6))
    columns = [column(f"c{i}", dtype, allow_null=True) for i, dtype in enumerate(chosen)]
    frame = data.draw(dataframes(cols=columns, max_size=10)) if columns else pl.DataFrame(height=3)
    flat = not any(dtype in NESTED for dtype in chosen)
    assert choose(tuple(frame.dtypes), IPC | C) == (3 if flat else 2)
    assert_frame_equal(echoes[IPC | C].call(frame), frame)
    assert_frame_equal(echoes[JSON | IPC | C].call(frame), frame)


@pytest.mark.parametrize(
    ("formats", "flat", "nested"),
    [(JSON, 1, 1), (IPC, 2, 2), (C, 3, None), (JSON | IPC, 2, 2), (JSON | C, 3, 1), (IPC | C, 3, 2), (7, 3, 2)],
)
def test_the_format_follows_from_the_types_and_what_the_plugin_takes(formats: int, flat: int, nested: int | None):
    assert choose((pl.Int64(), pl.String()), formats) == flat
    assert choose((pl.Int64(), pl.List(pl.Int64())), formats) == nested
    assert choose((pl.Int128(),), formats) is None


def test_a_schema_that_is_declared_gives_json_its_types():
    frame = pl.DataFrame({"n": [1, 2], "at": [dt.datetime(2026, 1, 1), None], "price": [Decimal("1.50"), None]})
    frame = frame.cast({"n": pl.UInt8, "price": pl.Decimal(10, 2)})
    session = Session(plugin(ANY_ECHO, extra=FORMAT, formats=JSON, schema=frame.schema))
    assert_frame_equal(session.call(frame), frame)
    assert_frame_equal(session.call(frame.clear()), frame.clear())
    session.close()


def test_what_json_answers_is_held_to_the_schema():
    schema = pl.Schema({"n": pl.UInt8(), "s": pl.String()})
    assert json_rows.read(b'[{"n": 1}, {"s": "x"}, {}]', schema, budget=1000).rows() == [
        (1, None),
        (None, "x"),
        (None, None),
    ]
    for text, said in (
        (b'[{"n": "1"}]', r"Expected `int \| null`, got `str` - at `\$\[0\].n`"),
        (b'[{"n": 1.5}]', "Expected `int"),
        (b'[{"n": 256}]', "column `n` does not fit UInt8"),
        (b'[{"n": -1}]', "column `n` does not fit UInt8"),
        (b'[{"m": 1}]', "unknown field `m`"),
        (b'{"n": 1}', "Expected `array`"),
        (b"[[1]]", "Expected `object`"),
        (b"[", "does not hold"),
        (b'"\xff"', "does not hold"),
    ):
        with pytest.raises(WasmBadOutput, match=said):
            json_rows.read(text, schema, budget=1000)
    for kind, value in ((pl.Date(), "2026-13-01"), (pl.Datetime("us"), "soon"), (pl.Time(), "25:00:00")):
        with pytest.raises(WasmBadOutput, match="column `x` does not fit"):
            json_rows.read(f'[{{"x": "{value}"}}]'.encode(), pl.Schema({"x": kind}), budget=1000)


def test_json_has_no_nan_and_says_so():
    for bad in (float("nan"), float("inf")):
        for frame in (pl.DataFrame({"x": [1.0, bad]}), pl.DataFrame({"x": [[1.0], [bad, None]]})):
            with pytest.raises(WasmError, match=r"column `x` holds NaN or infinity, .*fill_nan"):
                json_rows.written(frame)
    assert json_rows.written(pl.DataFrame({"x": [1.0, None]})) == b'[{"x":1.0},{"x":null}]'


def test_categories_are_text_inside_lists_too(echoes: dict[int, Session]):
    frame = pl.DataFrame(
        {"c": [["a", "b"], None], "e": ["x", None]}, schema={"c": pl.List(pl.Categorical), "e": pl.Enum(["x"])}
    )
    assert_frame_equal(echoes[IPC].call(frame), frame.cast({"c": pl.List(pl.String), "e": pl.String}))


def test_several_record_batches_are_one_answer():
    table = pa.table({"x": [1, 2, 3, 4, 5], "s": ["a", None, "c", "d", "e"]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    assert ipc.read(pa.py_buffer(sink.getvalue()), budget=1 << 20).equals(pl.from_arrow(table))


def stream(table: pa.Table, **options: Any) -> pa.Buffer:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return pa.py_buffer(sink.getvalue())


def test_rows_that_leave_everything_out_do_not_unfold_without_end():
    wide = pl.Schema({f"c{i}": pl.Int64 for i in range(200)})
    nested = pl.Schema({"s": pl.List(pl.Struct({f"c{i}": pl.Int64 for i in range(199)}))})
    assert json_rows.read(b"[" + b"{}," * 99 + b"{}]", wide, budget=1 << 20).shape == (100, 200)
    for schema, data in ((wide, b"[" + b"{}," * 999_999 + b"{}]"), (nested, b'[{"s": [' + b"{}," * 999_999 + b"{}]}]")):
        with pytest.raises(
            WasmBadOutput, match=r"100000\d objects for 200 columns and fields, far more values than fit"
        ):
            json_rows.read(data, schema, budget=64 << 20)


def test_many_columns_of_long_names_are_compared_in_no_time():
    names = [f"{'x' * 4000}{i}" for i in range(4096)]
    start = time.monotonic()
    table = pa.table({name: pa.array([], pa.int8()) for name in names})
    assert ipc.read(stream(table), budget=1 << 20).columns == names
    assert time.monotonic() - start < 20


def test_batches_of_nothing_do_not_add_up_to_more_rows_than_there_are_bits():
    schema = pa.schema({"nothing": pa.null()})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(1000):
            writer.write_batch(pa.record_batch([pa.nulls(10_000)], schema))
    with pytest.raises(WasmBadOutput, match=r"claims \d+ rows in \d+ bytes"):
        ipc.read(pa.py_buffer(sink.getvalue()), budget=1 << 20)


def test_streams_that_are_not_plain_are_refused():
    zeros = pa.table({"x": pa.array([0] * 100_000)})
    for codec in ("lz4", "zstd"):
        with pytest.raises(WasmBadOutput, match="is compressed; write it without compression"):
            ipc.read(stream(zeros, compression=codec), budget=1 << 30)
    with pytest.raises(WasmBadOutput, match=r"column `d` has the type dictionary.*values in the place of dictionaries"):
        ipc.read(stream(pa.table({"d": pa.array(["a"]).dictionary_encode()})), budget=1 << 20)
    with pytest.raises(WasmBadOutput, match="more data than its memory limit"):
        ipc.read(stream(zeros), budget=100)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(WasmBadOutput, match="several columns called a"):
        ipc.read(stream(twice), budget=1 << 20)
    odd = pa.table({"m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))})
    with pytest.raises(WasmBadOutput, match="column `m` has the type map"):
        ipc.read(stream(odd), budget=1 << 20)
    for data in (b"", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x10\0\0\0" + bytes(16), b"[]"):
        with pytest.raises(WasmBadOutput, match="IPC stream"):
            ipc.read(pa.py_buffer(data), budget=1 << 20)


@settings(max_examples=300, **SAFE)
@given(data=st.data())
@pytest.mark.slow
def test_a_stream_with_a_few_bytes_changed_is_read_or_refused(data: st.DataObject):
    table = pa.table({"x": [1, None, 3], "s": ["a", "bc", None], "l": [[1], None, [2, 3]]})
    whole = bytearray(stream(table).to_pybytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole))) if data.draw(st.booleans()) else len(whole)
    try:
        frame = ipc.read(pa.py_buffer(bytes(whole[:cut])), budget=1 << 20)
    except WasmBadOutput:
        return
    assert frame.to_dicts() is not None


# In streams

NESTED_ROWS = pl.DataFrame(
    {
        "tags": [["a"], None, []],
        "at": [{"x": 1, "y": 2.5}, None, {"x": None, "y": 0.0}],
        "price": ["1.50", None, "2.25"],
    }
).with_columns(pl.col("price").cast(pl.Decimal(10, 2)))


def test_nested_columns_go_through_a_stage_by_ipc():
    echo = plugin(ANY_ECHO, extra=FORMAT, formats=IPC | C)
    stream = flare.from_frame(NESTED_ROWS).wasm(echo)
    assert stream.schema == NESTED_ROWS.schema
    assert_frame_equal(stream.collect(), NESTED_ROWS)
    only_c = plugin(ANY_ECHO, extra=FORMAT, formats=C)
    with pytest.raises(WasmError, match=r"column `tags` is List\[String\], .* this one takes Arrow C data"):
        flare.from_frame(NESTED_ROWS).wasm(only_c)


def test_a_stage_may_speak_json_if_it_names_its_columns():
    frame = pl.DataFrame({"day": [dt.date(2026, 1, 1), None], "n": [1, 2]})
    named = plugin(ANY_ECHO, extra=FORMAT, formats=JSON, schema=frame.schema)
    stream = flare.from_frame(frame).wasm(named)
    assert stream.schema == frame.schema
    assert_frame_equal(stream.collect(), frame)
    with pytest.raises(WasmConfiguration, match=r"wasm at .* it answers in JSON, which has no types; name its columns"):
        flare.from_frame(frame).wasm(plugin(ANY_ECHO, extra=FORMAT, formats=JSON))
    floats = plugin(ANY_ECHO, extra=FORMAT, formats=JSON, schema={"x": "Float64"})
    odd = flare.from_frame(pl.DataFrame({"x": [float("nan")]})).wasm(floats)
    with pytest.raises(StageFailed, match="column `x` holds NaN or infinity"):
        odd.collect()


def test_a_filter_may_answer_in_json():
    mask = "[true,null,false,true]"
    many = "(i32.gt_u (local.get $n) (i32.const 2))"
    work = f"""(i32.store (i32.const 16) (select (i32.const 256) (i32.const 300) {many}))
      (i32.store (i32.const 20) (select (i32.const {len(mask)}) (i32.const 2) {many}))
      (i32.store (i32.const 24) (i32.const 1)) (i32.const 16)"""
    data = f'(data (i32.const 256) "{mask}") (data (i32.const 300) "[]")'
    keeps = plugin(work, kind="Filter", extra=FORMAT + data, formats=JSON)
    frame = pl.DataFrame({"n": [1, 2, 3, 4]})
    assert flare.from_frame(frame).wasm(keeps).collect()["n"].to_list() == [1, 4]
    with pytest.raises(StageFailed, match="returned 4 rows for 3"):
        flare.from_frame(frame[:3]).wasm(keeps).collect()


def test_what_a_plugin_did_in_a_job_is_seen():
    echo = plugin(ANY_ECHO, extra=FORMAT, formats=IPC | C, name="echo")
    frame = pl.DataFrame({"n": range(1000)})
    job = flare.from_frame(frame).wasm(echo).run("seen").wait()
    row = job.plugins().row(0, named=True)
    assert (row["plugin"], row["rows_in"], row["rows_out"], row["errors"]) == ("echo", 1000, 1000, 0)
    assert row["calls"] >= 1
    assert row["memory_peak"] >= 65536
    assert job.read().nodes[row["stage"]].counters["echo/calls"] == row["calls"]
