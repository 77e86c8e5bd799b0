"""Random typed Python functions, as source, for comparing what they compute here and in CPython."""

from __future__ import annotations

import datetime as dt
import linecache
import math
import re
from collections.abc import Callable
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st

from dataflare_nb.errors import UdfError
from dataflare_nb.wasm import Udf, udf

Draw = Callable[[Any], Any]

CONSTANTS = {
    "float": ["0.0", "1.0", "-1.0", "0.5", "2.5", "1e300", "1e-310", "3.0", "100.0", "LIMIT", "math.inf", "RATE"],
    "int": ["0", "1", "2", "3", "-1", "7", "63", "10", "100", "COUNT"],
    "bool": ["True", "False"],
    "date": ["date(2000, 2, 29)", "date(1970, 1, 1)", "START", "date.max"],
    "timedelta": [
        "timedelta(1)",
        "timedelta(hours=-5)",
        "timedelta(0)",
        "timedelta(microseconds=1)",
        "timedelta(3000)",
    ],
    "datetime": ["datetime(2000, 1, 1)", "datetime(1969, 12, 31, 23, 59, 59, 999999)", "datetime.min"],
}
SCOPE = {
    "math": math,
    "LIMIT": 1e6,
    "RATE": 0.07,
    "COUNT": 12,
    "START": dt.date(2013, 1, 5),
    "date": dt.date,
    "datetime": dt.datetime,
    "timedelta": dt.timedelta,
}
PARAMS = ["float", "float", "float", "int", "int", "bool", "float|None", "int|None", "date", "timedelta", "datetime"]
RESULTS = ["float", "float", "int", "int", "bool", "float|None", "date", "timedelta", "datetime"]

# What an expression of a type can be; `<float>` and so on stand for other expressions.
TEMPLATES = {
    "float": """
        (<float> + <float>); (<float> - <float>); (<float> * <float>); (<float> / <float>); (<float> // <float>);
        (<float> % <float>); (<float> + <int>); (<int> - <float>); (<float> * <int>); (<int> / <float>);
        (<int> // <float>); (<float> % <int>); (<int> / <int>); -<float>; abs(<float>); min(<float>, <float>);
        max(<float>, <float>, 0.0); float(<int>); round(<float>, 0); round(<float>, 2); round(<float>, -1);
        math.sqrt(abs(<float>)); math.sqrt(<float>); (<float> or <float>); (<float> and <float>);
        divmod(<float>, <float>)[1]; math.copysign(<float>, <float>); math.fmod(<float>, <float>);
        <timedelta>.total_seconds(); (<timedelta> / <timedelta>); (<float> if <bool> else <float>)
    """,
    "int": """
        (<int> + <int>); (<int> - <int>); (<int> * <int>); (<int> // <int>); (<int> % <int>); (<int> & <int>);
        (<int> | <int>); (<int> ^ <int>); (<int> >> <int>); (<int> << <int>); -<int>; ~<int>; abs(<int>);
        min(<int>, <int>); max(<int>, <int>, 5); int(<float>); round(<float>); int(<bool>); (<bool> + <int>);
        (<int> or <int>); (<int> and <int>); divmod(<int>, <int>)[0]; (<int> ** (<int> % 5)); (<int> ** 3);
        (2 ** (<int> & 7)); sum((<int>, <int>, 1)); round(<int>, -1); math.floor(<float>); math.ceil(<float>);
        (<new> := <int>); <date>.year; <date>.month; <date>.day; <date>.weekday(); <date>.toordinal();
        <date>.isocalendar()[1]; <datetime>.hour; <datetime>.microsecond; <timedelta>.days; <timedelta>.seconds;
        (<timedelta> // <timedelta>); (<int> if <bool> else <int>)
    """,
    "bool": """
        <float> < <float>; <float> <= <float>; <float> == <float>; <float> != <float>; <int> > <int>; <int> >= <int>;
        <int> == <int>; <int> < <float>; <float> >= <int>; <int> == <float>; <int> < <int> <= <int>;
        <float> > <float> != <int>; (<bool> and <bool>); (<bool> or <bool>); (not <bool>); <int> in (1, 2, 7);
        <int> not in (0, 3.0); <float> in [1.0, 0]; bool(<int>); bool(<float>); any((<bool>, <bool>));
        all([<bool>, <bool>]); math.isnan(<float>); math.isinf(<float>); (<bool> & <bool>); (<bool> ^ <bool>);
        <date> < <date>; <datetime> >= <datetime>; <timedelta> == <timedelta>; bool(<timedelta>);
        <float|None> == <float>; <int|None> != <int|None>;
        (<bool> if <bool> else <bool>)
    """,
    "date": """
        (<date> + <timedelta>); (<date> - <timedelta>); <datetime>.date(); <date>.replace(day=1 + <int> % 28);
        min(<date>, START); date(1 + <int> % 9999, 1 + <int> % 12, 28); date(2000, <int> % 14, <int> % 33);
        (<date> if <bool> else <date>)
    """,
    "datetime": """
        (<datetime> + <timedelta>); (<datetime> - <timedelta>); (<timedelta> + <datetime>); max(<datetime>, <datetime>);
        <datetime>.replace(hour=<int> % 24, second=0); datetime.combine(<date>, <datetime>.time());
        (<datetime> if <bool> else <datetime>)
    """,
    "timedelta": """
        (<timedelta> + <timedelta>); (<timedelta> - <timedelta>); (<date> - START); (<datetime> - <datetime>);
        -<timedelta>; abs(<timedelta>); (<timedelta> * <int>); (<int> * <timedelta>); (<timedelta> // <int>);
        (<timedelta> / <int>); (<timedelta> % <timedelta>); timedelta(days=<int> % 1000, minutes=<int> % 99);
        timedelta(microseconds=<int>); (<timedelta> if <bool> else <timedelta>)
    """,
    "float|None": """
        (<float> if <bool> else None); (<float|None> or <float|None>); (<float|None> and <float>); None; <float>
    """,
    "int|None": "(<int> if <bool> else None); (None if <bool> else <int>); (<int|None> or <int|None>); None; <int>",
}
# What is computed two rows at a time.
STRAIGHT = {
    "float": """
        (<float> + <float>); (<float> - <float>); (<float> * <float>); (<float> / <float>); -<float>; abs(<float>);
        min(<float>, <float>); max(<float>, <float>, 0.0); math.sqrt(<float>); math.sqrt(abs(<float>)); float(<float>);
        (<float> if <bool> else <float>); (<float> * 2); (1 - <float>)
    """,
    "bool": """
        <float> < <float>; <float> <= <float>; <float> == <float>; <float> != <float>; <float> < <float> <= <float>;
        (<bool> and <bool>); (<bool> or <bool>); (not <bool>); math.isnan(<float>)
    """,
}
PARSED, PARSED_STRAIGHT = (
    {kind: [" ".join(one.split()) for one in text.split(";")] for kind, text in templates.items()}
    for templates in (TEMPLATES, STRAIGHT)
)


