"""Rows shuffled within the allowed disorder give what one batch query gives."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.testing import assert_same_rows

SLACK = 20
SIMPLE = {
    "total": pl.col("v").sum(),
    "least": pl.col("v").min(),
    "most": pl.col("x").max(),
    "rows": pl.len(),
    "known": pl.col("x").count(),
    "mean": pl.col("x").mean(),
    "var": pl.col("x").var(),
    "sd": pl.col("v").std(),
    "some": (pl.col("v") > 50).any(),
    "every": (pl.col("v") > -50).all(),
    "spread": (pl.col("v").max() - pl.col("v").min()) / pl.len(),
    "share": pl.col("x").sum() / pl.col("v").sum().cast(pl.Float64).abs().sqrt().fill_nan(0.0),
    "rounded": pl.col("x").mean().round(2),
}
BUFFERED = {
    "median": pl.col("x").median(),
    "kinds": pl.col("v").n_unique(),
    "q": pl.col("x").quantile(0.25, "nearest"),
    "values": pl.col("v").sort().implode(),
    "best": pl.col("v").sort_by(pl.col("t"), pl.col("v")).last(),
    "total": pl.col("v").sum(),
}


@st.composite
def disorderly(draw: st.DrawFn, most: int = 60) -> tuple[list[pl.DataFrame], int]:
    """Return splits of rows, each out of order by at most SLACK seconds, and the rows between watermarks."""
    seconds = draw(st.lists(st.integers(-120, 180), min_size=1, max_size=most))
    splits = draw(st.integers(1, 3))
    rows = []
    for number, second in enumerate(seconds):
        key = draw(st.sampled_from(["a", "b", None]))
        value = draw(st.one_of(st.none(), st.integers(-100, 100)))
        at = second * 1_000_000 + draw(st.sampled_from([0, 0, 1, 999_999]))
        shift = draw(st.integers(0, SLACK * 1_000_000))
        rows.append((key, at, value, None if value is None else value / 7, at + shift, number % splits))
    schema = {"k": pl.String, "t": pl.Int64, "v": pl.Int32, "x": pl.Float64, "arrival": pl.Int64, "split": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").cast({"t": pl.Datetime("us")})
    # A row arrives at most SLACK after its time, so no row is behind the largest time before it by more.
    arrived = frame.sort("arrival", maintain_order=True)
    frames = [arrived.filter(split=split).drop("arrival", "split") for split in range(splits)]
    return frames, draw(st.sampled_from([1, 2, 5, 100]))


def keyed(frames: list[pl.DataFrame], every: int) -> flare.Stream:
    stream = flare.from_frames(frames) if len(frames) > 1 else flare.from_frame(frames[0])
    return stream.event_time("t", f"{SLACK}s", watermark_every=every).key_by("k")


def collected(stream: flare.Stream, workers: int) -> pl.DataFrame:
    """Run, and see to it that nothing was late."""
    job = stream.run(workers=workers).wait(30)
    assert job.metrics()["late"].sum() == 0
    assert job.ledger()["balanced"].all()
    return job.result()


@pytest.mark.parametrize("aggs", [SIMPLE, BUFFERED], ids=["two-phase", "buffered"])
@given(data=disorderly(), workers=st.sampled_from([1, 2]), offset=st.sampled_from([0, 3]))
def test_tumbling_windows_are_a_group_by_on_truncated_time(aggs, data, workers, offset):
    frames, every = data
    out = collected(keyed(frames, every).window(flare.tumbling("15s", offset=f"{offset}s")).agg(**aggs), workers)
    shifted = pl.col("t").dt.offset_by(f"-{offset}s").dt.truncate("15s").dt.offset_by(f"{offset}s")
    assert_same_rows(out, grouped(pl.concat(frames).with_columns(window_start=shifted), "15s", aggs, out))


@pytest.mark.parametrize("aggs", [SIMPLE, BUFFERED], ids=["two-phase", "buffered"])
@given(data=disorderly(), workers=st.sampled_from([1, 2]), shape=st.sampled_from([(20, 5, 0), (10, 10, 0), (17, 5, 2)]))
def test_hopping_windows_are_a_join_with_the_windows_that_cover_a_row(aggs, data, workers, shape):
    frames, every = data
    size, hop, offset = shape
    window = flare.hopping(f"{size}s", every=f"{hop}s", offset=f"{offset}s")
    out = collected(keyed(frames, every).window(window).agg(**aggs), workers)
    rows = pl.concat(frames)
    starts = pl.DataFrame({"second": range(-160 + offset, 200, hop)})
    starts = starts.select(window_start=pl.from_epoch(pl.col("second"), "s").cast(pl.Datetime("us")))
    covered = rows.join(starts, how="cross").filter(
        (pl.col("window_start") <= pl.col("t")) & (pl.col("t") < pl.col("window_start") + timedelta(seconds=size))
    )
    assert_same_rows(out, grouped(covered, f"{size}s", aggs, out))


@given(data=disorderly(), workers=st.sampled_from([1, 2]))
def test_hopping_windows_are_what_duckdb_says(data, workers):
    frames, every = data
    window = flare.hopping("30s", every="10s")
    stream = keyed(frames, every).window(window).agg(n=pl.len(), v=pl.col("v").sum(), x=pl.col("x").mean())
    rows = pl.concat(frames)
    with duckdb.connect() as db:
        db.register("rows", rows.to_arrow())
        wanted = db.sql(
            """
            select k, hop as window_start, hop + interval 30 second as window_end,
                   count(*)::uinteger as n, coalesce(sum(v), 0)::bigint as v, avg(x) as x
            from rows, lateral (select unnest([
                time_bucket(interval 10 second, t) - interval (10 * back) second for back in [0, 1, 2]
            ]) as hop) group by all
            """
        ).pl()
    out = collected(stream, workers)
    assert_same_rows(out, wanted.cast(dict(out.schema)).select(out.columns))


@pytest.mark.parametrize("aggs", [SIMPLE, BUFFERED], ids=["two-phase", "buffered"])
@given(data=disorderly(), workers=st.sampled_from([1, 2]), gap=st.sampled_from([1, 5, 30]))
def test_sessions_are_cut_where_the_next_row_of_a_key_is_further_than_the_gap(aggs, data, workers, gap):
    frames, every = data
    out = collected(keyed(frames, every).window(flare.session(f"{gap}s")).agg(**aggs), workers)
    rows = pl.concat(frames).sort("t", maintain_order=True)
    apart = (pl.col("t").diff().over("k") > timedelta(seconds=gap)).fill_null(True)
    numbered = rows.with_columns(session=apart.cum_sum().over("k"))
    start, end = pl.col("t").min(), pl.col("t").max() + timedelta(seconds=gap)
    wanted = numbered.group_by("k", "session").agg(start.alias("window_start"), end.alias("window_end"), **aggs)
    assert_same_rows(out, wanted.drop("session").cast(dict(out.schema)).select(out.columns))


@given(data=disorderly(), workers=st.sampled_from([1, 2]))
def test_cumulative_windows_are_running_totals_of_their_steps(data, workers):
    frames, every = data
    out = collected(keyed(frames, every).window(flare.cumulative("40s", step="10s")).agg(**SIMPLE), workers)
    rows = pl.concat(frames).with_columns(window_start=pl.col("t").dt.truncate("40s"))
    ends = pl.DataFrame({"step": [10, 20, 30, 40]})
    grown = rows.join(ends, how="cross").with_columns(window_end=pl.col("window_start") + pl.duration(seconds="step"))
    grown = grown.filter(pl.col("t") < pl.col("window_end"))
    wanted = grown.group_by("k", "window_start", "window_end").agg(**SIMPLE)
    assert_same_rows(out, wanted.cast(dict(out.schema)).select(out.columns))


@given(data=disorderly(), workers=st.sampled_from([1, 2]))
def test_a_global_window_is_a_group_by(data, workers):
    frames, every = data
    out = collected(keyed(frames, every).window(flare.global_window()).agg(**SIMPLE), workers)
    assert_same_rows(out, pl.concat(frames).group_by("k").agg(**SIMPLE).cast(dict(out.schema)).select(out.columns))


@given(data=disorderly(), workers=st.sampled_from([1, 2]), n=st.integers(1, 5))
def test_first_and_last_are_those_that_came_first_and_last(data, workers, n):
    frames, every = data
    one = frames[0]
    aggs = {"first": pl.col("v").first(), "last": pl.col("x").last(), "rows": pl.len()}
    tumbling = collected(keyed([one], every).window(flare.tumbling("15s")).agg(**aggs), workers).drop("window_end")
    wanted = one.group_by("k", window_start=pl.col("t").dt.truncate("15s")).agg(**aggs)
    assert_same_rows(tumbling, wanted.cast(dict(tumbling.schema)))
    counted = collected(flare.from_frame(one).key_by("k").window(flare.count(n)).agg(**aggs), workers)
    numbered = one.with_columns(number=pl.int_range(pl.len()).over("k") // n)
    assert_same_rows(counted, numbered.group_by("k", "number").agg(**aggs).drop("number").cast(dict(counted.schema)))


@given(data=disorderly(), slack=st.integers(0, 10), lateness=st.sampled_from([0, 4]), workers=st.sampled_from([1, 2]))
def test_rows_beyond_the_disorder_are_in_a_result_or_in_late(data, slack, lateness, workers):
    frames, every = data
    rows = pl.concat(frames).height
    for window in (flare.tumbling("15s"), flare.session("4s")):
        stream = flare.from_frames(frames).event_time("t", f"{slack}s", watermark_every=every).key_by("k")
        stream = stream.window(window, allowed_lateness=f"{lateness}s").agg(n=pl.len(), values=pl.col("v").implode())
        job = flare.run(stream, stream.late, workers=workers).wait(30)
        out, late = job.result(stream.ref), job.result(stream.late.ref)
        if lateness and window == flare.tumbling("15s"):
            out = out.sort("revision").unique(["k", "window_start"], keep="last")
        if not lateness or window == flare.tumbling("15s"):
            assert out["n"].sum() + late.height == rows
        assert job.ledger()["balanced"].all()
        assert (late["late_by"] > timedelta(0)).all()


def grouped(rows: pl.DataFrame, size: str, aggs: dict[str, pl.Expr], out: pl.DataFrame) -> pl.DataFrame:
    """Aggregate by key and `window_start`, in the columns of `out`; Polars counts with fewer bits."""
    wanted = rows.group_by("k", "window_start").agg(**aggs)
    wanted = wanted.with_columns(window_end=pl.col("window_start").dt.offset_by(size))
    return wanted.select(out.columns).cast(dict(out.schema))
