"""Tables and charts of running jobs: rows in, a bounded part kept, at most four pictures a second out."""

from __future__ import annotations

import hashlib
import logging
import threading
import uuid
import weakref
from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from ..dtypes import short
from ..errors import BadOption, UnknownColumn, WrongType, listing, nearest, told
from ..graph.identity import identity
from ..graph.node import is_named, split_ref
from ..types import Schema
from .cells import table
from .change import ENDED, UNEXPECTED
from .display import _kernel, _publish, _wait_a_while, static
from .keeping import Newest, Points
from .saved import chart_html, chart_png, chart_text, table_html, table_text

if TYPE_CHECKING:
    from ..engine import Job
    from ..engine.tap import Tap
    from .live_view import LiveView

log = logging.getLogger("dataflare_nb")

INTERVAL, _FULL = 0.25, 50_000
"""Seconds between two looks, and rows that are not let wait for one."""
_MOST_TABLE, _LONGEST = 500, 80
CALENDAR = (-62_000_000_000_000.0, 253_000_000_000_000.0)
"""Milliseconds since 1970, with some room to the years 1 and 9999, beyond which nobody can draw."""
_naming = threading.Lock()
_named: weakref.WeakValueDictionary[str, Live] = weakref.WeakValueDictionary()
_counted: dict[tuple[str, str], tuple[int, int]] = {}


