"""Compare frames as bags of rows, and show the smallest difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import polars as pl
from polars.testing import assert_frame_equal

from ..dtypes import short

MOST_SHOWN, LONGEST_SHOWN = 8, 100


class LawBroken(AssertionError):  # noqa: N818 - says what it is
    """A law does not hold. The message names the law, where it broke, and the rows that differ."""


def assert_same_rows(got: pl.DataFrame, wanted: pl.DataFrame, what: str = "", *, ordered: bool = False) -> None:
    """Raise LawBroken unless both frames have the same columns and rows; floats may differ in their last bits.

    The order of the rows counts only when `ordered`.

    >>> assert_same_rows(pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [2, 1]}))
    """
    said = f"{what}: " if what else ""
    if got.schema != wanted.schema:
        raise LawBroken(f"{said}the columns are {_listed(got)} instead of {_listed(wanted)}")
    left, right = (got, wanted) if ordered else (_sorted(got), _sorted(wanted))
    try:
        assert_frame_equal(left, right, rel_tol=1e-9, abs_tol=1e-9)
    except AssertionError as error:
        raise LawBroken(f"{said}{_difference(got, wanted, str(error))}") from None


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    if frame.height < 2:
        return frame
    keys = [(_exact(row), repr(row)) for row in frame.iter_rows()]
    return frame[sorted(range(frame.height), key=keys.__getitem__)]


def _exact(row: tuple[object, ...]) -> tuple[str, ...]:
    """Leave out what may differ in its last bits, or rows would be sorted by noise."""
    return tuple("" if isinstance(value, float) else repr(value) for value in row)


def _difference(got: pl.DataFrame, wanted: pl.DataFrame, otherwise: str) -> str:
    here, there = _counted(got), _counted(wanted)
    parts = [f"{got.height} rows instead of {wanted.height}"] if got.height != wanted.height else []
    for rows, word in ((here - there, "unexpected"), (there - here, "missing")):
        shown = [_shown(row, got.columns) for row in list(rows.elements())[:MOST_SHOWN]]
        if shown:
            more = rows.total() - len(shown)
            parts.append(f"{word}:\n    " + "\n    ".join(shown) + (f"\n    and {more} more" if more else ""))
    return "\n  ".join(parts) if parts else f"the rows are the same, their order is not\n{otherwise}"


def _counted(frame: pl.DataFrame) -> Counter[Hashable]:
    return Counter(tuple(_rounded(value) for value in row) for row in frame.iter_rows())


def _rounded(value: object) -> Hashable:
    if isinstance(value, float):
        return f"{value:.9g}"
    return value if isinstance(value, Hashable) else repr(value)


def _shown(row: Hashable, columns: list[str]) -> str:
    assert isinstance(row, tuple)
    return ", ".join(f"{name}={_clipped(value)}" for name, value in zip(columns, row, strict=True))


def _clipped(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def _listed(frame: pl.DataFrame) -> str:
    return ", ".join(f"{name}: {short(dtype)}" for name, dtype in frame.schema.items()) or "none"
