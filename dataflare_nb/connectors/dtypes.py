"""Write Polars dtypes as text and read them back."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

_KNOWN: dict[str, type[pl.DataType]] = {
    name: dtype
    for name in dir(pl)
    if isinstance(dtype := getattr(pl, name), type) and issubclass(dtype, pl.DataType) and dtype is not pl.DataType
}


def dtype_text(dtype: pl.DataType) -> str:
    """Write a dtype the way Polars shows it.

    >>> dtype_text(pl.List(pl.Int8()))
    'List(Int8)'
    """
    return str(dtype)


def parse_dtype(text: str) -> pl.DataType:
    """Read what `dtype_text` wrote.

    >>> parse_dtype("Datetime(time_unit='us', time_zone='UTC')")
    Datetime(time_unit='us', time_zone='UTC')
    """
    try:
        made = _build(ast.parse(text, mode="eval").body)
        dtype = made() if isinstance(made, type) else made
    except (SyntaxError, TypeError, KeyError, ValueError):
        raise ValueError(f"{text!r} is not a Polars dtype such as 'Int64' or \"Datetime(time_unit='us')\"") from None
    if not isinstance(dtype, pl.DataType):
        raise ValueError(f"{text!r} is not a Polars dtype such as 'Int64'")
    return dtype


def parse_schema(texts: Mapping[str, str]) -> pl.Schema:
    """Read a schema of dtype texts."""
    return pl.Schema({name: parse_dtype(text) for name, text in texts.items()})


def schema_problems(option: str, texts: Mapping[str, str] | None) -> Iterable[str]:
    """Name every dtype text that cannot be read."""
    for name, text in (texts or {}).items():
        try:
            parse_dtype(text)
        except ValueError as error:
            yield f"{option}: column `{name}`: {error}"


def _build(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name):
            return _KNOWN[name]
        case ast.Call(func=func, args=args, keywords=keywords):
            return _build(func)(*map(_build, args), **{k.arg or "": _build(k.value) for k in keywords})
        case ast.Dict(keys=keys, values=values):
            return {_build(k): _build(v) for k, v in zip(keys, values, strict=True) if k is not None}
        case ast.List(elts=items):
            return [_build(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_build(item) for item in items)
        case ast.Constant(value=value):
            return value
        case _:
            raise ValueError(ast.dump(node))
