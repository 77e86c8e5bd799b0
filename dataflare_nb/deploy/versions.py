"""What an image holds, to the version: the pins of a bundle."""

from __future__ import annotations

import platform
from importlib.metadata import version

import polars as pl

from .._version import __version__

FLINK = "2.3.0"
FLINK_ON_OPERATOR = "v2_3"
PYTHONS = ("3.9", "3.10", "3.11", "3.12")
"""The versions of Python that apache-flink is for."""
PYARROW = "16.1.0"
"""apache-flink's own dependencies want pyarrow below 17, whatever the notebook has."""
PYTHON = platform.python_version()
HOME = "/opt/dataflare"
PYTHON_IN_IMAGE = "/opt/venv/bin/python"


def pins() -> dict[str, str]:
    """Return the packages of an image and their versions; the core's are those of this process."""
    return {
        "apache-flink": FLINK,
        "dataflare-nb": __version__,
        "msgspec": version("msgspec"),
        "polars": pl.__version__,
        "pyarrow": PYARROW,
        "wasmtime": version("wasmtime"),
    }
