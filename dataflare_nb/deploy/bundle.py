"""The files of a deployment, in memory; and on disk, all of them or none."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SinkError, listing

LOCK = "dataflare.lock"
RUN = ".run-"
"""How folders of runs begin, which a bundle may hold: a run has a copy of what it was submitted with, and its rows."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files by their path in the bundle. The same graph and target give the same bytes."""

    name: str
    files: Mapping[str, bytes]

    @property
    def sha256(self) -> str:
        """The sum of all files and their paths."""
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()

    def write(self, out: str | os.PathLike[str]) -> Path:
        """Write the files into a folder, in place of an earlier bundle; one that holds anything else is refused."""
        try:
            return self._write(Path(out))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise SinkError(f"the bundle cannot be written to {str(out)!r}: {why}") from None

    def _write(self, out: Path) -> Path:
        folder = Path(os.path.realpath(out))
        if folder.exists() and not folder.is_dir():
            raise SinkError(f"out={str(out)!r} is a file; give a folder")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).is_file():
            held = listing(sorted(each.name for each in folder.iterdir()), most=3)
            raise SinkError(f"out={str(out)!r} holds {held} and no bundle; give another folder, or empty it")
        if Path.cwd().is_relative_to(folder):
            raise SinkError(f"out={str(out)!r} is where this process works; give a folder in it, or beside it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
        try:
            self._fill(made)
            # mkdtemp makes it for its owner alone, and an image is built by others too.
            made.chmod(0o755)
            _replace(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return out

    def _fill(self, folder: Path) -> None:
        for path, content in self.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    def __repr__(self) -> str:
        return f"Bundle({self.name}, {len(self.files)} files, sha256={self.sha256[:8]}...)"


def _replace(made: Path, folder: Path) -> None:
    if not folder.exists():
        made.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=".bundle-old-", dir=folder.parent))
    try:
        folder.rename(old / "bundle")
        try:
            made.rename(folder)
        except BaseException:
            (old / "bundle").rename(folder)
            raise
        for run in (old / "bundle").glob(f"{RUN}*"):
            run.rename(folder / run.name)
    finally:
        shutil.rmtree(old, ignore_errors=True)
