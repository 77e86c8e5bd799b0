"""One hostile module, and the fight: it strikes in its bad hour, and before and after it the stage works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from wasmtime import wat2wasm

from dataflare_nb.clock import SystemClock
from dataflare_nb.errors import WasmError, WasmTimeout
from dataflare_nb.operators.wasm import WasmStage
from dataflare_nb.types import NEVER, Clock, EventTime
from dataflare_nb.wasm import Plugin, WasmPluginConfig
from dataflare_nb.wasm.machine import STOCK

from ..asking import imported
from ..guests import ECHO, text
from ..servers import polite, rude, silent

NUMBERS = pl.DataFrame({"x": [1, 2, None, 4]})
TEXTS = pl.DataFrame({"s": ["one", "zwölf", None, "drei"]})
BAD_HOUR = 666
_HEADS = {
    "df_abi_version": '(func (export "df_abi_version") (result i32)',
    "df_formats": '(func (export "df_formats") (result i32)',
    "df_alloc": '(func (export "df_alloc") (param $n i32) (result i32) (local $p i32)',
    "df_reset": '(func (export "df_reset")',
}
_OPTIONAL = {
    "plugin_init": '(func (export "plugin_init") (param i32 i32) (result i32) {} (i32.const 0))',
    "_initialize": '(func (export "_initialize") {})',
    "df_last_error": '(func (export "df_last_error") (result i32) {} (i32.const 0))',
    "start": "(func $start {}) (start $start)",
}


class Hours(SystemClock):
    """The wall clock, but for the bad hour."""

    bad = False

    def now(self) -> EventTime:
        return EventTime(BAD_HOUR) if self.bad else super().now()


class Host:
    """What a stage is lent."""

    node_id = "attacked"
    watermark: EventTime = NEVER
    restored = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def count(self, name: str, by: int = 1) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Ground:
    """Where it takes place: a folder with something beside it, a polite server and one that never answers."""

    folder: Path
    port: int
    silent: int


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Prepare the place."""
    inside = folder / "data"
    (inside / "sub").mkdir(parents=True)
    (inside / "in.txt").write_text("hello")
    (folder / "secret.txt").write_text("secret")
    (inside / "out").symlink_to("../secret.txt")
    (inside / "absolute").symlink_to(folder / "secret.txt")
    with polite() as server, rude(silent) as quiet:
        yield Ground(folder, server.port, quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What a module tries, and what it ends in: an error whose text fits `match`, or none if it is harmless.

    `strike` is what `process_data` does in the bad hour, `inside` what other functions do then, `always` what it does
    at all times. Or `make` builds the whole plugin, and `run` does something else altogether. `loads` says
    that the stage cannot even begin.
    """

    name: str
    tries: str
    error: type[Exception] | None
    match: str = ""
    strike: str = ""
    always: str = ""
    inside: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    extra: str = ""
    memory: str = "2"
    policy: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, str] | None = None
    frame: pl.DataFrame = field(default_factory=NUMBERS.clone)
    make: Callable[[Ground], Plugin] | None = None
    run: Callable[[Ground], None] | None = None
    budget_ms: int = 150
    loads: bool = False
    again: bool = True

    def plugin(self, place: Ground) -> Plugin:
        """Return the hostile plugin."""
        if self.make is not None:
            return self.make(place)
        return hostile(
            self.strike,
            always=self.always,
            inside=self.inside,
            imports=self.imports,
            extra=self.extra,
            memory=self.memory,
            policy={"max_execution_time": self.budget_ms, **self.policy},
            schema=self.schema,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attack ended, and how long the host was held."""

    error: Exception | None
    seconds: float


def hostile(
    strike: str = "",
    *,
    always: str = "",
    inside: Mapping[str, str] | None = None,
    imports: tuple[str, ...] = (),
    extra: str = "",
    memory: str = "2",
    policy: Mapping[str, Any] | None = None,
    schema: Mapping[str, str] | None = None,
) -> Plugin:
    """Return a plugin that echoes, except in its bad hour."""
    parts = dict(inside or {})
    more = " ".join(_OPTIONAL[name].format(bad_hour(parts.pop(name))) for name in list(parts) if name in _OPTIONAL)
    wat = text(
        f"{always} {bad_hour(strike)} {ECHO}",
        imports=imported(*{"host_get_time", *imports}),
        extra=extra + more,
        memory=memory,
    )
    for name, statements in parts.items():
        assert _HEADS[name] in wat
        wat = wat.replace(_HEADS[name], f"{_HEADS[name]} {bad_hour(statements)}")
    return described(bytes(wat2wasm(wat)), policy=policy, schema=schema)


def described(
    module: bytes, *, policy: Mapping[str, Any] | None = None, schema: Mapping[str, str] | None = None
) -> Plugin:
    """Return a module as a plugin."""
    description = {"name": "guest", "type": "Processor", "module_path": "-", "security_policy": policy or {}}
    description |= {"schema": schema} if schema else {}
    return Plugin.of(WasmPluginConfig.load(description), module)


def bad_hour(statements: str) -> str:
    """Return statements that are carried out in the bad hour only."""
    return f"(if (i64.eq (call $host_get_time) (i64.const {BAD_HOUR})) (then {statements}))" if statements else ""


def fight(attack: Attack, place: Ground) -> Outcome:
    """Let a module strike and look whether its stage works before, between and after; return how it ended."""
    if attack.run is not None:
        return _timed(lambda: attack.run(place))  # type: ignore[misc]
    # An instance that is there already would not strike while it starts.
    STOCK.clear()
    clock = Hours()
    try:
        if attack.loads:
            clock.bad = True
            outcome = _timed(lambda: _once(attack.plugin(place), attack.frame, clock))
        else:
            stage = WasmStage(attack.plugin(place))
            stage.open(Host(clock))
            try:
                outcome = _struck(stage, attack, clock)
            finally:
                stage.close()
    finally:
        clock.bad = False
    _once(hostile(), attack.frame, clock)
    return outcome


def _struck(stage: WasmStage, attack: Attack, clock: Hours) -> Outcome:
    clock.bad = True
    outcome = _timed(lambda: _right(stage, attack.frame))
    clock.bad = False
    _works(stage, attack.frame)
    if attack.again:
        clock.bad = True
        second = _timed(lambda: _right(stage, attack.frame))
        assert type(second.error) is type(outcome.error), f"{outcome.error!r} and then {second.error!r}"
        clock.bad = False
        _works(stage, attack.frame)
    return outcome


def _once(plugin: Plugin, frame: pl.DataFrame, clock: Clock) -> None:
    stage = WasmStage(plugin)
    try:
        stage.open(Host(clock))
        _right(stage, frame)
    finally:
        stage.close()


def _works(stage: WasmStage, frame: pl.DataFrame, patience: int = 3) -> None:
    for left in reversed(range(patience)):
        try:
            _right(stage, frame)
            return
        except WasmTimeout:
            # A machine that is busy with something else may keep even an honest guest waiting.
            if not left:
                raise


def _right(stage: WasmStage, frame: pl.DataFrame) -> None:
    (out,) = stage.process(frame)
    assert isinstance(out, pl.DataFrame)
    assert out.equals(frame), out


def _timed(work: Callable[[], None]) -> Outcome:
    start = time.monotonic()
    error: Exception | None = None
    try:
        work()
    except WasmError as caught:
        error = caught
    return Outcome(error, time.monotonic() - start)
