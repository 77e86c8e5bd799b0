"""Windows keep the laws over scripts that nobody thought of."""

from __future__ import annotations

import os

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.testing import Sleep, check_operator
from dataflare_nb.types import Idle

from .helpers import mark, operator, rows, timed

EXAMPLES = 4 if os.environ.get("HYPOTHESIS_PROFILE", "default") == "default" else 150


@st.composite
def scripts(draw: st.DrawFn) -> list[object]:
    """Return batches, watermarks that never go back, pauses and idleness, in any order."""
    lines: list[object] = []
    reached = -30
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["rows", "rows", "mark", "mark", "idle", "sleep"]))
        if kind == "rows":
            seconds = draw(st.lists(st.integers(max(-30, reached - 25), reached + 30), min_size=1, max_size=5))
            keys = draw(st.lists(st.sampled_from(["a", "b", None]), min_size=len(seconds), max_size=len(seconds)))
            lines.append(rows(*((k, 0, s, s % 7, s / 3) for k, s in zip(keys, seconds, strict=True))))
        elif kind == "mark":
            reached += draw(st.integers(0, 15))
            lines.append(mark(reached))
        elif kind == "idle":
            lines.append(Idle())
        else:
            lines.append(Sleep(draw(st.sampled_from([300_000, 1_000_000]))))
    return lines


AGGS = {"n": pl.len(), "v": pl.col("v").sum(), "sd": pl.col("x").std()}
KEPT = {"n": pl.len(), "v": pl.col("v").implode(), "first": pl.col("x").first()}


@settings(max_examples=EXAMPLES)
@given(
    scripts(),
    st.sampled_from([flare.tumbling("10s"), flare.hopping("12s", every="5s"), flare.cumulative("15s", step="5s")]),
    st.sampled_from(["0s", "3s", "12s"]),
    st.sampled_from([None, None, flare.after_count(2), flare.every("1s")]),
    st.sampled_from([AGGS, KEPT]),
)
def test_grid_windows(script, window, lateness, early, aggs):
    build = operator(lambda s: timed(s).key_by("k").window(window, allowed_lateness=lateness, early=early).agg(**aggs))
    check_operator(build, script, keys=["k"], timers=early is None)


@settings(max_examples=EXAMPLES)
@given(
    scripts(),
    st.sampled_from(["0s", "3s", "12s"]),
    st.sampled_from([None, None, flare.after_count(2), flare.every("1s")]),
    st.sampled_from([AGGS, KEPT]),
)
def test_sessions(script, lateness, early, aggs):
    window = flare.session("4s")
    build = operator(lambda s: timed(s).key_by("k").window(window, allowed_lateness=lateness, early=early).agg(**aggs))
    check_operator(build, script, keys=["k"], timers=early is None)


@settings(max_examples=EXAMPLES)
@given(scripts(), st.integers(1, 4), st.sampled_from([AGGS, KEPT]))
def test_count_windows(script, n, aggs):
    check_operator(operator(lambda s: timed(s).key_by("k").window(flare.count(n)).agg(**aggs)), script, keys=["k"])
