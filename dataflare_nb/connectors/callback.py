"""Hand every batch to a Python function."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ..errors import BadOption
from ..types import Batch, Context, Json, Schema
from .options import Options, Resources


class CallbackOptions(Options, frozen=True, kw_only=True):
    """Options of `for_each_batch`: the blob key of a callable `(batch, epoch)`."""

    function: str


class CallbackSink:
    """At least once: after a crash the batches since the last checkpoint come again.

    `epoch` is the epoch that the batch will be committed with, counted from 1, and after a restart from the
    epoch restored. A function that remembers the last epoch it finished can so leave out what it has seen.
    """

    def __init__(self, function: Callable[[pl.DataFrame, int], None]) -> None:
        self._function = function

    @classmethod
    def make(cls, options: CallbackOptions, resources: Resources) -> CallbackSink:
        function = resources.blob("for_each_batch", "function", options.function)
        if not callable(function):
            raise BadOption(
                f"for_each_batch: function={options.function!r} is {type(function).__name__}, "
                "not a callable (batch, epoch)"
            )
        return cls(function)

    def open(self, ctx: Context, schema: Schema) -> CallbackWriter:
        return CallbackWriter(self._function)


class CallbackWriter:
    """Calls the function as batches come."""

    def __init__(self, function: Callable[[pl.DataFrame, int], None]) -> None:
        self._function = function
        self._epoch = 1

    def write(self, batch: Batch) -> None:
        self._function(batch, self._epoch)

    def prepare(self, epoch: int) -> Json:
        self._epoch = epoch + 1
        return {}

    def commit(self, epoch: int, prepared: Json) -> None:
        self._epoch = max(self._epoch, epoch + 1)

    def abort(self) -> None:
        return None

    def close(self) -> None:
        return None
