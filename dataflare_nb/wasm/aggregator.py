"""Aggregator plugins: all groups of a batch in one call, from rows to states, states to fewer, states to values."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import polars as pl

from ..errors import BadOption, WasmBadOutput, WasmMemoryLimit, WrongType, located
from .abi import DOORS, FUNCTIONS, PluginType
from .hostcalls import HostFunctions
from .plugin import Plugin
from .session import Session

GROUP = "__group"
"""The column that says which group a row belongs to; always the last."""
_SHARE = 4
"""A batch may take a quarter of the guest's memory; more is cut before it is tried."""


@dataclass(frozen=True)
class AggregateCall:
    """An aggregation by a plugin, for `.agg(...)`; make one with `flare.wasm.aggregate`."""

    plugin: Plugin
    args: tuple[pl.Expr, ...]
    name: str

    def alias(self, name: str) -> AggregateCall:
        """Return the aggregation under another name.

        >>> aggregate(plugin, "user_id").alias("visitors")        # doctest: +SKIP
        AggregateCall(visitors = hll(user_id))
        """
        return replace(self, name=name)

    def __repr__(self) -> str:
        args = ", ".join(arg.meta.output_name(raise_if_undetermined=False) or str(arg) for arg in self.args)
        return f"AggregateCall({self.name} = {self.plugin.name}({args}))"


