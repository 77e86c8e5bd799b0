"""Find the files that a path, a glob or a folder stands for, once or again and again."""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from ..errors import SourceError, listing, nearest
from ..types import Clock

log = logging.getLogger("dataflare_nb")

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
        found: dict[tuple[str, str], tuple[str, Stamp]] = {}
        folder = lru_cache(maxsize=None)(os.path.realpath)
        for path in self._paths:
            before = len(found)
            try:
                for name, stamp in self._look(path, missing_ok=missing_ok):
                    # `x.csv`, `./x.csv` and `/data/x.csv` may be one file; a link has a name of its own.
                    head, tail = os.path.split(name)
                    found.setdefault((folder(head), tail), (name, stamp))
            except OSError as error:
                if missing_ok and isinstance(error, FileNotFoundError):
                    continue
                raise SourceError(
                    f"{self._place}: {error.filename or path} cannot be read: {error.strerror or error}"
                ) from error
            if len(found) == before and not missing_ok:
                raise SourceError(self._nothing(path))
        files = dict(sorted(found.values()))
        for file in files:
            if not _is_text(file):
                raise SourceError(f"{self._place}: the path {file!r} is not UTF-8; rename it")
        return files

    def _look(self, path: str, *, missing_ok: bool) -> Iterator[tuple[str, Stamp]]:
        there = _stat(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            for name, stamp in _entries(path):
                if name.endswith(self._suffixes):
                    yield os.path.join(path, name), stamp
        elif there is not None and stat.S_ISREG(there.st_mode):
            yield path, (there.st_size, there.st_mtime_ns)
        elif there is not None:
            raise SourceError(f"{self._place}: {path} is a device or pipe, not a file; copy what it gives to a file")
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

    A file is there when two looks have found it with the same size and modification time, and not empty; one that
    `grows` as soon as it is not empty. What is written to the others after that is not read: the log warns of it once,
    and `changed` counts the files.
    """

    def __init__(
        self, folder: Folder, clock: Clock, interval: int, *, grows: Callable[[str], bool], otherwise: str
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._interval = interval
        self._grows = grows
        self._otherwise = otherwise
        self._looked: int | None = None
        self._seen: dict[str, Stamp] = {}
        self._there: dict[str, Stamp] = {}
        self._warned: set[str] = set()

    @property
    def changed(self) -> int:
        """How many files have changed in a way that cannot be read."""
        return len(self._warned)

    def files(self) -> list[str]:
        """Return the files to read in the order in which they came, by name within one look."""
        self._look()
        return list(self._there)

    def stamp(self, name: str) -> Stamp | None:
        """Return the newest stamp of a file, None if it is not there."""
        self._look()
        return self._seen.get(name)

    def warn(self, name: str, what: str) -> None:
        """Tell, once, that a file has changed in a way that cannot be read."""
        if name not in self._warned:
            self._warned.add(name)
            log.warning("%s %s", name, what)

    def _look(self) -> None:
        now = self._clock.now()
        if self._looked is not None and 0 <= now - self._looked < self._interval:
            return
        self._looked = now
        files = self._folder.files(missing_ok=True)
        for name, stamp in files.items():
            if name not in self._there:
                if stamp[0] and (self._grows(name) or self._seen.get(name) == stamp):
                    self._there[name] = stamp
            elif stamp != self._there[name] and not self._grows(name):
                self.warn(
                    name,
                    "has changed after it was taken for whole: what was written since may not be read. Write files "
                    f"under a name that begins with a dot and rename them when they are whole{self._otherwise}",
                )
        self._seen = files


def _entries(folder: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            try:
                if entry.is_file():
                    there = entry.stat()
                    yield entry.name, (there.st_size, there.st_mtime_ns)
            except FileNotFoundError:
                continue


def _stat(path: str) -> os.stat_result | None:
    """Look at what is there; None if nothing is."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _recursive(pattern: str) -> Iterator[tuple[str, Stamp]]:
    root = pattern
    while glob.has_magic(root):
        root = os.path.dirname(root)
    for name in glob.iglob(pattern, recursive=True):
        there = _stat(name)
        if os.path.basename(name).startswith((".", "_")) or there is None or not stat.S_ISREG(there.st_mode):
            continue
        if _goes_in_circles(os.path.dirname(name), root):
            continue
        yield name, (there.st_size, there.st_mtime_ns)


def _goes_in_circles(folder: str, root: str) -> bool:
    """Tell whether a path goes, below `root`, through a link back to a folder that it has come through."""
    while len(folder) > len(root):
        above = os.path.dirname(folder)
        if os.path.islink(folder):
            target = os.path.realpath(folder)
            if os.path.join(os.path.realpath(above or "."), "").startswith(os.path.join(target, "")):
                return True
        folder = above
    return False


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
