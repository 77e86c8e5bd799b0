"""AssemblyScript, through the npm package `assemblyscript` and Node."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain, abi_folder, run

_ASC = Path("node_modules/assemblyscript")
_EXPORTS = 'export { df_abi_version, df_formats, df_alloc, df_reset, df_last_error, df_groups } from "./dataflare";\n'
_MESSAGE = re.compile(r"^(ERROR|WARNING)\s*(?:[A-Z]+\d+)?: (.*)$")
_PLACE = re.compile(r"└─ in (.+?)\((\d+),(\d+)\)")


class AssemblyScript(Toolchain):
    """A file that imports from `./dataflare`, and others beside it."""

    language, suffix, sdk = "assemblyscript", ".ts", ("dataflare.ts",)
    install = "`npm install assemblyscript` in the folder of the plugin or one above it (needs Node 20 or later)"
    by_llvm = False

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            *("-O3", "--runtime", "minimal", "--enable", "simd"),
            *("--use", "abort=dataflare/df_abort", "-o", "out.wasm", "--debug"),
        )

    def find(self, near: Path) -> Found | None:
        node = shutil.which("node")
        if node is None:
            return None
        for folder in _folders(near):
            package = folder / _ASC / "package.json"
            if package.is_file():
                version = json.loads(package.read_text())["version"]
                script = package.parent / "bin" / "asc.js"
                return Found((node, str(script)), f"assemblyscript {version}")
        return None

    def compile(self, found: Found, sources: Sequence[SourceFile], scratch: Path) -> tuple[bytes, list[Diagnostic]]:
        (scratch / "dataflare_exports.ts").write_text(_EXPORTS)
        done = run(found, [sources[0].name, "dataflare_exports.ts", *self.flags], scratch)
        said = list(_messages(done.stderr))
        if done.returncode:
            raise Refused([each for each in said if each.severity == "error"], done.stderr)
        return (scratch / "out.wasm").read_bytes(), [each for each in said if each.severity == "warning"]


def _folders(near: Path) -> Iterator[Path]:
    """Yield where Node would look from the sources, then from here, then the folder of the plugins themselves."""
    for start in (near.resolve(), Path.cwd()):
        yield start
        yield from start.parents
    yield abi_folder()
    asc = shutil.which("asc")
    if asc is not None:
        # A global installation: <prefix>/lib/node_modules/assemblyscript/bin/asc.js.
        yield from Path(asc).resolve().parents


def _messages(output: str) -> Iterator[Diagnostic]:
    kind, text = "", ""
    width = 1
    for line in output.splitlines():
        began = _MESSAGE.match(line)
        if began is not None:
            if text and kind:
                yield Diagnostic(text, severity=kind)
            kind, text, width = began[1].lower(), began[2], 1
            continue
        marks = re.match(r"^\s*│\s*(~+)\s*$", line)
        if marks is not None:
            width = len(marks[1])
        place = _PLACE.search(line)
        if place is not None and text:
            yield Diagnostic(text, place[1], int(place[2]), int(place[3]), width, kind)
            kind, text = "", ""
    if text and kind:
        yield Diagnostic(text, severity=kind)
