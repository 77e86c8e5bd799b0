"""Say in one sentence what limits a stream, from what its stages did in the last second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FULL = 0.9
"""A queue that is as full as this holds its sender back."""
WAITS = 0.3
"""Who is backpressured for this share of the time has to wait."""
MOSTLY = 0.5
QUIET = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """What a stage did in the last second: shares of the time, and rows out per second."""

    label: str
    busy: float
    backpressured: float
    rows_per_s: float
    source: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """How full the queue between two stages is, which are given by their places."""

    sender: int
    receiver: int
    fill: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """`node` is the place of the stage that limits the stream, None if no single one does."""

    node: int | None
    words: str


def verdict(loads: Sequence[Load], queues: Sequence[Queue], workers: int = 1) -> Verdict:
    """Return what limits the stream.

    That is the stage which is busy and not held back itself, while what feeds it waits. Stages before it that wait are
    its victims, so they are never named.
    """
    above = _above(len(loads), queues)
    total = sum(load.busy for load in loads)
    spent = total >= FULL * workers
    free = [place for place, load in enumerate(loads) if load.busy > load.backpressured and load.busy > QUIET]
    pressed = {place for place in free if _is_pressed(place, loads, queues, above)}
    limiting = [
        place
        for place in free
        if loads[place].busy >= FULL
        # Nothing could fill up before a source: one that mostly works is the limit itself.
        or (loads[place].busy >= MOSTLY and (place in pressed or spent or loads[place].source))
        or (place in pressed and loads[place].busy >= WAITS)
    ]
    if limiting:
        # To a tenth: between two that are as busy, the one with a queue before it is what the others wait for.
        culprit = max(limiting, key=lambda place: (round(loads[place].busy, 1), place in pressed, loads[place].busy))
        return Verdict(culprit, _limits(culprit, loads, above))
    flowing = any(load.rows_per_s > 0 for load in loads)
    if not flowing and total < QUIET * len(loads) + QUIET:
        return Verdict(None, "nothing to do: no rows have come in the last second")
    busiest = max(range(len(loads)), key=lambda place: loads[place].busy)
    if spent or any(load.backpressured >= WAITS for load in loads):
        return Verdict(
            None,
            f"no single stage limits the stream: `{loads[busiest].label}` is the busiest with "
            f"{_percent(loads[busiest].busy)} of the time, and the processors are shared",
        )
    return Verdict(None, _keeps_up(busiest, loads))


def _above(stages: int, queues: Sequence[Queue]) -> list[set[int]]:
    """Return for each stage those that feed it, at once or through others. Stages are in topological order."""
    above: list[set[int]] = [set() for _ in range(stages)]
    for place in range(stages):
        for queue in queues:
            if queue.receiver == place:
                above[place] |= {queue.sender} | above[queue.sender]
    return above


def _is_pressed(place: int, loads: Sequence[Load], queues: Sequence[Queue], above: Sequence[set[int]]) -> bool:
    if any(queue.receiver == place and queue.fill >= FULL for queue in queues):
        return True
    return any(loads[other].backpressured >= WAITS for other in above[place])


def _limits(culprit: int, loads: Sequence[Load], above: Sequence[set[int]]) -> str:
    load = loads[culprit]
    says = f"`{load.label}` limits the stream: busy {_percent(load.busy)} of the time"
    # To a tenth, and then the nearest: a sentence that names another stage each second cannot be read.
    waiting = max(above[culprit], key=lambda place: (round(loads[place].backpressured, 1), place), default=None)
    if waiting is not None and loads[waiting].backpressured >= 0.05:
        return f"{says}, `{loads[waiting].label}` upstream waits {_percent(loads[waiting].backpressured)}"
    if load.source:
        return f"{says}, and all that follows waits for its {_rate(load.rows_per_s)}"
    return f"{says}, the others share what is left"


def _keeps_up(busiest: int, loads: Sequence[Load]) -> str:
    sources = [load for load in loads if load.source]
    rate = _rate(sum(load.rows_per_s for load in sources))
    if not any(load.rows_per_s > 0 for load in sources):
        return f"keeps up: no more rows come in, `{loads[busiest].label}` works on what is left"
    who = f"the source `{sources[0].label}` gives" if len(sources) == 1 else f"the {len(sources)} sources give"
    return f"keeps up: {who} no more than {rate}; the busiest stage, `{loads[busiest].label}`, works " + (
        f"{_percent(loads[busiest].busy)} of the time"
    )


def _rate(rows_per_s: float) -> str:
    return f"{rows_per_s:,.0f} rows/s" if rows_per_s >= 10 else f"{rows_per_s:.2g} rows/s"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
