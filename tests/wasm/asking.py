"""A guest that is asked questions in WebAssembly text and answers each with a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from dataflare_nb.wasm import Plugin, Session
from dataflare_nb.wasm.doors import SIGNATURES, WITH_NETWORK
from dataflare_nb.wasm.hostcalls import HostFunctions
from dataflare_nb.wasm.wasi import HARMLESS, WITH_FILES

from .guests import BUFFERS, ECHO, plugin

KNOWN = {**SIGNATURES, **WITH_NETWORK, **HARMLESS, **WITH_FILES}


def imported(*names: str) -> str:
    """Return the imports of host functions, each under its own name."""
    lines = []
    for (module, name), (params, results) in KNOWN.items():
        if name in names:
            kind = f"(param {' '.join(params)}) " + (f"(result {' '.join(results)})" if results else "")
            lines.append(f'(import "{module}" "{name}" (func ${name} {kind}))')
    assert len(lines) == len(names), names
    return "\n".join(lines)


def asking(*questions: str, imports: Sequence[str] = (), extra: str = "", **parts: Any) -> Plugin:
    """Return a plugin that overwrites its one i64 column with the answers, each an i32."""
    stores = [f"(i64.store offset={8 * i} (local.get $out) (i64.extend_i32_s {q}))" for i, q in enumerate(questions)]
    work = f"(local $out i32) (local.set $out (i32.load offset=4 {BUFFERS})) {' '.join(stores)} {ECHO}"
    return plugin(work, imports=imported(*imports), extra=extra, **parts)


def answers(session: Session, count: int) -> list[int]:
    """Ask once."""
    return session.call(pl.DataFrame({"x": [0] * count}), rows=count)["x"].to_list()


def ask(
    *questions: str, imports: Sequence[str] = (), extra: str = "", host: HostFunctions | None = None, **parts: Any
) -> list[int]:
    """Ask a new guest and return its answers."""
    session = Session(asking(*questions, imports=imports, extra=extra, **parts), host=host)
    try:
        return answers(session, len(questions))
    finally:
        session.close()


def call(name: str, *args: int | str) -> str:
    """Return a call; text arguments are WebAssembly text, numbers are i32."""
    return f"(call ${name} {' '.join(a if isinstance(a, str) else f'(i32.const {a})' for a in args)})"


def peek(address: int, length: int) -> list[str]:
    """Return questions for the bytes at an address, to be put together with `bytes(...)`."""
    return [f"(i32.load8_u (i32.const {address + i}))" for i in range(length)]


def data(address: int, content: bytes | str) -> str:
    """Return a data segment."""
    raw = content.encode() if isinstance(content, str) else content
    return f'(data (i32.const {address}) "{"".join(f"{chr(92)}{byte:02x}" for byte in raw)}")'


def i64(value: int) -> str:
    """Return a constant of the wide kind."""
    return f"(i64.const {value})"
