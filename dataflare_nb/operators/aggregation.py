"""Aggregations in steps: rows to partials, partials to fewer partials, partials to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ..decompose import Split
from ..types import Schema

ROWS = "__rows"


@dataclass(frozen=True)
class Aggregation:
    """What to compute per key. With `two_phase` state holds partial results, otherwise it holds the rows themselves.

    `columns` maps each output column to its expression and, if it can be decomposed, its split.
    """

    keys: tuple[str, ...]
    columns: Mapping[str, tuple[pl.Expr, Split | None]]
    schema: Schema
    """Schema of the input rows."""
    output: Schema
    """Schema of the results."""
    two_phase: bool

    @classmethod
    def of(
        cls,
        keys: Sequence[str],
        columns: Mapping[str, tuple[pl.Expr, Split | None]],
        schema: Schema,
        output: Schema,
        *,
        keep_order: bool = False,
    ) -> Aggregation:
        """Decide on two phases. `keep_order` says that partials will be merged out of arrival order, which `first` and
        `last` cannot bear."""
        splits = [split for _, split in columns.values()]
        two_phase = all(split is not None and not (keep_order and split.ordered) for split in splits)
        return cls(tuple(keys), columns, schema, output, two_phase)

    @property
    def needed(self) -> list[str]:
        """Input columns to keep, in the order of the schema."""
        roots: set[str] = set(self.keys)
        for expr, _ in self.columns.values():
            found = expr.meta.root_names()
            if expr.meta.has_multiple_outputs():
                return list(self.schema)
            roots.update(found)
        return [name for name in self.schema if name in roots]

    def reduce(self, rows: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
        """Return what state keeps of rows: partials per `by`, or the rows."""
        if not self.two_phase:
            return rows
        return _group(rows, by, [*self._partials(), pl.len().cast(pl.Int64).alias(ROWS)])

    def merge(self, state: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
        """Return fewer partials that mean the same. Rows stay rows."""
        if not self.two_phase:
            return state
        merged = [expr.alias(name) for _, split in self.columns.values() if split for name, expr in split.merge.items()]
        return _group(state, by, [*merged, pl.col(ROWS).sum()])

    def results(self, state: pl.LazyFrame, by: Sequence[str], *, reduced: bool) -> pl.LazyFrame:
        """Return a row per `by`: output columns and `__rows`. `reduced` says that `state` has one partial for each."""
        if not self.two_phase:
            direct: dict[int, pl.Expr] = {}
            for name, (expr, split) in self.columns.items():
                if split is None:
                    direct[id(expr)] = expr if expr.meta.has_multiple_outputs() else expr.alias(name)
            counted = pl.len().cast(pl.Int64).alias(ROWS)
            state = _group(state, by, [*self._partials(), *direct.values(), counted])
        elif not reduced:
            state = self.merge(state, by)
        finals = [
            (split.final if split is not None else pl.col(name)).cast(self.output[name]).alias(name)
            for name, (_, split) in self.columns.items()
        ]
        return state.select(*by, *finals, ROWS)

    def state_rows(self, state: pl.DataFrame) -> int:
        """Return how many input rows a piece of state stands for."""
        return int(state[ROWS].sum()) if self.two_phase else state.height

    def _partials(self) -> list[pl.Expr]:
        return [expr.alias(name) for _, split in self.columns.values() if split for name, expr in split.partial.items()]


def _group(frame: pl.LazyFrame, by: Sequence[str], columns: Sequence[pl.Expr]) -> pl.LazyFrame:
    if by:
        return frame.group_by(*by).agg(*columns)
    return frame.select(*columns).filter(pl.col(ROWS) > 0)
