"""Text in compiled functions means what it means in CPython: every method, any Unicode, and the same errors.

`DATAFLARE_PROGRAMS=5000` tries so many random functions instead of a few hundred.
"""

from __future__ import annotations

import itertools
import linecache
import math
import os
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from dataflare_nb.wasm import Udf, UdfFailed
from dataflare_nb.wasm.intrinsics import INTRINSICS, METHODS
from dataflare_nb.wasm.values import Kind

from .made import made
from .python_side import compare
from .text_programs import NASTY, characters, floats, ints, known_alike, programs, texts

EXAMPLES = int(os.environ.get("DATAFLARE_PROGRAMS", "250"))
udf_of = cache(made)
ROWS = st.lists(st.tuples(texts, texts, ints, floats, st.booleans()), min_size=1, max_size=20)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), ROWS)
def test_any_expression_over_text_gives_what_it_gives_in_cpython(function: Udf, rows: list[tuple[Any, ...]]):
    note("\n".join(function.source.lines))
    compare(function, rows)


# ---- one text ----

ONE_TEXT = {
    "str": """
        s | s[0] | s[-1] | s[1:] | s[:-1] | s[-2:] | s[::-1] | s[::2] | s[5:1:-2] | s.lower() | s.upper() | s.casefold()
        s.title() | s.capitalize() | s.swapcase() | s.strip() | s.lstrip() | s.rstrip() | s.strip('-a') | s.strip('é日')
        s + s | s * 3 | 2 * s | s.replace('a', '') | s.replace('', '-') | s.replace('', 'é', 2) | s.replace('a', 'bcd')
        s.split()[0] | s.split()[-1] | s.split('-')[1] | s.split('-', 1)[-1] | s.rsplit(None, 1)[0] | s.rsplit('a')[0]
        s.split(maxsplit=1)[1] | s.split(sep='-')[0] | s.partition('-')[2] | s.rpartition('a')[0]
        s.removeprefix('a') | s.removesuffix('c') | s.zfill(5) | s.rjust(5, '日') | s.ljust(6) | s.center(7, '*')
        f'<{s}>' | f'{s:>6}' | f'{s:é^5.2}' | '-'.join(s.split()) | ', '.join([s, 'x', s]) | str(s) | s or 'none'
        s if s.isalpha() else s.upper() | 'x'.join(s.split('-', 2)) | chr(len(s))
        s[1:3] | s[-3:-1] | s[3:1] | s[-1:1] | s[2:-2] | s[:2**40] | s[-2**40:3] | s[len(s) - 1] | s[-len(s)]
        s.lower().upper() | s.upper()[1:].lower() | (s + s).lower() | s.lower() + s.upper() | (s.upper() + s)[-3:]
        s.split('--')[0] | s.split('-')[2] | s.split('-', 0)[0] | s.split('-', 1)[2] | s.split('é')[0] | s.split('b')[0]
        s.partition('-')[0] | s.partition('--')[1] | s.rpartition('--')[2] | s.rpartition('-')[1] | s.partition('é')[0]
        s.partition(s[:1] or '-')[2] | s[(s := s + 'ab').find('b'):] | s.strip()[:1].lower()
        f'{len(s)}{s}{len(s) - 20}'
    """,
    "int": """
        len(s) | ord(s) | s.find('a') | s.rfind('a') | s.index('-') | s.rindex('-') | s.count('a') | s.count('')
        s.find('') | s.rfind('') | s.find('', 3) | s.find('b', -2) | s.count('a', 1, 3) | s.find('-', None, 4)
        s.find('://') | s.find('xxxxxxxxxxxxxxxx') | s.find('日') | s.find('本語') | s.index('ab ab') | s.find('\\x00')
        int(s[:8]) | int(s[-4:]) | int(s[1:5]) | int('0' + s) | int(s.strip()) | len(s.strip()) | len(s[1:].upper())
        len(s.split()) | len(s.split('-')) | len(s.rsplit('a', 1)) | int(s) | int(s, 16) | int(s, base=10)
    """,
    "float": "float(s)",
    "bool": """
        s == 'a' | s != 'é' | s < 'b' | s >= '日' | 'a' <= s < 'b' | 'b' in s | 'x' not in s | s in ('a', 'é', '日本語')
        s in {'', '-'} | bool(s) | not s | s.startswith('a') | s.endswith('c') | s.startswith(('A', 'é', '日'))
        s.startswith('') | s.startswith('', 5) | s.endswith('b', 0, 2) | s.endswith(('-', '')) | 'a' in s.split('-')
        s.isalpha() | s.isdigit() | s.isdecimal() | s.isnumeric() | s.isalnum() | s.isspace() | s.isupper()
        s.islower() | s.istitle() | s.isascii()
        s == 'abc123' | s == 'xxxxxxxx' | s == 'xxxxxxxxxxxxxxx' | s == 'xxxxxxxxxxxxxxxx' | s == 'xxxxxxxxxxxxxxxxx'
        s.startswith('https://') | s.startswith('https://u') | s.startswith('https://user@Exa') | s.endswith('d#e')
        s.endswith('b/a/b?c=d#e') | s.endswith(('#e', 'bab', 'xxxxxxxx')) | s[:0].endswith('a') | s[1:] == 'b'
        s[:1].isdigit() | s[:1].isalpha() | s[:1].isalnum() | s[:1].isupper() | s[:1].islower() | s[:1].isspace()
        s[-1:].isdecimal() | s[-1:].isnumeric() | s[:1].upper() == 'A' | s.upper().startswith('AB') | s != s.lower()
    """,
}
BODIES = [(kind, body.strip()) for kind, rule in ONE_TEXT.items() for body in rule.replace("\n", "|").split("|")]
BODIES = [(kind, body) for kind, body in BODIES if body and "base=" not in body]


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_every_method_agrees_on_nasty_texts(kind: str, body: str):
    compare(made(f"(s: str) -> {kind}", f"return {body}"), [(s,) for s in NASTY])


