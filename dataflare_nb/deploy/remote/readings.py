"""From looks at a job on a cluster to the readings that displays take, with the rates that need several."""

from __future__ import annotations

import math
import time
from collections import deque

from ...runtime.channel import ChannelStats
from ...runtime.outline import Pipe, Stage
from ...runtime.probe import Lately, NodeReading, Reading, Sample
from ...types import FOREVER, NEVER, EventTime
from .figures import RECORDS_IN, RECORDS_OUT
from .look import ABSENT, Checkpoints, Look, Vitals
from .pace import Rate
from .sketch import Sketch

_HISTORY = 600
UNKNOWN = -1


class Readings:
    """Turns looks into readings. `step` is the time in seconds after which Flink renews what it tells."""

    def __init__(self, sketch: Sketch, step: float) -> None:
        self._sketch = sketch
        self._rates = {stage.id: Rate(step) for stage in sketch.outline.stages}
        self._step = step
        self._writes = {pipe.sender for pipe in sketch.outline.pipes}
        self._reads = {pipe.receiver for pipe in sketch.outline.pipes}
        self.history: deque[Sample] = deque(maxlen=_HISTORY)

    def of(self, look: Look, now: float) -> Reading:
        """Return the reading of a look; `now` is of any clock that goes forward only."""
        stages = self._sketch.outline.stages
        newest = max((_time(v, "newest") for v in look.vertices.values()), default=math.nan)
        nodes = {
            stage.id: self._node(number, stage, look.vertices.get(stage.id), newest, now)
            for number, stage in enumerate(stages)
        }
        channels = {self._key(pipe): self._queue(look, pipe) for pipe in self._sketch.outline.pipes}
        self._remember(look, nodes)
        return Reading(
            EventTime(int((look.started + look.elapsed) * 1e6)),
            look.elapsed,
            look.status,
            nodes,
            channels,
            0,
            workers=max(1, len(stages)),
            says=_says(look),
            totals=_totals(look.checkpoints, look),
        )

    def _key(self, pipe: Pipe) -> tuple[str, str, int]:
        stages = self._sketch.outline.stages
        return stages[pipe.sender].id, stages[pipe.receiver].id, pipe.port

    def _queue(self, look: Look, pipe: Pipe) -> ChannelStats:
        vitals = look.vertices.get(self._sketch.outline.stages[pipe.receiver].id)
        fill = vitals.fill if vitals is not None else 0.0
        return ChannelStats.of_fill(0.0 if math.isnan(fill) else fill)

    def _node(self, place: int, stage: Stage, vitals: Vitals | None, newest: float, now: float) -> NodeReading:
        source = place not in self._reads
        kind = "source" if source else "sink" if stage.sink and place not in self._writes else "operator"
        if vitals is None:
            vitals = ABSENT
        came, went, sides = self._rows(stage, vitals, kind)
        rate = self._rates[stage.id].tell(came if math.isnan(went) or source else went, now)
        spent = vitals.spent
        total = sum(spent.values())
        watermark = _time(vitals, "watermark")
        lag = newest - watermark
        return NodeReading(
            id=stage.id,
            kind=kind,
            label=stage.label,
            rows_in=_whole(came),
            rows_out=_whole(went),
            bytes_in=0,
            bytes_out=0,
            batches_in=0,
            batches_out=0,
            batch_rows=0,
            busy=spent["busy"] / total if total else 0.0,
            idle=spent["idle"] / total if total else 1.0,
            backpressured=spent["backpressured"] / total if total else 0.0,
            latency_p50=None,
            latency_p99=None,
            watermark=EventTime(int(watermark)) if not math.isnan(watermark) else None,
            lag_us=max(0, int(lag)) if not math.isnan(lag) else None,
            sides=sides,
            in_flight=0,
            held=_whole(self._sum(stage, vitals, "held")),
            released=0,
            exact=False,
            stateful=stage.stateful,
            lately=Lately(rate, *_shares(vitals)),
            instances=vitals.parallelism,
        )

    def _rows(self, stage: Stage, vitals: Vitals, kind: str) -> tuple[float, float, dict[str, int]]:
        """Return rows in, rows out, each NaN if unknown, and those that went aside."""
        parts = self._sketch.parts[stage.id]
        figures = vitals.figures
        if not parts:
            # No job of ours: what Flink calls a record is all there is.
            came, went = (figures.records.get(each, math.nan) for each in (RECORDS_IN, RECORDS_OUT))
            return came, came if kind == "sink" else went, {}
        counted = figures.of_vertex("rows")
        came = figures.of_stage(parts[0].id, "rows_in")
        went = figures.of_stage(parts[-1].id, "rows_out")
        if kind == "source":
            read = [figures.of_stage(part.id, "rows_out") for part in parts if part.kind == "source"]
            came = counted if any(map(math.isnan, read)) else sum(read)
        elif math.isnan(came):
            came = counted
        if math.isnan(went) and kind in ("source", "sink"):
            went = counted
        told = {side: self._sum(stage, vitals, side) for side in ("late", "invalid")}
        return came, went, {side: int(rows) for side, rows in told.items() if not math.isnan(rows)}

    def _sum(self, stage: Stage, vitals: Vitals, what: str) -> float:
        told = [vitals.figures.of_stage(part.id, what) for part in self._sketch.parts[stage.id]]
        told = [each for each in told if not math.isnan(each)]
        return sum(told) if told else math.nan

    def _remember(self, look: Look, nodes: dict[str, NodeReading]) -> None:
        """Keep a point of the history: with each change of the counts, or when they stand still."""
        rows = {name: max(0, node.rows_in if node.rows_out < 0 else node.rows_out) for name, node in nodes.items()}
        if self.history:
            last = self.history[-1]
            if look.elapsed <= last.elapsed or (
                rows == dict(last.rows_out) and look.elapsed - last.elapsed < 2 * self._step
            ):
                return
        spent = {name: dict(vitals.spent) for name, vitals in look.vertices.items()}
        self.history.append(Sample(look.elapsed, rows, spent, {name: node.lag_us for name, node in nodes.items()}))


