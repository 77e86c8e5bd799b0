"""The schema of every edge, known before anything runs: Polars itself is asked, on frames without rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from ..errors import (
    BadOption,
    BadWindow,
    GraphError,
    GraphFormat,
    MissingEventTime,
    UnknownColumn,
    UnwindowedAggregate,
    WrongType,
    listing,
    located,
    nearest,
)
from ..expr import Expr, Split, changes_height, decompose, expand, row_fault
from ..types import Schema
from ..windows import Count, Cumulative, Global, Hopping, Session, recheck
from . import dtypes, node

RESERVED_PREFIX = "__"


@dataclass(frozen=True, slots=True)
class TimeRef:
    """Where event time is: a column of `Datetime("us")`, and microseconds to add to it."""

    column: str
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows out of a node: its columns and what is known of time, keys and windows."""

    schema: Schema
    bounded: bool = True
    event_time: TimeRef | None = None
    time_lost: str = ""
    keys: tuple[str, ...] = ()
    keys_lost: str = ""
    window: node.Window | None = None
    sides: Mapping[str, Schema] = field(default_factory=dict)

    def side(self, tag: str) -> Edge:
        """Return the edge of a side output."""
        return Edge(self.sides[tag], bounded=self.bounded)


def apply(item: node.AnyNode, frame: pl.LazyFrame, blobs: Mapping[str, Any]) -> pl.LazyFrame:
    """Return `frame` with a column node's work added: the one meaning of these nodes, used to check and to run."""
    match item:
        case node.Select(exprs=exprs):
            return frame.select(*(e.load(blobs) for e in exprs))
        case node.WithColumns(exprs=exprs):
            return frame.with_columns(*(e.load(blobs) for e in exprs))
        case node.Filter(exprs=exprs):
            return frame.filter(*(e.load(blobs) for e in exprs))
        case node.Drop(columns=columns):
            return frame.drop(columns)
        case node.Rename(columns=mapping):
            return frame.rename(mapping)
        case node.Cast(columns=columns, strict=strict):
            schema = dtypes.from_json(columns)
            return frame.with_columns(pl.col(name).cast(dtype, strict=strict) for name, dtype in schema.items())
        case node.Explode(columns=columns):
            return frame.explode(*columns)
        case node.Unnest(columns=columns):
            return frame.unnest(*columns)
        case _:
            raise TypeError(f"{item.kind} is not a column node")


def edge_of(item: node.AnyNode, inputs: Sequence[Edge], blobs: Mapping[str, Any]) -> Edge:
    """Return the edge that leaves a node, or raise the GraphError that says why it cannot be."""
    _check_inputs(item)
    match item:
        case node.Read():
            sides = {"invalid": dtypes.from_json(item.invalid_schema)} if item.invalid_schema else {}
            return Edge(dtypes.from_json(item.schema), bounded=item.bounded, sides=sides)
        case node.Union():
            return _union(item, inputs)
        case node.Write():
            return _closed(item, inputs[0])
        case node.EventTime():
            return _event_time(item, inputs[0])
        case node.KeyBy(keys=keys):
            _require_columns(item, keys, inputs[0].schema)
            _refuse_unhashable(item, keys, inputs[0].schema)
            return replace(inputs[0], keys=keys, keys_lost="", sides={})
        case node.Window():
            return _window(item, inputs[0])
        case node.Aggregate():
            return _aggregate(item, inputs[0], blobs)
        case node.MapBatches(schema=schema):
            return _opaque(item, inputs[0], dtypes.from_json(schema))
        case node.Wasm(schema=schema, on_error=on_error):
            edge = _opaque(item, inputs[0], dtypes.from_json(schema))
            invalid = Schema({**inputs[0].schema, "reason": pl.String()})
            return replace(edge, sides={"invalid": invalid} if on_error == "dead_letter" else {})
        case node.Udf():
            return _udf(item, inputs[0], blobs)
        case _:
            return _columns(item, inputs[0], blobs)