TWO_TEXTS = """
    a == b | a < b | a in b | a + b == b + a | a.startswith(b) | a.endswith(b) | a.count(b) == 1 | a.find(b) > 0
    a.strip(b) == a | a.replace(b, '') == a | a.removeprefix(b) == a | a.removesuffix(b) == a | a.rfind(b) > a.find(b)
    len(a.split(b)) > 1 | a.split(b)[-1] == a.rsplit(b)[-1] | b.join(a.split(b)) == a | a.partition(b)[1] == b
"""


@pytest.mark.parametrize("body", [one.strip() for one in TWO_TEXTS.replace("\n", "|").split("|") if one.strip()])
def test_two_nasty_texts_meet_as_in_cpython(body: str):
    compare(made("(a: str, b: str) -> bool", f"return {body}"), itertools.product(NASTY, NASTY))


@cache
def cased() -> Udf:
    body = (
        "s.lower() + '|' + s.upper() + '|' + s.title() + '|' + s.swapcase() + '|' + s.casefold() + '|' + s.capitalize()"
    )
    return made("(s: str) -> str", body)


@cache
def told() -> Udf:
    names = ["alpha", "decimal", "digit", "numeric", "alnum", "space", "upper", "lower", "title", "ascii"]
    return made("(s: str) -> str", "return f'" + " ".join(f"{{s.is{name}()}}" for name in names) + "'")


def test_every_character_has_the_case_and_the_kind_it_has_in_cpython():
    every = [c for c in map(chr, [*range(0xD800), *range(0xE000, 0x110000)]) if known_alike(c)]
    column = pl.Series(every)
    for function in (told(), cased()):
        for c, ours in zip(every, function.call([column]), strict=True):
            assert ours == function.function(c), ascii(c)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ΣσςAΑ.'\u0301\u00ad -1ʰ"), max_size=9), min_size=1, max_size=50))
def test_a_sigma_is_final_where_it_is_in_cpython(words: list[str]):
    assert cased().call([pl.Series(words)]).to_list() == [cased().function(word) for word in words]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(characters, max_size=60), min_size=1, max_size=30))
def test_any_text_goes_through_unchanged(rows: list[str]):
    same = udf_of("(s: str) -> str", "s[:7] + s[7:]")
    assert same.call([pl.Series(rows, dtype=pl.String)]).to_list() == rows


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.text("ab", max_size=200), st.text("ab", min_size=1, max_size=30)), min_size=1, max_size=20)
)
def test_text_is_found_where_it_is(rows: list[tuple[str, str]]):
    for method in ("find", "rfind", "count"):
        compare(udf_of("(a: str, b: str) -> int", f"a.{method}(b)"), rows)


# ---- numbers and text ----


def one(kind: str, body: str) -> Udf:
    return udf_of(f"(x: {kind}) -> str", body)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.floats(), st.floats(-1e17, 1e17), st.integers(-(10**9), 10**9).map(float)), max_size=80))
def test_a_float_is_written_as_cpython_writes_it(numbers: list[float]):
    column = pl.Series(numbers, dtype=pl.Float64)
    assert one("float", "str(x)").call([column]).to_list() == [repr(x) for x in numbers]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-999, 999), max_size=80))
