"""The notebooks run from top to bottom, give what is saved in them, and are content with a small machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from notebooks import ALL, compare

NAMES = [path.stem for path in ALL]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_a_notebook_gives_what_is_saved_in_it_within_a_minute_and_a_gibibyte(path: Path) -> None:
    pytest.importorskip("nbval")
    run = compare(path)
    print(run)
    assert not run.complaints(), "\n".join(run.complaints())


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_a_notebook_is_saved_whole_and_knows_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["execution_count"]
            assert not [output for output in cell["outputs"] if output["output_type"] == "error"]
    assert not [word for word in ("/tmp/", "/home/", f"{Path.home()}/") if word in path.read_text()]
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_a_notebook_has_a_picture_and_ends_with_an_exercise_that_has_a_hint_and_a_solution(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    (exercise,) = [text for cell in cells if "## Your turn" in (text := "".join(cell["source"]))]
    assert exercise.count("<details>") == exercise.count("</details>") == 2


def test_the_first_notebook_leads_to_all_others() -> None:
    first, *others = ALL
    assert not [path.name for path in others if f"]({path.name})" not in first.read_text()]
