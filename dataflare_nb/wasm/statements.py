"""Python statements as WebAssembly: the body of one function."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .expressions import Expressions
from .source import Source
from .unit import Frame, Unit
from .values import Kind, Value, as_int, as_kind, join

_MOST_PASSES = 8


class Body:
    """Compile a function's statements.

    The kinds of its variables are found by compiling again until they no longer change.
    """

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        unit: Unit,
        inner: Callable[[Any, ast.Call], tuple[str, Sequence[Kind], Kind]],
        params: Sequence[tuple[str, Kind]],
        returns: Kind,
    ) -> None:
        self._source, self._names, self._unit, self._inner = source, names, unit, inner
        self._params, self._returns = params, returns
        self._first_line: dict[str, int] = {}

    def compile(self, frame: Callable[[], Frame]) -> tuple[str, Frame]:
        """Return the code of the body and the frame that it settled on."""
        kinds = dict(self._params)
        for _ in range(_MOST_PASSES):
            attempt = frame()
            attempt.kinds = dict(kinds)
            attempt.assigned = {name for name, _ in self._params}
            code = self._attempt(attempt)
            if attempt.kinds == kinds:
                return code, attempt
            kinds = attempt.kinds
        raise self._source.error(self._source.tree, "the types of its variables do not settle")

    def _attempt(self, frame: Frame) -> str:
        self._frame = frame
        self._loops: list[tuple[str, str]] = []
        self._ex = Expressions(self._source, self._names, self._unit, frame, self._inner)
        code, falls = self._block(self._source.tree.body)
        if falls:
            raise self._source.error(
                self._source.tree.body[-1], "a way through the function ends without `return`, which would give None"
            )
        return code

    def _block(self, body: Sequence[ast.stmt]) -> tuple[str, bool]:
        """Return the code of some statements, and whether what follows them is reached."""
        parts = []
        for node in body:
            code, falls = self._statement(node)
            parts.append(code)
            if not falls:
                return " ".join(parts), False
        return " ".join(parts), True

    def _statement(self, node: ast.stmt) -> tuple[str, bool]:
        match node:
            case ast.Return():
                return self._return(node), False
            case ast.Assign(targets=targets, value=value):
                return self._assignment(targets, value, node), True
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self._assignment([target], value, node), True
            case ast.AugAssign(target=ast.Name(id=name) as target):
                left = self._ex.value(ast.copy_location(ast.Name(name, ast.Load()), target))
                result = self._ex.binary(node, left, self._ex.value(node.value))
                return self._store(name, result, node), True
            case ast.If():
                return self._if(node)
            case ast.While():
                return self._while(node)
            case ast.For():
                return self._for(node), True
            case ast.Break() | ast.Continue() if self._loops:
                return f"(br {self._loops[-1][isinstance(node, ast.Continue)]})", False
            case ast.Raise():
                return self._raise(node), False
            case ast.Assert():
                message = _text_of(node.msg) if node.msg is not None else ""
                condition = f"(i32.eqz {self._ex.condition(node.test)})"
                return self._ex.failing(condition, "AssertionError", message, node), True
            case ast.Pass() | ast.Expr(value=ast.Constant(value=str())) | ast.AnnAssign(value=None):
                return "", True
        raise self._source.error(
            node, f"`{type(node).__name__.lower()}` cannot be compiled here; use .map_batches for this function"
        )

    def _return(self, node: ast.Return) -> str:
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            raise self._source.error(
                node, "a compiled function returns a value for every row; filter the rows, or use pl.when(...)"
            )
        value = self._ex.value(node.value)
        return self._frame.leave(self._ex.passed(value, self._returns, node.value))

    def _assignment(self, targets: Sequence[ast.expr], value: ast.expr, node: ast.stmt) -> str:
        if len(targets) == 1 and isinstance(targets[0], ast.Tuple) and isinstance(value, ast.Tuple):
            return self._unpacking(targets[0], value, node)
        result = self._ex.value(value)
        if len(targets) > 1:
            held = self._frame.temporary(result.kind.wat)
            start = f"(local.set {held} {result.code})"
            result = Value(f"(local.get {held})", result.kind, result.number)
        else:
            start = ""
        return " ".join([start, *(self._store(self._name(target), result, node) for target in targets)])

    def _unpacking(self, targets: ast.Tuple, values: ast.Tuple, node: ast.stmt) -> str:
        if len(targets.elts) != len(values.elts):
            raise self._source.error(node, f"{len(targets.elts)} names for {len(values.elts)} values")
        results = [self._ex.value(value) for value in values.elts]
        holders = [self._frame.temporary(result.kind.wat) for result in results]
        code = [f"(local.set {h} {result.code})" for h, result in zip(holders, results, strict=True)]
        for target, holder, result in zip(targets.elts, holders, results, strict=True):
            held = Value(f"(local.get {holder})", result.kind, result.number)
            code.append(self._store(self._name(target), held, node))
        return " ".join(code)

    def _name(self, target: ast.expr) -> str:
        if isinstance(target, ast.Name):
            return target.id
        raise self._source.error(target, "only plain names can be assigned in a compiled function")

    def _store(self, name: str, value: Value, node: ast.AST) -> str:
        known = self._frame.kinds.get(name)
        line = self._first_line.setdefault(name, self._source.line(node))
        kind = value.kind if known is None else join(known, value.kind)
        if kind is None or (known is None and value.kind is None):
            where = f"on line {line}" if line != self._source.line(node) else "as a parameter"
            raise self._source.error(
                node,
                f"`{name}` is {(known or value.kind).spoken} {where} and {value.kind.spoken} here; "
                "convert one of them, or use another name",
            )
        self._frame.kinds[name] = kind
        self._frame.assigned.add(name)
        return f"(local.set $v_{name} {as_kind(value, kind)})"

    def _if(self, node: ast.If) -> tuple[str, bool]:
        test = self._ex.condition(node.test)
        before = set(self._frame.assigned)
        then, then_falls = self._block(node.body)
        after_then = self._frame.assigned
        self._frame.assigned = set(before)
        other, other_falls = self._block(node.orelse)
        after_other = self._frame.assigned
        if then_falls and other_falls:
            self._frame.assigned = after_then & after_other
        else:
            self._frame.assigned = after_then if then_falls else after_other
        branch = f"(else {other})" if other else ""
        return f"(if {test} (then {then}) {branch})", then_falls or other_falls

    def _while(self, node: ast.While) -> tuple[str, bool]:
        self._refuse_else(node)
        self._unit.loops = True
        leave, again, next_ = (self._frame.label(stem) for stem in ("leave", "again", "next"))
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        test = "" if endless else f"(br_if {leave} (i32.eqz {self._ex.condition(node.test)}))"
        body = self._loop_body(node.body, leave, next_)
        code = f"(block {leave} (loop {again} {test} (block {next_} {body}) (br {again})))"
        return code, not endless or _breaks(node.body)

    def _for(self, node: ast.For) -> str:
        self._refuse_else(node)
        self._unit.loops = True
        start, stop, step = self._range(node.iter)
        at, count, size = (self._frame.temporary("i64") for _ in range(3))
        end = self._frame.temporary("i64")
        code = [f"(local.set {at} {as_int(start)})", f"(local.set {end} {as_int(stop)})"]
        code.append(f"(local.set {size} {as_int(step)})")
        if not step.number:
            zero = f"(i64.eqz (local.get {size}))"
            code.append(self._ex.failing(zero, "ValueError", "range() with a step of zero", node.iter))
        code.append(f"(local.set {count} {_steps(f'(local.get {at})', f'(local.get {end})', f'(local.get {size})')})")
        leave, again, next_ = (self._frame.label(stem) for stem in ("leave", "again", "next"))
        before = set(self._frame.assigned)
        store = self._store(self._name(node.target), Value(f"(local.get {at})", Kind.INT), node)
        body = self._loop_body(node.body, leave, next_)
        self._frame.assigned = before
        code.append(
            f"(block {leave} (loop {again} (br_if {leave} (i64.eqz (local.get {count}))) {store}"
            f" (block {next_} {body})"
            f" (local.set {at} (i64.add (local.get {at}) (local.get {size})))"
            f" (local.set {count} (i64.sub (local.get {count}) (i64.const 1))) (br {again})))"
        )
        return " ".join(code)

    def _range(self, node: ast.expr) -> tuple[Value, Value, Value]:
        if not isinstance(node, ast.Call) or self._ex.static(node.func) is not builtins.range or node.keywords:
            raise self._source.error(node, "a compiled loop goes over range(...)")
        if not 1 <= len(node.args) <= 3:
            raise self._source.error(node, "range takes one to three ints")
        values = [self._ex.value(arg) for arg in node.args]
        for value, arg in zip(values, node.args, strict=True):
            if value.kind not in {Kind.INT, Kind.LITERAL, Kind.BOOL}:
                raise self._source.error(arg, f"range takes ints, not {value.kind.spoken}")
        zero, one = Value("(i64.const 0)", Kind.LITERAL, 0), Value("(i64.const 1)", Kind.LITERAL, 1)
        if len(values) == 1:
            return zero, values[0], one
        return values[0], values[1], values[2] if len(values) == 3 else one

    def _loop_body(self, body: Sequence[ast.stmt], leave: str, next_: str) -> str:
        before = set(self._frame.assigned)
        self._loops.append((leave, next_))
        code, _ = self._block(body)
        self._loops.pop()
        self._frame.assigned = before
        return code

    def _refuse_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            raise self._source.error(node, "`else` after a loop cannot be compiled; use a bool variable")

    def _raise(self, node: ast.Raise) -> str:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        known = isinstance(error, ast.Name) and error.id not in self._frame.kinds
        kind = self._ex.static(error) if known and error is not None else None
        args = node.exc.args if isinstance(node.exc, ast.Call) else []
        if not (isinstance(kind, type) and issubclass(kind, Exception)) or len(args) > 1:
            raise self._source.error(node, "raise a plain exception with one constant text: raise ValueError('why')")
        return (
            self._ex.failing("(i32.const 1)", kind.__name__, _text_of(args[0]) if args else "", node) + " unreachable"
        )


def _steps(start: str, stop: str, step: str) -> str:
    """Return code for the length of a range, which may be more than an int holds."""
    one = "(i64.const 1)"
    up = f"(i64.add (i64.div_u (i64.sub (i64.sub {stop} {start}) {one}) {step}) {one})"
    back = f"(i64.sub (i64.const 0) {step})"
    down = f"(i64.add (i64.div_u (i64.sub (i64.sub {start} {stop}) {one}) {back}) {one})"
    rising = f"(if (result i64) (i64.lt_s {start} {stop}) (then {up}) (else (i64.const 0)))"
    falling = f"(if (result i64) (i64.gt_s {start} {stop}) (then {down}) (else (i64.const 0)))"
    return f"(if (result i64) (i64.gt_s {step} (i64.const 0)) (then {rising}) (else {falling}))"


def _breaks(body: Sequence[ast.stmt]) -> bool:
    """Whether a `break` in these statements leaves the loop they are the body of."""
    for node in body:
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, ast.If) and (_breaks(node.body) or _breaks(node.orelse)):
            return True
    return False


def _text_of(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
