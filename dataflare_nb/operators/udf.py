"""The stage that calls a compiled Python function on columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import polars as pl

from ..errors import BadOption, WrongType
from ..types import Batch, Context, Output, Schema
from ..wasm.kernel import Kernel, KernelPool, accepts
from .guests import OnError, check_columns, check_on_error, invalid
from .operator import BaseOperator


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
        check_on_error(on_error)
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
        check_columns(facts.name, self._args, input_schema)
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
        yield invalid(batch[failed], [f"{failure.reason} ({failure.place})" for failure in failures])

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
