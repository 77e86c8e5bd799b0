"""A plugin: its description and its module, as one value that can be hashed, stored and sent."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from .. import dtypes
from ..errors import GraphFormat, WasmConfiguration, WasmPluginLoad, WrongType, shown
from .abi import FUNCTIONS, PluginType
from .figures import Figures
from .guest import Limits
from .modules import MAX_MODULE
from .places import read_plain
from .policy import SecurityPolicy, memory_size, milliseconds, read_fields, read_policy, settle
from .statement import Signature
from .trust import enforce

__all__ = ["FUNCTIONS", "Plugin", "PluginType", "WasmPluginConfig"]

MOST_DESCRIPTION = 16 << 20
"""Bytes of a plugin.json, whose config may hold a table or two."""


class WasmPluginConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a plugin.json. `config` goes to the plugin as JSON when it starts.

    `schema` names the columns it answers with and their Polars types; a plugin that answers in JSON needs it.
    """

    name: str
    type: PluginType
    module_path: str
    config: dict[str, Any] = {}
    security_policy: SecurityPolicy = SecurityPolicy()
    memory_limit: int | None = None
    timeout_ms: int | None = None
    sha256: str | None = None
    schema: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    signature: Signature | None = None

    def __post_init__(self) -> None:
        settle(self, _READERS)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> WasmPluginConfig:
        """Read a plugin.json or a dict, or name all that is wrong with it at once."""
        if not isinstance(source, Mapping | str | os.PathLike):
            raise WasmConfiguration(f"{shown(source)} is not a path, an object or a Plugin")
        where = "this plugin description" if isinstance(source, Mapping) else str(source)
        document = dict(source) if isinstance(source, Mapping) else _document(Path(source))
        policy, wrong = read_policy(document.pop("security_policy", {}))
        wrong = [f"in `security_policy`, {mistake}" for mistake in wrong]
        values, others = read_fields(cls, document, _READERS)
        if wrong or others or policy is None:
            raise WasmConfiguration(f"{where} does not hold: " + "; ".join([*others, *wrong]))
        return cls(**values, security_policy=policy)

    @property
    def answers(self) -> pl.Schema | None:
        """The columns that it says it answers with."""
        return None if self.schema is None else dtypes.from_json(self.schema)

    @property
    def limits(self) -> Limits:
        """What one call may use: the smaller of the plugin's own wish and its policy."""
        policy = self.security_policy
        return Limits(
            memory=min(policy.max_memory, self.memory_limit or policy.max_memory),
            time_ms=min(policy.max_execution_time, self.timeout_ms or policy.max_execution_time),
        )