def _check_inputs(item: node.AnyNode) -> None:
    found = len(item.inputs)
    match item:
        case node.Read():
            fits, wanted = found == 0, "none"
        case node.Union():
            fits, wanted = found >= 2, "two or more"
        case _:
            fits, wanted = found == 1, "one"
    if not fits:
        raise GraphFormat(f"{_at(item)} has {found} inputs; it takes {wanted}")


def holds(item: node.AnyNode, inner: Edge, blobs: Mapping[str, Any]) -> str:
    """Say in words what the state of a node holds; nothing if it has none."""
    if not isinstance(item, node.Aggregate) or inner.window is None:
        return ""
    spec = inner.window.window
    of = "key and pane" if inner.keys else "pane"
    columns = aggregation(item, inner, blobs)
    whole = [name for name, (_, split) in columns.items() if split is None]
    if whole:
        return f"the rows of open windows: {listing(whole)} needs them all at once"
    spans_panes = isinstance(spec, Session | Cumulative) or (isinstance(spec, Hopping) and spec.size != spec.every)
    ordered = [name for name, (_, split) in columns.items() if split is not None and split.ordered]
    if spans_panes and ordered:
        return f"the rows of open windows: {listing(ordered)} needs their order"
    return f"one partial result per {of}"


def aggregation(item: node.Aggregate, inner: Edge, blobs: Mapping[str, Any]) -> dict[str, tuple[pl.Expr, Split | None]]:
    """Return each output column of an aggregation with its expression and, where it has one, its split."""
    out: dict[str, tuple[pl.Expr, Split | None]] = {}
    for number, stored in enumerate(item.exprs):
        expr = stored.load(blobs)
        for name in _output_names(expr, inner.schema):
            single = expr.meta.has_multiple_outputs() is False
            out[name] = (expr, decompose(expr, inner.schema, f"{RESERVED_PREFIX}p{number}_") if single else None)
    return out


def _columns(item: node.AnyNode, edge: Edge, blobs: Mapping[str, Any]) -> Edge:
    exprs = getattr(item, "exprs", ())
    loaded = [_loaded(item, stored, blobs) for stored in exprs]
    for stored, expr in zip(exprs, loaded, strict=True):
        _refuse_other_rows(item, stored, expr, edge.schema)
    names: Iterable[str] = getattr(item, "columns", ())
    if not isinstance(item, node.Select | node.WithColumns | node.Filter):
        _require_columns(item, names, edge.schema)
    match item:
        case node.Select() if not any(_reads(expr) for expr in loaded):
            raise BadOption(
                f"{_at(item)} has only constants, which say nothing of how many rows there are; "
                "use with_columns, which gives one to each row"
            )
        case node.Filter():
            _refuse_unboolean(item, loaded, edge.schema)
        case node.Explode():
            _require_kind(item, edge.schema, (pl.List, pl.Array), "list")
        case node.Unnest():
            _require_kind(item, edge.schema, (pl.Struct,), "struct")
        case node.Rename(columns=mapping):
            _refuse_rename(item, mapping, edge.schema)
        case node.Cast(columns=types):
            _refuse_cast(item, dtypes.from_json(types), edge.schema)
    schema = _ask(item, edge.schema, lambda frame: apply(item, frame, blobs))
    if isinstance(item, node.Drop) and not schema:
        raise BadOption(f"{_at(item)} leaves no column; keep at least one")
    _refuse_reserved(item, schema, edge.schema)
    mapping = item.columns if isinstance(item, node.Rename) else {}
    if isinstance(item, node.Rename | node.Filter | node.Explode):
        kept = {old: mapping.get(old, old) for old in edge.schema}
    else:
        kept = {
            name: name for name in edge.schema if name in schema and not _rewritten(item, name, loaded, edge.schema)
        }
    return _carry(edge, schema, kept, _at(item))


