"""json_path finds what json.loads and a walk along the path find."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution

from .helpers import answers

PATHS = {
    "all": "$",
    "a": "$.a",
    "ab": "$['a'].b",
    "first": "$[0]",
    "last": "$[-1]",
    "deep": '$.a[1]["b c"][-2]',
    "odd": "$.é_1",
    "empty": "$['']",
}


def refused(constant: str) -> Any:
    raise ValueError(constant)


def parsed(document: str | None) -> tuple[bool, Any]:
    try:
        return True, json.loads(document or "", parse_constant=refused)
    except (ValueError, RecursionError):
        return False, None


def walked(value: Any, path: str) -> Any:
    for name, index in steps(path):
        if index is not None:
            value = value[index] if isinstance(value, list) and -len(value) <= index < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def steps(path: str) -> list[tuple[str, int | None]]:
    parts = re.findall(r"""\.([^.\[]+)|\['([^']*)'\]|\["([^"]*)"\]|\[(-?\d+)\]""", path[1:])
    return [("", int(index)) if index else (plain or single or double, None) for plain, single, double, index in parts]


def expected(document: str | None, path: str) -> Any:
    fine, value = parsed(document)
    return walked(value, path) if fine else None


NAMES = st.sampled_from(["a", "b", "b c", "é_1", "", "a\n", "x" * 20])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)
DOCUMENTS = st.builds(
    lambda value, ascii, indent: json.dumps(value, ensure_ascii=ascii, indent=indent),
    VALUES,
    st.booleans(),
    st.sampled_from([None, 1]),
)
BROKEN = st.sampled_from(
    [
        *(
            "",
            " ",
            "{",
            "[1,]",
            "[,]",
            '{"a":1,}',
            '{"a" 1}',
            "{a:1}",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "0x1",
            "nul",
            "NaN",
            "Infinity",
        ),
        *('"a', '"\\x"', '"\\u12g4"', '"\n"', "[1] 2", '{"a":1}}', "'a'", "\ufeff1", "tru", '{"a":{"b":1}'),
        *(
            '{"a":1,"a":2}',
            '{"a":{"b":1},"a":{}}',
            '{"a":1,"\\u0061":[5]}',
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"\\ud800\\u0041"',
        ),
        *(' [ 1 , -0.5e+3 , "\\/\\b\\f" ] ', "1e400", "-0", "[[[[[]]]]]"),
    ]
)


@given(st.lists(st.none() | DOCUMENTS | BROKEN, max_size=10))
@example(['{"a": [0, {"b c": [1, 2, 3]}]}', '{"\\u00e9_1": {"x": 1}}', '{"": "\\ud83d\\ude00\\ud800"}'])
def test_values_are_those_that_json_loads_finds(documents: list[str | None]) -> None:
    frame = pl.DataFrame({"document": documents}, schema={"document": pl.String})
    found = answers("json_path", frame, paths=[f"{name}={path}" for name, path in PATHS.items()])
    for name, path in PATHS.items():
        for document, text in zip(documents, found[name], strict=True):
            value = expected(document, path)
            if isinstance(value, str):
                assert text == re.sub("[\ud800-\udfff]", "\ufffd", value)
            elif text is None:
                assert value is None
            else:
                assert json.loads(text) == value
                assert text in (document or "")


@given(st.lists(st.none() | LEAVES.map(json.dumps) | BROKEN, max_size=20))
@example(
    [str(n) for n in (2**63 - 1, 2**63, -(2**63), -(2**63) - 1)]
    + ["1.0", "1e2", '"1"', "true", "0.1", "4.35", "1e-320"]
)
def test_types_keep_what_they_can_hold(documents: list[str | None]) -> None:
    frame = pl.DataFrame({"document": documents}, schema={"document": pl.String})
    found = answers("json_path", frame, paths=["n:Int64=$", "x:Float64=$", "f:Boolean=$", "s:String=$"])
    assert found.schema == {"n": pl.Int64, "x": pl.Float64, "f": pl.Boolean, "s": pl.String}
    for document, row in zip(documents, found.to_dicts(), strict=True):
        value = expected(document, "$")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = isinstance(value, int) and number and -(2**63) <= value < 2**63
        assert row["n"] == (value if whole else None)
        assert row["x"] == (float(value) if number and abs(value) < 1e309 else None)
        assert row["f"] is (value if isinstance(value, bool) else None)


def test_documents_may_be_256_levels_deep_and_no_deeper() -> None:
    frame = pl.DataFrame({"document": ["[" * n + "]" * n for n in (255, 257, 258, 100_000)]})
    found = answers("json_path", frame, paths=["x=$"])["x"].to_list()
    assert [text is not None for text in found] == [True, True, False, False]


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ([], "give it `paths`"),
        (["a"], "`a` is not like name="),
        (["a=$.b", "a=$.c"], "two paths are called a"),
        (["a:Int8=$"], "`Int8` is not String, Int64, Float64 or Boolean"),
        (["a=$.b["], r"`a=\$\.b\[`: `\[` is not like"),
        (["a=$.*"], "is not like"),
        (["a=$..b"], "is not like"),
        (["a=$[01]"], "is not like"),
        (["a=$" + "[0]" * 17], "more than 16 steps"),
        ([f"p{i}=$" for i in range(33)], "at most 32 paths"),
    ],
)
def test_paths_that_do_not_hold_are_refused(paths: list[str], why: str) -> None:
    with pytest.raises(WasmConfiguration, match=why):
        answers("json_path", pl.DataFrame({"document": ["1"]}), paths=paths)


def test_another_type_is_refused() -> None:
    with pytest.raises(WasmPluginExecution, match="must be text"):
        answers("json_path", pl.DataFrame({"document": [1]}))