class Live:
    """What a table and a chart share: the job, a thread that folds in what came, and the way onto the page."""

    kind: ClassVar[str]

    def __init__(self, rows_of: Any, name: str | None, workers: int | None) -> None:
        self._places: list[str] = []
        self._views: list[LiveView] = []
        self._changed = self._over = self._replaced = False
        self._fault = ""
        self._folding, self._adding = threading.Lock(), threading.Lock()
        self._added: list[pl.DataFrame] = []
        self._rows = 0
        self._closed = threading.Event()
        self._tap: Tap | None = None
        if isinstance(rows_of, tuple):
            self.job, stage = rows_of
            self._stage, edge = self.job.edge(stage)
            self._prepare(edge.schema, identity(self.job.graph, self._stage))
            own_name = _name(self.kind, f"{self.job.name}_{self._stage}")
            before = _replaced(own_name)
            self._tap = self.job.tap(self._stage)
        else:
            self._stage = rows_of.ref
            self._prepare(rows_of.schema, identity(rows_of.graph, rows_of.ref))
            own_name = name or _name(self.kind, rows_of.ref)
            before = _replaced(own_name)
            # A sink of its own, so that not a row is missed and nothing else is kept.
            reader = rows_of.for_each_batch(lambda batch, _: self.add(batch))
            self.job = reader.run(own_name, workers=workers)
        with _naming:
            _named[own_name] = self
        if before is not None:
            before.close()
        self._thread = threading.Thread(target=self._run, name=f"dataflare:{self.job.name}:{self.kind}", daemon=True)
        self._thread.start()

    job: Job

    def _note(self) -> str:
        """Say which rows are not shown, and why, nothing if all are."""
        missed = self._tap.missed if self._tap is not None else 0
        said = [self._left_out(), f"{missed:,} rows came too fast to be looked at" if missed else ""]
        return " and ".join(filter(None, [*said, f"no more is shown: {self._fault}" if self._fault else ""]))

    # What a kind of display says

    def _prepare(self, schema: Schema, identity: tuple[str, ...]) -> None:
        raise NotImplementedError

    def _keep(self, rows: pl.DataFrame) -> None:
        raise NotImplementedError

    def _left_out(self) -> str:
        return ""

    def document(self) -> tuple[dict[str, Any], bytes]:
        """Return what the page is told: words, and numbers as little-endian doubles."""
        raise NotImplementedError

    def saved(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what stays when the job has ended."""
        raise NotImplementedError

    # The thread

    def _run(self) -> None:
        try:
            while not self._look():
                pass
        finally:
            if self._tap is not None:
                self.job.untap(self._tap)
            self._over = True
            self._freeze()

    def _look(self) -> bool:
        """Show what has come, wait for more, and tell whether that was all."""
        ended = self.job.read().status in ENDED
        self._fold()
        if self._changed or ended:
            self._changed = False
            for view in list(self._views):
                view.show(last=ended)
        for view in list(self._views):
            view.beat()
        return ended or bool(self._fault) or self._closed.wait(INTERVAL)

    def add(self, batch: pl.DataFrame) -> None:
        """Take rows of the stage. Many small batches are worked on as one, by whoever looks."""
        with self._adding:
            self._added.append(batch)
            self._rows += batch.height
            full = self._rows >= _FULL
        if full:
            self._fold()

    def _fold(self) -> None:
        with self._folding:
            with self._adding:
                came, self._added, self._rows = self._added, [], 0
            came += self._tap.take() if self._tap is not None else []
            if came and not self._fault:
                try:
                    self._keep(pl.concat(came))
                except UNEXPECTED as error:
                    # A display that cannot go on is no reason for the job to fail.
                    self._fault = told(error).partition("\n")[0]
                    log.warning("job %s: its %s shows no more: %s", self.job.name, self.kind, self._fault)
                self._changed = True

    def close(self) -> None:
        """Show no more than there is by now. A job goes on."""
        self._closed.set()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the end of the job, until all its rows are in the display."""
        self.job.wait(timeout)
        self._thread.join(10)
        return self

    # Onto the page

    def _ipython_display_(self) -> None:
        if _kernel() is None:
            raise NotImplementedError
        if static():
            _wait_a_while(self.job)
            if self.job.read().status in ENDED:
                self._thread.join(10)
            _publish(*self.saved())
            return
        if self._over:
            _publish(*self.saved())
            return
        try:
            from .live_view import view_of
        except ImportError:
            _publish(*self.saved())
            return
        name, view = uuid.uuid4().hex, view_of(self)
        self._views.append(view)
        bundle = view._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        _publish({**(data or {}), "text/plain": repr(self)}, metadata, name)
        self._places.append(name)
        if self._over:
            self._freeze()

    def _freeze(self) -> None:
        places, self._places = self._places, []
        saved = self.saved() if places else ({}, {})
        for name in places:
            _publish(*saved, name, update=True)
        views, self._views = self._views, []
        for view in views:
            view.end(replaced=self._replaced)

    def __repr__(self) -> str:
        return str(self.saved()[0]["text/plain"])


class Table(Live):
    """The newest rows of a stage. `rows()` returns them as a frame."""

    kind = "table"

    def __init__(self, rows_of: Any, *, rows: int, name: str | None = None, workers: int | None = None) -> None:
        if not 1 <= rows <= _MOST_TABLE:
            raise BadOption(f"rows={rows}; between 1 and {_MOST_TABLE}")
        self._most = rows
        super().__init__(rows_of, name, workers)

    def _prepare(self, schema: Schema, identity: tuple[str, ...]) -> None:
        self._kept = Newest(schema, self._most, identity)

    def _keep(self, rows: pl.DataFrame) -> None:
        self._kept.add(rows)

    def rows(self) -> pl.DataFrame:
        """Return the rows that are shown."""
        self._fold()
        return self._kept.rows()

    def document(self) -> tuple[dict[str, Any], bytes]:
        shown = table(self.rows(), self._most)
        columns = [{"name": each["name"], "dtype": each["dtype"]} for each in shown["columns"]]
        hidden = [f"the first {len(columns)} of {len(columns) + shown['hidden']:,} columns"] if shown["hidden"] else []
        words = {
            "came": self._kept.came,
            "title": self._title(),
            "note": "; ".join(filter(None, [*hidden, self._note()])),
        }
        return {"columns": columns, "rows": shown["rows"], **words}, b""

    def saved(self) -> tuple[dict[str, Any], dict[str, Any]]:
        rows = self.rows()
        return {
            "text/plain": table_text(rows, self._title(), self._kept.came, self._note()),
            "text/html": table_html(rows, self._title(), self._kept.came, self._note()),
        }, {}

    def _title(self) -> str:
        node_id, tag = split_ref(self._stage)
        item = self.job.graph.nodes[node_id]
        words = node_id if is_named(item) else item.label()
        return (words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…") + (
            "" if tag == "main" else f", {tag}"
        )


class Chart(Live):
    """A column over another, line by line. `points()` returns what is drawn as a frame."""

    kind = "chart"

    def __init__(
        self, rows_of: Any, *, x: str, y: str, by: str | None, name: str | None = None, workers: int | None = None
    ) -> None:
        self.x, self.y, self.by = x, y, by
        super().__init__(rows_of, name, workers)

    def _prepare(self, schema: Schema, identity: tuple[str, ...]) -> None:
        for option, column in (("x", self.x), ("y", self.y), ("by", self.by)):
            if column is not None and column not in schema:
                raise UnknownColumn(f"{option}={column!r}; the stream has {listing(schema)}.{nearest(column, schema)}")
        numbers = [name for name, dtype in schema.items() if _is_number(dtype)]
        if not (_is_number(schema[self.x]) or schema[self.x].is_temporal()):
            times = [name for name, dtype in schema.items() if dtype.is_temporal()]
            raise WrongType(
                f"x={self.x!r} is {short(schema[self.x])}; it is a number or a time, as {listing([*times, *numbers])}"
            )
        if self.by is not None and (schema[self.by].is_nested() or isinstance(schema[self.by], pl.Binary | pl.Object)):
            raise WrongType(f"by={self.by!r} is {short(schema[self.by])}, of which no name of a line can be made")
        if not _is_number(schema[self.y]):
            raise WrongType(f"y={self.y!r} is {short(schema[self.y])}; it is a number, as {listing(numbers)}")
        self.dtype = schema[self.x]
        self.temporal = self.dtype.is_temporal()
        self.zone = (self.dtype.time_zone or "") if isinstance(self.dtype, pl.Datetime) else ""
        # The identity of a point keeps its own name beside those of the picture.
        self._identity = {name: f"id_{name}" for name in identity}
        kinds = {self._identity[name]: schema[name] for name in identity}
        self._kept = Points(list(kinds), Schema(kinds))

    def _keep(self, rows: pl.DataFrame) -> None:
        x = _milliseconds(self.x, rows.schema[self.x]) if self.temporal else pl.col(self.x).cast(pl.Float64)
        series = pl.lit(self.y) if self.by is None else pl.col(self.by).cast(pl.String).fill_null("null")
        own = {made: pl.col(name) for name, made in self._identity.items()}
        self._kept.add(rows.select(series=series, x=x, y=pl.col(self.y).cast(pl.Float64), **own))

    def _left_out(self) -> str:
        return self._kept.left_out

    @property
    def title(self) -> str:
        """What is drawn, in words."""
        zone = f" ({self.zone})" if self.zone else ""
        return f"{self.y} over {self.x}{zone}" + (f" by {self.by}" if self.by else "")

    def points(self) -> pl.DataFrame:
        """Return what is drawn: series, x (a time is of the column's type, to the microsecond), y."""
        points = self._points()
        return points.with_columns(_time("x", self.dtype)) if self.temporal else points

    def _points(self) -> pl.DataFrame:
        self._fold()
        return self._kept.points()

    def document(self) -> tuple[dict[str, Any], bytes]:
        points = self._points()
        lines = [{"name": name, "n": group.height} for (name,), group in points.group_by("series", maintain_order=True)]
        words = {"series": lines, "x": self.x, "y": self.y, "by": self.by or "", "time": self.temporal}
        words["zone"] = self.zone
        numbers = pl.concat([points["x"], points["y"]]).to_numpy().tobytes() if points.height else b""
        return {**words, "came": self._kept.came, "note": self._note(), "title": self.title}, numbers

    def saved(self) -> tuple[dict[str, Any], dict[str, Any]]:
        points = self._points()
        text = chart_text(self, self.points(), self._kept.came, self._note())
        data: dict[str, Any] = {"text/plain": text}
        try:
            png, width, height = chart_png(self, points)
        except ImportError:
            return {**data, "text/html": chart_html(text)}, {}
        data["image/png"] = b64encode(png).decode()
        return data, {"image/png": {"width": width, "height": height}}


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _milliseconds(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    match dtype:
        case pl.Date():
            ms = column.to_physical().cast(pl.Float64) * 86_400_000.0
        case pl.Time():
            ms = column.cast(pl.Int64).cast(pl.Float64) / 1e6
        case pl.Datetime() | pl.Duration():
            ms = column.to_physical().cast(pl.Float64) / {"ms": 1.0, "us": 1e3, "ns": 1e6}[dtype.time_unit]
        case _:
            ms = column.cast(pl.Float64)
    # No axis has other years.
    return pl.when(ms.is_between(*CALENDAR)).then(ms)


def _time(name: str, dtype: pl.DataType) -> pl.Expr:
    """Turn milliseconds back into times of a column's type."""
    # As fine as a double of milliseconds is in our days.
    us = (pl.col(name) * 1e3).round().cast(pl.Int64)
    match dtype:
        case pl.Date():
            return us.cast(pl.Datetime("us")).cast(pl.Date)
        case pl.Time():
            return (us.clip(upper_bound=86_400_000_000 - 1) * 1_000).cast(pl.Time)
        case pl.Duration():
            return us.cast(pl.Duration("us")).cast(dtype)
        case pl.Datetime(time_unit=unit, time_zone=zone):
            return us.cast(pl.Datetime("us", zone)).dt.cast_time_unit(unit)
        case _:
            return us.cast(dtype)


def _replaced(name: str) -> Live | None:
    """Return the display that had this name, which knows now that another takes its place."""
    with _naming:
        before = _named.get(name)
    if before is not None:
        before._replaced = True
    return before


def _name(kind: str, head: str) -> str:
    """Name a job after the cell that it is started in, so that running the cell again replaces it."""
    shell = _kernel()
    cell = shell.get_parent().get("metadata", {}).get("cellId") if shell is not None else None
    if not cell:
        return f"{kind}_{head.replace('.', '_')}"[:64]
    with _naming:
        run, number = _counted.get((cell, kind), (-1, 0))
        number = number + 1 if run == shell.execution_count else 1
        _counted[cell, kind] = (shell.execution_count, number)
    short = hashlib.sha256(str(cell).encode()).hexdigest()[:8]
    return f"{kind}_{short}" if number == 1 else f"{kind}_{short}_{number}"
