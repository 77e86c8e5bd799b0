"""Try a plugin on what it says it takes: its own example, extreme rows, rows cut otherwise; and time it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from .. import dtypes
from ..errors import GraphFormat, WasmConfiguration, WasmError
from .abi import FUNCTIONS, PluginType
from .alone import Alone
from .kernel import read_facts
from .kernel_plugin import is_kernel
from .plugin import Plugin
from .samples import frames, mutated
from .session import Session
from .traps import GuestError

BENCH_ROWS = 65536
_MOST_READ = 100
_MOST_PROBLEMS = 5


@dataclass
class Trial:
    """What came of it. `refused` counts the plugin's own errors, which are no problem."""

    cases: int = 0
    rows: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def problem(self, what: str) -> None:
        """Note something that must not be."""
        if len(self.problems) < _MOST_PROBLEMS and what not in self.problems:
            self.problems.append(what)


@dataclass(frozen=True)
class Example:
    """Rows in, and rows out as the plugin's description promises them."""

    given: pl.DataFrame
    expected: pl.DataFrame


def inputs(plugin: Plugin) -> pl.Schema | None:
    """Return the columns that `metadata.inputs` says a plugin takes, or its function; None if neither says."""
    told = plugin.config.metadata.get("inputs")
    if told is None:
        if not is_kernel(plugin.module):
            return None
        return pl.Schema({slot.name: slot.dtype for slot in read_facts(plugin.module).params})
    try:
        return dtypes.from_json(told)
    except (GraphFormat, AttributeError, TypeError) as error:
        raise WasmConfiguration(f"metadata.inputs does not hold: {error}", plugin=plugin.name) from None


def _needed(plugin: Plugin) -> pl.Schema:
    schema = inputs(plugin)
    if schema is None:
        raise WasmConfiguration("it does not say what it takes; add metadata.inputs", plugin=plugin.name)
    return schema


def example(plugin: Plugin) -> Example | None:
    """Return the example in `metadata.example`: {"input": {"a": [...]}, "output": {"b": [...]}}."""
    told = plugin.config.metadata.get("example")
    if told is None:
        return None
    try:
        given = pl.DataFrame(told["input"], schema_overrides=inputs(plugin) or {})
        return Example(given, pl.DataFrame(told["output"]))
    except (pl.exceptions.PolarsError, TypeError, KeyError) as error:
        raise WasmConfiguration(f"metadata.example does not hold: {error}", plugin=plugin.name) from None


def run_example(plugin: Plugin) -> str | None:
    """Run the example; say what is wrong with the answer, None if nothing is."""
    told = example(plugin)
    if told is None:
        return None
    with Worker(plugin) as worker:
        answer = worker.work(told.given)
    want = told.expected.select(
        pl.col(name).cast(answer.schema[name]) for name in told.expected.columns if name in answer
    )
    if want.width < told.expected.width or not _same(answer.select(want.columns), want):
        return f"the example in metadata.example gives {answer.to_dict(as_series=False)}"
    return None


def fuzz(plugin: Plugin, *, seed: int = 0) -> Trial:
    """Hand a plugin frames of all kinds: it may refuse them in its own words, and nothing else may go wrong."""
    trial = Trial()
    if plugin.config.type is PluginType.SOURCE:
        with Worker(plugin) as worker:
            _read(worker, trial)
        return trial
    schema = _needed(plugin)
    rng = random.Random(seed)
    told = example(plugin)
    values = {name: told.given[name].to_list() for name in told.given.columns} if told is not None else {}
    with Worker(plugin) as worker:
        for label, frame in frames(schema, rng, values):
            _try(worker, trial, label, frame)
    return trial


def same_answers(one: Plugin, other: Plugin, *, seed: int = 0) -> str | None:
    """Compare two builds of a plugin on the same frames; say where they differ, None if they do not."""
    schema = _needed(one)
    with Worker(one) as first, Worker(other) as second:
        for label, frame in frames(schema, random.Random(seed), {}):
            if not _same(_answer_or_error(first, frame), _answer_or_error(second, frame)):
                return f"{label}: the two builds answer differently"
    return None


