"""The functions that Flink runs: each keeps one pipeline for each key, and its state in Flink's keyed state."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import OutputTag
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from ...types import NEVER
from . import placement
from .loading import Loaded, load
from .outbox import Sent
from .pipeline import Pipeline
from .ticks import TURN

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
RECORD = Types.ROW([Types.INT(), BYTES])
"""A key and what is for it."""


def tag(vertex: int) -> OutputTag:
    """Return the side output that carries the records for a vertex; the main output carries rows of results."""
    return OutputTag(f"vertex-{vertex}", RECORD)


class _Lazily:
    """A pipeline as a value of Flink's state, encoded when Flink asks for the bytes: once for each of its bundles."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (self.pipeline.snapshot(),)


class Hosted(KeyedProcessFunction):  # type: ignore[misc]
    """One vertex. Records are bytes for the pipeline of their key."""

    def __init__(self, folder: str, vertex: int, spread: bool) -> None:
        self._folder = folder
        self._vertex = vertex
        self._spread = spread

    def open(self, runtime_context: RuntimeContext) -> None:
        self._loaded: Loaded = load(Path(self._folder))
        self._pipelines: dict[int, Pipeline] = {}
        self._timers: dict[int, int] = {}
        self._state = runtime_context.get_state(ValueStateDescriptor("pipeline", Types.PICKLED_BYTE_ARRAY()))
        job = self._loaded.job
        self._keys = placement.keys(job.partitions, job.key_groups)
        self._shares = {key: share for share, key in enumerate(self._keys)}
        group = runtime_context.get_metrics_group()
        self._rows = group.counter("rows")
        own = job.vertices[self._vertex].stages
        after = [vertex.stages[0] for vertex in job.vertices if vertex.keys is not None and vertex.stages[0] not in own]
        told: dict[str, tuple[str, ...]] = dict.fromkeys(own, ("rows_in", "rows_out", "late", "invalid", "held"))
        # Rows that are too late for a window are found where they are combined before it.
        told |= {
            stage: ("rows_in", "late")
            for stage in after
            if any(sender in own for sender, _ in self._loaded.stages[stage].inputs)
        }
        for stage, names in told.items():
            of_stage = group.add_group("stage", stage)
            for name in names:
                of_stage.gauge(name, functools.partial(self._count, stage, name))
            if stage in own:
                of_stage.gauge("watermark", functools.partial(self._watermark, stage))

    def close(self) -> None:
        for pipeline in getattr(self, "_pipelines", {}).values():
            pipeline.close()

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        key = int(ctx.get_current_key())
        pipeline = self._pipeline(key)
        before = pipeline.rows
        yield from self._out(pipeline, self._work(pipeline, value))
        self._rows.inc(pipeline.rows - before)
        self._keep(key, pipeline, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        key = int(ctx.get_current_key())
        pipeline = self._pipeline(key)
        self._timers.pop(key, None)
        yield from self._out(pipeline, pipeline.ring())
        self._keep(key, pipeline, ctx)

    def _keep(self, key: int, pipeline: Pipeline, ctx: Any) -> None:
        self._state.update(_Lazily(pipeline))
        due = pipeline.due
        if due is not None and self._timers.get(key) != due:
            self._timers[key] = due
            ctx.timer_service().register_processing_time_timer(-(-due // 1_000))

    def _work(self, pipeline: Pipeline, value: Any) -> Iterator[Sent]:
        return pipeline.feed(bytes(value))

    def _count(self, stage: str, name: str) -> int:
        return sum(pipeline.counts(stage).get(name, 0) for pipeline in self._pipelines.values())

    def _watermark(self, stage: str) -> int:
        """Return the event time that a stage has come to, in microseconds: of the shares of the keys the least."""
        return min((pipeline.watermark(stage) for pipeline in self._pipelines.values()), default=NEVER)

    def _pipeline(self, key: int) -> Pipeline:
        known = self._pipelines.get(key)
        if known is None:
            known = Pipeline(self._loaded, self._vertex, self._shares[key] if self._spread else 0)
            saved = self._state.value()
            if saved is not None:
                known.restore(saved.pipeline.snapshot() if isinstance(saved, _Lazily) else bytes(saved))
            self._pipelines[key] = known
        return known

    def _out(self, pipeline: Pipeline, sent: Iterator[Sent]) -> Iterator[Any]:
        for each in sent:
            if each.vertex is None:
                yield f"{pipeline.run} {each.output} {base64.b64encode(each.content).decode()}"
            else:
                spread = self._loaded.job.vertices[each.vertex].keys is not None
                yield tag(each.vertex), Row(self._keys[each.share] if spread else 0, each.content)


class Ticked(Hosted):
    """The vertex of the sources. A tick is one poll, and the last one reads what is left."""

    def __init__(self, folder: str, vertex: int, last: int) -> None:
        super().__init__(folder, vertex, False)
        self._last = last

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        if not self._pipeline(int(ctx.get_current_key())).ended:
            yield from super().process_element(value, ctx)

    def _work(self, pipeline: Pipeline, value: Any) -> Iterator[Sent]:
        yield from pipeline.step(TURN)
        if int.from_bytes(bytes(value), "little") == self._last:
            while not pipeline.ended:
                yield from pipeline.step(TURN)