def aggregate(plugin: str | os.PathLike[str] | Mapping[str, Any] | Plugin, *columns: str | pl.Expr) -> AggregateCall:
    """Return an aggregation of columns by an Aggregator plugin, beside any others in `.agg(...)`.

    It is called as its plugin unless `.agg(visitors=aggregate(...))` or `.alias` says otherwise.

    >>> stream.agg(n=pl.len(), visitors=flare.wasm.aggregate("plugins/hll/plugin.json", "user_id"))  # doctest: +SKIP
    """
    with located("aggregate"):
        loaded = Plugin.load(plugin)
        if loaded.config.type is not PluginType.AGGREGATOR:
            found = loaded.config.type
            raise BadOption(
                f"plugin {loaded.name} is a {found}; aggregate takes a plugin of type Aggregator. "
                f"A {found} goes into {DOORS[found]}"
            )
        if not columns:
            raise BadOption(f"plugin {loaded.name} is given no column; name those that it reads")
        for column in columns:
            if not isinstance(column, str | pl.Expr):
                raise WrongType(
                    f"plugin {loaded.name} takes columns or expressions such as pl.col('x') * 2, not "
                    f"{type(column).__name__}"
                )
    args = tuple(pl.col(column) if isinstance(column, str) else column for column in columns)
    return AggregateCall(loaded, args, loaded.name)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an aggregator makes of certain columns: its states, the type of its values, and whether it merges."""

    states: pl.Schema
    dtype: pl.DataType
    merges: bool


def facts(plugin: Plugin, schema: pl.Schema) -> Facts:
    """Return what an aggregator makes of argument columns of a schema. It is started once for each."""
    return _facts(plugin, tuple(schema.items()))


@lru_cache(maxsize=64)
def _facts(plugin: Plugin, schema: tuple[tuple[str, pl.DataType], ...]) -> Facts:
    work = Aggregator(plugin)
    try:
        return work.facts(pl.Schema(schema))
    finally:
        work.close()


class Aggregator:
    """Calls into an aggregator. Groups are numbered from 0, ascending, and none is empty.

    What does not fit into the guest's memory is cut between groups; a single group that does not is cut inside if
    the plugin can merge.
    """

    def __init__(self, plugin: Plugin) -> None:
        if not isinstance(plugin, Plugin) or plugin.config.type is not PluginType.AGGREGATOR:
            found = f"a {plugin.config.type.value}" if isinstance(plugin, Plugin) else type(plugin).__name__
            raise BadOption(f"an aggregation by a plugin needs one of type Aggregator, and this is {found}")
        self.plugin = plugin
        self._host: HostFunctions | None = None
        self._count: Callable[[str, int], None] | None = None
        self._started: Session | None = None
        self._most_bytes = plugin.config.limits.memory // _SHARE

    def open(self, host: HostFunctions, count: Callable[[str, int], None]) -> None:
        """Start anew with the host functions of a job."""
        self.close()
        self._host, self._count = host, count

    @property
    def merges(self) -> bool:
        """Whether states can be merged."""
        return self._session.exports("df_merge")

    @property
    def _session(self) -> Session:
        if self._started is None:
            self._started = Session(self.plugin, host=self._host, count=self._count)
        return self._started

    def states(self, rows: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
        """Return a row of state for each group of `rows`; `groups` has the group of each row."""
        return self._by_group(FUNCTIONS[PluginType.AGGREGATOR], rows, groups)

    def merged(self, states: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
        """Return a row of state for each group of `states`."""
        merged = self._by_group("df_merge", states, groups)
        if merged.schema != states.schema:
            raise WasmBadOutput(
                f"df_merge answered {dict(merged.schema)} for states of {dict(states.schema)}; a state keeps its "
                "columns",
                plugin=self.plugin.name,
            )
        return merged

    def values(self, states: pl.DataFrame) -> pl.Series:
        """Return the value of each row of state; a struct if the plugin gives several columns."""
        if not self._session.exports("df_final"):
            return _one(states)
        return _one(pl.concat([self._final(part) for part in self._parts(states)]))

    def facts(self, schema: pl.Schema) -> Facts:
        """Return what the plugin makes of argument columns of a schema, found out without rows."""
        states = self.states(pl.DataFrame(schema=schema), pl.Series(GROUP, [], pl.UInt32))
        if not states.width:
            raise WasmBadOutput(
                "aggregate_data answered without a column; a state has one or more", plugin=self.plugin.name
            )
        return Facts(states.schema, self.values(states).dtype, self.merges)

    def interrupt(self) -> None:
        """Abort the running calls."""
        if self._started is not None:
            self._started.interrupt()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        if self._started is not None:
            self._started.close()
            self._started = None

    def _final(self, states: pl.DataFrame) -> pl.DataFrame:
        try:
            return self._session.call(states, function="df_final", rows=states.height)
        except WasmMemoryLimit:
            if states.height <= 1:
                raise
            half = states.height // 2
            return pl.concat([self._final(states[:half]), self._final(states[half:])])

    def _by_group(self, function: str, rows: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
        count = int(groups[-1]) + 1 if len(groups) else 0
        if rows.estimated_size() > self._most_bytes and count:
            return self._in_two(function, rows, groups, count)
        numbered = rows.with_columns(groups.alias(GROUP))
        try:
            return self._session.call(numbered, function=function, groups=count, rows=count, declared=False)
        except WasmMemoryLimit:
            if rows.height <= 1:
                raise
            return self._in_two(function, rows, groups, count)

    def _in_two(self, function: str, rows: pl.DataFrame, groups: pl.Series, count: int) -> pl.DataFrame:
        if count > 1:
            middle = groups[rows.height // 2]
            cut = int(groups.search_sorted(middle, "left")) or int(groups.search_sorted(middle, "right"))
            first = self._by_group(function, rows[:cut], groups[:cut])
            later = groups[cut:]
            return pl.concat([first, self._by_group(function, rows[cut:], later - later[0])])
        if not self.merges or rows.height < 2:
            # One group that has to be seen whole: the guest may still find room for it.
            numbered = rows.with_columns(groups.alias(GROUP))
            return self._session.call(numbered, function=function, groups=count, rows=count, declared=False)
        half = rows.height // 2
        both = [
            self._by_group(function, part, pl.Series(GROUP, [0], pl.UInt32).new_from_index(0, part.height))
            for part in (rows[:half], rows[half:])
        ]
        return self._by_group("df_merge", pl.concat(both), pl.Series(GROUP, [0, 0], pl.UInt32))

    def _parts(self, states: pl.DataFrame) -> list[pl.DataFrame]:
        size = int(states.estimated_size())
        if size <= self._most_bytes:
            return [states]
        return list(states.iter_slices(max(1, states.height * self._most_bytes // size)))


def _one(frame: pl.DataFrame) -> pl.Series:
    return frame.to_series() if frame.width == 1 else frame.to_struct("value")
