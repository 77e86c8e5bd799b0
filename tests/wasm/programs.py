"""Random typed Python functions, as source, for comparing what they compute here and in CPython."""

from __future__ import annotations

import datetime as dt
import linecache
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from dataflare_nb.wasm import Udf, udf

Draw = Callable[[Any], Any]

FLOATS = ["0.0", "1.0", "-1.0", "0.5", "2.5", "1e300", "1e-310", "3.0", "100.0", "LIMIT", "math.inf", "RATE"]
INTS = ["0", "1", "2", "3", "-1", "7", "63", "10", "100", "COUNT"]
DATES = ["date(2000, 2, 29)", "date(1970, 1, 1)", "START", "date.max"]
SPANS = ["timedelta(1)", "timedelta(hours=-5)", "timedelta(0)", "timedelta(microseconds=1)", "timedelta(weeks=3000)"]
TIMES = ["datetime(2000, 1, 1)", "datetime(1969, 12, 31, 23, 59, 59, 999999)", "datetime.min"]
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
CONSTANTS = {
    "float": FLOATS,
    "int": INTS,
    "bool": ["True", "False"],
    "date": DATES,
    "timedelta": SPANS,
    "datetime": TIMES,
}
PARAMS = [
    "float",
    "float",
    "float",
    "int",
    "int",
    "bool",
    "float | None",
    "int | None",
    "date",
    "timedelta",
    "datetime",
]
RESULTS = ["float", "float", "int", "int", "bool", "float | None", "date", "timedelta", "datetime"]
COMPARED = ["float", "int", "date", "timedelta", "datetime"]


