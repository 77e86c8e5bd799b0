"""Check the options of a connector and say everything that is wrong with them at once."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
import polars as pl

from .. import dtypes
from ..clock import SystemClock
from ..errors import BadOption, ConnectorError, GraphError, GraphFormat, listing, nearest, there_are
from ..types import Clock, Json, Schema
from ..windows import Duration

Positive = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
Char = Annotated[str, msgspec.Meta(min_length=1, max_length=1)]


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of one connector, as JSON-able fields."""

    def problems(self) -> Iterable[str]:
        """Name what is wrong between fields that are each right."""
        return ()


@dataclass(frozen=True, slots=True)
class Resources:
    """What options cannot hold: the blobs they name by key, the clock, and the schema that a stream was built on."""

    blobs: Mapping[str, object] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    schema: Schema | None = None

    def blob(self, connector: str, option: str, key: str) -> Any:
        """Look up the object that `option` names."""
        try:
            return self.blobs[key]
        except KeyError:
            raise BadOption(
                f"{connector}: {option}={key!r} names no blob; {there_are(self.blobs)}.{nearest(key, self.blobs)}"
            ) from None


O = TypeVar("O", bound=Options)  # noqa: E741


def decode(connector: str, cls: type[O], options: Mapping[str, Any]) -> O:
    """Turn a mapping into options, or raise one `BadOption` that lists every mistake.

    Takes Polars dtypes, paths and timedeltas too, and keeps their text.
    """
    known = _fields(cls)
    mistakes: list[str] = []
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            mistakes.append(f"`{name}` is not an option.{nearest(name, known)}".removesuffix("."))
            continue
        try:
            plain = jsonable(value)
            values[name] = msgspec.convert(plain, known[name].type, strict=True)
        except GraphError as error:
            mistakes.append(f"{name}: {error}")
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


def schema_problems(option: str, columns: Mapping[str, Any] | None) -> Iterable[str]:
    """Name every type that cannot be read."""
    for name, dtype in (columns or {}).items():
        try:
            dtypes.from_json({name: dtype})
        except GraphFormat as error:
            yield f"{option}: column `{name}`: {error}"


@lru_cache
def _fields(cls: type[Options]) -> Mapping[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(cls)}


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`, alone or beside None; nothing for other types."""
    parts = (annotation, *get_args(annotation))
    return next((get_args(part) for part in parts if get_origin(part) is Literal), ())


def encode(options: Options) -> Json:
    """Return the options that differ from their defaults, as JSON."""
    plain: Json = msgspec.to_builtins(options)
    return plain


def jsonable(value: object) -> Any:
    """Write dtypes, paths and timedeltas as JSON, at any depth; leave the rest."""
    match value:
        case pl.DataType() | type():
            return dtypes.write(dtypes.of({"": value})[""])
        case os.PathLike():
            return os.fspath(value)
        case dt.timedelta():
            return str(Duration.of(value))
        case Mapping():
            return {key: jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _:
            return value
