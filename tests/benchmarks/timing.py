"""Time works side by side."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median

Work = Callable[[], object]


def interleaved(works: Sequence[Work], runs: int = 9, *, large: bool = False) -> list[float]:
    """Return the median seconds of each, run in turn, always right after itself.

    So each finds the caches and the allocator's memory as it left them itself, not as its neighbour did. Before `large`
    works garbage is collected.
    """
    took: list[list[float]] = [[] for _ in works]
    for _ in range(runs):
        for i, work in enumerate(works):
            work()
            if large:
                gc.collect()
            start = time.perf_counter()
            result = work()
            took[i].append(time.perf_counter() - start)
            del result
    return [median(one) for one in took]