class Program:
    """Write one function. `pick` decides; what is in scope is remembered per block."""

    def __init__(
        self, pick: Callable[[list[Any]], Any], helpers: dict[str, tuple[list[str], str]], *, straight: bool = False
    ) -> None:
        self._pick, self._helpers, self._straight = pick, helpers, straight
        self._params = ["float"] if straight else PARAMS
        self._kinds = ["float", "float", "bool"] if straight else RESULTS
        self._parsed = PARSED_STRAIGHT if straight else PARSED
        self._names: dict[str, str] = {}
        self._count = 0
        self._loops = 0
        self._lines: list[str] = []

    def function(self, name: str) -> tuple[str, list[str], str]:
        """Return the source of a function, the types of its parameters and of its result."""
        params = [self._pick(self._params) for _ in range(self._pick([1, 2, 2, 3, 3, 4]))]
        heads = []
        for i, kind in enumerate(params):
            self._names[f"p{i}"] = kind
            heads.append(f"p{i}: {kind.replace('|', ' | ')}")
        many = self._pick([1, 1, 1, 2, 3])
        self._results = [self._pick(self._kinds) for _ in range(many)]
        returns = self._results[0] if many == 1 else f"tuple[{', '.join(self._results)}]"
        self._block(1, self._pick([1, 2, 3, 4]), 0)
        self._line(1, self._result(3))
        return "\n".join([f"def {name}({', '.join(heads)}) -> {returns}:", *self._lines, ""]), params, returns

    # ---- statements ----

    def _line(self, indent: int, text: str) -> None:
        self._lines.append("    " * indent + text)

    def _block(self, indent: int, size: int, nesting: int) -> None:
        outer = dict(self._names)
        before = len(self._lines)
        for _ in range(size):
            self._statement(indent, nesting)
        if len(self._lines) == before:
            self._line(indent, "pass")
        if nesting:
            self._names = {name: kind for name, kind in self._names.items() if name in outer}

    def _statement(self, indent: int, nesting: int) -> None:
        kinds = ["assign", "assign", "assign", "augment", "augment", "if", "swap"]
        if nesting < 2:
            kinds += ["if", "if", "for", "while", "match", "narrow"]
        if self._straight:
            kinds = ["assign", "assign", "if"] if nesting < 2 else ["assign"]
        if nesting:
            kinds += ["return"] if self._straight else ["return", "raise"]
        if self._loops:
            kinds += ["leave", "leave"]
        getattr(self, f"_{self._pick(kinds)}")(indent, nesting)

    def _assign(self, indent: int, nesting: int) -> None:
        known = [name for name, kind in self._names.items() if not name.startswith("k")]
        if known and self._pick([True, False]):
            name = self._pick(known)
            kind = self._names[name]
        else:
            kind = "float" if self._straight else self._pick(RESULTS)
            name = f"v{self._count}"
            self._count += 1
        value = self._expression(kind, 3)
        self._names[name] = kind
        self._line(indent, f"{name} = {value}")

    def _augment(self, indent: int, nesting: int) -> None:
        names = [name for name, kind in self._names.items() if kind in ("float", "int") and not name.startswith("k")]
        if not names:
            return self._assign(indent, nesting)
        name = self._pick(names)
        kind = self._names[name]
        ops = ["+", "-", "*", "//", "%"] + (["/"] if kind == "float" else ["&", "|", "^", ">>", "<<"])
        self._line(indent, f"{name} {self._pick(ops)}= {self._expression(kind, 2)}")
        return None

    def _swap(self, indent: int, nesting: int) -> None:
        for kind in ("float", "int", "timedelta"):
            names = [name for name, found in self._names.items() if found == kind and not name.startswith("k")]
            if len(names) > 1:
                a, b = names[0], names[-1]
                return self._line(indent, f"{a}, {b} = {b}, {self._expression(kind, 1)}")
        return self._assign(indent, nesting)

    def _if(self, indent: int, nesting: int) -> None:
        self._line(indent, f"if {self._expression('bool', 2)}:")
        self._block(indent + 1, self._pick([1, 2]), nesting + 1)
        if self._pick([True, False]):
            self._line(indent, f"elif {self._expression('bool', 2)}:")
            self._block(indent + 1, 1, nesting + 1)
        if self._pick([True, False]):
            self._line(indent, "else:")
            self._block(indent + 1, self._pick([1, 2]), nesting + 1)

    def _narrow(self, indent: int, nesting: int) -> None:
        names = [name for name, kind in self._names.items() if kind.endswith("None")]
        if not names:
            return self._if(indent, nesting)
        name = self._pick(names)
        kind = self._names[name]
        self._line(indent, f"if {name} is not None:")
        self._names[name] = kind.partition("|")[0]
        self._line(indent + 1, f"{name} = {self._expression(self._names[name], 2)}")
        self._block(indent + 1, 1, nesting + 1)
        self._names[name] = kind
        return None

    def _for(self, indent: int, nesting: int) -> None:
        name = f"v{self._count}"
        self._count += 1
        a, b = self._expression("int", 1), self._expression("int", 1)
        span = self._pick([f"({a}) % 5", f"-3, ({a}) % 4", f"({a}) % 7, -2, -2", f"({a}) % 3, 6, ({b}) % 4", "4"])
        self._line(indent, f"for {name} in range({span}):")
        self._loops += 1
        outer = dict(self._names)
        self._names[name] = "int"
        self._block(indent + 1, self._pick([1, 2]), nesting + 1)
        self._names = outer
        self._loops -= 1
        self._else(indent, nesting)

    def _while(self, indent: int, nesting: int) -> None:
        name = f"k{self._count}"
        self._count += 1
        self._line(indent, f"{name} = 0")
        self._line(indent, f"while {name} < 4 and {self._expression('bool', 1)}:")
        self._line(indent + 1, f"{name} += 1")
        self._loops += 1
        self._block(indent + 1, self._pick([1, 2]), nesting + 1)
        self._loops -= 1
        self._else(indent, nesting)

    def _else(self, indent: int, nesting: int) -> None:
        if self._pick([True, False, False]):
            loops, self._loops = self._loops, 0
            self._line(indent, "else:")
            self._block(indent + 1, 1, nesting + 1)
            self._loops = loops

    def _match(self, indent: int, nesting: int) -> None:
        subject, *patterns = self._pick(
            [
                (self._expression("int", 2), "1 | 2", "0", "-3"),
                (self._expression("float", 2), "0.0", "1", "2.5 | 100"),
                (self._expression("int|None", 2), "None", "7", "1"),
            ]
        )
        self._line(indent, f"match {subject}:")
        for pattern in patterns[: self._pick([1, 2, 3])]:
            guard = f" if {self._expression('bool', 1)}" if self._pick([True, False, False]) else ""
            self._line(indent + 1, f"case {pattern}{guard}:")
            self._block(indent + 2, 1, nesting + 1)
        if self._pick([True, False]):
            self._line(indent + 1, "case _:")
            self._block(indent + 2, 1, nesting + 1)

    def _return(self, indent: int, nesting: int) -> None:
        self._line(indent, self._result(1))

    def _result(self, depth: int) -> str:
        return f"return {', '.join(self._expression(kind, depth) for kind in self._results)}"

    def _raise(self, indent: int, nesting: int) -> None:
        condition = self._expression("bool", 1)
        if self._pick([True, False]):
            self._line(indent, f"assert {condition}, 'not so'")
        else:
            self._line(indent, f"if {condition}:")
            self._line(indent + 1, "raise ValueError('no')")

    def _leave(self, indent: int, nesting: int) -> None:
        self._line(indent, f"if {self._expression('bool', 1)}:")
        self._line(indent + 1, self._pick(["break", "continue", self._result(1)]))

    # ---- expressions ----

    def _expression(self, kind: str, depth: int) -> str:
        names = [name for name, found in self._names.items() if found == kind]
        if depth <= 0 or self._pick([True, False, False, False]):
            return (
                self._pick(names)
                if names and self._pick([True, True, False])
                else self._pick(CONSTANTS.get(kind, ["None"]))
            )
        parts = list(self._parsed[kind])
        for name, found in self._names.items():
            if kind == "bool" and found.endswith("None"):
                parts += [f"{name} is None", f"{name} is not None", f"({name} is not None and <bool>)"]
            if found == f"{kind}|None":
                parts += [f"({name} if {name} is not None else <{kind}>)", f"({name} or <{kind}>)"]
        for name, (params, returns) in self._helpers.items():
            if returns == kind:
                parts += [f"{name}({', '.join(f'<{param}>' for param in params)})"] * 4
        text = re.sub(r"<([a-zN|]+)>", lambda found: self._filled(found[1], depth - 1), self._pick(parts))
        return f"({text})" if kind == "bool" else text

    def _filled(self, kind: str, depth: int) -> str:
        if kind != "new":
            return self._expression(kind, depth)
        self._count += 1
        return f"w{self._count}"


