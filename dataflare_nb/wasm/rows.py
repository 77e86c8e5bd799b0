"""How a kernel reads the values of one row from its columns, and writes the result there."""

from __future__ import annotations

import datetime as dt

from .columns import TYPES, Slot
from .kernel_layout import AT, BEGIN, END, NUMBER, SHORT
from .unit import absence, variable
from .values import Kind, Value

_LOAD = {
    "float": "(f64.load {})",
    "int": "(i64.load {})",
    "bool": "(i32.load8_u {})",
    "datetime": "(i64.load {})",
    "date": "(i64.load32_s {})",
    "time": "(i64.div_s (i64.load {}) (i64.const 1000))",
    "timedelta": "(i64.load {})",
}
_STORE = {
    "float": "(f64.store {} {})",
    "int": "(i64.store {} {})",
    "bool": "(i32.store8 {} {})",
    "datetime": "(i64.store {} {})",
    "date": "(i64.store32 {} {})",
    "time": "(i64.store {} (i64.mul (i64.const 1000) {}))",
    "timedelta": "(i64.store {} {})",
}
_LANES = f"(v128.const i8x16 {' '.join(map(str, range(16)))})"
_SIZED = "0 1 2 3 16 17 18 19 20 21 22 23 24 25 26 27"
"""The size before the first bytes of a text."""
_EPOCH = dt.date(1970, 1, 1).toordinal()
FIRST_DAY, LAST_DAY = dt.date.min.toordinal() - _EPOCH, dt.date.max.toordinal() - _EPOCH
DAY = 86_400_000_000
"""Microseconds of a day."""
RANGES = {"date": (FIRST_DAY, LAST_DAY), "datetime": (FIRST_DAY * DAY, LAST_DAY * DAY + DAY - 1)}
"""What Python's dates can be, in days and microseconds since 1970."""


def loaded(index: int, slot: Slot) -> str:
    """Return code that gives a parameter the row's value; an optional one also says whether it is None."""
    address = _address(f"$in{index}", slot)
    value = _text(index, address) if slot.type == "str" else _LOAD[slot.type].format(address)
    code = f"(local.set {variable(slot.name)} {value})"
    if not slot.optional:
        return code
    nulls = f"(local.get $none_in{index})"
    byte = f"(i32.load8_u (i32.add {nulls} (i32.shr_u (local.get $row) (i32.const 3))))"
    bit = f"(i32.and (i32.const 1) (i32.shr_u {byte} (i32.and (local.get $row) (i32.const 7))))"
    none = f"(if (result i32) {nulls} (then (i32.eqz {bit})) (else (i32.const 0)))"
    none = f"(local.set {absence(slot.name)} {none})"
    if slot.type != "str":
        return f"{code} {none}"
    # The view of a null is anything, and may point anywhere.
    empty = f"(local.set {variable(slot.name)} (i64.const 0))"
    return f"{none} (if (local.get {absence(slot.name)}) (then {empty}) (else {code}))"


def _text(index: int, address: str) -> str:
    """Return code for the text of a view, as plugins/udf_runtime/src/text.h describes it."""
    view, bases = f"(local.get $view_in{index})", f"(local.get $bases_in{index})"
    size = f"(block (result i32) (local.set $view_in{index} {address}) (i32.load {view}))"
    number = f"(i32.shl (i32.load offset=8 {view}) (i32.const 2))"
    far = f"(i32.add (i32.load (i32.add {bases} {number})) (i32.load offset=12 {view}))"
    long = f"(i32.gt_u (i32.load {view}) (i32.const {SHORT}))"
    place = f"(if (result i32) {long} (then {far}) (else (i32.add {view} (i32.const 4))))"
    flagged = f"(i32.or (local.get $ascii_in{index}) {place})"
    return f"(i64.or (i64.shl (i64.extend_i32_u {size}) (i64.const 32)) (i64.extend_i32_u {flagged}))"


def ranged(slot: Slot, site: int, fail: str) -> str:
    """Return code that fails the row if a date is beyond those of Python."""
    first, last = RANGES[slot.type]
    value = f"(local.get {variable(slot.name)})"
    outside = f"(i32.or (i64.lt_s {value} (i64.const {first})) (i64.gt_s {value} (i64.const {last})))"
    if slot.optional:
        outside = f"(i32.and {outside} (i32.eqz (local.get {absence(slot.name)})))"
    return f"(if {outside} (then (global.set $error (i32.const {site})) {fail}))"


def stored(index: int, slot: Slot, value: Value) -> str:
    """Return code that writes a value of the result; the bit of one that is None is cleared."""
    code = _put(index, slot, value.code)
    if not slot.optional or value.none is None:
        return code
    return f"{code} (if {value.none} (then (call $clear_bit (local.get $none_out{index}) (local.get $row))))"


def cleared(index: int, slot: Slot) -> str:
    """Return code that writes zero, for a row without a result."""
    return _put(index, slot, f"({Kind(slot.type).wat}.const 0)")


def _put(index: int, slot: Slot, code: str) -> str:
    if slot.type == "str":
        return _stored_text(index, slot, code)
    return _STORE[slot.type].format(_address(f"$out{index}", slot), code)


def _stored_text(index: int, slot: Slot, code: str) -> str:
    """Return code that writes the view of a text, and behind those of earlier rows the text, unless it is short."""
    text, at, out = f"(local.get $text_out{index})", f"(local.get $at_out{index})", f"(local.get $out{index})"
    size = f"(i32.wrap_i64 (i64.shr_u {text} (i64.const 32)))"
    place = f"(i32.and (i32.wrap_i64 {text}) (i32.const 0x7fffffff))"
    view = _address(f"$views_out{index}", slot)
    sized = f"(i8x16.shuffle {_SIZED} (i32x4.splat {size}) (v128.load {place}))"
    used = f"(i8x16.lt_s {_LANES} (i8x16.splat (i32.add {size} (i32.const 4))))"
    short = f"(v128.store {view} (v128.and {sized} {used}))"
    # Two blocks are copied whatever the size, if there is room for them.
    begin = f"(local.set $at_out{index} (i32.load offset={4 * AT} {out}))"
    room = f"(i32.sub (i32.load offset={4 * END} {out}) {at})"
    fits = f"(i32.and (i32.le_u {size} (i32.const 32)) (i32.ge_u {room} (i32.const 32)))"
    copied = " ".join(f"(v128.store offset={i} {at} (v128.load offset={i} {place}))" for i in (0, 16))
    numbered = f"(i32x4.replace_lane 2 {sized} (i32.load offset={4 * NUMBER} {out}))"
    offset = f"(i32.sub {at} (i32.load offset={4 * BEGIN} {out}))"
    long = f"(v128.store {view} (i32x4.replace_lane 3 {numbered} {offset}))"
    moved = f"(i32.store offset={4 * AT} {out} (i32.add {at} {size}))"
    # Where there is no room, the row is computed again once the host has made some.
    kept = f"(br_if $full (i32.eqz (call $text_store {out} (local.get $row) {text})))"
    behind = f"{begin} (if {fits} (then {copied} {long} {moved}) (else {kept}))"
    few = f"(i32.le_u {size} (i32.const {SHORT}))"
    return f"(local.set $text_out{index} {code}) (if {few} (then {short}) (else {behind}))"


def _address(column: str, slot: Slot) -> str:
    """Return code for where the row stands in a column."""
    shift = {1: 0, 4: 2, 8: 3, 16: 4}[TYPES[slot.type].width]
    row = "(local.get $row)"
    scaled = f"(i32.shl {row} (i32.const {shift}))" if shift else row
    return f"(i32.add (local.get {column}) {scaled})"
