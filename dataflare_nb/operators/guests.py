"""What stages of guest code share: rows set aside with a reason, policies and columns checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import polars as pl

from ..errors import BadOption, UnknownColumn, listing, nearest
from ..types import Batch, Schema, Side

OnError: TypeAlias = Literal["fail", "dead_letter"]
REASON = "reason"


def invalid(rows: Batch, reasons: Sequence[str]) -> Side:
    """Return rows for `.invalid`, each with its reason."""
    return Side("invalid", rows.with_columns(pl.Series(REASON, reasons, dtype=pl.String)))


def check_on_error(on_error: str) -> None:
    """Refuse a policy that is not known."""
    if on_error not in ("fail", "dead_letter"):
        raise BadOption(
            f"on_error={on_error!r} is not 'fail' or 'dead_letter'.{nearest(on_error, ['fail', 'dead_letter'])}"
        )


def check_columns(who: str, columns: Sequence[str], schema: Schema) -> None:
    """Refuse a column that the stream does not have."""
    for column in columns:
        if column not in schema:
            raise UnknownColumn(f"{who} reads `{column}`; the stream has {listing(schema)}.{nearest(column, schema)}")
