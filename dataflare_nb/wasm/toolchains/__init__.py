"""Compile plugins from source, whatever language they are written in."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadOption, WasmBuildFailed, WasmToolchainMissing, listing, nearest
from .assemblyscript import AssemblyScript
from .binary import exported_functions, imported, stack_is_first, stripped
from .cache import BuildCache
from .golang import Go
from .native import C, Cpp, Zig
from .python import Python
from .rust import Rust
from .toolchain import Diagnostic, Found, Refused, SourceFile, Toolchain, abi_folder, failed
from .wat import Wat

__all__ = [
    "LANGUAGES",
    "BuildCache",
    "Built",
    "Diagnostic",
    "SourceFile",
    "Toolchain",
    "abi_folder",
    "build",
    "build_text",
    "exported_functions",
    "imported",
    "language_of",
    "toolchain",
]

_ALL: tuple[Toolchain, ...] = (C(), Cpp(), Zig(), Rust(), Go(), AssemblyScript(), Wat(), Python())
LANGUAGES = {each.language: each for each in _ALL}
_ALIASES = {
    "cpp": "c++",
    "cxx": "c++",
    "rs": "rust",
    "golang": "go",
    "as": "assemblyscript",
    "ts": "assemblyscript",
    "py": "python",
}


@dataclass(frozen=True, slots=True)
class Built:
    """A module, by which compiler it was made, and what that had to say."""

    module: bytes
    language: str
    compiler: str
    warnings: tuple[str, ...]
    seconds: float
    cached: bool


def toolchain(language: str) -> Toolchain:
    """Return a language's toolchain by its name."""
    name = language.lower()
    name = _ALIASES.get(name, name)
    if name not in LANGUAGES:
        raise BadOption(f"no language `{language}`; there are {listing(LANGUAGES)}.{nearest(name, LANGUAGES)}")
    return LANGUAGES[name]


def language_of(path: Path) -> str | None:
    """Return the language of a source file by its ending, None if it is none of ours."""
    return next((each.language for each in _ALL if path.suffix == each.suffix), None)


def find(language: str, near: Path | None = None) -> tuple[Toolchain, Found]:
    """Return a toolchain and its compiler, or say how to install it."""
    chosen = toolchain(language)
    found = chosen.find(near or Path())
    if found is None:
        raise WasmToolchainMissing(f"no compiler for {chosen.language} was found. To install one: {chosen.install}")
    return chosen, found


def build_text(text: str, language: str, *, name: str, label: str, above: int = 0, near: Path | None = None) -> Built:
    """Compile one piece of source, as from a notebook cell; guests keep the names of their functions."""
    suffix = toolchain(language).suffix
    return build([SourceFile(f"cell{suffix}", text, label, above)], language, name=name, names=True, near=near)


def build(
    sources: Sequence[SourceFile],
    language: str,
    *,
    name: str,
    names: bool = False,
    near: Path | None = None,
    cache: BuildCache | None = None,
) -> Built:
    """Compile source files, the first of which is the one to begin with, to a module.

    The same sources and the same compiler give the same bytes, wherever and whenever they are built. With `names`
    the module keeps the names of its functions, for back-traces.
    """
    started = time.perf_counter()
    chosen, found = find(language, near)
    sdk = {file: (abi_folder() / file).read_text() for file in chosen.sdk}
    taken = sorted(sdk.keys() & {each.name for each in sources})
    if taken:
        raise WasmBuildFailed(f"{name}: {listing(taken)} comes with the package; give your file another name")
    cache = cache or BuildCache.default()
    key = cache.key([chosen.language, found.version, chosen.flags, sdk, [(each.name, each.text) for each in sources]])
    kept = cache.get(key)
    if kept is not None:
        module, warnings = kept.module, kept.warnings
    else:
        module, said = _compiled(chosen, found, sources, sdk, name)
        warnings = tuple(said)
        cache.put(key, module, warnings)
    by_name = {each.name: each for each in sources}
    return Built(
        stripped(module, keep=(*chosen.keeps, *(("name",) if names else ()))),
        chosen.language,
        found.version,
        tuple(each.shown(by_name) for each in warnings),
        time.perf_counter() - started,
        kept is not None,
    )


def _compiled(
    chosen: Toolchain, found: Found, sources: Sequence[SourceFile], sdk: dict[str, str], name: str
) -> tuple[bytes, list[Diagnostic]]:
    with tempfile.TemporaryDirectory(prefix="dataflare-build-") as folder:
        scratch = Path(folder)
        for file, text in sdk.items():
            _write(scratch / file, text)
        for source in sources:
            _write(scratch / source.name, source.text)
        try:
            module, warnings = chosen.compile(found, sources, scratch)
        except Refused as refused:
            raise failed(refused, sources, chosen.language, name) from None
    if chosen.by_llvm and not stack_is_first(module):
        raise WasmBuildFailed(f"{name}: the linker put the stack above the data, so an overflow would corrupt it")
    return module, warnings


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
