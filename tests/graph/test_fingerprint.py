"""What is the same gets the same key, and what differs another."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb.graph import fingerprint


def closing_over(value: Any) -> Callable[[Any], Any]:
    return lambda frame: (frame, value)


SAME_BY_CONTENT: list[Callable[[], tuple[Any, Any]]] = [
    lambda: (1, 2),
    lambda: (1, 1.0),
    lambda: ("a", "b"),
    lambda: ([1, [2]], [1, [3]]),
    lambda: ((1, 2), [1, 2]),
    lambda: ({"a": 1}, {"a": 2}),
    lambda: (pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})),
    lambda: (pl.col("a") + 1, pl.col("a") + 2),
    lambda: (pl.Datetime("us"), pl.Datetime("ms")),
    lambda: (re.compile("a"), re.compile("b")),
    lambda: (dt.date(2026, 1, 1), dt.date(2026, 1, 2)),
    lambda: (Decimal("1.0"), Decimal("1.00")),
    lambda: (Path("a"), Path("b")),
    lambda: (int, str),
    lambda: (re, functools),
    lambda: (closing_over(1), closing_over(2)),
]


@pytest.mark.parametrize("make", SAME_BY_CONTENT, ids=lambda make: repr(make()[0])[:30].replace("\n", " "))
def test_what_a_function_closes_over_is_told_by_its_content(make: Callable[[], tuple[Any, Any]]) -> None:
    one, other = make()
    again, _ = make()
    key = fingerprint.of_function(closing_over(one))
    assert key == fingerprint.of_function(closing_over(again))
    assert key != fingerprint.of_function(closing_over(other))


def test_what_has_no_content_is_told_by_which_object_it_is() -> None:
    one, other = object(), object()
    assert fingerprint.of_function(closing_over(one)) == fingerprint.of_function(closing_over(one))
    assert fingerprint.of_function(closing_over(one)) != fingerprint.of_function(closing_over(other))


def test_an_object_gone_never_lends_its_number() -> None:
    class Thing:
        pass

    keys = {fingerprint.of_object("thing", Thing()) for _ in range(100)}
    assert len(keys) == 100


def test_defaults_and_inner_functions_and_globals_count() -> None:
    def made(source: str, **names: Any) -> str:
        return fingerprint.of_function(eval(source, dict(names)))

    assert made("lambda f, n=1: f") != made("lambda f, n=2: f")
    assert made("lambda f, *, n=1: f") != made("lambda f, *, n=2: f")
    assert made("lambda f: (lambda: 1)") != made("lambda f: (lambda: 2)")
    assert made("lambda f: f in {1, 2}") != made("lambda f: f in {1, 3}")
    assert made("lambda f: n", n=1) != made("lambda f: n", n=2)
    assert made("lambda f: (lambda: n)", n=1) != made("lambda f: (lambda: n)", n=2)
    assert made("lambda f: n", n=1, m=1) == made("lambda f: n", n=1, m=2)


def test_a_function_that_calls_itself_has_a_key() -> None:
    assert fingerprint.of_function(descend) == fingerprint.of_function(descend)


def descend(frame: pl.DataFrame) -> pl.DataFrame:
    return frame if frame.is_empty() else descend(frame.head(0))


def test_what_is_callable_and_no_function_has_a_key() -> None:
    class Model:
        def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
            return frame

    one, other = Model(), Model()
    assert fingerprint.of_function(one) == fingerprint.of_function(one)
    assert fingerprint.of_function(one) != fingerprint.of_function(other)
    assert fingerprint.of_function(len).startswith("len-")


def test_a_variable_not_yet_set_has_a_key() -> None:
    def function(frame: pl.DataFrame) -> Any:
        return frame, later

    key = fingerprint.of_function(function)
    later = 1
    assert fingerprint.of_function(function) != key


def test_frames_are_told_by_schema_and_rows() -> None:
    frames = [
        pl.DataFrame({"a": [1, 2]}),
        pl.DataFrame({"a": [2, 1]}),
        pl.DataFrame({"b": [1, 2]}),
        pl.DataFrame({"a": [1, 2]}, schema={"a": pl.Int32}),
        pl.DataFrame({"a": [1, 2, 3]}),
        pl.DataFrame(schema={"a": pl.Int64}),
        pl.DataFrame({"a": [[1], [2]]}),
        pl.DataFrame({"a": [{"x": 1}, {"x": 2}]}),
    ]
    keys = [fingerprint.of_frame(frame) for frame in frames]
    assert len(set(keys)) == len(keys)
    assert fingerprint.of_frame(pl.DataFrame({"a": [1, 2]})) == keys[0]


def test_a_very_long_frame_is_told_by_pieces_and_by_which_it_is() -> None:
    one = pl.DataFrame({"a": range(1_200_000)})
    assert fingerprint.of_frame(one) == fingerprint.of_frame(one)
    assert fingerprint.of_frame(one) != fingerprint.of_frame(one.with_columns(pl.col("a")))


def test_names_become_words() -> None:
    assert fingerprint.word("<lambda>") == "lambda"
    assert fingerprint.word("a b-c") == "a_b_c"
    assert fingerprint.word("日本") == "function"


ZEROS: list[Callable[[float], pl.DataFrame]] = [
    lambda zero: pl.DataFrame({"a": [zero, 1.0]}),
    lambda zero: pl.DataFrame({"a": [zero]}, schema={"a": pl.Float32}),
    lambda zero: pl.DataFrame({"a": [[1.0], [], [zero, None]]}),
    lambda zero: pl.DataFrame({"a": [[1.0, zero]]}, schema={"a": pl.Array(pl.Float64, 2)}),
    lambda zero: pl.DataFrame({"a": [{"b": [{"c": zero}]}, None]}),
]


@pytest.mark.parametrize("make", ZEROS)
def test_frames_that_differ_in_the_sign_of_a_zero_are_told_apart(make: Callable[[float], pl.DataFrame]) -> None:
    assert fingerprint.of_frame(make(0.0)) == fingerprint.of_frame(make(0.0))
    assert fingerprint.of_frame(make(-0.0)) == fingerprint.of_frame(make(-0.0))
    assert fingerprint.of_frame(make(0.0)) != fingerprint.of_frame(make(-0.0))


def test_the_place_of_a_negative_zero_counts() -> None:
    one, other = pl.DataFrame({"a": [0.0, -0.0]}), pl.DataFrame({"a": [-0.0, 0.0]})
    assert fingerprint.of_frame(one) != fingerprint.of_frame(other)
