"""Functions travel by value: what they read goes with them, and what cannot is named."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest

from dataflare_nb.deploy.functions import Unportable, read, write

from . import graphs

WORDS = {"one": [1, (2, None)], "big": 1 << 80, "set": frozenset({"a", "b"}), "nan": float("inf"), "raw": b"\0"}
TABLE = pl.DataFrame({"k": ["a"], "v": [2]})
UPPER = pl.col("k").str.to_uppercase()


def factorial(n: int) -> int:
    return 1 if n == 0 else n * factorial(n - 1)


def sent(function: Callable[..., Any]) -> Callable[..., Any]:
    return read(write(function))


def test_what_a_function_reads_goes_with_it() -> None:
    def all_of_it(n: int = 5, *, more: int = 1) -> Any:
        return (
            factorial(n) + more,
            WORDS,
            TABLE.select(UPPER, "v").rows(),
            math.floor(2.5),
            pl.Int8,
            re.sub("a", "b", "a"),
        )

    assert sent(all_of_it)() == all_of_it() == (121, WORDS, [("A", 2)], 2, pl.Int8, "b")


rows = sys.stdin


def test_what_a_function_asks_objects_for_is_not_looked_for_in_its_module() -> None:
    class Table:
        rows = (1, 2)

    def asks(table: Any) -> Any:
        class Inner:
            words = WORDS

        return (*table.rows, [Inner.words for _ in range(1)])

    assert sent(asks)(Table) == (1, 2, [WORDS])
    assert b"rows" not in msgspec.json.encode(msgspec.json.decode(write(asks))["functions"][0]["globals"])


def test_closures_and_functions_within_go_along() -> None:
    def outer(scale: int) -> Callable[[int], int]:
        def even(n: int) -> bool:
            return n == 0 or odd(n - 1)

        def odd(n: int) -> bool:
            return n != 0 and even(n - 1)

        return lambda n: scale * sum(even(each) for each in range(n))

    assert sent(outer(10))(5) == 30


def test_a_type_with_options_goes_along() -> None:
    dtype = pl.Datetime("ms", "Europe/Berlin")
    assert sent(lambda: dtype)() == dtype


def test_the_bytes_do_not_depend_on_who_else_holds_a_value() -> None:
    kept = [graphs.doubled.__code__, graphs.doubled.__code__.co_consts]
    assert write(graphs.doubled) == write(graphs.doubled)
    assert kept
    assert b"graphs.py" not in write(graphs.doubled)


class Mine:
    pass


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda: Mine, "`Mine`, which <lambda> reads, is <class"),
        (lambda: graphs, "deploy.graphs, which the image does not have"),
        (lambda: sys.stdin, None),
        (len, "not a function written with def or lambda"),
    ],
)
def test_what_cannot_go_is_named(function: Callable[..., Any], told: str | None) -> None:
    if told is None:
        assert sent(function)() is sys.stdin
        return
    with pytest.raises(Unportable) as caught:
        write(function)
    assert told in str(caught.value)


def test_what_holds_itself_is_named() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(Unportable, match="what <lambda> reads holds itself"):
        write(lambda: circle)


def test_a_function_of_another_python_is_refused() -> None:
    document = msgspec.json.decode(write(lambda: 1)) | {"python": "3.9"}
    with pytest.raises(Unportable, match=r"of Python 3\.9, and this is"):
        read(msgspec.json.encode(document))
