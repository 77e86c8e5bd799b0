"""Two results side by side, as sets of rows that may come several times."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from polars import selectors as cs

_DIGITS = 12
"""Digits of floats that count: the order in which they are added up is not the same everywhere."""
_TIMES = "__times"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the cluster gave, beside what this process gives for the same input."""

    rows: int
    missing: pl.DataFrame
    """Rows that the cluster should have given."""
    extra: pl.DataFrame
    """Rows that it should not."""

    @classmethod
    def of(cls, found: pl.DataFrame, wanted: pl.DataFrame) -> Comparison:
        """Compare row by row, whatever the order; a row that comes twice must come twice."""
        return cls(found.height, _without(wanted, found), _without(found, wanted))

    @property
    def equal(self) -> bool:
        """Whether both are the same."""
        return self.missing.is_empty() and self.extra.is_empty()

    def __bool__(self) -> bool:
        return self.equal

    def __repr__(self) -> str:
        if self.equal:
            return f"the same {self.rows:,} rows"
        return f"{self.rows:,} rows; {self.missing.height:,} missing, {self.extra.height:,} too many"


def _without(some: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of one that the other does not have, or not as often."""
    some, others = _numbered(some), _numbered(others)
    return some.join(others, on=some.columns, how="anti", nulls_equal=True).drop(_TIMES)


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    names = frame.columns
    plain = frame.with_columns(cs.float().round_sig_figs(_DIGITS))
    return plain.with_columns(pl.int_range(pl.len()).over(names).alias(_TIMES))
