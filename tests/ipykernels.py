"""Versions of ipykernel beside the installed one: each in a folder that goes before it on PYTHONPATH."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OTHERS = ("7.1.0", "6.31.0")
"""The first whose callbacks run while a cell does, and the last where they wait for it."""
_NEEDS = {"6.31.0": ("nest-asyncio==1.6.0",)}


def python_path(version: str) -> str:
    """Return a PYTHONPATH on which that version and this project are. Skips where it cannot be had."""
    folder = ROOT / ".pytest_cache" / "ipykernel" / version
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            target = Path(made) / version
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            wanted = [f"ipykernel=={version}", *_NEEDS.get(version, ())]
            done = subprocess.run([*command, "--target", target, *wanted], capture_output=True, text=True, check=False)
            if done.returncode:
                told = f"ipykernel {version} cannot be had: {done.stderr[-500:]}"
                if os.environ.get("DATAFLARE_REQUIRE_ALL") == "1":
                    pytest.fail(told)
                pytest.skip(told)
            if not folder.exists():
                target.rename(folder)
    return os.pathsep.join((str(folder), str(ROOT)))


def has_subshells(version: str | None) -> bool:
    """Tell whether callbacks of a version, or of the installed one, run while a cell does."""
    if version is None:
        import ipykernel

        version = ipykernel.__version__
    return int(version.split(".")[0]) >= 7
