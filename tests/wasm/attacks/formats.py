"""Guests that answer in Arrow IPC or JSON what does not hold."""

from __future__ import annotations

import io

import polars as pl

from dataflare_nb.errors import WasmBadOutput
from dataflare_nb.wasm.layout import ARROW_IPC, JSON

from ..asking import data
from .answers import answer
from .attack import NUMBERS, Attack

HUGE = pl.DataFrame({"x": pl.Series([0], dtype=pl.Int64).extend_constant(0, 200_000)})


def _stream(frame: pl.DataFrame, compression: str = "uncompressed") -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer, compression=compression, compat_level=pl.CompatLevel.oldest())  # type: ignore[arg-type]
    return buffer.getvalue()


def _attack(name: str, kind: int, raw: bytes, match: str) -> Attack:
    return Attack(
        name=name,
        tries="to break whoever reads another format",
        error=WasmBadOutput,
        match=match,
        strike=answer("(i32.const 1024)", len(raw), kind),
        extra=data(1024, raw),
        # The host finds the types of JSON in the description, or it would have to guess them.
        schema={"x": "Int64"} if kind == JSON else None,
    )


SOUND = _stream(NUMBERS)
TWO = _stream(pl.DataFrame({"x": [1], "y": [2]}))
CATEGORIES = pl.DataFrame({"x": pl.Series(["a", "b", None, "a"], dtype=pl.Categorical)})
STREAMS = [
    _attack("stream of nothing", ARROW_IPC, b"", "the returned IPC stream"),
    _attack("stream of noise", ARROW_IPC, b"\xff\xff\xff\xff" + bytes(range(256)), "the returned IPC stream"),
    _attack("stream that breaks off", ARROW_IPC, SOUND[: len(SOUND) // 2], "the returned IPC stream"),
    _attack("message of 2 GiB", ARROW_IPC, SOUND[:4] + b"\xff\xff\xff\x7f" + SOUND[8:], "the returned IPC stream"),
    _attack("message of -1 bytes", ARROW_IPC, SOUND[:4] + b"\xff\xff\xff\xff" + SOUND[8:], "the returned IPC stream"),
    _attack("compressed bomb", ARROW_IPC, _stream(HUGE, "zstd"), "compressed"),
    _attack("dictionary in a stream", ARROW_IPC, _stream(CATEGORIES), "dictionary|dictionaries"),
    _attack(
        "columns of one name in a stream", ARROW_IPC, TWO.replace(b"y\0\0\0", b"x\0\0\0"), "several columns called x"
    ),
    _attack("a row too few in a stream", ARROW_IPC, _stream(NUMBERS[:3]), "returned 3 rows for 4"),
]
TEXTS = [
    _attack("JSON of nothing", JSON, b"", "the returned JSON"),
    _attack("JSON of noise", JSON, bytes(range(128, 256)), "the returned JSON"),
    _attack("JSON that breaks off", JSON, b'[{"x": 1}, {"x"', "the returned JSON"),
    _attack("JSON without an end of brackets", JSON, b"[" * 20_000, "the returned JSON"),
    _attack(
        "JSON of a number beyond all bounds", JSON, b'[{"x": ' + b"9" * 20_000 + b"}]", "the returned JSON|does not fit"
    ),
    _attack("JSON with a byte 0 in a name", JSON, b'[{"x\\u0000": 1}, {}, {}, {}]', "the returned JSON"),
    _attack("JSON with half a letter", JSON, b'[{"x": "\\ud800"}]', "the returned JSON"),
    _attack("JSON that is no rows", JSON, b'{"x": 1}', "the returned JSON"),
]
FORMATS = (*STREAMS, *TEXTS)
