"""Large batches are cut at the borders of windows and grouped window by window: the rows must not notice."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import dataflare_nb as flare
from dataflare_nb.operators.panes import CUT_ROWS

ROWS = 12 * CUT_ROWS
HOUR = 3_600_000_000
AGGREGATES = {
    "rows": pl.len(),
    "total": pl.col("n").sum(),
    "opened": pl.col("n").first(),
    "closed": pl.col("n").last(),
}


def events(span_us: int, *, hole: tuple[int, int] = (0, 0), keys: int = 5, disorder_us: int = 0) -> pl.DataFrame:
    """Return rows spread over `span_us`, less those between the ends of `hole`, out of order by up to `disorder_us`."""
    frame = pl.select(n=pl.int_range(ROWS)).with_columns(
        at=pl.col("n") * span_us // ROWS + (pl.col("n").hash(7) % (disorder_us + 1)).cast(pl.Int64),
        key=pl.col("n").hash(3) % keys,
    )
    return frame.filter(~pl.col("at").is_between(*hole)).with_columns(pl.col("at").cast(pl.Datetime("us")))


def windowed(frame: pl.DataFrame, window: object, disorder_us: int, every: int) -> pl.DataFrame:
    stream = flare.from_frame(frame).event_time("at", f"{disorder_us}us", watermark_every=every)
    return stream.key_by("key").window(window).agg(**AGGREGATES).collect().drop("window_end")


def batch(frame: pl.DataFrame, size: str) -> pl.DataFrame:
    grouped = frame.group_by("key", pl.col("at").dt.truncate(size).alias("window_start"), maintain_order=True)
    return grouped.agg(**AGGREGATES)


@pytest.mark.parametrize(
    ("size", "span_us", "hole"),
    [
        pytest.param("1h", 7 * HOUR, (0, 0), id="several batches a window"),
        pytest.param("1h", 30 * HOUR, (0, 0), id="two or three windows a batch"),
        pytest.param("1h", 400 * HOUR, (0, 0), id="too many windows a batch to cut"),
        pytest.param("1h", 30 * HOUR, (4 * HOUR + 1, 6 * HOUR + 1), id="a window without rows inside a batch"),
        pytest.param("1w", 30 * 24 * HOUR, (0, 0), id="windows by the calendar"),
        pytest.param("1mo", 200 * 24 * HOUR, (0, 0), id="months"),
    ],
)
@pytest.mark.parametrize("disorder_us", [0, HOUR // 2])
@pytest.mark.parametrize("every", [CUT_ROWS // 2, CUT_ROWS, 5 * CUT_ROWS])
def test_windows_of_large_batches_equal_the_batch_query(size, span_us, hole, disorder_us, every):
    frame = events(span_us, hole=hole, disorder_us=disorder_us)
    result = windowed(frame, flare.tumbling(size), disorder_us, every)
    expected = batch(frame, size).select(result.columns)
    assert_frame_equal(result, expected, check_row_order=False, check_dtypes=False)


def test_the_rows_held_are_counted_when_a_batch_is_cut_twice():
    frame = events(3 * HOUR, disorder_us=HOUR // 2)
    stream = flare.from_frame(frame).event_time("at", "30m", watermark_every=4 * CUT_ROWS)
    job = stream.key_by("key").window(flare.tumbling("1h")).agg(rows=pl.len()).named("w").run().wait(30)
    entry = job.ledger().filter(stage="w")
    assert entry["balanced"].item()
    assert entry["aggregated"].item() == frame.height == job.result()["rows"].sum()
