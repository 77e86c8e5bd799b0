"""Aggregator plugins over groups: rows and states are handed over for all groups at once, never one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from ..errors import WasmBadOutput
from ..interrupts import schema_of
from ..types import Context, Schema
from ..wasm.aggregator import GROUP, Aggregator, facts
from ..wasm.hostcalls import HostFunctions, listener
from ..wasm.plugin import Plugin

GROUPS = pl.UInt32


@dataclass
class PluginColumn:
    """One output column that a plugin aggregates.

    What state keeps of it are columns called `{prefix}0`, `{prefix}1` ..., one for each of the plugin's own. The work
    is done on grouped frames, in which the arguments (`{prefix}a0` ...) or states of a group are lists.
    """

    name: str
    plugin: Plugin
    args: tuple[pl.Expr, ...]
    schema: Schema
    """Schema of the input rows."""
    dtype: pl.DataType
    merges: bool
    prefix: str
    seed: int | None = None
    _worker: Aggregator = field(init=False)
    _states: Schema | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._worker = Aggregator(self.plugin)

    def open(self, ctx: Context) -> None:
        """Start anew with the host functions of a job."""
        host = HostFunctions(
            self.plugin.name,
            clock=ctx.clock,
            seed=self.seed,
            count=ctx.count,
            stage=ctx.node_id,
            listen=listener(ctx),
        )
        self._worker.open(host, ctx.count)

    def interrupt(self) -> None:
        """Abort the running calls."""
        self._worker.interrupt()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        self._worker.close()

    @property
    def states(self) -> list[str]:
        """The columns that state keeps."""
        return [f"{self.prefix}{number}" for number in range(len(self._state_schema))]

    def collected(self) -> list[pl.Expr]:
        """Return what a `group_by` has to collect of rows."""
        return [arg.implode().alias(f"{self.prefix}a{number}") for number, arg in enumerate(self.args)]

    def gathered(self) -> list[pl.Expr]:
        """Return what a `group_by` has to collect of states."""
        return [pl.col(name).implode() for name in self.states]

    def reduced(self, grouped: pl.DataFrame) -> pl.DataFrame:
        """Put states in the place of the collected arguments."""
        names = [f"{self.prefix}a{number}" for number in range(len(self.args))]
        if not grouped.height:
            return _with(grouped.drop(names), pl.DataFrame(schema=self._state_schema), self.states)
        rows, groups = _flat(grouped, names)
        states = self._worker.states(rows.rename(self._argument_names(names)), groups)
        self._require_states(states)
        return _with(grouped.drop(names), states, self.states)

    def merged(self, grouped: pl.DataFrame) -> pl.DataFrame:
        """Put one state in the place of several. Groups that have one already are not bothered the plugin with."""
        several = grouped[self.states[0]].list.len() > 1
        firsts = grouped.with_columns(pl.col(name).list.first() for name in self.states)
        if not several.any():
            return firsts
        rows, groups = _flat(grouped.filter(several), self.states)
        made = self._worker.merged(rows.rename(dict(zip(self.states, self._state_schema, strict=True))), groups)
        whole = _with(grouped.filter(several).drop(self.states), made, self.states).select(firsts.columns)
        if several.all():
            return whole
        order = pl.concat([(~several).arg_true(), several.arg_true()]).arg_sort()
        return pl.concat([firsts.filter(~several), whole])[order]

    def finished(self, state: pl.DataFrame) -> pl.DataFrame:
        """Add the value of each row of state."""
        if not state.height:
            return state.with_columns(pl.lit(None, self.dtype).alias(self.name))
        states = state.select(self.states)
        values = self._worker.values(states.rename(dict(zip(self.states, self._state_schema, strict=True))))
        if values.dtype != self.dtype:
            raise WasmBadOutput(
                f"its values are {values.dtype} and were {self.dtype} when the stream was built",
                plugin=self.plugin.name,
            )
        return state.with_columns(values.alias(self.name))

    @property
    def _state_schema(self) -> Schema:
        if self._states is None:
            self._states = facts(self.plugin, argument_schema(self.args, self.schema)).states
        return self._states

    def _require_states(self, states: pl.DataFrame) -> None:
        if states.schema != self._state_schema:
            raise WasmBadOutput(
                f"its states are {dict(states.schema)} and were {dict(self._state_schema)} for no rows",
                plugin=self.plugin.name,
            )

    def _argument_names(self, names: Sequence[str]) -> dict[str, str]:
        return {name: arg.meta.output_name() for name, arg in zip(names, self.args, strict=True)}


def argument_schema(args: Sequence[pl.Expr], schema: Schema) -> Schema:
    """Return the columns that a plugin is handed for its arguments."""
    return Schema(schema_of(pl.LazyFrame(schema=schema).select(*args)))


class PluginColumns(tuple[PluginColumn, ...]):
    """All columns of an aggregation that plugins make."""

    __slots__ = ()

    def applied(self, frame: pl.LazyFrame, work: Callable[[PluginColumn, pl.DataFrame], pl.DataFrame]) -> pl.LazyFrame:
        """Do some work of each on a frame.

        The frame is collected here, so that guests run on the thread of the stage, whose stack is large enough.
        """
        if not self:
            return frame
        done = frame.collect()
        for column in self:
            done = work(column, done)
        return done.lazy()

    def names(self) -> Iterator[str]:
        """Yield the columns that state keeps."""
        for column in self:
            yield from column.states


def _flat(grouped: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """Return what lists hold, one below the other, and the number of the list for each row."""
    lengths = grouped[names[0]].list.len()
    rows = pl.DataFrame([grouped[name].explode(empty_as_null=False) for name in names])
    numbers = pl.int_range(grouped.height, dtype=GROUPS, eager=True)
    repeated = numbers.to_frame("n").select(pl.col("n").repeat_by(lengths)).to_series()
    return rows, repeated.explode(empty_as_null=False).cast(GROUPS).alias(GROUP)


def _with(frame: pl.DataFrame, states: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return frame.with_columns(column.alias(name) for column, name in zip(states.get_columns(), names, strict=True))
