"""Write a compiled function down with all that it sees from outside, so that it can be compiled again anywhere."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import datetime as dt
import math
import re
import sys
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from .columns import NAMES
from .signature import record_fields
from .udf import DEFAULT_TIME, Udf
from .unit import outside

_TIMES = (dt.date, dt.time, dt.timedelta)
_CLASS = re.compile(r"\bdatetime\.(?=(datetime|date|time|timedelta|timezone)\b)")
_OURS = "dataflare_nb"


class Unwritten(Exception):  # noqa: N818 - says why, to whoever saves a function
    """Something that a function sees cannot be written down."""


def standalone(udf: Udf) -> str:
    """Return a file of Python that makes the same function, or say in `Unwritten` why there is none."""
    sheet = _Sheet()
    sheet.function(udf)
    return sheet.text(udf.name)


class _Sheet:
    """Imports and definitions, each under the name by which it is seen."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        self._imports: list[str] = []
        self._parts: list[str] = []
        self._bind("flare", sys.modules[_OURS])

    def text(self, name: str) -> str:
        """Return the file."""
        imports = "\n".join(sorted(self._imports))
        return "\n\n\n".join([f'"""{name}, with all that it sees."""\n\n{imports}', *self._parts]) + "\n"

    def function(self, udf: Udf) -> None:
        """Write a function after what it sees."""
        if not self._new(udf.name, udf):
            return
        names = outside(udf.function)
        for name in sorted(set(_free(udf.source.tree))):
            if name in names and name != udf.name and names[name] is not getattr(builtins, name, None):
                self._bind(name, names[name])
        self._parts.append("\n".join(self._lines(udf)))

    def _lines(self, udf: Udf) -> Iterator[str]:
        """Yield a function's lines. The errors of its rows count them from the first, which may be a decorator."""
        above, options = udf.source.tree.lineno - 1, self._options(udf)
        if above:
            yield f"@flare.udf({options})" if options else "@flare.udf"
            for _ in range(above - 1):
                yield "# "
        yield from udf.source.lines[above:]
        if not above:
            yield f"\n\n{udf.name} = flare.udf({options})({udf.name})"
        if udf.signature.fixed:
            fixed = ", ".join(f"{name}={self._spelled(name, value)}" for name, value in udf.signature.fixed.items())
            yield f"\n\n{udf.name} = {udf.name}.fix({fixed})"

    @staticmethod
    def _options(udf: Udf) -> str:
        given = {"output": udf.output, "on_error": udf.on_error, "max_execution_time": f"{udf.kernel.facts.time_ms}ms"}
        usual = {"output": (), "on_error": "fail", "max_execution_time": DEFAULT_TIME.replace("s", "000ms")}
        return ", ".join(f"{name}={value!r}" for name, value in given.items() if value != usual[name])

    def _bind(self, name: str, value: Any) -> None:
        """Write what makes a name mean a value."""
        if isinstance(value, Udf):
            self.function(value)
            if name != value.name and self._new(name, value):
                self._parts.append(f"{name} = {value.name}")
        elif (line := _imported(name, value)) is not None:
            if self._new(name, value):
                self._imports.append(line)
        elif self._new(name, value):
            fields = record_fields(value)
            text = f"{name} = {self._spelled(name, value)}" if fields is None else self._record(name, value, fields)
            self._parts.append(text)

    def _new(self, name: str, value: Any) -> bool:
        """Note what a name means; tell whether it meant nothing before."""
        if name not in self._seen:
            self._seen[name] = value
            return True
        known = self._seen[name]
        if known is not value and (type(known) is not type(value) or repr(known) != repr(value)):
            raise Unwritten(f"`{name}` means one thing in one function and another in the next")
        return False

    def _record(self, name: str, kind: type, fields: dict[str, Any]) -> str:
        if name != kind.__name__:
            raise Unwritten(f"the class {kind.__name__} is seen as `{name}`")
        hints = typing.get_type_hints(kind, localns=dict(vars(kind)))
        if issubclass(kind, tuple):
            self._bind("NamedTuple", typing.NamedTuple)
            lines = [f"class {name}(NamedTuple):"]
        else:
            self._bind("dataclass", dataclasses.dataclass)
            lines = ["@dataclass", f"class {name}:"]
        for field, default in fields.items():
            end = "" if default is ... else f" = {self._spelled(field, default)}"
            lines.append(f"    {field}: {self._annotation(name, hints.get(field))}{end}")
        return "\n".join(lines)

    def _annotation(self, name: str, hint: Any) -> str:
        parts = typing.get_args(hint) or (hint,)
        spelled = []
        for part in parts:
            if part is type(None):
                spelled.append("None")
                continue
            if part not in NAMES:
                raise Unwritten(f"the class {name} has a field of the type {hint}")
            if part.__module__ != "builtins":
                self._bind(part.__name__, part)
            spelled.append(part.__name__)
        return " | ".join(spelled)

    def _spelled(self, name: str, value: Any) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if value is None or type(value) in (bool, int, float, str):
            return repr(value)
        if type(value) is tuple:
            return f"({''.join(self._spelled(name, part) + ', ' for part in value)})"
        if isinstance(value, _TIMES):
            self._bind("_datetime", dt)
            return _CLASS.sub("_datetime.", repr(value))
        raise Unwritten(f"`{name}` is {type(value).__name__}, which cannot be written down")


def _free(tree: ast.FunctionDef) -> Iterator[str]:
    """Yield the names that a function may see from outside; those of its decorators are not among them."""
    arguments = tree.args
    own = {each.arg for each in (*arguments.posonlyargs, *arguments.args)}
    body = [node for statement in tree.body for node in ast.walk(statement) if isinstance(node, ast.Name)]
    own |= {node.id for node in body if not isinstance(node.ctx, ast.Load)}
    yield from (node.id for node in body if node.id not in own)
    for part in (arguments, tree.returns):
        if part is not None:
            yield from (node.id for node in ast.walk(part) if isinstance(node, ast.Name))


def _imported(name: str, value: Any) -> str | None:
    """Return how a name is imported, None if it is nothing of the standard library's, or of this package."""
    if isinstance(value, ModuleType):
        if not _known(value.__name__):
            raise Unwritten(f"`{name}` is the module {value.__name__}, which is not of the standard library")
        return f"import {value.__name__}" if name == value.__name__ else f"import {value.__name__} as {name}"
    home = getattr(value, "__module__", None)
    if not isinstance(home, str) or not _known(home):
        return None
    module = sys.modules.get(home)
    for called in (getattr(value, "__qualname__", None), getattr(value, "_name", None), name):
        if isinstance(called, str) and getattr(module, called, None) is value:
            return f"from {home} import {called}" + ("" if called == name else f" as {name}")
    return None


def _known(module: str) -> bool:
    top = module.partition(".")[0]
    return (top in sys.stdlib_module_names and top != "__main__") or top == _OURS
