"""What operators have in common: nothing to do unless they say so."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import Batch, Clock, Context, EventTime, Output, State
from ..windows import Every
from .aggregation import Aggregation


class BaseOperator:
    """An operator that keeps nothing, waits for nothing and owns nothing."""

    parallel = False
    released: int = 0
    """Input rows that the state was answering for and has done with."""

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        raise NotImplementedError(type(self).__name__)

    def on_watermark(self, time: EventTime) -> Iterable[Output]:
        return ()

    def due(self) -> EventTime | None:
        return None

    def on_clock(self, now: EventTime) -> Iterable[Output]:
        return ()

    def due_clock(self) -> EventTime | None:
        return None

    def held(self) -> int:
        return 0

    def snapshot(self) -> State:
        return {}

    def restore(self, states: Iterable[State]) -> None:
        return None

    def interrupt(self) -> None:
        return None

    def close(self) -> None:
        return None


class WindowOperator(BaseOperator):
    """An operator around an aggregation, in which plugins may have to be started and stopped."""

    _agg: Aggregation

    def open(self, ctx: Context) -> None:
        super().open(ctx)
        self._agg.open(ctx)

    def interrupt(self) -> None:
        self._agg.interrupt()

    def close(self) -> None:
        self._agg.close()


def next_tick(clock: Clock, every: Every) -> EventTime:
    """Return when early results are next due.

    On a grid of its own rather than counted from the first row, so that operators which share the keys among them,
    and one that has been restored, all tell at the same time.
    """
    now, period = clock.now(), every.period.fixed_us("the period")
    return EventTime(now - now % period + period)
