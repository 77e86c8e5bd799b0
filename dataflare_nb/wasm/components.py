"""Plugins under names of one's own: registered, watched, and used in streams or by hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, TypeAlias, overload

from ..errors import WasmConfiguration, WasmError, WasmRuntimeError, nearest, shown, there_are
from ..signature import public
from ..types import Clock
from .abi import DOORS, FUNCTIONS, PluginType
from .figures import Figures, PluginStats
from .plugin import Plugin, plugin_name
from .policy import unknown
from .runtime import Loaded, Output

WasmComponentType = PluginType
"""Source, Destination, Processor, Transformer, Filter or Aggregator."""

State: TypeAlias = Literal["healthy", "degraded", "failed"]
_FAILED_AFTER = 3
"""Calls in a row that have to fail for a component to count as failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WasmComponentConfig:
    """A component: its name, its type, its plugin, and what to change in the plugin's config.

    The type has to be that of the plugin; left out, it is taken from there.
    """

    name: str
    plugin: str | os.PathLike[str] | Mapping[str, Any] | Plugin
    component_type: WasmComponentType | str | None = None
    config: Mapping[str, Any] | None = None

    def load(self) -> Plugin:
        """Read the plugin and hold it to the type, naming all that is wrong at once."""
        wrong = []
        try:
            plugin_name(self.name)
        except ValueError as error:
            wrong.append(f"`name`: {error}")
        if self.config is not None and not isinstance(self.config, Mapping):
            wrong.append(f"`config`: it is {type(self.config).__name__}, not an object")
        kind: PluginType | None = None
        if self.component_type is not None:
            try:
                kind = PluginType(self.component_type)
            except ValueError:
                wrong.append(f"`component_type`: {self.component_type!r} is not one of {', '.join(PluginType)}")
        plugin: Plugin | None = None
        try:
            plugin = Plugin.load(self.plugin)
        except WasmError as error:
            wrong.append(f"`plugin`: {error}")
        if plugin is not None and kind is not None and plugin.config.type is not kind:
            found = plugin.config.type
            wrong.append(f"`component_type`: it is {kind}, and the plugin is a {found}, which goes into {DOORS[found]}")
        if wrong or plugin is None:
            raise WasmConfiguration(f"component {shown(self.name)} does not hold: " + "; ".join(wrong))
        return plugin.with_config({**plugin.config.config, **(self.config or {})}, name=self.name)


@dataclass(frozen=True, slots=True)
class Health:
    """How a component is: `healthy`, `degraded` (its last call failed) or `failed`, and why."""

    name: str
    state: State
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it is healthy."""
        return self.state == "healthy"


@public
class WasmComponentManager:
    """Components by name. Safe from any thread; a `with` block unregisters them all.

    Whatever a component does is counted here: calls by hand, and the streams that were built with `component(name)`.

    >>> manager = WasmComponentManager()                                                     # doctest: +SKIP
    >>> manager.register_component(WasmComponentConfig(name="airlines", plugin="plugins/carrier_code/plugin.json"))
    'airlines'
    >>> flights.wasm(manager.component("airlines"), column="carrier")
    """

    def __init__(self, *, clock: Clock | None = None, seed: int | None = None) -> None:
        self._clock, self._seed = clock, seed
        self._lock = threading.Lock()
        self._components: dict[str, Loaded] = {}

    def register_component(self, config: WasmComponentConfig | Mapping[str, Any]) -> str:
        """Load a component, start it once, and return its name. A name that is taken is refused."""
        described = config if isinstance(config, WasmComponentConfig) else _described(config)
        plugin = described.load()
        watched = replace(plugin, figures=Figures(plugin.name, also=plugin.figures))
        loaded = Loaded(watched, clock=self._clock, seed=self._seed)
        with self._lock:
            if described.name not in self._components:
                self._components[described.name] = loaded
                return described.name
        loaded.close()
        raise WasmConfiguration(
            f"there is a component `{described.name}` already; unregister_component({described.name!r}) first"
        )

    def unregister_component(self, name: str) -> None:
        """Let a component clean up, and free it. Streams that were built with it go on."""
        loaded = self._find(name)
        with self._lock:
            self._components.pop(name, None)
        loaded.close()

    def components(self) -> dict[str, WasmComponentType]:
        """Return the types of the components by name."""
        with self._lock:
            return {name: loaded.plugin.config.type for name, loaded in self._components.items()}

    def component(self, name: str) -> Plugin:
        """Return a component as a plugin for a stream; what it does there is counted here."""
        return self._find(name).plugin

    def call(self, name: str, args: Any = (), *, output: Output | None = None) -> Any:
        """Call the work of a component by hand, as `WasmRuntime.call_function` does."""
        loaded = self._find(name)
        return loaded.call(FUNCTIONS[loaded.plugin.config.type], args, output)

    @overload
    def get_stats(self, name: str) -> PluginStats: ...
    @overload
    def get_stats(self, name: None = None) -> dict[str, PluginStats]: ...
    def get_stats(self, name: str | None = None) -> PluginStats | dict[str, PluginStats]:
        """Return the `PluginStats` of a component, or of all by name."""
        if name is not None:
            return _stats(self._find(name))
        with self._lock:
            return {name: _stats(loaded) for name, loaded in self._components.items()}

    @overload
    def health(self, name: str) -> Health: ...
    @overload
    def health(self, name: None = None) -> dict[str, Health]: ...
    def health(self, name: str | None = None) -> Health | dict[str, Health]:
        """Start an instance of a component, or of all by name, look at how its calls went, and return its `Health`."""
        if name is not None:
            return _health(name, self._find(name))
        with self._lock:
            known = dict(self._components)
        return {name: _health(name, loaded) for name, loaded in known.items()}

    def close(self) -> None:
        """Unregister every component. May be called twice."""
        with self._lock:
            ending, self._components = list(self._components.values()), {}
        for loaded in ending:
            loaded.close()

    def __enter__(self) -> WasmComponentManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}: {kind.value}" for name, kind in self.components().items())
        return f"WasmComponentManager({shown})"

    def _find(self, name: str) -> Loaded:
        with self._lock:
            found = self._components.get(name)
            known = list(self._components)
        if found is None:
            raise WasmRuntimeError(
                f"no component `{name}` is registered; {there_are(known)}.{nearest(str(name), known)}"
            )
        return found


def _stats(loaded: Loaded) -> PluginStats:
    assert loaded.plugin.figures is not None
    return loaded.plugin.figures.read()


def _health(name: str, loaded: Loaded) -> Health:
    try:
        loaded.alive()
    except WasmError as error:
        return Health(name, "failed", f"it does not start: {error}")
    stats = _stats(loaded)
    if stats.failures_in_a_row >= _FAILED_AFTER:
        return Health(name, "failed", f"its last {stats.failures_in_a_row} calls failed: {stats.last_error}")
    if stats.failures_in_a_row:
        return Health(name, "degraded", f"its last call failed: {stats.last_error}")
    return Health(name, "healthy")


def _described(config: Any) -> WasmComponentConfig:
    known = WasmComponentConfig.__dataclass_fields__
    if not isinstance(config, Mapping):
        raise WasmConfiguration(f"a component is a WasmComponentConfig or an object, not {type(config).__name__}")
    wrong = unknown(config, known)
    wrong += [f"`{name}` is missing" for name in ("name", "plugin") if name not in config]
    if wrong:
        raise WasmConfiguration("this component does not hold: " + "; ".join(wrong))
    return WasmComponentConfig(**config)
