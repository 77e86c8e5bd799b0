"""What cannot be compiled, and what to write instead."""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import types
from typing import Any

NUMBERS_ONLY = "a compiled function works on numbers, bools, text, dates and times; use .map_batches for objects"
_BATCHES = "use .map_batches for this function"

_NODES: dict[type[ast.AST], tuple[str, str]] = {
    ast.ListComp: ("a list comprehension", "loop over range(...) and keep what you need in variables"),
    ast.SetComp: ("a set comprehension", "compare with `in (1, 2, 3)`"),
    ast.DictComp: ("a dict comprehension", "use if ... elif, or join with a table of values"),
    ast.GeneratorExp: ("a generator", "loop over range(...) and keep what you need in variables"),
    ast.Lambda: ("a lambda", "write the expression in place, or as a function with @flare.udf"),
    ast.Dict: ("a dict", "use if ... elif or match, or join with a table of values"),
    ast.List: ("a list", "use several variables, or return a tuple"),
    ast.Set: ("a set", "compare with `in (1, 2, 3)`"),
    ast.Tuple: ("a tuple here", "a tuple can be unpacked, indexed by a constant, returned, or stand after `in`"),
    ast.Starred: ("`*`", "write the values one by one"),
    ast.Await: ("`await`", _BATCHES),
    ast.Yield: ("`yield`", "a compiled function returns one value for each row; use .explode for several rows"),
    ast.YieldFrom: ("`yield from`", "a compiled function returns one value for each row"),
    ast.Slice: ("a slice", "text and tuples can be indexed"),
    ast.Subscript: ("indexing", "text and tuples can be indexed"),
    ast.FunctionDef: ("a function inside", "define it outside, with @flare.udf of its own, and call it"),
    ast.AsyncFunctionDef: ("an async function", _BATCHES),
    ast.ClassDef: ("a class inside", "define a NamedTuple or dataclass outside, and return one"),
    ast.Import: ("`import`", "import outside of the function"),
    ast.ImportFrom: ("`import`", "import outside of the function"),
    ast.Global: ("`global`", "a compiled function changes nothing outside; return the value"),
    ast.Nonlocal: ("`nonlocal`", "a compiled function changes nothing outside; return the value"),
    ast.Delete: ("`del`", "give the variable another value"),
    ast.With: ("`with`", _BATCHES),
    ast.AsyncWith: ("`async with`", _BATCHES),
    ast.AsyncFor: ("`async for`", _BATCHES),
    ast.Try: ("`try`", "test for the error first, or use udf(on_error='null')"),
    ast.TryStar: ("`try`", "test for the error first, or use udf(on_error='null')"),
    ast.Break: ("`break` outside of a loop", "return instead"),
    ast.Continue: ("`continue` outside of a loop", "return instead"),
    ast.Expr: ("an expression whose value is not used", "assign it, or leave it out"),
}
_BUILTINS: dict[Any, str] = {
    print: "it would print once for each row; return the value and look at the column",
    sorted: "use min and max for the ends, or .map_batches",
    map: "loop over range(...)",
    filter: "loop over range(...) with an `if`",
    zip: "loop over range(...)",
    enumerate: "it stands in `for i, c in enumerate(text)` only",
    range: "range stands in `for i in range(...)` only",
    isinstance: "the types are known from the annotations; leave the test out",
    type: "the types are known from the annotations; leave the test out",
    list: "use several variables, or return a tuple",
    dict: "use if ... elif or match, or join with a table of values",
    set: "compare with `in (1, 2, 3)`",
    tuple: "write the tuple out: (a, b)",
    open: "a compiled function has no files; read the data as a stream and join it",
    input: "a compiled function asks nobody; add a parameter",
    eval: "write the expression out",
    exec: "write the statements out",
    complex: "compute with the two parts as floats",
    pow: "write a ** b",
    hash: "use pl.col(...).hash()",
    getattr: "write value.name",
    iter: "loop over range(...)",
    next: "loop over range(...)",
    reversed: "loop over range(stop - 1, start - 1, -1)",
}


def described(node: ast.AST) -> str:
    """Return what a piece of source is called in an error."""
    match node:
        case ast.Constant(value=value):
            return "`...`" if value is Ellipsis else f"{type(value).__name__} {value!r}"
        case ast.Attribute(attr=name):
            return f"the attribute `{name}`"
    known = _NODES.get(type(node))
    return known[0] if known else f"a {type(node).__name__.lower()}"


def refusal(node: ast.AST | type[ast.AST]) -> str:
    """Return why a piece of source, or any of its kind, cannot be compiled and what to write instead."""
    known = _NODES.get(node if isinstance(node, type) else type(node))
    what = described(node) if not isinstance(node, type) else known[0] if known else "this"
    return f"{what} cannot be compiled; {known[1] if known else NUMBERS_ONLY}"


def instead_of_calling(target: Any, name: str) -> str:
    """Return what to write instead of a call that cannot be compiled."""
    hint = _builtin_hint(target, name)
    if hint is not None:
        return hint
    if isinstance(getattr(target, "__self__", None), type) and issubclass(target.__self__, dt.date):
        return _CLOCK.get(name.rpartition(".")[2], "use datetime(...), date(...), and arithmetic with timedelta(...)")
    module = _module_of(target)
    if module == "math":
        return "it is not among the functions of `math` that are compiled; use .map_batches for this function"
    if module in _MODULES:
        return _MODULES[module]
    if callable(target) and hasattr(target, "__code__"):
        return f"decorate `{name}` with @flare.udf too"
    return "use arithmetic, comparisons, abs, min, max, round, int, float, bool and the functions of math"


def _builtin_hint(target: Any, name: str) -> str | None:
    """Return what is said of a builtin, also where a notebook has put an `open` or `input` of its own in its place."""
    if _module_of(target) in _NOTEBOOKS:
        return next((hint for builtin, hint in _BUILTINS.items() if builtin.__name__ == name), None)
    original = getattr(target, "__wrapped__", target)
    return _BUILTINS.get(original) if _hashable(original) else None


_NOTEBOOKS = ("IPython", "ipykernel")
_NO_CLOCK = "a compiled function has no clock; add a column with the time"
_CLOCK = {
    "now": _NO_CLOCK,
    "utcnow": _NO_CLOCK,
    "today": _NO_CLOCK,
    "fromtimestamp": "it depends on the zone of the machine; write datetime(1970, 1, 1) + timedelta(seconds=n)",
    "utcfromtimestamp": "write datetime(1970, 1, 1) + timedelta(seconds=n)",
    "strptime": "use Polars before: pl.col(...).str.to_datetime(...)",
    "fromisoformat": "use Polars before: pl.col(...).str.to_datetime()",
}
_MODULES = {
    "numpy": "use the function of the same name in `math`, or a Polars expression",
    "random": "add a column of random numbers before, so that a repeated run gives the same",
    "posix": "a compiled function has no access to the machine; add a parameter",
    "os": "a compiled function has no access to the machine; add a parameter",
    "time": _NO_CLOCK,
    "re": "use Polars: pl.col(...).str.extract(...)",
    "json": "use Polars: pl.col(...).str.json_decode(...)",
}


def _module_of(target: Any) -> str:
    """Return the name of the module that a function is found in."""
    owner = getattr(target, "__self__", None)
    if isinstance(owner, types.ModuleType):
        return owner.__name__
    found = getattr(target, "__module__", None) or getattr(type(owner), "__module__", "")
    return str(found).split(".")[0]


def _hashable(target: Any) -> bool:
    return isinstance(target, type) or target in vars(builtins).values() if callable(target) else False
