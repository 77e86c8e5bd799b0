"""Optional parameters: the function sees None, and the compiler follows where it can be."""

# ruff: noqa: RET502, RET503
from __future__ import annotations

import itertools

import polars as pl
import pytest

from dataflare_nb.errors import UdfError
from dataflare_nb.wasm import Udf, udf

from .programs import compiled
from .python_side import compare

FLOATS = [None, 0.0, 1.5, -2.0]
INTS = [None, 0, 3, -4]


@udf
def filled(x: float | None) -> float:
    return 0.0 if x is None else x


@udf
def or_other(x: float | None, y: float | None) -> float | None:
    return x or y


@udf
def and_other(x: float | None, n: int | None) -> int | None:
    return n and (n + 1 if x else n - 1)


@udf
def early(x: float | None, n: int | None) -> float:
    if x is None:
        return -1.0
    if n is None or x > n:
        return x
    return x / n


@udf
def truthy(x: float | None) -> int:
    if x:
        return int(x)
    return 7 if not x and x is not None else 8


@udf
def same(x: float | None, y: float | None) -> bool:
    return x == y


@udf
def different(x: float | None, n: int | None) -> bool:
    return x != n


@udf
def guarded(x: float | None, n: int | None) -> bool:
    return x is not None and n is not None and x < n <= 3


@udf
def asserted(x: float | None) -> float:
    assert x is not None, "no price"
    return x * 2


@udf
def largest(x: float | None, n: int) -> float | None:
    best = None
    for i in range(n):
        value = i * 1.5 - 2
        if x is None:
            continue
        if best is None or value > best:
            best = value + x
    return best


@udf
def kept_in_a_loop(x: float | None, n: int) -> float:
    if x is None:
        x = 1.0
    while n > 0:
        x = x * 2
        n -= 1
    return x


@udf
def lost_and_found(x: float | None, n: int) -> float | None:
    kept = x
    for i in range(n):
        kept = None if i % 2 else x
    if (kept_now := kept) is not None:
        return kept_now + 1
    return kept


@udf
def matched(n: int | None) -> int:
    match n:
        case None:
            return -1
        case 0 | 3:
            return 10
        case other if other < 0:
            return -other
    return 99


@udf
def passed_on(x: float | None, n: int | None) -> float:
    return filled(x) + filled(n) + filled(None)


@udf
def only_none(x: float | None) -> float | None:
    if x is None:
        return None
    y = None
    return x if y is None else None


@udf
def falls_off(x: float | None) -> float | None:
    if x is None or x < 0:
        return
    for i in range(3):
        if x > i:
            return x + i


@udf
def no_parameter_is_optional(x: float) -> float | None:
    return None if x < 0 else x


FUNCTIONS = {name: found for name, found in globals().items() if isinstance(found, Udf)}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_none_means_what_it_means_in_python(function: Udf):
    values = [FLOATS if slot.type == "float" else INTS for slot in function.params]
    compare(function, itertools.product(*values))


def test_a_null_is_seen_only_where_the_parameter_says_so():
    @udf
    def both(x: float | None, y: float) -> float:
        return y if x is None else x

    assert both.call([pl.Series([None, 1.0, None]), pl.Series([2.0, 3.0, None])]).to_list() == [2.0, 1.0, None]
    assert both(None, 2.0) == 2.0
    assert both(1.0, None) is None


def test_slices_of_columns_with_nulls_are_read_right():
    whole = pl.Series("x", [None if i % 7 == 0 else float(i) for i in range(1000)])
    for start in (0, 1, 5, 8, 13):
        part = whole[start : start + 500]
        assert filled.call([part]).equals(part.fill_null(0.0), check_names=False)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return x + 1", "`x` may be None here; test it first: `if x is not None:`"),
        ("return x if x < 1 else 0.0", "`x` may be None here; test it first: `x is not None and ...`"),
        ("return x", "this may be None and must be a float; test it first, or annotate `float | None`"),
        ("y = None\nreturn y + 1", "this is None here, and a value is needed"),
        ("return min(x, 1.0)", "`x` may be None here"),
        ("if p:\n    x = 1.0\nreturn x * 2", "`x` may be None here"),
        (
            "for i in range(3):\n    if x is not None:\n        x = None if p else x + 1\nreturn x * 2",
            "`x` may be None here",
        ),
        ("return x in (1.0, 2.0)", "`x` may be None here; test it first: `x is not None and ...`"),
        ("return -x", "`x` may be None here"),
        ("x += 1\nreturn 1.0", "`x` may be None here"),
        ("return filled(x) if x is x else 0.0", "`is` compares with None only; use =="),
    ],
)
def test_a_use_that_python_would_stumble_over_is_refused(body: str, said: str):
    text = "def bad(x: float | None, p: bool) -> float:\n" + "".join(f"    {line}\n" for line in body.splitlines())
    with pytest.raises(UdfError) as caught:
        compiled(text, "bad", {"filled": filled})
    assert said in str(caught.value)
