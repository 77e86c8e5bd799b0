"""The stage that hands batches to a plugin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from ..dtypes import short
from ..errors import (
    BadOption,
    WasmBadOutput,
    WasmConfiguration,
    WasmPluginExecution,
    listing,
)
from ..types import Batch, Context, Output, Schema
from ..wasm.abi import DOORS
from ..wasm.hostcalls import HostFunctions, listener
from ..wasm.plugin import FUNCTIONS, Plugin, PluginType
from ..wasm.session import Session
from ..wasm.traps import GuestError
from .guests import OnError, check_columns, check_on_error, invalid
from .operator import BaseOperator

_WRONG_TYPE = -3
_FORMAT = re.compile(r" has the Arrow format \S+ and must be (\w+)$")
_TOLD: Mapping[str, pl.DataType] = {
    **{"text": pl.String(), "bool": pl.Boolean(), "f32": pl.Float32(), "f64": pl.Float64()},
    **{f"i{bits}": getattr(pl, f"Int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"u{bits}": getattr(pl, f"UInt{bits}")() for bits in (8, 16, 32, 64)},
}
_STAGES = (PluginType.PROCESSOR, PluginType.TRANSFORMER, PluginType.FILTER)


class WasmStage(BaseOperator):
    """Hand batches to a plugin.

    A processor's columns are merged into the batch: one of the same name replaces, others are appended, and
    there must be a row for each row. A transformer that takes all columns answers with the new batch; with
    named columns it works like a processor. A filter answers with one Boolean column.

    With a `schema`, which is what it made of no rows, every batch has to come out with just these columns.
    """

    parallel = True

    def __init__(
        self,
        plugin: Plugin,
        *,
        columns: Sequence[str] = (),
        function: str | None = None,
        output: str | None = None,
        on_error: OnError = "fail",
        seed: int | None = None,
        schema: Schema | None = None,
    ) -> None:
        check_on_error(on_error)
        if function is None and plugin.config.type not in _STAGES:
            kinds, found = ", ".join(_STAGES), plugin.config.type
            raise BadOption(
                f"plugin {plugin.name} is a {found.value}; .wasm takes a plugin of type {kinds}. "
                f"A {found.value} goes into {DOORS[found]}"
            )
        self._plugin, self._columns = plugin, tuple(columns)
        self._function = function or FUNCTIONS[plugin.config.type]
        self._output, self._on_error, self._seed = output, on_error, seed
        self._schema = schema
        self._filters = self._function == FUNCTIONS[PluginType.FILTER]
        self._replaces = self._function == FUNCTIONS[PluginType.TRANSFORMER] and not self._columns
        self._session: Session | None = None

    def output_schema(self, input_schema: Schema) -> Schema:
        """Return the schema after this stage, which is found by running the plugin on no rows."""
        check_columns(f"plugin {self._plugin.name}", self._columns, input_schema)
        session = self._opened()
        try:
            return self._made(session, pl.DataFrame(schema=input_schema)).schema
        except GuestError as error:
            if error.code != _WRONG_TYPE:
                raise
            taken = {name: input_schema[name] for name in self._columns or input_schema}
            told = GuestError(f"{error}. {_cast_before(str(error), taken)}", error.code)
            told.plugin = error.plugin
            raise told from None

    def open(self, ctx: Context) -> None:
        super().open(ctx)
        self.close()
        host = HostFunctions(
            self._plugin.name,
            clock=ctx.clock,
            seed=self._seed,
            count=ctx.count,
            stage=ctx.node_id,
            listen=listener(ctx),
        )
        self._session = Session(self._plugin, self._function, host=host, count=ctx.count)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        session = self._opened()
        if self._on_error == "fail":
            yield self._answer(session, batch)
            return
        good: list[Batch] = []
        bad: list[tuple[Batch, str]] = []
        for part, answer in self._apart(session, batch):
            if isinstance(answer, str):
                bad.append((part, answer))
            else:
                good.append(answer)
        if good:
            yield pl.concat(good) if len(good) > 1 else good[0]
        if bad:
            yield invalid(pl.concat([part for part, _ in bad]), [reason for _, reason in bad])

    def interrupt(self) -> None:
        if self._session is not None:
            self._session.interrupt()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _opened(self) -> Session:
        if self._session is None:
            host = HostFunctions(self._plugin.name, seed=self._seed)
            self._session = Session(self._plugin, self._function, host=host)
        return self._session

    def _apart(self, session: Session, batch: Batch) -> Iterator[tuple[Batch, Batch | str]]:
        """Yield parts of a batch in order, each with its answer, or a single row with the reason it failed."""
        try:
            yield batch, self._answer(session, batch)
        except WasmPluginExecution as error:
            if batch.height <= 1:
                yield batch, str(error)
                return
            half = batch.height // 2
            yield from self._apart(session, batch[:half])
            yield from self._apart(session, batch[half:])

    def _answer(self, session: Session, batch: Batch) -> Batch:
        return self._held(self._made(session, batch))

    def _made(self, session: Session, batch: Batch) -> Batch:
        given = batch.select(self._columns) if self._columns else batch
        answer = session.call(given, rows=None if self._replaces else batch.height)
        if self._filters:
            if answer.dtypes != [pl.Boolean()]:
                raise WasmBadOutput(
                    f"a filter answers with one Boolean column, and it answered {dict(answer.schema)}",
                    plugin=self._plugin.name,
                )
            return batch.filter(answer.to_series())
        if self._output is not None:
            if answer.width != 1:
                raise WasmConfiguration(
                    f"output={self._output!r} names one column, and the plugin returned {listing(answer.columns)}",
                    plugin=self._plugin.name,
                )
            answer = answer.rename({answer.columns[0]: self._output})
        return answer if self._replaces else batch.with_columns(answer.get_columns())

    def _held(self, made: Batch) -> Batch:
        """Return a batch if it has the columns that the stream was told of; their order is put right."""
        told, found = self._schema, made.schema
        if told is None or found == told:
            return made
        if dict(found) == dict(told):
            return made.select(list(told))
        differs = [f"`{name}` is new" for name in found if name not in told]
        differs += [f"`{name}` is missing" for name in told if name not in found]
        differs += [f"`{n}` is {found[n]} and was {told[n]}" for n in told if n in found and found[n] != told[n]]
        raise WasmBadOutput(
            f"it answers with other columns than for no rows, when the stream was built: {listing(differs)}",
            plugin=self._plugin.name,
        )


def _cast_before(said: str, columns: Mapping[str, pl.DataType]) -> str:
    """Say how columns become what a plugin takes, as far as it says what that is."""
    given = listing([f"`{name}` is {short(dtype)}" for name, dtype in columns.items()], most=6)
    found = _FORMAT.search(said)
    name = next((name for name in columns if found and said[: found.start()].endswith(f"column {name}")), None)
    if found is None or name is None or found[1] not in _TOLD:
        return f"Here {given}; cast before, as with .cast({{{next(iter(columns))!r}: ...}})"
    return f"Here {given}; cast before: .cast({{{name!r}: pl.{short(_TOLD[found[1]])}}})"
