"""Read frames that are already in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from ..dtypes import short
from ..errors import SourceError, WrongType
from ..types import Batch, EndOfStream, Json, Schema
from .options import Options, Resources

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_LARGE = 1 << 20


def as_frame(obj: Any) -> pl.DataFrame:
    """Turn anything that speaks Arrow into a Polars frame, once and without a copy where the layout allows.

    Takes Polars, pyarrow, pandas and DuckDB objects. A LazyFrame is collected, a stream of batches is
    drained, and a nameless pandas index is left behind; a named one becomes a column.

    >>> as_frame(pl.LazyFrame({"a": [1]})).shape
    (1, 1)
    """
    if isinstance(obj, pl.DataFrame):
        return obj
    if isinstance(obj, pl.LazyFrame):
        return obj.collect()
    if isinstance(obj, pl.Series):
        raise WrongType("a frame is needed, not a Series; make one with `.to_frame()`")
    if not hasattr(obj, "__arrow_c_stream__") and not hasattr(obj, "__arrow_c_array__"):
        arrow = getattr(obj, "to_arrow_table", None) or getattr(obj, "fetch_arrow_table", None)
        if arrow is None:
            raise WrongType(
                f"a frame is needed, not {type(obj).__name__}; give a Polars, pandas or pyarrow table, a DuckDB "
                "relation, or anything with `__arrow_c_stream__`"
                + ("; pl.DataFrame(...) makes one of it" if isinstance(obj, dict | list) else "")
            )
        obj = arrow()
    try:
        frame = pl.DataFrame(_with_named_index(obj) if type(obj).__module__.split(".")[0] == "pandas" else obj)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise WrongType(f"a frame is needed; {type(obj).__name__} cannot become one: {error}") from error
    return frame.drop([name for name in frame.columns if _PANDAS_INDEX.fullmatch(name)])


def _with_named_index(obj: Any) -> Any:
    """Turn the named levels of a pandas index into columns, which Polars would drop."""
    names = [name for name in obj.index.names if name is not None] if hasattr(obj, "columns") else []
    return obj.reset_index(level=names) if names else obj


class FrameOptions(Options, frozen=True, kw_only=True):
    """Options of `frame`: blob keys of one frame, or of several, each a split."""

    frame: str | None = None
    frames: list[str] | None = None

    def problems(self) -> Iterable[str]:
        if (self.frame is None) == (self.frames is None):
            yield "give either `frame` or `frames`"
        if self.frames == []:
            yield "`frames` is empty; a stream needs at least one frame for its schema"


class FrameSource:
    """Rows of frames in memory, one split each. Polls are zero-copy slices."""

    bounded = True
    invalid_schema: Schema | None = None

    def __init__(self, frames: Sequence[pl.DataFrame]) -> None:
        self._frames = {f"frame-{i}": frame for i, frame in enumerate(frames)}
        self.schema = frames[0].schema
        for split, frame in self._frames.items():
            require_schema(f"from_frames: {split}", frame.schema, self.schema)

    @classmethod
    def make(cls, options: FrameOptions, resources: Resources) -> FrameSource:
        keys = options.frames if options.frames is not None else [options.frame or ""]
        return cls([as_frame(resources.blob("frame", "frame", key)) for key in keys])

    def total_rows(self) -> int | None:
        return sum(frame.height for frame in self._frames.values())

    def splits(self) -> Sequence[str]:
        return list(self._frames)

    def open(self, split: str, offset: Json | None = None) -> FrameReader:
        return FrameReader(self._frames[split], offset["row"] if offset else 0)


class FrameReader:
    """A frame being read in slices; large ones are even, so that no core waits for an odd last one."""

    def __init__(self, frame: pl.DataFrame, row: int) -> None:
        self._frame = frame
        self._row = row

    def poll(self, max_rows: int) -> Batch:
        if self._row >= self._frame.height:
            raise EndOfStream
        if max_rows >= _LARGE:
            left = self._frame.height - self._row
            max_rows = -(-left // -(-left // max_rows))
        batch = self._frame.slice(self._row, max_rows)
        self._row += batch.height
        return batch

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        return {"row": self._row}

    def close(self) -> None:
        self._frame = self._frame.clear()


def require_schema(place: str, found: Schema, wanted: Schema, advice: str = "") -> None:
    """Raise `SourceError` that lists how `found` differs from `wanted`; a mere other order of columns counts too."""
    if found != wanted:
        differences = "; ".join(_differences(found, wanted))
        told = f"{place} does not fit the schema of the source: {differences}"
        raise SourceError(f"{told}. {advice}" if advice else told)


def require_same(place: str, found: Schema, built_on: Schema) -> None:
    """Raise `SourceError` if a source has changed since a stream was built on it."""
    if found != built_on:
        told = ", ".join(_differences(found, built_on))
        raise SourceError(
            f"{place} no longer has the columns this stream was built on: {told}. Build the stream anew to read it"
        )


def _differences(found: Schema, wanted: Schema) -> list[str]:
    differences = [f"column `{name}` is missing" for name in wanted if name not in found]
    differences += [f"column `{name}` is new" for name in found if name not in wanted]
    differences += [
        f"column `{name}` is {short(found[name])}, not {short(dtype)}"
        for name, dtype in wanted.items()
        if name in found and found[name] != dtype
    ]
    return differences or [f"the columns stand in the order {', '.join(found)}, not {', '.join(wanted)}"]
