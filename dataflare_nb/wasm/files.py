"""The files a guest has open, and the folders that its policy grants; without a grant there are none.

What one call may write is bounded, what it reads at once is bounded, and nothing here waits.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from .desk import Window
from .places import open_folder, open_plain, place

MOST_IOVECS = 1024
MOST_OPEN = 64
MOST_AT_ONCE = 1 << 20
MOST_ENTRIES = 65536
MOST_CREATED = 1024
SUCCESS = 0
STREAMS = 3

_DIRECTORY, _REGULAR, _CHARACTERS, _UNKNOWN, _LINK = 3, 4, 2, 0, 7
_CREATE, _AS_FOLDER, _EXCLUSIVE, _TRUNCATE = 1, 2, 4, 8
_APPEND = 1
_FOLLOW = 1
_READ_RIGHTS = 1 << 1 | 1 << 14
_WRITE_RIGHTS = 1 << 6 | 1 << 8 | 1 << 22
_ALL_RIGHTS = (1 << 28) - 1
_CHANGING_RIGHTS = sum(1 << bit for bit in (0, 4, 6, 8, 9, 10, 11, 12, 16, 17, 19, 20, 22, 23, 24, 25, 26))
_IOVEC = struct.Struct("<II")
_FDSTAT = struct.Struct("<BxHxxxxQQ")
_FILESTAT = struct.Struct("<QQBxxxxxxxQQQQQ")
_DIRENT = struct.Struct("<QQIBxxx")


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder as a guest's machine is built with it; `path` is its real one, without links."""

    path: str
    guest: str
    writable: bool


@dataclass(slots=True)
class _Entry:
    """One descriptor. `fd` is the process's own, -1 for the three streams, which lead nowhere here."""

    fd: int
    folder: bool = False
    readable: bool = True
    writable: bool = False
    append: bool = False
    at: int = 0
    guest: str | None = None
    listed: list[tuple[str, int, int]] = field(default_factory=list)


