"""The params of a running stage: which values its next batch is worked on with, and from which row on."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import polars as pl

from .. import parameters
from ..errors import BadOption, UnknownStage, WrongType, listing, nearest, shown
from ..expr import Setting
from ..graph import node
from ..parameters import Param, ParamSpec
from ..runtime.journal import INFO, WARNING, Journal
from ..runtime.plan import Plan, StagePlan
from ..runtime.probe import Change
from ..types import EventTime, Operator

log = logging.getLogger("dataflare_nb")

COLUMNS = ("param", "stage", "row", "new")
"""What a replay reads of recorded changes."""


class Tunable(Protocol):
    """An operator that can be had with other values of its params. What it has opened it shares with the new one."""

    def tuned(self, settings: tuple[Setting, ...]) -> Operator: ...


class Tuning:
    """The values of a stage's params. Guarded by the job's lock.

    They change between two batches only, as the params themselves do, or as `script` says, which other values then
    have no part in.
    """

    def __init__(self, stage: str, specs: Iterable[ParamSpec], script: Iterable[Change] | None) -> None:
        self.stage = stage
        self.changes: list[Change] = []
        self._specs = {spec.name: spec for spec in specs}
        self._values = {spec.name: spec.value for spec in self._specs.values()}
        self._live: list[Param] = [] if script is not None else [parameters.of(spec) for spec in self._specs.values()]
        self._script = deque(sorted(script or (), key=lambda change: change.row))
        self._base: Operator | None = None
        self._tuned: Operator | None = None
        self._refused: set[str] = set()

    @classmethod
    def of(cls, plan: StagePlan, script: Mapping[str, list[Change]] | None) -> Tuning | None:
        """Return the tuning of a stage, None if it reads no param."""
        specs = {spec.name: spec for item in plan.nodes for spec in node.params_of(item)}
        if not specs:
            return None
        return cls(plan.id, specs.values(), script.get(plan.id, []) if script is not None else None)

    def most(self, row: int, rows: int) -> int:
        """Return how many of the next rows are worked on with one value."""
        later = next((change.row for change in self._script if change.row > row), row + rows)
        return min(rows, later - row)

    def operator(self, base: Operator, row: int, now: EventTime) -> tuple[Operator, list[Change]]:
        """Return the operator for the batch that begins at a row, and what has changed with it."""
        made = [
            Change(name, self.stage, row, self._values[name], value, now)
            for name, value in self._wanted(row)
            if not _same(self._values[name], value)
        ]
        for change in made:
            self._values[change.param] = change.new
        self.changes += made
        if made or self._tuned is None or base is not self._base:
            settings = tuple(spec.setting(self._values[name]) for name, spec in self._specs.items())
            tunable: Any = base
            self._base, self._tuned = base, tunable.tuned(settings)
        assert self._tuned is not None
        return self._tuned, made

    @property
    def unmade(self) -> str:
        """Say which changes of a replay were not made, since the input ended before their row; nothing if all were."""
        if not self._script:
            return ""
        many, first = len(self._script), self._script[0]
        return (
            f"stage {self.stage} had no row {first.row:,}, from which on {first.param} = {first.new!r}"
            + (f", and {many - 1} more recorded changes come after" if many > 1 else "")
            + ": this is not all of the input that the changes were recorded with"
        )

    def _wanted(self, row: int) -> Iterable[tuple[str, parameters.Value]]:
        while self._script and self._script[0].row <= row:
            change = self._script.popleft()
            yield change.param, change.new
        for live in self._live:
            # Read once: another thread may declare the param anew in between.
            spec, value = live.spec, live.newest
            name = spec.name
            if spec.dtype == self._specs[name].dtype and type(value) is type(self._values[name]):
                self._refused.discard(name)
                yield name, value
            elif name not in self._refused:
                self._refused.add(name)
                log.warning(
                    "stage %s goes on with %s = %r: the param was declared anew as %s; run the stream again for that",
                    self.stage,
                    name,
                    self._values[name],
                    spec.dtype,
                )


def tell(job: str, journal: Journal, changes: Iterable[Change]) -> None:
    """Note in the job's log, and in Python's, what has changed."""
    for change in changes:
        text = f"{change.param} = {change.new!r} instead of {change.old!r} from row {change.row:,} on"
        log.info("job %s: stage %s has %s", job, change.stage, text)
        journal.say(INFO, f"`{change.stage}` has {text}")


def tell_unmade(job: str, journal: Journal, tunings: Iterable[Tuning | None]) -> None:
    """Warn of recorded changes that a replay has not made, once, when it has ended."""
    for tuning in tunings:
        if tuning is not None and tuning.unmade:
            log.warning("job %s: %s", job, tuning.unmade)
            journal.say(WARNING, tuning.unmade)


def script_of(plan: Plan, recorded: Any) -> dict[str, list[Change]] | None:
    """Return recorded changes by stage. Raises GraphError where they are not those of this graph."""
    if recorded is None:
        return None
    if not isinstance(recorded, pl.DataFrame):
        raise WrongType(f"changes={shown(recorded)}; it is a frame as job.changes() returns")
    missing = [name for name in COLUMNS if name not in recorded.columns]
    if missing:
        raise BadOption(f"changes has no column {listing(missing)}; job.changes() returns what is needed")
    specs = {stage.id: {s.name: s for item in stage.nodes for s in node.params_of(item)} for stage in plan.stages}
    found: dict[str, list[Change]] = {}
    rows = recorded.select(
        pl.col("param", "stage").cast(pl.String), pl.col("row").cast(pl.Int64), pl.col("new").cast(pl.String)
    )
    for name, stage, row, new in rows.iter_rows():
        if stage not in specs:
            raise UnknownStage(f"changes: no stage `{stage}`; there are {listing(specs)}.{nearest(str(stage), specs)}")
        if name not in specs[stage]:
            raise BadOption(f"changes: stage `{stage}` reads no param `{name}`; it reads {listing(specs[stage])}")
        if row is None or row < 0 or new is None:
            raise BadOption(f"changes: `{name}` of stage `{stage}` has row={row} and new={new!r}")
        spec = specs[stage][name]
        found.setdefault(stage, []).append(Change(name, stage, row, spec.value, spec.read(new), EventTime(0)))
    return found


def _same(left: parameters.Value, right: parameters.Value) -> bool:
    return type(left) is type(right) and left == right
