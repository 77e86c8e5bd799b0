"""Walk from a folder to a name below it, so that no `..`, symbolic link or rename leads out.

Each step opens one folder relative to the one before and never follows a link by itself: a link is read, and
its parts are walked like any others. What is opened in the end is a plain file or a folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_PATH = 4096
_MOST_STEPS = 256
_MOST_LINKS = 8
_CAREFUL = os.O_CLOEXEC | os.O_NOFOLLOW
OUTSIDE = errno.EPERM


@contextmanager
def place(root: int, path: bytes, *, follow: bool) -> Iterator[tuple[int, str]]:
    """Yield the open folder and the name in it that `path` leads to; the last part need not exist.

    `follow` says whether a link at the very end is followed.
    """
    todo = _parts(path)
    asks_folder = path.endswith(b"/")
    stack = [root]
    links = steps = 0
    try:
        name = "."
        while todo:
            part = todo.pop()
            steps += 1
            if steps > _MOST_STEPS:
                raise OSError(errno.ENAMETOOLONG, "too many steps")
            if part == "..":
                if len(stack) == 1:
                    raise OSError(OUTSIDE, "leads out of the folder")
                os.close(stack.pop())
                continue
            kind = _kind(part, stack[-1], last=not todo)
            if stat.S_ISLNK(kind) and (todo or follow or asks_folder):
                links += 1
                target = os.readlink(os.fsencode(part), dir_fd=stack[-1])
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, "too many links")
                if target.startswith(b"/"):
                    raise OSError(OUTSIDE, "leads out of the folder")
                todo.extend(_parts(target))
                continue
            if not todo:
                name = part
                break
            stack.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | _CAREFUL, dir_fd=stack[-1]))
        yield stack[-1], name
    finally:
        for opened in stack[1:]:
            os.close(opened)


def open_folder(path: str) -> int:
    """Open a folder by its real path, part by part: a link that stands there now was put there afterwards."""
    opened = os.open("/", os.O_RDONLY | os.O_DIRECTORY | _CAREFUL)
    for part in path.split("/"):
        if part:
            above = opened
            try:
                opened = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _CAREFUL, dir_fd=above)
            finally:
                os.close(above)
    return opened


def open_plain(folder: int, name: str, flags: int) -> tuple[int, os.stat_result]:
    """Open a plain file or a folder; a pipe, a device or a socket is refused, without waiting for its other end."""
    try:
        kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    else:
        _plain(kind)
    opened = os.open(name, flags | _CAREFUL | os.O_NONBLOCK | os.O_NOCTTY, 0o644, dir_fd=folder)
    try:
        found = os.fstat(opened)
        _plain(found.st_mode)
    except BaseException:
        os.close(opened)
        raise
    return opened, found


def read_plain(path: Path, most: int) -> bytes:
    """Return the content of a plain file of at most so many bytes; anything else is refused, without waiting for it."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than the {most} bytes that are allowed")
    return data


def _plain(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "a link")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EPERM, "neither a file nor a folder")


def _parts(path: bytes) -> list[str]:
    if not path or path.startswith(b"/") or b"\0" in path:
        raise OSError(OUTSIDE if path.startswith(b"/") else errno.EINVAL, "not a relative path")
    if len(path) > MOST_PATH:
        raise OSError(errno.ENAMETOOLONG, "too long")
    try:
        return [part for part in reversed(path.decode().split("/")) if part not in ("", ".")]
    except UnicodeDecodeError:
        raise OSError(errno.EINVAL, "not UTF-8") from None


def _kind(part: str, folder: int, *, last: bool) -> int:
    try:
        return os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        if last:
            return 0
        raise