def _loaded(item: node.AnyNode, stored: Expr, blobs: Mapping[str, Any]) -> pl.Expr:
    try:
        return stored.load(blobs)
    except KeyError as error:
        raise GraphFormat(
            f"{_at(item)} has `{stored.readable}`, whose Python function lives in another process ({error}); "
            "use @flare.udf or a plugin"
        ) from None


def _reads(expr: pl.Expr) -> bool:
    return expr.meta.has_multiple_outputs() or bool(expr.meta.root_names())


def _refuse_other_rows(item: node.AnyNode, stored: Expr, expr: pl.Expr, schema: Schema) -> None:
    for single in expand(expr, schema):
        if (fault := row_fault(single)) is not None:
            whole = stored.readable
            part = "which" if fault == whole else f"whose `{fault}`"
            raise UnwindowedAggregate(
                f"{_at(item)} has `{whole}`, {part} looks at other rows of a stream that may never end. "
                "Aggregate in a window: .key_by(...).window(flare.tumbling('1h')).agg(...)"
            )
        if changes_height(single):
            raise WrongType(
                f"{_at(item)} has `{stored.readable}`, which gives another number of rows than it reads; "
                "use .filter(...) to drop rows and .explode(...) to make more"
            )


def _refuse_unboolean(item: node.Filter, exprs: Sequence[pl.Expr], schema: Schema) -> None:
    for stored, expr in zip(item.exprs, exprs, strict=True):
        for name, dtype in _ask(item, schema, lambda frame, e=expr: frame.select(e)).items():
            if dtype not in (pl.Boolean, pl.Null):
                single = stored.readable if _single(expr) else name
                of = "" if _single(expr) else f" of `{stored.readable}`"
                raise WrongType(
                    f"{_at(item)}: `{single}`{of} is {dtype}, and a filter needs Boolean; "
                    f"compare it with something, such as `{single}{_comparison(dtype)}`"
                )


def _comparison(dtype: pl.DataType) -> str:
    return " > 0" if dtype.is_numeric() else " == 'x'" if dtype == pl.String else ".is_not_null()"


def _require_kind(item: node.Explode | node.Unnest, schema: Schema, kinds: tuple[Any, ...], word: str) -> None:
    fitting = [name for name, dtype in schema.items() if isinstance(dtype, kinds)]
    for name in item.columns:
        if not isinstance(schema[name], kinds):
            raise WrongType(
                f"{_at(item)} takes {word} columns, and `{name}` is {schema[name]}; "
                f"{word} columns here: {listing(fitting)}"
            )


def _refuse_cast(item: node.Cast, types: Schema, schema: Schema) -> None:
    """Try one value of each column: on a frame without rows Polars lets every cast pass."""
    for name, dtype in types.items():
        value = _a_value(schema[name])
        if value is None:
            continue
        try:
            pl.Series([value]).cast(schema[name]).cast(dtype, strict=False)
        except pl.exceptions.PolarsError:
            raise WrongType(f"{_at(item)}: `{name}` is {schema[name]}, which cannot become {dtype}") from None


def _a_value(dtype: pl.DataType) -> Any:
    match dtype:
        case pl.List() | pl.Array():
            inner = _a_value(dtype.inner)  # type: ignore[arg-type]
            return None if inner is None or isinstance(dtype, pl.Array) else [inner]
        case pl.Struct():
            fields = {field.name: _a_value(field.dtype) for field in dtype.fields}  # type: ignore[arg-type]
            return None if None in fields.values() else fields
        case pl.String():
            return "1"
        case pl.Binary():
            return b"1"
        case pl.Boolean():
            return True
        case _ if dtype.is_numeric() and not dtype.is_decimal():
            return 1
        case pl.Date() | pl.Datetime() | pl.Duration() | pl.Time():
            return 1
        case _:
            return None


