"""Let a paused job read one more batch, and wait until it is through."""

from __future__ import annotations

import time

from ..errors import JobTimeout
from .scheduler import Scheduler


def step(job: str, scheduler: Scheduler, patience: float) -> None:
    """Let each source give one batch, if it has one now, and return when all of it is as far as it gets.

    Returns early when the job goes on or ends. Raises JobTimeout when `patience` seconds were not enough; the job stays
    paused, and what was read is still worked on.
    """
    deadline = time.monotonic() + patience
    with scheduler.lock:
        asked = {stage.id for stage in scheduler.stages if stage.source is not None and not stage.ended}
        scheduler.stepping = set(asked)
        scheduler.changed.notify_all()
    try:
        # Looks again and again, which may be interrupted at any moment: `Condition.wait` may not.
        while not _is_done(scheduler, asked):
            if time.monotonic() > deadline:
                raise JobTimeout(
                    f"job {job} was stepped, and after {patience:g} s {_missing(scheduler, asked)}; it stays paused"
                )
            time.sleep(0.002)
    finally:
        scheduler.stepping = set()


def _is_done(scheduler: Scheduler, asked: set[str]) -> bool:
    with scheduler.lock:
        return not scheduler.paused or scheduler.over() or _through(scheduler, asked)


def _missing(scheduler: Scheduler, asked: set[str]) -> str:
    """Say what was waited for in vain."""
    with scheduler.lock:
        if scheduler.stepping < asked:
            return "its batch is not through"
        if any(stage.in_flight() for stage in scheduler.stages):
            return "what was read before is still under way"
        return "no source has given a row"


def _through(scheduler: Scheduler, asked: set[str]) -> bool:
    """Tell whether something was read, nothing more is to be had, and nobody has anything to do."""
    waiting = scheduler.stepping
    if waiting == asked and asked:
        return False
    for stage in scheduler.stages:
        if stage.running or (stage.id in waiting and not stage.empty_polls):
            return False
        if stage.source is None and not stage.ended and stage.port() is not None and stage.room():
            return False
    return True
