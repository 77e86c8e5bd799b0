"""The laws that every operator keeps, proved over a script of batches and words about time."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import polars as pl

from ..clock import ManualClock
from ..operators.keys import COLUMN as KEY_GROUP
from ..operators.keys import KEY_GROUPS, key_group
from ..operators.operator import BaseOperator
from ..runtime.host import Host
from ..runtime.packet import WHOLE, Packet
from ..types import FOREVER, NEVER, Batch, End, EventTime, Idle, Json, Message, Operator, Side, Split, State, Watermark
from .rows import LawBroken, assert_same_rows

MOST_TIMERS = 10_000
RESCALE_EACH = 3
"""Tried at every so many places of a script, since it takes several runs."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """In a script: so many microseconds of processing time go by."""

    microseconds: int


Line: TypeAlias = Message | Sleep | Packet | tuple[int, Message | Packet]
"""What a script is made of: a message, a `Packet` of a split, either with its port before it, or a `Sleep`."""


@dataclass(frozen=True, slots=True)
class _Step:
    packet: Packet
    port: int = 0
    sleep: int = 0

    @property
    def rows(self) -> Batch | None:
        return self.packet.message if isinstance(self.packet.message, pl.DataFrame) and not self.sleep else None

    def with_rows(self, rows: Batch) -> _Step:
        return _Step(self.packet.carrying(rows), self.port)


def check_operator(
    make: Callable[[], Operator],
    script: Sequence[Line],
    *,
    keys: Sequence[str] = (),
    ordered: bool = False,
    exact: bool = False,
    timers: bool = True,
) -> None:
    """Prove the laws for an operator over a script; raise LawBroken that names the law and the rows that differ.

    * **cuts**: batches cut in any other way between the same words about time give the same rows, at the same time.
    * **restore**: a snapshot, through Arrow IPC, restored anywhere changes nothing; nor does it when the state is
      dealt out by `key_group` to two operators and put together again, and taking it does not disturb.
    * **key groups**: one operator for each key group gives the same rows as one for all. Needs `keys`.
    * **timers**: `due()` is honest. Asking at every watermark gives nothing more, and telling time at each `due()` on
      the way gives the same rows (not so with early results by count: leave it out with `timers=False`).
    * **end**: after `End` nothing is held, due or left in a snapshot, and closing twice is harmless.
    * **ledger**: at each point the rows that came in are held, released or in a side output. With `exact` each row
      that came in came out, or went aside.
    * **input**: `process` leaves its batch as it was.

    With `ordered` the order of the main output counts too. A script without an `End` gets one.
    """
    steps = [_step(line) for line in script]
    ports = max((step.port for step in steps), default=0) + 1
    ended = {step.port for step in steps if isinstance(step.packet.message, End) and step.packet.split == WHOLE}
    steps += [_Step(Packet(End()), port) for port in range(ports) if port not in ended]
    law = _Laws(make, steps, ports, tuple(keys), ordered, exact)
    law.cuts()
    law.restore()
    law.key_groups()
    law.honest()
    if timers:
        law.timers()


def recut(script: Sequence[Line], sizes: Iterable[int]) -> list[Line]:
    """Return a script with its batches cut into these sizes, over and over; nothing else changes.

    >>> [line.height for line in recut([pl.DataFrame({"a": [1, 2, 3]})], [2])]
    [2, 1]
    """
    chosen = _forever(list(sizes))
    out: list[Line] = []
    for line in script:
        step = _step(line)
        if step.rows is None:
            out.append(line)
            continue
        for part in _slices(step.rows, chosen):
            packet = step.packet.carrying(part)
            whole: Message | Packet = packet if isinstance(_message(line), Packet) else part
            out.append((step.port, whole) if isinstance(line, tuple) else whole)
    return out


@dataclass
class _Told:
    """What an operator gave: for each output the rows, by the number of words about time heard before."""

    rows: dict[str, list[tuple[int, Batch]]] = field(default_factory=dict)

    def add(self, moment: int, tag: str, batch: Batch) -> None:
        self.rows.setdefault(tag, []).append((moment, batch))

    def joined(self, other: _Told) -> _Told:
        return _Told({tag: [*self.rows.get(tag, []), *other.rows.get(tag, [])] for tag in {**self.rows, **other.rows}})

    def copy(self) -> _Told:
        return _Told({tag: list(entries) for tag, entries in self.rows.items()})


class _Run:
    """An operator in a host, going through steps."""

    def __init__(self, make: Callable[[], Operator], ports: int, *, eager: bool = False) -> None:
        self.operator = make()
        if eager:
            self.operator.due = lambda: NEVER  # type: ignore[method-assign]
        self.clock = ManualClock()
        branches: Iterable[Split] = (WHOLE,) if ports == 1 else [(port,) for port in range(ports)]
        self.host = Host("checked", self.operator, self.clock, branches=branches, ports=ports)
        self.told = _Told()
        self.rows_in = 0
        self.rows_out = 0
        self.aside = 0
        self._held_before = 0

    def restore(self, states: Iterable[State], time: Json, now: int) -> None:
        self.clock.advance(now - self.clock.now())
        self.host.restore(states, json.loads(json.dumps(time)))
        self._held_before = self.operator.held()

    def go(self, steps: Iterable[_Step], moment: int = 0) -> int:
        for step in steps:
            moment = self.take(step, moment)
        return moment

    def take(self, step: _Step, moment: int) -> int:
        if step.sleep:
            self.clock.advance(step.sleep)
            self._note(self.host.tick(), moment)
            return moment + 1
        if step.rows is None:
            self._note(self.host.feed(step.packet, step.port), moment)
            return moment + 1
        given = step.rows.clone()
        self._note(self.host.feed(step.packet.carrying(given), step.port), moment)
        self.rows_in += step.rows.height
        assert_same_rows(given, step.rows, "input: process changed the batch that it was given", ordered=True)
        return moment

    def ledger(self, where: str) -> None:
        if type(self.operator).held is BaseOperator.held:
            return
        released, held = getattr(self.operator, "released", 0), self.operator.held()
        came = self.rows_in + self._held_before
        if came != held + released + self.aside:
            raise LawBroken(
                f"ledger: after {where} {came} rows have come in, and {held} held + {released} released + "
                f"{self.aside} aside are {held + released + self.aside}"
            )

    def _note(self, packets: Iterable[Packet], moment: int) -> None:
        for packet in packets:
            match packet.message:
                case pl.DataFrame() as batch:
                    self.rows_out += batch.height
                    self.told.add(moment, "main", batch)
                case Side(tag, batch):
                    self.aside += batch.height
                    self.told.add(moment, tag, batch)


@dataclass(frozen=True)
class _Mark:
    """How things stand between two steps."""

    time: Json
    now: int
    moment: int
    held: int
    snapshot: State
    told: _Told


@dataclass
class _Laws:
    make: Callable[[], Operator]
    steps: list[_Step]
    ports: int
    keys: tuple[str, ...]
    ordered: bool
    exact: bool
    whole: _Told = field(init=False)
    marks: list[_Mark] = field(init=False)

    def __post_init__(self) -> None:
        """Run the script once as it stands; this is what all else is held against."""
        run = _Run(self.make, self.ports)
        self.marks = []
        moment = 0
        for number, step in enumerate(self.steps):
            self._mark(run, moment)
            moment = run.take(step, moment)
            run.ledger(self._where(number))
        self._mark(run, moment)
        self.whole = run.told
        self._nothing_left(run)
        if self.exact and run.rows_in != run.rows_out + run.aside:
            raise LawBroken(f"ledger: {run.rows_in} rows came in, {run.rows_out} came out and {run.aside} went aside")

    def cuts(self) -> None:
        dice = random.Random(1)
        ways: dict[str, Callable[[], Iterator[int]]] = {
            "one row at a time": lambda: _forever([1]),
            "halves": lambda: _forever([0]),
            "one row, then the rest": lambda: _forever([1, 1 << 40]),
            "pieces of 1 to 4 rows": lambda: iter(lambda: dice.randint(1, 4), 0),
        }
        for name, sizes in ways.items():
            chosen = sizes()
            steps = [
                step.with_rows(part) if part is not None else step
                for step in self.steps
                for part in (_pieces(step.rows, chosen, name == "halves") if step.rows is not None else [None])
            ]
            self._same(steps, f"cuts: batches cut into {name}")
        self._same(_glued(self.steps), "cuts: neighbouring batches as one")
        nothing = [
            each
            for step in self.steps
            for each in ([step.with_rows(step.rows.clear())] if step.rows is not None else []) + [step]
        ]
        self._same(nothing, "cuts: an empty batch before each batch")

    def restore(self) -> None:
        for cut in range(len(self.steps) + 1):
            where = self._where(cut - 1) if cut else "the start"
            mark = self.marks[cut]
            snapshot = through_ipc(mark.snapshot)
            dealt = not self.keys or cut % RESCALE_EACH == 0
            for word, states in [("", [snapshot])] + ([(" dealt out by key group", _dealt(snapshot))] if dealt else []):
                law = f"restore: from the state{word} after {where}"
                run = _Run(self.make, self.ports)
                run.restore(states, mark.time, mark.now)
                if (held := run.operator.held()) != mark.held:
                    raise LawBroken(f"{law}: {held} rows are held, and {mark.held} were before")
                run.go(self.steps[cut:], mark.moment)
                run.ledger(f"the end ({law})")
                self._compare(mark.told.joined(run.told), law)
                self._nothing_left(run)
            if self.keys and cut % RESCALE_EACH == 1:
                self._rescale(cut, where)

    def _rescale(self, cut: int, where: str) -> None:
        """One operator, then two, then one again."""
        back = (cut + len(self.steps)) // 2
        later_on = self._where(back - 1) if back else "the start"
        law = f"restore: one operator, two after {where}, one again after {later_on}"
        mark, later = self.marks[cut], self.marks[back]
        told, states = mark.told, []
        for half, state in enumerate(_dealt(through_ipc(mark.snapshot))):
            run = _Run(self.make, self.ports)
            run.restore([state], mark.time, mark.now)
            run.go([self._share(step, _in_half(half)) for step in self.steps[cut:back]], mark.moment)
            told = told.joined(run.told)
            states.append(through_ipc(run.host.snapshot()))
        run = _Run(self.make, self.ports)
        run.restore(states, later.time, later.now)
        run.go(self.steps[back:], later.moment)
        self._compare(told.joined(run.told), law, ordered=False)

    def key_groups(self) -> None:
        if not self.keys:
            return
        groups: set[int] = set()
        for step in self.steps:
            if step.rows is not None:
                groups.update(key_group(step.rows.select(self.keys)).to_list())
        told = _Told()
        for group in sorted(groups) or [0]:
            run = _Run(self.make, self.ports)
            run.go([self._share(step, _in_group(group)) for step in self.steps])
            told = told.joined(run.told)
        self._compare(told, f"key groups: one operator for each of {len(groups)} groups", ordered=False)

    def honest(self) -> None:
        """An operator that is asked more often than it wants has nothing more to say."""
        run = _Run(self.make, self.ports, eager=True)
        run.go(self.steps)
        self._compare(run.told, "timers: `due` is late; asked at every watermark, the operator gives other rows")

    def timers(self) -> None:
        run = _Run(self.make, self.ports)
        moment = 0
        for step in self.steps:
            for time in self._dues(run, step):
                run.take(_Step(step.packet.carrying(Watermark(time)), step.port), moment)
            moment = run.take(step, moment)
        self._compare(run.told, "timers: time told at each `due` on the way")

    @staticmethod
    def _dues(run: _Run, step: _Step) -> Iterator[EventTime]:
        match step.packet.message:
            case _ if step.sleep:
                return
            case Watermark(time):
                upto = time
            case End() if step.packet.split == WHOLE:
                upto = EventTime(FOREVER - 1)
            case _:
                return
        for _ in range(MOST_TIMERS):
            due = run.operator.due()
            if due is None or not run.host.watermark < due <= upto:
                return
            yield due
        raise LawBroken(f"timers: `due` has asked {MOST_TIMERS} times for a watermark up to {upto}")

    def _same(self, steps: Iterable[_Step], law: str) -> None:
        run = _Run(self.make, self.ports)
        run.go(steps)
        run.ledger(f"the end ({law})")
        self._compare(run.told, law)
        self._nothing_left(run)

    def _compare(self, told: _Told, law: str, *, ordered: bool | None = None) -> None:
        for tag in sorted({*self.whole.rows, *told.rows}):
            wanted, got = self.whole.rows.get(tag, []), told.rows.get(tag, [])
            empty = next(batch for _, batch in (*wanted, *got)).clear()
            for _, batch in (*wanted, *got):
                assert_same_rows(batch.clear(), empty, f"{law}; `{tag}` changes its columns")
            for moment in sorted({moment for moment, _ in (*wanted, *got)}):
                at = f"{law}; `{tag}` after {moment} words about time"
                assert_same_rows(
                    pl.concat([empty, *(batch for m, batch in got if m == moment)]),
                    pl.concat([empty, *(batch for m, batch in wanted if m == moment)]),
                    at,
                    ordered=self.ordered and tag == "main" if ordered is None else ordered,
                )

    def _mark(self, run: _Run, moment: int) -> None:
        held = run.operator.held()
        snapshot = {name: table.clone() for name, table in run.host.snapshot().items()}
        self.marks.append(_Mark(run.host.time(), run.clock.now(), moment, held, snapshot, run.told.copy()))

    def _nothing_left(self, run: _Run) -> None:
        operator = run.operator
        if (held := operator.held()) != 0:
            raise LawBroken(f"end: {held} rows are still held")
        if (due := operator.due()) is not None:
            raise LawBroken(f"end: there is still something due at {due}")
        if (due := operator.due_clock()) is not None:
            raise LawBroken(f"end: there is still something due by the clock at {due}")
        for name, table in run.host.snapshot().items():
            if table.height:
                raise LawBroken(f"end: the state table `{name}` still has rows:\n{table}")
        operator.close()
        operator.close()

    def _share(self, step: _Step, wanted: Callable[[pl.Series], pl.Series]) -> _Step:
        if step.rows is None:
            return step
        groups = key_group(step.rows.select(self.keys))
        return step.with_rows(step.rows.filter(wanted(groups)))

    def _where(self, number: int) -> str:
        step = self.steps[number]
        if step.rows is not None:
            return f"line {number} ({step.rows.height} rows)"
        return f"line {number} ({Sleep(step.sleep) if step.sleep else step.packet.message})"


def _message(line: Line) -> Message | Sleep | Packet:
    return line[1] if isinstance(line, tuple) else line


def _step(line: Line) -> _Step:
    port = line[0] if isinstance(line, tuple) else 0
    match _message(line):
        case Sleep(microseconds):
            return _Step(Packet(Idle()), port, sleep=microseconds)
        case Packet() as packet:
            return _Step(packet, port)
        case message:
            return _Step(Packet(message), port)


def _forever(sizes: list[int]) -> Iterator[int]:
    while True:
        yield from sizes


def _slices(rows: Batch, sizes: Iterator[int]) -> Iterator[Batch]:
    at = 0
    while at < rows.height:
        size = next(sizes)
        yield rows.slice(at, size)
        at += size


def _pieces(rows: Batch, sizes: Iterator[int], halved: bool) -> Iterator[Batch]:
    if halved:
        return iter([rows.head(rows.height // 2), rows.slice(rows.height // 2)])
    return _slices(rows, sizes)


def _glued(steps: Sequence[_Step]) -> list[_Step]:
    out: list[_Step] = []
    for step in steps:
        last = out[-1] if out else None
        same = last is not None and last.port == step.port and last.packet.split == step.packet.split
        if same and last is not None and last.rows is not None and step.rows is not None:
            out[-1] = last.with_rows(pl.concat([last.rows, step.rows]))
        else:
            out.append(step)
    return out


def through_ipc(state: State) -> State:
    out = {}
    for name, table in state.items():
        buffer = io.BytesIO()
        table.write_ipc(buffer)
        out[name] = pl.read_ipc(io.BytesIO(buffer.getvalue()))
    return out


def _dealt(state: State) -> list[State]:
    """Deal a state out to two operators; a table without key groups goes to the first."""

    def share(table: pl.DataFrame, half: int) -> pl.DataFrame:
        if KEY_GROUP in table.columns:
            return table.filter(_in_half(half)(table[KEY_GROUP]))
        return table.clear() if half else table

    return [{name: share(table, half) for name, table in state.items()} for half in (0, 1)]


def _in_half(half: int) -> Callable[[pl.Series], pl.Series]:
    middle = KEY_GROUPS // 2
    return lambda groups: groups >= middle if half else groups < middle


def _in_group(group: int) -> Callable[[pl.Series], pl.Series]:
    return lambda groups: groups == group
