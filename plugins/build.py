"""Build the plugins of this folder from their sources, or check that what is committed is what they build to.

python plugins/build.py [name ...]            build, and write each sha256 into its plugin.json
python plugins/build.py --check [name ...]    build elsewhere and compare
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = ["-target", "wasm32-freestanding", "-std=c11", "-O3", "-msimd128", "-mbulk-memory", "-nostdlib"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter", "-fno-sanitize=all"]
LINK = ["-s", "-Wl,--no-entry", "-Wl,--export=__heap_base", "-Wl,-z,stack-size=65536"]


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each section."""
    at = 8
    while at < len(module):
        number = module[at]
        size, at = unsigned(module, at + 1)
        yield number, module[at : at + size]
        at += size


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return the LEB128 number at a place, and the place after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def stack_is_first(module: bytes) -> bool:
    """Whether the stack grows down to address 0, where an overflow traps; elsewhere it would run into data."""
    found = dict(sections(module))
    stack = unsigned(found[6], found[6].index(b"\x7f\x01\x41") + 3)[0] if 6 in found else 0
    data = unsigned(found[11], found[11].index(b"\x41") + 1)[0] if 11 in found else stack
    return stack <= data


def compile_c(sources: list[Path], target: Path) -> None:
    """Compile C sources to a module that needs nothing but the host."""
    compiler = [sys.executable, "-m", "ziglang", "cc", *TARGET, *WARNINGS, *LINK, f"-I{HERE / 'abi'}"]
    command = [*compiler, "-o", str(target), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{sources[0].parent.parent.name} does not build:\n{done.stderr}")


def build(folder: Path, *, check: bool) -> bool:
    """Build one plugin; return whether what is on disk is in order."""
    description = folder / "plugin.json"
    document = json.loads(description.read_text())
    module = folder / document["module_path"]
    sources = sorted((folder / "src").glob("*.c"))
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / module.name
        compile_c(sources, fresh)
        built = fresh.read_bytes()
    if not stack_is_first(built):
        sys.exit(f"{folder.name}: the linker put the stack above the data, so an overflow would corrupt it")
    digest = hashlib.sha256(built).hexdigest()
    if check:
        same = module.exists() and module.read_bytes() == built and document.get("sha256") == digest
        print(f"{folder.name}: {'in order' if same else 'differs from its source; run plugins/build.py'}")
        return same
    module.write_bytes(built)
    document["sha256"] = digest
    description.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    print(f"{folder.name}: {len(built)} bytes, sha256 {digest}")
    return True


def main() -> int:
    """Build or check the plugins named on the command line, all by default."""
    parser = argparse.ArgumentParser(description="Build the plugins of this folder.")
    parser.add_argument("names", nargs="*", help="plugins to build (default: all)")
    parser.add_argument("--check", action="store_true", help="compare with what is committed; write nothing")
    asked = parser.parse_args()
    folders = sorted(path.parent for path in HERE.glob("*/plugin.json"))
    unknown = set(asked.names) - {folder.name for folder in folders}
    if unknown:
        parser.error(f"no such plugin: {', '.join(sorted(unknown))}")
    chosen = [folder for folder in folders if not asked.names or folder.name in asked.names]
    results = [build(folder, check=asked.check) for folder in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
