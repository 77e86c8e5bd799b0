"""Whatever bytes a guest leaves behind, the host reads a sound frame or says what does not hold."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare_nb.errors import WasmError
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.inbound import Parcel, columns_of
from dataflare_nb.wasm.outbound import Reader

from .guests import plugin

FRAME = pl.DataFrame(
    {
        "n": [1, None, 3, 4, 5],
        "s": ["one", "zwölf", None, "", "ende"],
        "p": [True, None, False, True, True],
        "t": [dt.time(1, 2, 3), None, dt.time(23), dt.time(0), dt.time(4)],
        "w": [dt.datetime(2013, 1, 1), None, dt.datetime(2024, 2, 29), dt.datetime(1, 1, 1), dt.datetime(9999, 1, 1)],
        "d": [dt.date(2013, 1, 1), None, dt.date(2024, 2, 29), dt.date(1, 1, 1), dt.date(9999, 1, 1)],
    }
)
PARCEL = Parcel(columns_of(FRAME), FRAME.height)
VALUES = st.one_of(
    st.sampled_from([0, 1, -1, 5, 6, 2**31 - 1, -(2**31), 2**62, -(2**63), 2**63 - 1, 65536, 131072]),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(65536, 65536 + PARCEL.size),
)
SCRIBBLES = st.lists(
    st.tuples(st.integers(0, PARCEL.size - 8), VALUES, st.sampled_from([1, 4, 8])), min_size=1, max_size=6
)


@pytest.fixture(scope="module")
def echo():
    session = Session(plugin())
    yield session
    session.close()


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(SCRIBBLES)
def test_any_scribble_is_read_soundly_or_refused(echo: Session, scribbles: list[tuple[int, int, int]]):
    with echo.pool.guest() as guest:
        guest.call("df_reset")
        at = guest.call("df_alloc", PARCEL.size)
        PARCEL.write(guest.memory.base, at)
        for offset, value, width in scribbles:
            raw = (value & (2**64 - 1)).to_bytes(8, "little")[:width]
            guest.memory.copy_in(at + offset, raw, width)
        answer = guest.call("process_data", at, 8)
        try:
            frame = Reader(guest.memory, budget=1 << 20).frame(answer)
        except WasmError:
            return
    for column in frame.get_columns():
        array = column.to_arrow()
        array.validate(full=True)
        assert isinstance(array, pa.Array)
        assert column.null_count() == sum(valid is False for valid in column.is_not_null().to_list())
        column.to_physical().to_list()
