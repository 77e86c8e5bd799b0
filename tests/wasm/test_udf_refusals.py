"""What cannot be compiled gives one error: file and line, a caret under the piece, and what to write instead."""

from __future__ import annotations

import collections
import functools
import json
import math
import os
import random
import re
import time
from typing import NamedTuple

import pytest

from dataflare_nb.errors import UdfError
from dataflare_nb.wasm import udf

from .functions import gained
from .programs import compiled


class Pair(NamedTuple):
    a: float
    b: float


def plain(x: float) -> float:
    return x


SCOPE = {
    "math": math,
    "gained": gained,
    "plain": plain,
    "Pair": Pair,
    "TABLE": [1],
    "TEXT": {"a": 1},
    "random": random,
    "os": os,
    "re": re,
    "time": time,
    "json": json,
    "collections": collections,
    "partial": functools.partial(plain, 1.0),
}

# The body, the piece that is marked, and what is said.
EXPRESSIONS = [
    ("return [x][0]", "[x]", "a list cannot be compiled; use several variables, or return a tuple"),
    (
        "return [i for i in TABLE][0]",
        "[i for i in TABLE]",
        "a list comprehension cannot be compiled; loop over range(...)",
    ),
    (
        "return len({i for i in TABLE})",
        "{i for i in TABLE}",
        "a set comprehension cannot be compiled; compare with `in (1, 2, 3)`",
    ),
    (
        "return {1: x}[1]",
        "{1: x}",
        "a dict cannot be compiled; use if ... elif or match, or join with a table of values",
    ),
    (
        "return {i: i for i in TABLE}[1]",
        "{i: i for i in TABLE}",
        "a dict comprehension cannot be compiled; use if ... elif",
    ),
    ("return sum(i for i in TABLE)", "sum(i for i in TABLE)", "`sum` takes a tuple of a few values here: sum((a, b))"),
    ("return (lambda: x)()", "lambda: x", "a lambda cannot be compiled; write the expression in place"),
    ("return ...", "...", "`...` cannot be compiled"),
    ("return 1j", "1j", "complex 1j cannot be compiled"),
    ("return TABLE", "TABLE", "`TABLE` is list; a compiled function sees numbers"),
    ("return TEXT['a']", "TEXT", "`TEXT` is dict; a compiled function sees numbers"),
    ("return math", "math", "`math` is module; a compiled function sees numbers"),
    ("return missing", "missing", "`missing` is not known where the function is defined"),
    ("return math.tau.real", "math.tau.real", "a float has no attribute `real` here"),
    ("return x.hex", "x.hex", "a float has no attribute `hex` here"),
    ("return x.is_integer()", "x.is_integer", "a float has no method `is_integer` here"),
    ("return x()", "x", "`x` is a value here and cannot be called"),
    ("return (yield x)", "yield x", "`yield` cannot be compiled; a compiled function returns one value for each row"),
    ("return x if n in TEXT else 0.0", "TEXT", "`in` looks into a tuple of constants: `n in (1, 2, 3)`"),
    (
        "return x if n in (1, n) else 0.0",
        "(1, n)",
        "`in` looks into constants; compare others with == joined with `or`",
    ),
    (
        "return x if n in (1, 2) == p else 0.0",
        "n in (1, 2) == p",
        "`in` cannot be chained; join the comparisons with `and`",
    ),
    ("return x if n is n else 0.0", "n is n", "`is` compares with None only; use =="),
    (
        "return x if (n, n) < (1, 2) else 0.0",
        "(n, n) < (1, 2)",
        "tuples cannot be compared; compare their values, joined with `and`",
    ),
    ("return x & 1", "x & 1", "`&` takes ints or bools; in a function, use `and`, `or`, `not`"),
    ("return ~x", "~x", "`~` takes an int"),
    ("return x << 1", "x << 1", "`<<` takes ints, not a float and an int"),
    ("return n @ n", "n @ n", "`@` cannot be compiled"),
    ("return x + 10**30", "10**30", "does not fit into 64 bits; write it as a float"),
    ("return x + 9223372036854775808", "9223372036854775808", "does not fit into 64 bits; write it as a float"),
    (
        "return max(n, x)",
        "max(n, x)",
        "`max`: an int and a float do not mix; convert with float(...), int(...) or bool(...)",
    ),
    ("return max(x, p)", "max(x, p)", "`max` takes numbers; convert a bool with int(...)"),
    ("return max(x)", "max(x)", "`max` takes two or more numbers here"),
    ("return max(x, key=plain)", "max(x, key=plain)", "`max` takes plain arguments here, without names"),
    ("return -max(x, 0)", "-max(x, 0)", "write the int constant as a float, such as 0.0"),
    ("return max(x, 0) * n", "max(x, 0) * n", "write the int constant as a float, such as 0.0"),
    ("return round(x, n)", "n", "round to a constant number of digits, from -22 to 22"),
    ("return round(max(x, 0), 1)", "round(max(x, 0), 1)", "write the int constant as a float, such as 0.0"),
    ("return sum((x, 1.0))", "sum((x, 1.0))", "of floats the result depends on the version of Python: write a + b + c"),
    ("return divmod(x)[0]", "divmod(x)", "`divmod` takes two numbers"),
    ("return p", "p", "this is a bool and must be a float; convert it with float(...)"),
    ("return (x, x)", "(x, x)", "this is a tuple and must be a float"),
    ("return divmod(n, 2)[n]", "n", "this tuple is indexed by a constant from 0 to 1"),
    ("return divmod(n, 2)[2]", "2", "this tuple is indexed by a constant from 0 to 1"),
    ("return Pair(x, (x, x)).a", "Pair(x, (x, x))", "a tuple inside a tuple cannot be compiled; write its values out"),
    ("return Pair(x).a", "Pair(x)", "`Pair` takes 2 arguments: `b` is missing"),
    ("return Pair(x, c=x).a", "Pair(x, c=x)", "`Pair` takes a, b, each once"),
    ("return gained(x)", "gained(x)", "`gained` takes 2 arguments: `arr` is missing"),
    ("return gained(x, x, x)", "gained(x, x, x)", "`gained` takes 2 arguments: dep, arr"),
    ("return gained(arr=x, dep=x)", "gained(arr=x, dep=x)", "give the arguments in the order of the parameters"),
    ("return gained(x, p)", "p", "this is a bool and must be a float; convert it with float(...)"),
    ("return gained(*TABLE)", "*TABLE", "`*` cannot be compiled; write the values one by one"),
    ("return gained(**TEXT)", "gained(**TEXT)", "`*` cannot be compiled; write the values one by one"),
    (
        "return plain(x)",
        "plain(x)",
        "`plain` cannot be called from compiled code; decorate `plain` with @flare.udf too",
    ),
    ("return partial()", "partial()", "`partial` cannot be called from compiled code"),
    ("return print(x)", "print(x)", "it would print once for each row; return the value and look at the column"),
    ("return sorted((x, 1.0))[0]", "sorted((x, 1.0))", "use min and max for the ends"),
    (
        "return x if isinstance(x, float) else 0.0",
        "isinstance(x, float)",
        "the types are known from the annotations; leave the test out",
    ),
    ("return pow(x, 2)", "pow(x, 2)", "`pow` cannot be called from compiled code; write a ** b"),
    ("return eval('x')", "eval('x')", "write the expression out"),
    ("return open('a')", "open('a')", "a compiled function has no files; read the data as a stream and join it"),
    ("return list(TABLE)[0]", "list(TABLE)", "use several variables, or return a tuple"),
    ("return range(3)[0]", "range(3)", "range stands in `for i in range(...)` only"),
    (
        "return random.random()",
        "random.random()",
        "add a column of random numbers before, so that a repeated run gives the same",
    ),
    ("return os.getpid()", "os.getpid()", "a compiled function has no access to the machine; add a parameter"),
    ("return time.time()", "time.time()", "a compiled function has no clock; add a column with the time"),
    ("return (y := (x, x))[0]", "y := (x, x)", "a tuple is assigned on a line of its own"),
]
TEXTS = [
    ("return 'text'", "'text'", "this is a str and must be a float; convert it with float(...)"),
    ("return f'{x}'", "f'{x}'", "this is a str and must be a float; convert it with float(...)"),
    ("return float(f'{x:y}')", "x", "Unknown format code 'y' for object of type 'float'"),
    ("return float(f'{n:.2d}')", "n", "Precision not allowed in integer format specifier"),
    ("return float(f'{x!r}')", "x", "`!r` is not compiled; leave it out, or write !s"),
    ("return float('a' + x)", "'a' + x", "`+` does not take a str and a float; convert with str(...), float(...)"),
    ("return float('a' * x)", "'a' * x", "`*` does not take a str and a float"),
    ("return float('%s' % x)", "'%s' % x", "`%` does not format here; write an f-string"),
    ("return float('a' < x)", "'a' < x", "a str and a float cannot be compared; convert one of them"),
    ("return float(x in 'abc')", "x", "`in` of a str takes a str, not a float"),
    ("return float(x in n)", "n", "`in` looks into a text, or a tuple of constants: `n in (1, 2, 3)`"),
    ("return float('abc'[x])", "x", "an index is an int, not a float"),
    ("return float('a b'.split()[0:1])", "'a b'.split()[0:1]", "a list of texts is indexed by an int here"),
    ("return float('abc'.find(1))", "'abc'.find(1)", "`'abc'.find` takes a str as `sub`, not an int"),
    ("return float('abc'.find('a', x))", "'abc'.find('a', x)", "`'abc'.find` takes an int as `start`, not a float"),
    ("return float('abc'.upper(1))", "'abc'.upper(1)", "`'abc'.upper` takes no arguments"),
    ("return float('abc'.encode())", "'abc'.encode", "a str has no method `encode` here"),
    ("return float('a b'.split().count('a'))", "'a b'.split().count", "a list of texts has no method `count` here"),
    ("return float('a'.join(n))", "'a'.join(n)", "takes a list of texts, as split gives it as `iterable`, not an int"),
    ("return float('a'.join((n, n)))", "n", "`join` takes texts, not an int; convert it with str(...)"),
    ("return float('\\ud800' == 'a')", "'\\ud800'", "half of a surrogate pair is no text that a column can hold"),
    ("return float(str(max(x, 0)))", "str(max(x, 0))", "write the int constant as a float, such as 0.0"),
    ("return float(abs('a'))", "'a'", "`abs` takes a number here, not a str"),
    ("return float(int('12', n))", "int('12', n)", "int(text, base) takes a constant base: 0, or 2 to 36"),
    ("return float('a'.rjust(3, 'xy'))", "'a'.rjust(3, 'xy')", "The fill character must be exactly one character long"),
    ("return float(format(x, str(n)))", "str(n)", "a format is a constant text here"),
    ("return float('a b'.split())", "'a b'.split()", "`float` takes a number here, not a list of texts"),
    ("for a, b in 'ab':\n    pass\nreturn x", "a, b", "a loop gives its values to plain names: `for c in text`"),
    ("for a in n:\n    pass\nreturn x", "n", "a compiled loop goes over range(...), the characters of a text"),
    ("for a in enumerate('ab'):\n    pass\nreturn x", "a", "a loop gives its values to plain names"),
]
STATEMENTS = [
    ("return", "return", "this is None and must be a float; test it first, or annotate `float | None`"),
    (
        "if p:\n    y = 1.0\nreturn y",
        "y",
        "`y` has no value on every way to here; give it one before the `if` or the loop",
    ),
    ("for i in range(n):\n    pass\nreturn i", "i", "`i` has no value on every way to here"),
    ("z = LATE + x\nLATE = 1.0\nreturn z", "LATE", "`LATE` has no value on every way to here"),
    (
        "y = n\nif p:\n    y = x\nreturn y",
        "y = x",
        "`y` is an int on line 2 and a float here; convert one of them, or use another name",
    ),
    ("p = x\nreturn p", "p = x", "`p` is a bool as a parameter and a float here"),
    ("y = (x, x)\ny = x\nreturn y", "y = x", "`y` is a tuple on line 2 and a float here"),
    ("y = x\ny = (x, x)\nreturn x", "y = (x, x)", "`y` is something else before; use another name for this tuple"),
    ("y = n if p else x\nreturn y", "n if p else x", "an int and a float do not mix; convert with float(...)"),
    ("if p:\n    return x", "if p:", "a way through the function ends without `return`, which would give None"),
    ("while x > 0:\n    x -= 1", "while x > 0:", "a way through the function ends without `return`"),
    (
        "for i in TABLE:\n    x += i\nreturn x",
        "TABLE",
        "`TABLE` is list; a compiled function sees numbers, dates, texts",
    ),
    ("for i in range(x):\n    pass\nreturn x", "x", "range takes ints, not a float"),
    ("for i in range():\n    pass\nreturn x", "range()", "range takes one to three ints"),
    ("for i, j in range(3):\n    pass\nreturn x", "i, j", "a loop over range(...) gives one name its values"),
    (
        "try:\n    return x\nexcept ValueError:\n    return 0.0",
        "try:",
        "test for the error first, or use udf(on_error='null')",
    ),
    ("import os\nreturn x", "import os", "`import` cannot be compiled; import outside of the function"),
    ("from os import path\nreturn x", "from os import path", "import outside of the function"),
    ("with p:\n    return x", "with p:", "`with` cannot be compiled; use .map_batches for this function"),
    ("global TABLE\nreturn x", "global TABLE", "a compiled function changes nothing outside; return the value"),
    ("del x\nreturn 1.0", "del x", "`del` cannot be compiled; give the variable another value"),
    ("def inner():\n    pass\nreturn x", "def inner():", "define it outside, with @flare.udf of its own, and call it"),
    ("class A:\n    pass\nreturn x", "class A:", "define a NamedTuple or dataclass outside, and return one"),
    (
        "print(x)\nreturn x",
        "print(x)",
        "an expression whose value is not used cannot be compiled; assign it, or leave it out",
    ),
    ("TABLE[0] = x\nreturn x", "TABLE[0]", "only plain names can be assigned in a compiled function"),
    ("x.a = 1\nreturn x", "x.a", "only plain names can be assigned in a compiled function"),
    ("TABLE[0] += x\nreturn x", "TABLE[0] += x", "only plain names can be assigned in a compiled function"),
    ("a, b = 1, 2, 3\nreturn x", "a, b = 1, 2, 3", "2 names for 3 values"),
    ("a, b = x\nreturn x", "a, b", "this is a float; only a tuple can be taken apart"),
    ("a, *b = 1, 2, 3\nreturn x", "*b", "only plain names can be assigned in a compiled function"),
    ("raise x", "raise x", "raise a plain exception with one constant text: raise ValueError('why')"),
    ("raise ValueError('a', 'b')", "raise ValueError('a', 'b')", "raise a plain exception with one constant text"),
    ("raise ValueError(x)", "x", "the text of an error is a constant here; the error names the arguments"),
    ("match (n, n):\n    case _:\n        return x", "(n, n)", "match takes one value here, not a tuple"),
    (
        "match n:\n    case [1, 2]:\n        return x\nreturn x",
        "[1, 2]",
        "a pattern is a constant, several joined with `|`, or a name",
    ),
    ("match n:\n    case int():\n        return x\nreturn x", "int()", "write other tests as `if`"),
]
SIGNATURES = [
    ("x", "float", "`x` has no type; annotate it with one of float, int, bool, "),
    ("x: list", "float", "`x` is list; a udf takes float, int, bool, "),
    ("x: float | int", "float", "`x` is float | int; a udf takes float, int, bool, "),
    ("x: list[float] | None", "float", "`x` is list[float] | None; a udf takes float"),
    ("x: float", "list", "the result is list; a udf takes float"),
    ("x: float", "None", "the result is None; annotate it with one of "),
    ("x: float", "tuple", "the result is tuple"),
    ("x: float", "tuple[float, ...]", "say how many values the tuple has: tuple[float, int]"),
    ("x: float", "tuple[float, list]", "`bad_1` is list; a udf takes float"),
    ("x: float = 'a'", "float", "the default of `x: float` is 'a'; a default is a value of its type"),
    ("x: float = None", "float", "the default of `x: float` is None; a default is a value of its type"),
    ("*x: float", "float", "a udf takes plain parameters, without `*`"),
    ("x: float, *, y: float", "float", "a udf takes plain parameters, without `*`"),
    ("", "float", "a udf needs at least one parameter; use pl.lit(...) for a constant column"),
]


