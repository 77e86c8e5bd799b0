"""Stages that run in WebAssembly: compiled Python functions and plugins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import polars as pl

from ..errors import (
    BadOption,
    UnknownColumn,
    WasmBadOutput,
    WasmConfiguration,
    WasmPluginExecution,
    WrongType,
    listing,
    nearest,
)
from ..types import Batch, Context, Output, Schema, Side
from ..wasm.hostcalls import HostFunctions
from ..wasm.kernel import Kernel, KernelPool, accepts
from ..wasm.plugin import FUNCTIONS, Plugin, PluginType
from ..wasm.session import Session
from .operator import BaseOperator

OnError: TypeAlias = Literal["fail", "dead_letter"]
REASON = "reason"
_STAGES = (PluginType.PROCESSOR, PluginType.TRANSFORMER, PluginType.FILTER)


class UdfStage(BaseOperator):
    """Call a compiled function on columns: its result is a column, or says which rows stay.

    A row whose result is null does not pass a filter, as in Polars.
    """

    parallel = True

    def __init__(
        self,
        kernel: Kernel,
        args: Sequence[str],
        output: str | None = None,
        *,
        mode: Literal["column", "filter"] = "column",
        on_error: OnError = "fail",
    ) -> None:
        _check_on_error(on_error)
        facts = kernel.facts
        if mode == "filter" and facts.returns != "bool":
            raise WrongType(f"filter with {facts.name}: it returns {facts.returns}, and a filter needs bool")
        if len(args) != len(facts.params):
            raise BadOption(f"{facts.name} takes {len(facts.params)} columns and was given {len(args)}")
        self._kernel, self._args, self._output = kernel, tuple(args), output or facts.name
        self._mode, self._on_error = mode, on_error
        self._pool: KernelPool | None = None

    def output_schema(self, input_schema: Schema) -> Schema:
        """Return the schema after this stage, or say which column does not fit."""
        facts = self._kernel.facts
        _check_columns(facts.name, self._args, input_schema)
        for column, (param, kind) in zip(self._args, facts.params, strict=True):
            if not accepts(kind, input_schema[column]):
                raise WrongType(
                    f"{facts.name}: column `{column}` is {input_schema[column]} and parameter `{param}` is {kind}; "
                    f"cast it before with .cast or .with_columns"
                )
        if self._mode == "filter":
            return input_schema
        return pl.Schema({**input_schema, self._output: self._kernel.dtype})

    def open(self, ctx: Context) -> None:
        super().open(ctx)
        self._pool = self._pool or KernelPool(self._kernel)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        pool = self._pool = self._pool or KernelPool(self._kernel)
        columns = [batch.get_column(name) for name in self._args]
        if self._on_error == "fail":
            yield self._with(batch, pool.call(columns))
            return
        result, failures = pool.call_apart(columns)
        if not failures:
            yield self._with(batch, result)
            return
        failed = pl.Series([failure.row for failure in failures], dtype=pl.UInt32)
        stays = pl.select(~pl.int_range(batch.height, dtype=pl.UInt32).is_in(failed.implode())).to_series()
        yield self._with(batch.filter(stays), result.filter(stays))
        yield _invalid(batch[failed], [f"{failure.reason} ({failure.place})" for failure in failures])

    def interrupt(self) -> None:
        if self._pool is not None:
            self._pool.interrupt()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _with(self, batch: Batch, result: pl.Series) -> Batch:
        if self._mode == "filter":
            return batch.filter(result)
        return batch.with_columns(result.alias(self._output))


class WasmStage(BaseOperator):
    """Hand batches to a plugin.

    A processor's columns are merged into the batch: one of the same name replaces, others are appended, and
    there must be a row for each row. A transformer that takes all columns answers with the new batch; with
    named columns it works like a processor. A filter answers with one Boolean column.
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
    ) -> None:
        _check_on_error(on_error)
        if function is None and plugin.config.type not in _STAGES:
            kinds = ", ".join(_STAGES)
            raise BadOption(
                f"plugin {plugin.name} is a {plugin.config.type.value}; .wasm takes a plugin of type {kinds}"
            )
        self._plugin, self._columns = plugin, tuple(columns)
        self._function = function or FUNCTIONS[plugin.config.type]
        self._output, self._on_error, self._seed = output, on_error, seed
        self._filters = self._function == FUNCTIONS[PluginType.FILTER]
        self._replaces = self._function == FUNCTIONS[PluginType.TRANSFORMER] and not self._columns
        self._session: Session | None = None

    def output_schema(self, input_schema: Schema) -> Schema:
        """Return the schema after this stage, which is found by running the plugin on no rows."""
        _check_columns(f"plugin {self._plugin.name}", self._columns, input_schema)
        session = self._opened()
        return self._answer(session, pl.DataFrame(schema=input_schema)).schema

    def open(self, ctx: Context) -> None:
        super().open(ctx)
        self.close()
        self._session = self._opened(
            HostFunctions(self._plugin.name, clock=ctx.clock, seed=self._seed, count=ctx.count)
        )

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
            yield _invalid(pl.concat([part for part, _ in bad]), [reason for _, reason in bad])

    def interrupt(self) -> None:
        if self._session is not None:
            self._session.interrupt()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _opened(self, host: HostFunctions | None = None) -> Session:
        if self._session is None:
            host = host or HostFunctions(self._plugin.name, seed=self._seed)
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


def _invalid(rows: Batch, reasons: Sequence[str]) -> Side:
    return Side("invalid", rows.with_columns(pl.Series(REASON, reasons, dtype=pl.String)))


def _check_on_error(on_error: str) -> None:
    if on_error not in ("fail", "dead_letter"):
        raise BadOption(
            f"on_error={on_error!r} is not 'fail' or 'dead_letter'.{nearest(on_error, ['fail', 'dead_letter'])}"
        )


def _check_columns(who: str, columns: Sequence[str], schema: Schema) -> None:
    for column in columns:
        if column not in schema:
            raise UnknownColumn(f"{who} reads `{column}`; the stream has {listing(schema)}.{nearest(column, schema)}")
