"""Find the files that a path, a glob or a folder stands for, once or again and again."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence

from ..errors import SourceError, listing, nearest
from ..types import Clock

Stamp = tuple[int, int]
"""Size and modification time: what changes while a file is being written."""


class Folder:
    """The files of a source, sorted by name. Names that start with `.` or `_` are nobody's business."""

    def __init__(self, place: str, path: str | Sequence[str], suffixes: Sequence[str]) -> None:
        self._place = place
        self._paths = [path] if isinstance(path, str) else list(path)
        self._suffixes = tuple(suffixes)

    def files(self, *, missing_ok: bool = False) -> dict[str, Stamp]:
        """Look, and return each file with its stamp."""
        found: dict[str, Stamp] = {}
        for path in self._paths:
            before = len(found)
            found.update(self._look(path, missing_ok=missing_ok))
            if len(found) == before and not missing_ok:
                raise SourceError(self._nothing(path))
        return dict(sorted(found.items()))

    def _look(self, path: str, *, missing_ok: bool) -> Iterator[tuple[str, Stamp]]:
        if os.path.isdir(path):
            for name, stamp in _entries(path):
                if name.endswith(self._suffixes):
                    yield os.path.join(path, name), stamp
        elif os.path.isfile(path):
            stat = os.stat(path)
            yield path, (stat.st_size, stat.st_mtime_ns)
        elif glob.has_magic(path):
            head, pattern = os.path.split(path)
            if glob.has_magic(head):
                yield from _recursive(path)
            elif os.path.isdir(head or "."):
                for name, stamp in _entries(head or "."):
                    if fnmatch.fnmatchcase(name, pattern):
                        yield os.path.join(head, name), stamp
        elif not missing_ok:
            raise SourceError(f"{self._place}: {path} does not exist.{_neighbour(path)}")

    def _nothing(self, path: str) -> str:
        if os.path.isdir(path):
            there = listing(sorted(name for name, _ in _entries(path)), most=6)
            return f"{self._place}: the folder {path} holds no {' or '.join(self._suffixes)} file; it holds {there}"
        if glob.has_magic(path):
            return f"{self._place}: no file matches {path}.{_neighbour(path)}"
        return f"{self._place}: {path} was named twice"


class Watch:
    """A folder looked at again, at most every `interval` microseconds.

    A file counts as complete when two looks have found it with the same size and modification time. What is
    appended to it after that is not read.
    """

    def __init__(self, folder: Folder, clock: Clock, interval: int) -> None:
        self._folder = folder
        self._clock = clock
        self._interval = interval
        self._looked: int | None = None
        self._seen: dict[str, Stamp] = {}
        self._complete: dict[str, None] = {}

    def complete(self) -> list[str]:
        """Return the complete files in the order in which they became so, by name within one look."""
        now = self._clock.now()
        if self._looked is None or now - self._looked >= self._interval or now < self._looked:
            self._looked = now
            files = self._folder.files(missing_ok=True)
            for name, stamp in files.items():
                if self._seen.get(name) == stamp and name not in self._complete:
                    self._complete[name] = None
            self._seen = files
        return list(self._complete)


def _entries(folder: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            try:
                if entry.is_file():
                    stat = entry.stat()
                    yield entry.name, (stat.st_size, stat.st_mtime_ns)
            except FileNotFoundError:
                continue


def _recursive(pattern: str) -> Iterator[tuple[str, Stamp]]:
    for name in glob.iglob(pattern, recursive=True):
        if os.path.basename(name).startswith((".", "_")) or not os.path.isfile(name):
            continue
        stat = os.stat(name)
        yield name, (stat.st_size, stat.st_mtime_ns)


def _neighbour(path: str) -> str:
    """Suggest the existing name nearest to a path that is not there."""
    head, name = os.path.split(path)
    if head and not os.path.isdir(head):
        return _neighbour(head) if not glob.has_magic(head) else ""
    try:
        names = os.listdir(head or ".")
    except OSError:
        return ""
    hint = nearest(name, names)
    return hint.replace("`", f"`{os.path.join(head, '')}", 1) if hint else ""
