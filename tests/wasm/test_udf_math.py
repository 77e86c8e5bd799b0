"""The functions of `math`: Python's results, Python's errors, and how near they come to the true value."""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
import struct
import sys
from collections.abc import Callable
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare_nb.wasm import Udf, UdfFailed

from .made import made

RUNTIME = Path(__file__).parents[2] / "plugins" / "udf_runtime"

APART = {
    **dict.fromkeys(["exp", "exp2", "expm1", "log", "log2", "log1p", "sin", "cos", "tan", "asin", "acos", "atan"], 1),
    # Here it is the C library (glibc) that is up to 2, 2, 2, 2 and 4 units off the true value.
    **dict.fromkeys(["sinh", "cosh", "tanh", "log10"], 2),
    "cbrt": 4,
}
"""How many units in the last place a function may be from CPython's."""
SAME = ["sqrt", "fabs", "degrees", "radians"]
ONE = [*APART, *SAME]
# log(x, base) divides two logs, as CPython does. Each is off by a unit at most, which is up to two units of the
# quotient, and the quotient is rounded.


def hypot_apart(row: tuple[float, ...]) -> int:
    """Python 3.11 works with quotients where all are below 2**-1024, and may be one off the later ones."""
    return int(sys.version_info < (3, 12) and max(map(abs, row)) < 2.0**-1024)


TWO = {"pow": 1, "atan2": 1, "hypot": hypot_apart, "fmod": 0, "copysign": 0, "log": 5}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, 10.0, 1000.0, -1000.0, math.inf, -math.inf, math.nan]
SPECIAL += [5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1e-20, 1e20]
SPECIAL += [
    709.7827128933840,
    709.782712893385,
    -745.133219101941,
    -745.14,
    1024.0,
    -1074.0,
    -1075.0,
    710.4758600739439,
]
SPECIAL += [math.pi, math.pi / 2, math.pi / 4, -math.pi, 1e22, 2.0**1000, 0.9999999999999999, 1.0000000000000002]
SPECIAL += [2.0**k for k in (-1022, -30, -3, 52, 53, 63, 1023)] + [10.0**k for k in (-10, 2, 15, 22, 300)]
NUMBERS = st.one_of(st.sampled_from(SPECIAL), st.floats(), st.floats(-30, 30), st.floats(-1, 1))


@cache
def one(name: str) -> Udf:
    return made("(x: float) -> float", f"math.{name}(x)")


@cache
def two(name: str) -> Udf:
    return made("(x: float, y: float) -> float", f"math.{name}(x, y)")


@cache
def power() -> Udf:
    return made("(x: float, y: float) -> float", "x ** y")


@cache
def gcd() -> Udf:
    return made("(a: int, b: int) -> int", "math.gcd(a, b)")


def place(x: float) -> int:
    """Return a float's place among all floats, so that neighbours differ by 1."""
    (bits,) = struct.unpack("<q", struct.pack("<d", x))
    return bits if bits >= 0 else -(1 << 63) - bits


def apart(one: float, other: float) -> float:
    if one != one or other != other:
        return 0 if (one != one) == (other != other) else math.inf
    if one == 0 == other:
        return 0 if math.copysign(1, one) == math.copysign(1, other) else math.inf
    return abs(place(one) - place(other))


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """Return what CPython gives, or its error as text. What only complex numbers hold is an error."""
    complex_ = "ValueError: a negative number to a fractional power is complex"
    try:
        result = function(*args)
    except (ArithmeticError, ValueError) as error:
        return complex_ if "complex" in str(error) else f"{type(error).__name__}: {error}"
    return complex_ if isinstance(result, complex) else float(result)


def apart_of(udf: Udf, columns: list[pl.Series]) -> list[Any]:
    """Return the result of each row, or its error as text."""
    outcome = udf._pool.apart(columns)
    found = outcome.columns[0].to_list()
    if outcome.failed is not None:
        sites = udf.kernel.facts.sites
        found = [sites[n - 1].reason if n else value for value, n in zip(found, outcome.failed, strict=True)]
    return found


def compare(udf: Udf, rows: list[tuple[float, ...]], most: int | Callable[[tuple[float, ...]], int]) -> None:
    ours = apart_of(udf, [pl.Series(slot.name, [row[i] for row in rows]) for i, slot in enumerate(udf.params)])
    for row, mine in zip(rows, ours, strict=True):
        theirs = outcome(udf.function, *row)
        if isinstance(mine, str) or isinstance(theirs, str):
            assert mine == theirs, row
        else:
            allowed = most if isinstance(most, int) else most(row)
            assert apart(mine, theirs) <= allowed, f"{row}: {mine!r} is {apart(mine, theirs)} from {theirs!r}"


