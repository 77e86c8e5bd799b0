"""geohash halves as the definition says, and finds its way back."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution

from .helpers import answers

ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"


def encoded(lat: float | None, lon: float | None, precision: int) -> str | None:
    """Halve longitude and latitude in turn; the upper half is a one."""
    if lat is None or lon is None or not (abs(lat) <= 90 and abs(lon) <= 180):
        return None
    ranges = [[-180.0, 180.0, lon], [-90.0, 90.0, lat]]
    bits = ""
    for step in range(5 * precision):
        low, high, value = ranges[step % 2]
        middle = (low + high) / 2
        bits += "1" if value >= middle else "0"
        ranges[step % 2][value < middle] = middle
    return "".join(ALPHABET[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))


def decoded(text: str | None) -> tuple[float | None, float | None]:
    letters = (text or "").lower()
    if not 1 <= len(letters) <= 12 or not set(letters) <= set(ALPHABET):
        return None, None
    ranges = [[-180.0, 180.0], [-90.0, 90.0]]
    for step, bit in enumerate("".join(f"{ALPHABET.index(letter):05b}" for letter in letters)):
        ranges[step % 2][bit == "0"] = sum(ranges[step % 2]) / 2
    return sum(ranges[1]) / 2, sum(ranges[0]) / 2


BOUNDS = st.integers(-(2**12), 2**12).map(lambda n: n / 2**12)
NUMBERS = st.floats(-200, 200) | st.sampled_from(
    [-0.0, 5e-324, -5e-324, 90.0, -90.0, 180.0, -180.0, math.inf, math.nan]
)


@given(
    st.lists(
        st.tuples(
            st.none() | NUMBERS | BOUNDS.map(lambda x: x * 90), st.none() | NUMBERS | BOUNDS.map(lambda x: x * 180)
        )
    ),
    st.integers(1, 12),
)
@example(
    [(math.nextafter(x * 90, y), math.nextafter(x * 180, y)) for x in (-1, -0.5, 0, 0.25, 1) for y in (-999, 999)], 12
)
def test_positions_are_encoded_as_the_definition_says(
    rows: list[tuple[float | None, float | None]], precision: int
) -> None:
    frame = pl.DataFrame(rows, schema={"lat": pl.Float64, "lon": pl.Float64}, orient="row")
    found = answers("geohash", frame, precision=precision)["geohash"].to_list()
    assert found == [encoded(lat, lon, precision) for lat, lon in rows]


@given(st.lists(st.none() | st.text(ALPHABET + "ABCail é", max_size=13)))
def test_geohashes_are_decoded_to_the_middle_of_their_cell(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"hash": texts}, schema={"hash": pl.String})
    found = answers("geohash", frame, mode="decode", prefix="from_")
    assert found.columns == ["from_lat", "from_lon"]
    assert found.rows() == [decoded(text) for text in texts]


def test_known_places() -> None:
    frame = pl.DataFrame({"lat": [57.64911, 42.605, 0.0], "lon": [10.40744, -5.603, 0.0]})
    found = answers("geohash", frame, precision=11)["geohash"]
    assert found[0] == "u4pruydqqvj"
    assert found.str.head(5).to_list() == ["u4pru", "ezs42", "s0000"]


def test_settings_that_do_not_hold_are_refused() -> None:
    frame = pl.DataFrame({"lat": [1.0], "lon": [1.0]})
    with pytest.raises(WasmConfiguration, match="precision is 1 to 12 letters"):
        answers("geohash", frame, precision=13)
    with pytest.raises(WasmConfiguration, match="`mode` must be one of encode decode"):
        answers("geohash", frame, mode="both")
    with pytest.raises(WasmPluginExecution, match="column lat has the Arrow format g and must be text"):
        answers("geohash", frame, mode="decode")
