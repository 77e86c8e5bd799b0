"""Column operations: a run of neighbouring nodes as one fused query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..expr import Setting
from ..graph.columns import apply
from ..graph.node import AnyNode
from ..types import Batch, Output
from .operator import BaseOperator

_LARGE = 1 << 18


class Columns(BaseOperator):
    """Apply column nodes to a batch, as one LazyFrame that Polars optimises as a whole."""

    parallel = True

    def __init__(self, nodes: Sequence[AnyNode], blobs: Mapping[str, Any], settings: tuple[Setting, ...] = ()) -> None:
        self._nodes = nodes
        self._blobs = blobs
        self._settings = settings

    def tuned(self, settings: tuple[Setting, ...]) -> Columns:
        """Return the same with other values of its params."""
        return Columns(self._nodes, self._blobs, settings)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        frame = batch.lazy()
        for node in self._nodes:
            frame = apply(node, frame, self._blobs, self._settings)
        # On large batches the streaming engine works piece by piece in the cache; on small ones it only costs more.
        yield frame.collect(engine="streaming" if batch.height >= _LARGE else "in-memory")


class Pass(BaseOperator):
    """Give back what came: a union, or a point to look at."""

    parallel = True

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        yield batch
