"""Results that update in place: `flare.table` and `flare.chart`."""

from __future__ import annotations

import importlib
from typing import Any

from .engine import Job
from .errors import WrongType, located, shown
from .signature import held
from .stream import Stream


@held
def table(
    rows_of: Any, stage: str | None = None, *, rows: int = 20, name: str | None = None, workers: int | None = None
) -> Any:
    """Show the newest rows of a stream, or of a stage of a job, as a table that updates in place.

    A stream is started as a job, `name` or named after the cell, which is replaced when the cell runs again; `.job` is
    the job. A revision of a window takes the place of the result that it revises.
    """
    with located("table"):
        return _live().Table(_job(rows_of, stage), rows=rows, name=name, workers=workers)


@held
def chart(
    rows_of: Any,
    stage: str | None = None,
    *,
    x: str,
    y: str,
    by: str | None = None,
    name: str | None = None,
    workers: int | None = None,
) -> Any:
    """Draw a column of a stream, or of a stage of a job, over another, a line for each value of `by`, live.

    However many rows come, a line has at most 400 points, chosen so that it looks like that of all rows, and there are
    at most eight lines. A stream is started as a job, as by `table`.
    """
    with located("chart"):
        return _live().Chart(_job(rows_of, stage), x=x, y=y, by=by, name=name, workers=workers)


def _job(rows_of: Any, stage: str | None) -> Any:
    if isinstance(rows_of, Stream):
        if stage is not None:
            raise WrongType(f"stage={stage!r} is for a job; of a stream it is stream.at({stage!r})")
        return rows_of
    if isinstance(rows_of, Job):
        return rows_of, stage
    way = "; flare.from_frame(...) makes a stream of it" if hasattr(rows_of, "__arrow_c_stream__") else ""
    raise WrongType(f"{shown(rows_of)} is neither a stream nor a job{way}")


def _live() -> Any:
    return importlib.import_module(".notebook.live", __package__)
