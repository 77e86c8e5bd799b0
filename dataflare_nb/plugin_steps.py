"""Make nodes of the plugins that a user gives to a stream, started here to learn what they take and give."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl

from . import arguments, dtypes
from .connectors.registry import sink_options, source_options
from .errors import BadOption, UnknownColumn, WrongType, listing, located, nearest, user_line
from .expr import Expr, expand
from .graph import Edge, fingerprint, node
from .graph.aggregation import is_argument
from .operators.grouped import argument_schema
from .operators.wasm import WasmStage
from .runtime.plugins import NAME
from .wasm.abi import DOORS
from .wasm.aggregator import AggregateCall, facts
from .wasm.plugin import Plugin
from .wasm.reading import PluginSource
from .wasm.writing import PluginSink

PluginLike: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Plugin
Step: TypeAlias = tuple[node.AnyNode, Mapping[str, Any]]


def wasm(
    plugin: PluginLike,
    schema: pl.Schema,
    *,
    column: str | None,
    columns: Sequence[str] | None,
    output: str | None,
    on_error: Any,
) -> Step:
    """Return a step of a Processor, Transformer or Filter."""
    with located("wasm") as where:
        names = _columns(column, columns, schema)
        loaded = _loaded(plugin)
        stage = WasmStage(loaded, columns=names or (), output=output, on_error=on_error)
        try:
            made = dtypes.to_json(stage.output_schema(schema))
        finally:
            stage.close()
    key = _key(loaded)
    item = node.Wasm(plugin=key, columns=names, output=output, on_error=on_error, schema=made, where=where)
    return item, {key: loaded}


def read_wasm(plugin: PluginLike, splits: Sequence[str] | None, bounded: bool) -> Step:
    """Return the beginning of a stream: a Source."""
    with located("read_wasm") as where:
        loaded = _loaded(plugin)
        key = _key(loaded)
        given = {"plugin": key, "bounded": bounded} | ({"splits": list(splits)} if splits is not None else {})
        options = source_options(NAME, given)
        schema = dtypes.to_json(PluginSource(loaded, splits=splits, bounded=bounded).schema)
    return node.Read(source=NAME, options=options, schema=schema, bounded=bounded, where=where), {key: loaded}


def write_wasm(plugin: PluginLike, schema: pl.Schema, *, column: str | None, columns: Sequence[str] | None) -> Step:
    """Return the end of a stream: a Destination."""
    with located("write_wasm") as where:
        names = _columns(column, columns, schema)
        loaded = _loaded(plugin)
        PluginSink(loaded, columns=names or ()).check(schema)
        key = _key(loaded)
        options = sink_options(NAME, {"plugin": key} | ({"columns": list(names)} if names else {}))
    return node.Write(sink=NAME, options=options, where=where), {key: loaded}


def agg(values: Iterable[Any], named: Mapping[str, Any], edge: Edge) -> Step:
    """Return a step of aggregations, by Polars and by plugins, in the order they are given in."""
    columns = [(None, value) for value in arguments.flat(values)] + list(named.items())
    exprs: list[Expr] = []
    plugins: list[node.PluginAggregate] = []
    blobs: dict[str, Any] = {}
    for name, value in columns:
        if isinstance(value, AggregateCall):
            call = value if name is None else value.alias(name)
            plugins.append(_aggregate(call, edge, len(exprs), blobs))
            continue
        if isinstance(value, Plugin):
            raise WrongType(
                f"agg at {user_line()}: {value.name} is a plugin; say what it is to aggregate, as "
                f"flare.wasm.aggregate(plugin, column)"
            )
        expr = arguments.expression("agg", value)
        expr = expr if name is None else expr.alias(name)
        for single in expand(expr, edge.schema, edge.keys) if edge.window is not None else [expr]:
            stored, needed = Expr.of(single)
            _refuse_params(stored)
            exprs.append(stored)
            blobs |= needed
    return node.Aggregate(exprs=tuple(exprs), plugins=tuple(plugins), where=user_line()), blobs


def _refuse_params(stored: Expr) -> None:
    for name in stored.params:
        raise WrongType(
            f"agg at {user_line()} has `{stored.readable}`, and a param cannot change within a window; compute it in a "
            f"with_columns before the window, where each row has the value of its time: with_columns({name}={name})"
        )


def _aggregate(call: AggregateCall, edge: Edge, after: int, blobs: dict[str, Any]) -> node.PluginAggregate:
    key = _key(call.plugin)
    blobs[key] = call.plugin
    args = []
    for arg in call.args:
        stored, needed = Expr.of(arg)
        _refuse_params(stored)
        args.append(stored)
        blobs |= needed
    with located("agg"):
        dtype, merges = _probed(call, edge.schema)
    return node.PluginAggregate(name=call.name, plugin=key, args=tuple(args), dtype=dtype, merges=merges, after=after)


def _probed(call: AggregateCall, schema: pl.Schema) -> tuple[Any, bool]:
    """Ask the plugin what it makes of the columns; what is wrong with these is for the node to say."""
    try:
        columns = argument_schema(call.args, schema)
    except pl.exceptions.PolarsError:
        return "Null", False
    if len(columns) < len(call.args) or not all(map(is_argument, call.args)):
        return "Null", False
    made = facts(call.plugin, columns)
    return dtypes.to_json(pl.Schema({call.name: made.dtype}))[call.name], made.merges


def _loaded(plugin: PluginLike) -> Plugin:
    if isinstance(plugin, AggregateCall):
        raise WrongType(f"{plugin!r} is an aggregation; it goes into {DOORS[plugin.plugin.config.type]}")
    if not isinstance(plugin, str | os.PathLike | Mapping | Plugin):
        raise WrongType(f"a plugin is the path of a plugin.json, the same as a dict, or a Plugin, not {plugin!r}")
    if isinstance(plugin, str) and "\0" in plugin:
        raise BadOption(f"the path {plugin!r} has a NUL character")
    return Plugin.load(plugin)


def _key(plugin: Plugin) -> str:
    return fingerprint.of_plugin(plugin.config.name, plugin.sha256, repr(plugin.config))


def _columns(column: str | None, columns: Sequence[str] | None, schema: pl.Schema) -> tuple[str, ...] | None:
    if column is not None and columns is not None:
        raise BadOption("give column= or columns=, not both")
    if isinstance(columns, str):
        raise BadOption(f"columns={columns!r} is one name; write column={columns!r}")
    names = (column,) if column is not None else tuple(columns) if columns is not None else None
    for name in names or ():
        if name not in schema:
            raise UnknownColumn(
                f"the plugin is to read `{name}`; the stream has {listing(schema)}." + nearest(name, schema)
            )
    return names
