"""A progress bar for whoever waits for a job."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from ..errors import BadOption, JobTimeout

if TYPE_CHECKING:
    from .job import Job

_EVERY = 0.1


def bar_class() -> Any:
    """Return tqdm's bar: a widget in a notebook, else a line on stderr."""
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        raise BadOption(
            'progress=True shows its bar with tqdm, which is not installed; pip install "dataflare-nb[notebook]"'
        ) from None


def watch(job: Job, bar: Any, timeout: float | None = None) -> Job:
    """Wait as `job.wait(timeout)` does, and show the rows read; of how many, where the sources know that."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with bar(desc=job.name, unit=" rows", unit_scale=True) as shown:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                job.wait(_EVERY if left is None else min(_EVERY, left))
            except JobTimeout:
                _show(job, shown)
                if left is not None and left <= _EVERY:
                    raise
            except BaseException:
                _show(job, shown)
                raise
            else:
                _show(job, shown)
                return job


def _show(job: Job, shown: Any) -> None:
    reading = job.read()
    rows = sum(node.rows_out + sum(node.sides.values()) for node in reading.nodes.values() if node.kind == "source")
    if reading.progress:
        shown.total = round(rows / reading.progress)
    shown.update(rows - shown.n)
    shown.refresh()
