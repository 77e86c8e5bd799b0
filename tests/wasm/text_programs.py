"""Expressions over text, written at random: every operator and method that a compiled function may use, nested."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from dataflare_nb.wasm import Udf

from .made import made

# What became a letter, a digit or ignorable after Unicode 14, which is the version of the library.
_NEWER = """
    ece 10fc 4e24 4eac 4fe9 5006 62d0 6d1e 7695 79ed 920e 94a9 a7f2-a7f4 ab69 10efd-10eff 1123f-11241 11f00-11f59
    1342f-13455 1b132 1b155 1d2c0-1d2d3 1df25-1df2a 1e030-1e08f 1e4d0-1e4f9 2b739 2ebf0-2ee5d 31350-323af
"""
_RANGES = [[int(end, 16) for end in part.split("-")] for part in _NEWER.split()]


def known_alike(c: str) -> bool:
    """Whether this Python knows a character as the library does."""
    return unicodedata.unidata_version == "14.0.0" or not any(r[0] <= ord(c) <= r[-1] for r in _RANGES)


NASTY = [
    *("", "a", "A", "ab", "aB c", "  a b  ", "a-b-c", "-", "--", "a--b", "aaa", "aaaa", "abab", "ABC", "abc123", "123"),
    *(
        "\t\n x\x0b\x0c\r",
        "\x1c\x1d\x1e\x1f",
        "\x85\xa0",
        "\u2003x\u2003",
        "a\u3000b",
        "\x00",
        "a\x00b",
        "\u200b",
        "\ufeff",
    ),
    *("é", "É", "e\u0301", "ß", "ẞ", "ŉ", "ǆ", "ǅ", "Ǆ", "ﬃ", "ΐ", "ᾳ", "ὒ", "İ", "ı", "I\u0307", "ſ", "K", "Å"),
    *("Σ", "ΑΣ", "ΑΣ.", "ΑΣΑ", "Α\u0301Σ", "ΣΣ", "σς", "ΌΣΟΣ ΣΑΣ", "A\u00adΣ", "'Σ", "Σ'"),
    *(
        "日本語",
        "日-本",
        "😀",
        "a😀b",
        "👨\u200d👩\u200d👧",
        "🇫🇷",
        "𝔸𝟗",
        "𐐀𐐨",
        "\U0010ffff",
        "\uffff",
        "\ue000",
        "\u07ff\u0800",
    ),
    *(
        "٣",
        "１２",
        "²½Ⅷ",
        "፩",
        "一",
        "1_000",
        "+1",
        "-1",
        " 7 ",
        "0x1f",
        "1e5",
        "1.5",
        ".5",
        "5.",
        "inf",
        "-Infinity",
        "nan",
    ),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e400",
        "1e-400",
        "0.1",
        "5e-324",
        "1_0.0_1",
    ),
    *(
        "x" * 15,
        "x" * 16,
        "x" * 17,
        "é" * 16,
        "a" * 31 + "b",
        "日" * 33,
        "ab " * 30,
        "https://user@Example.COM:80/a/b?c=d#e",
    ),
    *(
        "AA",
        "ua ",
        "Ünited",
        "ΑΒΓ",
        "straße",
        "ﬁne",
        "Ǆungla",
        "ᾈ",
        "ῼ",
        "Ⴀ",
        "Ꭰ",
        "ꭰ",
        "ʰ",
        "ª",
        "\U000e0101",
        "\u0345",
    ),
]
"""Texts on which implementations differ."""

characters = st.characters(exclude_categories=["Cs"]).filter(known_alike)
nasty_characters = st.sampled_from(sorted(set("".join(NASTY))))
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(nasty_characters, max_size=20),
    st.text(characters, max_size=12),
    st.text("ab- ", max_size=40),
    st.text("0123456789.-+e_ ", max_size=12),
)
ints = st.one_of(st.integers(-6, 40), st.sampled_from([2**63 - 1, -(2**63), 2**31, -(2**32)]))
floats = st.one_of(st.floats(), st.floats(-1e4, 1e4), st.integers(-(10**6), 10**6).map(lambda n: n / 100))

_TEXTS = """
    {t} + {t} | {t} + {t} | {t}[{i}] | {t}[{i}:{i}] | {t}[{i}:] | {t}[:{i}] | {t}[{i}:{i}:{step}] | {t}[::{step}]
    {t}.lower() | {t}.upper() | {t}.casefold() | {t}.title() | {t}.capitalize() | {t}.swapcase()
    {t}.strip() | {t}.lstrip() | {t}.rstrip() | {t}.strip({t}) | {t}.lstrip({t}) | {t}.rstrip({t})
    {t} * {few} | {few} * {t} | {t}.replace({t}, {t}) | {t}.replace({t}, {t}, {few})
    {t}.split()[{i}] | {t}.split(None, {few})[{i}] | {t}.rsplit(maxsplit={few})[{i}]
    {t}.split({sep})[{i}] | {t}.split({sep}, {few})[{i}] | {t}.rsplit({sep}, {few})[{i}] | {t}.split({t})[0]
    {t}.partition({sep})[{part}] | {t}.rpartition({sep})[{part}]
    {t}.removeprefix({t}) | {t}.removesuffix({t}) | {t}.zfill({width}) | {t}.rjust({width}) | {t}.ljust({width}, '日')
    {t}.center({width}, '*') | {t}.join(({t}, {t})) | {t}.join({t}.split()) | {t}.join({t}.rsplit({sep}, {few}))
    str({i}) | str({x}) | str({c}) | chr({i} % 50000) | ({t} if {c} else {t}) | ({t} or {t}) | ({t} and {t})
    format({x}, {float_spec}) | format({i}, {int_spec}) | format({t}, {text_spec})
    f'{{a}}{{n}}{{x}}{{p}}' | f'{{a!s:>9}}|{{x:.3f}}|{{n:+,}}' | f'{{{{{{b}}}}}}{{n:x}}{{x:012.4e}}'
