"""A plugin that `plugin new` begins builds, passes its check, and passes its own test at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflare_nb.cli import main
from dataflare_nb.wasm import PluginType

from .helpers import PLUGINS, SLOW, needs

LANGUAGES = ["c", "c++", "zig", "rust", "go", "assemblyscript"]
PAIRS = [
    *((language, kind) for language in LANGUAGES for kind in PluginType),
    ("wat", PluginType.PROCESSOR),
    ("python", PluginType.PROCESSOR),
    ("python", PluginType.FILTER),
]


@pytest.mark.parametrize(
    ("language", "kind"),
    [pytest.param(*pair, marks=pytest.mark.slow if pair[0] in SLOW else ()) for pair in PAIRS],
    ids=lambda value: str(value),
)
def test_it_builds_and_passes_its_check(
    language: str, kind: PluginType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(language)
    assert main(["plugin", "new", "geo_hash", "--lang", language, "--type", kind, "--in", str(tmp_path)]) == 0
    assert "Next: dataflare plugin build" in capsys.readouterr().out
    folder = tmp_path / "geo_hash"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    (source,) = names - {"plugin.json", "README.md", "test_geo_hash.py", "package.json"}
    assert source.startswith("src/geo_hash.")
    assert all("my_plugin" not in (folder / name).read_text() for name in names)
    if language == "assemblyscript":
        (folder / "node_modules").symlink_to(PLUGINS / "abi" / "node_modules")
    assert main(["plugin", "build", str(folder)]) == 0
    assert main(["plugin", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "geo_hash: in order" in said
    assert "not tried" not in said
    assert main(["plugin", "build", "--check", str(folder)]) == 0
    assert json.loads((folder / "plugin.json").read_text())["type"] == kind


@pytest.mark.slow
@pytest.mark.parametrize(("language", "kind"), [("c", kind) for kind in PluginType] + PAIRS[-3:])
def test_its_own_test_passes_and_can_fail(language: str, kind: PluginType, tmp_path: Path) -> None:
    """The tests are the same in every language, but for those without settings."""
    needs(language)
    main(["plugin", "new", "geo_hash", "--lang", language, "--type", kind, "--in", str(tmp_path)])
    folder = tmp_path / "geo_hash"
    pytest_in = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS.parent)}
    done = subprocess.run(pytest_in, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "build it, or correct module_path" in done.stdout
    assert main(["plugin", "build", str(folder)]) == 0
    done = subprocess.run(pytest_in, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
