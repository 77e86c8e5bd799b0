"""A packet as the bytes of one Flink record, and back."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import polars as pl

from ...runtime.packet import Packet
from ...types import End, EventTime, Idle, Side, Watermark

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def encode(sender: str, tag: str, packet: Packet) -> bytes:
    """Return a packet of an output of a stage."""
    match packet.message:
        case pl.DataFrame() as batch:
            kind, content = "rows", to_ipc(batch)
        case Side(_, batch):
            kind, content = "rows", to_ipc(batch)
        case Watermark(time):
            kind, content = "time", time.to_bytes(8, "little", signed=True)
        case Idle():
            kind, content = "idle", b""
        case End():
            kind, content = "end", b""
    return _encode((sender, tag, packet.split, kind, content, packet.origin))


def decode(record: bytes) -> tuple[str, str, Packet]:
    """Return the stage, its output, and the packet."""
    sender, tag, split, kind, content, origin = _decode(record)
    message: Any
    match kind:
        case "rows":
            message = from_ipc(content)
        case "time":
            message = Watermark(EventTime(int.from_bytes(content, "little", signed=True)))
        case "idle":
            message = Idle()
        case _:
            message = End()
    return sender, tag, Packet(message, tuple(split), origin=origin)


def to_ipc(frame: pl.DataFrame) -> bytes:
    """Return rows as an Arrow stream, with string views as Polars has them."""
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compat_level=pl.CompatLevel.newest())
    return buffer.getvalue()


def from_ipc(content: bytes) -> pl.DataFrame:
    """Return the rows of an Arrow stream."""
    return pl.read_ipc_stream(io.BytesIO(content))
