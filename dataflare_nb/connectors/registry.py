"""Sources and sinks by name: what a graph holds is a name and options, and this turns them into the real thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from ..clock import SystemClock
from ..errors import BadOption, WrongType, listing, nearest, shown, user_line
from ..signature import held
from ..types import Clock, Json, Schema, Sink, Source
from .callback import CallbackOptions, CallbackSink
from .file_sink import FileSink
from .files import FileSource
from .formats import CSV, IPC, NDJSON, PARQUET
from .frame import FrameOptions, FrameSource, require_same
from .memory import MemoryOptions, MemorySink
from .options import Options, Resources, decode, encode, jsonable
from .rate import RateOptions, RateSource

T = TypeVar("T")

Factory: TypeAlias = Callable[[Any, Resources], T]
"""Makes a connector from checked options; opens no file that the schema does not need."""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    factory: Factory[T]
    options: type[Options] | None

    def decode(self, name: str, options: Mapping[str, Any]) -> Any:
        return decode(name, self.options, options) if self.options else dict(options)


_ENDINGS = {
    **dict.fromkeys(("csv", "tsv", "txt"), "csv"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **dict.fromkeys(("ndjson", "jsonl", "json"), "ndjson"),
    **dict.fromkeys(("ipc", "arrow", "feather"), "ipc"),
}
_sources: dict[str, _Entry[Source]] = {}
_sinks: dict[str, _Entry[Sink]] = {}


@held
def register_source(name: str, factory: Factory[Source], *, options: type[Options] | None = None) -> None:
    """Make a source known under a name. Registering again replaces it, so that a cell can be run twice.

    With an `Options` struct the options are checked before the factory sees them; without, it gets the mapping.
    """
    _sources[name] = _Entry(_factory("register_source", factory), options)


@held
def register_sink(name: str, factory: Factory[Sink], *, options: type[Options] | None = None) -> None:
    """Make a sink known under a name, like `register_source`."""
    _sinks[name] = _Entry(_factory("register_sink", factory), options)


def _factory(step: str, factory: Factory[T]) -> Factory[T]:
    if not callable(factory):
        raise WrongType(f"{step} at {user_line()}: {shown(factory)} is not a function (options, resources)")
    return factory


def source_options(name: str, options: Mapping[str, Any]) -> Json:
    """Check options and return them as JSON, defaults left out. Opens nothing."""
    return _checked("source", _sources, name, options)


def sink_options(name: str, options: Mapping[str, Any]) -> Json:
    """Check options and return them as JSON, defaults left out. Opens nothing."""
    return _checked("sink", _sinks, name, options)


def make_source(
    name: str,
    options: Mapping[str, Any],
    blobs: Mapping[str, object] | None = None,
    *,
    clock: Clock | None = None,
    schema: Schema | None = None,
) -> Source:
    """Make the source of that name. Looks at files as far as the schema needs it; missing files fail here.

    With the `schema` that a stream was built on, a source that has another by now fails here too.
    """
    entry = _find("source", _sources, name)
    source = entry.factory(entry.decode(name, options), Resources(blobs or {}, clock or SystemClock(), schema))
    if schema is not None:
        path = options.get("path")
        require_same(
            f"read_{name}: {listing([path] if isinstance(path, str) else path)}" if path else name,
            source.schema,
            schema,
        )
    return source


def make_sink(
    name: str, options: Mapping[str, Any], blobs: Mapping[str, object] | None = None, *, clock: Clock | None = None
) -> Sink:
    """Make the sink of that name. Touches nothing outside until it is opened."""
    entry = _find("sink", _sinks, name)
    return entry.factory(entry.decode(name, options), Resources(blobs or {}, clock or SystemClock()))


def source_names() -> list[str]:
    """Return the registered sources."""
    return sorted(_sources)


def sink_names() -> list[str]:
    """Return the registered sinks."""
    return sorted(_sinks)


def _checked(kind: str, entries: Mapping[str, _Entry[Any]], name: str, options: Mapping[str, Any]) -> Json:
    decoded = _find(kind, entries, name).decode(name, options)
    return encode(decoded) if isinstance(decoded, Options) else {k: jsonable(v) for k, v in decoded.items()}


def _find(kind: str, entries: Mapping[str, _Entry[T]], name: str) -> _Entry[T]:
    if name not in entries:
        hint = nearest(name, entries) or _of_a_path(kind, name)
        raise BadOption(f"no {kind} is called {name!r}; there are {listing(sorted(entries))}.{hint}")
    return entries[name]


def _of_a_path(kind: str, name: str) -> str:
    """Say what takes the path of a file, which is no name."""
    ending = next((part for part in reversed(name.lower().split(".")[1:]) if part in _ENDINGS), None)
    if ending is None and "/" not in name:
        return ""
    call = f"{'read' if kind == 'source' else 'write'}_{_ENDINGS.get(ending or '', 'csv')}"
    return f" A file is {'read by flare' if kind == 'source' else 'written by stream'}.{call}({name!r})"


register_source("frame", FrameSource.make, options=FrameOptions)
register_source("rate", RateSource.make, options=RateOptions)
register_sink("memory", MemorySink.make, options=MemoryOptions)
register_sink("for_each_batch", CallbackSink.make, options=CallbackOptions)
for _format in (PARQUET, CSV, NDJSON, IPC):
    register_source(_format.name, FileSource.factory(_format), options=_format.read_options)
    register_sink(_format.name, FileSink.factory(_format), options=_format.write_options)
