"""Names in strings are completed: columns, stages, jobs."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pytest
from IPython.core.completer import provisionalcompleter

import dataflare_nb as flare
from dataflare_nb.notebook.completion import Cursor

from .shell import Shell
from .shell import shell as lend

CELL = """\
import dataflare_nb as flare
import polars as pl
flights = flare.from_frame(pl.DataFrame({'dep_delay': [1.0], 'dest': ['a'], 'carrier': ['UA']}))
late = flights.filter(pl.col('dep_delay') > 0).named('only_late').with_columns(worse=pl.col('dep_delay') * 2)
job = late.run('delays').wait()
frame = pl.DataFrame({'depth': [1]})
"""


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with lend() as lent:
        lent.run(CELL)
        yield lent
    flare.stop_all()


def offered(shell: Shell, text: str) -> list[str]:
    """What the notebook offers with the cursor at the end of a cell, ours or not."""
    with provisionalcompleter():
        found = list(shell.ip.Completer.completions(text, len(text)))
    ours = ("column", "stage", "job", "magic", "plugin")
    return [each.text for each in found if each.type in ours and not each.text.startswith("%")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("flights.filter(pl.col('de", ["dep_delay", "dest"]),
        ("flights.select('", ["dep_delay", "dest", "carrier"]),
        ('late.key_by("wo', ["worse"]),
        ("x = (\n    late\n    .filter(pl.col('dep_delay') > 1)  # it's late\n    .select(pl.col('w", ["worse"]),
        ("flights.with_columns(double=pl.col('dep_delay')).select(\"dou", ["double"]),
        ("flights.with_columns(x=gained('dep_delay', 'ca", ["carrier"]),
        ("frame.select(pl.col('de", ["depth"]),
        ("pl.col('wor", ["worse"]),
        ("job.peek('only", ["only_late"]),
        ("job.explain_window(stage='only", ["only_late"]),
        ("late.at('on", ["only_late"]),
        ("flare.job('de", ["delays"]),
        ("%flare st", ["stop"]),
        ("%flare stop del", ["delays"]),
        ("%flare graph la", ["late"]),
        ("%%wasm scaled --lang z", ["zig"]),
        ("late.wasm(flare.wasm.bundled_plugin('url", ["url_parts"]),
    ],
)
def test_names_are_offered_where_they_belong(shell: Shell, text: str, names: list[str]) -> None:
    assert offered(shell, text) == sorted(names)


@pytest.mark.parametrize(
    "text", ["open('de", "print('dep_", "flights.filter(pl.col('dest') == x, de", "# flights.select('de"]
)
@pytest.mark.slow
def test_and_nowhere_else(shell: Shell, text: str) -> None:
    assert offered(shell, text) == []


def test_nothing_is_evaluated(shell: Shell) -> None:
    shell.run("asked = []\ndef boom():\n    asked.append(1)\n    return flights")
    offered(shell, "boom().select('de")
    assert shell["asked"] == []


@pytest.mark.parametrize(
    ("text", "calls", "string"),
    [
        ("a.b(c('x", ("a.b", "c"), "x"),
        ("a.b('x')", (), None),
        ("a.b('x', [d(\"", ("a.b", "", "d"), ""),
        ("f('''one\n'two", ("f",), "one\n'two"),
        ("f('it\\'s", ("f",), "it\\'s"),
        ("'never closed\nf(\"x", ("f",), "x"),
        ("f(  # a ' in words\n  'x", ("f",), "x"),
        (")) f('x", ("f",), "x"),
    ],
)
def test_where_the_cursor_is(text: str, calls: tuple[str, ...], string: str | None) -> None:
    assert Cursor.of(text) == Cursor(calls, string)


def test_taking_the_extension_away_takes_all_of_it(shell: Shell) -> None:
    shell.run("%unload_ext dataflare_nb")
    try:
        assert offered(shell, "flights.select('de") == []
        assert shell.ip.find_line_magic("flare") is None
    finally:
        shell.run("%load_ext dataflare_nb")
    shell.run("%reload_ext dataflare_nb")
    assert offered(shell, "flights.select('de") == ["dep_delay", "dest"]
    assert isinstance(pl.DataFrame(), pl.DataFrame)
