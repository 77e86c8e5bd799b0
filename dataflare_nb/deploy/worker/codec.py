"""Packets as the bytes of one Flink record, and back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import polars as pl

from ...runtime.packet import Packet
from ...types import End, EventTime, Idle, Side, Watermark

Packed: TypeAlias = tuple[str, str, Any, str, bytes, str]
"""A packet of an output of a stage, as a record holds it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def encode(run: str, packed: Sequence[Packed]) -> bytes:
    """Return packets of a run as one record."""
    return _encode((run, packed))


def decode(record: bytes) -> tuple[str, list[Packed]]:
    """Return the run and the packets of a record."""
    run, packed = _decode(record)
    return run, packed


def pack(sender: str, tag: str, packet: Packet, *, partials: bool = False) -> Packed:
    """Return a packet of an output of a stage; `partials` says that its rows are those of half a window."""
    match packet.message:
        case pl.DataFrame() as batch:
            kind, content = "partials" if partials else "rows", to_ipc(batch)
        case Side(_, batch):
            kind, content = "rows", to_ipc(batch)
        case Watermark(time):
            kind, content = "time", time.to_bytes(8, "little", signed=True)
        case Idle():
            kind, content = "idle", b""
        case End():
            kind, content = "end", b""
    return sender, tag, packet.split, kind, content, packet.origin


def unpack(packed: Packed) -> tuple[str, str, Packet, bool]:
    """Return the stage, its output, the packet, and whether it has partials."""
    sender, tag, split, kind, content, origin = packed
    message: Any
    match kind:
        case "rows" | "partials":
            message = from_ipc(content)
        case "time":
            message = Watermark(EventTime(int.from_bytes(content, "little", signed=True)))
        case "idle":
            message = Idle()
        case _:
            message = End()
    return sender, tag, Packet(message, tuple(split), origin=origin), kind == "partials"


def to_ipc(frame: pl.DataFrame) -> bytes:
    """Return rows as an Arrow stream, with string views as Polars has them."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.newest())
    return buffer.getvalue()


def from_ipc(content: bytes) -> pl.DataFrame:
    """Return the rows of an Arrow stream."""
    return pl.read_ipc_stream(io.BytesIO(content))
