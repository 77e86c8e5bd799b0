"""The test kit: a clock that stands still, inputs by script, and the laws that operators, sources, sinks and whole
pipelines keep.

A test of yours may look like these:

    from dataflare_nb import testing

    def test_my_operator_keeps_the_laws():
        testing.check_operator(lambda: Deduplicate("id"), [rows, Watermark(10), more, End()], keys=["id"])

    def test_nothing_fires_before_its_time():
        clock = testing.clock()
        feed = testing.Feed({"t": pl.Datetime("us")})
        job = feed.stream.event_time("t").window(flare.tumbling("1m")).agg(n=pl.len()).run(workers=1, clock=clock)
        feed.give(rows).settle()
        assert job.result().is_empty()
"""

from __future__ import annotations

from ..clock import ManualClock
from .operator_laws import Sleep, check_operator, recut
from .pipeline_laws import check_pipeline
from .rows import LawBroken, assert_same_rows
from .script import Feed, Wait, script, wait
from .sink_laws import check_sink
from .source_laws import check_source

__all__ = [
    "Feed",
    "LawBroken",
    "ManualClock",
    "Sleep",
    "Wait",
    "assert_same_rows",
    "check_operator",
    "check_pipeline",
    "check_sink",
    "check_source",
    "clock",
    "recut",
    "script",
    "wait",
]


def clock(now: int = 0) -> ManualClock:
    """Return a clock that moves only when told to, in microseconds since the epoch.

    >>> still = clock()
    >>> still.advance(1_000_000)
    >>> still.now()
    1000000
    """
    return ManualClock(now)
