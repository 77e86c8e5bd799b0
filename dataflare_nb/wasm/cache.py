"""Machine code on disk, which is believed only if this user's own key says so.

Whoever can change such a file could run anything, so the folder and the files belong to the user alone, each file
carries a keyed sum over its name and content, and the key lies elsewhere, so that a folder which was copied or
restored from somewhere else is worth nothing. Whatever does not hold is compiled anew, counted and said.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import platform
import secrets
import stat
import tempfile
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path

from .engine import settings
from .environment import cache_folder, config_folder

MOST_BYTES = 256 << 20
_MOST_FILE = 128 << 20
_SUM = 32
_SUFFIX = ".cwasm"

log = logging.getLogger("dataflare_nb.wasm")


class Distrusted(Exception):  # noqa: N818 - never leaves the module
    """A file or folder that may not be believed."""


class CodeCache:
    """Files of machine code under one folder. Safe from several threads and processes."""

    def __init__(self, folder: Path, key_file: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._key_file, self._most = folder / "modules", key_file, most_bytes
        self._key: bytes | None = None
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        self.hits = self.misses = self.rejected = 0

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    def get(self, sha256: str, *, metered: bool) -> bytes | None:
        """Return code that this user put here for this module, wasmtime, kind of engine and processor."""
        name = file_name(sha256, metered)
        try:
            if not self._ready():
                return None
            code = self._believed(name)
        except FileNotFoundError:
            self.misses += 1
            return None
        except (Distrusted, OSError) as error:
            self.reject(sha256, metered, str(error))
            return None
        self.hits += 1
        return code

    def put(self, sha256: str, code: bytes, *, metered: bool) -> None:
        """Keep code; if it cannot be kept, nothing is lost but time."""
        name = file_name(sha256, metered)
        if len(code) > min(_MOST_FILE, self._most):
            return
        try:
            if self._ready():
                handle, path = tempfile.mkstemp(dir=self._folder)
                try:
                    with os.fdopen(handle, "wb") as file:
                        file.write(self._sum(name, code) + code)
                    os.replace(path, self._folder / name)
                except BaseException:
                    os.unlink(path)
                    raise
                self._make_room()
        except OSError as error:
            self._warn(f"compiled modules cannot be kept in {self._folder}: {error}")

    def reject(self, sha256: str, metered: bool, why: str) -> None:
        """Count and say that a file is not believed; the next `put` replaces it."""
        self.rejected += 1
        log.warning("%s in %s is not used and compiled anew: %s", file_name(sha256, metered), self._folder, why)

    def _ready(self) -> bool:
        with self._lock:
            if self._key is not None:
                return True
            try:
                self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
                _private(os.lstat(self._folder), stat.S_ISDIR, f"the folder {self._folder}")
                self._key = _key(self._key_file)
            except (Distrusted, OSError) as error:
                self._warn(f"compiled modules are not kept on disk: {error}")
                return False
            return True

    def _believed(self, name: str) -> bytes:
        handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            _private(found, stat.S_ISREG, "the file")
            if found.st_size > _MOST_FILE + _SUM:
                raise Distrusted(f"the file has {found.st_size} bytes")
            data = file.read()
            os.utime(handle)
        code = data[_SUM:]
        if not hmac.compare_digest(data[:_SUM], self._sum(name, code)):
            raise Distrusted("it was changed, or written by someone else")
        return code

    def _sum(self, name: str, code: bytes) -> bytes:
        assert self._key is not None
        return hmac.digest(self._key, name.encode() + b"\0" + code, "sha256")

    def _make_room(self) -> None:
        with os.scandir(self._folder) as entries:
            files = [(found.stat(follow_symlinks=False), found.path) for found in entries]
        total = sum(found.st_size for found, _ in files)
        for found, path in sorted(files, key=lambda pair: pair[0].st_mtime):
            if total <= self._most:
                return
            total -= found.st_size
            Path(path).unlink(missing_ok=True)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning(text)


def file_name(sha256: str, metered: bool) -> str:
    """Return the name of the file for a module."""
    return f"{sha256}-{_kind(metered)}{_SUFFIX}"


@cache
def user_cache(folder: Path | None, key_folder: Path) -> CodeCache | None:
    """Return the cache of a folder."""
    return None if folder is None else CodeCache(folder, key_folder / "cache.key")


def current_cache() -> CodeCache | None:
    """Return the cache that the environment names now."""
    return user_cache(cache_folder(), config_folder())


@cache
def _kind(metered: bool) -> str:
    about = [version("wasmtime"), settings(metered), platform.machine(), _processor()]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()


def _key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    if not path.exists():
        handle, made = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
            # Whoever is first decides; a key that is there already stays.
            os.link(made, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(made)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _private(os.fstat(handle), stat.S_ISREG, f"the key {path}")
        key = file.read(33)
    if len(key) != 32:
        raise Distrusted(f"the key {path} is damaged; remove it")
    return key


def _private(found: os.stat_result, kind: object, what: str) -> None:
    if not callable(kind) or not kind(found.st_mode):
        raise Distrusted(f"{what} is of another kind")
    if found.st_uid != os.geteuid():
        raise Distrusted(f"{what} belongs to another user")
    if found.st_mode & 0o077:
        raise Distrusted(f"{what} is open to others (mode {stat.S_IMODE(found.st_mode):o}); chmod go= it")
