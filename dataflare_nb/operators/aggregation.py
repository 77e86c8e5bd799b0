"""Aggregations in steps: rows to partials, partials to fewer partials, partials to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ..decompose import Split
from ..types import Context, Schema
from .grouped import PluginColumn, PluginColumns

ROWS = "__rows"


@dataclass(frozen=True)
class Aggregation:
    """What to compute per key. With `two_phase` state holds partial results, otherwise it holds the rows themselves.

    `columns` maps each output column of Polars to its expression and, if it can be decomposed, its split; `plugins` are
    the output columns that plugins make.
    """

    keys: tuple[str, ...]
    columns: Mapping[str, tuple[pl.Expr, Split | None]]
    plugins: PluginColumns
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
        plugins: Sequence[PluginColumn] = (),
        keep_order: bool = False,
    ) -> Aggregation:
        """Decide on two phases. `keep_order` says that partials will be merged out of arrival order, which `first` and
        `last` cannot bear."""
        splits = [split for _, split in columns.values()]
        two_phase = all(split is not None and not (keep_order and split.ordered) for split in splits)
        two_phase = two_phase and all(plugin.merges for plugin in plugins)
        return cls(tuple(keys), columns, PluginColumns(plugins), schema, output, two_phase)

    def open(self, ctx: Context) -> None:
        """Start the plugins."""
        for plugin in self.plugins:
            plugin.open(ctx)

    def interrupt(self) -> None:
        """Abort the plugins' running calls."""
        for plugin in self.plugins:
            plugin.interrupt()

    def close(self) -> None:
        """Free the plugins. May be called twice."""
        for plugin in self.plugins:
            plugin.close()

    @property
    def names(self) -> list[str]:
        """The output columns that are aggregated, in the order of the results."""
        made = {*self.columns, *(plugin.name for plugin in self.plugins)}
        return [name for name in self.output if name in made]

    @property
    def partials(self) -> list[str]:
        """The columns of a partial result."""
        splits = [name for _, split in self.columns.values() if split for name in split.partial]
        return [*splits, *self.plugins.names()]

    @property
    def needed(self) -> list[str]:
        """Input columns to keep, in the order of the schema."""
        roots: set[str] = set(self.keys)
        for expr, _ in self.columns.values():
            found = expr.meta.root_names()
            if expr.meta.has_multiple_outputs():
                return list(self.schema)
            roots.update(found)
        roots.update(root for plugin in self.plugins for arg in plugin.args for root in arg.meta.root_names())
        return [name for name in self.schema if name in roots]

    def reduce(self, rows: pl.LazyFrame, by: Sequence[str], also: Sequence[pl.Expr] = ()) -> pl.LazyFrame:
        """Return what state keeps of rows: partials per `by`, and what is `also` aggregated, or the rows."""
        if not self.two_phase:
            return rows
        return self._reduced(rows, by, [*also, *self._partials()])

    def merge(self, state: pl.LazyFrame, by: Sequence[str], also: Sequence[pl.Expr] = ()) -> pl.LazyFrame:
        """Return fewer partials that mean the same, and what is `also` aggregated. Rows stay rows."""
        if not self.two_phase:
            return state
        merged = [expr.alias(name) for _, split in self.columns.values() if split for name, expr in split.merge.items()]
        gathered = [expr for plugin in self.plugins for expr in plugin.gathered()]
        grouped = _group(state, by, [*also, *merged, *gathered, pl.col(ROWS).sum()])
        return self.plugins.applied(grouped, PluginColumn.merged)

    def results(self, state: pl.LazyFrame, by: Sequence[str], *, reduced: bool) -> pl.LazyFrame:
        """Return a row per `by`: output columns and `__rows`. `reduced` says that `state` has one partial for each."""
        if not self.two_phase:
            direct: dict[int, pl.Expr] = {}
            for name, (expr, split) in self.columns.items():
                if split is None:
                    direct[id(expr)] = expr if expr.meta.has_multiple_outputs() else expr.alias(name)
            state = self._reduced(state, by, [*self._partials(), *direct.values()])
        elif not reduced:
            state = self.merge(state, by)
        state = self.plugins.applied(state, PluginColumn.finished)
        finals = [
            (split.final if split is not None else pl.col(name)).cast(self.output[name]).alias(name)
            for name, (_, split) in self.columns.items()
        ]
        return state.select(*by, *finals, *(plugin.name for plugin in self.plugins), ROWS)

    def state_rows(self, state: pl.DataFrame) -> int:
        """Return how many input rows a piece of state stands for."""
        return int(state[ROWS].sum()) if self.two_phase else state.height

    def _reduced(self, rows: pl.LazyFrame, by: Sequence[str], columns: Sequence[pl.Expr]) -> pl.LazyFrame:
        collected = [expr for plugin in self.plugins for expr in plugin.collected()]
        grouped = _group(rows, by, [*columns, *collected, pl.len().cast(pl.Int64).alias(ROWS)])
        return self.plugins.applied(grouped, PluginColumn.reduced)

    def _partials(self) -> list[pl.Expr]:
        return [expr.alias(name) for _, split in self.columns.values() if split for name, expr in split.partial.items()]


def _group(frame: pl.LazyFrame, by: Sequence[str], columns: Sequence[pl.Expr]) -> pl.LazyFrame:
    if by:
        return frame.group_by(*by).agg(*columns)
    return frame.select(*columns).filter(pl.col(ROWS) > 0)