def _refuse_rename(item: node.Rename, mapping: Mapping[str, str], schema: Schema) -> None:
    after = [mapping.get(name, name) for name in schema]
    for name in mapping.values():
        if after.count(name) > 1:
            raise BadOption(f"{_at(item)} makes two columns named `{name}`; the stream has {listing(schema)}")


def _rewritten(item: node.AnyNode, name: str, exprs: Sequence[pl.Expr], schema: Schema) -> bool:
    match item:
        case node.Select() | node.WithColumns():
            makers = [e for e in exprs if name in _output_names(e, schema)]
            return any(not (e.meta.is_column_selection() or e.meta.is_column()) for e in makers)
        case node.Cast(columns=columns):
            return name in columns
        case node.Unnest(columns=columns):
            return name in columns
        case _:
            return False


def _carry(edge: Edge, schema: Schema, kept: Mapping[str, str], at: str) -> Edge:
    """Follow event time and keys through a step that keeps the columns `kept` (old name to new)."""
    time, time_lost = edge.event_time, edge.time_lost
    if time is not None:
        if time.column in kept:
            time = replace(time, column=kept[time.column])
        else:
            time_lost, time = f"`{time.column}`, the event time, was dropped or overwritten by {at}", None
    keys, keys_lost = edge.keys, edge.keys_lost
    if any(key not in kept for key in keys):
        keys_lost, keys = f"the key {listing(keys)} was dropped or overwritten by {at}", ()
    return Edge(
        schema,
        bounded=edge.bounded,
        event_time=time,
        time_lost=time_lost,
        keys=tuple(kept[key] for key in keys),
        keys_lost=keys_lost,
        window=edge.window,
    )


def _opaque(item: node.AnyNode, edge: Edge, schema: Schema) -> Edge:
    _refuse_reserved(item, schema, edge.schema)
    kept = {name: name for name, dtype in edge.schema.items() if schema.get(name) == dtype}
    return _carry(edge, schema, kept, _at(item))


def _udf(item: node.Udf, edge: Edge, blobs: Mapping[str, Any]) -> Edge:
    kernel: Any = blobs.get(item.udf)
    if not hasattr(kernel, "facts"):
        raise GraphFormat(f"{_at(item)}: the blob `{item.udf}` is no compiled @udf")
    _require_columns(item, item.args, edge.schema)
    for name, (param, kind) in zip(item.args, kernel.facts.params, strict=True):
        dtype = edge.schema[name]
        fits = {"float": dtype.is_numeric(), "int": dtype.is_integer(), "bool": dtype == pl.Boolean}[kind]
        if not fits and dtype != pl.Null:
            raise WrongType(
                f"{_at(item)} passes `{name}`, a {dtype}, as `{param}: {kind}` of @udf {kernel.facts.name}. "
                f"Cast it first: .cast({{'{name}': ...}})"
            )
    if item.output is None:
        return replace(edge, sides={})
    schema = Schema({**edge.schema, item.output: kernel.dtype})
    _refuse_reserved(item, schema, edge.schema)
    return _carry(edge, schema, {n: n for n in edge.schema if n != item.output}, _at(item))


def _union(item: node.Union, inputs: Sequence[Edge]) -> Edge:
    first = inputs[0]
    for number, other in enumerate(inputs[1:], start=2):
        if other.schema == first.schema:
            continue
        for name in first.schema:
            if name not in other.schema:
                raise UnknownColumn(
                    f"{_at(item)}: input {number} has no `{name}`; it has {listing(other.schema)}."
                    + nearest(name, other.schema)
                )
            if other.schema[name] != first.schema[name]:
                raise WrongType(
                    f"{_at(item)}: `{name}` is {first.schema[name]} in input 1 and {other.schema[name]} in input "
                    f"{number}. Cast one of them first"
                )
        extra = [name for name in other.schema if name not in first.schema]
        if extra:
            raise UnknownColumn(f"{_at(item)}: input {number} has {listing(extra)}, which input 1 has not")
        raise WrongType(f"{_at(item)}: input {number} has the same columns in another order; select them in one order")
    times = {edge.event_time for edge in inputs}
    time = first.event_time if len(times) == 1 else None
    lost = "" if time or times == {None} else f"the inputs of {_at(item)} do not agree on the event time"
    keys = first.keys if all(edge.keys == first.keys for edge in inputs) else ()
    return Edge(first.schema, all(e.bounded for e in inputs), time, lost or first.time_lost, keys)