"""
_INTS = """
    len({t}) | len({t}) | ord({t}) | int({t}) | int({t}, 16) | int({t}, 0)
    len({t}.split()) | len({t}.rsplit({sep}, {few}))
    {t}.find({t}) | {t}.rfind({t}) | {t}.index({t}) | {t}.rindex({t}) | {t}.count({t})
    {t}.find({t}, {i}) | {t}.rfind({t}, {i}, {i}) | {t}.count({t}, {i}, {i})
    ({i} if {c} else {i}) | {i} % 7 | {i} - {i}
"""
_FLOATS = "float({t}) | float({t}) | float({i}) | abs({x})"
_TRUTHS = """
    {t} == {t} | {t} != {t} | {t} < {t} | {t} <= {t} | {t} > {t} | {t} >= {t} | {t} < {t} <= {t}
    {t} in {t} | {t} not in {t} | {t} in ('a', 'é', '') | {t} in {t}.split() | bool({t}) | not {t}
    {c} and {c} | {c} or {c}
    {t}.startswith({t}) | {t}.endswith({t}) | {t}.startswith({t}, {i}) | {t}.endswith({t}, {i}, {i})
    {t}.startswith(('a', {t})) | {t}.endswith(('b', 'é', {t}), {i})
    {t}.isalpha() | {t}.isdigit() | {t}.isdecimal() | {t}.isnumeric() | {t}.isalnum() | {t}.isspace() | {t}.isupper()
    {t}.islower() | {t}.istitle() | {t}.isascii() | {i} < {i} | p
"""
_RULES = {name: rule.replace("\n", "|") for name, rule in {"t": _TEXTS, "i": _INTS, "x": _FLOATS, "c": _TRUTHS}.items()}
RULES = {name: [one.strip() for one in rule.split("|") if one.strip()] for name, rule in _RULES.items()}
# The templates of f-strings hold bars of their own.
RULES["t"] = [one for one in RULES["t"] if not one.startswith(("f'{{a!s", "{{x:.3f", "{{n:+"))]
RULES["t"].append("f'{{a!s:>9}}|{{x:.3f}}|{{n:+,}}'")
LEAVES = {"t": ["a", "b", "b"], "i": ["n", "n", "0", "1", "-1", "3"], "x": ["x"], "c": ["p"]}
RESULTS = {"t": "str", "i": "int", "x": "float", "c": "bool"}
FILLS: dict[str, st.SearchStrategy[str]] = {
    "sep": st.sampled_from(["'-'", "' '", "'a'", "'ab'", "'é'", "b"]),
    "step": st.sampled_from(["1", "2", "-1", "-3", "n"]),
    "few": st.sampled_from(["0", "1", "2", "-1", "(n % 4)"]),
    "width": st.sampled_from(["0", "5", "12", "(n % 20)"]),
    "part": st.sampled_from(["0", "1", "2", "-1"]),
    "float_spec": st.sampled_from(
        ["'.2f'", "'e'", "'g'", "'.3'", "'>12.1%'", "'+012,.2f'", "'_.4F'", "'z.0f'", "'#.3g'", "''"]
    ),
    "int_spec": st.sampled_from(["'d'", "'05'", "'x'", "'#010b'", "','", "'é^9'", "'.2e'", "'+_o'", "''"]),
    "text_spec": st.sampled_from(["'8'", "'>8'", "'^9.3'", "'é<6s'", "'.2'", "''"]),
}


@st.composite
def expressions(draw: st.DrawFn, kind: str, depth: int) -> str:
    """Draw an expression of a kind."""
    if not depth or draw(st.integers(0, 5)) == 0:
        if kind == "t" and draw(st.booleans()):
            return repr(draw(texts))
        return draw(st.sampled_from(LEAVES[kind]))
    rule = draw(st.sampled_from(RULES[kind]))
    made_of = _Filler(lambda name: draw(FILLS[name] if name in FILLS else expressions(name, depth - 1)))
    return f"({rule.format_map(made_of)})"


class _Filler(dict[str, Any]):
    def __init__(self, draw: Callable[[str], str]) -> None:
        super().__init__()
        self._draw = draw

    def __getitem__(self, name: str) -> str:
        return self._draw(name)


@st.composite
def programs(draw: st.DrawFn, depth: int = 3) -> Udf:
    """Draw a function of two texts, an int, a float and a bool."""
    kind = draw(st.sampled_from(["t", "t", "i", "x", "c"]))
    body = draw(expressions(kind, depth))
    return made(f"(a: str, b: str, n: int, x: float, p: bool) -> {RESULTS[kind]}", f"return {body}")
