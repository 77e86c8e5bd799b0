"""Tell one function or frame from another, so that the same code run again gives the same stage."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import re
import weakref
from collections.abc import Iterator
from decimal import Decimal
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

import polars as pl

from ..expr import Expr

_SAMPLED = 1_000_000
_DEPTH = 4


def of_frame(frame: pl.DataFrame) -> str:
    """Return a key for a frame: its schema and rows; of very long ones evenly spaced pieces, and which object it is."""
    digest = hashlib.sha256(repr((list(frame.schema.items()), frame.height)).encode())
    try:
        digest.update(_rows(frame).encode())
    except pl.exceptions.PolarsError:
        digest.update(str(_ordinal("frame", frame)).encode())
    return f"frame-{digest.hexdigest()[:12]}"


def _rows(frame: pl.DataFrame) -> str:
    if frame.height <= _SAMPLED:
        # The number of a row goes into its hash, so the sum knows their order.
        rows = str(frame.with_row_index("__row").hash_rows(seed=0).sum())
        return " ".join([rows, *(each for column in frame for each in _negative_zeros(column, column.name))])
    step = frame.height // 16
    pieces = pl.concat([frame.slice(start, 64) for start in range(0, frame.height, step)])
    return f"{_ordinal('frame', frame)} {_rows(pieces)}"


def _negative_zeros(column: pl.Series, name: str) -> Iterator[str]:
    """Tell where a column has -0.0, at any depth: it is hashed as 0.0 is, and yet another value."""
    match column.dtype:
        case pl.List() | pl.Array():
            yield from _negative_zeros(column.explode(), f"{name}[]")
        case pl.Struct(fields=fields):
            for field in fields:
                yield from _negative_zeros(column.struct.field(field.name), f"{name}.{field.name}")
        case dtype if dtype.is_float():
            places = ((column == 0) & (1 / column < 0)).arg_true()
            if places.len():
                yield f"{name!r} {places.hash(seed=0).sum()}"


def of_function(function: Any) -> str:
    """Return a key for a function: its name, its code, its defaults, and what it closes over or reads from its module.

    What cannot be told by its content, such as an open file in a closure, is told by which object it is, numbered in
    the order met: a program that runs again numbers them the same.
    """
    digest = hashlib.sha256()
    for part in _function(function, _DEPTH):
        digest.update(part.encode())
        digest.update(b"\x00")
    return f"{word(getattr(function, '__name__', type(function).__name__))}-{digest.hexdigest()[:12]}"


def of_plugin(name: str, sha256: str, config: str) -> str:
    """Return a key for a plugin: its module and what is configured around it."""
    return f"{word(name)}-{hashlib.sha256(f'{sha256} {config}'.encode()).hexdigest()[:12]}"


def of_object(kind: str, obj: Any) -> str:
    """Return a key for an object that is itself and no other: `buffer-0`, `buffer-1` in the order met."""
    return f"{kind}-{_ordinal(kind, obj)}"


def word(name: str) -> str:
    """Return a name with only letters, digits and underscores."""
    return re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "function"


def _function(function: Any, depth: int) -> Iterator[str]:
    if not isinstance(function, FunctionType):
        yield from _value(function, depth)
        return
    yield from _code(function.__code__)
    for name in _globals(function.__code__):
        if name in function.__globals__:
            yield name
            yield from _value(function.__globals__[name], depth)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _value(default, depth)
    for cell in function.__closure__ or ():
        try:
            yield from _value(cell.cell_contents, depth)
        except ValueError:
            yield "empty"


def _globals(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _globals(constant)]
    return sorted({*code.co_names, *inner})


def _code(code: CodeType) -> Iterator[str]:
    yield repr((code.co_name, code.co_code, code.co_names, code.co_varnames))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant)))
        else:
            yield repr(constant)


def _value(value: Any, depth: int) -> Iterator[str]:
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes():
            yield repr(value)
        case list() | tuple() if depth:
            yield type(value).__name__
            for item in value:
                yield from _value(item, depth - 1)
        case dict() if depth:
            for key, item in value.items():
                yield from _value(key, depth - 1)
                yield from _value(item, depth - 1)
        case FunctionType():
            if not depth:
                return
            yield from _function(value, depth - 1)
        case type() | ModuleType():
            yield getattr(value, "__qualname__", value.__name__)
        case pl.DataFrame():
            yield of_frame(value)
        case pl.Expr():
            stored = Expr.of(value)[0]
            yield stored.data or stored.blob
        case re.Pattern() | pl.DataType() | dt.date() | dt.time() | dt.timedelta() | Decimal() | PurePath():
            yield repr(value)
        case _:
            yield f"{type(value).__qualname__} {_ordinal(type(value).__qualname__, value)}"


class _Known:
    """Objects met and their numbers. A number is never given twice, even when its object is gone."""

    def __init__(self) -> None:
        self._next = itertools.count()
        self._met: dict[int, tuple[Any, int]] = {}

    def number(self, obj: Any) -> int:
        known = self._met.get(id(obj))
        if known is not None and known[0]() is obj:
            return known[1]
        number = next(self._next)
        try:
            ref: Any = weakref.ref(obj)
        except TypeError:
            # Kept for ever, or its place in memory could be taken by another.
            def ref(kept: Any = obj) -> Any:
                return kept

        self._met[id(obj)] = (ref, number)
        return number


_known: dict[str, _Known] = {}


def _ordinal(kind: str, obj: Any) -> int:
    return _known.setdefault(kind, _Known()).number(obj)
