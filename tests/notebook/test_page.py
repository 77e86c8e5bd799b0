"""The page of the dashboard: what is committed is what its sources give, it is small, and its own tests pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIDGETS = ROOT / "widgets"
STATIC = ROOT / "dataflare_nb" / "notebook" / "static"
MOST = 50_000


def npm(*command: str) -> str:
    """Run npm in the folder of the front end; skip for the lack of it, or fail where everything has to be there."""
    lacks = "there is no npm: install Node 20 or newer" if shutil.which("npm") is None else ""
    if not lacks and not (WIDGETS / "node_modules" / "esbuild").exists():
        lacks = "the tools of the front end are not installed: make widgets"
    if lacks and os.environ.get("DATAFLARE_REQUIRE_ALL") == "1":
        pytest.fail(f"{lacks} (DATAFLARE_REQUIRE_ALL=1 asks for it)")
    if lacks:
        pytest.skip(lacks)
    # Colours and the style of a terminal would be told apart from text only with pains.
    env = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "0", "CI": "true"}
    done = subprocess.run(
        ["npm", "run", "--silent", *command], cwd=WIDGETS, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_rebuild_gives_the_committed_bytes(tmp_path: Path) -> None:
    npm("build", "--", f"--outdir={tmp_path}")
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in STATIC.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (STATIC / path.name).read_bytes(), f"{path.name} is stale: make widgets"


@pytest.mark.slow
def test_the_types_fit() -> None:
    npm("check")


@pytest.mark.slow
def test_what_the_page_works_out_is_right() -> None:
    said = npm("test", "--", "--reporter=json")
    report = json.loads(said[said.index("{") :])
    assert report["success"]
    assert report["numPassedTests"] == report["numTotalTests"] > 100


@pytest.mark.parametrize("name", ["dashboard.js", "dashboard.css", "live_table.js", "live_chart.js", "live.css"])
def test_the_bundle_is_small_and_asks_nobody(name: str) -> None:
    text = (STATIC / name).read_text()
    assert len(text.encode()) < MOST
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import|url\(", text)


def test_the_lock_names_versions_and_sums_but_no_registry() -> None:
    packages = json.loads((WIDGETS / "package-lock.json").read_text())["packages"]
    assert not [name for name, each in packages.items() if "resolved" in each]
    assert all("integrity" in each for name, each in packages.items() if name)
    pins = json.loads((WIDGETS / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values())
    assert {name: packages[f"node_modules/{name}"]["version"] for name in pins} == pins
