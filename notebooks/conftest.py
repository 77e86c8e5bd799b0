"""Run the notebooks as they were saved: with pictures instead of widgets, and without what differs from run to run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(DATAFLARE_STATIC="1", POLARS_MAX_THREADS="2")
    if getattr(config.option, "nbval_sanitize_with", "") is None:
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))
