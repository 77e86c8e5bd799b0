"""Python statements as WebAssembly: the body of one function."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import patterns
from .arithmetic import NO_64_BITS
from .choices import choose, is_choice
from .expressions import Expressions, Unsettled
from .loops import Loops
from .refusals import refusal
from .signature import Signature
from .source import Source
from .texts import spread
from .unit import Flow, Frame, Inner, Unit, variable
from .values import EXACT, NONE, Kind, Type, Value

_MOST_PASSES = 8


class Body(Loops):
    """Compile a function's statements.

    The types of its variables are found by compiling again until they no longer change.
    """

    def __init__(
        self,
        source: Source,
        names: Mapping[str, Any],
        unit: Unit,
        inner: Callable[[Any, ast.Call], Inner],
        signature: Signature,
    ) -> None:
        self._source, self._names, self._unit, self._inner = source, names, unit, inner
        self._signature, self._returns = signature, signature.returns
        self._first_line: dict[str, int] = {}
        named = (part for part in ast.walk(source.tree) if isinstance(part, (ast.Name, ast.arg, ast.MatchAs)))
        self._stored = frozenset(filter(None, map(_stored_name, named)))

    def compile(self, frame: Callable[[], Frame]) -> tuple[str, Frame]:
        """Return the code of the body and the frame that it settled on."""
        params = {slot.name: Type(Kind(slot.type), slot.optional) for slot in self._signature.params}
        types = dict(params)
        for _ in range(_MOST_PASSES):
            attempt = frame()
            attempt.types = dict(types)
            attempt.flow = Flow(set(params))
            attempt.stored = self._stored
            code = self._attempt(attempt)
            if attempt.types == types:
                if attempt.unsettled is not None:
                    raise self._source.error(attempt.unsettled, "a variable is None on every way here; give it a value")
                return code, attempt
            types = attempt.types
        raise self._source.error(self._source.tree, "the types of its variables do not settle")

    def _attempt(self, frame: Frame) -> str:
        self._frame = frame
        self._loops = []
        self._ex = Expressions(self._source, self._names, self._unit, frame, self._inner, self._first_line)
        fixed = self._fixed()
        code, falls = self._block(self._source.tree.body)
        if falls:
            if not all(slot.optional for slot in self._returns.slots):
                raise self._source.error(
                    self._source.tree.body[-1],
                    "a way through the function ends without `return`, which would give None",
                )
            code += f" {self._returned(None, self._source.tree)}"
        return f"{fixed} {code}"

    def _fixed(self) -> str:
        """Return code that gives parameters the values they were fixed to."""
        code = []
        for slot in self._signature.fixed_slots:
            value = self._ex.known(self._signature.fixed[slot.name], self._source.tree)
            code.append(self._ex.assign(slot.name, self._ex.passed(value, slot, self._source.tree), self._source.tree))
        return " ".join(code)

    def _block(self, body: Sequence[ast.stmt]) -> tuple[str, bool]:
        """Return the code of some statements, and whether what follows them is reached."""
        parts: list[str] = []
        slot = self._returns.slots[0]
        text = slot.type == "str" and not slot.optional and not self._returns.record
        for i, node in enumerate(body):
            try:
                if text and is_choice(body[i:]):
                    code, falls = self._frame.leave([self._chosen(body[i:])]), False
                else:
                    code, falls = self._statement(node)
            except Unsettled:
                self._frame.unsettled = node
                if isinstance(node, ast.Return):
                    return " ".join(parts), False
                continue
            parts.append(f"{self._unit.mark(self._source, node)} {code}" if code else "")
            if not falls:
                return " ".join(parts), False
        return " ".join(parts), True

    def _chosen(self, body: Sequence[ast.stmt]) -> Value:
        """Return the text that statements return, see `is_choice`."""
        match body:
            case [ast.If(test=test, body=[ast.Return(value=ast.expr() as then)]), *rest]:
                return self._one_of(test, lambda: self._text(then), lambda: self._chosen(rest), body[0])
            case [ast.Return(value=ast.expr() as value), *_]:
                return self._text(value)
        raise AssertionError(body)  # pragma: no cover

    def _text(self, node: ast.expr) -> Value:
        if not isinstance(node, ast.IfExp):
            return self._ex.passed(self._ex.maybe(node), self._returns.slots[0], node)
        return self._one_of(node.test, lambda: self._text(node.body), lambda: self._text(node.orelse), node)

    def _one_of(self, test: ast.expr, then: Callable[[], Value], other: Callable[[], Value], node: ast.AST) -> Value:
        code, true, false = self._ex.test(test)
        self._frame.flow = true
        yes = then().code
        self._frame.flow = false
        no = other().code
        return Value(f"{self._unit.mark(self._source, node)} {choose(self._frame, code, 'i64', yes, no)}", Kind.STR)

    def _statement(self, node: ast.stmt) -> tuple[str, bool]:
        match node:
            case ast.Return(value=value):
                return self._return(value, node)
            case ast.Assign(targets=targets, value=value):
                return self._assignment(targets, value, node), True
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return self._assignment([target], value, node), True
            case ast.AugAssign(target=ast.Name(id=name) as target):
                left = self._ex.value(ast.copy_location(ast.Name(name, ast.Load()), target))
                result = self._ex.binary(node, left, self._ex.value(node.value))
                return self._ex.assign(name, result, node), True
            case ast.Assign() | ast.AugAssign() | ast.AnnAssign(value=ast.expr()):
                raise self._source.error(node, "only plain names can be assigned in a compiled function")
            case ast.If():
                return self._if(node)
            case ast.While():
                return self._while(node)
            case ast.For():
                return self._for(node)
            case ast.Match():
                return self._match(node)
            case ast.Break() | ast.Continue() if self._loops:
                loop, again = self._loops[-1], isinstance(node, ast.Continue)
                (loop.continues if again else loop.breaks).append(self._frame.flow.copy())
                return f"(br {loop.next if again else loop.leave})", False
            case ast.Raise():
                return self._raise(node), False
            case ast.Assert():
                message = _text_of(node.msg) if node.msg is not None else ""
                code, self._frame.flow, _ = self._ex.test(node.test)
                return self._ex.failing(f"(i32.eqz {code})", "AssertionError", message, node), True
            case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None):
                return "", True
            case ast.Expr(value=ast.NamedExpr() as value):
                return f"(drop {self._ex.maybe(value).code})", True
        raise self._source.error(node, refusal(node))

    # ---- results and assignments ----

    def _return(self, value: ast.expr | None, node: ast.stmt) -> tuple[str, bool]:
        if isinstance(value, ast.IfExp):
            # Each branch is turned into the result on its own, as it is in an `if` statement.
            test, true, false = self._ex.test(value.test)
            self._frame.flow = true
            then, _ = self._return(value.body, node)
            self._frame.flow = false
            other, _ = self._return(value.orelse, node)
            return f"(if {test} (then {then}) (else {other})) unreachable", False
        return self._returned(value, node), False

    def _returned(self, node: ast.expr | None, statement: ast.AST) -> str:
        returns = self._returns
        value = self._ex.maybe(node) if node is not None else None
        if value is None or (value.kind is Kind.NONE and returns.record):
            where = node or statement
            start = f"(drop {value.code})" if value is not None and value.code != NONE.code else ""
            return f"{start} {self._frame.leave([self._ex.passed(NONE, slot, where) for slot in returns.slots])}"
        where = node or statement
        if not returns.record:
            return self._frame.leave([self._ex.passed(value, returns.slots[0], where)])
        if value.kind is not Kind.RECORD or len(value.parts) != len(returns.slots):
            given = f"a tuple of {len(value.parts)}" if value.kind is Kind.RECORD else value.type.spoken
            raise self._source.error(where, f"this is {given} and must be a tuple of {len(returns.slots)} values")
        parts = [self._ex.passed(part, slot, where) for part, slot in zip(value.parts, returns.slots, strict=True)]
        return f"{value.code} {self._frame.leave(parts)}"

    def _assignment(self, targets: Sequence[ast.expr], value: ast.expr, node: ast.stmt) -> str:
        result = self._ex.maybe(value)
        start = ""
        if len(targets) > 1 and result.kind is not Kind.RECORD:
            start, result = self._ex.hold(result)
        stores = []
        for target in targets:
            stores.append(self._target(target, result, node))
            result = Value("", result.kind, parts=result.parts, fields=result.fields) if result.parts else result
        return " ".join([start, *stores])

    def _target(self, target: ast.expr, value: Value, node: ast.stmt) -> str:
        match target:
            case ast.Name(id=name):
                return self._ex.assign(name, value, node)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                starred = next((one for one in targets if isinstance(one, ast.Starred)), None)
                if starred is not None:
                    raise self._source.error(starred, "only plain names can be assigned in a compiled function")
                start, value = spread(self._ex, value, len(targets), node)
                if value.kind is not Kind.RECORD:
                    raise self._source.error(target, f"this is {value.type.spoken}; only a tuple can be taken apart")
                if len(targets) != len(value.parts):
                    raise self._source.error(node, f"{len(targets)} names for {len(value.parts)} values")
                # A variable among the values may be one of the names, so all are kept before one is assigned.
                parts = [self._ex.hold(part) if _reads(part) else ("", part) for part in value.parts]
                stores = [self._target(one, part, node) for one, (_, part) in zip(targets, parts, strict=True)]
                return " ".join([start, value.code, *(held for held, _ in parts), *stores])
        raise self._source.error(target, "only plain names can be assigned in a compiled function")

    # ---- branches ----

    def _test(self, node: ast.expr, statement: ast.stmt) -> tuple[str, Flow, Flow]:
        try:
            return self._ex.test(node)
        except Unsettled:
            self._frame.unsettled = statement
            return "(i32.const 0)", self._frame.flow.copy(), self._frame.flow.copy()

    def _if(self, node: ast.If) -> tuple[str, bool]:
        test, true, false = self._test(node.test, node)
        counted = self._counted(node, test, true)
        if counted is not None:
            self._frame.flow = Flow.meet([true, false])
            return counted, True
        self._frame.flow = true
        then, then_falls = self._block(node.body)
        after_then, self._frame.flow = self._frame.flow, false
        other, other_falls = self._block(node.orelse)
        ends = [flow for flow, falls in ((after_then, then_falls), (self._frame.flow, other_falls)) if falls]
        if ends:
            self._frame.flow = Flow.meet(ends)
        branch = f"(else {other})" if other else ""
        return f"(if {test} (then {then}) {branch})", bool(ends)

    def _counted(self, node: ast.If, test: str, true: Flow) -> str | None:
        """Compile `if test: n += 1` without a branch, which the data would steer; None if it is something else."""
        match node:
            case ast.If(
                body=[ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=ast.Constant(value=int() as step))],
                orelse=[],
            ) if not isinstance(step, bool) and 0 < step <= EXACT:
                pass
            case _:
                return None
        kept = self._frame.types.get(name)
        if kept is None or kept.optional or kept.kind is not Kind.INT or name not in true.assigned:
            return None
        more, total = (self._frame.temporary("i64") for _ in range(2))
        before, after = f"(local.get {variable(name)})", f"(local.get {total})"
        added = node.body[0]
        wrong = self._ex.failing(f"(i64.lt_s {after} {before})", "OverflowError", NO_64_BITS, added)
        mark = self._unit.mark(self._source, added)
        return (
            f"(local.set {more} (select (i64.const {step}) (i64.const 0) {test})) {mark} "
            f"(local.set {total} (i64.add {before} (local.get {more}))) {wrong} (local.set {variable(name)} {after})"
        )

    def _match(self, node: ast.Match) -> tuple[str, bool]:
        subject = self._ex.maybe(node.subject)
        if subject.kind is Kind.RECORD:
            raise self._source.error(node.subject, "match takes one value here, not a tuple")
        start, subject = self._ex.hold(subject)
        label = self._frame.label("matched")
        code: list[str] = [start]
        ends: list[Flow] = []
        rest = self._frame.flow
        always = False
        for case in node.cases:
            skip = self._frame.label("case")
            pattern, name = patterns.bound(case.pattern)
            self._frame.flow = rest.copy()
            fits = "" if pattern is None else patterns.fits(self._ex, pattern, subject)
            parts = [f"(br_if {skip} (i32.eqz {fits}))"] if fits else []
            parts += [self._ex.assign(name, subject, case.pattern)] if name else []
            miss = self._frame.flow.copy()
            if case.guard is not None:
                guard, self._frame.flow, miss = self._test(case.guard, node)
                parts.append(f"(br_if {skip} (i32.eqz {guard}))")
            body, falls = self._block(case.body)
            parts.append(body)
            if falls:
                ends.append(self._frame.flow)
                parts.append(f"(br {label})")
            code.append(f"(block {skip} {' '.join(parts)})")
            always = pattern is None and case.guard is None
            if always:
                break
            rest = Flow.meet([rest, miss])
            if pattern is not None and case.guard is None and patterns.takes_none(pattern):
                subject = Value(subject.code, subject.kind)
                if isinstance(node.subject, ast.Name):
                    rest.present.add(node.subject.id)
        if not always:
            ends.append(rest)
        if ends:
            self._frame.flow = Flow.meet(ends)
        return f"(block {label} {' '.join(code)} {'' if ends else 'unreachable'})", bool(ends)

    # ---- errors ----

    def _raise(self, node: ast.Raise) -> str:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        known = isinstance(error, (ast.Name, ast.Attribute)) and not self._ex.is_value_name(error)
        kind = self._ex.static(error) if known and error is not None else None
        args = node.exc.args if isinstance(node.exc, ast.Call) else []
        if not (isinstance(kind, type) and issubclass(kind, Exception)) or len(args) > 1:
            raise self._source.error(node, "raise a plain exception with one constant text: raise ValueError('why')")
        if args and not isinstance(args[0], ast.Constant):
            raise self._source.error(args[0], "the text of an error is a constant here; the error names the arguments")
        return (
            self._ex.failing("(i32.const 1)", kind.__name__, _text_of(args[0]) if args else "", node) + " unreachable"
        )


def _stored_name(node: ast.Name | ast.arg | ast.MatchAs) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.MatchAs(name=name):
            return name
    return None


def _reads(part: Value) -> bool:
    """Whether a value is read from a variable, and not from a place of its own."""
    return "$v_" in part.code or (part.none is not None and "$n_" in part.none)


def _text_of(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)