def bench(plugin: Plugin, *, seconds: float = 1.0) -> tuple[int, float]:
    """Return the rows of a batch and the shortest time it took, in seconds."""
    told = example(plugin)
    if told is not None and told.given.height:
        times = -(-BENCH_ROWS // told.given.height)
        frame = pl.concat([told.given] * times, rechunk=True)[:BENCH_ROWS]
    else:
        frame = mutated(_needed(plugin), random.Random(0), {}, BENCH_ROWS)
    with Worker(plugin) as worker:
        worker.work(frame)
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            worker.work(frame)
            best = min(best, time.perf_counter() - started)
    return frame.height, best


class Worker:
    """Call a plugin as its type is called, without a stream."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.kind = plugin.config.type
        self.session = Session(plugin)
        self._alone: Alone | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._alone is not None:
            self._alone.close()
        self.session.close()

    def work(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return what the plugin makes of a frame."""
        match self.kind:
            case PluginType.SOURCE:
                return pl.concat(list(self.read()))
            case PluginType.DESTINATION:
                self.alone.write(frame)
                return frame
            case PluginType.AGGREGATOR:
                return self.aggregated([frame] if frame.height else [])
            case PluginType.TRANSFORMER:
                return self.session.call(frame)
            case _:
                return self.session.call(frame, rows=frame.height)

    def read(self) -> Iterator[pl.DataFrame]:
        """Yield what a source reads, at most a hundred batches."""
        for _ in range(_MOST_READ):
            batch = self.alone.read()
            if batch is None:
                return
            yield batch

    def aggregated(self, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Return the value of one group, made of parts; no rows if there are none."""
        states = [self._aggregate(part) for part in parts]
        if not states:
            states = [self._aggregate(self._nothing(), groups=0)]
        state = pl.concat(states)
        if len(states) > 1:
            grouped = state.with_columns(pl.lit(0, dtype=pl.UInt32).alias("__group"))
            state = self.session.call(grouped, function="df_merge", rows=1, groups=1)
        if not self.session.exports("df_final"):
            return state
        return self.session.call(state, function="df_final", rows=state.height)

    @property
    def merges(self) -> bool:
        """Whether parts can be aggregated one by one."""
        return self.session.exports("df_merge")

    @property
    def alone(self) -> Alone:
        """An instance of its own, made anew after it was lost."""
        if self._alone is None or not self._alone.alive:
            self._alone = Alone(self.session)
        return self._alone

    def _nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema=inputs(self.plugin) or pl.Schema())

    def _aggregate(self, rows: pl.DataFrame, groups: int = 1) -> pl.DataFrame:
        grouped = rows.with_columns(pl.lit(0, dtype=pl.UInt32).alias("__group"))
        return self.session.call(grouped, function=FUNCTIONS[self.kind], rows=groups, groups=groups)


def _try(worker: Worker, trial: Trial, label: str, frame: pl.DataFrame) -> None:
    trial.cases += 1
    trial.rows += frame.height
    answer = _guarded(trial, label, lambda: worker.work(frame))
    if answer is None or worker.kind is PluginType.DESTINATION or not _repeats(worker.plugin):
        return
    if worker.kind is PluginType.FILTER and answer.dtypes != [pl.Boolean()]:
        trial.problem(f"{label}: a filter answers with one Boolean column, and it answered {dict(answer.schema)}")
        return
    again = _guarded(trial, label, lambda: worker.work(frame))
    if again is not None and not _same(answer, again):
        trial.problem(f"{label}: it answers differently when it is asked again")
    if frame.height < 2 or (worker.kind is PluginType.AGGREGATOR and not worker.merges):
        return
    parts = [frame[: frame.height // 3], frame[frame.height // 3 :]]
    apart = _guarded(trial, label, lambda: _apart(worker, [part for part in parts if part.height]))
    if apart is not None and worker.kind is not PluginType.TRANSFORMER and not _same(answer, apart):
        trial.problem(f"{label}: the answer depends on how rows are cut into batches")


def _apart(worker: Worker, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    if worker.kind is PluginType.AGGREGATOR:
        return worker.aggregated(parts)
    return pl.concat([worker.work(part) for part in parts])


def _read(worker: Worker, trial: Trial) -> None:
    for batch in _guarded(trial, "its batches", lambda: list(worker.read())) or ():
        trial.cases += 1
        trial.rows += batch.height


def _guarded(trial: Trial, label: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except GuestError as error:
        trial.refused[str(error)] += 1
    except WasmError as error:
        trial.problem(f"{label}: {type(error).__name__}: {error}")
    return None


def _answer_or_error(worker: Worker, frame: pl.DataFrame) -> pl.DataFrame:
    try:
        return worker.work(frame)
    except WasmError as error:
        return pl.DataFrame({"error": [str(error)]})


def _same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return one.schema == other.schema and one.equals(other)


def _repeats(plugin: Plugin) -> bool:
    """Whether the same rows must give the same answer: not where the host's clock or dice are asked."""
    return not any(name in plugin.module for name in (b"host_get_time", b"host_random", b"host_http"))


def refusals(trial: Trial) -> Mapping[str, int]:
    """Return the plugin's own errors, the most frequent first."""
    return dict(trial.refused.most_common())
