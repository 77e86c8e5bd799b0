"""The edges of event time, keys and windows."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from ..dtypes import short
from ..errors import BadOption, BadWindow, MissingEventTime, WrongType, listing, located
from ..types import Schema
from ..windows import Count, Cumulative, Global, Hopping, recheck
from . import node
from .asking import at, parse_first, require_columns
from .schema import Edge, TimeRef


def event_time(item: node.EventTime, edge: Edge) -> Edge:
    """Return the edge after a column was declared the event time."""
    require_columns(item, (item.column,), edge.schema)
    dtype = edge.schema[item.column]
    zone: str | None = None
    match dtype:
        case pl.Datetime():
            if item.time_zone and dtype.time_zone and item.time_zone != dtype.time_zone:
                raise WrongType(
                    f"{at(item)}: `{item.column}` is already in {dtype.time_zone}; leave time_zone= out or convert it"
                )
            zone = item.time_zone or dtype.time_zone
        case pl.Date():
            zone = item.time_zone
        case _ if dtype.is_integer():
            if item.unit is None:
                raise WrongType(
                    f"{at(item)}: `{item.column}` is {short(dtype)}; say what it counts since 1970: "
                    "unit='s', 'ms', 'us' or 'ns'"
                )
            zone = item.time_zone
        case _:
            raise WrongType(
                f"{at(item)}: `{item.column}` is {short(dtype)}; "
                "event time is a Datetime, a Date, or an integer with unit=. "
                + (
                    f"{parse_first(item.column, strict=False)}; rows that do not fit it go to .invalid. Or have "
                    f"read_csv do it: schema_overrides={{{item.column!r}: pl.Datetime('us')}}, on_error='dead_letter'"
                    if dtype == pl.String
                    else f"Convert it first: .cast({{'{item.column}': ...}})"
                )
            )
    if item.unit is not None and not dtype.is_integer():
        raise BadOption(f"{at(item)}: unit= is for integers; `{item.column}` is {short(dtype)}")
    schema = Schema({**edge.schema, item.column: pl.Datetime("us", zone)})
    return replace(
        edge,
        schema=schema,
        event_time=TimeRef(item.column),
        time_lost="",
        sides={"invalid": Schema({**edge.schema, "reason": pl.String()})},
    )


def key_by(item: node.KeyBy, edge: Edge) -> Edge:
    """Return the edge after keys were named."""
    keys, schema = item.keys, edge.schema
    require_columns(item, keys, schema)
    if len(set(keys)) < len(keys):
        raise BadOption(f"{at(item)} names a key twice: {listing(keys)}")
    for key in keys:
        if schema[key].is_nested() or isinstance(schema[key], pl.Object):
            raise WrongType(
                f"{at(item)}: `{key}` is {short(schema[key])}; a key is a plain value, unnest or hash it first"
            )
    return replace(edge, keys=keys, keys_lost="", sides={})


def window(item: node.Window, edge: Edge) -> Edge:
    """Return the edge on which a window waits for its aggregation."""
    with located(item.kind, item.where or "the document"):
        recheck(item.window, item.early)
    if edge.window is not None:
        raise BadWindow(
            f"{at(item)}: the stream already has the window {edge.window.window}; put .agg(...) between them"
        )
    if edge.event_time is None and not isinstance(item.window, Count | Global):
        why = f": {edge.time_lost}" if edge.time_lost else ""
        times = [name for name, dtype in edge.schema.items() if isinstance(dtype, pl.Datetime | pl.Date)]
        hint = times[0] if times else "your time column"
        raise MissingEventTime(
            f"{at(item)}: {item.window} needs event time{why}. Say which column it is: "
            f".event_time('{hint}', max_out_of_orderness='1m')"
        )
    if item.allowed_lateness and isinstance(item.window, Count | Global):
        raise BadWindow(f"{at(item)}: {item.window} has no end in time, so nothing is late; leave allowed_lateness out")
    if item.early is not None and isinstance(item.window, Count):
        raise BadWindow(f"{at(item)}: {item.window} gives a result each {item.window.n} rows; leave early out")
    if edge.event_time is not None and isinstance(item.window, Hopping | Cumulative):
        dtype = edge.schema[edge.event_time.column]
        lengths = (item.window.offset, item.window.size) if isinstance(item.window, Hopping) else (item.window.max,)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC") and any(d.days for d in lengths):
            raise BadWindow(
                f"{at(item)}: days are not all 24 hours long in {dtype.time_zone}; write {item.window} in hours, "
                "or use tumbling, which follows the calendar"
            )
    return replace(edge, window=item, sides={})