def _event_time(item: node.EventTime, edge: Edge) -> Edge:
    _require_columns(item, (item.column,), edge.schema)
    dtype = edge.schema[item.column]
    zone: str | None = None
    match dtype:
        case pl.Datetime():
            if item.time_zone and dtype.time_zone and item.time_zone != dtype.time_zone:
                raise WrongType(
                    f"{_at(item)}: `{item.column}` is already in {dtype.time_zone}; leave time_zone= out or convert it"
                )
            zone = item.time_zone or dtype.time_zone
        case pl.Date():
            zone = item.time_zone
        case _ if dtype.is_integer():
            if item.unit is None:
                raise WrongType(
                    f"{_at(item)}: `{item.column}` is {dtype}; say what it counts since 1970: "
                    "unit='s', 'ms', 'us' or 'ns'"
                )
            zone = item.time_zone
        case _:
            raise WrongType(
                f"{_at(item)}: `{item.column}` is {dtype}; event time is a Datetime, a Date, or an integer with unit=. "
                + (
                    f"Parse it first: .with_columns(pl.col('{item.column}').str.to_datetime())"
                    if dtype == pl.String
                    else f"Convert it first: .cast({{'{item.column}': ...}})"
                )
            )
    if item.unit is not None and not dtype.is_integer():
        raise BadOption(f"{_at(item)}: unit= is for integers; `{item.column}` is {dtype}")
    schema = Schema({**edge.schema, item.column: pl.Datetime("us", zone)})
    return replace(
        edge,
        schema=schema,
        event_time=TimeRef(item.column),
        time_lost="",
        sides={"invalid": Schema({**edge.schema, "reason": pl.String()})},
    )


def _window(item: node.Window, edge: Edge) -> Edge:
    with located(item.kind, item.where or "the document"):
        recheck(item.window, item.early)
    if edge.window is not None:
        raise BadWindow(
            f"{_at(item)}: the stream already has the window {edge.window.window}; put .agg(...) between them"
        )
    if edge.event_time is None and not isinstance(item.window, Count | Global):
        why = f": {edge.time_lost}" if edge.time_lost else ""
        times = [name for name, dtype in edge.schema.items() if isinstance(dtype, pl.Datetime | pl.Date)]
        hint = times[0] if times else "your time column"
        raise MissingEventTime(
            f"{_at(item)}: {item.window} needs event time{why}. Say which column it is: "
            f".event_time('{hint}', max_out_of_orderness='1m')"
        )
    if item.allowed_lateness and isinstance(item.window, Count | Global):
        raise BadWindow(
            f"{_at(item)}: {item.window} has no end in time, so nothing is late; leave allowed_lateness out"
        )
    if item.early is not None and isinstance(item.window, Count):
        raise BadWindow(f"{_at(item)}: {item.window} gives a result each {item.window.n} rows; leave early out")
    if edge.event_time is not None and isinstance(item.window, Hopping | Cumulative):
        dtype = edge.schema[edge.event_time.column]
        lengths = (item.window.offset, item.window.size) if isinstance(item.window, Hopping) else (item.window.max,)
        if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC") and any(d.days for d in lengths):
            raise BadWindow(
                f"{_at(item)}: days are not all 24 hours long in {dtype.time_zone}; write {item.window} in hours, "
                "or use tumbling, which follows the calendar"
            )
    return replace(edge, window=item, sides={})


