"""hyperloglog counts as the papers say: near the truth, and the same however rows are cut."""

from __future__ import annotations

import math
import struct
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution
from dataflare_nb.wasm import Session

from .helpers import called, plugin

MASK = (1 << 64) - 1


def mix(h: int) -> int:
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & MASK
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return h ^ h >> 33


def hashed(data: bytes) -> int:
    h = mix(len(data) + 0x9E3779B97F4A7C15 & MASK)
    for at in range(0, len(data), 8):
        h = mix(h ^ int.from_bytes(data[at : at + 8], "little"))
    return h


def estimate(values: list[bytes], p: int) -> int:
    """Algorithm 6 of Ertl (2017) over the registers of the values."""
    m, last = 1 << p, 65 - p
    registers = [0] * m
    for value in values:
        h = hashed(value)
        place, rest = h >> (64 - p), h << p & MASK | 1 << (p - 1)
        registers[place] = max(registers[place], 65 - rest.bit_length())
    z = m * tau(1 - registers.count(last) / m)
    for rank in range(last - 1, 0, -1):
        z = 0.5 * (z + registers.count(rank))
    z += m * sigma(registers.count(0) / m)
    return int(m * m / (2 * math.log(2)) / z + 0.5)


def sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z, y = z + x * y, y + y
    return z


def tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, before, y = math.sqrt(x), z, y / 2
        z -= (1 - x) ** 2 * y
    return z / 3


def grouped(session: Session, groups: list[list[Any]], dtype: pl.DataType) -> pl.DataFrame:
    """Return the states of groups of values."""
    rows = [(value, group) for group, values in enumerate(groups) for value in values]
    frame = pl.DataFrame(rows, schema={"value": dtype, "__group": pl.UInt32}, orient="row")
    return session.call(frame, function="aggregate_data", groups=len(groups), rows=len(groups))


def counts(session: Session, states: pl.DataFrame) -> list[int]:
    return session.call(states, function="df_final", rows=states.height)["n_unique"].to_list()


TEXTS = st.lists(st.none() | st.text(max_size=20) | st.binary(max_size=40).map(lambda data: data.hex()), max_size=60)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from([4, 7, 12]))
@pytest.mark.slow
def test_estimates_are_those_of_the_paper(groups: list[list[str | None]], precision: int) -> None:
    with called("hyperloglog", precision=precision) as session:
        found = counts(session, grouped(session, groups, pl.String()))
    assert found == [estimate([text.encode() for text in texts if text is not None], precision) for texts in groups]


@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(0, 60))
def test_states_do_not_depend_on_how_rows_are_cut(groups: list[list[str | None]], cut: int) -> None:
    with called("hyperloglog", precision=4) as session:
        whole = grouped(session, groups, pl.String())
        parts = [grouped(session, [values[:cut] for values in groups], pl.String()) for cut in (0, cut)]
        parts.append(grouped(session, [values[cut:] for values in groups], pl.String()))
        ids = pl.Series("__group", list(range(len(groups))), dtype=pl.UInt32)
        states = pl.concat([part.with_columns(ids) for part in reversed(parts)])
        merged = session.call(states, function="df_merge", groups=len(groups), rows=len(groups))
    assert merged.equals(whole)


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        (pl.Series([1, -1, 1, 2**40, None, 0]), [struct.pack("<q", n) for n in (1, -1, 2**40, 0)]),
        (pl.Series([1, -1, 1], dtype=pl.Int8), [struct.pack("<q", n) for n in (1, -1)]),
        (pl.Series([200, 7], dtype=pl.UInt8), [struct.pack("<q", n) for n in (200, 7)]),
        (pl.Series([1.5, -0.0, 0.0, math.nan, -math.nan]), [struct.pack("<d", x) for x in (1.5, 0.0, math.nan)]),
        (pl.Series([1.5, 2.5], dtype=pl.Float32), [struct.pack("<d", x) for x in (1.5, 2.5)]),
        (pl.Series([True, False, True]), [struct.pack("<q", n) for n in (1, 0)]),
        (pl.Series([b"", b"\0", b"12345678"]), [b"", b"\0", b"12345678"]),
        (pl.Series([19000, -1], dtype=pl.Int32).cast(pl.Date), [struct.pack("<q", n) for n in (19000, -1)]),
        (pl.Series([5, 6]).cast(pl.Datetime("us")), [struct.pack("<q", n) for n in (5, 6)]),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)
def test_every_flat_type_is_counted(values: pl.Series, packed: list[bytes]) -> None:
    with called("hyperloglog") as session:
        frame = pl.DataFrame({"value": values}).with_columns(pl.lit(0, dtype=pl.UInt32).alias("__group"))
        states = session.call(frame, function="aggregate_data", groups=1, rows=1)
        assert counts(session, states) == [estimate(packed, 12)]


@pytest.mark.parametrize("n", [10, 1_000, 50_000, 400_000])
def test_it_is_near_the_truth(n: int) -> None:
    """Four times the standard error, 1.04 / sqrt(4096), is not left once in ten thousand columns."""
    with called("hyperloglog") as session:
        frame = pl.select(pl.int_range(n).alias("value"), __group=pl.lit(0, dtype=pl.UInt32))
        states = session.call(frame, function="aggregate_data", groups=1, rows=1)
        (found,) = counts(session, states)
    assert found == pytest.approx(n, rel=4 * 1.04 / math.sqrt(4096))
    assert states["state"].bin.size()[0] <= 2 + 4096


def test_it_aggregates_windows_of_a_stream() -> None:
    second = pl.int_range(1000)
    rows = pl.select(at=pl.from_epoch(second), page=pl.lit("a") + (second % 2).cast(pl.String), user=second % 37)
    found = (
        flare.from_frame(rows)
        .event_time("at")
        .key_by("page")
        .window(flare.tumbling("500s"))
        .agg(users=flare.wasm.aggregate(plugin("hyperloglog"), "user"), n=pl.len())
        .collect()
    )
    assert found["users"].to_list() == [37] * 4
    assert found["n"].to_list() == [250] * 4


def test_what_does_not_hold_is_refused() -> None:
    for precision in (3, 17, 5.5):
        with (
            pytest.raises(WasmConfiguration, match="precision is a whole number from 4 to 16"),
            called("hyperloglog", precision=precision) as session,
        ):
            grouped(session, [["a"]], pl.String())
    with called("hyperloglog") as session, called("hyperloglog", precision=5) as other:
        states = grouped(other, [["a"]], pl.String())
        with pytest.raises(WasmPluginExecution, match="a state is of another precision, or none"):
            counts(session, states)
        with pytest.raises(WasmPluginExecution, match="a state is of another precision, or none"):
            counts(session, pl.DataFrame({"state": [b"\0\x0c\xff\xff\xff\xff"]}))
