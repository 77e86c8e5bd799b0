"""Polars expressions as values: stored, checked, and split into partial, merge and final aggregations."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import operator
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from .errors import GraphFormat
from .types import Schema

_PYTHON = b"PLPY"
"""How Polars begins the marks of pickled Python inside what it writes."""
_PICKLE = re.compile(rb"\x80[\x02-\x05].*\.", re.DOTALL)
_ARROW = b"\xff\xff\xff\xff"
_FOREIGN = {
    *("AnonymousFunction", "AnonymousAgg", "AnonymousStreamingAgg", "PipeWithDtype", "SubPlan", "FfiPlugin", "Object"),
    *("FoldHorizontal", "ReduceHorizontal", "CumFoldHorizontal", "CumReduceHorizontal"),
}
"""The parts of an expression that call Python, load a library, or hold a whole plan."""


class Expr(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Polars expression in a graph.

    `data` is Polars' own serialisation in base64. An expression with a Python function inside has none; it lives in
    the graph's blobs under `blob` and can only run in this process.
    """

    text: str
    data: str = ""
    blob: str = ""

    @classmethod
    def of(cls, expr: pl.Expr) -> tuple[Expr, dict[str, pl.Expr]]:
        """Return the value, and the blobs it needs."""
        text = str(expr)
        data = _serialized(expr)
        if data is None:
            key = f"expr-{hashlib.sha256(text.encode()).hexdigest()[:12]}-{_ordinal(text, expr)}"
            return cls(text, blob=key), {key: expr}
        return cls(text, data=base64.b64encode(data).decode()), {}

    @property
    def readable(self) -> str:
        """The expression as a person would write it."""
        return readable(self.text)

    def load(self, blobs: Mapping[str, Any]) -> pl.Expr:
        """Return the expression. Raises KeyError when it lives in another process."""
        if self.blob:
            found = blobs[self.blob]
            assert isinstance(found, pl.Expr)
            return found
        return _load(self.data)