@pytest.mark.parametrize("name", ONE)
def test_special_numbers_and_their_errors_are_those_of_cpython(name: str):
    compare(one(name), [(x,) for x in SPECIAL], APART.get(name, 0))


@pytest.mark.parametrize("name", TWO)
def test_special_pairs_and_their_errors_are_those_of_cpython(name: str):
    compare(two(name), list(itertools.product(SPECIAL, SPECIAL)), TWO[name])


def test_special_powers_and_their_errors_are_those_of_cpython():
    compare(power(), list(itertools.product(SPECIAL, SPECIAL)), 1)


@pytest.mark.parametrize("name", ONE)
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NUMBERS), min_size=20, max_size=60))
def test_any_number_comes_out_as_in_cpython(name: str, rows: list[tuple[float]]):
    compare(one(name), rows, APART.get(name, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TWO)
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=20, max_size=60))
def test_any_pair_comes_out_as_in_cpython(name: str, rows: list[tuple[float, float]]):
    compare(two(name), rows, TWO[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("exponent", [-1074, -1030, -1025, -1024, -1023, -1022, -1021, -1000, 0, 1020])
def test_lengths_are_cpythons_where_they_are_subnormal_too(exponent: int):
    dice = random.Random(exponent)

    def side() -> float:
        return math.ldexp(dice.uniform(0, 4), exponent)

    compare(two("hypot"), [(side(), side()) for _ in range(5_000)], hypot_apart)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=20, max_size=60))
def test_any_power_comes_out_as_in_cpython(rows: list[tuple[float, float]]):
    compare(power(), rows, 1)  # type: ignore[arg-type]


