"""WASI preview 1 as a guest may have it: the job's clock, seeded numbers, its output in the log, no arguments.

Files are in `files`, and are there only if the policy grants a folder. Nothing here reaches the process: neither
its environment beyond what was granted, nor its arguments, its standard streams or its sockets.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ..errors import WasmTrap
from .calls import Signature
from .desk import Fault, Window
from .files import MOST_IOVECS, Files
from .hostcalls import MOST_TEXT

if TYPE_CHECKING:
    from .desk import Desk

MODULE = "wasi_snapshot_preview1"
SUCCESS, BADF, FAULT, INVAL, NOTSUP, IO = 0, 8, 21, 28, 58, 29
MOST_NOISE = 65536
_MOST_SUBSCRIPTIONS = 64
_IOVEC = struct.Struct("<II")
_SUBSCRIPTION = struct.Struct("<QBxxxxxxxIxxxxQQHxxxxxx")
_EVENT = struct.Struct("<QHBxxxxxQHxxxxxx")
_ERRNO = {
    errno.EACCES: 2,
    errno.EBADF: 8,
    errno.EBUSY: 10,
    errno.EDQUOT: 19,
    errno.EEXIST: 20,
    errno.EFBIG: 22,
    errno.EINVAL: 28,
    errno.EISDIR: 31,
    errno.ELOOP: 32,
    errno.EMFILE: 33,
    errno.EMLINK: 34,
    errno.ENAMETOOLONG: 37,
    errno.ENFILE: 41,
    errno.ENOENT: 44,
    errno.ENOMEM: 48,
    errno.ENOSPC: 51,
    errno.ENOTDIR: 54,
    errno.ENOTEMPTY: 55,
    errno.ENOTSUP: 58,
    errno.ENXIO: 60,
    errno.EOVERFLOW: 61,
    errno.EPERM: 63,
    errno.EROFS: 69,
    errno.ESPIPE: 70,
    errno.ETXTBSY: 74,
    errno.EXDEV: 75,
    errno.ENOTCAPABLE if hasattr(errno, "ENOTCAPABLE") else 1 << 16: 76,
}
Body: TypeAlias = Callable[..., int | None]

# The parameters, `i` for i32 and `I` for i64. Each answers with an errno, `proc_exit` with nothing.
_HARMLESS = {
    "args_get": "ii",
    "args_sizes_get": "ii",
    "clock_res_get": "ii",
    "clock_time_get": "iIi",
    "environ_get": "ii",
    "environ_sizes_get": "ii",
    "fd_close": "i",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "fd_filestat_get": "ii",
    "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii",
    "fd_read": "iiii",
    "fd_seek": "iIii",
    "fd_write": "iiii",
    "poll_oneoff": "iiii",
    "proc_exit": "i",
    "random_get": "ii",
    "sched_yield": "",
}
_FILES = {
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_datasync": "i",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_pread": "iiiIi",
    "fd_pwrite": "iiiIi",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_sync": "i",
    "fd_tell": "ii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii",
    "path_remove_directory": "iii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
}


def _signature(name: str, letters: str) -> Signature:
    return tuple({"i": "i32", "I": "i64"}[x] for x in letters), () if name == "proc_exit" else ("i32",)


HARMLESS: dict[tuple[str, str], Signature] = {(MODULE, n): _signature(n, p) for n, p in _HARMLESS.items()}
"""What runtimes such as Go's need to start; it tells a guest nothing and gives it nothing."""
WITH_FILES: dict[tuple[str, str], Signature] = {(MODULE, n): _signature(n, p) for n, p in _FILES.items()}


