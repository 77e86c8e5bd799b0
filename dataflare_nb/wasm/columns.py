"""The types a compiled function knows, and what each is in Polars and in a column of guest memory."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import msgspec
import polars as pl

from ..dtypes import short
from ..errors import WasmConfiguration, WasmPluginExecution


class Slot(msgspec.Struct, frozen=True, array_like=True):
    """A parameter, or a column of the result. One that is not optional never sees or gives None."""

    name: str
    type: str
    optional: bool = False

    @property
    def dtype(self) -> pl.DataType:
        """The type of its column."""
        return TYPES[self.type].dtype

    def __str__(self) -> str:
        return f"{self.name}: {self.spelled}"

    @property
    def spelled(self) -> str:
        """Its annotation."""
        return f"{self.type} | None" if self.optional else self.type


@dataclass(frozen=True, slots=True)
class ColumnType:
    """One type: `physical` is how its values lie in a column, `width` how many bytes one takes, or its view.

    A column of the type `as_it_is` needs no work.
    """

    python: type
    dtype: pl.DataType
    physical: pl.DataType
    arrow: str
    width: int
    as_it_is: type[pl.DataType] | None = None


TYPES = {
    "float": ColumnType(float, pl.Float64(), pl.Float64(), "float64", 8, pl.Float64),
    "int": ColumnType(int, pl.Int64(), pl.Int64(), "int64", 8, pl.Int64),
    "bool": ColumnType(bool, pl.Boolean(), pl.UInt8(), "uint8", 1),
    "datetime": ColumnType(dt.datetime, pl.Datetime("us"), pl.Int64(), "int64", 8),
    "date": ColumnType(dt.date, pl.Date(), pl.Int32(), "int32", 4),
    "time": ColumnType(dt.time, pl.Time(), pl.Int64(), "int64", 8),
    "timedelta": ColumnType(dt.timedelta, pl.Duration("us"), pl.Int64(), "int64", 8),
    "str": ColumnType(str, pl.String(), pl.String(), "string_view", 16, pl.String),
}
NAMES = {kind.python: name for name, kind in TYPES.items()}


def accepts(kind: str, dtype: pl.DataType) -> bool:
    """Whether a column of that type can be a parameter of that type."""
    match kind:
        case "float":
            fits = dtype.is_integer() or dtype.is_float()
        case "int":
            fits = dtype.is_integer()
        case "datetime":
            fits = isinstance(dtype, pl.Datetime) and dtype.time_zone in (None, "UTC")
        case "timedelta":
            fits = isinstance(dtype, pl.Duration)
        case "str":
            fits = isinstance(dtype, (pl.String, pl.Categorical, pl.Enum))
        case _:
            fits = dtype == TYPES[kind].dtype
    return fits or isinstance(dtype, pl.Null)


def fitted(udf: str, series: pl.Series, slot: Slot) -> pl.Series:
    """Return a column as it lies in memory: any int as int, any number as float, times in microseconds."""
    dtype, kind = series.dtype, TYPES[slot.type]
    if type(dtype) is kind.as_it_is:
        return series
    if not accepts(slot.type, dtype):
        raise WasmConfiguration(
            f"{udf}: column `{series.name}` is {short(dtype)} and parameter `{slot}`; "
            + advice(series.name, slot.type, dtype)
        )
    try:
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
            series = series.dt.replace_time_zone(None)
        return series.cast(kind.dtype).cast(kind.physical)
    except pl.exceptions.InvalidOperationError:
        raise WasmPluginExecution(
            f"{udf}: column `{series.name}` ({short(dtype)}) holds values that do not fit into {kind.dtype}, "
            f"as `{slot}` needs"
        ) from None


def advice(column: str, kind: str, dtype: pl.DataType) -> str:
    """Return what to do with a column that is not accepted."""
    if kind == "datetime" and isinstance(dtype, pl.Datetime):
        return (
            f"a datetime is UTC or without a zone: pl.col({column!r}).dt.convert_time_zone('UTC') keeps the instant, "
            ".dt.replace_time_zone(None) keeps the hours"
        )
    return f"convert it before: .with_columns(pl.col({column!r}).cast(pl.{TYPES[kind].dtype.base_type().__name__}))"
