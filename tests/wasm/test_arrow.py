"""Frames go into a guest and come back the same, whatever their types, nulls, slices and chunks."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from polars.testing.parametric import column, dataframes

from dataflare_nb.errors import WasmError, WasmMemoryLimit
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.inbound import Parcel, arrow_column

from .guests import plugin

DTYPES: list[pl.DataType] = [
    *(kind() for kind in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)),
    *(kind() for kind in (pl.Float32, pl.Float64, pl.Boolean, pl.Date, pl.Time, pl.String, pl.Binary)),
    *(pl.Datetime(unit) for unit in ("ms", "us", "ns")),
    pl.Datetime("us", "UTC"),
    pl.Datetime("ns", "Europe/Berlin"),
    *(pl.Duration(unit) for unit in ("ms", "us", "ns")),
]


@pytest.fixture(scope="module")
def echo():
    session = Session(plugin())
    yield session
    session.close()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_column_comes_back_as_it_went(echo: Session, dtype: pl.DataType, data: st.DataObject):
    frame = data.draw(dataframes(cols=[column("x", dtype, allow_null=True)], max_size=40, allow_chunks=True))
    assert_frame_equal(echo.call(frame), frame)
    start = data.draw(st.integers(0, frame.height))
    part = frame[start : start + data.draw(st.integers(0, frame.height))]
    assert_frame_equal(echo.call(part), part)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_frames_of_many_columns_in_chunks_come_back(echo: Session, data: st.DataObject):
    frames = [
        data.draw(
            dataframes(
                cols=[column(f"c{i}", dtype, allow_null=True) for i, dtype in enumerate(DTYPES)],
                min_size=0,
                max_size=20,
            )
        )
        for _ in range(2)
    ]
    whole = pl.concat(frames, rechunk=False)
    assert_frame_equal(echo.call(whole), whole)
    assert_frame_equal(echo.call(whole[3:11]), whole[3:11])


@pytest.mark.parametrize("shift", range(9))
def test_bitmaps_are_moved_to_bit_zero(echo: Session, shift: int):
    whole = pl.DataFrame(
        {
            "flag": [None if i % 5 == 0 else i % 3 == 0 for i in range(100)],
            "x": [None if i % 7 == 0 else i for i in range(100)],
            "s": [None if i % 4 == 0 else "é" * i for i in range(100)],
        }
    )
    part = whole[shift : shift + 77]
    assert_frame_equal(echo.call(part), part)


def test_categories_and_enums_travel_as_text(echo: Session):
    frame = pl.DataFrame(
        {
            "c": pl.Series(["a", None, "b", "a"], dtype=pl.Categorical),
            "e": pl.Series(["hi", "lo", None, "hi"], dtype=pl.Enum(["lo", "hi"])),
        }
    )
    assert_frame_equal(echo.call(frame), frame.cast(pl.String))


def test_no_rows_and_no_columns(echo: Session):
    empty = pl.DataFrame(schema={f"c{i}": dtype for i, dtype in enumerate(DTYPES)})
    assert_frame_equal(echo.call(empty), empty)
    assert echo.call(pl.DataFrame()).shape == (0, 0)
    assert echo.call(pl.DataFrame(height=5)).height == 5


def test_a_batch_much_larger_than_the_guest_grows_it(echo: Session):
    frame = pl.DataFrame({"x": range(1_000_000)}).with_columns(s=pl.col("x").cast(pl.String))
    assert_frame_equal(echo.call(frame), frame)


def test_a_batch_that_does_not_fit_says_so():
    session = Session(plugin(policy={"max_memory": "1MiB"}))
    with pytest.raises(
        WasmMemoryLimit, match=r"plugin guest: a batch of 200000 rows needs 16\d+ bytes .* raise max_memory"
    ):
        session.call(pl.DataFrame({"x": range(200_000)}))
    session.close()


@pytest.mark.parametrize(
    ("dtype", "way_out"),
    [
        (pl.Decimal(10, 2), "cast(pl.Float64)"),
        (pl.List(pl.Int64), ".explode('odd')"),
        (pl.Array(pl.Int64, 2), ".explode('odd')"),
        (pl.Struct({"a": pl.Int64}), ".unnest('odd')"),
        (pl.Null(), "cast(pl.String)"),
        (pl.Int128(), "cast(pl.Int64)"),
        (pl.Object(), ".drop('odd')"),
    ],
    ids=str,
)
def test_other_types_are_refused_with_a_way_out(echo: Session, dtype: pl.DataType, way_out: str):
    with pytest.raises(WasmError, match=r"plugin guest: column `odd` is .*, which ") as caught:
        echo.call(pl.DataFrame(schema={"fine": pl.Int64, "odd": dtype}))
    assert way_out in str(caught.value)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
def test_every_layout_of_text_is_read(echo: Session, kind: pa.DataType):
    values = ["x", None, "", "yyy", "ü", None, "last"]
    array = pa.array(values, pa.string()).cast(kind)
    letter = {"string": "u", "large_string": "U", "binary": "z", "large_binary": "Z"}[str(kind)]
    for start in range(4):
        part = array.slice(start, 3)
        parcel = Parcel([arrow_column("s", letter, part)], len(part))
        with echo.pool.guest() as guest:
            from dataflare_nb.wasm.outbound import Reader

            guest.call("df_reset")
            at = guest.call("df_alloc", parcel.size)
            parcel.write(guest.memory.base, at)
            back = Reader(guest.memory, budget=1 << 20).frame(guest.call("process_data", at, 8), rows=3)
        assert back["s"].to_arrow().cast(pa.large_binary()).to_pylist() == part.cast(pa.large_binary()).to_pylist()


def test_extreme_times_survive(echo: Session):
    frame = pl.DataFrame(
        {
            "d": [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
            "t": [dt.time(0), dt.time(23, 59, 59, 999999)],
            "w": [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)],
        }
    )
    assert_frame_equal(echo.call(frame), frame)