def test_an_int_is_written_as_cpython_writes_it(numbers: list[int]):
    column = pl.Series(numbers, dtype=pl.Int64)
    assert one("int", "f'{x}'").call([column]).to_list() == [str(x) for x in numbers]


FORMATS = ["", ".2f", "e", "g", ".0f", "+.3e", "010.3f", ",.2f", "_.1f", ">15", "<15.4g", "^15.2%", "é=+20,.3f", "#.0f"]
FORMATS += [
    ".17g",
    ".30f",
    "z.1f",
    "E",
    "G",
    "F",
    " .3",
    "020,.1f",
    "*^+25_.5e",
    ".1",
    "#g",
    "%",
    "0<9.2f",
    "z",
    ".100e",
]


@pytest.mark.parametrize("spec", FORMATS)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.floats(), st.floats(-1e6, 1e6), st.integers(-4000, 4000).map(lambda n: n / 8)), max_size=40)
)
def test_floats_are_formatted_as_in_cpython(spec: str, numbers: list[float]):
    column = pl.Series(numbers, dtype=pl.Float64)
    assert one("float", f"f'{{x:{spec}}}'").call([column]).to_list() == [format(x, spec) for x in numbers]


INT_FORMATS = [
    "",
    "d",
    "03d",
    "+",
    ",",
    "_",
    "x",
    "#X",
    "#010b",
    "o",
    "012,",
    "日>9",
    "<+9",
    "^9",
    "=+9",
    "_x",
    "#_b",
    ".2f",
    "e",
    "%",
]


@pytest.mark.parametrize("spec", INT_FORMATS)
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9999, 9999), max_size=40))
def test_ints_are_formatted_as_in_cpython(spec: str, numbers: list[int]):
    column = pl.Series(numbers, dtype=pl.Int64)
    assert one("int", f"f'{{x:{spec}}}'").call([column]).to_list() == [format(x, spec) for x in numbers]


@st.composite
def near_halves(draw: st.DrawFn) -> str:
    """Draw the decimal text of a number halfway between two floats, or a digit off it."""
    x = abs(draw(st.floats(allow_nan=False, allow_infinity=False)))
    above = math.nextafter(x, math.inf)
    if above == math.inf:
        return "1.797693134862315807937289714053e308"
    (p, q), (r, s) = x.as_integer_ratio(), above.as_integer_ratio()
    top, bottom = p * s + r * q, 2 * q * s
    twos = bottom.bit_length() - 1
    digits = str(top * 5**twos)
    return f"{draw(st.sampled_from([digits, digits + '0', digits[:-1], digits + '1']))}e{-twos}"


DECIMALS = st.from_regex(r"\s?[-+]?(\d{1,25}(_\d{1,3})?)?\.?\d{0,25}([eE][-+]?\d{1,3})?\s?", fullmatch=True)
DECIMALS = DECIMALS.filter(lambda s: all(map(known_alike, s)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(DECIMALS, near_halves(), st.floats().map(repr), texts), min_size=1, max_size=30))
def test_text_is_read_as_a_float_as_in_cpython(rows: list[str]):
    compare(udf_of("(s: str) -> float", "float(s)"), [(s,) for s in rows])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.from_regex(r"\s?[-+]?0?[xob]?[0-9a-f_]{1,20}\s?", fullmatch=True), texts), min_size=1, max_size=20
    )
)
def test_text_is_read_as_an_int_as_in_cpython(rows: list[str]):
    for base in (10, 16, 8, 2, 0, 36):
        compare(udf_of("(s: str) -> int", f"int(s, {base})"), [(s,) for s in rows])


def test_the_error_of_a_row_tells_the_text_that_is_no_number():
    read = made("(s: str) -> int", "int(s)")
    with pytest.raises(UdfFailed, match=r"ValueError: invalid literal for int\(\) with base 10: 'zwölf' at row 1"):
        read.call([pl.Series(["12", "zwölf", "13"])])
    with pytest.raises(UdfFailed, match=r"ValueError: could not convert string to float: '' at row 0 .*\(s=''\)"):
        made("(s: str) -> float", "float(s)").call([pl.Series([""])])


# ---- statements ----