@dataclass(frozen=True, slots=True)
class Plugin:
    """A description and the module it speaks of, checked against each other.

    >>> Plugin.load("plugins/carrier_code/plugin.json")        # doctest: +SKIP
    Plugin(carrier_code, Processor, sha256=5f0c...)
    """

    config: WasmPluginConfig
    module: bytes = field(repr=False)
    figures: Figures | None = field(default=None, repr=False, compare=False)
    """Counts whatever the plugin does, wherever it is used; a `WasmComponentManager` sets it."""
    origin: Plugin | None = field(default=None, repr=False, compare=False)
    """What it was made from by `with_config`."""

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | Plugin,
        *,
        require_signed: bool = False,
        trust: Path | None = None,
    ) -> Plugin:
        """Read the description and its module; `module_path` is relative to the plugin.json.

        With `require_signed` it must carry a signature of a key in `trust`, or in the user's own trust store.
        """
        plugin = source if isinstance(source, Plugin) else cls.read(source)
        enforce(plugin.signed, require_signed, trust=trust)
        return plugin

    @classmethod
    def read(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> Plugin:
        """Read a plugin without asking who signed it, as is needed to sign it; it cannot run if that is asked for."""
        config = WasmPluginConfig.load(source)
        base = Path() if isinstance(source, Mapping) else Path(source).parent
        path = base / config.module_path
        try:
            return cls.of(config, read_plain(path, MAX_MODULE))
        except (OSError, ValueError) as error:
            told = f"cannot read its module {_spelled(path)}: {_why(error)}; build it, or correct module_path"
            raise WasmPluginLoad(told, plugin=config.name) from None

    @classmethod
    def of(cls, config: WasmPluginConfig, module: bytes) -> Plugin:
        """Put a description and module together, as when both come from a stored graph."""
        found = hashlib.sha256(module).hexdigest()
        if config.sha256 is not None and config.sha256 != found:
            raise WasmPluginLoad(
                f"its module has the sha256 {found}, its description says {config.sha256}; "
                "rebuild it, or write the new sum if you trust the change",
                plugin=config.name,
            )
        return cls(config, module)

    def with_config(self, config: Mapping[str, Any], *, name: str | None = None) -> Plugin:
        """Return the plugin as its user calls and configures it; who signed it is asked of the one it was made from."""
        told = msgspec.structs.replace(self.config, config=dict(config), name=name or self.name)
        return Plugin(told, self.module, self.figures, self.signed)

    @property
    def signed(self) -> Plugin:
        """The plugin whose signature counts: this one, or the one that it is with another name and config."""
        if self.origin is None or self.origin.module != self.module:
            return self
        as_ours = msgspec.structs.replace(self.origin.config, name=self.name, config=self.config.config)
        return self.origin if as_ours == self.config else self

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.config.name

    @property
    def sha256(self) -> str:
        """The sum of the module."""
        return hashlib.sha256(self.module).hexdigest()

    @property
    def key(self) -> str:
        """A hash of all that decides what the plugin does: module, config, policy and limits."""
        same = msgspec.structs.replace(self.config, module_path="", metadata={}, signature=None)
        told = msgspec.json.encode(same, order="sorted")
        return hashlib.sha256(self.sha256.encode() + told).hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Plugin({self.name}, {self.config.type.value}, sha256={self.sha256[:8]}...)"


def _other(path: Path) -> str:
    from .bundled import bundled_plugins

    if os.path.isfile(path / "plugin.json"):
        return f"; give the file, {_spelled(path / 'plugin.json')}"
    if str(path) in bundled_plugins():
        return f"; the plugin of that name that comes with the package is flare.wasm.bundled_plugin({str(path)!r})"
    return ""


def _document(path: Path) -> dict[str, Any]:
    name = _spelled(path)
    try:
        found = msgspec.json.decode(read_plain(path, MOST_DESCRIPTION))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WasmConfiguration(f"{name} is not JSON: {error}") from None
    except (OSError, ValueError) as error:
        raise WasmConfiguration(f"cannot read {name}: {_why(error)}{_other(path)}") from None
    if not isinstance(found, dict):
        raise WasmConfiguration(f"{name} holds {type(found).__name__}, not an object")
    return found


def _spelled(path: Path) -> str:
    return shown(str(path), 200)[1:-1]


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _type(value: Any) -> PluginType:
    try:
        return PluginType(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is not one of {', '.join(PluginType)}") from None


def plugin_name(value: Any) -> str:
    """Return a name that a plugin may have."""
    if not isinstance(value, str) or not value.strip() or len(value) > 128:
        raise ValueError(f"{shown(value)} is not a name of 1 to 128 characters")
    if not value.isprintable():
        raise ValueError(f"{shown(value)} has characters that cannot be shown, and a name stands in logs and messages")
    return value


def _policy(value: Any) -> SecurityPolicy:
    return SecurityPolicy.load(value) if isinstance(value, Mapping) else msgspec.convert(value, SecurityPolicy)


def _config(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.convert(value, dict[str, Any])
    try:
        msgspec.json.encode(found)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if (place := _endless(found)) is not None:
        raise ValueError(f"`{place}` is NaN or infinity, which JSON cannot say; write it as text, or leave it out")
    return found


def _endless(value: Any, place: str = "") -> str | None:
    """Return where a config holds a number that JSON has no word for, and would be null to the plugin."""
    match value:
        case float():
            return None if math.isfinite(value) else place
        case Mapping():
            inside = ((f"{place}.{name}" if place else str(name), item) for name, item in value.items())
        case list() | tuple():
            inside = ((f"{place}[{number}]", item) for number, item in enumerate(value))
        case _:
            return None
    return next((found for name, item in inside if (found := _endless(item, name)) is not None), None)


def _digest(value: Any) -> str:
    text = str(value).lower()
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{shown(value)} is not 64 hexadecimal digits")
    return text


def _schema(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{shown(value)} is not a mapping of columns to types, such as {{'name': 'String'}}")
    texts = {}
    for name, kind in value.items():
        polars = isinstance(kind, pl.DataType) or (isinstance(kind, type) and issubclass(kind, pl.DataType))
        try:
            texts[name] = dtypes.write(dtypes.of({name: kind})[name] if polars else dtypes.read(kind))
        except (GraphFormat, WrongType) as error:
            raise ValueError(f"column `{name}`: {error}") from None
    return texts


_READERS: dict[str, Callable[[Any], Any]] = {
    "name": plugin_name,
    "type": _type,
    "config": _config,
    "security_policy": _policy,
    "memory_limit": memory_size,
    "timeout_ms": milliseconds,
    "sha256": _digest,
    "schema": _schema,
}