def spread(name: str, count: int) -> list[float]:
    """Return numbers where the function has something to say."""
    source = random.Random(f"{name} {count}")
    low, high = {"asin": (-1, 1), "acos": (-1, 1), "exp": (-746, 710), "exp2": (-1075, 1024)}.get(name, (-40, 40))
    near = [source.uniform(low, high) for _ in range(count // 2)]
    if name == "sqrt" or name.startswith("log"):
        near = [abs(x) for x in near]
    most = {"asin": 0, "acos": 0, "exp": 9, "exp2": 10, "expm1": 9, "sinh": 9, "cosh": 9}.get(name, 1000)
    signs = (1,) if min(near) >= 0 else (-1, 1)
    wide = [source.choice(signs) * 2 ** source.uniform(-60, most) for _ in near]
    return near + wide


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE)
def test_a_hundred_thousand_numbers_are_as_near_to_cpython_as_is_said(name: str):
    compare(one(name), [(x,) for x in spread(name, 100_000)], APART.get(name, 0))


# ---- against the true value ----


@cache
def tables() -> ModuleType:
    """Return the script that computes the tables, for its series."""
    spec = importlib.util.spec_from_file_location("math_tables", RUNTIME / "math_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def half(x: Decimal, sign: int) -> Decimal:
    return (x.exp() + sign * (-x).exp()) / 2


TRUE: dict[str, Callable[[Decimal], Decimal]] = {
    "exp": lambda x: x.exp(),
    "exp2": lambda x: Decimal(2) ** x,
    "expm1": lambda x: x.exp() - 1,
    "sinh": lambda x: half(x, -1),
    "cosh": lambda x: half(x, 1),
    "tanh": lambda x: half(x, -1) / half(x, 1),
    "log": lambda x: x.ln(),
    "log2": lambda x: x.ln() / Decimal(2).ln(),
    "log10": lambda x: x.log10(),
    "log1p": lambda x: (1 + x).ln(),
    "cbrt": lambda x: (abs(x).ln() / 3).exp().copy_sign(x),
    "sin": lambda x: tables().sine(x),
    "cos": lambda x: tables().cosine(x),
    "tan": lambda x: tables().sine(x) / tables().cosine(x),
    "atan": lambda x: tables().arctan(x),
    "asin": lambda x: tables().arctan(x / (1 - x * x).sqrt()),
    "acos": lambda x: 2 * tables().arctan(((1 - x) / (1 + x)).sqrt()),
}


@pytest.mark.parametrize("name", TRUE)
def test_results_are_the_double_next_to_the_true_value(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables(), "EPSILON", Decimal(10) ** -70)
    numbers = [x for x in spread(name, 800) if abs(x) < 99]
    result = one(name).call([pl.Series(numbers)])
    worst = 0.0
    with localcontext() as context:
        context.prec = 110
        for x, mine in zip(numbers, result.to_list(), strict=True):
            true = TRUE[name](Decimal(x))
            worst = max(worst, float(abs(Decimal(mine) - true) / Decimal(math.ulp(mine))))
    assert worst < 0.51


def test_exact_results_are_exact():
    assert one("log10").call([pl.Series([10.0**k for k in range(23)])]).to_list() == [float(k) for k in range(23)]
    assert one("log2").call([pl.Series([2.0**k for k in range(-1074, 1024)])]).to_list() == list(range(-1074, 1024))
    assert one("exp2").call([pl.Series([float(k) for k in range(-1074, 1024)])]).to_list() == [
        2.0**k for k in range(-1074, 1024)
    ]
    assert one("cbrt").call([pl.Series([float(k**3) for k in range(-300, 300)])]).to_list() == list(range(-300, 300))
    squares = [(float(x), float(y)) for x in range(-12, 13) for y in range(1, 12)]
    result = power().call([pl.Series([x for x, _ in squares]), pl.Series([y for _, y in squares])])
    assert result.to_list() == [x**y for x, y in squares]


# ---- how they are written ----


def test_functions_of_math_are_found_however_they_were_imported():
    from math import exp
    from math import exp as e_to

    for body in ("math.exp(x)", "m.exp(x)", "exp(x)", "e_to(x)"):
        udf = made("(x: float) -> float", body, m=math, exp=exp, e_to=e_to)
        assert udf.call([pl.Series([1.0, None])]).to_list() == [math.e, None]


def test_constants_of_math_are_constants():
    body = "math.tau * x if x > 0 else (math.inf if x < 0 else math.nan) + math.pi + math.e"
    udf = made("(x: float) -> float", body)
    assert udf.call([pl.Series([2.0, -1.0])]).to_list() == [2 * math.tau, math.inf]


@pytest.mark.parametrize(
    ("body", "rows", "expected"),
    [
        ("math.log(n)", [2**62, 8], [math.log(2**62), math.log(8)]),
        ("math.log(n, 2)", [8, 1024], [3.0, 10.0]),
        ("math.log(n, 10)", [1000], [math.log(1000, 10)]),
        ("n ** 0.5", [16, 2], [4.0, 2**0.5]),
        ("n ** -1", [4, -3], [0.25, (-3) ** -1]),
        ("2.0 ** n", [10, -3], [1024.0, 0.125]),
        ("float(n) ** 2", [3, -(2**40)], [9.0, 2.0**80]),
        ("math.hypot(n)", [-3], [3.0]),
        ("math.hypot(n, 4)", [3], [5.0]),
        ("math.hypot(n, 3, 6)", [2], [7.0]),
        ("math.degrees(n) + math.radians(n)", [1], [math.degrees(1) + math.radians(1)]),
        ("float(math.gcd(n, 12, 18))", [30, 0, -6, 7], [6.0, 6.0, 6.0, 1.0]),
    ],
)
def test_ints_and_other_forms(body: str, rows: list[int], expected: list[float]):
    assert made("(n: int) -> float", body).call([pl.Series(rows)]).to_list() == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1) | st.integers(-99, 99)] * 2), min_size=1, max_size=30))
def test_gcd_is_cpythons_or_does_not_fit(rows: list[tuple[int, int]]):
    ours = apart_of(gcd(), [pl.Series([row[i] for row in rows], dtype=pl.Int64) for i in (0, 1)])
    for (a, b), mine in zip(rows, ours, strict=True):
        true = math.gcd(a, b)
        assert mine == (true if true < 2**63 else "OverflowError: the result does not fit into 64 bits")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("math.log(x, 1.0)", "ZeroDivisionError: float division by zero"),
        ("math.sqrt(-x)", "ValueError: math domain error"),
        ("math.exp(x * 1e4)", "OverflowError: math range error"),
        ("(x * 1e300) ** 2", "OverflowError: (34, 'Numerical result out of range')"),
        ("(x - x) ** -1", "ZeroDivisionError: 0.0 cannot be raised to a negative power"),
        ("(-x) ** 0.5", "ValueError: a negative number to a fractional power is complex"),
    ],
)
def test_errors_are_pythons_and_name_the_row(body: str, error: str):
    with pytest.raises(UdfFailed) as caught:
        made("(x: float) -> float", body).call([pl.Series([None, 2.0])])
    assert f"{error} at row 1 of the batch" in str(caught.value)


def test_only_functions_that_call_the_library_carry_it():
    plain = made("(x: float) -> float", "x * 2.0")
    assert len(plain.wasm_bytes) < 1_500
    assert len(plain.wasm_bytes) < len(one("exp").wasm_bytes) < 5_000
    assert not one("exp").kernel.facts.metered
