"""The stage that calls a compiled Python function on columns."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import polars as pl

from ..errors import BadOption, WrongType
from ..expr import Setting
from ..types import Batch, Context, Output, Schema
from ..wasm.kernel import Kernel
from ..wasm.kernel_pool import KernelPool
from .guests import UDF_POLICIES, OnUdfError, check_columns, check_on_error, invalid
from .operator import BaseOperator


class UdfStage(BaseOperator):
    """Call a compiled function on columns: its result is a column, or says which rows stay.

    A result with fields becomes one column for each, or a struct if `output` gives it one name. A row whose
    result is null does not pass a filter, as in Polars. What happens to a row on which the function would have
    raised is said by `on_error`: the job fails, the result is null, or the row goes to `.invalid`.
    """

    parallel = True

    def __init__(
        self,
        kernel: Kernel,
        args: Sequence[str],
        output: str | None = None,
        *,
        outputs: Sequence[str] = (),
        mode: Literal["column", "filter"] = "column",
        on_error: OnUdfError = "fail",
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        check_on_error(on_error, UDF_POLICIES)
        facts = kernel.facts
        if mode == "filter" and (facts.record or facts.outputs[0].type != "bool"):
            raise WrongType(f"filter with {facts.name}: it returns {facts.returns}, and a filter needs bool")
        self._settings = dict(settings or {})
        if len(args) + len(self._settings) != len(facts.params):
            raise BadOption(f"{facts.name} takes {len(facts.params)} columns and was given {len(args)}")
        if outputs and len(outputs) != len(facts.outputs):
            raise BadOption(f"{facts.name} gives {len(facts.outputs)} columns and was given {len(outputs)} names")
        self._kernel, self._args = kernel, tuple(args)
        fields = tuple(slot.name for slot in facts.outputs)
        self._outputs = tuple(outputs) or (() if output or mode == "filter" else fields)
        self._output = output
        self._mode, self._on_error = mode, on_error
        self._pool: KernelPool | None = None

    def output_schema(self, input_schema: Schema) -> Schema:
        """Return the schema after this stage, or say which column does not fit."""
        facts = self._kernel.facts
        check_columns(facts.name, self._args, input_schema)
        wrong = self._kernel.mismatch(self._args, input_schema, self._settings)
        if wrong is not None:
            raise WrongType(f"{facts.name} is given {wrong}")
        return pl.Schema({**input_schema, **self._kernel.columns(self._output, self._outputs)})

    def tuned(self, settings: tuple[Setting, ...]) -> UdfStage:
        """Return the same with other values of its params. Both work with the same instances."""
        values = {setting.name: setting for setting in settings}
        other = copy.copy(self)
        other._settings = {slot: values[setting.name] for slot, setting in self._settings.items()}
        return other

    def open(self, ctx: Context) -> None:
        super().open(ctx)
        self._pool = self._pool or KernelPool(self._kernel)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        pool = self._pool = self._pool or KernelPool(self._kernel)
        columns = self._columns(batch)
        if self._on_error == "fail":
            yield self._with(batch, pool.columns(columns))
            return
        found = pool.apart(columns)
        if found.failed is None:
            yield self._with(batch, found.columns)
        elif self._on_error == "null":
            yield self._with(batch, found.nulled())
        else:
            fine = found.failed == 0
            yield self._with(batch.filter(fine), [column.filter(fine) for column in found.columns])
            bad = found.failed.filter(~fine)
            yield invalid(batch.filter(~fine), pool.reasons(bad))

    def _columns(self, batch: Batch) -> list[pl.Series]:
        columns = [batch.get_column(name) for name in self._args]
        if self._settings:
            for place, slot in enumerate(self._kernel.facts.params):
                if (setting := self._settings.get(slot.name)) is not None:
                    value = pl.Series(setting.name, [setting.value], dtype=slot.dtype)
                    columns.insert(place, value.new_from_index(0, batch.height))
        return columns

    def interrupt(self) -> None:
        if self._pool is not None:
            self._pool.interrupt()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _with(self, batch: Batch, result: Sequence[pl.Series]) -> Batch:
        if self._mode == "filter":
            return batch.filter(result[0])
        if self._outputs:
            made = [series.alias(name) for series, name in zip(result, self._outputs, strict=True)]
        else:
            made = [KernelPool.packed(self._kernel.facts, result).alias(str(self._output))]
        columns = batch.columns
        # Putting columns beside others needs no query.
        return batch.with_columns(made) if any(one.name in columns for one in made) else batch.hstack(made)
