"""Modules that are small and take a compiler minutes or gigabytes, and modules too large in one of their parts."""

from __future__ import annotations

MAGIC = b"\0asm\1\0\0\0"
_I32 = 0x7F


def leb(value: int) -> bytes:
    """Return an unsigned number as modules write it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def section(number: int, body: bytes) -> bytes:
    """Return a section of a module."""
    return bytes([number]) + leb(len(body)) + body


def vector(items: list[bytes]) -> bytes:
    """Return items with their number before them."""
    return leb(len(items)) + b"".join(items)


def module(*bodies: bytes) -> bytes:
    """Return a module of functions that take nothing and return an i32, the first exported as `f`."""
    types = section(1, vector([b"\x60\x00\x01\x7f"]))
    functions = section(3, vector([b"\0"] * len(bodies)))
    export = section(7, vector([b"\x01f\x00\x00"])) if bodies else b""
    return MAGIC + types + functions + export + section(10, vector([leb(len(body)) + body for body in bodies]))


def small(number: int = 7) -> bytes:
    """Return a function that returns a number."""
    return b"\0\x41" + bytes([number & 63]) + b"\x0b"


def padded(size: int) -> bytes:
    """Return a module of at least so many bytes that is no bomb."""
    return module(*[small(n) for n in range(size // 5)])


def _summed(locals_: int) -> bytes:
    return b"".join(b"\x20" + leb(i) + (b"\x6a" if i else b"") for i in range(locals_))


def loops(depth: int, locals_: int) -> bytes:
    """Return loops in loops, each of which changes a local: 15 KiB of them take a minute and a half."""
    body = b"\x01" + leb(locals_) + bytes([_I32]) + b"\x03\x40" * depth
    for i in range(depth):
        own, other = leb(i % locals_), leb((i * 7 + 1) % locals_)
        body += b"\x20" + other + b"\x41\x01\x6a\x21" + own + b"\x20" + own + b"\x0d\0" + b"\x0b"
    return module(body + _summed(locals_) + b"\x0b")


def branches(depth: int, locals_: int) -> bytes:
    """Return one branch to all ends of many blocks, each of which changes a local: 34 KiB of it take 3 GB."""
    body = b"\x01" + leb(locals_) + bytes([_I32]) + b"\x02\x40" * depth
    body += b"\x20\0\x0e" + leb(depth - 1) + b"".join(map(leb, range(depth)))
    for i in range(depth):
        body += b"\x0b\x20" + leb((i * 7 + 1) % locals_) + b"\x41\x01\x6a\x21" + leb(i % locals_)
    return module(body + _summed(locals_) + b"\x0b")


def nested(depth: int) -> bytes:
    """Return blocks in blocks."""
    return module(b"\0" + b"\x02\x40" * depth + b"\x0b" * depth + b"\x41\0\x0b")
