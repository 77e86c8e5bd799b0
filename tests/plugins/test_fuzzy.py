"""fuzzy counts what the definitions count, by characters."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration

from .helpers import answers

METRICS = ["jaro", "jaro_winkler", "levenshtein", "levenshtein_ratio"]


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, c in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, d in enumerate(b, 1):
            before, row[j] = row[j], min(before + (c != d), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def jaro(a: str, b: str) -> float:
    if not a or not b:
        return float(a == b)
    reach = max(max(len(a), len(b)) // 2 - 1, 0)
    free = set(range(len(b)))
    pairs = []
    for i, c in enumerate(a):
        j = next((j for j in range(max(i - reach, 0), min(i + reach + 1, len(b))) if j in free and b[j] == c), None)
        if j is not None:
            free.discard(j)
            pairs.append((c, j))
    if not pairs:
        return 0.0
    there = [b[j] for _, j in sorted(pairs, key=lambda pair: pair[1])]
    moved = sum(c != d for (c, _), d in zip(pairs, there, strict=True)) // 2
    m = len(pairs)
    return (m / len(a) + m / len(b) + (m - moved) / m) / 3


def jaro_winkler(a: str, b: str) -> float:
    score = jaro(a, b)
    if score <= 0.7:
        return score
    same = next((i for i, (c, d) in enumerate(zip(a[:4], b[:4], strict=False)) if c != d), min(4, len(a), len(b)))
    return score + same * 0.1 * (1 - score)


def reference(a: str | None, b: str | None) -> dict[str, float | None]:
    if a is None or b is None:
        return dict.fromkeys(METRICS)
    distance, longest = levenshtein(a, b), max(len(a), len(b))
    return {
        "jaro": jaro(a, b),
        "jaro_winkler": jaro_winkler(a, b),
        "levenshtein": distance,
        "levenshtein_ratio": 1 - distance / longest if longest else 1.0,
    }


TEXTS = st.none() | st.text("abcABé中😀", max_size=12) | st.text("ab", min_size=60, max_size=140)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8))
@example(
    [
        ("DIXON", "DICKSONX"),
        ("MARTHA", "MARHTA"),
        ("a" * 64, "a" * 63 + "b"),
        ("x" + "a" * 64, "a" * 64 + "x"),
        ("a" * 100, "a"),
    ]
)
def test_scores_are_those_of_the_definitions(rows: list[tuple[str | None, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    found = answers("fuzzy", frame, metrics=METRICS)
    assert found.schema == {name: pl.UInt32 if name == "levenshtein" else pl.Float64 for name in METRICS}
    assert found.to_dicts() == [reference(a, b) for a, b in rows]


def test_known_scores() -> None:
    """Those of Winkler's papers."""
    frame = pl.DataFrame({"a": ["MARTHA", "DWAYNE", "DIXON"], "b": ["MARHTA", "DUANE", "DICKSONX"]})
    found = answers("fuzzy", frame, metrics=["jaro", "jaro_winkler"], prefix="s_")
    assert found.select(pl.all().round(3)).rows() == [(0.944, 0.961), (0.822, 0.84), (0.767, 0.813)]
    assert found.columns == ["s_jaro", "s_jaro_winkler"]


@given(st.lists(TEXTS, max_size=8), st.text("abB", min_size=1, max_size=9))
def test_a_column_is_compared_with_one_text(texts: list[str | None], target: str) -> None:
    frame = pl.DataFrame({"a": texts}, schema={"a": pl.String})
    found = answers("fuzzy", frame, to=target, ignore_case=True, metrics=["levenshtein"])
    expected = [None if text is None else levenshtein(_lower(text), _lower(target)) for text in texts]
    assert found["levenshtein"].to_list() == expected


def _lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def test_settings_that_do_not_hold_are_refused() -> None:
    frame = pl.DataFrame({"a": ["x"], "b": ["y"]})
    with pytest.raises(WasmConfiguration, match="metrics may be jaro"):
        answers("fuzzy", frame, metrics=["soundex"])
    with pytest.raises(WasmConfiguration, match="a metric is named twice"):
        answers("fuzzy", frame, metrics=["jaro", "jaro"])
    with pytest.raises(WasmConfiguration, match="`metrics` must be a list of texts"):
        answers("fuzzy", frame, metrics="jaro")
