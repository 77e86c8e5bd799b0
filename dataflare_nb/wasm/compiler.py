"""A typed Python function becomes a columnar kernel."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import wasmtime

from ..errors import UdfError
from .helpers import closure
from .kernel import ENTRY, WIDTHS, Facts, Kernel, Layout, attach_facts
from .source import Source
from .statements import Body
from .unit import Frame, Unit, outside
from .values import Kind
from .vector import vector_loop

_LOAD = {"float": "f64.load", "int": "i64.load", "bool": "i32.load8_u"}
_STORE = {"float": "f64.store", "int": "i64.store", "bool": "i32.store8"}
_ZERO = {"float": "(f64.const 0)", "int": "(i64.const 0)", "bool": "(i32.const 0)"}


class Compiled(Protocol):
    """What a compiled function shows to another one that calls it."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def source(self) -> Source: ...
    @property
    def params(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def returns(self) -> str: ...


def compile_function(
    function: Callable[..., Any],
    source: Source,
    params: Sequence[tuple[str, str]],
    returns: str,
    *,
    is_compiled: Callable[[Any], bool],
    time_ms: int,
) -> Kernel:
    """Compile a function of numbers to a function of columns."""
    unit = Unit()
    names = outside(function)

    def inner(target: Any, node: ast.Call) -> tuple[str, Sequence[Kind], Kind]:
        if not is_compiled(target):
            name = ast.unparse(node.func)
            raise caller.error(node, f"`{name}` cannot be called from compiled code; {_instead(target, name)}")
        return _inner_function(unit, target, is_compiled)

    caller = source
    kinds = [(name, Kind(kind)) for name, kind in params]
    body = Body(source, names, unit, inner, kinds, Kind(returns))
    code, frame = body.compile(lambda: Frame(lambda value: f"(br $result {value})", "(br $failed)"))
    vector = vector_loop(source, names, params, returns, unit)
    text = _module(unit, params, returns, code, frame, vector)
    try:
        module = bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:  # pragma: no cover - a mistake of the compiler
        raise UdfError(f"{source.place(source.tree)}: the compiler made a module that does not hold: {error}") from None
    facts = Facts(
        name=function.__name__,
        params=tuple(params),
        returns=returns,
        sites=tuple(unit.sites),
        metered=unit.loops,
        vector=bool(vector),
        time_ms=time_ms,
    )
    return Kernel(facts, attach_facts(module, facts), trusted=True, origin=(source.file, source.first))


def _inner_function(
    unit: Unit, target: Compiled, is_compiled: Callable[[Any], bool]
) -> tuple[str, Sequence[Kind], Kind]:
    """Compile a udf that another one calls, once, as a function of its own."""
    name = unit.names.setdefault(id(target), f"${target.function.__name__}.{len(unit.names)}")
    kinds = [(param, Kind(kind)) for param, kind in target.params]
    returns = Kind(target.returns)
    if name not in unit.functions:
        unit.functions[name] = ""
        source = target.source

        def inner(other: Any, node: ast.Call) -> tuple[str, Sequence[Kind], Kind]:
            if not is_compiled(other):
                called = ast.unparse(node.func)
                raise source.error(node, f"`{called}` cannot be called from compiled code; {_instead(other, called)}")
            return _inner_function(unit, other, is_compiled)

        body = Body(source, outside(target.function), unit, inner, kinds, returns)
        fail = f"(return ({returns.wat}.const 0))"
        code, frame = body.compile(lambda: Frame(lambda value: f"(return {value})", fail))
        heads = " ".join(f"(param $p{i} {kind.wat})" for i, (_, kind) in enumerate(kinds))
        moves = " ".join(f"(local.set $v_{param} (local.get $p{i}))" for i, (param, _) in enumerate(kinds))
        unit.functions[name] = (
            f"(func {name} {heads} (result {returns.wat}) {frame.declarations()} {moves} {code} unreachable)"
        )
    return name, [kind for _, kind in kinds], returns


def _module(
    unit: Unit, params: Sequence[tuple[str, str]], returns: str, code: str, frame: Frame, vector: tuple[str, str] | None
) -> str:
    pages = -(-Layout.of([kind for _, kind in params], returns).end // 65536)
    heads = " ".join(f"(param $in{i} i32)" for i in range(len(params)))
    loads = " ".join(
        f"(local.set $v_{name} {loaded(i, kind, frame.kinds[name])})" for i, (name, kind) in enumerate(params)
    )
    out = address("$out", returns)
    locals_, loop = vector or ("", "")
    return f"""(module
  (memory (export "memory") {pages} {pages})
  (global $error (mut i32) (i32.const 0))
{closure(unit.helpers)}
  {" ".join(unit.functions.values())}
  ;; Work on rows [row, rows). Return -1, or the failing row shifted by 16 and the place that failed.
  (func (export "{ENTRY}") (param $row i32) (param $rows i32) (param $valid i32) {heads} (param $out i32) (result i64)
    {frame.declarations()} {locals_}
    (global.set $error (i32.const 0))
    (block $done
      (block $failed
        (loop $next
          {loop}
          (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
          (block $null
            (if (local.get $valid) (then
              (if (i32.eqz (i32.and (i32.const 1) (i32.shr_u
                    (i32.load8_u (i32.add (local.get $valid) (i32.shr_u (local.get $row) (i32.const 3))))
                    (i32.and (local.get $row) (i32.const 7)))))
                (then ({_STORE[returns]} {out} {_ZERO[returns]}) (br $null)))))
            {loads}
            ({_STORE[returns]} {out} (block $result (result {Kind(returns).wat}) {code} unreachable)))
          (local.set $row (i32.add (local.get $row) (i32.const 1)))
          (br $next)))
      (return (i64.or (i64.shl (i64.extend_i32_u (local.get $row)) (i64.const 16))
        (i64.extend_i32_u (global.get $error)))))
    (i64.const -1))
)"""


def address(column: str, kind: str) -> str:
    """Return code for where the row stands in a column."""
    row = "(local.get $row)"
    scaled = f"(i32.shl {row} (i32.const 3))" if WIDTHS[kind] == 8 else row
    return f"(i32.add (local.get {column}) {scaled})"


def loaded(index: int, kind: str, local: Kind) -> str:
    """Return code for the row's value in a column; a parameter that is also given floats lives as one."""
    code = f"({_LOAD[kind]} {address(f'$in{index}', kind)})"
    return f"(f64.convert_i64_s {code})" if kind == "int" and local.wat == "f64" else code


def _instead(target: Any, name: str) -> str:
    module = getattr(target, "__module__", "") or ""
    if module == "math":
        method = name.split(".")[-1]
        return f"it is not the same in every C library; use Polars before or after: pl.col(...).{method}()"
    if module.split(".")[0] == "numpy":
        return "use the function of the same name in `math`, or a Polars expression"
    if callable(target) and hasattr(target, "__code__"):
        return f"decorate `{name}` with @flare.udf too"
    return "use arithmetic, comparisons, abs, min, max, round, int, float, bool and math.sqrt, floor, ceil, isnan ..."
