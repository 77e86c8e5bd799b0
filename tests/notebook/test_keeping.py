"""What live displays keep: bounded, and what a query over all rows would give, however these were cut."""

from __future__ import annotations

import itertools
import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.notebook.keeping import BUCKETS, EXACT, MOST_SERIES, Newest, Points, bucket_width

SCHEMA = pl.Schema({"k": pl.Int64(), "w": pl.Int64(), "v": pl.Int64()})
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=10)
FLOATS = st.floats(-1e12, 1e12) | st.integers(-50, 50).map(float)


def pieces(frame: pl.DataFrame, cuts: list[int]):
    """Cut a frame into batches of these heights, over and over."""
    start = 0
    for height in itertools.cycle(cuts):
        if start >= frame.height:
            return
        yield frame.slice(start, height)
        start += height


@given(rows=st.lists(st.tuples(*[st.integers(0, 9)] * 3), max_size=120), cuts=CUTS, most=st.integers(1, 30))
def test_the_newest_rows_are_the_last_of_all(rows, cuts, most) -> None:
    every = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    kept = Newest(SCHEMA, most)
    for piece in pieces(every, cuts):
        kept.add(piece)
        assert kept.rows().height <= most
    assert kept.rows().equals(every.tail(most))
    assert kept.came == every.height


@given(rows=st.lists(st.tuples(*[st.integers(0, 9) | st.none()] * 3), max_size=120), cuts=CUTS, most=st.integers(1, 30))
def test_of_each_key_and_window_the_newest_revision_is_kept(rows, cuts, most) -> None:
    every = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    kept = Newest(SCHEMA, most, ["w", "k"])
    for piece in pieces(every, cuts):
        kept.add(piece)
    wanted = every.unique(["w", "k"], keep="last", maintain_order=True).tail(most).sort("w", "k", maintain_order=True)
    assert kept.rows().equals(wanted)


def oracle(points: list[tuple[str, float, float]]) -> set[tuple[str, float, float]]:
    """The four points of each bucket, one by one."""
    if not points:
        return set()
    width = bucket_width(min(x for _, x, _ in points), max(x for _, x, _ in points))
    buckets: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for series, x, y in points:
        buckets.setdefault((series, math.floor(x / width)), []).append((x, y))
    return {
        (series, *point)
        for (series, _), found in buckets.items()
        for point in (
            min(found),
            max(found),
            min(found, key=lambda p: (p[1], p[0])),
            min(found, key=lambda p: (-p[1], p[0])),
        )
    }


@given(rows=st.lists(st.tuples(st.sampled_from("abc"), FLOATS, FLOATS), max_size=300), cuts=CUTS)
def test_the_points_are_those_that_all_rows_at_once_would_give(rows, cuts) -> None:
    rows = [(s, x + 0.0, y + 0.0) for s, x, y in rows]
    kept = Points()
    for piece in pieces(pl.DataFrame(rows, schema=Points.SCHEMA, orient="row"), cuts):
        kept.add(piece)
    found = kept.points()
    assert set(found.rows()) == oracle(rows)
    assert found.height == len(set(found.rows()))
    for series in found["series"].unique():
        line = found.filter(series=series)
        assert line.height <= 4 * BUCKETS
        assert line["x"].is_sorted()
        assert [line["y"].min(), line["y"].max()] == [
            min(y for s, _, y in rows if s == series),
            max(y for s, _, y in rows if s == series),
        ]


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300) | st.just(0.0))
def test_a_hundred_buckets_cover_any_range_and_half_as_wide_would_not(low, more) -> None:
    high = low + more
    width = bucket_width(low, high)
    assert math.floor(high / width) - math.floor(low / width) < BUCKETS
    assert math.log2(width).is_integer()
    if more > 1e-9 * max(abs(low), 1.0):
        assert more / width > BUCKETS / 2 - 2


def test_memory_is_bounded_and_what_is_not_drawn_is_told() -> None:
    kept = Points()
    every = pl.DataFrame({"n": range(200_000)}).select(
        series=(pl.col("n") % 20).cast(pl.String),
        x=pl.col("n").cast(pl.Float64),
        y=pl.when(pl.col("n") % 100 != 0).then(pl.col("n") % 97).cast(pl.Float64),
    )
    for piece in every.iter_slices(10_000):
        kept.add(piece)
    assert kept.points().height <= MOST_SERIES * 4 * BUCKETS
    assert kept.points()["series"].unique(maintain_order=True).to_list() == [str(n) for n in range(1, 9)]
    assert kept.left_out == "2,000 rows have no x or no y to draw and 118,000 rows are of more than 8 series"
    assert kept.came == 200_000


def test_a_revision_replaces_its_point() -> None:
    schema = pl.Schema({"k": pl.Int64()})
    kept = Points(["k"], schema)
    first = pl.DataFrame({"series": ["a"] * 3, "x": [1.0, 2.0, 3.0], "y": [5.0, 90.0, 7.0], "k": [1, 2, 3]})
    kept.add(first)
    kept.add(first.filter(k=2).with_columns(y=pl.lit(6.0)))
    assert kept.points().rows() == [("a", 1.0, 5.0), ("a", 2.0, 6.0), ("a", 3.0, 7.0)]
    many = pl.DataFrame({"k": range(10, 3 * EXACT)}).select(
        series=pl.lit("a"), x=pl.col("k").cast(pl.Float64), y=pl.lit(1.0), k="k"
    )
    kept.add(many)
    assert kept.points().height <= 4 * BUCKETS
    assert kept.points()["y"].max() == 7.0
