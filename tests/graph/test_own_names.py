"""Columns called as what a window gives, or as what its state is made of, are refused where they are used."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

import dataflare_nb as flare


@pytest.mark.parametrize("name", ["window_start", "window_end", "pane", "revision"])
def test_a_key_called_as_a_column_of_the_result(name):
    frame = pl.DataFrame({"t": [datetime(2024, 1, 1)], name: [1]})
    keyed = flare.from_frame(frame).event_time("t").key_by(name)
    with pytest.raises(flare.errors.BadOption, match=f"the key `{name}` has the name of a column"):
        keyed.window(flare.tumbling("1h"), allowed_lateness="1m").agg(n=pl.len())


def test_a_column_called_as_a_part_of_the_state():
    frame = pl.DataFrame({"t": [datetime(2024, 1, 1)], "__t": [1]})
    timed = flare.from_frame(frame).event_time("t").window(flare.tumbling("1h"))
    with pytest.raises(flare.errors.BadOption, match="reads `__t`; names that start with two underscores are ours"):
        timed.agg(m=pl.col("__t").median())
    assert timed.agg(n=pl.len()).collect()["n"].to_list() == [1]
