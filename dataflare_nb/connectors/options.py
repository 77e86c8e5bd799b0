"""Check the options of a connector and say everything that is wrong with them at once."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
import polars as pl

from ..clock import SystemClock
from ..errors import BadOption, ConnectorError, listing, nearest
from ..types import Clock, Json
from .dtypes import dtype_text

Positive = Annotated[int, msgspec.Meta(ge=1)]
Char = Annotated[str, msgspec.Meta(min_length=1, max_length=1)]

_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_PIECE = re.compile(r"(\d+)(us|ms|s|m|h|d)")


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of one connector, as JSON-able fields."""

    def problems(self) -> Iterable[str]:
        """Name what is wrong between fields that are each right."""
        return ()


@dataclass(frozen=True, slots=True)
class Resources:
    """What options cannot hold: the blobs they name by key, and the clock."""

    blobs: Mapping[str, object] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    def blob(self, connector: str, option: str, key: str) -> Any:
        """Look up the object that `option` names."""
        try:
            return self.blobs[key]
        except KeyError:
            raise BadOption(
                f"{connector}: {option}={key!r} names no blob; there are {listing(self.blobs)}."
                f"{nearest(key, self.blobs)}"
            ) from None


O = TypeVar("O", bound=Options)  # noqa: E741


def decode(connector: str, cls: type[O], options: Mapping[str, Any]) -> O:
    """Turn a mapping into options, or raise one `BadOption` that lists every mistake.

    Takes Polars dtypes, paths and timedeltas too, and keeps their text.
    """
    known = {f.name: f for f in msgspec.structs.fields(cls)}
    mistakes: list[str] = []
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            mistakes.append(f"`{name}` is not an option.{nearest(name, known)}")
            continue
        plain = jsonable(value)
        try:
            values[name] = msgspec.convert(plain, known[name].type, strict=True)
        except msgspec.ValidationError as error:
            allowed = _choices(known[name].type)
            said = f"it is {' or '.join(map(repr, allowed))}" if allowed else str(error)[:1].lower() + str(error)[1:]
            mistakes.append(f"{name}={plain!r}: {said}")
    mistakes += [f"`{n}` is missing" for n, f in known.items() if f.required and n not in options]
    if not mistakes:
        made = cls(**values)
        mistakes += made.problems()
        if not mistakes:
            return made
    told = "; ".join(mistakes)
    stop = "" if told.endswith("?") else "."
    raise BadOption(f"{connector}: {told}{stop} The options are {listing(known, most=30)}.")


def path_problems(path: str, error: type[ConnectorError]) -> Iterable[str]:
    """Name what no path can be; raise the error for a path that is no text, which a graph cannot hold."""
    if "\0" in path:
        yield f"path={path!r} has a NUL character"
    try:
        path.encode()
    except UnicodeEncodeError:
        raise error(f"the path {path!r} is not UTF-8; rename it") from None


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`, alone or beside None; nothing for other types."""
    parts = (annotation, *get_args(annotation))
    return next((get_args(part) for part in parts if get_origin(part) is Literal), ())


def encode(options: Options) -> Json:
    """Return the options that differ from their defaults, as JSON."""
    plain: Json = msgspec.to_builtins(options)
    return plain


def jsonable(value: object) -> Any:
    """Write dtypes, paths and timedeltas as text, at any depth; leave the rest."""
    match value:
        case pl.DataType():
            return dtype_text(value)
        case type() if issubclass(value, pl.DataType):
            return dtype_text(value())
        case os.PathLike():
            return os.fspath(value)
        case dt.timedelta():
            return f"{value // dt.timedelta(microseconds=1)}us"
        case Mapping():
            return {key: jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _:
            return value


def microseconds(text: str) -> int:
    """Read a length of time.

    >>> microseconds("1m30s")
    90000000
    """
    pieces = _PIECE.findall(text)
    if not pieces or "".join(n + u for n, u in pieces) != text:
        raise ValueError(f"{text!r} is not a length of time such as '200ms' or '1m30s'")
    return sum(int(n) * _UNITS[u] for n, u in pieces)
