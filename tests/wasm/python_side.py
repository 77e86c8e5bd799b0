"""What CPython makes of a function: the value or the error of each row, with ints that overflow like a column does.

The function is read again from its source, and every operation that could give an int beyond 64 bits is wrapped
in a check. Nothing else is changed, so that line numbers, words and the order of evaluation are CPython's.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import functools
import inspect
import math
import struct
import textwrap
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from dataflare_nb.wasm import Udf

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
NO_64_BITS = "the result does not fit into 64 bits"
_MICROSECOND = dt.timedelta(microseconds=1)


def checked(value: Any) -> Any:
    """Return a value if a column can hold it."""
    for one in value if isinstance(value, tuple) else (value,):
        number = one // _MICROSECOND if isinstance(one, dt.timedelta) else one
        if type(number) is int and not INT_MIN <= number <= INT_MAX:
            raise OverflowError(NO_64_BITS)
    return value


def shifted(a: Any, b: Any) -> Any:
    """Return `a << b` without asking for more memory than there is."""
    if a and b > 64:
        raise OverflowError(NO_64_BITS)
    return checked(0 if not a and b >= 0 else a << b)


def power(a: Any, b: Any) -> Any:
    """Return `a ** b` of ints as an int."""
    if type(a) is float or type(b) is float:
        return a**b
    if b < 0:
        if a == 0:
            return a**b
        raise ValueError("a negative power of an int is a float")
    if abs(a) > 1 and b > 64:
        raise OverflowError(NO_64_BITS)
    return checked(a**b)


class _Checks(ast.NodeTransformer):
    _CALLS = frozenset({"abs", "int", "round", "divmod", "floor", "ceil", "trunc", "down", "timedelta"})

    def _wrapped(self, name: str, *args: ast.expr, at: ast.AST) -> ast.expr:
        return ast.copy_location(ast.Call(ast.Name(f"_{name}_", ast.Load()), list(args), []), at)

    def _operation(self, op: ast.operator, left: ast.expr, right: ast.expr, at: ast.AST) -> ast.expr:
        if isinstance(op, ast.LShift):
            return self._wrapped("shifted", left, right, at=at)
        if isinstance(op, ast.Pow):
            return self._wrapped("power", left, right, at=at)
        return self._wrapped("checked", ast.copy_location(ast.BinOp(left, op, right), at), at=at)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        return self._operation(node.op, self.visit(node.left), self.visit(node.right), node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        plain = ast.copy_location(ast.UnaryOp(node.op, self.visit(node.operand)), node)
        return plain if isinstance(node.op, ast.Not) else self._wrapped("checked", plain, at=node)

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.MatchValue:
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        assert isinstance(node.target, ast.Name)
        read = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        value = self._operation(node.op, read, self.visit(node.value), node)
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name == "sum" and isinstance(node.args[0], ast.Tuple):
            total: ast.expr = ast.copy_location(ast.Constant(0), node)
            for part in node.args[0].elts:
                total = self._operation(ast.Add(), total, self.visit(part), node)
            return total
        self.generic_visit(node)
        return self._wrapped("checked", node, at=node) if name in self._CALLS else node


@functools.cache
def python_of(function: Udf) -> Callable[..., Any]:
    """Return the Python function with the checks in it."""
    original = function.function
    code = original.__code__
    source = function.source
    text = textwrap.dedent("\n".join(source.lines))
    tree = ast.parse(text)
    (found,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    found.decorator_list = []
    tree = ast.fix_missing_locations(_Checks().visit(tree))
    names = dict(zip(code.co_freevars, (c.cell_contents for c in original.__closure__ or ()), strict=True))
    scope = {**original.__globals__, **names, "_checked_": checked, "_shifted_": shifted, "_power_": power}
    for name, value in list(scope.items()):
        if isinstance(value, Udf) and name != found.name:
            scope[name] = _called(value)
    exec(compile(tree, f"<{found.name}>", "exec"), scope)
    return scope[found.name]  # type: ignore[no-any-return]


def _called(function: Udf) -> Callable[..., Any]:
    """Return a udf as another one calls it: its arguments and result converted, without nulls."""

    def call(*args: Any, **named: Any) -> Any:
        python = python_of(function)
        given = inspect.signature(python).bind(*args, **named)
        given.apply_defaults()
        floats = {slot.name for slot in function.params if slot.type == "float"}
        values = {n: float(v) if n in floats and v is not None else v for n, v in given.arguments.items()}
        return function._converted(python(**values))

    return call


def outcome(function: Udf, python: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    """Return what CPython computes for a row, as the columns hold it, or `Error: words` and the line."""
    if any(arg is None and not slot.optional for arg, slot in zip(row, function.params, strict=True)):
        return None
    try:
        result = function._converted(python(*row))
        checked(result)
    except (ArithmeticError, ValueError, AssertionError, RecursionError, LookupError, TypeError) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith("<")]
        if (isinstance(error, OverflowError) and "C int" in str(error)) or "days=" in str(error):
            error = OverflowError(NO_64_BITS)  # a timedelta beyond what Python's can be is beyond 64 bits too
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _unquoted(said), frames[-1].lineno
    if dataclasses.is_dataclass(result):
        return dataclasses.astuple(result)  # type: ignore[arg-type]
    return tuple(result) if isinstance(result, tuple) else result


def _unquoted(said: str) -> str:
    """Return what is said without the text or the size that only the error of a single row tells."""
    if "Exceeds the limit" in said:
        return "ValueError: invalid literal for int() with base 10"
    for start in (
        "could not convert string to float",
        "invalid literal for int() with base ",
        "ord() expected a character",
    ):
        head, found, tail = said.partition(start)
        if found:
            return head + found + (tail.partition(":")[0] if start.endswith(" ") else "")
    return said


def columns_of(function: Udf, rows: list[tuple[Any, ...]]) -> list[pl.Series]:
    """Return rows as columns."""
    return [
        pl.Series(slot.name, [row[i] for row in rows], dtype=slot.dtype, strict=True)
        for i, slot in enumerate(function.params)
    ]


def kernel_outcomes(function: Udf, rows: list[tuple[Any, ...]]) -> list[Any]:
    """Return what the kernel computes for each row, in the form of `outcome`."""
    found = function._pool.apart(columns_of(function, rows))
    record = function.signature.returns.record
    columns = [column.to_list() for column in found.columns]
    out: list[Any] = []
    for i in range(len(rows)):
        if found.failed is not None and found.failed[i]:
            site = function.kernel.facts.sites[found.failed[i] - 1]
            out.append((site.reason, site.line))
        elif record:
            values = tuple(column[i] for column in columns)
            out.append(None if all(v is None for v in values) else values)
        else:
            out.append(columns[0][i])
    return out


def same(one: Any, other: Any) -> bool:
    """Whether two outcomes are equal bit for bit; any NaN is like any other."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def compare(function: Udf, rows: Iterable[tuple[Any, ...]]) -> None:
    """Assert that kernel and CPython agree on every row."""
    rows = list(rows)
    python = python_of(function)
    pairs = list(zip(rows, kernel_outcomes(function, rows), strict=True))
    # Where a whole column is ASCII, kernels go shorter ways.
    plain = [row for row in rows if all(not isinstance(value, str) or value.isascii() for value in row)]
    if 0 < len(plain) < len(rows):
        pairs += zip(plain, kernel_outcomes(function, plain), strict=True)
    for row, ours in pairs:
        theirs = outcome(function, python, row)
        if isinstance(theirs, tuple) and all(v is None for v in theirs):
            theirs = None
        assert same(ours, theirs), f"{function.name}{row}: {ours!r} is not {theirs!r}"
