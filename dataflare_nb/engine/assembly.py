"""Make the stages of a plan and connect them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ..runtime.channel import Channel
from ..runtime.host import Host
from ..runtime.journal import Journal
from ..runtime.metrics import Shares
from ..runtime.plan import StagePlan
from ..runtime.probe import Change
from ..runtime.sink import SinkDriver
from ..runtime.source import SourceDriver
from ..types import NEVER, Clock
from .stage import Stage
from .tuning import Tuning


def open_stage(
    plan: StagePlan,
    started: float,
    clock: Clock,
    journal: Journal,
    *,
    live: bool,
    commit_every: int | None,
    changes: Mapping[str, list[Change]] | None = None,
) -> Stage:
    """Return a stage with its source, operator or sink open. What guests log goes to the journal.

    `changes` are those of params that are to be replayed.
    """
    stage = Stage(plan, Shares(started), live=live)
    if plan.source is not None:
        source = plan.source(clock)
        if hasattr(source, "hear"):
            source.hear = journal.hear
        stage.source = SourceDriver(
            source, clock, quantum=plan.quantum, idle_timeout=plan.idle_timeout, in_order=plan.in_order
        )
    elif plan.operator is not None:
        stage.host = Host(
            plan.id,
            plan.operator(),
            clock,
            transparent=plan.transparent,
            branches=plan.branches,
            ports=len(plan.inputs),
            hear=journal.hear,
        )
        stage.tuning = Tuning.of(plan, changes)
    else:
        assert plan.sink is not None
        context = _SinkContext(plan.id, clock, journal)
        sink = plan.sink(clock)
        stage.sink_counters = context.counters
        stage.sink = SinkDriver(sink, context, plan.schema, clock, commit_every=commit_every)
    return stage


def connect(stages: Mapping[str, Stage], capacity: int) -> None:
    """Put a channel before each port, and let every stage know its neighbours."""
    for stage in stages.values():
        for port, (sender, tag) in enumerate(stage.plan.inputs):
            stage.inputs.append(Channel(capacity))
            stage.marks.append((NEVER, 0))
            stages[sender].outputs.setdefault(tag, []).append((stage, port))
            stages[sender].downstream.append(stage)
            stage.upstream.append(stages[sender])
    before: dict[str, set[str]] = {}
    for stage in stages.values():
        above = [{sender} | before[sender] for sender, _ in stage.plan.inputs]
        before[stage.id] = set().union(*above)
        stage.related = {
            port: {other for other in range(len(above)) if other != port and above[port] & above[other]}
            for port in range(len(above))
        }


class _SinkContext:
    """What a writer is lent."""

    def __init__(self, node_id: str, clock: Clock, journal: Journal) -> None:
        self.node_id = node_id
        self.clock = clock
        self.watermark = NEVER
        self.restored = False
        self.counters: dict[str, int] = {}
        self.hear = journal.hear
        self._counting = threading.Lock()

    def count(self, name: str, by: int = 1) -> None:
        with self._counting:
            self.counters[name] = self.counters.get(name, 0) + by
