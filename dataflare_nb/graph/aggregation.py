"""The edges of aggregations, and what their state has to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from .. import dtypes
from ..decompose import Split, decompose
from ..errors import BadOption, UnknownColumn, UnwindowedAggregate, WrongType, listing
from ..expr import changes_height, row_fault
from ..types import Schema
from ..windows import Count, Cumulative, Global, Hopping, Session
from . import node
from .asking import RESERVED_PREFIX, ask, at, gives_one, output_names, refuse_reserved, require_match
from .schema import Edge, TimeRef


def aggregate(item: node.Aggregate, edge: Edge, blobs: Mapping[str, Any]) -> Edge:
    """Return the edge after an aggregation: the keys, the window, and a column for each expression."""
    if edge.window is None:
        raise UnwindowedAggregate(
            f"{at(item)}: a stream may never end, so an aggregation needs a window: "
            ".window(flare.tumbling('1h')).agg(...), or flare.global_window() for one result at the end"
        )
    if edge.keys_lost and not edge.keys:
        raise UnknownColumn(f"{at(item)}: {edge.keys_lost}. Put .key_by(...) after it")
    for stored in item.exprs:
        expr = stored.load(blobs)
        require_match(item, stored, expr, edge.schema)
        ask(item, edge.schema, lambda frame, e=expr: frame.select(e))
        if gives_one(expr) and not expr.meta.is_scalar():
            raise WrongType(
                f"{at(item)}: `{stored.readable}` gives a list of rows for each window, not one value. "
                f"Say how to combine them: .sum(), .mean(), .first() ... or .implode() for the list"
            )
    if not item.exprs and not item.plugins:
        raise BadOption(f"{at(item)} needs at least one expression")
    for plugin in item.plugins:
        _check_plugin(item, plugin, edge, blobs)
    _refuse_own_names(item, edge, blobs)
    made = aggregation(item, edge, blobs)
    names = _names(item, edge, blobs)
    columns = window_columns(edge)
    for name in names:
        if names.count(name) > 1:
            raise BadOption(f"{at(item)} gives `{name}` twice; name them: .agg(a=..., b=...)")
        if name in columns:
            raise BadOption(f"{at(item)}: `{name}` is a column that the key or the window gives; use another name")
    values = dict(dtypes.from_json({plugin.name: plugin.dtype for plugin in item.plugins}))
    for name, (expr, split) in made.items():
        if split is None:
            asked = ask(item, edge.schema, lambda f, e=expr: f.group_by(pl.lit(1).alias("__k")).agg(e))
            values[name] = asked[name]
        else:
            values[name] = ask(item, edge.schema, lambda f, s=split: _in_two_phases(f, s))["x"]
    schema = Schema({**columns, **{name: values[name] for name in names}})
    refuse_reserved(item, schema, edge.schema)
    late = {}
    if edge.event_time is not None and not isinstance(edge.window.window, Count | Global):
        time = edge.schema[edge.event_time.column]
        late = {"late": Schema({**edge.schema, "missed_start": time, "missed_end": time, "late_by": pl.Duration("us")})}
    timed = "window_end" in schema
    return Edge(
        schema,
        bounded=edge.bounded,
        # The last instant inside the window: a result of 9:00-10:00 belongs to the day that 9:59 is in.
        event_time=TimeRef("window_end", -1) if timed else None,
        time_lost="" if timed else f"{edge.window.window} at {at(item)} gives no times",
        sides=late,
    )


def aggregation(item: node.Aggregate, inner: Edge, blobs: Mapping[str, Any]) -> dict[str, tuple[pl.Expr, Split | None]]:
    """Return each output column of an aggregation with its expression and, where it has one, its split."""
    out: dict[str, tuple[pl.Expr, Split | None]] = {}
    for number, stored in enumerate(item.exprs):
        expr = stored.load(blobs)
        for name in output_names(expr, inner.schema):
            single = expr.meta.has_multiple_outputs() is False
            out[name] = (expr, decompose(expr, inner.schema, f"{RESERVED_PREFIX}p{number}_") if single else None)
    return out


def _in_two_phases(frame: pl.LazyFrame, split: Split) -> pl.LazyFrame:
    partial = frame.group_by(pl.lit(1).alias("__k")).agg(**split.partial)
    return partial.group_by("__k").agg(**split.merge).select(split.final.alias("x"))


def _names(item: node.Aggregate, edge: Edge, blobs: Mapping[str, Any]) -> list[str]:
    """Return the columns of the result that are aggregated, in order."""
    made = [output_names(stored.load(blobs), edge.schema) for stored in item.exprs]
    for plugin in reversed(item.plugins):
        made.insert(min(plugin.after, len(item.exprs)), [plugin.name])
    return [name for names in made for name in names]


def is_argument(expr: pl.Expr) -> bool:
    """Tell whether an expression is one column with a value for each row, as a plugin takes it."""
    whole = not gives_one(expr) or row_fault(expr) is not None or changes_height(expr)
    return not whole and bool(expr.meta.root_names())


def _check_plugin(item: node.Aggregate, plugin: node.PluginAggregate, edge: Edge, blobs: Mapping[str, Any]) -> None:
    """Refuse arguments that are not a column each, with a value for each row."""
    if not plugin.args:
        raise BadOption(f"{at(item)}: `{plugin.readable}` is given no column; name those that the plugin reads")
    names = []
    for stored in plugin.args:
        expr = stored.load(blobs)
        ask(item, edge.schema, lambda frame, e=expr: frame.select(e))
        if not is_argument(expr):
            raise WrongType(
                f"{at(item)}: `{plugin.readable}` has `{stored.readable}`, and a plugin takes a value of each row of "
                "one column; name each column, leave aggregating to the plugin, and filter before"
            )
        names.append(expr.meta.output_name())
    if len(set(names)) < len(names):
        raise BadOption(
            f"{at(item)}: `{plugin.readable}` has two columns of one name: {listing(names)}; "
            "name them apart with .alias"
        )


def window_columns(edge: Edge) -> dict[str, pl.DataType]:
    """Return the columns that come before the aggregations: the keys, the window, and which result it is."""
    assert edge.window is not None
    out: dict[str, pl.DataType] = {key: edge.schema[key] for key in edge.keys}
    if edge.event_time is not None and not isinstance(edge.window.window, Global):
        out |= dict.fromkeys(("window_start", "window_end"), edge.schema[edge.event_time.column])
    if edge.window.early is not None or edge.window.allowed_lateness:
        out |= {"pane": pl.Enum(["early", "on_time", "late"]), "revision": pl.UInt32()}
    return out


def holds(item: node.AnyNode, inner: Edge, blobs: Mapping[str, Any]) -> str:
    """Say in words what the state of a node holds; nothing if it has none."""
    if not isinstance(item, node.Aggregate) or inner.window is None:
        return ""
    spec = inner.window.window
    of = "key and pane" if inner.keys else "pane"
    columns = aggregation(item, inner, blobs)
    whole = [name for name, (_, split) in columns.items() if split is None]
    whole += [plugin.name for plugin in item.plugins if not plugin.merges]
    if whole:
        return f"the rows of open windows: {listing(whole)} needs them all at once"
    spans_panes = isinstance(spec, Session | Cumulative) or (isinstance(spec, Hopping) and spec.size != spec.every)
    ordered = [name for name, (_, split) in columns.items() if split is not None and split.ordered]
    if spans_panes and ordered:
        return f"the rows of open windows: {listing(ordered)} needs their order"
    return f"one partial result per {of}"


def _refuse_own_names(item: node.Aggregate, edge: Edge, blobs: Mapping[str, Any]) -> None:
    """Refuse keys that are called as a column of the result, and names that state keeps for itself."""
    assert edge.window is not None
    without_keys = window_columns(replace(edge, keys=()))
    for key in edge.keys:
        if key in without_keys:
            raise BadOption(
                f"{at(item)}: the key `{key}` has the name of a column that the window gives; rename it first"
            )
    read = (*item.exprs, *(arg for plugin in item.plugins for arg in plugin.args))
    roots = {root for stored in read for root in stored.load(blobs).meta.root_names()}
    for name in sorted({*edge.keys, *roots}):
        if name.startswith(RESERVED_PREFIX):
            raise BadOption(
                f"{at(item)} reads `{name}`; names that start with two underscores are ours, rename it first"
            )
