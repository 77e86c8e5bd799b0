"""Keep files hidden until they are complete, and bring them into view by renaming."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import pyarrow as pa

from ..errors import SinkError

_SUFFIX = ".inprogress"


class Staging:
    """The folder of one file sink, or the folder around its single file.

    Staged names carry a mark of the `owner`, so that one sink never clears away another's.
    """

    def __init__(self, place: str, folder: str, name: str | None, suffixes: Sequence[str], *, owner: str) -> None:
        self.target = f"{place}: {os.path.join(folder, name) if name else folder}"
        self._folder = folder
        self._name = name
        self._suffixes = tuple(suffixes)
        mark = hashlib.blake2b(f"{owner}\0{name or ''}".encode(), digest_size=6).hexdigest()
        self._tail = f".{mark}{_SUFFIX}"
        self._run = secrets.token_hex(4)
        self._staged = 0
        self._cleaned: set[str] = set()
        with writing(self.target):
            _make_folder(folder)
            names = sorted(os.listdir(folder))
        self._leftovers = [n for n in names if n.startswith(".part-") and n.endswith(self._tail)]
        shown = [n for n in names if not n.startswith((".", "_"))]
        self.existing = [n for n in shown if n == name] if name else [n for n in shown if n.endswith(self._suffixes)]
        if name and os.path.isdir(os.path.join(folder, name)):
            raise SinkError(f"{self.target} is a folder; choose a path without the suffix for a folder of parts")
        self._taken = set(self.existing)
        self._base: str | None = self.existing[0] if name and self.existing else None

    def described(self) -> str:
        """Say what is there."""
        files = len(self.existing)
        return f"{files} file{'s' * (files != 1)}, {self.existing[0]} the first" if self._name is None else "one file"

    def stage(self) -> tuple[str, IO[bytes]]:
        """Open a new hidden file."""
        name = f".part-{self._run}-{self._staged:05d}{self._tail}"
        self._staged += 1
        return name, open(os.path.join(self._folder, name), "xb", buffering=1 << 20)

    def name(self, epoch: int, staged: Sequence[str]) -> list[list[str]]:
        """Give staged files their final names, and see to it that they survive a crash."""
        with writing(self.target):
            self._sync_folder()
        if self._name is not None:
            if staged:
                self._base = staged[-1]
            return [[name, self._name] for name in staged]
        files: list[list[str]] = []
        number = 0
        for name in staged:
            while (final := f"part-{epoch:05d}-{number:05d}{self._suffixes[0]}") in self._taken:
                number += 1
            self._taken.add(final)
            files.append([name, final])
        return files

    def publish(self, files: Sequence[Sequence[str]], replaces: Sequence[str]) -> None:
        """Rename staged files to their final names; what is already renamed is left alone."""
        staged = {name for name, _ in files if os.path.exists(os.path.join(self._folder, name))}
        if lost := [name for name, _ in files if name in self._cleaned]:
            raise SinkError(f"{self.target}: {lost[0]} was cleared away before it was committed; commit before writing")
        if not staged:
            return
        finals = {final for _, final in files}
        with writing(self.target):
            # The old goes first: while something is still staged, a repeated commit knows that this was not finished.
            for name in replaces:
                if name not in finals:
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(self._folder, name))
            for name, final in files:
                if name in staged:
                    os.replace(os.path.join(self._folder, name), os.path.join(self._folder, final))
                self._taken.add(final)
                if name in self._leftovers:
                    self._leftovers.remove(name)
            self._sync_folder()
        if self._name is not None and files:
            self._base = self._name

    def base(self) -> str | None:
        """Return the file whose rows a single file must begin with."""
        return os.path.join(self._folder, self._base) if self._base else None

    def forget_base(self) -> None:
        """Begin a single file empty."""
        self._base = None

    def copy(self, base: str, stream: IO[bytes]) -> None:
        """Copy a text file and end its last line."""
        with open(base, "rb") as old:
            shutil.copyfileobj(old, stream, 1 << 20)
            if old.tell():
                old.seek(-1, os.SEEK_END)
                if old.read(1) != b"\n":
                    stream.write(b"\n")

    def clean(self) -> None:
        """Remove what a killed run of this sink has left."""
        self._cleaned.update(self._leftovers)
        self.remove(self._leftovers)
        self._leftovers = []

    def remove(self, names: Sequence[str]) -> None:
        """Remove staged files."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._folder, name))

    def _sync_folder(self) -> None:
        _sync(self._folder)


@contextmanager
def writing(target: str) -> Iterator[None]:
    """Name the target when it cannot be written."""
    try:
        yield
    except OSError as error:
        raise SinkError(f"{target} cannot be written: {error.strerror or error}") from error
    except pa.ArrowException as error:
        raise SinkError(f"{target} cannot be written: {error}") from error


def _make_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(os.path.abspath(folder))
    _make_folder(parent)
    with suppress(FileExistsError):
        os.mkdir(folder)
        _sync(parent)
    if not os.path.isdir(folder):
        raise NotADirectoryError(20, "Not a directory", folder)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
