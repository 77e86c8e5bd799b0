"""What the tests of plugins share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb.wasm import Plugin, Session, toolchains

PLUGINS = Path(__file__).parents[2] / "plugins"
SLOW = ("assemblyscript", "go", "rust")
"""Languages whose compilers take seconds."""


def plugin(name: str, **config: Any) -> Plugin:
    """Return one of our plugins, with settings of its own."""
    found = Plugin.load(PLUGINS / name / "plugin.json")
    return found.with_config({**found.config.config, **config})


@contextmanager
def called(name: str, **config: Any) -> Iterator[Session]:
    """Lend a session with one of our plugins."""
    session = Session(plugin(name, **config))
    try:
        yield session
    finally:
        session.close()


def answers(name: str, frame: pl.DataFrame, **config: Any) -> pl.DataFrame:
    """Return what a plugin makes of a frame."""
    with called(name, **config) as session:
        return session.call(frame, rows=frame.height)


def needs(language: str) -> None:
    """Skip a test for the lack of a compiler, or fail it where everything has to be there."""
    chosen = toolchains.toolchain(language)
    if chosen.find(PLUGINS) is not None:
        return
    if os.environ.get("DATAFLARE_REQUIRE_ALL") == "1":
        pytest.fail(f"there is no compiler for {language} and DATAFLARE_REQUIRE_ALL=1 asks for it: {chosen.install}")
    pytest.skip(f"there is no compiler for {language}: {chosen.install}")
