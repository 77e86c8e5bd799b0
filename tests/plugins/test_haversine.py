"""haversine measures what the formula says."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution

from .helpers import answers

RADIUS = 6371.0088
Place = tuple[float | None, float | None]


def distance(here: Place, there: Place, radius: float = RADIUS) -> float | None:
    if any(
        x is None or not abs(x) <= most for place in (here, there) for x, most in zip(place, (90, 180), strict=True)
    ):
        return None
    lat1, lon1, lat2, lon2 = (math.radians(x) for x in (*here, *there) if x is not None)
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * radius * math.asin(math.sqrt(min(1.0, h)))


def near(found: list[float | None], expected: list[float | None]) -> None:
    """Near antipodes a rounding of h is a large part of what is left to a right angle: 1e-8 of the radius."""
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or one == pytest.approx(other, rel=1e-9, abs=1e-3)


ANGLES = (
    st.none()
    | st.floats(-200, 200)
    | st.sampled_from([0.0, -0.0, 90.0, -90.0, 180.0, -180.0, math.nan, math.inf, 5e-324])
)
PLACES = st.tuples(ANGLES, ANGLES)


@given(st.lists(st.tuples(PLACES, PLACES), max_size=20))
def test_distances_are_those_of_the_formula(rows: list[tuple[Place, Place]]) -> None:
    frame = pl.DataFrame([(*a, *b) for a, b in rows], schema=dict.fromkeys("abcd", pl.Float64), orient="row")
    near(answers("haversine", frame)["distance"].to_list(), [distance(a, b) for a, b in rows])


@given(st.lists(PLACES, max_size=20), st.tuples(st.floats(-90, 90), st.floats(-180, 180)))
def test_distances_to_one_place(rows: list[Place], there: tuple[float, float]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys("ab", pl.Float64), orient="row")
    near(answers("haversine", frame, to=list(there))["distance"].to_list(), [distance(here, there) for here in rows])


@pytest.mark.parametrize(
    ("unit", "radius"), [("km", RADIUS), ("m", RADIUS * 1000), ("mi", RADIUS / 1.609344), ("nmi", RADIUS / 1.852)]
)
def test_units(unit: str, radius: float) -> None:
    paris, new_york = (48.8566, 2.3522), (40.7128, -74.006)
    frame = pl.DataFrame([(*paris, *new_york)], orient="row")
    found = answers("haversine", frame, unit=unit, column="far")
    assert found["far"][0] == pytest.approx(distance(paris, new_york, radius), rel=1e-12)


def test_settings_that_do_not_hold_are_refused() -> None:
    frame = pl.DataFrame([(1.0, 2.0, 3.0, 4.0)], orient="row")
    for config, why in (
        ({"unit": "ly"}, "unit may be km"),
        ({"to": [91, 0]}, "latitude first"),
        ({"to": [1]}, "latitude first"),
    ):
        with pytest.raises(WasmConfiguration, match=why):
            answers("haversine", frame, **config)
    with pytest.raises(WasmPluginExecution, match="there are too few columns"):
        answers("haversine", frame.select(pl.nth(0, 1, 2)))
