"""Loops as WebAssembly: `while`, and `for` over a range, the characters of a text, or a list of texts."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import words
from .source import Source
from .texts import TEXTUAL, parts_of
from .unit import Flow, Frame, Unit
from .values import INTS, Kind, Value, as_int

if TYPE_CHECKING:
    from .expressions import Expressions

_ROUNDS, _SHORT = 4, 4000
"""How often a round over a character is written out, and how many letters of code it may have for that."""


class Loop:
    """A loop while its body is compiled: its labels, and what holds where it is left or begun again."""

    def __init__(self, frame: Frame) -> None:
        self.leave, self.again, self.next, self.done = (
            frame.label(stem) for stem in ("leave", "again", "next", "done")
        )
        self.breaks: list[Flow] = []
        self.continues: list[Flow] = []


class Loops:
    """Compile loops; what is known at the begin of a round also holds where it begins again."""

    _source: Source
    _unit: Unit
    _frame: Frame
    _ex: Expressions
    _loops: list[Loop]

    if TYPE_CHECKING:

        def _block(self, body: Sequence[ast.stmt]) -> tuple[str, bool]: ...
        def _test(self, node: ast.expr, statement: ast.stmt) -> tuple[str, Flow, Flow]: ...

    def _while(self, node: ast.While) -> tuple[str, bool]:
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)

        def round_(loop: Loop) -> tuple[str, Flow, list[Flow]]:
            test, done = "", self._frame.flow
            if not endless:
                condition, true, done = self._test(node.test, node)
                test, self._frame.flow = f"(br_if {loop.done} (i32.eqz {condition}))", true
            body, ends = self._loop_body(node.body, loop)
            return f"(loop {loop.again} {test} (block {loop.next} {body}) (br {loop.again}))", done, ends

        loop, code, done, _ = self._rounds(round_)
        return self._after_loop(node, loop, code, None if endless else done)

    def _for(self, node: ast.For) -> tuple[str, bool]:
        called = self._called(node.iter)
        if called is not builtins.range:
            return self._for_text(node, counted=called is enumerate)
        if not isinstance(node.target, ast.Name):
            raise self._source.error(node.target, "a loop over range(...) gives one name its values")
        name = node.target.id
        start, stop, step = self._range(node.iter)
        at, count, size, end = (self._frame.temporary("i64") for _ in range(4))
        code = [f"(local.set {at} {as_int(start)})", f"(local.set {end} {as_int(stop)})"]
        code.append(f"(local.set {size} {as_int(step)})")
        if not step.number:
            zero = f"(i64.eqz (local.get {size}))"
            code.append(self._ex.failing(zero, "ValueError", words.ZERO_STEP, node.iter))
        code.append(f"(local.set {count} {_steps(f'(local.get {at})', f'(local.get {end})', f'(local.get {size})')})")

        def round_(loop: Loop) -> tuple[str, Flow, list[Flow]]:
            done = self._frame.flow.copy()
            store = self._ex.assign(name, Value(f"(local.get {at})", Kind.INT), node)
            body, ends = self._loop_body(node.body, loop)
            again = (
                f"(loop {loop.again} (br_if {loop.done} (i64.eqz (local.get {count}))) {store}"
                f" (block {loop.next} {body})"
                f" (local.set {at} (i64.add (local.get {at}) (local.get {size})))"
                f" (local.set {count} (i64.sub (local.get {count}) (i64.const 1))) (br {loop.again}))"
            )
            return again, done, ends

        loop, again, done, ends = self._rounds(round_)
        if _runs(start, stop, step) and ends:
            done = Flow.meet(ends)
        return self._after_loop(node, loop, " ".join([*code, again]), done)

    def _called(self, node: ast.expr) -> Any:
        """Return what a call calls, unless it is a method."""
        match node:
            case ast.Call(func=ast.Name(id=name) as func) if not self._ex.is_local(name):
                return self._ex.static(func)
            case ast.Call(func=ast.Attribute(value=owner) as func) if not self._ex.is_value(owner):
                return self._ex.static(func)
        return None

    def _for_text(self, node: ast.For, *, counted: bool) -> tuple[str, bool]:
        """Compile a loop over the characters of a text or the texts of a list, with their numbers if asked."""
        target, source = node.target, node.iter
        start, number = "", ""
        names: list[str] = []
        if counted:
            assert isinstance(source, ast.Call)
            number, start, source = self._numbering(source)
            if isinstance(target, ast.Tuple) and len(target.elts) == 2 and isinstance(target.elts[0], ast.Name):
                names, target = [target.elts[0].id], target.elts[1]
        if not isinstance(target, ast.Name) or len(names) != counted:
            raise self._source.error(node.target, "a loop gives its values to plain names: `for c in text`")
        held, whole = self._ex.hold(self._ex.value(source))
        if whole.kind not in TEXTUAL:
            raise self._source.error(
                node.iter, "a compiled loop goes over range(...), the characters of a text, or what split gives"
            )
        begin, end, read, value, on = parts_of(self._ex, whole)

        def round_(loop: Loop) -> tuple[str, Flow, list[Flow]]:
            done = self._frame.flow.copy()
            stores = [self._ex.assign(name, Value(f"(local.get {number})", Kind.INT), node) for name in names]
            stores.append(self._ex.assign(target.id, value, node))
            body, ends = self._loop_body(node.body, loop)
            count = f"(local.set {number} (i64.add (local.get {number}) (i64.const 1)))" if names else ""
            once = f"(br_if {loop.done} {end}) {read} {' '.join(stores)} {on} (block {loop.next} {body}) {count}"
            return f"(loop {loop.again} {_several(once)} (br {loop.again}))", done, ends

        loop, again, done, _ = self._rounds(round_)
        return self._after_loop(node, loop, f"{held} {begin} {start} {again}", done)

    def _numbering(self, node: ast.Call) -> tuple[str, str, ast.expr]:
        """Return the local that counts for `enumerate`, code that begins, and what is counted."""
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "start")]
        if not 1 <= len(node.args) <= len(given) <= 2 or len(given) < len(node.args) + len(node.keywords):
            raise self._source.error(node, "`enumerate` takes a text, and where to start")
        first = self._ex.value(given[1]) if len(given) == 2 else self._ex.constant(0, node)
        if first.kind not in INTS | {Kind.BOOL}:
            raise self._source.error(node, f"`enumerate` starts at an int, not {first.kind.spoken}")
        number = self._frame.temporary("i64")
        return number, f"(local.set {number} {as_int(first)})", node.args[0]

    def _rounds(self, round_: Callable[[Loop], tuple[str, Flow, list[Flow]]]) -> tuple[Loop, str, Flow, list[Flow]]:
        """Compile a loop's round until what is known at its begin also holds where it begins again."""
        self._unit.loops = True
        head = self._frame.flow.copy()
        while True:
            self._frame.flow = head.copy()
            loop = Loop(self._frame)
            code, done, ends = round_(loop)
            held = Flow.meet([head, *ends])
            if held == head:
                return loop, code, done, ends
            head = held

    def _after_loop(self, node: ast.While | ast.For, loop: Loop, code: str, done: Flow | None) -> tuple[str, bool]:
        """Return the loop with its `else`; `done` holds where it ends by itself, if it ever does."""
        ends = loop.breaks
        other = "unreachable"
        if done is not None:
            self._frame.flow = done
            other, falls = self._block(node.orelse)
            ends = [*ends, self._frame.flow] if falls else ends
        if ends:
            self._frame.flow = Flow.meet(ends)
        after = "" if ends else "unreachable"
        return f"(block {loop.leave} (block {loop.done} {code}) {other}) {after}", bool(ends)

    def _loop_body(self, body: Sequence[ast.stmt], loop: Loop) -> tuple[str, list[Flow]]:
        """Return the code of a loop's body, and what holds wherever the next round begins."""
        self._loops.append(loop)
        code, falls = self._block(body)
        self._loops.pop()
        return code, [*loop.continues, self._frame.flow] if falls else loop.continues

    def _range(self, node: ast.expr) -> tuple[Value, Value, Value]:
        named = isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute))
        if not named or self._ex.static(node.func) is not builtins.range or node.keywords:  # type: ignore[attr-defined]
            raise self._source.error(node, "a compiled loop goes over range(...), a text, or what split gives")
        assert isinstance(node, ast.Call)
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


