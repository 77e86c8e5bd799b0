"""Keep the workers out of a stage for a moment, to look into it or to change it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import JobTimeout
from .scheduler import Scheduler
from .stage import Stage, Work


@contextmanager
def visiting(scheduler: Scheduler, stage: Stage, patience: float) -> Iterator[None]:
    """Let those who are inside finish what they have taken, and let nobody in until this ends.

    Who waits longer than `patience` seconds for that gets JobTimeout, and the stage goes on.
    """
    deadline = time.monotonic() + patience
    visit = Work(stage, -1, thread=threading.get_ident())
    try:
        _wait(scheduler, stage, deadline, lambda: stage.visited is None, lambda: setattr(stage, "visited", visit))
        _wait(scheduler, stage, deadline, lambda: not stage.running, lambda: stage.running.append(visit))
        yield
    finally:
        with scheduler.lock:
            if stage.visited is visit:
                stage.visited = None
            if visit in stage.running:
                stage.running.remove(visit)
            scheduler.changed.notify_all()
        if scheduler.ended:
            # The job ended meanwhile, and left this stage to whoever was inside.
            scheduler.on_end()


def _wait(
    scheduler: Scheduler, stage: Stage, deadline: float, until: Callable[[], bool], then: Callable[[], None]
) -> None:
    """Look again and again, which may be interrupted at any moment: `Condition.wait` may not."""
    while True:
        with scheduler.lock:
            if until():
                then()
                return
        if time.monotonic() > deadline:
            raise JobTimeout(f"stage {stage.id} was busy all the time; ask again")
        time.sleep(0.001)
