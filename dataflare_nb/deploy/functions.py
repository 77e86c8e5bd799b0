"""A Python function as a document: its code and all that it reads, so that another process can call it.

Code is stored as Python compiled it, so writer and reader must be of one minor version. No name of a file is kept.
"""

from __future__ import annotations

import base64
import builtins
import dis
import importlib
import io
import marshal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import msgspec
import polars as pl

from ..errors import DataflareError, shown
from ..expr import Expr

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_MARSHAL = 2
"""The last form of marshal without references, which depend on who else holds an object."""


class Unportable(DataflareError):  # noqa: N818 - says what it is
    """A function that holds what cannot be taken to another process."""


def write(function: Any) -> bytes:
    """Return a function as a document; the same function gives the same bytes. Raises Unportable."""
    if not isinstance(function, FunctionType):
        raise Unportable(f"{shown(function)} is {type(function).__name__}, not a function written with def or lambda")
    writer = _Writer()
    try:
        root = writer.function(function)
    except RecursionError:
        raise Unportable(f"what {function.__name__} reads holds itself, or is nested too deep") from None
    return msgspec.json.encode({"python": PYTHON, "root": root, "functions": writer.functions})


def read(document: bytes) -> Callable[..., Any]:
    """Return the function that `write` wrote. Raises Unportable for one of another Python."""
    found = msgspec.json.decode(document)
    if found["python"] != PYTHON:
        raise Unportable(f"the function is of Python {found['python']}, and this is {PYTHON}; the image needs the same")
    return _Reader(found["functions"]).function(found["root"])


def values(function: FunctionType) -> dict[str, Any]:
    """Return what a function reads by name: of its module, of what it closes over, its defaults; and so on within."""
    found: dict[str, Any] = {}
    met: set[int] = set()
    waiting = [function]
    while waiting:
        each = waiting.pop()
        met.add(id(each))
        code = each.__code__
        own = {name: each.__globals__[name] for name in _globals(code) if name in each.__globals__}
        for free, cell in zip(code.co_freevars, each.__closure__ or (), strict=True):
            with suppress(ValueError):
                own[free] = cell.cell_contents
        defaults = each.__defaults__ or ()
        own |= dict(zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True))
        own |= each.__kwdefaults__ or {}
        waiting += [value for value in own.values() if isinstance(value, FunctionType) and id(value) not in met]
        found |= own
    return found


class _Writer:
    """Functions met, by number, since they may call each other."""

    def __init__(self) -> None:
        self.functions: list[dict[str, Any]] = []
        self._met: dict[int, int] = {}

    def function(self, function: FunctionType) -> int:
        if id(function) in self._met:
            return self._met[id(function)]
        number = self._met[id(function)] = len(self.functions)
        document: dict[str, Any] = {}
        self.functions.append(document)
        name = function.__name__
        names = [each for each in _globals(function.__code__) if each in function.__globals__]
        document |= {
            "name": name,
            "code": base64.b64encode(marshal.dumps(_anonymous(function.__code__), _MARSHAL)).decode(),
            "defaults": [self.value(each, f"a default of {name}") for each in function.__defaults__ or ()],
            "named": {
                key: self.value(each, f"the default of `{key}`")
                for key, each in sorted((function.__kwdefaults__ or {}).items())
            },
            "cells": [
                self._cell(cell, f"`{free}`, which {name} closes over,")
                for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            ],
            "globals": {
                each: self.value(function.__globals__[each], f"`{each}`, which {name} reads,") for each in names
            },
        }
        return number

    def _cell(self, cell: CellType, what: str) -> Any:
        try:
            return self.value(cell.cell_contents, what)
        except ValueError:
            return {"empty": True}

    def value(self, value: Any, what: str) -> Any:
        match value:
            case None | bool() | int() | str() if type(value) in (type(None), bool, int, str):
                # JSON of msgspec has whole numbers of 64 bits.
                small = not isinstance(value, int) or -(2**63) <= value < 2**63
                return {"plain": value} if small else {"int": str(value)}
            case float() | complex() | bytes():
                return {"marshal": base64.b64encode(marshal.dumps(value, _MARSHAL)).decode()}
            case list() | tuple() if type(value) in (list, tuple):
                return {type(value).__name__: [self.value(each, what) for each in value]}
            case set() | frozenset():
                members = [self.value(each, what) for each in value]
                return {type(value).__name__: sorted(members, key=msgspec.json.encode)}
            case dict() if type(value) is dict:
                return {"dict": [[self.value(key, what), self.value(each, what)] for key, each in value.items()]}
            case ModuleType():
                if not _installed(value):
                    raise Unportable(
                        f"{what} is the module {value.__name__}, which the image does not have; install it as a "
                        "package, or import from it the functions that are needed"
                    )
                return {"module": value.__name__}
            case FunctionType() if not _installed(sys.modules.get(value.__module__)):
                return {"function": self.function(value)}
            case pl.DataFrame():
                buffer = io.BytesIO()
                value.write_ipc(buffer)
                return {"frame": base64.b64encode(buffer.getvalue()).decode()}
            case pl.Expr():
                stored, _ = Expr.of(value)
                if stored.blob:
                    raise Unportable(f"{what} is an expression with a Python function inside, `{stored.readable}`")
                return {"expr": stored.data}
            case pl.DataType():
                return {"dtype": base64.b64encode(_dtype(value)).decode()}
            case _ if (named := _by_name(value)) is not None:
                return {"named": named}
        raise Unportable(
            f"{what} is {shown(value)}, a {type(value).__name__}, which stays in this process; "
            "make it inside the function, or pass plain values"
        )


