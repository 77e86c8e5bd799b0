"""Python, through the compiler of `@flare.udf`."""

from __future__ import annotations

import linecache
import platform
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...errors import UdfError, listing
from ..kernel import SECTION
from ..udf import Udf
from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain, failed


def compiler() -> str:
    """Return the name of the compiler; what a function means may depend on the interpreter that reads it."""
    return f"dataflare {__version__} on Python {platform.python_version()}"


class Python(Toolchain):
    """A file with one function that is decorated with `@flare.udf`; other functions may stand beside it."""

    language, suffix = "python", ".py"
    install = "it comes with the package"
    by_llvm = False
    keeps = (SECTION, "name")

    def find(self, near: Path) -> Found | None:
        return Found((), compiler())

    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        try:
            return compiled_file(sources[0]).wasm_bytes, []
        except UdfError as error:
            raise Refused([], str(error)) from None


def compiled_file(source: SourceFile) -> Udf:
    """Run a file and return the function that it compiles, of several that which is called as the file."""
    name = Path(source.name).stem
    return _only(_run(source, {"__name__": name}), name)


def compiled(source: SourceFile, names: dict[str, Any], name: str) -> Udf:
    """Run a cell in a namespace and return the function that it compiled, of several that of a name."""
    try:
        return _only(_run(source, names), name)
    except Refused as refused:
        raise failed(refused, [source], "python", name) from None


def _run(source: SourceFile, names: dict[str, Any]) -> dict[str, Udf]:
    """Run a source in a namespace and return the compiled functions that it defined."""
    text = "\n" * source.above + source.text
    # Functions are compiled from their source, which is looked up by the name of the file.
    linecache.cache[source.label] = (len(text), None, text.splitlines(keepends=True), source.label)
    try:
        code = compile(text, source.label, "exec", dont_inherit=True)
    except SyntaxError as error:
        place = (source.name, (error.lineno or 0) - source.above, error.offset or 1)
        width = (error.end_offset or 0) - (error.offset or 0) if error.end_lineno == error.lineno else 1
        raise Refused([Diagnostic(error.msg, *place, max(width, 1))], str(error)) from None
    before = dict(names)
    try:
        exec(code, names)
    except UdfError:
        raise
    except Exception as error:
        raise Refused([_raised(error, source)], str(error)) from error
    return {name: value for name, value in names.items() if isinstance(value, Udf) and before.get(name) is not value}


def _raised(error: Exception, source: SourceFile) -> Diagnostic:
    """Return what a source raised while it ran, with the last of its own lines that did."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source.label]
    line = (own[-1].lineno or 0) - source.above if own else 0
    text = source.text.splitlines()[line - 1] if line > 0 else ""
    indent = len(text) - len(text.lstrip())
    return Diagnostic(f"{type(error).__name__}: {error}", source.name, line, indent + 1, len(text.strip()))


def _only(found: Mapping[str, Udf], name: str | None = None) -> Udf:
    """Return the one function that is compiled, or of several that of a name."""
    if name is not None and name in found:
        return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise UdfError("there is no compiled function; put @flare.udf over one")
    raise UdfError(f"there are several compiled functions, {listing(found)}; call one {name}, or keep to one")