def _several(once: str) -> str:
    """Return a round of a loop as often as it stands there, since every return to the head looks at the clock."""
    return " ".join([once] * (_ROUNDS if len(once) <= _SHORT and "(loop " not in once else 1))


def _runs(start: Value, stop: Value, step: Value) -> bool:
    """Whether a range is known to have an element."""
    numbers = (start.number, stop.number, step.number)
    return all(type(n) is int for n in numbers) and numbers[2] != 0 and len(range(*numbers)) > 0  # type: ignore[arg-type]


def _steps(start: str, stop: str, step: str) -> str:
    """Return code for the length of a range, which may be more than an int holds."""
    one = "(i64.const 1)"
    up = f"(i64.add (i64.div_u (i64.sub (i64.sub {stop} {start}) {one}) {step}) {one})"
    back = f"(i64.sub (i64.const 0) {step})"
    down = f"(i64.add (i64.div_u (i64.sub (i64.sub {start} {stop}) {one}) {back}) {one})"
    rising = f"(if (result i64) (i64.lt_s {start} {stop}) (then {up}) (else (i64.const 0)))"
    falling = f"(if (result i64) (i64.gt_s {start} {stop}) (then {down}) (else (i64.const 0)))"
    return f"(if (result i64) (i64.gt_s {step} (i64.const 0)) (then {rising}) (else {falling}))"
