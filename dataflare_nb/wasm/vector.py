"""Two rows at a time: an f64x2 loop for functions of floats, and of ints that meet floats, without loops.

The loop computes every branch and picks, and it only ever guesses that no row fails: where a check of the
function might, or a row is null, it hands the row to the scalar code, which decides. So it cannot be wrong,
only useless. What it does not know, it does not vectorise.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .signature import Signature
from .source import Source
from .unit import Unit
from .values import EXACT, float_text

_MOST_NODES = 400
_MOST_WIDE_NODES = 80
_LANES = 4
_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_TESTS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_ALL = "(v128.const i64x2 -1 -1)"


class _Scalar(Exception):  # noqa: N818 - a signal, not an error
    """This function stays scalar."""


def vector_loop(source: Source, names: Mapping[str, Any], signature: Signature, unit: Unit) -> tuple[str, str] | None:
    """Return the locals and the loop, or None if the function stays scalar."""
    params, outputs = signature.params, signature.returns.slots
    numbers = all(slot.type in ("float", "int") for slot in params)
    fixed = all(slot.type == "float" for slot in signature.fixed_slots)
    fits = numbers and fixed and all(slot.type in ("float", "bool") for slot in outputs)
    if unit.loops or unit.functions or not fits or any(slot.optional for slot in (*params, *outputs)):
        return None
    emitter = _Emitter(names, [slot.type == "bool" for slot in outputs], record=signature.returns.record)
    try:
        pair = _loop(emitter, source, signature, "pair", 1)
        # More rows in one round of small functions, for whoever reads memory ahead.
        wide = _loop(emitter, source, signature, "wide", _LANES) if emitter.nodes <= _MOST_WIDE_NODES else ""
    except _Scalar:
        return None
    declared = [f"(local {name} v128)" for name in emitter.locals]
    declared += [f"(local $at{i} i32)" for i in range(len(params) + len(outputs))]
    return " ".join(declared), f"{wide} {pair}"


def _loop(emitter: _Emitter, source: Source, signature: Signature, name: str, lanes: int) -> str:
    """Return a loop that computes so many pairs of rows a round, and leaves where one needs a closer look."""
    emitter.leave = f"${name}_done"
    columns = [(f"$in{i}", "float") for i in range(len(signature.params))]
    columns += [(f"$out{i}", slot.type) for i, slot in enumerate(signature.returns.slots)]
    code = []
    for i, (column, kind) in enumerate(columns):
        row = "(local.get $row)" if kind == "bool" else "(i32.shl (local.get $row) (i32.const 3))"
        code.append(f"(local.set $at{i} (i32.add (local.get {column}) {row}))")
    results = []
    for lane in range(lanes):
        env: dict[str, str] = {}
        for i, slot in enumerate(signature.params):
            at = emitter.whole(i, lane) if slot.type == "int" else emitter.named(_load(i, lane))
            env[slot.name] = at
        for fixed, value in signature.fixed.items():
            env[fixed] = emitter.named(f"(v128.const f64x2 {float_text(value)} {float_text(value)})")
        results.append(emitter.block(source.tree.body, env, _ALL))
    code += emitter.taken()
    for lane, made in enumerate(results):
        for i, (result, (_, kind)) in enumerate(zip(made, columns[len(signature.params) :], strict=True)):
            at = f"(local.get $at{len(signature.params) + i})"
            if kind == "bool":
                code.append(f"(i32.store16 offset={2 * lane} {at} (call $two_bytes (i64x2.bitmask {result})))")
            else:
                code.append(f"(v128.store offset={16 * lane} {at} {result})")
    step = f"(i32.add (local.get $row) (i32.const {2 * lanes}))"
    return f"""(block {emitter.leave}
            (loop ${name}
              (br_if {emitter.leave} (i32.gt_u {step} (local.get $rows)))
              {" ".join(code)}
              (local.set $row {step})
              (br ${name})))"""


def _load(param: int, lane: int) -> str:
    return f"(v128.load offset={16 * lane} (local.get $at{param}))"


class _Emitter:
    """Write down computations in order; every value is a local or a constant."""

    def __init__(self, names: Mapping[str, Any], bools: Sequence[bool], *, record: bool) -> None:
        self._names, self._bools, self._record = names, bools, record
        self.nodes = 0
        self.leave = ""
        self.locals: list[str] = []
        self._code: list[str] = []
        self._wholes: dict[str, tuple[int, int]] = {}
        self._loaded: dict[tuple[str, bool], str] = {}

    def whole(self, param: int, lane: int) -> str:
        """Return what stands for an int; it is loaded where it is used, as an int or as a float."""
        name = f"$whole{len(self._wholes)}"
        self._wholes[name] = param, lane
        return name

    def _as_float(self, name: str) -> str:
        """Load an int as Python converts it where it meets a float: to the nearest."""
        if (name, True) not in self._loaded:
            param, lane = self._wholes[name]
            one, other = (
                f"(f64.convert_i64_s (i64.load offset={16 * lane + 8 * i} (local.get $at{param})))" for i in (0, 1)
            )
            self._loaded[name, True] = self.named(f"(f64x2.replace_lane 1 (f64x2.splat {one}) {other})")
        return f"(local.get {self._loaded[name, True]})"

    def _as_int(self, node: ast.expr, env: Mapping[str, str]) -> str | None:
        """Load an int, or return a constant one; None if the value is no int as it stands."""
        found = self._constant(node, env)
        if type(found) is int and -(2**63) <= found < 2**63:
            return f"(v128.const i64x2 {found} {found})"
        name = env.get(node.id, "") if isinstance(node, ast.Name) else ""
        if name not in self._wholes:
            return None
        if (name, False) not in self._loaded:
            self._loaded[name, False] = self.named(_load(*self._wholes[name]))
        return f"(local.get {self._loaded[name, False]})"

    def taken(self) -> list[str]:
        """Return the code written down so far, and begin anew."""
        code, self._code = self._code, []
        return code

    def named(self, code: str) -> str:
        """Keep a value; return the local it is in."""
        name = f"$x{len(self.locals)}"
        self.locals.append(name)
        self._code.append(f"(local.set {name} {code})")
        return name

    def _keep(self, code: str) -> str:
        return f"(local.get {self.named(code)})"

    def _suspect(self, condition: str, active: str) -> None:
        """Hand the pair to the scalar code if a row that is really computed meets the condition."""
        masked = condition if active == _ALL else f"(v128.and {condition} {active})"
        self._code.append(f"(br_if {self.leave} (v128.any_true {masked}))")

    def block(self, body: Sequence[ast.stmt], env: dict[str, str], active: str) -> list[str]:
        """Write down statements; return the outputs."""
        for i, node in enumerate(body):
            self.nodes += 1
            match node:
                case ast.Return(value=ast.expr() as value):
                    return self._outputs(value, env, active)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    env[name] = self.named(self.value(value, env, active))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    env[name] = self.named(self.value(value, env, active))
                case ast.AugAssign(target=ast.Name(id=name)):
                    whole = ast.BinOp(ast.Name(name, ast.Load()), node.op, node.value)
                    env[name] = self.named(self.value(whole, env, active))
                case ast.If():
                    mask = self._keep(self.mask(node.test, env, active))
                    rest = body[i + 1 :]
                    then = self.block([*node.body, *rest], dict(env), self._both(active, mask))
                    unmask = self._keep(f"(v128.not {mask})")
                    other = self.block([*node.orelse, *rest], dict(env), self._both(active, unmask))
                    return [f"(v128.bitselect {a} {b} {mask})" for a, b in zip(then, other, strict=True)]
                case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
                    pass
                case _:
                    raise _Scalar
        raise _Scalar

    def _outputs(self, node: ast.expr, env: Mapping[str, str], active: str) -> list[str]:
        if isinstance(node, ast.IfExp):
            mask = self._keep(self.mask(node.test, env, active))
            then = self._outputs(node.body, env, self._both(active, mask))
            other = self._outputs(node.orelse, env, self._both(active, self._keep(f"(v128.not {mask})")))
            return [f"(v128.bitselect {a} {b} {mask})" for a, b in zip(then, other, strict=True)]
        nodes = node.elts if self._record and isinstance(node, ast.Tuple) else [node]
        if len(nodes) != len(self._bools):
            raise _Scalar
        return [
            self._keep((self.mask if is_bool else self.value)(one, env, active))
            for one, is_bool in zip(nodes, self._bools, strict=True)
        ]

    def _both(self, one: str, other: str) -> str:
        return other if one == _ALL else self._keep(f"(v128.and {one} {other})")

    def value(self, node: ast.expr, env: Mapping[str, str], active: str) -> str:
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise _Scalar
        number = self._number(node, env)
        if number is not None:
            return f"(v128.const f64x2 {float_text(number)} {float_text(number)})"
        match node:
            case ast.Name(id=name) if name in env and env[name] not in self._wholes:
                return f"(local.get {env[name]})"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"(f64x2.neg {self.value(operand, env, active)})"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                a, b = self._operand(left, right, env, active), self._operand(right, left, env, active)
                if isinstance(op, ast.Div) and not self._number(right, env):
                    b = self._keep(b)
                    self._suspect(f"(f64x2.eq {b} (v128.const f64x2 0 0))", active)
                return f"(f64x2.{_ARITHMETIC[type(op)]} {a} {b})"
            case ast.BinOp(left=left, op=ast.Pow(), right=right) if self._number(right, env) == 2:
                x = self._keep(self.value(left, env, active))
                square = self._keep(f"(f64x2.mul {x} {x})")
                self._suspect(f"(f64x2.eq {square} (v128.const f64x2 inf inf))", active)
                return square
            case ast.IfExp(test=test, body=body, orelse=orelse):
                mask = self._keep(self.mask(test, env, active))
                then = self.value(body, env, self._both(active, mask))
                other = self.value(orelse, env, self._both(active, self._keep(f"(v128.not {mask})")))
                return f"(v128.bitselect {then} {other} {mask})"
            case ast.Call(func=func, args=args, keywords=[]):
                return self._call(func, args, env, active)
        raise _Scalar

    def _operand(self, node: ast.expr, other: ast.expr, env: Mapping[str, str], active: str) -> str:
        """Return one side of an operation; ints are computed with by the scalar code, which sees them overflow."""
        if isinstance(node, ast.Name) and env.get(node.id) in self._wholes and self._as_int(other, env) is None:
            return self._as_float(env[node.id])
        return self.value(node, env, active)

    def _call(self, func: ast.expr, args: Sequence[ast.expr], env: Mapping[str, str], active: str) -> str:
        target = self._static(func, env)
        values = [self.value(arg, env, active) for arg in args]
        if target in (builtins.min, builtins.max) and len(values) > 1:
            best = values[0]
            for value in values[1:]:
                # The pseudo-minimum keeps its first operand unless the second is smaller, as Python does.
                best = f"(f64x2.{'pmin' if target is builtins.min else 'pmax'} {best} {value})"
            return best
        if len(values) != 1:
            raise _Scalar
        if target in (builtins.abs, math.fabs):
            return f"(f64x2.abs {values[0]})"
        if target is builtins.float:
            return values[0]
        if target is math.sqrt:
            x = self._keep(values[0])
            self._suspect(f"(f64x2.lt {x} (v128.const f64x2 0 0))", active)
            return f"(f64x2.sqrt {x})"
        raise _Scalar

    def mask(self, node: ast.expr, env: Mapping[str, str], active: str) -> str:
        match node:
            case ast.Constant(value=bool() as truth):
                return _ALL if truth else "(v128.const i64x2 0 0)"
            case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in _TESTS for op in ops):
                parts = (left, *comparators)
                ints = [self._as_int(part, env) for part in parts]
                if all(ints) and not all(self._number(part, env) is not None for part in parts):
                    values, shape = [str(part) for part in ints], "i64x2"
                else:
                    values, shape = [self._keep(self.value(part, env, active)) for part in parts], "f64x2"
                signed = "_s" if shape == "i64x2" else ""
                tests = [
                    f"({shape}.{name}{'' if name in ('eq', 'ne') else signed} {a} {b})"
                    for name, a, b in zip((_TESTS[type(op)] for op in ops), values, values[1:], strict=False)
                ]
                code = tests[0]
                for test in tests[1:]:
                    code = f"(v128.and {code} {test})"
                return code
            case ast.BoolOp(op=op, values=parts):
                code = self.mask(parts[0], env, active)
                for part in parts[1:]:
                    code = f"(v128.{'and' if isinstance(op, ast.And) else 'or'} {code} {self.mask(part, env, active)})"
                return code
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"(v128.not {self.mask(operand, env, active)})"
            case ast.Call(func=func, args=[arg]) if self._static(func, env) is math.isnan:
                x = self._keep(self.value(arg, env, active))
                return f"(f64x2.ne {x} {x})"
        raise _Scalar

    def _number(self, node: ast.expr, env: Mapping[str, str]) -> float | None:
        """Return a constant; ints are folded as ints, so that -0 is 0."""
        found = self._constant(node, env)
        if found is None or isinstance(found, bool) or (isinstance(found, int) and abs(found) > EXACT):
            return None
        return float(found)

    def _constant(self, node: ast.expr, env: Mapping[str, str]) -> float | None:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._constant(operand, env)
                return None if inner is None or isinstance(inner, bool) else -inner
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self._constant(left, env), self._constant(right, env)
                if type(a) is int and type(b) is int:
                    match op:
                        case ast.Add():
                            return a + b
                        case ast.Sub():
                            return a - b
                        case ast.Mult():
                            return a * b
                        case ast.Pow() if abs(a) < 64 and 0 <= b < 64:
                            return int(a**b)
            case ast.Name() | ast.Attribute():
                found = self._static(node, env)
                return float(found) if type(found) is float else found if type(found) is int else None
        return None

    def _static(self, node: ast.expr, env: Mapping[str, str]) -> Any:
        match node:
            case ast.Name(id=name):
                return None if name in env else self._names.get(name)
            case ast.Attribute(value=value, attr=attr):
                return getattr(self._static(value, env), attr, None)
        return None
