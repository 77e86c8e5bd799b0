"""What live displays keep of all the rows that come: a bounded part, the same however these were cut into batches."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Sequence

import polars as pl

MOST_SERIES, BUCKETS = 8, 100
"""A series has four points for each bucket at most: the first, the last, the least and the greatest."""
_LEAST = -1_000
_FAR = 1e300
"""Beyond this, the way from one end to the other is no number."""
EXACT = 10_000
"""Points that a revision can still replace."""


class Newest:
    """The newest rows; with an identity, the newest of each, and a row that comes again counts as new."""

    def __init__(self, schema: pl.Schema, most: int, identity: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._most, self._identity = most, list(identity)
        self._kept = pl.DataFrame(schema=schema)
        self._came = 0

    @property
    def came(self) -> int:
        """Rows that have come in all."""
        return self._came

    def add(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Take rows, and return those that had to go."""
        with self._lock:
            self._came += batch.height
            rows = pl.concat([self._kept, batch if self._identity else batch.tail(self._most)])
            if self._identity:
                rows = rows.unique(self._identity, keep="last", maintain_order=True)
            gone = max(0, rows.height - self._most)
            self._kept = _copied(rows.slice(gone))
            return rows.head(gone)

    def rows(self) -> pl.DataFrame:
        """Return what is kept: in the order in which it came, or with an identity in the order of that."""
        with self._lock:
            return self._kept.sort(self._identity, maintain_order=True) if self._identity else self._kept


class Points:
    """Points of several lines, few enough to draw, with the shape of all.

    Along x the plane is cut into buckets as wide as a power of two, of which a line has at most a hundred, and in each
    of them four points are kept: the first, the last, the least and the greatest. On a picture no wider than that
    these draw the very line that all points would draw (Jugel et al., M4, 2014). Wider buckets are made of whole
    narrower ones, so that the points do not depend on how they came.
    """

    SCHEMA = pl.Schema({"series": pl.String(), "x": pl.Float64(), "y": pl.Float64()})

    def __init__(self, identity: Sequence[str] = (), schema: pl.Schema | None = None) -> None:
        self._lock = threading.Lock()
        self._drawn = pl.DataFrame(schema=self.SCHEMA)
        self._names: list[str] = []
        self._came = self._blank = self._beyond = 0
        exact = pl.Schema({**self.SCHEMA, **(schema or {})})
        self._exact = Newest(exact, EXACT, identity) if identity else None

    @property
    def came(self) -> int:
        """Rows that have come in all."""
        return self._came

    @property
    def left_out(self) -> str:
        """Say which rows are not drawn, nothing if all are."""
        said = [f"{self._blank:,} rows have no x or no y to draw"] if self._blank else []
        said += [f"{self._beyond:,} rows are of more than {MOST_SERIES} series"] if self._beyond else []
        return " and ".join(said)

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows with the columns series, x, y and those of the identity."""
        with self._lock:
            self._came += rows.height
            fine = rows.filter((pl.col("x").abs() <= _FAR) & (pl.col("y").abs() <= _FAR))
            self._blank += rows.height - fine.height
            for name in fine["series"].unique(maintain_order=True):
                if name not in self._names and len(self._names) < MOST_SERIES:
                    self._names.append(name)
            known = fine.filter(pl.col("series").is_in(self._names))
            self._beyond += fine.height - known.height
            if self._exact is not None:
                known = self._exact.add(known)
            if known.height:
                self._drawn = m4(pl.concat([self._drawn, known.select(self.SCHEMA.names())]))

    def points(self) -> pl.DataFrame:
        """Return the points to draw, line by line in the order in which the lines came, along x."""
        with self._lock:
            every = self._drawn
            if self._exact is not None:
                every = m4(pl.concat([every, self._exact.rows().select(self.SCHEMA.names())]))
            order = {name: at for at, name in enumerate(self._names)}
            place = pl.col("series").replace_strict(order, default=None, return_dtype=pl.Int64)
            return every.sort(place, "x", "y")


def m4(points: pl.DataFrame) -> pl.DataFrame:
    """Return the first, last, least and greatest point of each bucket of each line."""
    if points.is_empty():
        return points
    width = bucket_width(*points.select(low=pl.col("x").min(), high=pl.col("x").max()).row(0))
    x, y = pl.col("x"), pl.col("y")
    found = points.group_by("series", (x / width).floor().alias("bucket")).agg(
        # Ties are settled by the other coordinate, or the order of rows would tell.
        x0=x.min(),
        y0=y.filter(x == x.min()).min(),
        x1=x.max(),
        y1=y.filter(x == x.max()).max(),
        x2=x.filter(y == y.min()).min(),
        y2=y.min(),
        x3=x.filter(y == y.max()).min(),
        y3=y.max(),
    )
    parts = [found.select("series", x=f"x{n}", y=f"y{n}") for n in range(4)]
    return pl.concat(parts).unique().sort("series", "x", "y")


def bucket_width(low: float, high: float) -> float:
    """Return the least power of two of which a hundred cover the way from `low` to `high`."""
    reach = max(abs(low), abs(high))
    # Narrower ones could not be told apart by a float of this size.
    power = max(math.frexp(reach)[1] - 50, _LEAST) if reach else _LEAST
    if high > low:
        power = max(power, math.frexp((high - low) / BUCKETS)[1] - 1)
    while math.floor(high / 2.0**power) - math.floor(low / 2.0**power) >= BUCKETS:
        power += 1
    return 2.0**power


def _copied(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows without the buffers of the batch they were cut from."""
    return pl.read_ipc_stream(io.BytesIO(frame.clone().write_ipc_stream(None).getvalue()))