class Program:
    """Write one function. `draw` decides; what is in scope is remembered per block."""

    def __init__(self, draw: Draw, helpers: dict[str, tuple[list[str], str]]) -> None:
        self._draw, self._helpers = draw, helpers
        self._names: dict[str, str] = {}
        self._count = 0
        self._loops = 0
        self._lines: list[str] = []

    def function(self, name: str) -> tuple[str, list[str], str]:
        """Return the source of a function, the types of its parameters and of its result."""
        params = [self._pick(PARAMS) for _ in range(self._pick([1, 2, 2, 3, 3, 4]))]
        heads = []
        for i, kind in enumerate(params):
            self._names[f"p{i}"] = kind
            heads.append(f"p{i}: {kind}")
        many = self._pick([1, 1, 1, 2, 3])
        self._results = [self._pick(RESULTS) for _ in range(many)]
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
        if nesting:
            kinds += ["return", "raise"]
        if self._loops:
            kinds += ["leave", "leave"]
        getattr(self, f"_{self._pick(kinds)}")(indent, nesting)

    def _assign(self, indent: int, nesting: int) -> None:
        known = [name for name, kind in self._names.items() if not name.startswith("k")]
        if known and self._pick([True, False]):
            name = self._pick(known)
            kind = self._names[name]
        else:
            kind = self._pick(RESULTS)
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
        self._names[name] = kind.partition(" ")[0]
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
                (self._expression("int | None", 2), "None", "7", "1"),
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

    def _pick(self, options: list[Any]) -> Any:
        return options[self._draw(st.integers(0, len(options) - 1))]

    def _expression(self, kind: str, depth: int) -> str:
        if kind.endswith("None"):
            return self._optional(kind, depth)
        names = [name for name, found in self._names.items() if found == kind]
        if depth <= 0 or self._pick([True, False, False, False]):
            return self._pick(names) if names and self._pick([True, True, False]) else self._pick(CONSTANTS[kind])
        general = [self._ternary, self._ternary]
        if any(found == f"{kind} | None" for found in self._names.values()):
            general += [self._present, self._present]
        if any(returns == kind for _, returns in self._helpers.values()):
            general += [self._called, self._called]
        if self._pick([True, False, False, False, False]):
            return self._pick(general)(kind, depth - 1)
        return getattr(self, f"_{kind}")(depth - 1)  # type: ignore[no-any-return]

    def _ternary(self, kind: str, depth: int) -> str:
        test = self._expression("bool", depth)
        return f"({self._expression(kind, depth)} if {test} else {self._expression(kind, depth)})"

    def _present(self, kind: str, depth: int) -> str:
        name = self._pick([name for name, found in self._names.items() if found == f"{kind} | None"])
        other = self._expression(kind, depth)
        return self._pick([f"({name} if {name} is not None else {other})", f"({name} or {other})"])  # type: ignore[no-any-return]

    def _called(self, kind: str, depth: int) -> str:
        name = self._pick([name for name, (_, returns) in self._helpers.items() if returns == kind])
        return f"{name}({', '.join(self._expression(param, depth) for param in self._helpers[name][0])})"

    def _optional(self, kind: str, depth: int) -> str:
        plain = kind.partition(" ")[0]
        names = [name for name, found in self._names.items() if found == kind]
        if names and self._pick([True, False]):
            return self._pick(names)  # type: ignore[no-any-return]
        value = self._expression(plain, depth - 1)
        if depth <= 0 or self._pick([True, False]):
            return self._pick([value, "None"])  # type: ignore[no-any-return]
        other = self._optional(kind, depth - 1)
        test = self._expression("bool", depth - 1)
        return self._pick(  # type: ignore[no-any-return]
            [
                f"({value} if {test} else None)",
                f"(None if {test} else {value})",
                f"({other} or {other})",
                f"({other} and {value})",
            ]
        )

    def _float(self, depth: int) -> str:
        a, b = self._expression("float", depth), self._expression("float", depth)
        n = self._expression("int", depth)
        digits = self._pick([0, 1, 2, -1])
        return self._pick(  # type: ignore[no-any-return]
            [f"({a} {self._pick(['+', '-', '*', '/', '//', '%'])} {b})"] * 6
            + [f"({a} {self._pick(['+', '-', '*', '/'])} {n})", f"({n} {self._pick(['-', '*', '/', '//'])} {a})"]
            + [f"-{a}", f"abs({a})", f"min({a}, {b})", f"max({a}, {b}, 0.0)", f"float({n})", f"({n} / {n})"]
            + [
                f"round({a}, {digits})",
                f"math.sqrt(abs({a}))",
                f"({a} or {b})",
                f"({a} and {b})",
                f"divmod({a}, {b})[1]",
            ]
            + [f"math.copysign({a}, {b})", f"{self._expression('timedelta', depth)}.total_seconds()"]
        )

    def _int(self, depth: int) -> str:
        a, b = self._expression("int", depth), self._expression("int", depth)
        x = self._expression("float", depth)
        walrus = f"(w{self._count} := {a})"
        part = self._pick(["year", "month", "day", "weekday()", "toordinal()"])
        self._count += 1
        return self._pick(  # type: ignore[no-any-return]
            [f"({a} {self._pick(['+', '-', '*', '//', '%', '&', '|', '^', '>>', '<<'])} {b})"] * 7
            + [f"-{a}", f"~{a}", f"abs({a})", f"min({a}, {b})", f"max({a}, {b}, 5)", f"int({x})", f"round({x})"]
            + [f"int({self._expression('bool', depth)})", f"({a} or {b})", f"({a} and {b})", f"divmod({a}, {b})[0]"]
            + [
                f"({a} ** ({b} % 5))",
                f"({a} ** 3)",
                f"sum(({a}, {b}, 1))",
                f"round({a}, -1)",
                f"math.floor({x})",
                walrus,
            ]
            + [f"{self._expression('date', depth)}.{part}", f"{self._expression('timedelta', depth)}.seconds"]
        )

    def _bool(self, depth: int) -> str:
        kind = self._pick([*COMPARED, "float", "int"])
        a, b = self._expression(kind, depth), self._expression(kind, depth)
        op, other = self._pick(["<", "<=", ">", ">=", "==", "!="]), self._pick(["<", "==", ">="])
        p, q = self._expression("bool", depth), self._expression("bool", depth)
        n, x = self._expression("int", depth), self._expression("float", depth)
        parts = [f"{a} {op} {b}"] * 4 + [f"({a} {op} {b} {other} {a})", f"({p} and {q})", f"({p} or {q})", f"(not {p})"]
        parts += [f"({n} in (1, 2, 7))", f"({n} not in (0, 3.0))", f"({n} {op} {x})", f"({x} {op} {n})", f"bool({n})"]
        parts += [f"any(({p}, {q}))", f"all([{p}, {q}])", f"math.isnan({x})", f"({p} & {q})", f"({p} ^ {q})"]
        names = [name for name, found in self._names.items() if found.endswith("None")]
        if names:
            name = self._pick(names)
            parts += [
                f"({name} is None)",
                f"({name} is not None and {q})",
                f"({name} == {self._names[name].partition(' ')[0]}(1))",
            ]
        return f"({self._pick(parts)})"

    def _date(self, depth: int) -> str:
        a, n = self._expression("date", depth), self._expression("int", depth)
        t = self._expression("datetime", depth)
        span = self._expression("timedelta", depth)
        return self._pick(  # type: ignore[no-any-return]
            [f"({a} + {span})", f"({a} - {span})", f"{t}.date()", f"{a}.replace(day=1 + {n} % 28)", f"min({a}, START)"]
            + [f"date(1 + {n} % 9999, 1 + {n} % 12, 28)"]
        )

    def _datetime(self, depth: int) -> str:
        a, n = self._expression("datetime", depth), self._expression("int", depth)
        span = self._expression("timedelta", depth)
        return self._pick(  # type: ignore[no-any-return]
            [f"({a} + {span})", f"({a} - {span})", f"{a}.replace(hour={n} % 24, second=0)", f"max({a}, {a})"]
            + [f"datetime.combine({self._expression('date', depth)}, {a}.time())", f"({span} + {a})"]
        )

    def _timedelta(self, depth: int) -> str:
        a, b, n = (
            self._expression("timedelta", depth),
            self._expression("timedelta", depth),
            self._expression("int", depth),
        )
        d, t = self._expression("date", depth), self._expression("datetime", depth)
        return self._pick(  # type: ignore[no-any-return]
            [f"({a} + {b})", f"({a} - {b})", f"({d} - START)", f"({t} - datetime(2001, 2, 3, 4))", f"-{a}", f"abs({a})"]
            + [f"({a} * {n})", f"({n} * {a})", f"({a} // {n})", f"({a} / {n})", f"({a} % {b})"]
            + [f"timedelta(days={n} % 1000, minutes={n} % 99)", f"timedelta(microseconds={n})"]
        )


@st.composite
def programs(draw: Draw) -> Udf:
    """Return a compiled random function; `program_source(f)` is its text."""
    helpers: dict[str, tuple[list[str], str]] = {}
    scope = dict(SCOPE)
    if draw(st.integers(0, 3)) == 0:
        source, params, returns = Program(draw, {}).function("g")
        if not returns.startswith("tuple") and not returns.endswith("None"):
            scope["g"] = compiled(source, "g", scope)
            helpers["g"] = params, returns
    source, _, _ = Program(draw, helpers).function("f")
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
