"""A typed Python function becomes a columnar kernel."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import wasmtime

from ..errors import UdfError
from . import words
from .columns import Slot
from .helpers import closure
from .kernel import ENTRY, START, Facts, Kernel, attach_facts
from .kernel_layout import (
    ARENA,
    BASES,
    CHUNK,
    DATA,
    ERRORS,
    FULL,
    FULL_AND_FAILED,
    HEAD,
    NULLS,
    PATIENCE,
    SIZE,
    TEXT,
    VALID,
    WORDS,
    Layout,
)
from .library import Selection, data_text, link, select
from .refusals import instead_of_calling
from .rows import cleared, loaded, ranged, stored
from .signature import Signature
from .source import Source
from .statements import Body
from .texts import NO_ROOM
from .unit import Frame, Inner, Unit, absence, outside, results, variable
from .values import Value
from .vector import vector_loop


class Compiled(Protocol):
    """What a compiled function shows to another one that calls it."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def source(self) -> Source: ...
    @property
    def signature(self) -> Signature: ...


@dataclass(frozen=True, slots=True)
class _Itself:
    """A function that is being compiled, as it sees itself."""

    function: Callable[..., Any]
    source: Source
    signature: Signature


def compile_function(
    function: Callable[..., Any],
    source: Source,
    signature: Signature,
    *,
    is_compiled: Callable[[Any], bool],
    time_ms: int,
) -> Compilation:
    """Compile a function of values to a function of columns."""
    unit = Unit()
    target = _Itself(function, source, signature)
    frame_of = _Frames(unit, is_compiled)
    outputs = signature.returns.slots
    body = frame_of.body(target)

    def leave(values: Sequence[Value]) -> str:
        return " ".join([*(stored(i, *pair) for i, pair in enumerate(zip(outputs, values, strict=True))), "(br $row)"])

    code, frame = body.compile(lambda: Frame(leave, "(br $failed)"))
    if any(slot.type == "bool" for slot in outputs):
        unit.helpers.add("two_bytes")
    vector = vector_loop(source, outside(function), signature, unit)
    unit.needs |= {"text_scan"} if any(slot.type == "str" for slot in signature.params) else set()
    no_room = 0
    if any(slot.type == "str" for slot in outputs):
        unit.needs.add("text_store")
        no_room = unit.site(*NO_ROOM, source, source.tree)
    selection = select(unit.needs, unit.end, unit.tables)
    start = -(-selection.end // START) * START
    text = selection.placed(_module(unit, selection, start, source, signature, code, frame, vector))
    try:
        module = link(bytes(wasmtime.wat2wasm(text)), selection)
    except wasmtime.WasmtimeError as error:  # pragma: no cover - a mistake of the compiler
        raise UdfError(f"{source.place(source.tree)}: the compiler made a module that does not hold: {error}") from None
    facts = Facts(
        name=function.__name__,
        params=signature.params,
        outputs=outputs,
        record=signature.returns.record,
        sites=tuple(unit.sites),
        metered=unit.loops,
        vector=bool(vector),
        time_ms=time_ms,
        start=start,
        no_room=no_room,
        arena=unit.arena,
    )
    kernel = Kernel(
        facts,
        attach_facts(module, facts),
        trusted=True,
        origin=(source.file, source.first),
        defined=source.place(source.tree),
    )
    return Compilation(kernel, text, unit.lines())


@dataclass(frozen=True, slots=True)
class Compilation:
    """A kernel, the text of its module, and the lines of source that the marks in the text stand for."""

    kernel: Kernel
    text: str
    lines: Mapping[tuple[int, int], str]


class _Frames:
    """Compile the functions of one module, each once."""

    def __init__(self, unit: Unit, is_compiled: Callable[[Any], bool]) -> None:
        self._unit, self._is_compiled = unit, is_compiled

    def body(self, target: Compiled) -> Body:
        """Return what compiles a function's statements."""
        names = outside(target.function)
        own = target.source.tree.name
        if getattr(names.get(own), "function", None) is not target.function:
            # The name is bound only after the decorator has run; inside, it means the function itself.
            names[own] = _Itself(target.function, target.source, target.signature)

        def inner(found: Any, node: ast.Call) -> Inner:
            if not isinstance(found, _Itself) and not self._is_compiled(found):
                called = ast.unparse(node.func)
                way = instead_of_calling(found, called)
                raise target.source.error(node, f"`{called}` cannot be called from compiled code; {way}")
            return self.function(found)

        return Body(target.source, names, self._unit, inner, target.signature)

    def function(self, target: Compiled) -> Inner:
        """Compile a udf that another one calls, as a function of its own."""
        unit, signature = self._unit, target.signature
        key = id(target.function)
        if key in unit.inner:
            inner = unit.inner[key]
            if not unit.functions[inner.name]:
                inner = unit.inner[key] = inner.again()
                unit.loops = True
            return inner
        name = f"${target.function.__name__}.{len(unit.inner)}"
        if not name.isascii():
            name = f"$udf.{len(unit.inner)}"
        unit.inner[key] = Inner(name, signature.params, signature.defaults, signature.returns)
        unit.functions[name] = ""
        outputs = signature.returns.slots
        zeros = " ".join(f"({wat}.const 0)" for wat in results(outputs))

        def leave(values: Sequence[Value]) -> str:
            parts = []
            for slot, value in zip(outputs, values, strict=True):
                parts += [value.code, value.none or "(i32.const 0)"] if slot.optional else [value.code]
            return f"(return {' '.join(parts)})"

        code, frame = self.body(target).compile(lambda: Frame(leave, f"(return {zeros})"))
        heads = " ".join(f"(param $p{i} {wat})" for i, wat in enumerate(results(signature.params)))
        places = iter(range(2 * len(signature.params)))
        moves = []
        for slot in signature.params:
            moves.append(f"(local.set {variable(slot.name)} (local.get $p{next(places)}))")
            if slot.optional:
                moves.append(f"(local.set {absence(slot.name)} (local.get $p{next(places)}))")
        gives = " ".join(results(outputs))
        unit.functions[name] = (
            f"(func {name} {heads} (result {gives}) {frame.declarations()} {' '.join(moves)} {code} unreachable)"
        )
        return unit.inner[key]


def _module(
    unit: Unit,
    selection: Selection,
    start: int,
    source: Source,
    signature: Signature,
    code: str,
    frame: Frame,
    vector: tuple[str, str] | None,
) -> str:
    params, outputs = signature.params, signature.returns.slots
    pages = -(-Layout.of(start, params, outputs).end // 65536)
    names, fetches = _table(params, outputs)
    loads = " ".join(loaded(i, slot) for i, slot in enumerate(params))
    checks = " ".join(
        ranged(slot, unit.site("OverflowError", words.DATE_RANGE, source, source.tree), "(br $failed)")
        for slot in params
        if slot.type in ("datetime", "date")
    )
    zeros = " ".join(cleared(i, slot) for i, slot in enumerate(outputs))
    locals_, loop = vector or ("", "")
    locals_ += "".join(f" (local $text_out{i} i64)" for i, slot in enumerate(outputs) if slot.type == "str")
    if any(slot.optional for slot in outputs):
        unit.helpers.add("clear_bit")
    constants = "\n".join(f"  {data_text(at, content)}" for content, at in unit.constants.items())
    empty, spent, limit = _arena() if unit.arena else ("", "", "")
    return f"""(module
{selection.imports()}
  {selection.globals()}
{constants}
  (memory (export "memory") {pages})
  (global $error (mut i32) (i32.const 0))
  (global $depth (mut i32) (i32.const 0))
{closure(unit.helpers)}
  {" ".join(unit.functions.values())}
  ;; Compute rows [row, rows). Return the first failing row shifted by 16 and the place that failed,
  ;; or -1 less the number of rows that failed if the table says where to note them.
  (func (export "{ENTRY}") (param $row i32) (param $rows i32) (param $table i32) (result i64)
    (local $valid i32) (local $errors i32) (local $failures i64) {spent}
    {" ".join(f"(local {name} i32)" for name in names)} {frame.declarations()} {locals_}
    (global.set $error (i32.const 0))
    (local.set $valid {_word(VALID)}) (local.set $errors {_word(ERRORS)})
    {" ".join(fetches)} {empty}
    (block $done (block $full
      (loop $next
        {loop}
        (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
        {limit}
        (block $row
          (block $blank
            (block $failed
              (if (local.get $valid) (then
                (br_if $blank (i32.eqz (i32.and (i32.const 1) (i32.shr_u
                  (i32.load8_u (i32.add (local.get $valid) (i32.shr_u (local.get $row) (i32.const 3))))
                  (i32.and (local.get $row) (i32.const 7))))))))
              {loads} {checks}
              {code} unreachable)
            (if (i32.eqz (local.get $errors)) (then
              (return (i64.or (i64.shl (i64.extend_i32_u (local.get $row)) (i64.const 16))
                (i64.extend_i32_u (global.get $error))))))
            (i32.store16 (i32.add (local.get $errors) (i32.shl (local.get $row) (i32.const 1))) (global.get $error))
            (local.set $failures (i64.add (local.get $failures) (i64.const 1)))
            (global.set $error (i32.const 0)) (global.set $depth (i32.const 0)))
          {zeros})
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next)))
      (return (i64.or (i64.shl (i64.extend_i32_u (local.get $row)) (i64.const 16))
        (select (i64.const {FULL}) (i64.const {FULL_AND_FAILED}) (i64.eqz (local.get $failures))))))
    (i64.sub (i64.const -1) (local.get $failures)))
)"""


def _table(params: Sequence[Slot], outputs: Sequence[Slot]) -> tuple[list[str], list[str]]:
    """Return the locals that hold the addresses of columns, and the code that reads them from the table."""
    names, code = [], []
    columns = [(f"$in{i}", f"$none_in{i}", slot) for i, slot in enumerate(params)]
    columns += [(f"$out{i}", f"$none_out{i}", slot) for i, slot in enumerate(outputs)]
    for number, (data, nulls, slot) in enumerate(columns):
        first = HEAD + WORDS * number
        names.append(data)
        if slot.type != "str":
            code.append(f"(local.set {data} {_word(first + DATA)})")
        elif number < len(params):
            bases, ascii_ = f"$bases_in{number}", f"$ascii_in{number}"
            names += [bases, ascii_, f"$view_in{number}"]
            code.append(f"(local.set {data} {_word(first + DATA)}) (local.set {bases} {_word(first + BASES)})")
            given = f"(local.get {data}) (local.get $rows) {_word(first + TEXT)} {_word(first + SIZE)}"
            code.append(f"(local.set {ascii_} (call $text_scan {given}))")
        else:
            out = number - len(params)
            names += [f"$views_out{out}", f"$at_out{out}"]
            code.append(f"(local.set {data} (i32.add (local.get $table) (i32.const {4 * first})))")
            code.append(f"(local.set $views_out{out} {_word(first + DATA)})")
        if slot.optional:
            names.append(nulls)
            code.append(f"(local.set {nulls} {_word(first + NULLS)})")
    return names, code


def _arena() -> tuple[str, str, str]:
    """Return code that empties the arena, what it is counted with, and code that counts what a row took of it."""
    top = "(i32.load (i32.const 16))"
    empty = "(i32.store (i32.const 16) (local.get $arena))"
    took = f"(local.set $spent (i32.add (local.get $spent) (i32.sub {top} (local.get $arena))))"
    limit = f"(br_if $full (i32.gt_u (local.get $spent) (i32.const {PATIENCE})))"
    return (
        f"(local.set $arena {_word(ARENA)}) {empty}",
        "(local $arena i32) (local $spent i32)",
        f"{took} {limit} {empty}",
    )


def _word(number: int) -> str:
    return f"(i32.load offset={4 * number} (local.get $table))"


assert CHUNK < 1 << 48