class Files:
    """The descriptors of one guest."""

    def __init__(self, folders: Sequence[Opened], *, most_written: int) -> None:
        self._most_written = most_written
        self._written = self._created = 0
        self._open: dict[int, _Entry] = {number: _Entry(-1) for number in range(STREAMS)}
        for number, folder in enumerate(folders, STREAMS):
            self._open[number] = _Entry(
                open_folder(folder.path), folder=True, writable=folder.writable, guest=folder.guest
            )

    def begin(self) -> None:
        """Begin a call, which may write and create so much."""
        self._written = self._created = 0

    def close(self) -> None:
        """Close everything. May be called twice."""
        opened, self._open = self._open, {}
        for entry in opened.values():
            if entry.fd >= 0:
                os.close(entry.fd)

    def __del__(self) -> None:
        if hasattr(self, "_open"):
            self.close()

    # Descriptors

    def fd_close(self, window: Window, fd: int) -> int:
        entry = self._entry(fd)
        if entry.guest is not None:
            raise OSError(errno.ENOTSUP, "a granted folder stays open")
        del self._open[fd]
        if entry.fd >= 0:
            os.close(entry.fd)
        return SUCCESS

    def fd_renumber(self, window: Window, fd: int, to: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    def fd_prestat_get(self, window: Window, fd: int, at: int) -> int:
        name = self._granted(fd).encode()
        window.write(at, struct.pack("<II", 0, len(name)))
        return SUCCESS

    def fd_prestat_dir_name(self, window: Window, fd: int, at: int, room: int) -> int:
        name = self._granted(fd).encode()
        if not len(name) <= room & 0xFFFFFFFF:
            raise OSError(errno.ENAMETOOLONG, "no room")
        window.write(at, name)
        return SUCCESS

    def fd_fdstat_get(self, window: Window, fd: int, at: int) -> int:
        entry = self._entry(fd)
        rights = _ALL_RIGHTS if entry.writable or entry.fd < 0 else _ALL_RIGHTS & ~_CHANGING_RIGHTS
        kind = _CHARACTERS if entry.fd < 0 else _DIRECTORY if entry.folder else _REGULAR
        window.write(at, _FDSTAT.pack(kind, _APPEND if entry.append else 0, rights, rights))
        return SUCCESS

    def fd_fdstat_set_flags(self, window: Window, fd: int, flags: int) -> int:
        self._entry(fd).append = bool(flags & _APPEND)
        return SUCCESS

    def fd_fdstat_set_rights(self, window: Window, fd: int, base: int, inheriting: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    def fd_filestat_get(self, window: Window, fd: int, at: int) -> int:
        entry = self._entry(fd)
        if entry.fd < 0:
            window.write(at, _FILESTAT.pack(0, 0, _CHARACTERS, 1, 0, 0, 0, 0))
        else:
            window.write(at, _filestat(os.fstat(entry.fd)))
        return SUCCESS

    # Reading

    def fd_read(self, window: Window, fd: int, vectors: int, count: int, done: int) -> int:
        entry = self._entry(fd)
        if entry.fd < 0:
            window.write(done, bytes(4))
            return SUCCESS
        got = self._read(window, entry, vectors, count, done, entry.at)
        entry.at += got
        return SUCCESS

    def fd_pread(self, window: Window, fd: int, vectors: int, count: int, start: int, done: int) -> int:
        self._read(window, self._file(fd), vectors, count, done, start)
        return SUCCESS

    def fd_seek(self, window: Window, fd: int, by: int, whence: int, at: int) -> int:
        entry = self._file(fd)
        base = {0: 0, 1: entry.at}.get(whence)
        if whence == 2:
            base = os.fstat(entry.fd).st_size
        if base is None or not 0 <= base + by < 1 << 62:
            raise OSError(errno.EINVAL, "before the beginning")
        entry.at = base + by
        window.write(at, struct.pack("<Q", entry.at))
        return SUCCESS

    def fd_tell(self, window: Window, fd: int, at: int) -> int:
        window.write(at, struct.pack("<Q", self._file(fd).at))
        return SUCCESS

    def fd_advise(self, window: Window, fd: int, start: int, length: int, advice: int) -> int:
        self._file(fd)
        return SUCCESS

    def fd_readdir(self, window: Window, fd: int, at: int, room: int, cookie: int, done: int) -> int:
        entry = self._entry(fd)
        if not entry.folder:
            raise OSError(errno.ENOTDIR, "not a folder")
        if cookie == 0 or not entry.listed:
            entry.listed = _listed(entry.fd)
        room &= 0xFFFFFFFF
        window.check(at, room)
        told = bytearray()
        for number, (name, kind, inode) in enumerate(entry.listed[max(cookie, 0) :], max(cookie, 0) + 1):
            raw = os.fsencode(name)
            told += _DIRENT.pack(number, inode, len(raw), kind) + raw
            if len(told) >= min(room, MOST_AT_ONCE):
                break
        window.write(at, bytes(told[:room]))
        window.write(done, struct.pack("<I", min(len(told), room)))
        return SUCCESS

    def path_open(
        self,
        window: Window,
        fd: int,
        lookup: int,
        path: int,
        length: int,
        how: int,
        rights: int,
        inheriting: int,
        flags: int,
        at: int,
    ) -> int:
        root = self._folder(fd)
        window.check(at, 4)
        if len(self._open) >= MOST_OPEN:
            raise OSError(errno.EMFILE, "too many open files")
        reads, writes = bool(rights & _READ_RIGHTS), bool(rights & _WRITE_RIGHTS or how & (_CREATE | _TRUNCATE))
        if writes and not root.writable:
            raise OSError(errno.EROFS, "granted for reading only")
        mode = (os.O_RDWR if reads else os.O_WRONLY) if writes else os.O_RDONLY
        for bit, flag in ((_CREATE, os.O_CREAT), (_AS_FOLDER, os.O_DIRECTORY), (_EXCLUSIVE, os.O_EXCL)):
            mode |= flag if how & bit else 0
        if how & _CREATE:
            self._create()
        if how & _TRUNCATE:
            mode |= os.O_TRUNC
        asked = self._path(window, path, length)
        mode |= os.O_DIRECTORY if asked.endswith(b"/") else 0
        with place(root.fd, asked, follow=bool(lookup & _FOLLOW)) as (folder, name):
            opened, found = open_plain(folder, name, mode)
        number = next(n for n in range(STREAMS, STREAMS + MOST_OPEN + 1) if n not in self._open)
        is_folder = stat.S_ISDIR(found.st_mode)
        self._open[number] = _Entry(
            opened,
            folder=is_folder,
            readable=reads or not writes,
            writable=root.writable if is_folder else writes,
            append=bool(flags & _APPEND),
        )
        window.write(at, struct.pack("<I", number))
        return SUCCESS

    def path_filestat_get(self, window: Window, fd: int, lookup: int, path: int, length: int, at: int) -> int:
        root = self._folder(fd)
        with place(root.fd, self._path(window, path, length), follow=bool(lookup & _FOLLOW)) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        window.write(at, _filestat(found))
        return SUCCESS

    def path_readlink(self, window: Window, fd: int, path: int, length: int, at: int, room: int, done: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    # Writing

    def fd_write(self, window: Window, fd: int, vectors: int, count: int, done: int) -> int:
        entry = self._file(fd)
        if entry.append:
            entry.at = os.fstat(entry.fd).st_size
        entry.at += self._write(window, entry, vectors, count, done, entry.at)
        return SUCCESS

    def fd_pwrite(self, window: Window, fd: int, vectors: int, count: int, start: int, done: int) -> int:
        self._write(window, self._file(fd), vectors, count, done, start)
        return SUCCESS

    def fd_filestat_set_size(self, window: Window, fd: int, size: int) -> int:
        entry = self._writable(fd)
        grows = size - os.fstat(entry.fd).st_size
        if size < 0:
            raise OSError(errno.EINVAL, "negative")
        self._spend(max(grows, 0))
        os.ftruncate(entry.fd, size)
        return SUCCESS

    def fd_sync(self, window: Window, fd: int) -> int:
        self._file(fd)
        return SUCCESS

    def fd_datasync(self, window: Window, fd: int) -> int:
        self._file(fd)
        return SUCCESS

    def fd_allocate(self, window: Window, fd: int, start: int, length: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    def fd_filestat_set_times(self, window: Window, fd: int, accessed: int, changed: int, flags: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    def path_filestat_set_times(self, window: Window, *args: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    def path_create_directory(self, window: Window, fd: int, path: int, length: int) -> int:
        root = self._writable_folder(fd)
        self._create()
        with place(root.fd, self._path(window, path, length).rstrip(b"/"), follow=False) as (folder, name):
            os.mkdir(name, 0o755, dir_fd=folder)
        return SUCCESS

    def path_remove_directory(self, window: Window, fd: int, path: int, length: int) -> int:
        root = self._writable_folder(fd)
        with place(root.fd, self._path(window, path, length).rstrip(b"/"), follow=False) as (folder, name):
            os.rmdir(name, dir_fd=folder)
        return SUCCESS

    def path_unlink_file(self, window: Window, fd: int, path: int, length: int) -> int:
        root = self._writable_folder(fd)
        with place(root.fd, self._path(window, path, length), follow=False) as (folder, name):
            os.unlink(name, dir_fd=folder)
        return SUCCESS

    def path_rename(
        self, window: Window, fd: int, path: int, length: int, to: int, new_path: int, new_length: int
    ) -> int:
        source, target = self._writable_folder(fd), self._writable_folder(to)
        old, new = self._path(window, path, length), self._path(window, new_path, new_length)
        with (
            place(source.fd, old, follow=False) as (from_folder, from_name),
            place(target.fd, new, follow=False) as (to_folder, to_name),
        ):
            os.rename(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)
        return SUCCESS

    def path_link(self, window: Window, *args: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    def path_symlink(self, window: Window, *args: int) -> int:
        raise OSError(errno.ENOTSUP, "not offered")

    # Below

    def _entry(self, fd: int) -> _Entry:
        entry = self._open.get(fd)
        if entry is None:
            raise OSError(errno.EBADF, "not open")
        return entry

    def _granted(self, fd: int) -> str:
        name = self._entry(fd).guest
        if name is None:
            raise OSError(errno.EBADF, "not a granted folder")
        return name

    def _file(self, fd: int) -> _Entry:
        entry = self._entry(fd)
        if entry.fd < 0:
            raise OSError(errno.ESPIPE, "a stream")
        if entry.folder:
            raise OSError(errno.EISDIR, "a folder")
        return entry

    def _writable(self, fd: int) -> _Entry:
        entry = self._file(fd)
        if not entry.writable:
            raise OSError(errno.EBADF, "not opened for writing")
        return entry

    def _folder(self, fd: int) -> _Entry:
        entry = self._entry(fd)
        if not entry.folder:
            raise OSError(errno.ENOTDIR, "not a folder")
        return entry

    def _writable_folder(self, fd: int) -> _Entry:
        entry = self._folder(fd)
        if not entry.writable:
            raise OSError(errno.EROFS, "granted for reading only")
        return entry

    def _path(self, window: Window, at: int, length: int) -> bytes:
        if length & 0xFFFFFFFF > 4096:
            raise OSError(errno.ENAMETOOLONG, "too long")
        return window.read(at, length)

    def _read(self, window: Window, entry: _Entry, vectors: int, count: int, done: int, start: int) -> int:
        if entry.folder:
            raise OSError(errno.EISDIR, "a folder")
        if not entry.readable:
            raise OSError(errno.EBADF, "not opened for reading")
        if start < 0:
            raise OSError(errno.EINVAL, "before the beginning")
        buffers = self._buffers(window, vectors, count, done)
        got = os.preadv(entry.fd, buffers, start) if buffers else 0
        window.write(done, struct.pack("<I", got))
        return got

    def _write(self, window: Window, entry: _Entry, vectors: int, count: int, done: int, start: int) -> int:
        if not entry.writable:
            raise OSError(errno.EBADF, "not opened for writing")
        if start < 0:
            raise OSError(errno.EINVAL, "before the beginning")
        buffers = self._buffers(window, vectors, count, done)
        end = start + sum(map(len, buffers))
        # A hole counts like what fills it, or a guest could fill a disk with one byte far out.
        self._spend(max(end - max(os.fstat(entry.fd).st_size, 0), end - start))
        put = os.pwritev(entry.fd, buffers, start) if buffers else 0
        window.write(done, struct.pack("<I", put))
        return put

    def _buffers(self, window: Window, vectors: int, count: int, done: int) -> list[memoryview]:
        if not 0 <= count <= MOST_IOVECS:
            raise OSError(errno.EINVAL, "too many parts")
        window.check(done, 4)
        room = MOST_AT_ONCE
        found = []
        for at, size in _IOVEC.iter_unpack(window.read(vectors, count * _IOVEC.size)):
            window.check(at, size)
            taken = min(size, room)
            room -= taken
            if taken:
                found.append(memoryview(window.view(at, taken)).cast("B"))
        return found

    def _spend(self, size: int) -> None:
        self._written += size
        if self._written > self._most_written:
            raise OSError(errno.EDQUOT, "written more than one call may")

    def _create(self) -> None:
        self._created += 1
        if self._created > MOST_CREATED:
            raise OSError(errno.EDQUOT, "created more than one call may")


def _listed(fd: int) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            kind = _DIRECTORY if entry.is_dir(follow_symlinks=False) else _LINK if entry.is_symlink() else _REGULAR
            found.append((entry.name, kind, entry.inode()))
            if len(found) > MOST_ENTRIES:
                raise OSError(errno.EOVERFLOW, "too many entries")
    return [(".", _DIRECTORY, 0), ("..", _DIRECTORY, 0), *sorted(found)]


def _filestat(found: os.stat_result) -> bytes:
    kind = {stat.S_IFDIR: _DIRECTORY, stat.S_IFREG: _REGULAR, stat.S_IFLNK: _LINK}.get(
        stat.S_IFMT(found.st_mode), _UNKNOWN
    )
    # WASI's times have no sign: what was before 1970 is at its beginning.
    times = (max(time, 0) for time in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns))
    return _FILESTAT.pack(0, found.st_ino, kind, found.st_nlink, found.st_size, *times)
