"""The methods of str that a compiled function may call."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import characters, words
from . import text_inline as inline
from .intrinsics import METHODS
from .texts import START, STOP, finding, found, making, plain, size_of
from .values import INTS, Kind, Value, as_int

if TYPE_CHECKING:
    from .expressions import Expressions

_NOT_FOUND = ("ValueError", words.NO_SUBSTRING)
_ALPHA, _DECIMAL, _DIGIT, _NUMERIC, _UPPER, _LOWER = 1, 2, 4, 8, 16, 32


class Given:
    """The arguments of a call of a method, checked one by one in their order."""

    def __init__(self, ex: Expressions, node: ast.Call, names: Sequence[str], defaults: Mapping[str, Any]) -> None:
        self.ex, self.node = ex, node
        self.values = dict(zip(names, ex.arguments(node, names, defaults), strict=True))

    def _checked(self, name: str, kinds: frozenset[Kind], what: str) -> Value:
        value = self.values[name]
        if value.none is not None or value.kind not in kinds:
            called = ast.unparse(self.node.func)
            given = f"{value.type.spoken}"
            raise self.ex.source.error(self.node, f"`{called}` takes {what} as `{name}`, not {given}")
        return value

    def left_out(self, name: str) -> bool:
        """Whether an argument is None or was not given."""
        return self.values[name].kind is Kind.NONE

    def text(self, name: str) -> Value:
        """Return an argument that is text."""
        return self._checked(name, frozenset({Kind.STR}), "a str")

    def int(self, name: str, default: str) -> str:
        """Return code for an int, or the default where it is left out."""
        if self.left_out(name):
            return default
        return as_int(self._checked(name, INTS | {Kind.BOOL}, "an int"))

    def texts(self, name: str) -> Value:
        """Return an argument that is a list of texts."""
        return self._checked(name, frozenset({Kind.TEXTS}), "a list of texts, as split gives it")


def _nothing(ex: Expressions, node: ast.Call) -> None:
    if node.args or node.keywords:
        raise ex.source.error(node, f"`{ast.unparse(node.func)}` takes no arguments")


def _changing(name: str, function: str, *more: int) -> None:
    """Register a method without arguments that makes another text."""

    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        _nothing(ex, node)
        return Value(making(ex, node, function, owner.code, *(f"(i32.const {n})" for n in more)), Kind.STR)

    METHODS[Kind.STR, name] = body


def _casing(name: str, first: str) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        _nothing(ex, node)
        code = inline.cased(ex, owner.code, ord(first), lambda text: making(ex, node, f"text_{name}", text))
        return Value(code, Kind.STR)

    METHODS[Kind.STR, name] = body


_casing("lower", "A")
_casing("upper", "a")
_changing("casefold", "text_fold")
_changing("swapcase", "text_swapcase")
_changing("title", "text_title", 1)
_changing("capitalize", "text_title", 0)


def _testing(name: str, function: str, *more: int) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        _nothing(ex, node)

        def called(text: str) -> str:
            return plain(ex, function, text, *(f"(i32.const {n})" for n in more))

        if owner.point is not None:
            code = characters.tested(ex, owner, name)
        elif name in inline.CHARACTERS:
            code = inline.tested(ex, owner.code, name, called)
        else:
            code = called(owner.code)
        return Value(code, Kind.BOOL)

    METHODS[Kind.STR, name] = body


_testing("isalpha", "text_is", _ALPHA)
_testing("isdecimal", "text_is", _DECIMAL)
_testing("isdigit", "text_is", _DIGIT)
_testing("isnumeric", "text_is", _NUMERIC)
_testing("isalnum", "text_is", _ALPHA | _DECIMAL | _DIGIT | _NUMERIC)
_testing("isupper", "text_is_case", _UPPER)
_testing("islower", "text_is_case", _LOWER)
_testing("istitle", "text_is_title")
_testing("isspace", "text_is_space")
_testing("isascii", "text_is_ascii")


def _stripping(name: str, sides: int) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        given = Given(ex, node, ["chars"], {"chars": None})
        if given.left_out("chars"):
            code = inline.stripped(
                ex, owner.code, sides, lambda text: plain(ex, "text_strip", text, f"(i32.const {sides})")
            )
            return Value(code, Kind.STR)
        code = plain(ex, "text_strip_of", owner.code, given.text("chars").code, f"(i32.const {sides})")
        return Value(code, Kind.STR)

    METHODS[Kind.STR, name] = body


_stripping("lstrip", 1)
_stripping("rstrip", 2)
_stripping("strip", 3)


def _window(given: Given) -> tuple[str, str]:
    return given.int("start", START), given.int("end", STOP)


_WINDOW = {"start": None, "end": None}


def _searching(name: str, function: str, wrong: tuple[str, str] | None = None) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        given = Given(ex, node, ["sub", "start", "end"], _WINDOW)
        sub = given.text("sub")
        content = inline.short(sub)
        if function == "text_find" and content is not None and given.left_out("start") and given.left_out("end"):
            name_, what = "text_find_whole", sub.code
            if len(content) == 1:
                name_, what = "text_find_byte", f"(i32.const {content[0]})"
            code = inline.place(ex, owner.code, content, lambda text: plain(ex, name_, text, what))
        else:
            code = plain(ex, function, owner.code, sub.code, *_window(given))
        return Value(found(ex, node, wrong, code) if wrong else code, Kind.INT)

    METHODS[Kind.STR, name] = body


_searching("find", "text_find")
_searching("rfind", "text_rfind")
_searching("index", "text_find", _NOT_FOUND)
_searching("rindex", "text_rfind", _NOT_FOUND)
_searching("count", "text_count")


def _edging(name: str, function: str, here: Callable[[str, bytes], str]) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        given = Given(ex, node, ["prefix", "start", "end"], _WINDOW)
        several = given.values["prefix"]
        whole = given.left_out("start") and given.left_out("end")
        parts = several.parts if several.kind is Kind.RECORD else (given.text("prefix"),)
        known = [content for part in parts if (content := inline.short(part)) is not None]
        if whole and parts and len(known) == len(parts):
            start, text = inline.read(ex, owner.code)
            code = here(text, known[0])
            for content in known[1:]:
                code = f"(i32.or {code} {here(text, content)})"
            return Value(f"(block (result i32) {start} {code})", Kind.BOOL)
        if several.kind is not Kind.RECORD:
            return Value(plain(ex, function, owner.code, given.text("prefix").code, *_window(given)), Kind.BOOL)
        start, held = ex.hold(owner)
        bounds, holds = [], []
        for code in _window(given):
            name = ex.frame.temporary("i64")
            holds.append(f"(local.set {name} {code})")
            bounds.append(f"(local.get {name})")
        code = "(i32.const 0)"
        for part in reversed(several.parts):
            if part.kind is not Kind.STR or part.none is not None:
                raise ex.source.error(node, f"`{ast.unparse(node.func)}` takes a tuple of texts")
            one = plain(ex, function, held.code, part.code, *bounds)
            code = f"(if (result i32) {one} (then (i32.const 1)) (else {code}))"
        return Value(f"(block (result i32) {start} {several.code} {' '.join(holds)} {code})", Kind.BOOL)

    METHODS[Kind.STR, name] = body


_edging("startswith", "text_starts", inline.starts)
_edging("endswith", "text_ends", inline.ends)


def _trimming(name: str, argument: str, function: str) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        given = Given(ex, node, [argument], {})
        return Value(plain(ex, function, owner.code, given.text(argument).code), Kind.STR)

    METHODS[Kind.STR, name] = body


_trimming("removeprefix", "prefix", "text_without_prefix")
_trimming("removesuffix", "suffix", "text_without_suffix")


def _replace(ex: Expressions, node: ast.Call, owner: Value) -> Value:
    given = Given(ex, node, ["old", "new", "count"], {"count": None})
    args = [given.text("old").code, given.text("new").code, given.int("count", "(i64.const -1)")]
    return Value(making(ex, node, "text_replace", owner.code, *args), Kind.STR)


METHODS[Kind.STR, "replace"] = _replace


def _zfill(ex: Expressions, node: ast.Call, owner: Value) -> Value:
    given = Given(ex, node, ["width"], {})
    return Value(making(ex, node, "text_zfill", owner.code, given.int("width", "")), Kind.STR)


METHODS[Kind.STR, "zfill"] = _zfill


def _padding(name: str, side: str) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        given = Given(ex, node, ["width", "fillchar"], {"fillchar": " "})
        fill = given.text("fillchar")
        args = [owner.code, given.int("width", ""), fill.code, f"(i32.const {ord(side)})"]
        wrong = ("TypeError", words.NOT_ONE_FILL)
        if isinstance(fill.number, str) and len(fill.number) != 1:
            raise ex.source.error(node, words.NOT_ONE_FILL)
        return Value(making(ex, node, "text_pad", *args, wrong=wrong), Kind.STR)

    METHODS[Kind.STR, name] = body


_padding("ljust", "<")
_padding("rjust", ">")
_padding("center", "^")


# ---- split ----


class _Split:
    """A call of `split` or `rsplit`: what goes before, and the arguments of the library's functions."""

    def __init__(self, ex: Expressions, node: ast.Call, owner: Value, back: bool) -> None:
        given = Given(ex, node, ["sep", "maxsplit"], {"sep": None, "maxsplit": None})
        self.start, self.spaced = "", given.left_out("sep")
        args = [owner.code]
        if not self.spaced:
            held_owner, text = ex.hold(owner)
            held, sep = _separator(ex, node, given.text("sep"))
            self.start = f"{held_owner} {held}"
            args = [text.code, sep]
        self.before = [*args, given.int("maxsplit", "(i64.const -1)")]
        self.back = f"(i32.const {int(back)})"
        self.name = "text_words" if self.spaced else "text_split"

    def wrapped(self, code: str) -> str:
        return f"(block (result i64) {self.start} {code})" if self.start else code


