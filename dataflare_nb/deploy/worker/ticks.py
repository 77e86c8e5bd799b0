"""How many ticks the sources of a job need: what is left over is read by the last, without a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...clock import SystemClock
from ...graph import node
from ...runtime.plan import StagePlan
from .loading import Loaded
from .pipeline import POLL_ROWS

TURN = 0.05
"""Seconds that a tick reads for: long enough to put much into a record, short enough not to keep a checkpoint."""
ENDLESS = 1 << 62
"""Ticks of live input."""
UNKNOWN = 1 << 14
"""Ticks of a source that does not say how much it has: for a thousand million rows, and within a second for none."""
_SPARE = 64
_BYTES_OF_A_POLL = 1 << 20
"""What a poll of a file may read at least; more ticks than polls cost next to nothing."""


def ticks(loaded: Loaded, stages: Sequence[str]) -> int:
    """Return how many polls of the sources among stages will do, and no more than a few too many."""
    if not loaded.plan.bounded:
        return ENDLESS
    return _SPARE + sum(_of(loaded.stages[name]) for name in stages)


def _of(stage: StagePlan) -> int:
    if stage.source is None:
        return 0
    source = stage.source(SystemClock())
    rows, size = source.total_rows(), getattr(source, "total_bytes", lambda: None)()
    if rows is not None:
        polls = math.ceil(rows / min(POLL_ROWS, stage.quantum or POLL_ROWS))
    else:
        polls = UNKNOWN if size is None else math.ceil(size / _BYTES_OF_A_POLL)
    read = stage.nodes[-1]
    if isinstance(read, node.Read) and read.source == "rate" and rows is not None:
        # Each tick waits about so long for rows.
        polls += math.ceil(rows / float(read.options["rows_per_second"]) / TURN)
    return polls + 4 * len(source.splits())
