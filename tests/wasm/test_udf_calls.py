"""Calls: with names, defaults and constants, of other compiled functions and of the function itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption, UdfError, WrongArguments, WrongType
from dataflare_nb.wasm import UdfCall, UdfFailed, udf

from .functions import divide, gained
from .programs import compiled
from .python_side import compare

FRAME = pl.DataFrame({"price": [100.0, 50.0, None], "rate": [0.5, 0.25, 0.2], "n": [3, 4, 5]})
PI = 3.0


@udf
def taxed(price: float, rate: float = 0.25, days: int = 2) -> float:
    return price * (1 + rate) + days


@udf
def day_or(n: int, first: date = date(2000, 1, 1), other: float | None = None) -> float:
    return first.day + n if other is None else other


@udf
def shouted(text: str) -> str:
    return text.upper() + "!"


@udf
def factorial(n: int) -> int:
    return 1 if n <= 1 else n * factorial(n - 1)


@udf
def ackermann(m: int, n: int) -> int:
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


@udf
def depth(n: int) -> int:
    return 0 if n <= 0 else 1 + depth(n - 1)


@udf
def through_a_default(price: float) -> float:
    return taxed(price) + taxed(price, days=0) + taxed(price, 0.5, 1)


def test_defaults_are_filled_in():
    stream = flare.from_frame(FRAME)
    assert stream.select(x=taxed("price")).collect()["x"].to_list() == [127.0, 64.5, None]
    assert stream.select(x=taxed("price", "rate")).collect()["x"].to_list() == [152.0, 64.5, None]
    assert stream.select(x=taxed("price", days="n")).collect()["x"].to_list() == [128.0, 66.5, None]
    assert stream.select(x=day_or("n")).collect()["x"].to_list() == [4.0, 5.0, 6.0]
    assert taxed(100) == 127.0
    assert taxed(100, days=0) == 125.0


def test_values_among_columns_are_compiled_in():
    stream = flare.from_frame(FRAME)
    assert stream.select(x=taxed("price", 1, 0)).collect()["x"].to_list() == [200.0, 100.0, None]
    assert stream.select(x=day_or("n", other=7.0)).collect()["x"].to_list() == [7.0, 7.0, 7.0]
    assert stream.select(x=day_or("n", first=date(2000, 1, 9))).collect()["x"].to_list() == [12.0, 13.0, 14.0]
    assert FRAME.select(taxed.expr("price", rate=0, days=1)).to_series().to_list() == [101.0, 51.0, None]
    fixed = taxed.fix(rate=1.0)
    assert fixed.params == (taxed.params[0], taxed.params[2])
    assert fixed.call([FRAME["price"], FRAME["n"]]).to_list() == [203.0, 104.0, None]
    assert taxed("price", 1.0) == UdfCall(taxed.fix(rate=1.0, days=2), ("price",))
    assert taxed.fix(rate=1.0) is fixed


def test_a_constant_keeps_the_straight_loop_straight():
    assert gained.kernel.facts.vector
    assert gained.fix(arr=1.5).kernel.facts.vector
    rows = pl.Series([float(i) for i in range(999)])
    assert gained.fix(arr=1.5).call([rows]).equals(gained.call([rows, rows * 0 + 1.5]))


def test_constants_must_fit():
    with pytest.raises(TypeError, match="`rate` is float and was given True"):
        taxed("price", True)
    with pytest.raises(TypeError, match="`days: int` was given None; every result would be null"):
        taxed("price", days=None)


def test_functions_call_each_other_with_defaults():
    compare(through_a_default, [(100.0,), (-1.0,), (None,)])


def test_a_function_calls_itself():
    assert factorial.kernel.facts.metered
    compare(factorial, [(n,) for n in range(25)])
    compare(ackermann, [(m, n) for m in range(3) for n in range(5)])


def test_a_recursion_has_a_bottom():
    limit = 500
    out = depth._pool.apart([pl.Series([3, limit, limit + 1, 10**9, 4])])
    assert out.columns[0].to_list() == [3, limit, 0, 0, 4]
    with pytest.raises(UdfFailed, match="RecursionError: maximum recursion depth exceeded at row 1"):
        depth.call([pl.Series([3, 10**9])])


def test_a_function_sees_its_closure_and_globals_as_they_were():
    offset, values = 2.5, (1, 2, 3.5)

    @udf
    def shifted(x: float) -> bool:
        return x - offset in values or x == PI

    assert shifted.call([pl.Series([3.5, 4.0, 3.0, 6.0])]).to_list() == [True, False, True, True]
    offset = 100.0


def test_names_in_any_script_compile():
    größe = 2

    @udf
    def größer(länge: float, breite: float | None) -> float:
        höhe = länge * größe
        return höhe if breite is None else höhe * breite

    assert größer.call([pl.Series([1.0, 2.0]), pl.Series([None, 3.0])]).to_list() == [2.0, 12.0]


def test_unknown_and_uncompiled_functions_are_refused():
    with pytest.raises(UdfError, match="`other` is not known where the function is defined"):
        compiled("def f(x: float) -> float:\n    return other(x)\n", "f", {})
    with pytest.raises(UdfError, match=r"decorate `other` with @flare\.udf too"):
        compiled("def f(x: float) -> float:\n    return other(x)\n", "f", {"other": test_constants_must_fit})


@udf
def two(a: float) -> tuple[float, float]:
    return a, a * 2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gained("dep"), r"takes 2 arguments, not 1: `arr` is missing"),
        (lambda: gained(), r"takes 2 arguments, not 0: `dep` is missing"),
        (lambda: gained("dep", "arr", "more"), r"gained\(dep, arr\) takes 2 arguments, not 3"),
        (lambda: gained("dep", ar="arr"), r"takes dep, arr, each once. Did you mean `arr`\?"),
        (lambda: gained("dep", "arr", dep="dep"), r"takes dep, arr, each once"),
        (lambda: gained([1], [2]), r"`dep` is float and was given \[1\]"),
        (lambda: gained("dep", object()), r"`arr` is float and was given <object object>"),
        (lambda: gained("dep", None), r"`arr: float` was given None; every result would be null"),
        (lambda: gained(1.0), r"`arr` is missing"),
        (lambda: gained.expr("dep"), r"`arr` is missing"),
        (lambda: gained.expr([1], [2]), r"takes a column at least; use pl.lit"),
        (lambda: gained.expr(1.0, 2.0), r"takes a column at least; use pl.lit"),
        (lambda: gained.expr("dep", ar="arr"), r"Did you mean `arr`\?"),
        (lambda: gained.fix(ar=3.0), r"gained\(dep, arr\) has no parameter `ar`. Did you mean `arr`\?"),
        (lambda: gained.fix(arr="x"), r"`arr` is float and was given 'x'"),
        (lambda: gained.call(3), r"gained.call takes a list of Series, one for each parameter, not 3"),
        (lambda: gained.call(["dep", "arr"]), r"gained.call takes a list of Series"),
    ],
)
def test_a_call_that_does_not_fit_names_the_line_and_is_a_type_error_too(call: Callable[[], Any], said: str):
    with pytest.raises(WrongArguments, match=rf"gained at test_udf_calls.py, line \d+: .*{said}") as caught:
        call()
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: udf(bla=3), BadOption, "udf at .* has no option `bla`; it has function, output, on_error"),
        (lambda: udf(on_error="bla"), BadOption, "udf at .*: on_error='bla'; it is 'fail' or 'null'"),
        (lambda: udf(max_execution_time="x"), BadOption, "udf at .*: max_execution_time: 'x' is not milliseconds"),
        (lambda: udf(max_execution_time=[1]), BadOption, "udf at .*: max_execution_time: .* is not milliseconds"),
        (lambda: udf(output=3), WrongType, "udf at .*: output=3; it is a str or a list of str"),
        (lambda: gained("dep", "arr", on_error=3), BadOption, "gained at .*: on_error=3 is not 'fail'"),
        (lambda: gained.expr("dep", "arr", on_error="nul"), BadOption, "gained at .* Did you mean `null`"),
        (lambda: gained.save(3), WrongType, "gained at .*: save takes the path of a folder, not 3"),
        (lambda: gained.save("x", kind="Sink"), UdfError, "gained at .*a Processor or a Filter, not a Sink"),
        (lambda: two("a").alias(3), WrongType, r"two at .*: two\(a\): alias takes names, not 3"),
        (lambda: two("a").alias("x", "y", "z"), UdfError, "two at .* gives two_0, two_1; alias takes one name"),
    ],
)
def test_other_misuse_names_the_line_too(call: Callable[[], Any], kind: type[Exception], said: str):
    with pytest.raises(kind, match=said):
        call()


def test_a_lambda_is_refused_however_it_is_laid_out():
    makers = [
        lambda: udf(lambda x: x),
        lambda: udf(
            lambda x: x,
        ),
        lambda: [udf(f) for f in (lambda x: x, lambda y: (y,
                                                         2))],
    ]  # fmt: skip
    for make in makers:
        with pytest.raises(UdfError, match=r"test_udf_calls.py, line \d+: @udf takes a function written with `def`"):
            make()


def test_what_the_function_itself_raises_on_values_is_left_alone():
    with pytest.raises(ZeroDivisionError, match=r"^float division by zero$"):
        divide(1.0, 0.0)


def test_several_outputs_under_one_name_are_a_struct():
    frame = flare.from_frame(pl.DataFrame({"a": [1.0, None]})).with_columns(x=two("a")).collect()
    assert frame["x"].to_list() == [{"two_0": 1.0, "two_1": 2.0}, None]


def test_one_argument_is_not_called_several() -> None:
    with pytest.raises(WrongArguments, match=r"two\(a\) takes 1 argument, not 2"):
        two("dep", "arr")


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_column_may_have_a_zero_byte_in_its_name(chunks: int):
    names = {"dep\0delay": [10.0, 5.0], "arr": [4.0, 6.0], "te\0xt": ["a", "b" * 40]}
    frame = pl.concat([pl.DataFrame(names)] * chunks, rechunk=False)
    made = frame.select(gained.expr("dep\0delay", "arr"), up=shouted.expr("te\0xt"))
    assert made.rows() == [(6.0, "A!"), (0.0, "B" * 40 + "!")] * chunks
    streamed = flare.from_frame(frame).with_columns(g=gained("dep\0delay", "arr"), up=shouted("te\0xt")).collect()
    assert streamed.select("g", "up").rows() == made.rows()