class Wasi:
    """WASI for one guest. A method is named as the function it answers; `call` turns what it raises into an errno."""

    desk: Desk

    def __init__(self, variables: Mapping[str, str], files: Files) -> None:
        self._variables = [f"{name}={value}".encode() + b"\0" for name, value in variables.items()]
        self.files = files
        self._lines = {1: b"", 2: b""}

    def begin(self) -> None:
        """Begin a call of the guest."""
        self.files.begin()

    def flush(self) -> None:
        """Log what stands on a line without an end."""
        for stream, line in self._lines.items():
            if line:
                self._lines[stream] = b""
                self._say(stream, line)

    def close(self) -> None:
        """Close the files the guest left open."""
        self.files.close()

    def call(self, name: str, window: Window, *args: int) -> int | None:
        """Answer a call with an errno."""
        own = getattr(self, name, None)
        try:
            if own is not None:
                return own(window, *args)  # type: ignore[no-any-return]
            return getattr(self.files, name)(window, *args)  # type: ignore[no-any-return]
        except Fault:
            return FAULT
        except OSError as error:
            return _ERRNO.get(error.errno or 0, IO)

    # Arguments and environment

    def args_sizes_get(self, window: Window, count: int, size: int) -> int:
        window.write(count, bytes(4))
        window.write(size, bytes(4))
        return SUCCESS

    def args_get(self, window: Window, table: int, texts: int) -> int:
        return SUCCESS

    def environ_sizes_get(self, window: Window, count: int, size: int) -> int:
        window.write(count, struct.pack("<I", len(self._variables)))
        window.write(size, struct.pack("<I", sum(map(len, self._variables))))
        return SUCCESS

    def environ_get(self, window: Window, table: int, texts: int) -> int:
        at = texts & 0xFFFFFFFF
        places = []
        for text in self._variables:
            places.append(at)
            at += len(text)
        window.write(table, struct.pack(f"<{len(places)}I", *places))
        window.write(texts, b"".join(self._variables))
        return SUCCESS

    # Time and chance

    def clock_res_get(self, window: Window, clock: int, at: int) -> int:
        if clock not in (0, 1):
            return INVAL
        window.write(at, struct.pack("<Q", 1000))
        return SUCCESS

    def clock_time_get(self, window: Window, clock: int, precision: int, at: int) -> int:
        if clock not in (0, 1):
            return INVAL
        window.write(at, struct.pack("<Q", max(self.desk.now(), 0) * 1000))
        return SUCCESS

    def random_get(self, window: Window, at: int, size: int) -> int:
        if not 0 <= size <= MOST_NOISE:
            return INVAL
        window.write(at, self.desk.host.noise(self.desk.dice, size))
        return SUCCESS

    def sched_yield(self, window: Window) -> int:
        return SUCCESS

    def poll_oneoff(self, window: Window, subscriptions: int, events: int, count: int, ready: int) -> int:
        if not 0 < count <= _MOST_SUBSCRIPTIONS:
            return INVAL
        window.check(events, count * _EVENT.size)
        told = window.read(subscriptions, count * _SUBSCRIPTION.size)
        waits: list[tuple[int, int]] = []
        now: list[bytes] = []
        for user, tag, clock, timeout, _, flags in _SUBSCRIPTION.iter_unpack(told):
            if tag == 0 and clock in (0, 1):
                waits.append((max(timeout - self.desk.now() * 1000, 0) if flags & 1 else timeout, user))
            else:
                # Nothing that a guest reads or writes here keeps it waiting.
                now.append(_EVENT.pack(user, INVAL if tag == 0 else SUCCESS, tag, 0, 0))
        if waits and not now:
            shortest = min(waits)[0]
            self.desk.sleep(shortest / 1e9)
            now = [_EVENT.pack(user, SUCCESS, 0, 0, 0) for wait, user in waits if wait <= shortest]
        window.write(events, b"".join(now))
        window.write(ready, struct.pack("<I", len(now)))
        return SUCCESS

    def proc_exit(self, window: Window, code: int) -> None:
        self.desk.stop(WasmTrap(f"ended itself with exit({code})", plugin=self.desk.host.plugin))

    # The log

    def fd_write(self, window: Window, fd: int, vectors: int, count: int, written: int) -> int:
        if fd not in self._lines:
            return self.files.fd_write(window, fd, vectors, count, written)
        if not 0 <= count <= MOST_IOVECS:
            return INVAL
        window.check(written, 4)
        total = 0
        said = bytearray(self._lines[fd])
        for at, size in _IOVEC.iter_unpack(window.read(vectors, count * _IOVEC.size)):
            window.check(at, size)
            said += window.read(at, min(size, max(MOST_NOISE - len(said), 0)))
            total += size
        if total > 0xFFFFFFFF:
            return INVAL
        *lines, rest = bytes(said).split(b"\n")
        self._lines[fd] = rest[:MOST_TEXT]
        for line in lines:
            self._say(fd, line)
        window.write(written, struct.pack("<I", total))
        return SUCCESS

    def _say(self, stream: int, line: bytes) -> None:
        level = logging.INFO if stream == 1 else logging.WARNING
        self.desk.host.say(level, line[:MOST_TEXT].decode(errors="replace"))


def environment(names: tuple[str, ...]) -> dict[str, str]:
    """Return those variables of the process that are granted and set."""
    return {name: os.environ[name] for name in names if name in os.environ}
