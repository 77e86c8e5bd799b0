"""Hold calls of the public face to their signatures, before they do anything."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import polars as pl

from .errors import BadOption, WrongType, listing, nearest, shown, trimmed, user_line
from .expr import readable
from .types import Clock

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_WORDS: dict[Any, str] = {
    NoneType: "None",
    bool: "True or False",
    int: "an int",
    float: "a number",
    str: "a str",
    Path: "a Path",
    Clock: "a clock, as flare.testing.clock() makes",
}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def spelled(function: F) -> F:
    """Refuse calls that do not fit the signature, and keywords with the nearest that there is."""
    signature = inspect.signature(function)
    known = [name for name in signature.parameters if name not in ("self", "cls")]
    has = f"{listing(known, most=30)}" if known else "no arguments"
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())

    @trimmed
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        for name in options:
            if name not in known and not open_ended:
                raise BadOption(f"{_at(function)} has no option `{name}`; it has {has}.{nearest(name, known)}")
        try:
            signature.bind(*args, **options)
        except TypeError as error:
            raise BadOption(f"{_at(function)}: {error}; it takes {has}") from None
        try:
            return function(*args, **options)
        except UnicodeEncodeError as error:
            raise BadOption(f"{_at(function)}: {shown(error.object)} is no text that UTF-8 can hold") from None

    return call  # type: ignore[return-value]


def held(function: F) -> F:
    """Hold a call to the signature and to its plain annotations: numbers, text, paths, literals, lists of these.

    What else a function takes it has to look at itself.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        for name, hint in _plain_hints(function).items():
            if name in given and not _fits(given[name], hint):
                out_of_range = isinstance(given[name], str) and "'" in _words(hint)
                kind = BadOption if out_of_range else WrongType
                raise kind(f"{_at(function)}: {name}{_told(given[name])}; it is {_words(hint)}")
        return function(*args, **options)

    return spelled(call)  # type: ignore[return-value]


def public(cls: type[T]) -> type[T]:
    """Hold the calls of all methods of a class that users call."""
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(cls, name, held(member))
    return cls


def _told(value: Any) -> str:
    if isinstance(value, pl.Expr):
        return f" is an expression, `{readable(str(value))}`; compute it before, in with_columns"
    if hasattr(value, "__arrow_c_stream__") and not isinstance(value, str):
        return f" is a {type(value).__name__}, which flare.from_frame(...) makes a stream of"
    return f"={shown(value)}"


def _at(function: Callable[..., Any]) -> str:
    return f"{function.__name__} at {user_line()}"


@functools.cache
def _plain_hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    return {
        name: hints[name]
        for name, parameter in parameters.items()
        if name in hints and parameter.kind not in _VARIADIC and _words(hints[name])
    }


def _words(hint: Any) -> str:
    """Say what an annotation allows; nothing if it is not plain."""
    parts = get_args(hint)
    match get_origin(hint):
        case None:
            return _WORDS.get(hint, "")
        case origin if origin in (Union, UnionType):
            words = [_words(part) for part in parts]
            return " or ".join(words) if all(words) else ""
        case origin if origin is Literal:
            return " or ".join(map(repr, parts))
        case origin if origin is Sequence:
            return "a list of " + _words(parts[0]).replace("a ", "") if _words(parts[0]) else ""
        case origin if origin is Mapping:
            return "a dict"
        case _:
            return ""


def _fits(value: Any, hint: Any) -> bool:
    parts = get_args(hint)
    match get_origin(hint):
        case None if hint is int:
            return isinstance(value, int) and not isinstance(value, bool)
        case None if hint is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and value == value
        case None if hint is Path:
            return isinstance(value, os.PathLike)
        case None:
            return isinstance(value, hint)
        case origin if origin is Literal:
            return any(type(value) is type(part) and value == part for part in parts)
        case origin if origin is Sequence:
            listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
            return listed and all(_fits(each, parts[0]) for each in value)
        case origin if origin is Mapping:
            return isinstance(value, Mapping)
        case _:
            return any(_fits(value, part) for part in parts)
