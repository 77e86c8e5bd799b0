"""What stages of guest code share: rows set aside with a reason, policies and columns checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import polars as pl

from ..errors import BadOption, UnknownColumn, listing, nearest
from ..types import Batch, Schema, Side

OnError: TypeAlias = Literal["fail", "dead_letter"]
OnUdfError: TypeAlias = Literal["fail", "null", "dead_letter"]
POLICIES: tuple[str, ...] = ("fail", "dead_letter")
UDF_POLICIES: tuple[str, ...] = ("fail", "null", "dead_letter")
REASON = "reason"


def invalid(rows: Batch, reasons: Sequence[str] | pl.Series) -> Side:
    """Return rows for `.invalid`, each with its reason."""
    return Side("invalid", rows.with_columns(pl.Series(REASON, reasons, dtype=pl.String)))


def check_on_error(on_error: str, allowed: Sequence[str] = POLICIES) -> None:
    """Refuse a policy that is not known, and say why rows are never skipped."""
    if on_error == "skip":
        raise BadOption(
            "on_error='skip' is not offered, since rows would be lost in silence; on_error='dead_letter' sends them to "
            ".invalid, which nobody has to read"
        )
    if on_error not in allowed:
        raise BadOption(f"on_error={on_error!r} is not {listing(map(repr, allowed))}.{nearest(on_error, allowed)}")


def check_columns(who: str, columns: Sequence[str], schema: Schema) -> None:
    """Refuse a column that the stream does not have."""
    for column in columns:
        if column not in schema:
            raise UnknownColumn(f"{who} reads `{column}`; the stream has {listing(schema)}.{nearest(column, schema)}")
