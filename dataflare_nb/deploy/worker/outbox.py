"""What a pipeline sends, put together to records: one for each vertex and share that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from . import codec
from .codec import Packed

_BYTES_OF_A_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class Out:
    """A packet for a share of another vertex; or, without a vertex, rows for an output of the job."""

    content: Packed | bytes
    vertex: int | None = None
    share: int = 0
    output: str = ""

    @property
    def bytes(self) -> int:
        """How much its rows take."""
        return len(self.content if isinstance(self.content, bytes) else self.content[4])


@dataclass(frozen=True, slots=True)
class Sent:
    """A record for another vertex; or, without one, rows for an output of the job, whose name is `output`."""

    vertex: int | None
    share: int
    content: bytes
    output: str = ""


@dataclass(slots=True)
class _Box:
    packets: list[Packed] = field(default_factory=list)
    bytes: int = 0


def records(run: str, outs: Iterator[Out]) -> Iterator[Sent]:
    """Put packets that go the same way into one record, in their order; a record costs Flink more than its bytes."""
    boxes: dict[tuple[int, int], _Box] = {}
    for out in outs:
        if out.vertex is None:
            assert isinstance(out.content, bytes)
            yield Sent(None, 0, out.content, out.output)
            continue
        assert isinstance(out.content, tuple)
        way = (out.vertex, out.share)
        box = boxes.setdefault(way, _Box())
        box.packets.append(out.content)
        box.bytes += out.bytes
        if box.bytes >= _BYTES_OF_A_RECORD:
            yield Sent(*way, codec.encode(run, boxes.pop(way).packets))
    for way, box in boxes.items():
        yield Sent(*way, codec.encode(run, box.packets))
