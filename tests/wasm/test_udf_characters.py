"""Loops over the characters of a text, and what is asked of a character, do what they do in CPython for all of Unicode.

`DATAFLARE_PROGRAMS=5000` tries so many random loops instead of a few hundred.
"""

from __future__ import annotations

import os
import textwrap
import time
from functools import cache

import polars as pl
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from dataflare_nb.errors import WasmTimeout
from dataflare_nb.wasm import Udf, UdfFailed, udf

from .made import made
from .python_side import compare
from .text_programs import NASTY, characters, ints, known_alike, texts

EXAMPLES = int(os.environ.get("DATAFLARE_PROGRAMS", "250"))
pytestmark = pytest.mark.timeout(60 + EXAMPLES)
EVERY = [c for c in map(chr, [*range(0xD800), *range(0xE000, 0x110000)]) if known_alike(c)]
TESTS = ["alpha", "decimal", "digit", "numeric", "alnum", "space", "upper", "lower", "title", "ascii"]
SETS = ["'a'", "'abc'", "'aeiou'", "'/:.?#&=-_~%'", "'é日😀'", "'aé\\x00 z-日本語'", "''", "'0123456789abcdefABCDEF'"]
PLACES = {
    "a loop": "for c in s:\n    {}",
    "an index": "for i in range(len(s)):\n    c = s[i]\n    {}",
    "a number and a character": "for i, c in enumerate(s):\n    {}",
    "a while loop": "i = 0\nwhile i < len(s):\n    c = s[i]\n    i += 1\n    {}",
}


def asked(place: str, tests: list[str]) -> Udf:
    """Return a function that sums a power of two for each test that a character passes, times 7 for each before it."""
    body = "m = 0\n" + "\n".join(f"if {test}:\n    m += {1 << i}" for i, test in enumerate(tests))
    each = textwrap.indent(f"{body}\nn = (n * 7 + m) % 1000000007", "    ").strip()
    return made("(s: str) -> int", f"n = 0\n{PLACES[place].format(each)}\nreturn n")


@pytest.mark.parametrize("place", PLACES)
def test_every_character_is_what_it_is_in_cpython(place: str):
    tests = [f"c.is{name}()" for name in TESTS]
    function = asked(place, tests)
    for row, (c, ours) in enumerate(zip(EVERY, function.call([pl.Series(EVERY)]), strict=True)):
        assert ours == sum(1 << i for i, name in enumerate(TESTS) if getattr(c, f"is{name}")()), (row, ascii(c))


@pytest.mark.parametrize("place", ["a loop", "an index"])
def test_every_character_is_where_it_is_in_a_text(place: str):
    code = made("(s: str) -> int", f"n = 0\n{PLACES[place].format('n = (n * 7 + ord(c)) % 1000000007')}\nreturn n")
    rows = ["".join(EVERY[at : at + 40]) for at in range(0, len(EVERY), 40)]
    assert code.call([pl.Series(rows)]).to_list() == [code.function(row) for row in rows]


@pytest.mark.parametrize("known", SETS)
def test_a_character_is_in_a_constant_or_not(known: str):
    tests = [f"c in {known}", f"c not in {known}", f"c in tuple_of({known})", f"c == {known}", f"c != {known}"]
    tests = [test.replace(f"tuple_of({known})", f"({''.join(f'{one!r}, ' for one in eval(known))})") for test in tests]
    tests += [f"c < {known}", f"c <= {known}", f"{known} < c", f"c >= {known}", f"'%' <= c < {known}"]
    compare(asked("a loop", tests), [(s,) for s in [*NASTY, "".join(map(chr, range(300))), *EVERY[::997]]])


def test_a_character_is_in_many_constants():
    many = "".join(EVERY[200:900:3])
    udf = made("(s: str) -> int", "n = 0\nfor c in s:\n    if c in MANY:\n        n += 1\nreturn n", MANY=many)
    each = made("(s: str) -> int", "n = 0\nfor c in s:\n    if c in MANY:\n        n += 1\nreturn n", MANY=tuple(many))
    rows = ["".join(EVERY[at : at + 7]) for at in range(0, 1200, 7)]
    expected = [sum(c in many for c in row) for row in rows]
    assert udf.call([pl.Series(rows)]).to_list() == each.call([pl.Series(rows)]).to_list() == expected


