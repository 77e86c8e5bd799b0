"""Split an aggregation into partial, merge and final steps."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from .expr import has_python, row_fault, same
from .interrupts import schema_of
from .types import Schema


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
        if not inner.meta.root_names() or row_fault(inner) is not None or has_python(inner):
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
        read = {name: self._schema[name] for name in inner.meta.root_names() if name in self._schema}
        try:
            return schema_of(pl.LazyFrame(schema=read).select(inner.alias("x")))["x"]
        except pl.exceptions.PolarsError:
            return None


def _same_build(expr: pl.Expr, rebuild: Callable[..., pl.Expr], *children: pl.Expr) -> bool:
    try:
        return same(expr, rebuild(*children))
    except (pl.exceptions.PolarsError, TypeError):
        return False
