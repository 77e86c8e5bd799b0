"""The notebooks run from top to bottom and give what is saved in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_a_notebook_gives_what_is_saved_in_it(path: Path) -> None:
    pytest.importorskip("nbval")
    options = ["-p", "nbval.plugin", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=60"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *options]
    command += ["--nbval-sanitize-with", str(NOTEBOOKS / "sanitize.cfg"), str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "DATAFLARE_STATIC": "1"}
    )
    assert done.returncode == 0, done.stdout[-4_000:]


@pytest.mark.parametrize("path", ALL, ids=[path.stem for path in ALL])
def test_a_notebook_is_saved_whole_and_knows_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["execution_count"]
            assert not [output for output in cell["outputs"] if output["output_type"] == "error"]
    assert not [word for word in ("/tmp/", "/home/", f"{Path.home()}/") if word in path.read_text()]
    assert path.stat().st_size < 300_000
