"""log_line reads CSV as the csv module does, and logfmt as a regular expression says."""

from __future__ import annotations

import csv
import re

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution

from .helpers import answers

PAIR = re.compile(r'([^\x00-\x20=]*)(?:=(?:"((?:\\.|[^"\\]|\\\Z)*)"?|([^\x00-\x20]*)))?', re.DOTALL)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def logfmt(line: str | None, fields: list[str]) -> list[str | None]:
    found: dict[str, str] = {}
    at, line = 0, line or ""
    while at < len(line):
        if line[at] <= " ":
            at += 1
            continue
        pair = PAIR.match(line, at)
        assert pair is not None
        key, quoted, plain = pair.groups()
        if quoted is not None:
            value = re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), quoted, flags=re.DOTALL)
        else:
            value = "true" if plain is None else plain
        found.setdefault(key, value)
        at = pair.end()
    return [found.get(field) for field in fields]


FIELDS = ["level", "msg", "a.b", "é", ""]
LINES = st.none() | st.lists(
    st.sampled_from(
        [
            *(
                "level=info",
                "level=",
                "level",
                "msg=x",
                "a.b=1",
                "é=ü",
                "=x",
                '=""',
                "==",
                "other=1",
                'msg=a"b',
                "=",
                "level=a=b",
            ),
            *(
                'msg="hello world"',
                r'msg="say \"hi\""',
                r'msg="a\nb\tc\\d\q"',
                'msg="open',
                'msg="open\\',
                'msg=""level=x',
                " ",
                "\t",
                "\n",
            ),
        ]
    )
    | st.text('abé =\\"\n\t', max_size=8),
    max_size=8,
).map(" ".join)


@given(st.lists(LINES, max_size=10))
@example(["level=info msg=x", None, "", 'level="', 'msg="\\', "level=1 level=2"])
def test_logfmt_is_read_by_key(lines: list[str | None]) -> None:
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String})
    found = answers("log_line", frame, fields=FIELDS, prefix="_")
    assert found.columns == [f"_{field}" for field in FIELDS]
    assert [list(row) for row in found.rows()] == [logfmt(line, FIELDS) for line in lines]


CELLS = st.text('ab,;"é 1', max_size=6) | st.text('ab,"', max_size=6).map(
    lambda text: '"' + text.replace('"', '""') + '"'
)


@given(st.lists(st.none() | st.lists(CELLS, max_size=6).map(",".join), max_size=10), st.integers(1, 5))
@example(['"a""b",c', '"two\nlines",x', '"open', '"a"b,c', "a,,", ",", '""', 'a"b"', '"a"",b'], 3)
def test_csv_is_read_by_place(lines: list[str | None], width: int) -> None:
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String})
    found = answers("log_line", frame, format="csv", fields=[str(i) for i in range(width)])
    for line, row in zip(lines, found.rows(), strict=True):
        cells: list[str | None] = [*next(csv.reader([line]), [])] if line else []
        assert list(row) == (cells + [None] * width)[:width]


def test_another_delimiter() -> None:
    frame = pl.DataFrame({"line": ["a,b;c", "x"]})
    found = answers("log_line", frame, format="csv", delimiter=";", fields=["p", "q"])
    assert found.rows() == [("a,b", "c"), ("x", None)]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"format": "xml"}, "format may be logfmt and csv"),
        ({"fields": []}, "say which fields"),
        ({"fields": ["a", "a"]}, "two fields are called a"),
        ({"delimiter": '"'}, "delimiter is one ASCII letter"),
        ({"delimiter": "::"}, "delimiter is one ASCII letter"),
    ],
)
def test_settings_that_do_not_hold_are_refused(config: dict[str, object], why: str) -> None:
    with pytest.raises(WasmConfiguration, match=why):
        answers("log_line", pl.DataFrame({"line": ["x"]}), **config)


def test_another_type_is_refused() -> None:
    with pytest.raises(WasmPluginExecution, match="must be text"):
        answers("log_line", pl.DataFrame({"line": [1]}))