# ---- where characters go ----

KEPT = {
    "it outlives the loop": """
        c = '?'
        for c in s:
            if c == '-':
                break
        return c + str(c.isalpha()) + str(ord(c))
    """,
    "another name outlives it": """
        last = ''
        for c in s:
            if c.isupper():
                last = c
        return last + str(last.isupper())
    """,
    "it is first one character, then a text": """
        c = 'x'
        for d in s:
            if c == 'x' or c == d:
                c = c + d
            else:
                c = d
        return c + str(c == 'x') + str(c.isdigit())
    """,
    "a text on one way, a character on the other": """
        c = s[:2]
        if len(s) > 3:
            c = s[3]
        return c + str(c.isalnum()) + str(c == 'b')
    """,
    "it changes within the round": """
        out = ''
        for c in s:
            if c == 'a':
                c = 'bc'
            elif c.isspace():
                c = '_'
            if c == '_' or c == 'bc' or c.isdigit():
                out += c
        return out
    """,
    "two loops, one in the other": """
        out = ''
        for c in s[:9]:
            n = 0
            for d in s:
                if d < c:
                    continue
                if d == c:
                    n += 1
                elif d in 'éb':
                    break
            else:
                out += '.'
            out += f'{c}{n}'
        return out
    """,
    "the text is another one meanwhile": """
        out = ''
        for c in s:
            s = s + c
            if len(s) > 99:
                break
            out += c
        return out + s
    """,
    "continue, break and else": """
        out = ''
        for i, c in enumerate(s, 3):
            if c.isdigit():
                continue
            if c in '?#':
                break
            out += f'{i}{c}'
        else:
            return out + '!'
        return out
    """,
    "a walrus": """
        out = ''
        for i in range(len(s)):
            if (c := s[i]).isalpha() and c != (d := s[-i]) and d.islower():
                out += c + d
        return out
    """,
    "what the right side assigns": """
        c = 'a'
        n = 0
        for d in s:
            if c == (c := d):
                n += 1
            if c < (c := 'b') < d:
                n += 100
        return str(n) + c
    """,
    "match": """
        out = ''
        for c in s:
            match c:
                case 'a' | 'é' | '日本':
                    out += '1'
                case '':
                    out += '2'
                case d if d.isspace():
                    out += '3' + d
                case _:
                    out += c
        return out
    """,
    "a tuple of characters": """
        if len(s) < 2:
            return s
        pair = (s[0], s[1])
        a, b = pair
        a, b = b, a
        return a + b + str(a == pair[1]) + str(pair[0].isalpha()) + str(b.isupper())
    """,
    "both of two": """
        out = ''
        for c in s:
            d = c if c.isalpha() else s[0]
            e = d and c or d
            out += d + e + str(d == e) + str(d.isalnum())
        return out
    """,
    "other methods": """
        out = ''
        for c in s:
            out += c.upper() + c.lower().title() + c.strip() + c * 2 + c.replace('a', 'é') + str(len(c)) + c[0] + c[-1:]
            if c.startswith('a') or c.find('b') == 0 or not c:
                out += c
        return out
    """,
    "a text grows by it": """
        out = ''
        for c in s:
            if c != '-':
                out += c
                out += c
        return f'{out}{len(out)}{out[-1:]}{out[1:4]}{out.find("b")}{out.isascii()}'
    """,
    "it is looked for": """
        seen = ''
        for c in s:
            if c not in seen and c in s[1:] and seen not in c:
                seen += c
            elif c in s.split('-'):
                seen = c + seen
        return seen
    """,
    "words, and their characters": """
        out = ''
        for word in s.split():
            for c in word:
                if c.isupper() or c == 'a':
                    out += c
            out += word
        return out
    """,
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_a_character_is_a_text_like_any_other(body: str):
    function = made("(s: str) -> str", textwrap.dedent(body).strip())
    compare(function, [(s,) for s in [*NASTY, "aAbB?c1 d#", "xa-b", "ab1é2日3😀", "-", "bbba", "é日é日éé"]])


def test_a_character_is_passed_to_another_function_and_comes_back():
    digit = made("(c: str, d: str | None = None) -> str", "c if c.isdigit() and d != c else (d or '-')")
    body = "out = ''\nfor c in s:\n    d = digit(c, s[0])\n    out += d + digit(d)\nreturn out + digit('7', None)"
    compare(made("(s: str) -> str", body, digit=digit), [(s,) for s in NASTY])


def test_a_character_may_be_none():
    body = """
        c = None
        for d in s or '':
            if d.isdigit():
                c = d
            elif d == '-':
                c = None
            elif c is not None and c < d:
                c = s[0] if s is not None else None
        if c is None:
            return c
        return c + str(c.isdigit())
    """
    function = made("(s: str | None) -> str | None", textwrap.dedent(body).strip())
    compare(function, [(None,), *[(s,) for s in NASTY], ("1-",), ("a1é",), ("1b",), ("٣z",)])


def test_characters_of_rows_that_are_null_or_empty_are_not_looked_at():
    count = made("(s: str) -> int", "n = 0\nfor c in s:\n    if c.isdigit():\n        n += 1\nreturn n")
    rows = [None, "", "12", None, "a1", ""]
    assert count.call([pl.Series(rows)]).to_list() == [None, 0, 2, None, 1, 0]
    assert count.call([pl.Series(rows * 9)[7:40]]).to_list() == ([None, 0, 2, None, 1, 0] * 9)[7:40]
    assert count.call([pl.Series([], dtype=pl.String)]).to_list() == []
    assert count.call([pl.Series([None, None], dtype=pl.String)]).to_list() == [None, None]


def test_an_index_beyond_the_text_fails_its_row():
    for body in ("s[n].isdigit()", "s[n] == 'a'", "s[n] in 'abc'", "ord(s[n]) > 99", "s[n] < s[0]", "s[n] == ''"):
        compare(made("(s: str, n: int) -> bool", body), [(s, n) for s in NASTY for n in (0, 1, -1, 5, -9, 2**62)])


# ---- counting ----


@pytest.mark.parametrize("step", ["1", "7", "2**53", "True"])
def test_what_is_counted_overflows_where_it_does_in_cpython(step: str):
    step = str(eval(step)) if step != "True" else step
    body = f"for c in s:\n    if c.isdigit():\n        n += {step}\nreturn n"
    top = 2**63 - 1
    rows = [(s, n) for s in ("", "1", "a1b2", "é٣", "aaa") for n in (0, -5, top, top - 1, top - 7, top - 2**53, -top)]
    compare(made("(s: str, n: int) -> int", body), rows)


def test_only_ints_are_counted():
    for kind in ("float", "int", "bool"):
        for step in ("1", "1.5", "-1"):
            if kind == "float" or step != "1.5":
                compare(
                    made(f"(n: {kind}, c: bool) -> float", f"m = n + 0\nif c:\n    m += {step}\nreturn m * 1.0"),
                    [
                        (value, c)
                        for value in {"float": (0.5, -0.0), "int": (3, -1), "bool": (True, False)}[kind]
                        for c in (True, False)
                    ],
                )


def test_what_a_test_assigns_is_counted_on():
    body = "m = 5\nif (m := n) > 3:\n    m += 2\nif n > 4 and (k := n * 2) > 0:\n    m += 1\nreturn m"
    compare(made("(n: int) -> int", body), [(n,) for n in (-1, 3, 4, 5, 99)])


# ---- random loops ----

_TESTS = [f"{{c}}.is{name}()" for name in TESTS]
_TESTS += [f"{{c}} in {known}" for known in SETS] + [
    "{c} == {t}",
    "{c} != {t}",
    "{c} < {t}",
    "{c} >= {t}",
    "{t} <= {c}",
]
_TESTS += [
    "{c} in ('a', 'é', 'ab', '日')",
    "{c} not in t",
    "{c} in out",
    "{t} in {c}",
    "ord({c}) % 3 == 1",
    "n % 2 == 0",
]
# Nothing grows but `out`, and that by a few characters each time.
_DEEDS = ["n += 1", "n += 3", "n -= 1", "m = c", "m = {t}", "m = (m + {c})[-3:]", "out += {c}[:2]", "out = m", "c = m"]
_DEEDS += ["out += c[-1:] + {t}[:1]", "break", "continue", "n = n * 3 % 1001", "c = {t}", "d = c"]
_HEADS = ["for c in s:", "for i, c in enumerate(t):", "for c in s + t:", "for c in s[1:]:", "for c in t.split():"]


@st.composite
def loops(draw: st.DrawFn) -> Udf:
    """Draw a function of two texts that loops over characters."""

    def filled(rule: str) -> str:
        return rule.format(
            c=draw(st.sampled_from("ccccdm")), t=draw(st.sampled_from(["m", "d", "t[:1]", "'a'", "'é'", "s"]))
        )

    def block(depth: int, inside: bool) -> list[str]:
        lines: list[str] = []
        for _ in range(draw(st.integers(1, 3))):
            what = draw(st.integers(0, 5))
            if what < 3 or depth == 0:
                deed = filled(draw(st.sampled_from(_DEEDS)))
                if deed in ("break", "continue"):
                    if not inside:
                        continue
                    return [*lines, deed]
                lines.append(deed)
                continue
            if what == 5:
                lines.append(draw(st.sampled_from(_HEADS)))
            else:
                test = filled(draw(st.sampled_from(_TESTS)))
                lines.append(f"if {draw(st.sampled_from(['', '', 'not ']))}{test}:")
            lines += [f"    {line}" for line in block(depth - 1, inside or what == 5)]
            if draw(st.integers(0, 3)) == 0:
                lines += ["else:", *[f"    {line}" for line in block(depth - 1, inside)]]
        return lines or ["n += 1"]

    body = ["c = d = m = out = ''", "c = 'x'", "n = 0", draw(st.sampled_from(_HEADS))]
    body += [f"    {line}" for line in block(3, True)]
    ending = "return f'{c}|{d}|{m}|{out}|{n}|{c.isalpha()}{d.isdigit()}{m == c}{c < d}'"
    return made("(s: str, t: str) -> str", "\n".join([*body, ending]))


short = st.one_of(
    st.sampled_from([s for s in NASTY if len(s) < 12]),
    st.text(st.sampled_from("ab1é٣日 -A😀\u2003ǅ"), max_size=8),
    st.text(characters, max_size=5),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(loops(), st.lists(st.tuples(short, short), min_size=1, max_size=12))
def test_any_loop_over_characters_gives_what_it_gives_in_cpython(function: Udf, rows: list[tuple[str, str]]):
    note("\n".join(function.source.lines))
    compare(function, rows)


@cache
def sorted_out() -> Udf:
    body = """
        word = ''
        n = 0
        for c in s:
            if c.isalpha() or c in "'é":
                word += c
            elif c.isdigit() and '3' <= c:
                n += 1
            elif c == t:
                break
        return f'{word}{n}'
    """
    return made("(s: str, t: str, n: int) -> str", textwrap.dedent(body).strip())


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(texts, texts, ints), min_size=1, max_size=40))
def test_any_text_is_taken_apart_as_in_cpython(rows: list[tuple[str, str, int]]):
    compare(sorted_out(), rows)


