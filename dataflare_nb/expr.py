"""Polars expressions as values: stored, shown, looked into."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import polars as pl

from .errors import GraphFormat, WrongType
from .interrupts import schema_of
from .types import Schema

_PYTHON = b"PLPY"
"""How Polars begins the marks of pickled Python inside what it writes."""
_PICKLE = re.compile(rb"\x80[\x02-\x05].*\.", re.DOTALL)
_ARROW = b"\xff\xff\xff\xff"
_FOREIGN = {
    *("AnonymousFunction", "AnonymousAgg", "AnonymousStreamingAgg", "PipeWithDtype", "SubPlan", "FfiPlugin", "Object"),
    *("FoldHorizontal", "ReduceHorizontal", "CumFoldHorizontal", "CumReduceHorizontal"),
}
"""The parts of an expression that call Python, load a library, or hold a whole plan."""
_PARAM = "__param:"
"""How a text begins that marks the value of a param in an expression."""


class Setting(NamedTuple):
    """A value that a param has: its name, its type, and the value."""

    name: str
    dtype: str
    value: Any

    @property
    def literal(self) -> pl.Expr:
        """The value as an expression of the param's type."""
        return pl.lit(self.value, getattr(pl, self.dtype))


class Expr(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Polars expression in a graph.

    `data` is Polars' own serialisation in base64. An expression with a Python function inside has none; it lives in
    the graph's blobs under `blob` and can only run in this process.
    """

    text: str
    data: str = ""
    blob: str = ""

    @classmethod
    def of(cls, expr: pl.Expr) -> tuple[Expr, dict[str, pl.Expr]]:
        """Return the value, and the blobs it needs."""
        text = str(expr)
        data = _serialized(expr)
        if _PARAM in text:
            if data is None:
                raise WrongType(
                    f"`{readable(text)}` has a Python function and a param, and what runs in Python cannot be given "
                    "another value; compute one of them in a step before, or use @flare.udf"
                )
            return cls(*_settled(data)), {}
        if data is None:
            key = f"expr-{hashlib.sha256(text.encode()).hexdigest()[:12]}-{_ordinal(text, expr)}"
            return cls(text, blob=key), {key: expr}
        return cls(text, data=base64.b64encode(data).decode()), {}

    @property
    def readable(self) -> str:
        """The expression as a person would write it."""
        return readable(self.text)

    @property
    def params(self) -> dict[str, Setting]:
        """The params that it reads, with the values that they begin with."""
        return _params_of(self.data)

    def load(self, blobs: Mapping[str, Any], settings: tuple[Setting, ...] = ()) -> pl.Expr:
        """Return the expression, its params as they were at first or as `settings` say.

        Raises KeyError when it lives in another process.
        """
        if self.blob:
            found = blobs[self.blob]
            assert isinstance(found, pl.Expr)
            return found
        return _with_settings(self.data, settings) if settings and self.params else _load(self.data)


def param_expr(setting: Setting, first: Any) -> pl.Expr:
    """Return a value that says of itself which param's it is, and how that began.

    It has to be an expression that Polars takes for a constant, that nothing takes the mark from (as undoing aliases
    would take a name), and that runs on any frame. So it is a choice between two literals that is always the same.
    """
    mark = pl.lit(_PARAM + setting.name).is_not_null()
    began = Setting(setting.name, setting.dtype, first).literal
    return pl.when(mark).then(setting.literal).otherwise(began).alias(setting.name)


def _marked(tree: Any) -> str | None:
    """Return the param that a part of a written expression is the value of."""
    match tree:
        case {
            "Ternary": {
                "predicate": {
                    "Function": {
                        "input": [{"Literal": {"Scalar": {"String": str(mark)}}}],
                        "function": {"Boolean": "IsNotNull"},
                    }
                },
                "truthy": {"Literal": _},
                "falsy": {"Literal": _},
            }
        } if mark.startswith(_PARAM):
            return mark.removeprefix(_PARAM)
        case _:
            return None


def _replaced(tree: Any, by: Callable[[str, Any], Any]) -> Any:
    """Replace the value of each param in a written expression."""
    if (name := _marked(tree)) is not None:
        return by(name, tree)
    match tree:
        case dict():
            return {key: _replaced(value, by) for key, value in tree.items()}
        case list():
            return [_replaced(value, by) for value in tree]
        case _:
            return tree


def _settled(data: bytes) -> tuple[str, str]:
    """Return an expression with params as a graph holds it: its text, and its writing with the first values."""
    tree = msgspec.msgpack.decode(data)

    def first(name: str, part: Any) -> Any:
        return {"Ternary": {**part["Ternary"], "truthy": part["Ternary"]["falsy"]}}

    def bare(part: Any) -> Any:
        match part:
            case {"Alias": [inner, str(alias)]} if _marked(inner) == alias:
                return {"Column": _PARAM + alias}
            case dict():
                return {"Column": _PARAM + name} if (name := _marked(part)) else {k: bare(v) for k, v in part.items()}
            case list():
                return [bare(each) for each in part]
            case _:
                return part

    text = str(_of_tree(bare(tree))).replace(f'col("{_PARAM}', 'param("')
    return text, base64.b64encode(msgspec.msgpack.encode(_replaced(tree, first))).decode()


@lru_cache(maxsize=4096)
def _params_of(data: str) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    raw = base64.b64decode(data)
    if _PARAM.encode() not in raw:
        return found

    def note(name: str, part: Any) -> Any:
        value = _of_tree(part["Ternary"]["falsy"])
        kept = pl.select(value).to_series()
        found[name] = Setting(name, str(kept.dtype), kept.item())
        return part

    _replaced(_tree(raw), note)
    return found


@lru_cache(maxsize=1024)
def _with_settings(data: str, settings: tuple[Setting, ...]) -> pl.Expr:
    written = {each.name: msgspec.msgpack.decode(each.literal.meta.serialize()) for each in settings}
    _load(data)  # It is one that may be read.
    return _of_tree(_replaced(_tree(base64.b64decode(data)), lambda name, part: written.get(name, part)))


def _of_tree(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(msgspec.msgpack.encode(tree))


@lru_cache(maxsize=4096)
def _load(data: str) -> pl.Expr:
    try:
        raw = base64.b64decode(data, validate=True)
        tree = _tree(raw)
        if _is_foreign(tree):
            raise GraphFormat("an expression holds a pickled Python function; reading it would run foreign code")
        # What was checked is what is read: names given twice, which we and Polars may read differently, are gone.
        return pl.Expr.deserialize(msgspec.msgpack.encode(tree))
    except (ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        raise GraphFormat(f"an expression cannot be read: {error}") from None


def _serialized(expr: pl.Expr) -> bytes | None:
    """Return Polars' own writing, or None when a Python function is inside: that stays in this process."""
    try:
        data = expr.meta.serialize()
        return None if _is_foreign(_tree(data)) else data
    except (ValueError, RecursionError, pl.exceptions.ComputeError):
        return None


def _tree(data: bytes) -> Any:
    """Take Polars' writing apart without Polars. Raises ValueError for what cannot be looked into."""
    if _PYTHON in data:
        return data
    return msgspec.msgpack.decode(data)


def _is_foreign(tree: Any) -> bool:
    """Tell whether reading an expression could run code; what we do not know counts as such."""
    match tree:
        case dict():
            renamed = tree.get("RenameAlias")
            # A name may be written as a number or as bytes too, which Polars itself never does.
            return (
                not all(isinstance(key, str) and key not in _FOREIGN for key in tree)
                or (renamed is not None and "'Map'" in repr(renamed))
                or any(map(_is_foreign, tree.values()))
            )
        case list() if tree and all(type(item) is int and 0 <= item < 256 for item in tree):
            return _is_foreign(bytes(tree))
        case list():
            return any(map(_is_foreign, tree))
        case str():
            return _PYTHON.decode() in tree
        case bytes():
            pickled = len(tree) > 16 and not tree.startswith(_ARROW) and _PICKLE.search(tree) is not None
            return pickled or _PYTHON in tree or b"POLARS_EXTENSION_TYPE" in tree
        case None | bool() | int() | float():
            return False
        case _:
            return True


_numbers = itertools.count(1)
_opaque: dict[str, list[tuple[weakref.ref[pl.Expr], int]]] = {}


def _ordinal(text: str, expr: pl.Expr) -> int:
    """Number the expressions that read the same and hold different functions."""
    alive = [(ref, number) for ref, number in _opaque.get(text, []) if ref() is not None]
    for ref, number in alive:
        known = ref()
        if known is not None and same(known, expr):
            return number
    number = next(_numbers) if alive or text in _opaque else 0
    _opaque[text] = [*alive, (weakref.ref(expr), number)]
    return number


_COLUMN = re.compile(r'(?:col|param)\("(.*?)"\)')
_STRING = re.compile(r'"(.*?)"(?=[)\]},.]|$)')
_HELD = re.compile("\x00([cs])(\\d+)\x00")
_PLAIN_NAME = re.compile(r"(?!(?:null|true|false|len|element)$)[^\W\d]\w*")
_ALIAS = re.compile("(.*)\\.alias\\((\x00s\\d+\x00)\\)", re.DOTALL)


@lru_cache(maxsize=4096)
def readable(text: str) -> str:
    """Return Polars' text of an expression as a person would write it; what is not understood stays as it is.

    >>> readable('[([(col("v")) >= (dyn int: 0)]) & (col("my w").is_not_null())].alias("ok")')
    'ok = (v >= 0) & col("my w").is_not_null()'
    """
    held: list[str] = []

    def hold(kind: str) -> Callable[[re.Match[str]], str]:
        def keep(found: re.Match[str]) -> str:
            held.append(found[1])
            return f"\x00{kind}{len(held) - 1}\x00"

        return keep

    if "\x00" in text:
        return text
    plain = _STRING.sub(hold("s"), _COLUMN.sub(hold("c"), text))
    try:
        plain = _infix(plain)
    except ValueError:
        return text
    plain = re.sub(r"\bdyn (?:int|float|str): ", "", plain).replace(".strict_cast(", ".cast(")
    plain = re.sub(r", require_all=(?:true|false)\)", ")", plain)
    plain = re.sub(r"(^|[(\[ ])\.when\(", r"\1when(", plain)

    def release(found: re.Match[str]) -> str:
        name = held[int(found[2])]
        if found[1] == "s":
            return f'"{name}"'
        return name if _PLAIN_NAME.fullmatch(name) else f'col("{name}")'

    if (aliased := _ALIAS.fullmatch(plain)) is None:
        return _HELD.sub(release, plain)
    name, body = held[int(aliased[2][2:-1])], _HELD.sub(release, _bare(aliased[1]))
    return body if body == name else f"{name} = {body}"


def _infix(text: str) -> str:
    """Write `[(a) + (b)]` as `a + b`, in parentheses where it stands before a method or inside another operation."""
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "[":
            out.append(text[at])
            at += 1
            continue
        end = _closing(text, at)
        pair = _operands(text[at + 1 : end])
        before, after = text[at - 1 : at], text[end + 1 : end + 2]
        if pair is not None:
            alone = before in ("", "(", "[", " ") and after in ("", ")", "]", ",")
            out.append(_joined(*pair) if alone else f"({_joined(*pair)})")
        elif before == "(" and after == ")" and text[at - 2 : at - 1].isalnum():
            out.append(_infix(text[at + 1 : end]))
        else:
            out.append(f"[{_infix(text[at + 1 : end])}]")
        at = end + 1
    return "".join(out)


def _joined(left: str, sign: str, right: str) -> str:
    sides = []
    for side, first in ((left, True), (right, False)):
        inner = _operands(side[1:-1]) if side.startswith("[") and _closing(side, 0) == len(side) - 1 else None
        chained = inner is not None and first and inner[1] == sign and sign in "+*&|"
        sides.append(f"({_infix(side)})" if inner is not None and not chained else _infix(side))
    return f"{sides[0]} {sign} {sides[1]}"


def _operands(text: str) -> tuple[str, str, str] | None:
    """Take `(a) + (b)` apart."""
    if not text.startswith("(") or not text.endswith(")"):
        return None
    end = _closing(text, 0)
    sign, found, rest = text[end + 1 :].strip().partition(" ")
    if not found or not rest.startswith("(") or _closing(rest, 0) != len(rest) - 1:
        return None
    return text[1:end], sign, rest[1:-1]


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at
    raise ValueError("brackets do not close")


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") and _closing(text, 0) == len(text) - 1 else text


def expand(expr: pl.Expr, schema: Schema, keys: Sequence[str] = ()) -> list[pl.Expr]:
    """Return an aggregation of several columns, such as `pl.col("a", "b").sum()`, as one expression for each.

    Wildcards leave the keys out, as in a `group_by`. What cannot be told apart comes back whole.
    """
    if not expr.meta.has_multiple_outputs():
        return [expr]
    frame = pl.LazyFrame(schema=schema)

    def gives(*made: pl.Expr) -> Schema:
        if not keys:
            return schema_of(frame.select(*made))
        grouped = schema_of(frame.group_by(*keys).agg(*made))
        return Schema({name: dtype for name, dtype in grouped.items() if name not in keys})

    known: dict[int, list[str]] = {}

    def names_of(part: Any) -> list[str]:
        # A part is asked about for each column, and there may be thousands.
        if id(part) not in known:
            known[id(part)] = gives(_from_json(part)).names()
        return known[id(part)]

    try:
        wanted = gives(expr)
        tree = json.loads(expr.meta.serialize(format="json"))
        singles = [
            _from_json(_one(tree, at, names_of)).meta.undo_aliases().alias(name) for at, name in enumerate(wanted)
        ]
        # The form is Polars' own affair: what was made of it has to give the same columns.
        apart = not any(single.meta.has_multiple_outputs() for single in singles)
        return singles if singles and apart and gives(*singles) == wanted else [expr]
    except (pl.exceptions.PolarsError, ValueError, TypeError, LookupError):
        return [expr]


def _one(tree: Any, at: int, names_of: Callable[[Any], list[str]]) -> Any:
    """Replace each selection of columns in a written expression by the column it gives to output number `at`."""
    match tree:
        case {"Selector": _}:
            return {"Column": names_of(tree)[at]}
        case {"Function": _} if len(names_of(tree)) == 1:
            # One column made of several, such as pl.sum_horizontal(pl.all()).
            return tree
        case dict():
            return {key: _one(value, at, names_of) for key, value in tree.items()}
        case list():
            return [_one(value, at, names_of) for value in tree]
        case _:
            return tree


def _from_json(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")


def nodes(expr: pl.Expr) -> Iterator[pl.Expr]:
    """Yield an expression and everything it is made of, outermost first."""
    yield expr
    for child in expr.meta.pop():
        yield from nodes(child)


def row_fault(expr: pl.Expr) -> str | None:
    """Return the part that looks beyond its own row, such as `x.sum()`, or None.

    A Python function inside cannot be looked into and is trusted. What looks at the elements of a list, as in
    `xs.list.eval(pl.element().sum())`, stays within its row.
    """
    for node in nodes(expr.meta.undo_aliases()):
        try:
            if not node.meta.is_row_separable() and not _is_of_elements(node):
                return readable(str(node))
        except pl.exceptions.PolarsError:
            continue
    return None


def _is_of_elements(expr: pl.Expr) -> bool:
    return not expr.meta.root_names() and any(str(node) == "element()" for node in nodes(expr))


def changes_height(expr: pl.Expr) -> bool:
    """Tell whether an expression over rows gives more or fewer of them, as `drop_nulls` and `explode` do."""
    try:
        return not (expr.meta.is_length_preserving() or expr.meta.is_scalar())
    except pl.exceptions.PolarsError:
        return False


def has_python(expr: pl.Expr) -> bool:
    """Tell whether a Python function is inside, so that the expression lives in this process only."""
    return _serialized(expr) is None


def same(left: pl.Expr, right: pl.Expr) -> bool:
    """Tell whether two expressions are the same text."""
    return bool(left.meta == right.meta)
