"""Find the plugins that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..errors import WasmPluginLoad, listing, nearest
from .plugin import Plugin


def bundled_plugin(name: str) -> Plugin:
    """Load a plugin that is shipped in the wheel, or lies in `plugins/` of a source tree."""
    for folder in _folders():
        description = folder / name / "plugin.json"
        if description.is_file():
            return Plugin.load(description)
    known = bundled_plugins()
    raise WasmPluginLoad(f"no plugin `{name}` comes with the package; it has {listing(known)}.{nearest(name, known)}")


def bundled_plugins() -> list[str]:
    """Return the names of the plugins that come with the package."""
    return sorted({path.parent.name for folder in _folders() for path in folder.glob("*/plugin.json")})


def _folders() -> tuple[Path, ...]:
    package = Path(str(resources.files("dataflare_nb")))
    return package / "plugins", package.parent / "plugins"