# ---- limits ----


def test_a_loop_over_characters_keeps_to_its_time():
    body = "n = 0\nfor a in s:\n    for b in s:\n        if a == b:\n            n += 1\nreturn n"
    squared = udf(made("(s: str) -> int", body).function, max_execution_time="100ms")
    start = time.monotonic()
    with pytest.raises(WasmTimeout):
        squared.call([pl.Series(["ab" * (1 << 20)])])
    assert time.monotonic() - start < 10
    assert squared.call([pl.Series(["abé"])]).to_list() == [3]


def test_an_error_names_the_line_in_any_round():
    body = "n = 9223372036854775800\nfor c in s:\n    if c.isdigit():\n        n += 1\nreturn n"
    count = made("(s: str) -> int", body)
    assert count.call([pl.Series(["1234567"])]).to_list() == [2**63 - 1]
    with pytest.raises(UdfFailed, match=r"OverflowError.* at row 1 .*line 5"):
        count.call([pl.Series(["1", "12345678"])])


def test_a_test_of_a_character_calls_nothing():
    test = "c.isdigit() or c in 'aé' or c == '-' or c < '!' or c.isspace()"
    wat = made("(s: str) -> int", f"n = 0\nfor c in s:\n    if {test}:\n        n += 1\nreturn n").wat
    assert "call" not in wat[wat.index("(loop $again") :]
