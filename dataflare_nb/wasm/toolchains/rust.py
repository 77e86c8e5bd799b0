"""Rust, through rustc with the target wasm32-unknown-unknown."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain, run

_TARGET = "wasm32-unknown-unknown"
_COMMON = (
    *("--edition", "2021", "--target", _TARGET, "--error-format", "json", "--remap-path-prefix", "=."),
    *("-C", "opt-level=3", "-C", "panic=abort", "-C", "codegen-units=1", "-C", "target-feature=+simd128,+bulk-memory"),
)
_PLUGIN = ("-C", "lto=fat", "-C", f"link-args=-z stack-size={65536} --stack-first")


class Rust(Toolchain):
    """A crate of its own files, with or without `std`, and the crate `dataflare`. Other crates need Cargo."""

    language, suffix, sdk = "rust", ".rs", ("dataflare.rs",)
    install = (
        f"`rustup target add {_TARGET}` if you have rustup (https://rustup.rs); on Debian and Ubuntu "
        "`apt install rustc libstd-rust-dev-wasm32 lld`"
    )

    @property
    def flags(self) -> tuple[str, ...]:
        return (*_COMMON, *_PLUGIN)

    def find(self, near: Path) -> Found | None:
        return next((found for command in _on_path("rustc") if (found := _with_target(command)) is not None), None)

    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        self._rustc(found, scratch, "--crate-type", "rlib", *_COMMON, "dataflare.rs")
        linked = ("--extern", "dataflare=libdataflare.rlib", "-o", "out.wasm")
        entry = sources[0].name
        crate = ("--crate-name", "".join(c if c.isalnum() else "_" for c in Path(entry).stem), "--crate-type", "cdylib")
        warnings = self._rustc(found, scratch, *crate, *self.flags, *linked, entry)
        return (scratch / "out.wasm").read_bytes(), warnings

    @staticmethod
    def _rustc(found: Found, scratch: Path, *arguments: str) -> list[Diagnostic]:
        done = run(found, arguments, scratch)
        said = list(_messages(done.stderr))
        if done.returncode:
            raise Refused([each for each in said if each.severity == "error"], _plain(done.stderr))
        return [each for each in said if each.severity == "warning"]


def _on_path(name: str) -> Iterator[str]:
    for folder in os.get_exec_path():
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            yield str(path)


@cache
def _with_target(command: str) -> Found | None:
    """Return a rustc if it has the target's libraries."""
    asked = [command, "--print", "target-libdir", "--target", _TARGET]
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    libraries = subprocess.run(asked, capture_output=True, text=True, check=False)
    if version.returncode or libraries.returncode or not any(Path(libraries.stdout.strip()).glob("libcore-*")):
        return None
    return Found((command,), " ".join(version.stdout.split()[:2]))


def _messages(output: str) -> Iterator[Diagnostic]:
    for line in output.splitlines():
        said = _decoded(line)
        if not said or said.get("level") not in ("error", "warning"):
            continue
        span = next((each for each in said["spans"] if each["is_primary"]), None)
        if span is None:
            if said["level"] == "error" and not said["message"].startswith("aborting due to"):
                yield Diagnostic(said["message"])
            continue
        span = _outermost(span)
        label = f": {span['label']}" if span["label"] and span["label"] not in said["message"] else ""
        width = span["column_end"] - span["column_start"] if span["line_start"] == span["line_end"] else 1
        place = (span["file_name"].removeprefix("./"), span["line_start"], span["column_start"])
        yield Diagnostic(said["message"] + label, *place, max(width, 1), said["level"])


def _outermost(span: dict[str, Any]) -> dict[str, Any]:
    """Return the place in the user's source of what went wrong inside a macro."""
    label = span["label"]
    while span.get("expansion") and span["file_name"].endswith("dataflare.rs"):
        span = span["expansion"]["span"]
    return {**span, "label": label}


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


def _plain(output: str) -> str:
    """Return what a compiler says that is no message in JSON, as when it breaks."""
    said = (_decoded(line) for line in output.splitlines())
    rendered = [each["rendered"] for each in said if each and each.get("rendered")]
    return "\n".join(rendered) or output
