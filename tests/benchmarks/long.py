"""A long stream in little memory: one batch of rows again and again, its event time moving on."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import dataflare_nb as flare
from dataflare_nb.types import Batch, EndOfStream, Json

from .windows import ROWS_PER_SECOND, events

BASE_ROWS = 1 << 20
KEYS = 10_000


class Replay:
    """A source of `rows` rows: the base frame over and over, each time later."""

    bounded = True
    invalid_schema = None

    def __init__(self, base: pl.DataFrame, rows: int) -> None:
        self._base, self._rows = base, rows
        self.schema = base.schema

    def total_rows(self) -> int | None:
        return self._rows

    def splits(self) -> Sequence[str]:
        return ["replay"]

    def open(self, split: str, offset: Json | None = None) -> ReplayReader:
        return ReplayReader(self._base, self._rows, offset["row"] if offset else 0)


class ReplayReader:
    def __init__(self, base: pl.DataFrame, rows: int, row: int) -> None:
        self._base, self._rows, self._row = base, rows, row

    def poll(self, max_rows: int) -> Batch:
        if self._row >= self._rows:
            raise EndOfStream
        turn, start = divmod(self._row, self._base.height)
        most = min(max_rows, self._base.height - start, self._rows - self._row)
        self._row += most
        later = pl.duration(microseconds=turn * self._base.height * (1_000_000 // ROWS_PER_SECOND))
        return self._base.slice(start, most).with_columns(pl.col("ts") + later)

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        return {"row": self._row}

    def close(self) -> None:
        return None


def run(rows: int) -> dict[str, float]:
    """Aggregate `rows` rows and count the results; return seconds and MiB of memory beyond the input."""
    base = events(BASE_ROWS, KEYS)
    flare.register_source("replay", lambda options, resources: Replay(base, options["rows"]))
    counted = {"rows": 0}

    def count(frame: pl.DataFrame, epoch: int) -> None:
        counted["rows"] += int(frame["rows"].sum())

    def stream(rows: int) -> flare.Stream:
        return (
            flare.read("replay", rows=rows)
            .event_time("ts", max_out_of_orderness="500ms")
            .key_by("key")
            .window(flare.tumbling("10s"))
            .agg(total=pl.col("value").sum(), rows=pl.len(), highest=pl.col("value").max())
            .for_each_batch(count)
        )

    stream(BASE_ROWS).run().wait()
    counted["rows"] = 0
    before = _resident()
    start = time.perf_counter()
    stream(rows).run().wait()
    seconds = time.perf_counter() - start
    assert counted["rows"] == rows
    return {"rows": rows, "seconds": seconds, "mib": _most_resident() - before}


def in_a_process(rows: int) -> Mapping[str, Any]:
    """Run in a process of its own, so that memory is that of this run."""
    code = f"import json; from tests.benchmarks.long import run; print(json.dumps(run({rows})))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    result: Mapping[str, Any] = json.loads(done.stdout)
    return result


def _most_resident() -> float:
    # Not `ru_maxrss`, which begins with the memory of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _resident() -> float:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize() / 2**20
