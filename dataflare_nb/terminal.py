"""Follow a job on a terminal: a bar while it runs, tables at its end."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import polars as pl

from .engine import Job
from .errors import JobTimeout
from .runtime.names import short_names
from .runtime.probe import Reading

_BAR_EVERY, _LINE_EVERY = 0.1, 2.0
_ALWAYS = ("stage", "in", "out", "late", "invalid", "balanced")
_NARROWEST, _WIDEST = 80, 140
_LONGEST_NAME = 40


def follow(job: Job, *, total: int | None = None, out: TextIO | None = None) -> Reading:
    """Show how far a job is until it ends, and return its last reading. Raises what the job failed with.

    A bar on a terminal, else a line now and then. An interrupt stops the job, and so does a pipe that nobody reads.
    """
    out = out or sys.stdout
    show = _bar(job, total, out) if out.isatty() else None
    try:
        for reading in _readings(job, _BAR_EVERY if show else _LINE_EVERY):
            if show:
                show(reading)
            elif reading.status != "finished":
                print(_line(reading, total), file=out, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        job.stop()
        raise
    finally:
        if show:
            show(None)
    return job.read()


def rows_read(reading: Reading) -> int:
    """Return the rows that all sources have given."""
    return sum(node.rows_out for node in reading.nodes.values() if node.kind == "source")


def watermark(reading: Reading) -> dt.datetime | None:
    """Return the time up to which every stage that knows of time has come."""
    known = [node.watermark for node in reading.nodes.values() if node.watermark is not None]
    return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=min(known)) if known else None


def ledger(job: Job) -> str:
    """Return the ledger as text: what stages do for their ids, and without the columns that are zero all the way."""
    frame = job.ledger().with_columns(pl.col("stage").replace(short_names(job.plan, longest=_LONGEST_NAME)))
    shown = [name for name in frame.columns if name in _ALWAYS or frame[name].sum()]
    return table(frame.select(shown))


def table(frame: pl.DataFrame, *, rows: int = 40) -> str:
    """Return a frame as text that fits the terminal."""
    with pl.Config(
        tbl_cols=-1,
        tbl_rows=rows,
        tbl_width_chars=_width(),
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_formatting="UTF8_FULL_CONDENSED",
        thousands_separator=",",
        float_precision=1,
        fmt_str_lengths=60,
    ):
        return str(frame)


def _width() -> int:
    return min(max(shutil.get_terminal_size((110, 24)).columns, _NARROWEST), _WIDEST)


def _readings(job: Job, every: float) -> Iterator[Reading]:
    while True:
        try:
            job.wait(every)
        except JobTimeout:
            yield job.read()
        else:
            yield job.read()
            return


def _line(reading: Reading, total: int | None) -> str:
    rows = rows_read(reading)
    part = rows / total if total else reading.progress
    told = [f"{rows:,} rows"]
    if part is not None:
        told.append(f"{part:.0%}")
    if reading.elapsed:
        told.append(f"{rows / reading.elapsed:,.0f} rows/s")
    if reading.status != "running":
        told.append(reading.status)
    return ", ".join([*told, *_time(reading)])


def _time(reading: Reading) -> list[str]:
    time = watermark(reading)
    return [f"watermark {time:%Y-%m-%d %H:%M} UTC"] if time is not None else []


def _bar(job: Job, total: int | None, out: TextIO) -> Any:
    """Return a function that draws a reading, or ends the bar when given None; plain text where tqdm is missing."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _plain_bar(total, out)
    bar = tqdm(total=total, desc=job.name, unit=" rows", unit_scale=True, file=out, ncols=_width(), nrows=24)

    def show(reading: Reading | None) -> None:
        if reading is None:
            bar.close()
            return
        rows = rows_read(reading)
        if total is None and reading.progress:
            bar.total = round(rows / reading.progress)
        bar.set_postfix_str(" ".join(_time(reading)), refresh=False)
        bar.update(rows - bar.n)
        bar.refresh()

    return show


def _plain_bar(total: int | None, out: TextIO) -> Any:
    drawn = time.monotonic()

    def show(reading: Reading | None) -> None:
        nonlocal drawn
        if reading is None:
            print(file=out, flush=True)
        elif time.monotonic() - drawn > 2 * _BAR_EVERY:
            drawn = time.monotonic()
            print(f"\r\x1b[K{_line(reading, total)}", end="", file=out, flush=True)

    return show


@contextmanager
def step(what: str, out: TextIO | None = None) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    out = out or sys.stdout
    print(f"{what} ... ", end="", file=out, flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(file=out, flush=True)
        raise
    print(f"{time.monotonic() - began:.1f} s", file=out, flush=True)
