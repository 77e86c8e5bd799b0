"""Ask Polars what comes of a step, on frames without rows, and put what it says against it into our words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

import polars as pl

from ..dtypes import short
from ..errors import BadOption, GraphError, GraphFormat, UnknownColumn, WrongType, listing, nearest
from ..expr import Expr
from ..interrupts import schema_of
from ..types import Schema
from . import node

RESERVED_PREFIX = "__"
_LONGEST_NAME = 60
_TEXT_WITH_NUMBER = ". Compare texts with a text such as '5', or make numbers of them before: .cast(pl.Int64)"


def at(item: node.AnyNode) -> str:
    """Name a step and the user's line: what a message about it begins with."""
    match item:
        case node.Udf(udf=key):
            step = f"@udf {key.rpartition('-')[0]}"
        case node.Read(source=source):
            step = f"read {source}"
        case node.Write(sink=sink):
            step = f"write {sink}"
        case _:
            step = item.kind
    return f"{step} at {item.where}" if item.where else f"{step} ({item.id})"


def ask(item: node.AnyNode, schema: Schema, build: Callable[..., pl.LazyFrame], *, run: bool = True) -> Schema:
    """Return the schema of what `build` makes of a frame without rows. Raises the GraphError that says why not.

    Some mistakes show only where the query runs; without `run` it is planned, in a fiftieth of the time.
    """
    try:
        query = build(_without_rows(tuple(schema.items())))
        return Schema(query.collect().schema if run else schema_of(query))
    except pl.exceptions.ColumnNotFoundError as error:
        if (name := _missing_column(error, item, schema)) is not None:
            require_columns(item, (name,), schema)
        raise _wrong(item, error, schema) from None
    except pl.exceptions.DuplicateError as error:
        found = re.search(r"['\"`]([^'\"`]+)['\"`]", _first_line(error))
        twice = f"makes two columns named `{found[1]}`" if found else _first_line(error)
        raise BadOption(f"{at(item)} {twice}; name them apart: {item.kind}(a=..., b=...)") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _wrong(item, error, schema) from None


@lru_cache(maxsize=16)
def _without_rows(schema: tuple[tuple[str, pl.DataType], ...]) -> pl.LazyFrame:
    """Return a frame of a schema, kept since making one of many columns takes longer than asking it."""
    return pl.LazyFrame(schema=dict(schema))


def _missing_column(error: Exception, item: node.AnyNode, schema: Schema) -> str | None:
    """Find the column that Polars misses: its message names it, and what the expressions read confirms it."""
    for found in re.findall(r"[\"'`]([^\"'`]*)[\"'`]", str(error)):
        if found not in schema:
            return str(found)
    return None


def _wrong(item: node.AnyNode, error: BaseException, schema: Schema) -> GraphError:
    exprs = ", ".join(f"`{stored.readable}`" for stored in getattr(item, "exprs", ()))
    told = f"{at(item)}{' has ' + exprs if exprs else ''}: {_first_line(error)}"
    if isinstance(error, pl.exceptions.StructFieldNotFoundError):
        field = re.sub(r"\W", "", _first_line(error).rpartition(" ")[2])
        fields = [f.name for dtype in schema.values() if isinstance(dtype, pl.Struct) for f in dtype.fields]
        return UnknownColumn(
            f"{at(item)} reads the field `{field}`; the structs of the stream have {listing(fields)}."
            + nearest(field, fields)
        )
    read = [name for name in schema if any(name in _words(stored.text) for stored in getattr(item, "exprs", ()))]
    types = ", ".join(f"`{name}` is {short(schema[name])}" for name in read[:6])
    way = _TEXT_WITH_NUMBER if told.split(": ")[-1].startswith("cannot compare string with numeric") else ""
    return WrongType(told + (f". Here {types}" if types else "") + way)


def _words(text: str) -> set[str]:
    return set(re.findall(r'"([^"]*)"', text))


def _first_line(error: BaseException) -> str:
    line = str(error).strip().split("\n", 1)[0]
    return f"Polars panics at this: {line}" if isinstance(error, pl.exceptions.PanicException) else line


def parse_first(name: str, dtype: pl.DataType | None = None, *, strict: bool = True) -> str:
    """Say how a column of texts becomes one of times, with the format, without which Polars looks at many rows."""
    call = {pl.Date: "to_date('%Y-%m-%d'", pl.Time: "to_time('%H:%M:%S'"}.get(
        type(dtype),  # type: ignore[arg-type]
        "to_datetime('%Y-%m-%d %H:%M:%S'",
    )
    how = "" if strict else ", strict=False"
    return f"Parse it first, by its format: .with_columns(pl.col({name!r}).str.{call}{how}))"


def require_columns(item: node.AnyNode, names: Iterable[str], schema: Schema) -> None:
    """Refuse a step that reads by its name a column which is not there."""
    for name in names:
        if name not in schema:
            takes_exprs = isinstance(item, node.KeyBy | node.Drop | node.Explode | node.Unnest)
            pattern = f" For a pattern write pl.col({name!r})" if takes_exprs and _is_pattern(name) else ""
            hint = pattern or nearest(name, schema)
            raise UnknownColumn(f"{at(item)} reads `{_cut(name)}`; the stream has {listing(schema)}.{hint}")


def refuse_patterns(item: node.AnyNode, schema: Schema) -> None:
    """Refuse columns whose names mean several columns wherever Polars reads them."""
    for name in schema:
        if _is_pattern(name):
            way = "leave it out with columns= or rename it" if isinstance(item, node.Read) else "use another name"
            raise BadOption(f"{at(item)} gives a column called `{name}`, which Polars reads as a pattern; {way}")


def _is_pattern(name: str) -> bool:
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def require_match(item: node.AnyNode, stored: Expr, expr: pl.Expr, schema: Schema) -> None:
    """Refuse a pattern or selector that no column matches."""
    if gives_one(expr):
        return
    try:
        found = schema_of(pl.LazyFrame(schema=schema).select(expr))
    except pl.exceptions.PolarsError:
        return
    if not found:
        raise UnknownColumn(f"{at(item)}: `{stored.readable}` matches no column; the stream has {listing(schema)}")


def refuse_reserved(item: node.AnyNode, schema: Schema, before: Schema) -> None:
    """Refuse a step that makes a column with a name of ours."""
    for name in schema:
        if name.startswith(RESERVED_PREFIX) and name not in before:
            raise BadOption(f"{at(item)} makes `{name}`; names that start with two underscores are ours")


def require_params(item: node.AnyNode, stored: Expr) -> None:
    """Refuse an expression whose params the node does not know, or knows by another type."""
    known = {spec.name: spec.dtype for spec in node.params_of(item)}
    for name, found in stored.params.items():
        if name not in known:
            raise GraphFormat(f"{at(item)} has `{stored.readable}`, and does not say what the param `{name}` is")
        if known[name] != found.dtype:
            raise WrongType(
                f"{at(item)} has `{stored.readable}`, written when the param `{name}` was {found.dtype}; it is "
                f"{known[name]} now, so write the expression again"
            )


def output_names(expr: pl.Expr, schema: Schema) -> list[str]:
    """Return the columns that an expression gives, none where Polars cannot tell."""
    if gives_one(expr):
        return [expr.meta.output_name()]
    try:
        return schema_of(pl.LazyFrame(schema=schema).select(expr)).names()
    except pl.exceptions.PolarsError:
        return []


def gives_one(expr: pl.Expr) -> bool:
    """Tell whether an expression gives one column."""
    return not expr.meta.has_multiple_outputs()
