"""A guest's linear memory, looked at from outside and never trusted."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

import wasmtime

from ..errors import WasmBadOutput
from ..lazy import lazy
from .calls import size_of

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = lazy("pyarrow")

_MOST_TEXT, _MUCH_TEXT = 4096, 64


class GuestMemory:
    """Read and write a guest's memory. Every range a guest names goes through `check`."""

    __slots__ = ("_bytes", "_memory", "_size_of", "_store", "base", "size")

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store, self._memory = store, memory
        # The engine is told that memory may not move, so the base holds for the life of the instance.
        self.base = ctypes.addressof(memory.data_ptr(store).contents)
        self.size = 0
        self._size_of = size_of(store, memory)
        self._bytes = memoryview(b"")
        self.refresh()

    def refresh(self) -> int:
        """Look the size up again, as after any call; return it."""
        size = self._size_of()
        if size != self.size:
            self.size = size
            self._bytes = memoryview((ctypes.c_char * size).from_address(self.base))
        return size

    def reserve(self, size: int) -> None:
        """Grow until there are `size` bytes."""
        if size > self.size:
            self._memory.grow(self._store, -(-(size - self.size) // 65536))
            self.refresh()

    def check(self, address: int, length: int, what: str) -> int:
        """Return `address` if the whole range is inside the memory."""
        if address < 0 or length < 0 or address + length > self.size:
            raise WasmBadOutput(
                f"{what} is {length} bytes at {address}, outside the guest's memory of {self.size} bytes"
            )
        return address

    def read(self, address: int, length: int, what: str) -> bytes:
        """Return a copy of a range."""
        self.check(address, length, what)
        return ctypes.string_at(self.base + address, length) if length else b""

    def unpack(self, layout: struct.Struct, address: int, what: str) -> tuple[Any, ...]:
        """Return the fields of a structure."""
        return layout.unpack_from(self._bytes, self.check(address, layout.size, what))

    def pointers(self, address: int, count: int, what: str) -> tuple[int, ...]:
        """Return an array of 32-bit addresses."""
        return struct.unpack_from(f"<{count}I", self._bytes, self.check(address, 4 * count, what)) if count else ()

    def text(self, address: int, what: str) -> str:
        """Return a NUL-terminated UTF-8 string; the null address is the empty string."""
        if not address:
            return ""
        room = min(_MOST_TEXT, self.size - self.check(address, 1, what))
        # Formats and names are short, nearly all of them.
        raw = ctypes.string_at(self.base + address, min(room, _MUCH_TEXT))
        end = raw.find(b"\0")
        if end < 0:
            raw = ctypes.string_at(self.base + address, room)
            end = raw.find(b"\0")
        if end < 0:
            raise WasmBadOutput(f"{what} at {address} has no end within {room} bytes")
        try:
            return raw[:end].decode()
        except UnicodeDecodeError as error:
            raise WasmBadOutput(f"{what} at {address} is not UTF-8: {error}") from None

    def copy_out(self, address: int, length: int, what: str) -> pa.Buffer:
        """Return a range as an aligned Arrow buffer that no longer depends on the guest."""
        self.check(address, length, what)
        buffer = pa.allocate_buffer(length)
        if length:
            ctypes.memmove(buffer.address, self.base + address, length)
        return buffer

    def copy_in(self, address: int, source: int | bytes, length: int) -> None:
        """Copy host bytes, or `length` bytes at a host address, to a range that was checked when it was allocated."""
        if length:
            ctypes.memmove(self.base + address, source, length)
