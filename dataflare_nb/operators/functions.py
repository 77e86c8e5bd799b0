"""A Python function as a stage: the way out of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl

from ..dtypes import short
from ..errors import WrongType, listing
from ..expr import Setting
from ..parameters import bound
from ..types import Batch, Output, Schema
from .operator import BaseOperator


class MapBatches(BaseOperator):
    """Call `function(frame) -> frame` on each batch, one at a time and in order, and hold it to its schema.

    `settings` are the params that the function reads, with the values that it is to see.
    """

    def __init__(
        self,
        function: Callable[[pl.DataFrame], pl.DataFrame],
        schema: Schema,
        settings: tuple[Setting, ...] = (),
    ) -> None:
        self._function = function
        self._schema = schema
        self._values = {setting.name: setting.value for setting in settings}

    def tuned(self, settings: tuple[Setting, ...]) -> MapBatches:
        """Return the same with other values of its params."""
        return MapBatches(self._function, self._schema, settings)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Output]:
        if not self._values:
            yield conform(self._function(batch), self._schema)
            return
        with bound(self._values):
            made = self._function(batch)
        yield conform(made, self._schema)


def conform(frame: object, schema: Schema) -> pl.DataFrame:
    """Return `frame` if it has just the columns of `schema`, in that order; raise WrongType that says what differs."""
    if not isinstance(frame, pl.DataFrame):
        raise WrongType(f"the function returned {type(frame).__name__}; it has to return a polars.DataFrame")
    if frame.schema == schema:
        return frame
    missing = [name for name in schema if name not in frame.schema]
    extra = [name for name in frame.schema if name not in schema]
    if missing or extra:
        raise WrongType(
            f"the function returned columns {listing(frame.schema)}; "
            f"missing: {listing(missing)}, unexpected: {listing(extra)}"
        )
    # A batch without values in a column may come back as Null; that says nothing against the schema.
    casts = [name for name, dtype in schema.items() if frame.schema[name] != dtype]
    wrong = [name for name in casts if frame.schema[name] != pl.Null]
    if wrong:
        told = ", ".join(f"`{name}` is {short(frame.schema[name])} instead of {short(schema[name])}" for name in wrong)
        raise WrongType(f"the function returned other types than its schema says: {told}")
    return frame.select(pl.col(name).cast(schema[name]) for name in schema)
