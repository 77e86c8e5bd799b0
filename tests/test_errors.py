"""An error names the place, the thing and the way out."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import errors
from dataflare_nb.errors import listing, located, nearest, shown, user_line


def the_tree() -> dict[str, str]:
    """Read the tree in the docstring: each error and its parent."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([ |`-]*)([A-Z]\w+)( {2,}\S|$)", line)
        if not found:
            continue
        depth = len(found[1]) // 4 - 1
        path[depth:] = [found[2]]
        if depth:
            parents[found[2]] = path[depth - 1]
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    classes = {
        name: thing.__bases__[0].__name__
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.DataflareError) and thing is not errors.DataflareError
    }
    assert the_tree() == classes


def test_every_error_says_what_it_is() -> None:
    for thing in vars(errors).values():
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert thing.__doc__


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("usr_id", ["user_id", "page"], " Did you mean `user_id`?"),
        ("Price", ["price"], " Did you mean `price`?"),
        ("xyz", ["user_id"], ""),
        ("x", [], ""),
        ("a", ["A", "a "], " Did you mean `A`?"),
    ],
)
def test_the_nearest_spelling(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint


def test_a_long_list_is_cut() -> None:
    assert listing([]) == "nothing"
    assert listing("abc", most=2) == "a, b and 1 more"
    assert listing(iter("ab")) == "a, b"


# Where


def lineno() -> int:
    import sys

    return sys._getframe(1).f_lineno


def test_the_line_is_that_of_the_caller() -> None:
    assert user_line() == f"test_errors.py, line {lineno()}"


def test_the_line_of_a_chain_is_that_of_its_step() -> None:
    with pytest.raises(errors.UnknownColumn) as raised:
        # fmt: off
        (flare.rate(1.0)
         .filter(True)
         .drop("velue"))
        # fmt: on
    last = lineno() - 2
    assert f"drop at test_errors.py, line {last}" in str(raised.value)


def test_the_line_in_a_function_of_the_users_is_that_of_the_function() -> None:
    def helper(stream: flare.Stream) -> flare.Stream:
        return stream.drop("velue")

    with pytest.raises(errors.UnknownColumn) as raised:
        helper(flare.rate(1.0))
    assert f"line {helper.__code__.co_firstlineno + 1}" in str(raised.value)


def test_a_place_is_put_before_what_has_none_and_only_once() -> None:
    for make in (errors.BadWindow, errors.SourceError, errors.WasmConfiguration):
        with pytest.raises(make) as raised, located("step") as where, located("step", where):
            raise make("it cannot be")
        assert str(raised.value) == f"step at {where}: it cannot be"
    with pytest.raises(ValueError, match=r"^other$"), located("step"):
        raise ValueError("other")


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_a_value_is_shown_on_one_line_and_cut_and_never_fails() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert shown(pl.DataFrame({"a": [1]})) == "a DataFrame of shape (1, 1)"
    assert "\n" not in shown(pl.DataFrame({"a": [1]}))
    assert len(shown("x" * 10_000)) == 60
    assert shown(Mute()) == "<Mute>"


# In a notebook


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    # Which environment this shell was started in is not what is tested, and IPython warns of another one.
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    interactive.InteractiveShell.clear_instance()
    made = interactive.InteractiveShell.instance(history_load_length=0)
    made.history_manager.enabled = False
    yield made
    interactive.InteractiveShell.clear_instance()


def failure(shell: Any, cell: str) -> str:
    done = shell.run_cell(cell, store_history=True, silent=False)
    error = done.error_in_exec
    assert isinstance(error, errors.DataflareError), error
    return str(error)


@pytest.mark.slow
def test_in_a_notebook_the_place_is_the_cell_and_its_line(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("import dataflare_nb as flare, polars as pl", store_history=True)
    shell.run_cell("clicks = flare.rate(1.0)", store_history=True)
    shell.run_cell("def helper(stream):\n    return stream.drop('velue')", store_history=True)
    told = failure(shell, "# a comment\n\n(clicks\n .filter(pl.col('value') > 1)\n .filter(pl.col('velue') > 1))")
    assert told == "filter at In[4], line 5 reads `velue`; the stream has value, timestamp. Did you mean `value`?"
    assert failure(shell, "helper(clicks)").startswith("drop at In[3], line 2 reads `velue`")
    assert failure(shell, "flare.tumbling('0s')").startswith("tumbling at In[6], line 1: size is zero")
    capsys.readouterr()


def test_outside_of_a_notebook_ipython_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert user_line().startswith("test_errors.py, line ")
