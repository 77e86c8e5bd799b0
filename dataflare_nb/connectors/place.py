"""A place in a text file, and whether the file is still the one in which it was taken."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from ..errors import SourceError
from ..types import Json

_KNOWN = 1 << 10
"""Bytes at the beginning of a file, and before the place reached in it, by which it is known again."""


class FileChanged(SourceError):  # noqa: N818 - says what it is
    """A file is not the one in which an offset was taken."""

    way_out = "Write new rows behind the old ones, or to a file of their own"

    def __init__(self, file: str, byte: int, what: str) -> None:
        self.what = what
        super().__init__(f"{file} {what}, so it cannot be read on from byte {byte}. {self.way_out}")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, between two records, and what stands at the beginning of the file and before the place."""

    byte: int
    line: int
    head: bytes = b""
    tail: bytes = b""

    @classmethod
    def find(cls, file: str, stream: IO[bytes], offset: Json) -> Place:
        """Go to the place of an offset. Raises FileChanged if what stands before it is not what stood there."""
        byte, line, mark = offset["byte"], offset["line"], offset.get("mark")
        with reading(file):
            stream.seek(0)
            head = _read(stream, min(byte, _KNOWN))
            stream.seek(max(0, byte - _KNOWN))
            tail = _read(stream, min(byte, _KNOWN))
        place = cls(byte, line, head, tail)
        if len(head) + len(tail) < 2 * min(byte, _KNOWN):
            raise FileChanged(file, byte, f"has become shorter than the {byte} bytes that were read of it")
        if mark is not None and mark != place.mark:
            raise FileChanged(file, byte, "has been replaced: it does not begin with what was read of it")
        return place

    @property
    def mark(self) -> str:
        """Say in a word what stands before the place."""
        return hashlib.blake2b(self.head + b"\0" + self.tail, digest_size=8).hexdigest()

    def after(self, text: bytes, lines: int) -> Place:
        """Return the place behind some more text."""
        head = self.head if len(self.head) == _KNOWN else (self.head + text[:_KNOWN])[:_KNOWN]
        tail = text[-_KNOWN:] if len(text) >= _KNOWN else (self.tail + text)[-_KNOWN:]
        return Place(self.byte + len(text), self.line + lines, head, tail)


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Name the file when it cannot be read."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error


def open_text(file: str) -> IO[bytes]:
    """Open a file, unpacked if its name ends in `.gz`."""
    with reading(file):
        return cast("IO[bytes]", gzip.open(file, "rb")) if file.endswith(".gz") else io.FileIO(file)


def _read(stream: IO[bytes], size: int) -> bytes:
    """Read so many bytes, or all that there are; one call may give fewer."""
    text = b""
    while len(text) < size and (more := stream.read(size - len(text))):
        text += more
    return text
