"""Where the wall keeps its own files, and what of it the environment may set.

| variable | meaning |
|---|---|
| `DATAFLARE_CACHE_DIR` | where compiled modules are kept; `off` keeps none on disk |
| `DATAFLARE_TRUST` | folder of the public keys that are trusted |
| `DATAFLARE_REQUIRE_SIGNED` | `1`: no plugin runs without a signature that is trusted |
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import WasmConfiguration

CACHE_DIR, TRUST, REQUIRE_SIGNED = "DATAFLARE_CACHE_DIR", "DATAFLARE_TRUST", "DATAFLARE_REQUIRE_SIGNED"
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def config_folder() -> Path:
    """Return the user's folder for keys."""
    return _user("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path | None:
    """Return where compiled modules are kept, None if there are to be none."""
    given = os.environ.get(CACHE_DIR)
    if given is None:
        return _user("XDG_CACHE_HOME", ".cache")
    return None if given.strip().lower() in _OFF else Path(given).expanduser()


def trust_folder() -> Path:
    """Return the folder of trusted public keys."""
    given = os.environ.get(TRUST)
    return Path(given).expanduser() if given else config_folder() / "trust"


def signatures_required() -> bool:
    """Return whether the environment demands that every plugin is signed."""
    given = os.environ.get(REQUIRE_SIGNED, "").strip().lower()
    if given not in _ON + _OFF:
        raise WasmConfiguration(f"{REQUIRE_SIGNED}={given!r} is neither 1 nor 0")
    return given in _ON


def own_folders() -> tuple[Path, ...]:
    """Return the folders that no policy may grant."""
    cache = cache_folder()
    return (config_folder(), trust_folder(), *([cache] if cache is not None else []))


def _user(variable: str, otherwise: str) -> Path:
    given = os.environ.get(variable, "")
    base = Path(given) if given.startswith("/") else Path("~").expanduser() / otherwise
    return base / "dataflare_nb"
