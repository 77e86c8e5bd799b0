"""Plugins as a source and a sink of the registry: `wasm`, with the plugin among the graph's blobs."""

from __future__ import annotations

from collections.abc import Iterable

from ..connectors.options import Options, Resources
from ..connectors.registry import register_sink, register_source
from ..errors import BadOption, listing
from ..types import Sink, Source
from ..wasm.plugin import Plugin
from ..wasm.reading import PluginSource
from ..wasm.writing import PluginSink

NAME = "wasm"


class PluginReadOptions(Options, frozen=True, kw_only=True):
    """Options of a source plugin: the blob key of the plugin, and splits that go before those of its config."""

    plugin: str
    splits: list[str] | None = None
    bounded: bool = True

    def problems(self) -> Iterable[str]:
        if self.splits is not None and (not self.splits or not all(self.splits)):
            yield f"splits={self.splits!r} is not a list of names"
        elif self.splits is not None and len(set(self.splits)) < len(self.splits):
            yield f"splits names one twice: {listing(self.splits)}"


class PluginWriteOptions(Options, frozen=True, kw_only=True):
    """Options of a destination plugin: the blob key of the plugin, and the columns it is given, all by default."""

    plugin: str
    columns: list[str] | None = None


def _source(options: PluginReadOptions, resources: Resources) -> Source:
    plugin = _plugin("read_wasm", options.plugin, resources)
    return PluginSource(plugin, splits=options.splits, bounded=options.bounded, clock=resources.clock)


def _sink(options: PluginWriteOptions, resources: Resources) -> Sink:
    return PluginSink(_plugin("write_wasm", options.plugin, resources), columns=options.columns or ())


def _plugin(step: str, key: str, resources: Resources) -> Plugin:
    found = resources.blob(step, "plugin", key)
    if not isinstance(found, Plugin):
        raise BadOption(f"{step}: the blob `{key}` is {type(found).__name__}, not a plugin")
    return found


def register() -> None:
    """Make the two known."""
    register_source(NAME, _source, options=PluginReadOptions)
    register_sink(NAME, _sink, options=PluginWriteOptions)


register()
