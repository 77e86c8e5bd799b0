"""Built modules by the content of all that went into them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..environment import cache_folder
from .toolchain import Diagnostic


class Entry(msgspec.Struct, frozen=True):
    """What a compiler made: the module, its sum and the warnings."""

    module: bytes
    sha256: str
    warnings: tuple[Diagnostic, ...]


class BuildCache:
    """A folder of built modules. An entry that does not hold is as good as none, and so is a folder that fails."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    def default(cls) -> BuildCache:
        """Return the user's cache, one that keeps nothing if that is asked for."""
        base = cache_folder()
        return cls(base / "builds" if base is not None else None)

    @staticmethod
    def key(parts: Sequence[object]) -> str:
        """Return the key for all that decides what is built."""
        return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()

    def get(self, key: str) -> Entry | None:
        """Return what was kept under a key."""
        if self.folder is None:
            return None
        try:
            entry = msgspec.msgpack.decode((self.folder / key).read_bytes(), type=Entry)
        except (OSError, msgspec.MsgspecError):
            return None
        return entry if hashlib.sha256(entry.module).hexdigest() == entry.sha256 else None

    def put(self, key: str, module: bytes, warnings: Sequence[Diagnostic]) -> None:
        """Keep what was built, whole or not at all."""
        if self.folder is None:
            return
        entry = Entry(module, hashlib.sha256(module).hexdigest(), tuple(warnings))
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(msgspec.msgpack.encode(entry))
            Path(file.name).replace(self.folder / key)
        except OSError:
            pass
