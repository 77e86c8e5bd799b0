"""Choose the format in which a frame goes to a guest: Arrow C data, Arrow IPC or JSON, whatever both can."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import polars as pl

from ..dtypes import short
from ..errors import WasmError, listing
from . import ipc, json_rows
from .inbound import Parcel, columns_of
from .layout import (
    ARROW_C,
    ARROW_IPC,
    FORMAT_NAMES,
    JSON,
    TAKES_ARROW_C,
    TAKES_ARROW_IPC,
    TAKES_JSON,
    flat_format,
    way_out,
)

KNOWN = TAKES_JSON | TAKES_ARROW_IPC | TAKES_ARROW_C


class Bytes:
    """Bytes for one allocation, and what they are."""

    def __init__(self, data: bytes, kind: int) -> None:
        self._data, self.format = data, kind
        self.size = self.length = len(data)

    def digest(self) -> bytes:
        """Return a sum of the content."""
        return hashlib.blake2b(self._data, digest_size=16).digest()

    def write(self, base: int, at: int) -> None:
        """Copy everything to the guest address `at`; `base` is where the guest's memory starts in ours."""
        ctypes.memmove(base + at, self._data, self.size)


Package: TypeAlias = Parcel | Bytes


def pack(frame: pl.DataFrame, takes: int) -> Package:
    """Return a frame in the best format that a guest takes; `takes` are the bits of `df_formats`."""
    for name in frame.columns:
        if "\0" in name:
            raise WasmError(
                f"column {name!r} has the byte 0 in its name, which ends a name in a guest; rename it first"
            )
    kind = choose(tuple(frame.dtypes), takes)
    if kind == ARROW_C:
        return Parcel(columns_of(frame), frame.height)
    if kind == ARROW_IPC:
        return Bytes(ipc.written(frame), ARROW_IPC)
    if kind == JSON:
        return Bytes(json_rows.written(frame), JSON)
    raise refusal(frame.schema, takes)


@lru_cache(maxsize=512)
def choose(dtypes: Sequence[pl.DataType], takes: int) -> int | None:
    """Return the format for columns of these types, None if there is none."""
    if takes & TAKES_ARROW_C and all(flat_format(dtype) is not None for dtype in dtypes):
        return ARROW_C
    if not all(map(ipc.travels, dtypes)):
        return None
    return ARROW_IPC if takes & TAKES_ARROW_IPC else JSON if takes & TAKES_JSON else None


def refusal(schema: pl.Schema, takes: int) -> WasmError:
    """Return the error that names the column which has no way to the guest."""
    name, dtype = next((n, t) for n, t in schema.items() if flat_format(t) is None)
    taken = listing(
        FORMAT_NAMES[kind]
        for bit, kind in ((TAKES_JSON, JSON), (TAKES_ARROW_IPC, ARROW_IPC), (TAKES_ARROW_C, ARROW_C))
        if takes & bit
    )
    if ipc.travels(dtype):
        why = f"which goes to a plugin as Arrow IPC or JSON, and this one takes {taken}"
    else:
        why = "which cannot go to a WebAssembly stage"
    return WasmError(f"column `{name}` is {short(dtype)}, {why}; {way_out(name, dtype)}")