STATEMENTS = {
    "a loop over characters": """
        out = ''
        for c in s:
            if c.isalpha():
                out += c + '|'
        return out
    """,
    "a loop with numbers": """
        out = ''
        for i, c in enumerate(s):
            if i % 2:
                continue
            out = c + out
        return out
    """,
    "numbers from a start, and an end": """
        out = ''
        for i, c in enumerate(s, start=-1):
            out += f'{i}{c}'
        else:
            out += '!'
        return out
    """,
    "a loop over words": """
        out = ''
        for word in s.split():
            if word == 'c':
                break
            out += word.capitalize()
        return out
    """,
    "two pieces": """
        a, b = s.split('-', 1)
        return b + '/' + a
    """,
    "three pieces": """
        a, b, c = s.split()
        return c + b + a
    """,
    "partition into itself": """
        head, _, s = s.partition('-')
        return s + head
    """,
    "a list of pieces": """
        parts = s.split('a')
        out = ''
        for part in parts:
            out += part
        return out + parts[-1] + str(len(parts))
    """,
    "a chain of parts": """
        out = s
        out += '-'
        half = out
        out += s
        return half + out + half
    """,
    "a while loop": """
        i = 0
        while i < len(s) and s[i] != '-':
            i += 1
        return s[i:]
    """,
    "match": """
        match s:
            case 'a' | '-':
                return 'x'
            case '':
                return 'none'
            case other:
                return other
    """,
    "a walrus": """
        if (i := s.find('-')) >= 0:
            return s[:i]
        return s
    """,
    "every character once": """
        seen = ''
        for c in s:
            if c not in seen:
                seen += c
        return seen
    """,
}


@pytest.mark.parametrize("body", STATEMENTS.values(), ids=STATEMENTS)
def test_statements_on_text_do_what_they_do_in_cpython(body: str):
    compare(udf_of("(s: str) -> str", textwrap.dedent(body).strip()), [(s,) for s in NASTY])


def test_texts_from_outside_are_constants():
    known = {"SEP": "-", "CODES": ("AA", "UA", "é"), "SETS": frozenset({"x", "日本語"})}
    udf = made("(s: str) -> bool", "s.strip(SEP) in CODES or s in SETS", **known)
    assert udf.call([pl.Series(["AA-", "é", "日本語", "x", "-"])]).to_list() == [True, True, True, True, False]


def test_a_udf_calls_another_with_text():
    inner = made("(s: str, n: int) -> str", "s * n + '!'")
    outer = made("(s: str) -> str", "inner(s, len(s)) + inner(inner(s, 1), 2)", inner=inner)
    assert outer.call([pl.Series(["ab", "", "é"])]).to_list() == ["abab!ab!ab!!", "!!!!", "é!é!é!!"]


def test_an_optional_text_is_none_or_text():
    udf = made("(s: str | None) -> str | None", "None if s is None or not s.strip() else s.strip()")
    assert udf.call([pl.Series([" a ", None, "  ", "é"])]).to_list() == ["a", None, None, "é"]


def test_several_results_may_be_text():
    udf = made("(s: str) -> tuple[str, int, str | None]", "(s.upper(), len(s), s[:1] or None)")
    assert udf.call([pl.Series(["ab", "", None, "é日"])]).to_list() == [
        {"f_0": "AB", "f_1": 2, "f_2": "a"},
        {"f_0": "", "f_1": 0, "f_2": None},
        None,
        {"f_0": "É日", "f_1": 2, "f_2": "é"},
    ]


# ---- what is said about it ----


def test_the_page_lists_every_method_and_function_and_its_examples_compile():
    page = (Path(__file__).parents[2] / "docs" / "udf.md").read_text()
    methods = {name for kind, name in METHODS if kind is Kind.STR}
    functions = {target.__name__ for target in INTRINSICS if getattr(target, "__module__", "") == "math"}
    assert not [name for name in methods | functions if f"`{name}`" not in page]
    scope: dict[str, Any] = {}
    code = page.partition("```python\n")[2].partition("```")[0]
    filename = "udf_page.py"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    exec(compile(code, filename, "exec"), scope)
    assert scope["host"].call([pl.Series(["https://a@B.com:8/x", "c/d", "e"])]).to_list() == ["b.com", "c", "e"]
    assert scope["label"].call([pl.Series([" ann "]), pl.Series([0.125])]).to_list() == ["Ann            12.5%"]
    assert scope["distance"].call([pl.Series([0.0]), pl.Series([180.0])]).to_list() == [math.pi * 6371.0]


def test_a_text_is_compiled_in_as_a_constant():
    joined = made("(s: str, sep: str) -> str", "sep.join(s.split())")
    dashed = joined.fix(sep="-")
    assert dashed.call([pl.Series(["a b  c", None])]).to_list() == ["a-b-c", None]