NEVER = (
    "can never be computed",
    "a negative power of an int",
    "is None on every way here",
    "is None here",
    "does not fit into 64 bits; write it",
)
"""What is refused since it is the same for every row, which is no news in a random function."""


@st.composite
def programs(draw: Draw, *, straight: bool = False) -> Udf:
    """Return a compiled random function, which may call another, or one that is straight float code."""
    try:
        return written(lambda options: draw(st.sampled_from(options)), straight=straight)
    except UdfError as error:
        if any(never in str(error) for never in NEVER):
            reject()
        raise


def written(pick: Callable[[list[Any]], Any], *, straight: bool = False) -> Udf:
    """Return a compiled function; `pick` makes each decision."""
    if straight:
        source, _, _ = Program(pick, {}, straight=True).function("f")
        return compiled(source, "f", SCOPE)
    helpers: dict[str, tuple[list[str], str]] = {}
    scope = dict(SCOPE)
    if pick([True, False, False]):
        source, params, returns = Program(pick, {}).function("g")
        if not returns.startswith("tuple") and not returns.endswith("None"):
            scope["g"] = compiled(source, "g", scope)
            helpers["g"] = params, returns
    source, _, _ = Program(pick, helpers).function("f")
    return compiled(source, "f", scope)


_sources = 0


def compiled(source: str, name: str, scope: dict[str, Any]) -> Udf:
    """Compile source that stands in no file."""
    global _sources
    _sources += 1
    filename = f"program_{_sources % 100}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope = dict(scope)
    exec(compile(source, filename, "exec"), scope)
    return udf(scope[name])
