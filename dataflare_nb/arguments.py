"""Read what a user passes to a step: expressions, names, types, lengths of time, paths, functions."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any

import polars as pl

from . import dtypes
from .errors import BadOption, WrongType, listing, located, shown, user_line
from .interrupts import schema_of
from .wasm.aggregator import AggregateCall
from .wasm.udf import Udf, UdfCall

_CONSTANTS = bool | int | float | bytes | Decimal | dt.date | dt.time | dt.timedelta


def flat(values: Iterable[Any]) -> list[Any]:
    """Take lists of expressions apart, as Polars does."""
    return [item for value in values for item in (flat(value) if isinstance(value, list | tuple) else [value])]


def expression(step: str, value: Any) -> pl.Expr:
    """Return an expression, the column of a name, or a constant."""
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    at = f"{step} at {user_line()}"
    if isinstance(value, UdfCall | Udf):
        shown = repr(value) if isinstance(value, UdfCall) else f"{value.name}(...)"
        raise WrongType(f"{at}: {shown} is a @udf, which goes into with_columns, select or filter, as {shown}")
    if isinstance(value, AggregateCall):
        raise WrongType(f"{at}: {value.name} is an aggregation by a plugin, which goes into .window(...).agg(...)")
    if callable(value) and not isinstance(value, pl.Series | type):
        name = called(value)
        polars = (getattr(value, "__module__", None) or "").startswith("polars")
        raise WrongType(
            f"{at}: `{name}` is a function; " + (f"call it: {name}()" if polars else _instead(step, value, name))
        )
    if not isinstance(value, _CONSTANTS | NoneType):
        raise WrongType(f"{at} takes expressions such as pl.col('x') * 2, not {type(value).__name__}")
    return pl.lit(value)


def _instead(step: str, function: Any, name: str) -> str:
    """Say what is written where a Python function was."""
    if function is len:
        return "the number of rows is pl.len()"
    if function in (sum, min, max, any, all):
        return f"write pl.col('x').{name}()"
    if step == "agg":
        return "an aggregation is an expression such as pl.len() or pl.col('x').mean()"
    return "use map_batches, or @flare.udf"


def constant(step: str, name: str, value: Any) -> Any:
    """Return what a column is compared with by `name=value`: an expression, or a constant, text among them."""
    if value is None:
        raise BadOption(
            f"{step} at {user_line()}: {name}=None is never true, as null equals nothing; "
            f"use pl.col({name!r}).is_null()"
        )
    if not isinstance(value, pl.Expr | str | list | _CONSTANTS):
        raise WrongType(f"{step} at {user_line()}: {name}={shown(value)} is not a value that a column can have")
    return value


def outputs(expr: pl.Expr, schema: pl.Schema) -> list[str]:
    """Return the columns that an expression gives, none where it cannot be resolved: the step will say why."""
    try:
        return schema_of(pl.LazyFrame(schema=schema).select(expr)).names()
    except pl.exceptions.PolarsError:
        return [] if expr.meta.has_multiple_outputs() else [expr.meta.output_name()]


def names(step: str, columns: Iterable[Any], schema: pl.Schema) -> tuple[str, ...]:
    """Return the names that names and selectors stand for, each once."""
    found: list[str] = []
    for column in flat(columns):
        if isinstance(column, pl.Expr):
            found += outputs(column, schema)
        elif isinstance(column, str):
            found.append(column)
        else:
            raise BadOption(f"{step} at {user_line()} takes names of columns, not {shown(column)}")
    if not found:
        raise BadOption(f"{step} at {user_line()} names no column; the stream has {listing(schema)}")
    return tuple(dict.fromkeys(found))


def types(step: str, columns: Mapping[str, Any]) -> pl.Schema:
    """Read a user's schema."""
    with located(step):
        return dtypes.of(columns)


def time_zone(zone: str | None) -> str | None:
    """Refuse a time zone that Polars does not know."""
    if zone is not None:
        try:
            if not zone:
                raise TypeError("no name")
            pl.Series([0]).cast(pl.Datetime("us", zone)).dt.replace_time_zone(None)
        except (pl.exceptions.PolarsError, TypeError):
            raise BadOption(f"time_zone={shown(zone)} is not a time zone such as 'America/New_York'") from None
    return zone


def function(step: str, value: Any, wanted: str, given: Sequence[str]) -> Any:
    """Refuse what is no function, cannot be called with `given`, or only makes a coroutine or a generator then."""
    if not callable(value):
        raise WrongType(f"{step} at {user_line()}: {shown(value)} is not a function {wanted}")
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    inside = getattr(type(value), "__call__", None)  # noqa: B004 - the function itself is wanted
    if any(kind(each) for kind in kinds for each in (value, inside)):
        name = called(value)
        raise WrongType(
            f"{step} at {user_line()}: `{name}` is async or yields; it has to be a plain function that returns"
        )
    if (takes := _signature(value)) is not None:
        try:
            takes.bind(*given)
        except TypeError as error:
            raise WrongType(
                f"{step} at {user_line()}: `{called(value)}{takes}` is called with ({', '.join(given)}): {error}"
            ) from None
    return value


def _signature(function: Any) -> inspect.Signature | None:
    """Return how a function is called, if it says so; much that is written in C does not."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def called(function: Any) -> str:
    """Return how a function is called in messages."""
    return str(getattr(function, "__name__", type(function).__name__))
