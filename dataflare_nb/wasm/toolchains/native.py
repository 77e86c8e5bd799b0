"""C, C++ and Zig, through the Zig compiler that the package index has."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain, run

_STACK = 65536
_OUT = "out.wasm"
_CPU = "generic+simd128+bulk_memory+sign_ext+nontrapping_fptoint"
_MESSAGE = re.compile(
    r"^(?:\./)?(?P<file>[^\s:][^:\n]*):(?P<line>\d+):(?P<column>\d+): (?P<kind>[a-z ]+): (?P<text>.*)$"
)
_LINKER = re.compile(r"^(?:error: )?(?:wasm-ld|zig|lld)?:? ?error: (?P<text>.*)$")


def find_zig() -> Found | None:
    """Return the Zig compiler: the `ziglang` package of this interpreter, else `zig` on the path."""
    if importlib.util.find_spec("ziglang") is not None:
        return Found((sys.executable, "-m", "ziglang"), f"zig {importlib.metadata.version('ziglang')}")
    command = shutil.which("zig")
    if command is None:
        return None
    said = subprocess.run([command, "version"], capture_output=True, text=True, check=False)
    return Found((command,), f"zig {said.stdout.strip()}") if said.returncode == 0 else None


def messages(output: str) -> list[Diagnostic]:
    """Return what Clang or Zig said, notes left out."""
    found = []
    lines = output.splitlines()
    for number, line in enumerate(lines):
        match = _MESSAGE.match(line)
        if match is not None and match["kind"] in ("error", "fatal error", "warning"):
            width = _width(lines[number + 1 : number + 3])
            severity = "warning" if match["kind"] == "warning" else "error"
            place = (match["file"], int(match["line"]), int(match["column"]))
            found.append(Diagnostic(match["text"], *place, width, severity))
        elif match is None and (linked := _LINKER.match(line)) is not None:
            found.append(Diagnostic(linked["text"]))
    return found


def _width(after: Sequence[str]) -> int:
    """Return how far the mark under the line of source reaches."""
    marks = next((re.search(r"\^~*", line) for line in after if set(line) <= set(" |^~") and "^" in line), None)
    return len(marks[0]) if marks is not None else 1


class _Native(Toolchain):
    install = 'pip install "dataflare-nb[zig]" (the ziglang package: a C, C++ and Zig compiler, 90 MB)'

    def find(self, near: Path) -> Found | None:
        return find_zig()

    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        done = run(found, [*self.flags, *self._inputs(sources)], scratch)
        if done.returncode:
            raise Refused([said for said in messages(done.stderr) if said.severity == "error"], done.stderr)
        return (scratch / _OUT).read_bytes(), messages(done.stderr)

    def _inputs(self, sources: Sequence[SourceFile]) -> list[str]:
        return [source.name for source in sources if source.name.endswith(self.suffix)]


class C(_Native):
    """C11 without a C library."""

    language, suffix, sdk = "c", ".c", ("dataflare.h", "dataflare_simd.h")
    _command = "cc"
    _dialect: tuple[str, ...] = ("-std=c11",)

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            self._command,
            *("-target", "wasm32-freestanding", "-O3", "-msimd128", "-mbulk-memory", "-nostdlib", "-fno-sanitize=all"),
            *self._dialect,
            *("-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter", "-fno-color-diagnostics"),
            *("-Wl,--no-entry", "-Wl,--export=__heap_base", f"-Wl,-z,stack-size={_STACK}", "-o", _OUT, "-I."),
        )


class Cpp(C):
    """C++20 without a library, exceptions or run-time types."""

    language, suffix = "c++", ".cpp"
    _command = "c++"
    _dialect = ("-std=c++20", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")


class Zig(_Native):
    """Zig, with its standard library as far as it needs no operating system."""

    language, suffix, sdk = "zig", ".zig", ("dataflare.zig",)

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            "build-exe",
            *("-target", "wasm32-freestanding", "-mcpu", _CPU, "-OReleaseFast", "-fno-entry", "-rdynamic"),
            *("--stack", str(_STACK), f"-femit-bin={_OUT}", "--color", "off", "--cache-dir", "zig-cache"),
        )

    def _inputs(self, sources: Sequence[SourceFile]) -> list[str]:
        return [
            *("--dep", "dataflare", f"-Mroot={sources[0].name}"),
            *("-target", "wasm32-freestanding", "-mcpu", _CPU, "-OReleaseFast", "-Mdataflare=dataflare.zig"),
        ]
