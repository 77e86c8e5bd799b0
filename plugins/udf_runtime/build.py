"""Build the runtime of compiled functions: src/*.c become dataflare_nb/wasm/library.bin.

python plugins/udf_runtime/build.py            build, and write the sum and the compiler into library.json
python plugins/udf_runtime/build.py --check    build elsewhere and compare

The compiler makes one relocatable object. Its functions and tables are stored one by one, with the places where
addresses go, so that a compiled function takes along just what it calls.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))
from dataflare_nb.wasm.library import Data, Function, Library, Patch, PatchKind, unsigned  # noqa: E402

LIBRARY = ROOT / "dataflare_nb" / "wasm" / "library.bin"
RECORD = HERE / "library.json"
FLAGS = ["-target", "wasm32-freestanding", "-std=c11", "-O3", "-msimd128", "-mbulk-memory", "-g0"]
FLAGS += ["-ffreestanding", "-fno-builtin", "-fno-math-errno", "-ffp-contract=off", "-fno-sanitize=all"]
FLAGS += ["-fdata-sections", "-Wall", "-Wextra", "-Werror"]
TYPES = {0x7F: "i32", 0x7E: "i64", 0x7C: "f64", 0x7B: "v128"}
CALL, ADDRESS, SIGNED_ADDRESS, GLOBAL = 0, 3, 4, 7
KINDS = {CALL: PatchKind.CALL, ADDRESS: PatchKind.ADDRESS, SIGNED_ADDRESS: PatchKind.CONSTANT, GLOBAL: PatchKind.STACK}


class Reader:
    """Read WebAssembly's encodings from bytes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value, self.at = unsigned(self.data, self.at)
        return value

    def signed(self) -> int:
        start = self.at
        value = self.number()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        return self.take(self.number()).decode()

    def types(self) -> tuple[str, ...]:
        return tuple(TYPES[self.byte()] for _ in range(self.number()))


def sections(module: bytes) -> Iterator[tuple[int, str, Reader]]:
    """Yield the number, the name if it has one, and the content of each section."""
    reader = Reader(module, 8)
    while reader.at < len(module):
        number = reader.byte()
        content = Reader(reader.take(reader.number()))
        yield number, content.text() if number == 0 else "", content


def compiled() -> bytes:
    """Return the object that the compiler makes of src/runtime.c, which includes the rest."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "runtime.o"
        command = [sys.executable, "-m", "ziglang", "cc", "-c", *FLAGS, "-o", str(target), "src/runtime.c"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"the runtime does not build:\n{done.stderr}")
        return target.read_bytes()


def library(module: bytes) -> Library:
    """Take an object apart."""
    types: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    kinds: list[int] = []
    bodies: list[tuple[int, bytes]] = []
    segments: list[bytes] = []
    symbols: list[tuple[str, int, int]] = []
    aligns: list[int] = []
    relocations: list[tuple[int, int, int, int]] = []
    for number, name, content in sections(module):
        if number == 1:
            for _ in range(content.number()):
                content.byte()
                types.append((content.types(), content.types()))
        elif number == 2:
            imports(content)
        elif number == 3:
            kinds = [content.number() for _ in range(content.number())]
        elif number == 10:
            for _ in range(content.number()):
                size = content.number()
                bodies.append((content.at, content.take(size)))
        elif number == 11:
            for _ in range(content.number()):
                content.take(2)
                content.signed()
                content.byte()
                segments.append(content.take(content.number()))
        elif name == "linking":
            symbols, aligns = linking(content)
        elif name == "reloc.CODE":
            content.number()
            relocations = [relocation(content) for _ in range(content.number())]
        elif name.startswith("reloc."):
            sys.exit(f"{name}: a table in the sources holds addresses; write it without")
    names = {index: name for kind, name, index in [(s[1], s[0], s[2]) for s in symbols] if kind == 0}
    functions = []
    for i, (start, code) in enumerate(bodies):
        patches = tuple(patch(found, start, symbols) for found in relocations if start <= found[1] < start + len(code))
        params, results = types[kinds[i]]
        functions.append(Function(names[i], params, results, code, patches))
    tables = {index: name for name, kind, index in symbols if kind == 1}
    parts = enumerate(zip(aligns, segments, strict=True))
    data = tuple(Data(tables[i], 1 << align, segment) for i, (align, segment) in parts)
    return Library(tuple(functions), data)


def imports(content: Reader) -> None:
    """Refuse to depend on anything but memory, the stack pointer and the table that every object has."""
    for _ in range(content.number()):
        content.text()
        name, kind = content.text(), content.byte()
        if kind == 0:
            sys.exit(f"the sources call `{name}`, which nobody defines")
        if kind == 3:
            content.take(2)
            if name != "__stack_pointer":
                sys.exit(f"the sources use the global `{name}`")
            continue
        if kind == 1:
            content.byte()
        bounded = content.number() & 1
        for _ in range(1 + bounded):
            content.number()


def linking(content: Reader) -> tuple[list[tuple[str, int, int]], list[int]]:
    """Return the symbols (name, kind, function or segment) and the alignment of each segment."""
    symbols: list[tuple[str, int, int]] = []
    aligns: list[int] = []
    content.number()
    while content.at < len(content.data):
        kind = content.byte()
        part = Reader(content.take(content.number()))
        if kind == 8:
            for _ in range(part.number()):
                what, flags = part.byte(), part.number()
                if what == 0:
                    index = part.number()
                    symbols.append((part.text(), 0, index))
                elif what == 1:
                    name = part.text()
                    if flags & 0x10:
                        sys.exit(f"the sources use `{name}`, which nobody defines")
                    index, offset = part.number(), part.number()
                    part.number()
                    if offset:
                        sys.exit(f"`{name}` shares its segment")
                    symbols.append((name, 1, index))
                else:
                    index = part.number()
                    if not flags & 0x10:
                        part.text()
                    symbols.append(("", what, index))
        elif kind == 5:
            for _ in range(part.number()):
                part.text()
                aligns.append(part.number())
                part.number()
    return symbols, aligns


def relocation(content: Reader) -> tuple[int, int, int, int]:
    """Return kind, place, symbol and addend."""
    kind = content.byte()
    at, symbol = content.number(), content.number()
    if kind not in KINDS:
        sys.exit(f"a relocation of kind {kind} is not known; does a function call through a pointer?")
    return kind, at, symbol, content.signed() if kind in (ADDRESS, SIGNED_ADDRESS) else 0


def patch(found: tuple[int, int, int, int], start: int, symbols: list[tuple[str, int, int]]) -> Patch:
    """Return a relocation counted from the start of its function."""
    kind, at, symbol, addend = found
    return Patch(at - start, KINDS[kind], symbols[symbol][2], addend)


def main() -> int:
    """Build or check."""
    parser = argparse.ArgumentParser(description="Build the runtime of compiled functions.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed; write nothing")
    asked = parser.parse_args()
    made = library(compiled())
    content = msgspec.msgpack.encode(made)
    record = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "functions": len(made.functions),
        "compiler": f"ziglang {version('ziglang')}",
    }
    if asked.check:
        same = LIBRARY.read_bytes() == content and json.loads(RECORD.read_text()) == record
        print(f"library.bin {'is in order' if same else 'differs from its source; run plugins/udf_runtime/build.py'}")
        return 0 if same else 1
    LIBRARY.write_bytes(content)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