def _separator(ex: Expressions, node: ast.AST, sep: Value) -> tuple[str, str]:
    """Return code that keeps a separator, which must not be empty, and code that reads it."""
    if sep.number:
        return "", sep.code
    start, held = ex.hold(sep)
    empty = ex.failing(f"(i64.eqz {size_of(held.code)})", "ValueError", words.NO_SEPARATOR, node)
    return f"{start} {empty}", held.code


def _splitting(name: str, back: bool) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        split = _Split(ex, node, owner, back)
        return Value(split.wrapped(making(ex, node, split.name, *split.before, split.back)), Kind.TEXTS)

    METHODS[Kind.STR, name] = body


_splitting("split", False)
_splitting("rsplit", True)


def split_of(ex: Expressions, node: ast.expr) -> tuple[ast.Call, Value, bool] | None:
    """Return a call of `split` or `rsplit` of a text, the text, and whether it goes from the back."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    if node.func.attr not in ("split", "rsplit") or not ex.is_value(node.func.value):
        return None
    owner = ex.maybe(node.func.value)
    if owner.kind is not Kind.STR or owner.none is not None:
        return None
    return node, owner, node.func.attr == "rsplit"


def split_item(ex: Expressions, node: ast.Subscript) -> Value | None:
    """Compile `text.split(...)[index]` without making the list, None if it is something else."""
    if isinstance(node.slice, ast.Slice):
        return None
    called = split_of(ex, node.value)
    if called is None:
        return None
    split = _Split(ex, *called)
    index = ex.value(node.slice)
    if index.kind not in INTS | {Kind.BOOL}:
        raise ex.source.error(node.slice, f"an index is an int, not {index.kind.spoken}")
    args = [*split.before, as_int(index), split.back]
    return Value(
        split.wrapped(finding(ex, node, ("IndexError", words.LIST_INDEX), f"{split.name}_item", *args)), Kind.STR
    )


def split_length(ex: Expressions, node: ast.expr) -> Value | None:
    """Compile `len(text.split(...))` without making the list, None if it is something else."""
    called = split_of(ex, node)
    if called is None:
        return None
    split = _Split(ex, *called)
    return Value(split.wrapped(plain(ex, f"{split.name}_length", *split.before, split.back)), Kind.INT)


def _partition(name: str, back: bool) -> None:
    def body(ex: Expressions, node: ast.Call, owner: Value) -> Value:
        given = Given(ex, node, ["sep"], {})
        start, text = ex.hold(owner)
        held, sep = _separator(ex, node, given.text("sep"))
        place = ex.frame.temporary("i64")
        at = f"(local.get {place})"
        find = f"(local.set {place} {plain(ex, 'text_place', text.code, sep, f'(i32.const {int(back)})')})"
        missing, nothing = f"(i64.lt_s {at} (i64.const 0))", "(i64.const 0)"
        behind = f"(i64.add {at} {size_of(sep)})"
        first = inline.part(text.code, at, rest=False)
        last = inline.part(text.code, behind, rest=True)
        choices = [
            (nothing if back else text.code, first),
            (nothing, sep),
            (text.code if back else nothing, last),
        ]
        parts = tuple(Value(f"(select {none} {some} {missing})", Kind.STR) for none, some in choices)
        return Value(f"{start} {held} {find}", Kind.RECORD, parts=parts, fields=("0", "1", "2"))

    METHODS[Kind.STR, name] = body


_partition("partition", False)
_partition("rpartition", True)


def _join(ex: Expressions, node: ast.Call, owner: Value) -> Value:
    if len(node.args) == 1 and not node.keywords and isinstance(node.args[0], (ast.Tuple, ast.List)):
        return _join_parts(ex, node, owner, node.args[0].elts)
    texts = Given(ex, node, ["iterable"], {}).texts("iterable")
    return Value(making(ex, node, "texts_join", owner.code, texts.code), Kind.STR)


def _join_parts(ex: Expressions, node: ast.Call, owner: Value, parts: Sequence[ast.expr]) -> Value:
    from .texts import constant_text, joined

    start, sep = ("", owner) if owner.number is not None else ex.hold(owner)
    # All parts are evaluated before any is joined, so that the result grows where it is.
    made = constant_text(ex, "", node)
    code = [start]
    held = []
    for part in parts:
        value = ex.value(part)
        if value.kind is not Kind.STR:
            raise ex.source.error(part, f"`join` takes texts, not {value.kind.spoken}; convert it with str(...)")
        if value.number is None:
            keep, value = ex.hold(value)
            code.append(keep)
        held.append(value)
    for i, value in enumerate(held):
        made = joined(ex, node, joined(ex, node, made, sep) if i else made, value)
    return Value(f"(block (result i64) {' '.join(code)} {made.code})", Kind.STR)


METHODS[Kind.STR, "join"] = _join
