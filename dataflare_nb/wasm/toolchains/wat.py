"""WebAssembly text, through wasmtime itself."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from pathlib import Path

import wasmtime

from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain

_PLACE = re.compile(r"^\s*--> <anon>:(\d+):(\d+)$", re.MULTILINE)
_MODULE = re.compile(r"\A(?:\s|;;[^\n]*\n|\(;.*?;\))*\(module\b", re.DOTALL)


class Wat(Toolchain):
    """A whole `(module ...)`, or only imports and functions, which get a memory and what dfx/1 asks of all plugins."""

    language, suffix, sdk = "wat", ".wat", ("dataflare.wat",)
    install = "it comes with wasmtime"
    by_llvm = False

    def find(self, near: Path) -> Found | None:
        return Found((), f"wasmtime {importlib.metadata.version('wasmtime')}")

    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        source = sources[0]
        text, above = source.text, 0
        if not _MODULE.match(text):
            # Imports must come first, so what is added follows; the line before keeps columns as they are.
            text, above = f"(module\n{text}\n{(scratch / self.sdk[0]).read_text()})", 1
        try:
            return bytes(wasmtime.wat2wasm(text)), []
        except wasmtime.WasmtimeError as error:
            said = str(error)
            place = _PLACE.search(said)
            message = said.splitlines()[0]
            if place is None:
                raise Refused([Diagnostic(message)], said) from None
            line, column = int(place[1]) - above, int(place[2])
            raise Refused([Diagnostic(message, source.name, line, column)], said) from None