def _aggregate(item: node.Aggregate, edge: Edge, blobs: Mapping[str, Any]) -> Edge:
    if edge.window is None:
        raise UnwindowedAggregate(
            f"{_at(item)}: a stream may never end, so an aggregation needs a window: "
            ".window(flare.tumbling('1h')).agg(...), or flare.global_window() for one result at the end"
        )
    if edge.keys_lost and not edge.keys:
        raise UnknownColumn(f"{_at(item)}: {edge.keys_lost}. Put .key_by(...) after it")
    for stored in item.exprs:
        expr = stored.load(blobs)
        _ask(item, edge.schema, lambda frame, e=expr: frame.select(e))
        if _single(expr) and not expr.meta.is_scalar():
            raise WrongType(
                f"{_at(item)}: `{stored.readable}` gives a list of rows for each window, not one value. "
                f"Say how to combine them: .sum(), .mean(), .first() ... or .implode() for the list"
            )
    _refuse_own_names(item, edge, blobs)
    made = aggregation(item, edge, blobs)
    names = [name for stored in item.exprs for name in _output_names(stored.load(blobs), edge.schema)]
    columns = window_columns(edge)
    for name in names:
        if names.count(name) > 1:
            raise BadOption(f"{_at(item)} gives `{name}` twice; name them: .agg(a=..., b=...)")
        if name in columns:
            raise BadOption(f"{_at(item)}: `{name}` is a column that the key or the window gives; use another name")
    frame = pl.LazyFrame(schema=edge.schema)
    values: dict[str, pl.DataType] = {}
    for name, (expr, split) in made.items():
        if split is None:
            asked = _ask(item, edge.schema, lambda f, e=expr: f.group_by(pl.lit(1).alias("__k")).agg(e))
            values[name] = asked[name]
        else:
            partial = frame.group_by(pl.lit(1).alias("__k")).agg(**split.partial)
            values[name] = (
                partial.group_by("__k").agg(**split.merge).select(split.final.alias("x")).collect().schema["x"]
            )
    schema = Schema({**columns, **{name: values[name] for name in names}})
    _refuse_reserved(item, schema, edge.schema)
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
        time_lost="" if timed else f"{edge.window.window} at {_at(item)} gives no times",
        sides=late,
    )


