"""Find the plugins that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import WasmConfiguration, WasmPluginLoad, listing, nearest
from ..signature import held
from .plugin import Plugin


@held
def bundled_plugin(name: str, /, **settings: Any) -> Plugin:
    """Load a plugin that is shipped in the wheel, or lies in `plugins/` of a source tree, with settings of your own.

    >>> bundled_plugin("url_parts", parts=["host"], prefix="url_").config.config["prefix"]
    'url_'
    """
    for folder in _folders():
        description = folder / name / "plugin.json"
        if description.is_file():
            return _set(Plugin.load(description), settings)
    known = bundled_plugins()
    raise WasmPluginLoad(f"no plugin `{name}` comes with the package; it has {listing(known)}.{nearest(name, known)}")


def _set(plugin: Plugin, settings: dict[str, Any]) -> Plugin:
    known = plugin.config.config
    for setting in settings:
        if setting not in known:
            raise WasmConfiguration(
                f"it has no setting `{setting}`; it has {listing(known)}.{nearest(setting, known)}", plugin=plugin.name
            )
    return plugin.with_config({**known, **settings}) if settings else plugin


def bundled_plugins() -> list[str]:
    """Return the names of the plugins that come with the package."""
    return sorted({path.parent.name for folder in _folders() for path in folder.glob("*/plugin.json")})


def _folders() -> tuple[Path, ...]:
    package = Path(str(resources.files("dataflare_nb")))
    return package / "plugins", package.parent / "plugins"
