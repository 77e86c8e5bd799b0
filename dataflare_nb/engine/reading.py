"""The numbers of stages at one moment. Ask under the scheduler's lock."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import node
from ..operators.event_time import AssignEventTime
from ..runtime.probe import NodeReading, Sample
from ..types import FOREVER, NEVER, EventTime
from .stage import Stage

_EXACT = (node.EventTime, node.Union, node.WithColumns, node.Select, node.Rename, node.Cast, node.Drop, node.Unnest)


def newest_time(stages: Iterable[Stage]) -> int | None:
    """Return the largest event time that any row had."""
    times = [
        stage.host.operator.newest()
        for stage in stages
        if stage.host is not None and isinstance(stage.host.operator, AssignEventTime)
    ]
    return max((time for time in times if time is not None), default=None)


def reading(stage: Stage, now: float, newest: int | None) -> NodeReading:
    """Return all numbers of a stage."""
    shares = stage.shares.shares(now)
    counters = stage.counters
    known = NEVER < stage.watermark < FOREVER
    lag = newest - stage.watermark if known and newest is not None else None
    in_flight = stage.in_flight()
    written = counters.rows_in - in_flight
    return NodeReading(
        id=stage.id,
        kind=stage.plan.kind,
        label=stage.plan.label,
        rows_in=counters.rows_in,
        rows_out=stage.written if stage.sink is not None else counters.rows_out,
        bytes_in=counters.bytes_in,
        bytes_out=counters.bytes_in if stage.sink is not None and written else counters.bytes_out,
        batches_in=counters.batches_in,
        batches_out=counters.batches_out,
        batch_rows=counters.last_batch_rows,
        busy=shares["busy"],
        idle=shares["idle"],
        backpressured=shares["backpressured"],
        latency_p50=stage.latency.quantile(0.5),
        latency_p99=stage.latency.quantile(0.99),
        watermark=EventTime(stage.watermark) if known else None,
        lag_us=max(0, lag) if lag is not None else None,
        sides=dict(counters.sides),
        in_flight=in_flight,
        held=stage.held,
        released=stage.released,
        exact=all(isinstance(item, _EXACT) for item in stage.plan.nodes),
        stateful=isinstance(stage.plan.nodes[-1], node.Aggregate),
        counters=stage.own_counters(),
        swaps=tuple(stage.swaps),
        changes=tuple(stage.tuning.changes) if stage.tuning is not None else (),
    )


def sampled(stages: Iterable[Stage], now: float, elapsed: float) -> Sample:
    """Return a point of a job's history."""
    stages = list(stages)
    newest = newest_time(stages)
    return Sample(
        elapsed,
        {s.id: s.written if s.sink is not None else s.counters.rows_out for s in stages},
        {s.id: s.shares.seconds(now) for s in stages},
        {s.id: newest - s.watermark if newest is not None and NEVER < s.watermark < FOREVER else None for s in stages},
    )
