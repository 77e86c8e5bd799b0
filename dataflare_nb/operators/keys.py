"""Key groups: which of a fixed number of groups a key belongs to, the same in every process and version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import polars as pl

KEY_GROUPS = 128
COLUMN = "__key_group"
"""No column of a user begins so, and a key may well be called `key_group`."""


def key_group(keys: pl.DataFrame, groups: int = KEY_GROUPS) -> pl.Series:
    """Return the key group of each row of `keys`, a `UInt16` series named `__key_group`.

    BLAKE2b over the MessagePack form of the key's values, taken over the distinct keys and joined back. Temporal
    values count as their integers, floats as Float64 with -0.0 as 0.0 and one NaN, so that keys which Polars groups
    together share a group. Without key columns everything is in group 0.
    """
    if not keys.width or not keys.height:
        return pl.Series(COLUMN, [0], dtype=pl.UInt16).new_from_index(0, keys.height)
    plain = keys.select(_plain(keys.schema))
    names = plain.columns
    distinct = plain.unique(maintain_order=True)
    encode = msgspec.msgpack.Encoder().encode
    numbers = [
        int.from_bytes(hashlib.blake2b(encode(row), digest_size=8).digest(), "little") % groups
        for row in distinct.iter_rows()
    ]
    table = distinct.with_columns(pl.Series(COLUMN, numbers, dtype=pl.UInt16))
    return plain.join(table, on=names, how="left", nulls_equal=True, maintain_order="left")[COLUMN]


def with_key_group(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return a state table with its column of key groups."""
    if not keys:
        return frame.with_columns(pl.lit(0, pl.UInt16).alias(COLUMN))
    return frame.with_columns(key_group(frame.select(keys)))


def _plain(schema: pl.Schema) -> list[pl.Expr]:
    exprs = []
    for name, dtype in schema.items():
        column = pl.col(name)
        if dtype.is_float():
            column = column.cast(pl.Float64)
            column = pl.when(column.is_nan()).then(float("nan")).when(column == 0.0).then(0.0).otherwise(column)
        elif dtype.is_temporal():
            column = column.to_physical().cast(pl.Int64)
        elif isinstance(dtype, pl.Categorical | pl.Enum | pl.Decimal | pl.Int128):
            column = column.cast(pl.String)
        exprs.append(column.alias(name))
    return exprs