def refused(body: str, signature: str = "x: float, n: int, p: bool", returns: str = "float") -> list[str]:
    """Return the lines of the error for a function with that body."""
    text = f"def bad({signature}) -> {returns}:\n" + "".join(f"    {line}\n" for line in body.splitlines())
    with pytest.raises(UdfError) as caught:
        compiled(text, "bad", SCOPE)
    return str(caught.value).splitlines()


def test_there_are_many_cases():
    assert len(EXPRESSIONS) + len(STATEMENTS) + len(SIGNATURES) >= 60


@pytest.mark.parametrize(("body", "piece", "said"), [*EXPRESSIONS, *TEXTS, *STATEMENTS])
def test_what_cannot_be_compiled_is_marked_with_what_to_write(body: str, piece: str, said: str):
    first, line, marks, offer = refused(body)
    place, _, what = first.partition(": ")
    assert re.fullmatch(r"program_\d+\.py, line \d+", place)
    assert said in what
    number = int(place.rpartition(" ")[2])
    assert line.strip() == ["", *body.splitlines()][number - 1].strip()
    start = marks.index("^")
    assert line[start : len(marks)] == piece
    assert offer == "To keep the function as it is, run it in Python: stream.map_batches(...)"


@pytest.mark.parametrize(("signature", "returns", "said"), SIGNATURES)
def test_signatures_are_checked(signature: str, returns: str, said: str):
    lines = refused("return 1.0", signature, returns)
    assert said in lines[0]
    assert lines[1].startswith("    def bad(")
    assert "^" in lines[2]


def test_a_parameter_may_not_be_called_like_an_option():
    with pytest.raises(UdfError, match="`on_error` is an option of the call; call the parameter otherwise"):
        compiled("def bad(on_error: float) -> float:\n    return on_error\n", "bad", {})


def test_what_does_more_than_hold_fields_is_no_result():
    text = """
from dataclasses import dataclass, field
@dataclass
class Both:
    low: float
    def __post_init__(self):
        self.low = -self.low
def bad(x: float) -> Both:
    return Both(x)
"""
    with pytest.raises(UdfError, match=r"the result is Both; a udf takes .*, and tuples, NamedTuples"):
        compiled(text, "bad", {})


def test_what_is_no_function_with_source_is_refused():
    with pytest.raises(UdfError, match="takes a Python function with annotations, not builtin_function_or_method"):
        udf(math.sqrt)
    with pytest.raises(UdfError, match="written with `def`"):
        udf(lambda x: x)
