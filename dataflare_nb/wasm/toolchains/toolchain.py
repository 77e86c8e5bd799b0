"""What a compiler of plugins is asked for and what it answers, the same for every language."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import ClassVar

from ...errors import WasmBuildFailed

_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to compile. `label` is what messages call it, `above` the lines that stand before it in a cell."""

    name: str
    text: str
    label: str
    above: int = 0

    @classmethod
    def read(cls, path: Path, *, label: str | None = None) -> SourceFile:
        """Read a file."""
        return cls(path.name, path.read_text(), label or str(path))


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What a compiler said of one place. `file` is as it was compiled; line and column count from 1, 0 is unknown."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    width: int = 1
    severity: str = "error"

    def shown(self, sources: Mapping[str, SourceFile]) -> str:
        """Return the place, the message, the line and a caret under the column."""
        source = sources.get(self.file)
        if source is None or not self.line:
            return f"{self.file}, line {self.line}: {self.message}" if self.file else self.message
        place = f"{source.label}, line {self.line + source.above}: {self.message}"
        lines = source.text.splitlines()
        if self.line > len(lines):
            return place
        text = lines[self.line - 1].replace("\t", " ")
        indent = len(text) - len(text.lstrip())
        start = max(self.column - 1 - indent, 0)
        return f"{place}\n    {text.strip()}\n    {' ' * start}{'^' * max(self.width, 1)}"


@dataclass(frozen=True, slots=True)
class Found:
    """A compiler on this machine: how it is started, and its name with its version."""

    command: tuple[str, ...]
    version: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Toolchain(ABC):
    """One language. Everything is compiled in a scratch folder by relative names, so no path gets into a module."""

    language: ClassVar[str]
    suffix: ClassVar[str]
    sdk: ClassVar[tuple[str, ...]] = ()
    """Files of `plugins/abi` that are put beside the sources."""
    install: ClassVar[str]
    """What to do when the compiler is missing."""
    by_llvm: ClassVar[bool] = True
    """Whether the module has a stack in memory, whose place is checked."""
    keeps: ClassVar[tuple[str, ...]] = ()
    """Custom sections that belong to the module; others are left out."""

    @abstractmethod
    def find(self, near: Path) -> Found | None:
        """Return the compiler, None if there is none; `near` is the folder of the sources."""

    @abstractmethod
    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        """Compile what was written into `scratch`; return the module and the warnings, or raise `Refused`."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Return the options that decide what comes out, for the key of the cache."""
        return ()


class Refused(Exception):  # noqa: N818 - says what happened; never leaves this package
    """The compiler refused the source."""

    def __init__(self, diagnostics: Sequence[Diagnostic], output: str = "") -> None:
        super().__init__(output)
        self.diagnostics, self.output = tuple(diagnostics), output


def failed(refused: Refused, sources: Iterable[SourceFile], language: str, name: str) -> WasmBuildFailed:
    """Return the error that shows what a compiler refused."""
    by_name = {each.name: each for each in sources}
    shown = [each.shown(by_name) for each in refused.diagnostics]
    more = len(shown) - _MOST_SHOWN
    text = "\n".join(shown[:_MOST_SHOWN]) or refused.output.strip() or "the compiler gave no reason"
    return WasmBuildFailed(
        f"{name} does not compile as {language}:\n{text}" + (f"\nand {more} more" if more > 0 else ""),
        places=[
            (by_name[d.file].label, d.line + by_name[d.file].above) for d in refused.diagnostics if d.file in by_name
        ],
    )


def run(found: Found, arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a compiler in a folder, without colours and in English."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "NO_COLOR": "1", **found.environment}
    # Some compilers, AssemblyScript's among them, colour what they say wherever CI is set.
    environment.pop("CI", None)
    try:
        return subprocess.run(
            [*found.command, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise WasmBuildFailed(f"cannot start {found.command[0]}: {error.strerror}") from None


def abi_folder() -> Path:
    """Return the folder of the SDK files: in the package when it is installed, beside it in a source tree."""
    package = Path(str(resources.files("dataflare_nb")))
    return next(path for path in (package / "plugins" / "abi", package.parent / "plugins" / "abi") if path.is_dir())