@lru_cache(maxsize=4096)
def _load(data: str) -> pl.Expr:
    try:
        raw = base64.b64decode(data, validate=True)
        tree = _tree(raw)
        if _is_foreign(tree):
            raise GraphFormat("an expression holds a pickled Python function; reading it would run foreign code")
        # What was checked is what is read: names given twice, which we and Polars may read differently, are gone.
        return pl.Expr.deserialize(msgspec.msgpack.encode(tree))
    except (ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        raise GraphFormat(f"an expression cannot be read: {error}") from None


def _serialized(expr: pl.Expr) -> bytes | None:
    """Return Polars' own writing, or None when a Python function is inside: that stays in this process."""
    try:
        data = expr.meta.serialize()
        return None if _is_foreign(_tree(data)) else data
    except (ValueError, RecursionError, pl.exceptions.ComputeError):
        return None


def _tree(data: bytes) -> Any:
    """Take Polars' writing apart without Polars. Raises ValueError for what cannot be looked into."""
    if _PYTHON in data:
        return data
    return msgspec.msgpack.decode(data)


def _is_foreign(tree: Any) -> bool:
    """Tell whether reading an expression could run code; what we do not know counts as such."""
    match tree:
        case dict():
            renamed = tree.get("RenameAlias")
            # A name may be written as a number or as bytes too, which Polars itself never does.
            return (
                not all(isinstance(key, str) and key not in _FOREIGN for key in tree)
                or (renamed is not None and "'Map'" in repr(renamed))
                or any(map(_is_foreign, tree.values()))
            )
        case list() if tree and all(type(item) is int and 0 <= item < 256 for item in tree):
            return _is_foreign(bytes(tree))
        case list():
            return any(map(_is_foreign, tree))
        case str():
            return _PYTHON.decode() in tree
        case bytes():
            pickled = len(tree) > 16 and not tree.startswith(_ARROW) and _PICKLE.search(tree) is not None
            return pickled or _PYTHON in tree or b"POLARS_EXTENSION_TYPE" in tree
        case None | bool() | int() | float():
            return False
        case _:
            return True


_numbers = itertools.count(1)
_opaque: dict[str, list[tuple[weakref.ref[pl.Expr], int]]] = {}


def _ordinal(text: str, expr: pl.Expr) -> int:
    """Number the expressions that read the same and hold different functions."""
    alive = [(ref, number) for ref, number in _opaque.get(text, []) if ref() is not None]
    for ref, number in alive:
        known = ref()
        if known is not None and same(known, expr):
            return number
    number = next(_numbers) if alive or text in _opaque else 0
    _opaque[text] = [*alive, (weakref.ref(expr), number)]
    return number


_COLUMN = re.compile(r'col\("(.*?)"\)')
_STRING = re.compile(r'"(.*?)"(?=[)\]},.]|$)')
_HELD = re.compile("\x00([cs])(\\d+)\x00")
_PLAIN_NAME = re.compile(r"(?!(?:null|true|false|len|element)$)[^\W\d]\w*")
_ALIAS = re.compile("(.*)\\.alias\\((\x00s\\d+\x00)\\)", re.DOTALL)


@lru_cache(maxsize=4096)
def readable(text: str) -> str:
    """Return Polars' text of an expression as a person would write it; what is not understood stays as it is.

    >>> readable('[([(col("v")) >= (dyn int: 0)]) & (col("my w").is_not_null())].alias("ok")')
    'ok = (v >= 0) & col("my w").is_not_null()'
    """
    held: list[str] = []

    def hold(kind: str) -> Callable[[re.Match[str]], str]:
        def keep(found: re.Match[str]) -> str:
            held.append(found[1])
            return f"\x00{kind}{len(held) - 1}\x00"

        return keep

    if "\x00" in text:
        return text
    plain = _STRING.sub(hold("s"), _COLUMN.sub(hold("c"), text))
    try:
        plain = _infix(plain)
    except ValueError:
        return text
    plain = re.sub(r"\bdyn (?:int|float|str): ", "", plain).replace(".strict_cast(", ".cast(")
    plain = re.sub(r", require_all=(?:true|false)\)", ")", plain)
    plain = re.sub(r"(^|[(\[ ])\.when\(", r"\1when(", plain)

    def release(found: re.Match[str]) -> str:
        name = held[int(found[2])]
        if found[1] == "s":
            return f'"{name}"'
        return name if _PLAIN_NAME.fullmatch(name) else f'col("{name}")'

    if (aliased := _ALIAS.fullmatch(plain)) is None:
        return _HELD.sub(release, plain)
    name, body = held[int(aliased[2][2:-1])], _HELD.sub(release, _bare(aliased[1]))
    return body if body == name else f"{name} = {body}"


def _infix(text: str) -> str:
    """Write `[(a) + (b)]` as `a + b`, in parentheses where it stands before a method or inside another operation."""
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "[":
            out.append(text[at])
            at += 1
            continue
        end = _closing(text, at)
        pair = _operands(text[at + 1 : end])
        before, after = text[at - 1 : at], text[end + 1 : end + 2]
        if pair is not None:
            alone = before in ("", "(", "[", " ") and after in ("", ")", "]", ",")
            out.append(_joined(*pair) if alone else f"({_joined(*pair)})")
        elif before == "(" and after == ")" and text[at - 2 : at - 1].isalnum():
            out.append(_infix(text[at + 1 : end]))
        else:
            out.append(f"[{_infix(text[at + 1 : end])}]")
        at = end + 1
    return "".join(out)


def _joined(left: str, sign: str, right: str) -> str:
    sides = []
    for side, first in ((left, True), (right, False)):
        inner = _operands(side[1:-1]) if side.startswith("[") and _closing(side, 0) == len(side) - 1 else None
        chained = inner is not None and first and inner[1] == sign and sign in "+*&|"
        sides.append(f"({_infix(side)})" if inner is not None and not chained else _infix(side))
    return f"{sides[0]} {sign} {sides[1]}"


def _operands(text: str) -> tuple[str, str, str] | None:
    """Take `(a) + (b)` apart."""
    if not text.startswith("(") or not text.endswith(")"):
        return None
    end = _closing(text, 0)
    sign, found, rest = text[end + 1 :].strip().partition(" ")
    if not found or not rest.startswith("(") or _closing(rest, 0) != len(rest) - 1:
        return None
    return text[1:end], sign, rest[1:-1]


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at
    raise ValueError("brackets do not close")


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") and _closing(text, 0) == len(text) - 1 else text


def expand(expr: pl.Expr, schema: Schema, keys: Sequence[str] = ()) -> list[pl.Expr]:
    """Return an aggregation of several columns, such as `pl.col("a", "b").sum()`, as one expression for each.

    Wildcards leave the keys out, as in a `group_by`. What cannot be told apart comes back whole.
    """
    if not expr.meta.has_multiple_outputs():
        return [expr]
    frame = pl.LazyFrame(schema=schema)

    def gives(*made: pl.Expr) -> Schema:
        if not keys:
            return frame.select(*made).collect_schema()
        grouped = frame.group_by(*keys).agg(*made).collect_schema()
        return Schema({name: dtype for name, dtype in grouped.items() if name not in keys})

    try:
        wanted = gives(expr)
        tree = json.loads(expr.meta.serialize(format="json"))
        singles = [
            _from_json(_one(tree, at, lambda part: gives(part).names())).meta.undo_aliases().alias(name)
            for at, name in enumerate(wanted)
        ]
        # The form is Polars' own affair: what was made of it has to give the same columns.
        apart = not any(single.meta.has_multiple_outputs() for single in singles)
        return singles if singles and apart and gives(*singles) == wanted else [expr]
    except (pl.exceptions.PolarsError, ValueError, TypeError, LookupError):
        return [expr]


def _one(tree: Any, at: int, names_of: Callable[[pl.Expr], list[str]]) -> Any:
    """Replace each selection of columns in a written expression by the column it gives to output number `at`."""
    match tree:
        case {"Selector": _}:
            return {"Column": names_of(_from_json(tree))[at]}
        case {"Function": _} if len(names_of(_from_json(tree))) == 1:
            # One column made of several, such as pl.sum_horizontal(pl.all()).
            return tree
        case dict():
            return {key: _one(value, at, names_of) for key, value in tree.items()}
        case list():
            return [_one(value, at, names_of) for value in tree]
        case _:
            return tree


def _from_json(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")


def nodes(expr: pl.Expr) -> Iterator[pl.Expr]:
    """Yield an expression and everything it is made of, outermost first."""
    yield expr
    for child in expr.meta.pop():
        yield from nodes(child)


def row_fault(expr: pl.Expr) -> str | None:
    """Return the part that looks beyond its own row, such as `x.sum()`, or None.

    A Python function inside cannot be looked into and is trusted.
    """
    for node in nodes(expr.meta.undo_aliases()):
        try:
            if not node.meta.is_row_separable():
                return readable(str(node))
        except pl.exceptions.PolarsError:
            continue
    return None


def changes_height(expr: pl.Expr) -> bool:
    """Tell whether an expression over rows gives more or fewer of them, as `drop_nulls` and `explode` do."""
    try:
        return not (expr.meta.is_length_preserving() or expr.meta.is_scalar())
    except pl.exceptions.PolarsError:
        return False


def same(left: pl.Expr, right: pl.Expr) -> bool:
    """Tell whether two expressions are the same text."""
    return bool(left.meta == right.meta)


@dataclass(frozen=True, slots=True)
class Split:
    """An aggregation in three steps: over a batch, over the results of batches, and the value itself.

    `partial` maps column names to expressions over rows, `merge` the same names to expressions over those columns,
    and `final` is an expression over the merged columns. `ordered` says that the order of partial rows matters.
    """

    partial: dict[str, pl.Expr]
    merge: dict[str, pl.Expr]
    final: pl.Expr
    ordered: bool


_BINARY: tuple[Callable[[Any, Any], pl.Expr], ...] = (
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.eq,
    operator.ne,
    operator.and_,
    operator.or_,
    operator.xor,
    lambda a, b: a.fill_null(b),
    lambda a, b: pl.max_horizontal(a, b),
    lambda a, b: pl.min_horizontal(a, b),
)
_DTYPES = (pl.Float64, pl.Float32, pl.Int64, pl.Int32, pl.UInt32, pl.UInt64, pl.Int16, pl.UInt16, pl.Int8, pl.UInt8)
_UNARY: tuple[Callable[[pl.Expr], pl.Expr], ...] = (
    operator.neg,
    pl.Expr.not_,
    pl.Expr.abs,
    pl.Expr.sqrt,
    pl.Expr.log,
    pl.Expr.exp,
    pl.Expr.floor,
    pl.Expr.ceil,
    pl.Expr.is_null,
    pl.Expr.is_not_null,
    pl.Expr.is_nan,
    *(lambda e, d=d: e.round(d) for d in range(7)),
    *(lambda e, t=t: e.cast(t) for t in (*_DTYPES, pl.Boolean, pl.String)),
    *(lambda e, t=t: e.cast(t, strict=False) for t in _DTYPES),
)

_WIDER: dict[type[pl.DataType], type[pl.DataType]] = {pl.Int32: pl.Int64, pl.UInt32: pl.UInt64}


def decompose(expr: pl.Expr, schema: Schema, prefix: str) -> Split | None:
    """Split an aggregation into partial, merge and final steps, or return None when it has to see all rows at once.

    Leaves are sum, min, max, len, count, mean, var, std, first, last, any and all over expressions that look at one
    row at a time; above them stands arithmetic, comparison, rounding and casting. Partial columns are called
    `{prefix}0`, `{prefix}1` ... Everything goes through the public `Expr.meta`: a node is recognised by building the
    candidate again from its children and comparing. Means and variances are merged by the pairwise update of
    Chan, Golub and LeVeque (1979), which stays stable where sums of squares do not.
    """
    splitter = _Splitter(schema, prefix)
    final = splitter.walk(expr.meta.undo_aliases())
    if final is None or not splitter.partial:
        return None
    return Split(splitter.partial, splitter.merge, final, splitter.ordered)


class _Splitter:
    def __init__(self, schema: Schema, prefix: str) -> None:
        self._schema = schema
        self._prefix = prefix
        self.partial: dict[str, pl.Expr] = {}
        self.merge: dict[str, pl.Expr] = {}
        self.ordered = False

    def walk(self, expr: pl.Expr) -> pl.Expr | None:
        if expr.meta.is_literal():
            return expr
        if expr.meta.has_multiple_outputs():
            return None
        if same(expr, pl.len()):
            return self._add(pl.len(), lambda c: c.sum())
        children = expr.meta.pop()[::-1]
        if len(children) == 1:
            leaf = self._leaf(expr, children[0])
            return leaf if leaf is not None else self._unary(expr, children[0])
        if len(children) == 2:
            return self._binary(expr, *children)
        return None

    def _leaf(self, expr: pl.Expr, inner: pl.Expr) -> pl.Expr | None:
        if not inner.meta.root_names() or row_fault(inner) is not None or _has_python(inner):
            return None
        for name in ("sum", "min", "max", "count", "len"):
            if same(expr, getattr(inner, name)()):
                how = "sum" if name in ("count", "len") else name
                widened = self._widened(inner) if name == "sum" else inner
                return self._add(getattr(widened, name)(), operator.methodcaller(how))
        for name in ("any", "all"):
            for ignore_nulls in (True, False):
                if same(expr, getattr(inner, name)(ignore_nulls=ignore_nulls)):
                    return self._add(expr, operator.methodcaller(name, ignore_nulls=ignore_nulls))
        for name in ("first", "last"):
            # A filter inside may leave nothing of a batch, and the null for "nothing" would win over a later value.
            if same(expr, getattr(inner, name)()) and inner.meta.is_length_preserving():
                self.ordered = True
                return self._add(expr, operator.methodcaller(name))
        dtype = self._dtype(inner)
        if dtype is None or not dtype.is_numeric() or isinstance(dtype, pl.Decimal):
            return None
        if same(expr, inner.mean()) and dtype != pl.Float32:
            return self._mean(inner)
        if dtype != pl.Float32:
            for ddof in range(4):
                if same(expr, inner.var(ddof=ddof)):
                    return self._var(inner, ddof)
                if same(expr, inner.std(ddof=ddof)):
                    return self._var(inner, ddof).sqrt()
        return None

    def _unary(self, expr: pl.Expr, inner: pl.Expr) -> pl.Expr | None:
        rebuild = next((r for r in _UNARY if _same_build(expr, r, inner)), None)
        walked = self.walk(inner) if rebuild is not None else None
        return rebuild(walked) if rebuild is not None and walked is not None else None

    def _binary(self, expr: pl.Expr, left: pl.Expr, right: pl.Expr) -> pl.Expr | None:
        for rebuild in _BINARY:
            for a, b in ((left, right), (right, left)):
                if _same_build(expr, rebuild, a, b):
                    x = self.walk(a)
                    y = self.walk(b) if x is not None else None
                    return rebuild(x, y) if x is not None and y is not None else None
        return None

    def _mean(self, inner: pl.Expr) -> pl.Expr:
        as_float = inner.cast(pl.Float64)
        total = self._add(as_float.sum(), lambda c: c.sum())
        rows = self._add(inner.count(), lambda c: c.sum())
        return pl.when(rows > 0).then(total / rows)

    def _var(self, inner: pl.Expr, ddof: int) -> pl.Expr:
        as_float = inner.cast(pl.Float64)
        rows_name, mean_name, m2_name = (f"{self._prefix}{len(self.partial) + i}" for i in range(3))
        rows, mean, m2 = pl.col(rows_name), pl.col(mean_name), pl.col(m2_name)
        self.partial |= {
            rows_name: inner.count().cast(pl.Int64),
            mean_name: as_float.mean(),
            m2_name: (as_float.var(ddof=0) * inner.count()).fill_null(0.0),
        }
        weighted = (rows * mean).sum() / rows.sum()
        self.merge |= {
            rows_name: rows.sum(),
            mean_name: pl.when(rows.sum() > 0).then(weighted),
            m2_name: (m2 + (rows * (mean - weighted).pow(2)).fill_null(0.0)).sum(),
        }
        return pl.when(rows > ddof).then(m2 / (rows - ddof))

    def _add(self, partial: pl.Expr, merge: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        for name, known in self.partial.items():
            if same(known, partial):
                return pl.col(name)
        name = f"{self._prefix}{len(self.partial)}"
        self.partial[name] = partial
        self.merge[name] = merge(pl.col(name))
        return pl.col(name)

    def _widened(self, inner: pl.Expr) -> pl.Expr:
        dtype = self._dtype(inner)
        wide = _WIDER.get(type(dtype)) if dtype is not None else None
        return inner.cast(wide) if wide is not None else inner

    def _dtype(self, inner: pl.Expr) -> pl.DataType | None:
        try:
            return pl.LazyFrame(schema=self._schema).select(inner.alias("x")).collect_schema()["x"]
        except pl.exceptions.PolarsError:
            return None


def _same_build(expr: pl.Expr, rebuild: Callable[..., pl.Expr], *children: pl.Expr) -> bool:
    try:
        return same(expr, rebuild(*children))
    except (pl.exceptions.PolarsError, TypeError):
        return False


def _has_python(expr: pl.Expr) -> bool:
    return _serialized(expr) is None
