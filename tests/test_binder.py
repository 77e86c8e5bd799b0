"""What Binder is told is whole: it would build, has all that notebooks need, and the first of them runs there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from notebooks import ALL, ROOT

BINDER = ROOT / "binder"


def test_requirements_are_those_of_the_package_and_the_extras_that_notebooks_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["notebook"], *extras["demo"], *extras["zig"]]
    names = {re.split(r"[\[<>=!~]", each)[0] for each in needed}
    pinned, *listed = (BINDER / "requirements.txt").read_text().splitlines()
    assert (BINDER / pinned.removeprefix("-c ")).resolve() == ROOT / "constraints.txt"
    assert listed == sorted(names)


@pytest.mark.slow
def test_repo2docker_reads_it_and_writes_a_dockerfile() -> None:
    pytest.importorskip("repo2docker")
    command = [sys.executable, "-W", "ignore", "-m", "repo2docker", "--no-build", "--debug", "--no-run", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "conda environment for python=3.11" in said
    for line in ('pip install --no-cache-dir -r "binder/requirements.txt"', "RUN ./binder/postBuild", "binder/start"):
        assert line in said


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not os.environ.get("DATAFLARE_REQUIRE_ALL"), reason="installs 130 packages; DATAFLARE_REQUIRE_ALL=1"
)
def test_in_an_environment_made_as_binder_makes_it_a_notebook_runs(tmp_path: Path) -> None:
    _run([sys.executable, "-m", "venv", str(tmp_path / "venv")])
    folder = tmp_path / "venv" / "bin"
    given = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env = {**given, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    python = str(folder / "python")
    _run([python, "-m", "pip", "install", "--quiet", "-r", "binder/requirements.txt"], env)
    _run(["./binder/postBuild"], env)
    assert _run(["./binder/start", python, "-c", "import os; print(os.environ['POLARS_MAX_THREADS'])"], env) == "2"
    where = _run([python, "-c", "import dataflare_nb; print(dataflare_nb.__file__)"], env, tmp_path)
    assert where.startswith(str(tmp_path))
    notebook = ["jupyter", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(tmp_path), str(ALL[0])]
    _run(["./binder/start", *notebook], {**env, "DATAFLARE_STATIC": "1"})
    assert (tmp_path / ALL[0].name).exists()


def _run(command: list[str], env: dict[str, str] | None = None, folder: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