def _refuse_own_names(item: node.Aggregate, edge: Edge, blobs: Mapping[str, Any]) -> None:
    """Refuse keys that are called as a column of the result, and names that state keeps for itself."""
    assert edge.window is not None
    without_keys = window_columns(replace(edge, keys=()))
    for key in edge.keys:
        if key in without_keys:
            raise BadOption(
                f"{_at(item)}: the key `{key}` has the name of a column that the window gives; rename it first"
            )
    roots = {root for stored in item.exprs for root in stored.load(blobs).meta.root_names()}
    for name in sorted({*edge.keys, *roots}):
        if name.startswith(RESERVED_PREFIX):
            raise BadOption(
                f"{_at(item)} reads `{name}`; names that start with two underscores are ours, rename it first"
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


def _closed(item: node.AnyNode, edge: Edge) -> Edge:
    if edge.window is not None:
        raise BadWindow(
            f"{_at(item)}: a window without an aggregation; add .agg(...) after .window({edge.window.window})"
        )
    return replace(edge, sides={})


def _ask(item: node.AnyNode, schema: Schema, build: Any) -> Schema:
    """Run `build` on a frame without rows, and put what Polars says against it into our words."""
    try:
        return Schema(build(pl.LazyFrame(schema=schema)).collect().schema)
    except pl.exceptions.ColumnNotFoundError as error:
        if (name := _missing_column(error, item, schema)) is not None:
            _require_columns(item, (name,), schema)
        raise _wrong(item, error, schema) from None
    except pl.exceptions.DuplicateError as error:
        found = re.search(r"['\"`]([^'\"`]+)['\"`]", _first_line(error))
        twice = f"makes two columns named `{found[1]}`" if found else _first_line(error)
        raise BadOption(f"{_at(item)} {twice}; name them apart: {item.kind}(a=..., b=...)") from None
    except pl.exceptions.PolarsError as error:
        raise _wrong(item, error, schema) from None


def _missing_column(error: Exception, item: node.AnyNode, schema: Schema) -> str | None:
    """Find the column that Polars misses: its message names it, and what the expressions read confirms it."""
    for found in re.findall(r"[\"'`]([^\"'`]*)[\"'`]", str(error)):
        if found not in schema:
            return str(found)
    return None


def _wrong(item: node.AnyNode, error: Exception, schema: Schema) -> GraphError:
    exprs = ", ".join(f"`{stored.readable}`" for stored in getattr(item, "exprs", ()))
    told = f"{_at(item)}{' has ' + exprs if exprs else ''}: {_first_line(error)}"
    if isinstance(error, pl.exceptions.StructFieldNotFoundError):
        field = re.sub(r"\W", "", _first_line(error).rpartition(" ")[2])
        fields = [f.name for dtype in schema.values() if isinstance(dtype, pl.Struct) for f in dtype.fields]
        return UnknownColumn(
            f"{_at(item)} reads the field `{field}`; the structs of the stream have {listing(fields)}."
            + nearest(field, fields)
        )
    read = [name for name in schema if any(name in _words(stored.text) for stored in getattr(item, "exprs", ()))]
    types = ", ".join(f"`{name}` is {schema[name]}" for name in read[:6])
    return WrongType(told + (f". Here {types}" if types else ""))


def _words(text: str) -> set[str]:
    return set(re.findall(r'"([^"]*)"', text))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _require_columns(item: node.AnyNode, names: Iterable[str], schema: Schema) -> None:
    for name in names:
        if name not in schema:
            raise UnknownColumn(f"{_at(item)} reads `{name}`; the stream has {listing(schema)}.{nearest(name, schema)}")


def _refuse_unhashable(item: node.AnyNode, keys: Sequence[str], schema: Schema) -> None:
    if len(set(keys)) < len(keys):
        raise BadOption(f"{_at(item)} names a key twice: {listing(keys)}")
    for key in keys:
        if schema[key].is_nested() or isinstance(schema[key], pl.Object):
            raise WrongType(f"{_at(item)}: `{key}` is {schema[key]}; a key is a plain value, unnest or hash it first")


def _refuse_reserved(item: node.AnyNode, schema: Schema, before: Schema) -> None:
    for name in schema:
        if name.startswith(RESERVED_PREFIX) and name not in before:
            raise BadOption(f"{_at(item)} makes `{name}`; names that start with two underscores are ours")


def _output_names(expr: pl.Expr, schema: Schema) -> list[str]:
    if _single(expr):
        return [expr.meta.output_name()]
    try:
        return pl.LazyFrame(schema=schema).select(expr).collect_schema().names()
    except pl.exceptions.PolarsError:
        return []


def _single(expr: pl.Expr) -> bool:
    return not expr.meta.has_multiple_outputs()


def _at(item: node.AnyNode) -> str:
    match item:
        case node.Udf(udf=key):
            step = f"@udf {key.rpartition('-')[0]}"
        case node.Write(sink=sink):
            step = f"write {sink}"
        case _:
            step = item.kind
    return f"{step} at {item.where}" if item.where else f"{step} ({item.id})"


def stored(exprs: Iterable[pl.Expr]) -> tuple[tuple[Expr, ...], dict[str, pl.Expr]]:
    """Return expressions as values for a node, and the blobs they need."""
    out: list[Expr] = []
    blobs: dict[str, pl.Expr] = {}
    for expr in exprs:
        value, needed = Expr.of(expr)
        out.append(value)
        blobs |= needed
    return tuple(out), blobs
