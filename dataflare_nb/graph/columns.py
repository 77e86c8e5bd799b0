"""Column steps: what they mean, and the edges that leave them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from .. import dtypes
from ..dtypes import short
from ..errors import BadOption, GraphFormat, UnwindowedAggregate, WrongType, listing
from ..expr import Expr, Setting, changes_height, expand, row_fault
from ..types import Schema
from . import node
from .asking import (
    ask,
    at,
    gives_one,
    output_names,
    parse_first,
    refuse_reserved,
    require_columns,
    require_match,
    require_params,
)
from .schema import Edge, carry

_TIMES = (pl.Datetime, pl.Date, pl.Time)


def apply(
    item: node.AnyNode, frame: pl.LazyFrame, blobs: Mapping[str, Any], settings: tuple[Setting, ...] = ()
) -> pl.LazyFrame:
    """Return `frame` with a column node's work added: the one meaning of these nodes, used to check and to run.

    Params have the values of `settings`, else those that they begin with.
    """
    match item:
        case node.Select(exprs=exprs):
            return frame.select(*(e.load(blobs, settings) for e in exprs))
        case node.WithColumns(exprs=exprs):
            return frame.with_columns(*(e.load(blobs, settings) for e in exprs))
        case node.Filter(exprs=exprs):
            return frame.filter(*(e.load(blobs, settings) for e in exprs))
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


def column_step(item: node.AnyNode, edge: Edge, blobs: Mapping[str, Any]) -> Edge:
    """Return the edge after a column step."""
    exprs = getattr(item, "exprs", ())
    loaded = [_loaded(item, stored, blobs) for stored in exprs]
    for stored, expr in zip(exprs, loaded, strict=True):
        require_params(item, stored)
        require_match(item, stored, expr, edge.schema)
        _refuse_other_rows(item, stored, expr, edge.schema)
    names: Iterable[str] = getattr(item, "columns", ())
    if not isinstance(item, node.Select | node.WithColumns | node.Filter):
        require_columns(item, names, edge.schema)
    if isinstance(item, node.Drop | node.Explode | node.Unnest) and not item.columns:
        raise BadOption(f"{at(item)} names no column; the stream has {listing(edge.schema)}")
    match item:
        case node.Select() if not any(_reads(expr) for expr in loaded):
            raise BadOption(
                f"{at(item)} has only constants, which say nothing of how many rows there are; "
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
    # What a filter asks for has just been tried, and it changes no column.
    schema = (
        edge.schema
        if isinstance(item, node.Filter)
        else ask(item, edge.schema, lambda frame: apply(item, frame, blobs))
    )
    if isinstance(item, node.Drop) and not schema:
        raise BadOption(f"{at(item)} leaves no column; keep at least one")
    refuse_reserved(item, schema, edge.schema)
    mapping = item.columns if isinstance(item, node.Rename) else {}
    if isinstance(item, node.Rename | node.Filter | node.Explode):
        kept = {old: mapping.get(old, old) for old in edge.schema}
    else:
        rewritten = _rewritten(item, loaded, edge.schema)
        kept = {
            **_copied(item, loaded),
            **{name: name for name in edge.schema if name in schema and name not in rewritten},
        }
    return carry(edge, schema, kept, at(item))


def _loaded(item: node.AnyNode, stored: Expr, blobs: Mapping[str, Any]) -> pl.Expr:
    try:
        return stored.load(blobs)
    except KeyError as error:
        raise GraphFormat(
            f"{at(item)} has `{stored.readable}`, whose Python function lives in another process ({error}); "
            "use @flare.udf or a plugin"
        ) from None


def _reads(expr: pl.Expr) -> bool:
    return expr.meta.has_multiple_outputs() or bool(expr.meta.root_names())


def _rewritten(item: node.AnyNode, exprs: Sequence[pl.Expr], schema: Schema) -> set[str]:
    """Return the columns that do not come out as they went in, though one of their name may."""
    match item:
        case node.Select() | node.WithColumns():
            copied = _copied(item, exprs)
            makers = [e for e in exprs if not (e.meta.is_column_selection() or e.meta.is_column())]
            names = {name for expr in makers for name in output_names(expr, schema)}
            return {name for name in names if copied.get(name) != name}
        case node.Cast(columns=columns) | node.Unnest(columns=columns):
            return set(columns)
        case _:
            return set()


def _copied(item: node.AnyNode, exprs: Sequence[pl.Expr]) -> dict[str, str]:
    """Return the columns that come out as they went in, perhaps by another name: `when="t"`, `t=pl.col("t")`."""
    names: dict[str, list[str]] = {}
    if isinstance(item, node.Select | node.WithColumns):
        for expr in exprs:
            if gives_one(expr) and (column := expr.meta.undo_aliases()).meta.is_column():
                names.setdefault(column.meta.output_name(), []).append(expr.meta.output_name())
    return {source: source if source in given else given[0] for source, given in names.items()}


def _refuse_other_rows(item: node.AnyNode, stored: Expr, expr: pl.Expr, schema: Schema) -> None:
    for single in expand(expr, schema):
        if (fault := row_fault(single)) is not None:
            whole = stored.readable
            if re.search(r'\.str\.strptime\("\w+"\)$', fault):
                raise BadOption(
                    f"{at(item)} has `{whole}`, which guesses the format of times from many rows at once; "
                    "say what it is, as in .str.to_datetime('%Y-%m-%d %H:%M:%S')"
                )
            part = "which" if fault == whole else f"whose `{fault}`"
            raise UnwindowedAggregate(
                f"{at(item)} has `{whole}`, {part} looks at other rows of a stream that may never end. "
                "Aggregate in a window: .key_by(...).window(flare.tumbling('1h')).agg(...)"
            )
        if changes_height(single):
            raise WrongType(
                f"{at(item)} has `{stored.readable}`, which gives another number of rows than it reads; "
                "use .filter(...) to drop rows and .explode(...) to make more"
            )


def _refuse_unboolean(item: node.Filter, exprs: Sequence[pl.Expr], schema: Schema) -> None:
    for stored, expr in zip(item.exprs, exprs, strict=True):
        # A comparison of text with a number plans well and fails where it runs. Users' own functions are not called.
        for name, dtype in ask(item, schema, lambda frame, e=expr: frame.select(e), run=not stored.blob).items():
            if dtype not in (pl.Boolean, pl.Null):
                single = stored.readable if gives_one(expr) else name
                of = "" if gives_one(expr) else f" of `{stored.readable}`"
                raise WrongType(
                    f"{at(item)}: `{single}`{of} is {short(dtype)}, and a filter needs Boolean; "
                    f"compare it with something, such as `{single}{_comparison(dtype)}`"
                )


def _comparison(dtype: pl.DataType) -> str:
    return " > 0" if dtype.is_numeric() else " == 'x'" if dtype == pl.String else ".is_not_null()"


def _require_kind(item: node.Explode | node.Unnest, schema: Schema, kinds: tuple[Any, ...], word: str) -> None:
    fitting = [name for name, dtype in schema.items() if isinstance(dtype, kinds)]
    for name in item.columns:
        if not isinstance(schema[name], kinds):
            raise WrongType(
                f"{at(item)} takes {word} columns, and `{name}` is {short(schema[name])}; "
                f"{word} columns here: {listing(fitting)}"
            )


def _refuse_rename(item: node.Rename, mapping: Mapping[str, str], schema: Schema) -> None:
    after = Counter(mapping.get(name, name) for name in schema)
    for name in mapping.values():
        if after[name] > 1:
            raise BadOption(f"{at(item)} makes two columns named `{name}`; the stream has {listing(schema)}")


def _refuse_cast(item: node.Cast, types: Schema, schema: Schema) -> None:
    """Try one value of each column: on a frame without rows Polars lets every cast pass."""
    for name, dtype in types.items():
        value = _a_value(schema[name])
        if value is None:
            continue
        try:
            pl.Series([value]).cast(schema[name]).cast(dtype, strict=False)
        except pl.exceptions.PolarsError:
            raise WrongType(
                f"{at(item)}: `{name}` is {short(schema[name])}, which cannot become {short(dtype)}"
                + (f". {parse_first(name, dtype)}" if schema[name] == pl.String and dtype in _TIMES else "")
            ) from None


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
