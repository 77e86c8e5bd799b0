"""Go 1.24 or later: a reactor for WASI preview 1, with Go's own runtime inside."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain, run

_LEAST = (1, 24)
_MESSAGE = re.compile(r"^(?:\./)?(?P<file>[^\s:]+\.go):(?P<line>\d+):(?P<column>\d+): (?P<text>.*)$")
_ENVIRONMENT = {
    **{"GOOS": "wasip1", "GOARCH": "wasm", "GO111MODULE": "on", "GOWORK": "off", "GOFLAGS": "", "GOPROXY": "off"},
    **{"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"},
}


class Go(Toolchain):
    """A package `main` in files of its own, and the package `guest/dataflare`. Other modules need Go's own build."""

    language, suffix, sdk = "go", ".go", ("dataflare.go",)
    install = "Go 1.24 or later from https://go.dev/dl, or your package manager's `golang`"
    by_llvm = False

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w -buildid=",
            "-o",
            "out.wasm",
        )

    def find(self, near: Path) -> Found | None:
        command = shutil.which("go")
        return _checked(command) if command is not None else None

    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        (scratch / "dataflare").mkdir()
        (scratch / "dataflare.go").rename(scratch / "dataflare" / "dataflare.go")
        (scratch / "go.mod").write_text(f"module guest\n\ngo {_LEAST[0]}.{_LEAST[1]}\n")
        done = run(found, self.flags, scratch)
        if done.returncode:
            raise Refused(list(_messages(done.stderr)), done.stderr)
        return (scratch / "out.wasm").read_bytes(), []


@cache
def _checked(command: str) -> Found | None:
    """Return a Go that is new enough."""
    said = subprocess.run([command, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    version = re.match(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _LEAST:
        return None
    return Found((command,), said.replace("go", "go ", 1), _ENVIRONMENT)


def _messages(output: str) -> Iterator[Diagnostic]:
    for line in output.splitlines():
        match = _MESSAGE.match(line)
        if match is not None:
            yield Diagnostic(match["text"], match["file"], int(match["line"]), int(match["column"]))
