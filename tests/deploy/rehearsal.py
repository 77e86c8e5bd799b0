"""A cluster in memory: the pipelines of a bundle, with everything that Flink would carry between them as bytes."""

from __future__ import annotations

import io
import random
from collections import defaultdict, deque
from pathlib import Path

import polars as pl

from dataflare_nb.clock import ManualClock
from dataflare_nb.deploy.worker.ledger import LEDGER, sums
from dataflare_nb.deploy.worker.loading import load
from dataflare_nb.deploy.worker.outbox import Sent
from dataflare_nb.deploy.worker.pipeline import Pipeline


class Rehearsal:
    """Runs a bundle to its end. With `crashes`, pipelines are now and then made anew from what they have saved.

    Up to a tenth of a second passes between two records, after which those are rung whose early results are due.
    """

    def __init__(self, folder: Path, *, seed: int = 0, crashes: bool = False) -> None:
        self._loaded = load(folder)
        self._random = random.Random(seed)
        self._crashes = crashes
        self._clock = ManualClock()
        self._pipelines: dict[tuple[int, int], Pipeline] = {}
        self._waiting: dict[tuple[tuple[int, int], tuple[int, int]], deque[bytes]] = defaultdict(deque)
        self.outputs: dict[str, list[pl.DataFrame]] = defaultdict(list)

    def run(self) -> dict[str, pl.DataFrame]:
        head = self._pipeline((0, 0))
        while not head.ended:
            head = self._pipeline((0, 0))
            self._take((0, 0), head.step())
            for _ in range(self._random.randrange(40)):
                self._carry()
        while any(self._waiting.values()):
            self._carry()
        for pipeline in self._pipelines.values():
            pipeline.close()
        self.ledger = sums(self.outputs.pop(LEDGER))
        return {name: pl.concat(frames) for name, frames in self.outputs.items()}

    def _carry(self) -> None:
        self._clock.advance(self._random.randrange(100_000))
        for place in list(self._pipelines):
            pipeline = self._pipeline(place)
            if pipeline.due is not None and pipeline.due <= self._clock.now():
                self._take(place, pipeline.ring())
        ready = [way for way, records in self._waiting.items() if records]
        if ready:
            way = self._random.choice(ready)
            self._take(way[1], self._pipeline(way[1]).feed(self._waiting[way].popleft()))

    def _take(self, sender: tuple[int, int], sent: object) -> None:
        for each in sent:  # type: ignore[attr-defined]
            assert isinstance(each, Sent)
            if each.vertex is None:
                self.outputs[each.output].append(pl.read_ipc_stream(io.BytesIO(each.content)))
            else:
                self._waiting[sender, (each.vertex, each.share)].append(each.content)

    def _pipeline(self, place: tuple[int, int]) -> Pipeline:
        known = self._pipelines.get(place)
        if known is not None and self._crashes and self._random.random() < 0.2:
            saved = known.snapshot()
            known.close()
            known = self._pipelines[place] = Pipeline(self._loaded, *place, self._clock)
            known.restore(saved)
        if known is None:
            known = self._pipelines[place] = Pipeline(self._loaded, *place, self._clock)
        return known
