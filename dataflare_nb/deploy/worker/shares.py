"""Cut rows into shares by their keys."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ...operators.keys import key_group

_COLUMN = "__share"
_MOST_KNOWN = 1 << 20
"""Keys that are remembered. What is forgotten is found again by hashing it."""


class Shares:
    """Knows the share of each key that it has met: hashing a key costs more than looking it up."""

    def __init__(self, keys: tuple[str, ...], shares: int) -> None:
        self._keys = list(keys)
        self._shares = shares
        self._known: pl.DataFrame | None = None

    def cut(self, batch: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the rows of each share, in their order."""
        if not batch.height:
            return
        if not self._keys or self._shares == 1:
            yield 0, batch
            return
        found = batch.with_columns(self._of(batch.select(self._keys)))
        parts = found.partition_by(_COLUMN, as_dict=True, include_key=False, maintain_order=True)
        for (share,), rows in parts.items():
            yield int(share), rows

    def _of(self, keys: pl.DataFrame) -> pl.Series:
        found = self._looked_up(keys)
        if found.null_count():
            self._learn(keys, keys.filter(found.is_null()).unique())
            found = self._looked_up(keys)
        return found

    def _looked_up(self, keys: pl.DataFrame) -> pl.Series:
        if self._known is None:
            return pl.Series(_COLUMN, [None], dtype=pl.UInt16).new_from_index(0, keys.height)
        return keys.join(self._known, on=self._keys, how="left", nulls_equal=True, maintain_order="left")[_COLUMN]

    def _learn(self, keys: pl.DataFrame, new: pl.DataFrame) -> None:
        known = self._known
        if known is not None and known.height + new.height > _MOST_KNOWN:
            known, new = None, keys.unique()
        new = new.with_columns(key_group(new, self._shares).alias(_COLUMN))
        self._known = new if known is None else pl.concat([known, new])
