"""What one kernel is made of while it is compiled: error sites, helpers, functions, and the frame of each."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any

from .columns import Slot
from .kernel import START, Site
from .library import table_mark
from .signature import Returns
from .source import Source
from .values import Kind, Type, Value


@dataclass(frozen=True, slots=True)
class Inner:
    """A function of the module: how it is called, what it takes and what it gives."""

    name: str
    params: tuple[Slot, ...]
    defaults: Mapping[str, Any]
    returns: Returns
    recursive: bool = False

    def again(self) -> Inner:
        """Return the same, known to call itself."""
        return replace(self, recursive=True)


@dataclass(slots=True)
class Unit:
    """One module under construction.

    `needs` are functions of the library and `tables` tables of it, and `arena` says that some make text; `loops` says
    that it may run for long, so it must be metered.
    """

    sites: list[Site] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)
    inner: dict[int, Inner] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    constants: dict[bytes, int] = field(default_factory=dict)
    end: int = START
    arena: bool = False
    loops: bool = False

    def constant(self, content: bytes) -> int:
        """Return the address of some bytes, which stand in memory from the beginning."""
        if content not in self.constants:
            self.constants[content] = self.end
            self.end += (len(content) + 15) // 8 * 8
        return self.constants[content]

    def table(self, name: str) -> str:
        """Return what goes behind `offset=` to read a table of the library, whose place is found in the end."""
        self.tables.add(name)
        return table_mark(name)

    def mark(self, source: Source, node: ast.AST) -> str:
        """Return a comment that says where the code that follows comes from."""
        if source not in self.sources:
            self.sources.append(source)
        return f"(;@{self.sources.index(source)}:{getattr(node, 'lineno', 1)};)"

    def site(self, error: str, message: str, source: Source, node: ast.AST, *, quotes: bool = False) -> int:
        """Return the number of a place that can fail; numbers start at 1."""
        line = getattr(node, "lineno", 1)
        site = Site(error, message, source.tree.name, line, source.text(node).strip(), quotes)
        if site not in self.sites:
            self.sites.append(site)
        return self.sites.index(site) + 1

    def lines(self) -> dict[tuple[int, int], str]:
        """Return the lines of source that `mark` may point at."""
        return {
            (number, line): f"{source.file}, line {source.first + line - 1}: {text.strip()}"
            for number, source in enumerate(self.sources)
            for line, text in enumerate(source.lines, start=1)
        }


@dataclass(slots=True)
class Flow:
    """What holds at one place of the code.

    These names have a value, these optional ones are not None, and these texts are one character, whose code point
    is kept beside them.
    """

    assigned: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    characters: set[str] = field(default_factory=set)

    def copy(self) -> Flow:
        """Return the same, to be changed apart."""
        return Flow(set(self.assigned), set(self.present), set(self.characters))

    @staticmethod
    def meet(flows: Sequence[Flow]) -> Flow:
        """Return what holds wherever one came from."""
        return Flow(
            set.intersection(*(flow.assigned for flow in flows)),
            set.intersection(*(flow.present for flow in flows)),
            set.intersection(*(flow.characters for flow in flows)),
        )


@dataclass(slots=True)
class Frame:
    """The locals of one function, and how it ends.

    `leave` returns the code that hands over a result, given its values; `fail` is what follows after an error
    was noted. `stored` are the names that the function assigns anywhere, which are its own everywhere in it.
    """

    leave: Callable[[Sequence[Value]], str]
    fail: str
    types: dict[str, Type] = field(default_factory=dict)
    records: dict[str, tuple[str, ...]] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)
    stored: frozenset[str] = frozenset()
    flow: Flow = field(default_factory=Flow)
    unsettled: ast.stmt | None = None
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
        named = {}
        for name, kept in self.types.items():
            named[variable(name)] = kept.kind.wat
            if kept.optional:
                named[absence(name)] = "i32"
        return " ".join(f"(local {name} {wat})" for name, wat in {**named, **self.slots}.items())


def variable(name: str) -> str:
    """Return the local that holds a variable."""
    return f"$v_{_ascii(name)}"


def absence(name: str) -> str:
    """Return the local that is 1 while an optional variable is None."""
    return f"$n_{_ascii(name)}"


def code_point(name: str) -> str:
    """Return the local that holds the code point of a variable while it is one character."""
    return f"$c_{_ascii(name)}"


def _ascii(name: str) -> str:
    return name if name.isascii() else "".join(c if c.isascii() else f"!{ord(c):x}" for c in name)


def results(slots: Iterable[Slot]) -> list[str]:
    """Return the WebAssembly types that a function gives for these outputs."""
    wats = []
    for slot in slots:
        wats += [Kind(slot.type).wat, "i32"] if slot.optional else [Kind(slot.type).wat]
    return wats


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