def _shares(vitals: Vitals) -> tuple[float, float, float]:
    told = [0.0 if math.isnan(each) else max(0.0, each) for each in (vitals.busy, vitals.backpressured, vitals.idle)]
    total = sum(told)
    if total <= 0.0:
        return 0.0, 0.0, 1.0
    busy, backpressured, _ = (each / total for each in told)
    return busy, backpressured, max(0.0, 1.0 - busy - backpressured)


def _time(vitals: Vitals, what: str) -> float:
    """Return an event time of any stage of a vertex: that of the last which knows one."""
    told = [value for (_, each), value in vitals.figures.stages.items() if each == what]
    known = [each for each in told if NEVER < each < FOREVER]
    return known[-1] if known else math.nan


def _whole(value: float) -> int:
    return UNKNOWN if math.isnan(value) else int(value)


def _says(look: Look) -> str:
    running, of = look.instances
    match look.status:
        case "starting":
            return f"Flink starts the job: {running} of {of} instances run"
        case "restarting":
            return f"Flink restarts the job: {running} of {of} instances run"
        case "stopping":
            return "Flink stops the job"
    return ""


def _totals(checkpoints: Checkpoints, look: Look) -> dict[str, float]:
    return {
        "instances": look.instances[1],
        "checkpoints": checkpoints.completed,
        "failed_checkpoints": checkpoints.failed,
        "restarts": look.restarts,
    }


def unseen(sketch: Sketch, status: str, says: str) -> Reading:
    """Return the reading of a job that nobody has looked at yet."""
    readings = Readings(sketch, 1.0)
    look = Look(status, time.time(), 0.0, {}, Checkpoints(), 0, (0, 0))
    made = readings.of(look, 0.0)
    return Reading(made.at, 0.0, status, made.nodes, made.channels, 0, workers=made.workers, says=says, totals=None)
