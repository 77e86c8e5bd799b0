"""What one kernel is made of while it is compiled: error sites, helpers, functions, and the frame of each."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from .kernel import Site
from .source import Source
from .values import Kind


@dataclass(slots=True)
class Unit:
    """One module under construction. `loops` says that it may run for long, so it must be metered."""

    sites: list[Site] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    loops: bool = False

    def site(self, error: str, message: str, source: Source, node: ast.AST) -> int:
        """Return the number of a place that can fail; numbers start at 1."""
        site = Site(error, message, source.tree.name, getattr(node, "lineno", 1), source.text(node).strip())
        if site not in self.sites:
            self.sites.append(site)
        return self.sites.index(site) + 1


@dataclass(slots=True)
class Frame:
    """The locals of one function, and how it ends.

    `leave` wraps the code of a result; `fail` is what follows after the error was noted.
    """

    leave: Callable[[str], str]
    fail: str
    kinds: dict[str, Kind] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    changed: bool = False
    _count: int = 0

    def temporary(self, wat: str) -> str:
        """Return a fresh local."""
        self._count += 1
        name = f"$t{self._count}"
        self.slots[name] = wat
        return name

    def label(self, stem: str) -> str:
        """Return a fresh label."""
        self._count += 1
        return f"${stem}{self._count}"

    def declarations(self) -> str:
        """Return the declarations of the locals."""
        named = {f"$v_{name}": kind.wat for name, kind in self.kinds.items()}
        return " ".join(f"(local {name} {wat})" for name, wat in {**named, **self.slots}.items())


def outside(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names that a function sees from outside: builtins, globals, closure."""
    code: CodeType = function.__code__
    found: dict[str, Any] = dict(vars(builtins))
    found.update(function.__globals__)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            found.pop(name, None)
    return found
