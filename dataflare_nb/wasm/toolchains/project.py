"""A plugin's folder: plugin.json, the sources in src/, and the module they build to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import WasmConfiguration, listing
from ..plugin import WasmPluginConfig
from . import LANGUAGES, Built, SourceFile, build, find, language_of

DESCRIPTION = "plugin.json"
BUILT_WITH = "built_with"
"""The name under `metadata` of the compiler, on which the bytes of a module depend."""


@dataclass(frozen=True)
class Project:
    """A plugin's folder, whose description holds."""

    folder: Path
    config: WasmPluginConfig

    @classmethod
    def load(cls, path: Path) -> Project:
        """Read a folder, or the plugin.json in it."""
        folder = path.parent if path.name == DESCRIPTION else path
        return cls(folder, WasmPluginConfig.load(folder / DESCRIPTION))

    @property
    def module_path(self) -> Path:
        """Where the module is: in the folder, since what is built is written there."""
        path = self.folder / self.config.module_path
        if path.is_symlink() or not path.resolve().is_relative_to(self.folder.resolve()):
            raise WasmConfiguration(
                f"module_path is {self.config.module_path}, which leads out of {self.folder}", plugin=self.config.name
            )
        return path

    @property
    def built_with(self) -> str | None:
        """The compiler the module was built with, with its version."""
        found = self.config.metadata.get(BUILT_WITH)
        return found if isinstance(found, str) else None

    def sources(self) -> list[SourceFile]:
        """Read the sources, the one to begin with first."""
        found = [path for path in sorted((self.folder / "src").glob("**/*")) if language_of(path) is not None]
        if not found:
            endings = listing(each.suffix for each in LANGUAGES.values())
            raise WasmConfiguration(f"{self.folder / 'src'} holds no source of ours ({endings})")
        languages = sorted({language_of(path) or "" for path in found})
        if len(languages) > 1:
            raise WasmConfiguration(
                f"{self.folder / 'src'} holds sources in {listing(languages)}; keep to one language"
            )
        first = [self.config.name, "main", "lib", "index"]
        found.sort(key=lambda path: (first.index(path.stem) if path.stem in first else len(first), path))
        root = self.folder / "src"
        for path in found:
            if str(path.relative_to(root)).startswith("-"):
                raise WasmConfiguration(f"{path} would be an option to a compiler; give it another name")
        return [SourceFile(str(path.relative_to(root)), path.read_text(), str(path)) for path in found]

    @property
    def language(self) -> str:
        """The language of the sources."""
        return language_of(Path(self.sources()[0].name)) or ""

    def build(self) -> Built:
        """Compile the sources; nothing is written."""
        self.module_path  # noqa: B018 - refused before anything is run
        return build(self.sources(), self.language, name=self.config.name, near=self.folder)

    def write(self, built: Built) -> str:
        """Write the module, and its sum and compiler into the description; return the sum."""
        digest = hashlib.sha256(built.module).hexdigest()
        path = self.folder / DESCRIPTION
        document: dict[str, Any] = json.loads(path.read_text())
        metadata = {**document.get("metadata", {}), BUILT_WITH: built.compiler}
        fresh = {**document, "metadata": metadata, "sha256": digest}
        if fresh != document:
            # A signature is one of what was there before.
            fresh.pop("signature", None)
        self.module_path.write_bytes(built.module)
        path.write_text(description_text(fresh))
        return digest

    def difference(self, built: Built) -> str | None:
        """Say how what was just built differs from what is there; None if it does not."""
        digest = hashlib.sha256(built.module).hexdigest()
        if not self.module_path.exists():
            return f"{self.config.module_path} is not there"
        if self.module_path.read_bytes() == built.module:
            return None if self.config.sha256 == digest else f"the sha256 in {DESCRIPTION} is not that of the module"
        if self.built_with not in (None, built.compiler):
            return (
                f"{self.config.module_path} was built with {self.built_with} and here is {built.compiler}, "
                "so the bytes cannot be compared"
            )
        return f"{self.config.module_path} is not what its source builds to"

    def compiler_here(self) -> str:
        """Return the compiler that would build it."""
        return find(self.language, self.folder)[1].version


def description_text(document: dict[str, Any]) -> str:
    """Write a description the way people do: an entry a line, lists and small objects in one."""
    return _text(document, "") + "\n"


def _text(value: Any, indent: str) -> str:
    if isinstance(value, dict) and value:
        inner = indent + "  "
        flat = json.dumps(value, ensure_ascii=False)
        if indent and len(flat) <= 100 and not any(isinstance(each, dict | list) for each in value.values()):
            return flat
        parts = (f"{inner}{json.dumps(key, ensure_ascii=False)}: {_text(each, inner)}" for key, each in value.items())
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return json.dumps(value, ensure_ascii=False)


def projects(paths: list[Path]) -> list[Project]:
    """Return the plugins at paths: a plugin.json, a plugin's folder, or a folder of such folders."""
    return [Project.load(each) for path in paths for each in _descriptions(path)]


def _descriptions(path: Path) -> Iterator[Path]:
    if path.name == DESCRIPTION or (path / DESCRIPTION).is_file():
        yield path
        return
    for folder in (path, path / "plugins"):
        found = sorted(folder.glob(f"*/{DESCRIPTION}"))
        if found:
            yield from (each.parent for each in found)
            return
    raise WasmConfiguration(f"no {DESCRIPTION} in {path} or in a folder of it; `dataflare plugin new` makes one")
