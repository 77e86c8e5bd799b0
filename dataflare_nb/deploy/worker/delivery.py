"""Rows that Flink has committed: read them, and hand those of sinks to their writers."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from ...clock import SystemClock
from ...runtime.sink import SinkDriver
from ...types import NEVER, Clock, EventTime, Json
from . import codec
from .ledger import LEDGER, sums
from .loading import Loaded

_JOURNAL = ".delivered-"


def committed(results: Path, outputs: Sequence[str], run: str | None = None) -> Iterator[tuple[str, pl.DataFrame]]:
    """Return the rows of outputs, frame by frame. What a crash left behind has a name that begins with a dot."""
    for file in _files(results):
        # What held rows of sinks alone may be handed over and taken away meanwhile.
        with suppress(FileNotFoundError):
            for line in _lines(file):
                if line.output in outputs and run in (None, line.run):
                    yield line.output, line.rows()


def ledger(results: Path) -> pl.DataFrame:
    """Return where the rows of a job are: each stage with its counts, and nothing for what has not ended."""
    return sums(rows for _, rows in committed(results, [LEDGER]))


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a job had come: the files that Flink had committed, and what had been handed to the sinks."""

    files: frozenset[Path]
    journals: Mapping[Path, bytes]

    @classmethod
    def of(cls, results: Path) -> Mark:
        """Return how far it is now."""
        journals = {place: place.read_bytes() for place in results.glob(f"{_JOURNAL}*") if place.suffix != ".new"}
        return cls(frozenset(_files(results)), journals)


def check(loaded: Loaded, results: Path) -> None:
    """Raise what a sink raises when it is opened, before a job has run for it: that it holds other rows already."""
    if any(results.glob(f"{_JOURNAL}*")):
        return
    with ExitStack() as opened:
        for driver in _drivers(loaded, SystemClock(), restored=False).values():
            opened.callback(driver.close)
            opened.callback(driver.abort)


def deliver(loaded: Loaded, results: Path) -> None:
    """Hand over the rows of the runs that have ended, each as a whole.

    A run has ended when its sources have been read to their end, with all that follows from it: not one that was
    cancelled, or stopped with a savepoint.
    """
    for run in dict.fromkeys(line.run for file in _files(results) for line in _lines(file) if line.output == LEDGER):
        with closing(Delivery(loaded, results, run)) as delivery:
            delivery.hand_over()


class Courier:
    """Hands over the rows of a live job as they are committed, and takes away the files that nobody needs any more."""

    def __init__(self, loaded: Loaded, results: Path) -> None:
        self._loaded = loaded
        self._results = results
        self._sinks = {stage.id for stage in loaded.plan.stages if stage.sink is not None}
        self._deliveries: dict[str, Delivery] = {}
        self._kept: set[Path] = set()

    def go(self) -> None:
        """Hand over what has been committed since the last time."""
        if not self._sinks:
            return
        fresh = {file: list(_lines(file)) for file in _files(self._results) if file not in self._kept}
        for run in dict.fromkeys(line.run for lines in fresh.values() for line in lines):
            if run not in self._deliveries:
                self._deliveries[run] = Delivery(self._loaded, self._results, run)
            self._deliveries[run].hand_over()
        for file, lines in fresh.items():
            if all(line.output in self._sinks for line in lines):
                file.unlink()
            else:
                self._kept.add(file)

    def close(self) -> None:
        """Close the sinks."""
        for delivery in self._deliveries.values():
            delivery.close()


class _Journal(msgspec.Struct):
    """What of a run has been handed over: the files of results, and what each sink must be told if it does not know."""

    files: list[str] = []
    sinks: dict[str, Json] | None = None


class Delivery:
    """Hands the committed rows of one run to the sinks, whenever asked to; each row once, whatever is killed.

    What was written to all sinks is prepared first. Then a journal says what is prepared and which files of results it
    holds, and only then it is shown. After a crash what the journal says is shown, which changes nothing where it has
    been, and what it does not say is handed over.
    """

    def __init__(self, loaded: Loaded, results: Path, run: str) -> None:
        self._loaded = loaded
        self._results = results
        self._run = run
        self._place = results / f"{_JOURNAL}{run}"
        self._clock = SystemClock()
        self._drivers: dict[str, SinkDriver] = {}
        self._journal = (
            msgspec.json.decode(self._place.read_bytes(), type=_Journal) if self._place.exists() else _Journal()
        )

    def hand_over(self) -> None:
        """Write what is new to the sinks, and show it in all of them."""
        self._journal.files = [name for name in self._journal.files if (self._results / name).exists()]
        known = set(self._journal.files)
        fresh = [file for file in _files(self._results) if self._name(file) not in known]
        if not fresh and self._journal.sinks is None:
            return
        try:
            self._open()
            if fresh:
                self._write(fresh)
        except BaseException:
            for driver in self._drivers.values():
                driver.abort()
            raise

    def close(self) -> None:
        """Close the sinks. May be called twice."""
        for driver in self._drivers.values():
            driver.close()

    def _open(self) -> None:
        if self._drivers:
            return
        self._drivers = _drivers(self._loaded, self._clock, restored=self._place.exists())
        for name, prepared in (self._journal.sinks or {}).items():
            self._drivers[name].restore(prepared)
        self._shown()

    def _write(self, files: Sequence[Path]) -> None:
        for file in files:
            for line in _lines(file):
                if line.run == self._run and line.output in self._drivers:
                    self._drivers[line.output].write(line.rows())
        self._journal.sinks = {name: driver.snapshot() for name, driver in self._drivers.items()}
        self._journal.files += map(self._name, files)
        self._keep()
        for driver in self._drivers.values():
            driver.commit()
        self._shown()

    def _shown(self) -> None:
        if self._journal.sinks is not None:
            self._journal.sinks = None
            self._keep()

    def _keep(self) -> None:
        beside = self._place.with_name(f"{self._place.name}.new")
        with beside.open("wb") as out:
            out.write(msgspec.json.encode(self._journal))
            out.flush()
            os.fsync(out.fileno())
        beside.rename(self._place)

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self._results))


@dataclass(frozen=True, slots=True)
class _Line:
    run: str
    output: str
    content: bytes

    def rows(self) -> pl.DataFrame:
        return codec.from_ipc(base64.b64decode(self.content))


def _drivers(loaded: Loaded, clock: Clock, *, restored: bool) -> dict[str, SinkDriver]:
    return {
        stage.id: SinkDriver(
            stage.sink(clock), _Context(stage.id, clock, restored=restored), stage.schema, clock, commit_every=None
        )
        for stage in loaded.plan.stages
        if stage.sink is not None
    }


def _files(results: Path) -> list[Path]:
    """Return the files that Flink has committed, in the order in which they were written. It hides the others.

    One sink writes one after the other. Of their names only the number at the end has an order, until it starts anew.
    """
    found: list[tuple[int, int, str, Path]] = []
    for file in results.rglob("*"):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(results).parts):
            with suppress(FileNotFoundError):
                found.append((file.stat().st_mtime_ns, len(file.name), str(file), file))
    return [file for *_, file in sorted(found)]


def _lines(file: Path) -> Iterator[_Line]:
    with file.open("rb") as lines:
        for line in lines:
            run, output, content = line.rstrip(b"\n").split(b" ", 2)
            yield _Line(run.decode(), output.decode(), content)


class _Context:
    """What a writer is lent."""

    watermark: EventTime = NEVER

    def __init__(self, node_id: str, clock: Clock, *, restored: bool) -> None:
        self.node_id = node_id
        self.clock = clock
        self.restored = restored
        self.counters: dict[str, int] = {}

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + by
