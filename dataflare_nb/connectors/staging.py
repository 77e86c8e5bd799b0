"""Keep files hidden until they are complete, and bring them into view by renaming."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from ..errors import SinkError
from ..lazy import lazy

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

_SUFFIX = ".inprogress"
_NUMBERED = re.compile(r"part-\d+-\d+")
_STAGED = re.compile(r"\.part-(?P<pid>[0-9a-f]+)\.(?P<run>[0-9a-f]+)-")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.ENOSPC, errno.EDQUOT}
_Identity = tuple[int, int, int, int]

_live: weakref.WeakValueDictionary[str, Staging] = weakref.WeakValueDictionary()
"""The open sinks of this process, by their run."""


class Staging:
    """The folder of one file sink, or the folder around its single file.

    Staged names carry a mark of the `owner`, so that one sink never clears away another's, and staged and final names
    that of the run, so that several sinks can fill one folder. What another has written is never replaced.
    """

    def __init__(self, place: str, folder: str, name: str | None, suffixes: Sequence[str], *, owner: str) -> None:
        self.target = f"{place}: {os.path.join(folder, name) if name else folder}"
        self._folder = folder
        self._name = name
        self._suffixes = tuple(suffixes)
        mark = hashlib.blake2b(f"{owner}\0{name or ''}".encode(), digest_size=6).hexdigest()
        self._tail = f".{mark}{_SUFFIX}"
        self._run = secrets.token_hex(4)
        self._path = os.path.realpath(os.path.join(folder, name)) if name else None
        self._staged = 0
        self._named: set[str] = set()
        self._cleaned: set[str] = set()
        with writing(self.target):
            _make_folder(folder)
            names = sorted(os.listdir(folder))
        self._leftovers = [n for n in names if n.startswith(".part-") and n.endswith(self._tail)]
        shown = [n for n in names if not n.startswith((".", "_"))]
        self.existing = [n for n in shown if n == name] if name else [n for n in shown if n.endswith(self._suffixes)]
        if name and os.path.isdir(os.path.join(folder, name)):
            raise SinkError(f"{self.target} is a folder; choose a path without the suffix for a folder of parts")
        self._taken = {found[0] for each in shown if (found := _NUMBERED.match(each))}
        self._base: str | None = self.existing[0] if name and self.existing else None
        self._known = _identity(self._path) if self._path else None
        _live[self._run] = self

    def require_alone(self) -> None:
        """Raise `SinkError` if another open sink of this process writes the same single file."""
        others = [other for run, other in list(_live.items()) if run != self._run]
        if self._path is not None and any(other._path == self._path for other in others):
            self.release()
            raise SinkError(
                f"{self.target} is being written by another sink; give each its own file, or write to a folder, "
                "which several may fill"
            )

    def release(self) -> None:
        """Let others have the single file."""
        _live.pop(self._run, None)

    def described(self) -> str:
        """Say what is there."""
        files = len(self.existing)
        return f"{files} file{'s' * (files != 1)}, {self.existing[0]} the first" if self._name is None else "one file"

    def stage(self) -> tuple[str, IO[bytes]]:
        """Open a new hidden file."""
        name = f".part-{os.getpid():x}.{self._run}-{self._staged:05d}{self._tail}"
        self._staged += 1
        return name, open(os.path.join(self._folder, name), "xb", buffering=1 << 20)

    def name(self, epoch: int, staged: Sequence[str]) -> list[list[str]]:
        """Give staged files their final names, and see to it that they survive a crash."""
        with writing(self.target):
            self._sync_folder()
        self._named.update(staged)
        if self._name is not None:
            if staged:
                self._base = staged[-1]
            return [[name, self._name] for name in staged]
        files: list[list[str]] = []
        number = 0
        for name in staged:
            while (numbered := f"part-{epoch:05d}-{number:05d}") in self._taken:
                number += 1
            self._taken.add(numbered)
            files.append([name, f"{numbered}-{self._run}{self._suffixes[0]}"])
        return files

    def publish(self, files: Sequence[Sequence[str]], replaces: Sequence[str]) -> None:
        """Rename staged files to their final names; what is already renamed is left alone."""
        staged = {name for name, _ in files if os.path.exists(os.path.join(self._folder, name))}
        if lost := [name for name, _ in files if name in self._cleaned]:
            raise SinkError(f"{self.target}: {lost[0]} was cleared away before it was committed; commit before writing")
        if lost := [name for name, _ in files if name in self._named and name not in staged]:
            raise SinkError(f"{self.target}: {lost[0]} was removed before it was committed; its rows are lost")
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
                    self._show(name, final)
                if numbered := _NUMBERED.match(final):
                    self._taken.add(numbered[0])
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

    def clean(self, *, resumed: bool) -> None:
        """Remove what a killed run of this sink has left. Unless resumed, a run that still lives is another's."""
        gone = [name for name in self._leftovers if resumed or not _lives(name)]
        self._cleaned.update(gone)
        self.remove(gone)
        self._leftovers = []

    def remove(self, names: Sequence[str]) -> None:
        """Remove staged files."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._folder, name))

    def _show(self, name: str, final: str) -> None:
        """Give a staged file its final name, if no other file has it."""
        staged, shown = os.path.join(self._folder, name), os.path.join(self._folder, final)
        there = _identity(shown)
        if there is not None and os.path.samefile(staged, shown):
            os.unlink(staged)
        elif there is not None and self._name is not None and there == self._known:
            os.replace(staged, shown)
        else:
            try:
                _link(staged, shown)
            except FileExistsError:
                raise SinkError(
                    f"{self.target}: {final} was written by another in the meantime and is not replaced; "
                    "write to another path"
                ) from None
            with suppress(FileNotFoundError):
                os.unlink(staged)
        self._named.discard(name)
        if self._name is not None:
            self._known = _identity(shown)

    def _sync_folder(self) -> None:
        _sync(self._folder)


@contextmanager
def writing(target: str) -> Iterator[None]:
    """Name the target when it cannot be written."""
    try:
        yield
    except OSError as error:
        way_out = ". What was committed before is intact; make room and run it again" if error.errno in _NO_ROOM else ""
        raise SinkError(f"{target} cannot be written: {error.strerror or error}{way_out}") from error
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


def _identity(path: str) -> _Identity | None:
    """Tell a file from one that took its place."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _link(staged: str, shown: str) -> None:
    """Bring a file under a new name, which it may have beside the old. Raises FileExistsError."""
    try:
        os.link(staged, shown)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without links, as on some network drives or where there is no room for a name, two at once cannot be told
        # apart; one after the other can.
        if os.path.lexists(shown):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), shown) from None
        os.replace(staged, shown)


def _lives(name: str) -> bool:
    """Say whether the run that staged a file still goes on, as far as this machine knows."""
    found = _STAGED.match(name)
    if found is None:
        return False
    pid = int(found["pid"], 16)
    if pid == os.getpid():
        return found["run"] in _live
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
