"""Rows that Flink has committed: read them, and hand those of sinks to their writers."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from ...clock import SystemClock
from ...runtime.sink import SinkDriver
from ...types import NEVER, Clock, EventTime
from . import codec
from .ledger import LEDGER, sums
from .loading import Loaded

_DONE = ".delivered-"


def committed(results: Path, outputs: Sequence[str], run: str | None = None) -> Iterator[tuple[str, pl.DataFrame]]:
    """Return the rows of outputs, frame by frame. What a crash left behind has a name that begins with a dot."""
    for of_run, output, content in _lines(results):
        if output in outputs and run in (None, of_run):
            yield output, codec.from_ipc(base64.b64decode(content))


def ledger(results: Path) -> pl.DataFrame:
    """Return where the rows of a job are: each stage with its counts, and nothing for what has not ended."""
    return sums(rows for _, rows in committed(results, [LEDGER]))


def complete(results: Path) -> list[str]:
    """Return the runs whose sources have been read to their end, with all that follows from it, and are not delivered.

    A run that was cancelled, or stopped with a savepoint, is not among them.
    """
    runs = dict.fromkeys(run for run, output, _ in _lines(results) if output == LEDGER)
    return [run for run in runs if not (results / f"{_DONE}{run}").exists()]


def deliver(loaded: Loaded, results: Path, run: str) -> None:
    """Write the rows of each sink, and make them visible at once."""
    sinks = {stage.id: stage for stage in loaded.plan.stages if stage.sink is not None}
    clock = SystemClock()
    drivers: dict[str, SinkDriver] = {}
    try:
        for name, stage in sinks.items():
            assert stage.sink is not None
            drivers[name] = SinkDriver(stage.sink(clock), _Context(name, clock), stage.schema, clock, commit_every=None)
        for name, rows in committed(results, tuple(sinks), run):
            drivers[name].write(rows)
        # All of them, before any is seen.
        for driver in drivers.values():
            driver.prepare()
        for driver in drivers.values():
            driver.commit()
        (results / f"{_DONE}{run}").touch()
    except BaseException:
        for driver in drivers.values():
            driver.abort()
        raise
    finally:
        for driver in drivers.values():
            driver.close()


def _lines(results: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield what is committed: of which run, of which output, and the rows."""
    for file in sorted(results.rglob("*")):
        if not file.is_file() or any(part.startswith(".") for part in file.relative_to(results).parts):
            continue
        with file.open("rb") as lines:
            for line in lines:
                run, output, content = line.rstrip(b"\n").split(b" ", 2)
                yield run.decode(), output.decode(), content


class _Context:
    """What a writer is lent."""

    watermark: EventTime = NEVER
    restored = False

    def __init__(self, node_id: str, clock: Clock) -> None:
        self.node_id = node_id
        self.clock = clock
        self.counters: dict[str, int] = {}

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + by