class _Reader:
    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self._documents = documents
        self._made: dict[int, FunctionType] = {}

    def function(self, number: int) -> FunctionType:
        if number in self._made:
            return self._made[number]
        document = self._documents[number]
        code = marshal.loads(base64.b64decode(document["code"]))
        cells = tuple(CellType() for _ in document["cells"])
        scope: dict[str, Any] = {"__builtins__": builtins, "__name__": "dataflare_function"}
        made = self._made[number] = FunctionType(code, scope, document["name"], closure=cells)
        for name, value in document["globals"].items():
            scope[name] = self.value(value)
        made.__defaults__ = tuple(self.value(each) for each in document["defaults"]) or None
        made.__kwdefaults__ = {key: self.value(each) for key, each in document["named"].items()} or None
        for cell, value in zip(cells, document["cells"], strict=True):
            if "empty" not in value:
                cell.cell_contents = self.value(value)
        return made

    def value(self, document: dict[str, Any]) -> Any:
        ((kind, told),) = document.items()
        match kind:
            case "plain":
                return told
            case "int":
                return int(told)
            case "marshal":
                return marshal.loads(base64.b64decode(told))
            case "list" | "tuple" | "set" | "frozenset":
                return getattr(builtins, kind)(self.value(each) for each in told)
            case "dict":
                return {self.value(key): self.value(each) for key, each in told}
            case "module":
                return importlib.import_module(told)
            case "function":
                return self.function(told)
            case "frame":
                return pl.read_ipc(io.BytesIO(base64.b64decode(told)))
            case "expr":
                return Expr("", data=told).load({})
            case "dtype":
                return pl.read_ipc_schema(io.BytesIO(base64.b64decode(told)))["_"]
            case "named":
                module, _, path = told.partition(":")
                found: Any = importlib.import_module(module)
                for part in path.split("."):
                    found = getattr(found, part)
                return found
        raise Unportable(f"a document of a function holds `{kind}`, which this version does not know")


def _dtype(dtype: pl.DataType) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(schema={"_": dtype}).write_ipc(buffer)
    return buffer.getvalue()


def _by_name(value: Any) -> str | None:
    """Return where an installed package has the value, if it is a class or function there."""
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or not _installed(sys.modules.get(module)):
        return None
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{module}:{path}" if found is value else None


def _installed(module: ModuleType | None) -> bool:
    """Tell whether a worker has a module: Python's own, this package's, and those that it brings."""
    if module is None:
        return False
    top = module.__name__.partition(".")[0]
    return top in sys.stdlib_module_names or top in PACKAGES


PACKAGES = frozenset({"dataflare_nb", "msgspec", "numpy", "polars", "pyarrow", "wasmtime"})
"""What an image has beside Python's own modules."""


_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def _globals(code: CodeType) -> list[str]:
    """Return the names that code looks up in its module, and not those that it asks objects for."""
    own = [each.argval for each in dis.get_instructions(code) if each.opname in _LOOKUPS]
    inner = [name for each in code.co_consts if isinstance(each, CodeType) for name in _globals(each)]
    return sorted({*own, *inner})


def _anonymous(code: CodeType) -> CodeType:
    """Return code that does not say in which file it stood."""
    constants = tuple(_anonymous(each) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=f"<{code.co_name}>", co_consts=constants)
