"""Small guests in WebAssembly text: an honest one that echoes, and ways to make it lie."""

from __future__ import annotations

from typing import Any

from wasmtime import wat2wasm

from dataflare_nb.wasm import Plugin, PluginType, WasmPluginConfig
from dataflare_nb.wasm.abi import FUNCTIONS

ECHO = """
    (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (i32.const 8))
    (i32.store (i32.const 24) (i32.const 3)) (i32.store (i32.const 28) (i32.const 0))
    (i32.const 16)"""
ANY_ECHO = """
    (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (local.get $n))
    (i32.store (i32.const 24) (global.get $format)) (i32.store (i32.const 28) (i32.const 0))
    (i32.const 16)"""
"""Echo what came, in the format it came in, by a guest with `FORMAT`."""
FORMAT = """(global $format (mut i32) (i32.const 0))
    (func (export "df_format") (param i32) (global.set $format (local.get 0)))"""
ROOT_SCHEMA = "(i32.load (local.get $at))"
ROOT_ARRAY = "(i32.load offset=4 (local.get $at))"
SCHEMA = f"(i32.load (i32.load offset=32 {ROOT_SCHEMA}))"
ARRAY = f"(i32.load (i32.load offset=44 {ROOT_ARRAY}))"
BUFFERS = f"(i32.load offset=40 {ARRAY})"
OFFSETS = f"(i32.load offset=4 {BUFFERS})"
DATA = f"(i32.load offset=8 {BUFFERS})"


def text(
    work: str = ECHO,
    *,
    function: str = "process_data",
    imports: str = "",
    extra: str = "",
    memory: str = "2",
    alloc: str | None = None,
    version: int = 1,
    formats: int = 4,
    exports: str = "(param $at i32) (param $n i32) (result i32)",
) -> str:
    """Return a dfx/1 guest whose work is `work`, with the address of the batch in `$at`."""
    alloc = (
        alloc
        or """
        (local.set $p (global.get $top))
        (global.set $top (i32.and (i32.add (i32.add (local.get $p) (local.get $n)) (i32.const 63)) (i32.const -64)))
        (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16))) (then
          (if (i32.eq (i32.const -1) (memory.grow (i32.sub
                (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16)) (memory.size))))
            (then (return (i32.const 0))))))
        (local.get $p)"""
    )
    return f"""(module {imports}
      (memory (export "memory") {memory})
      (global $top (mut i32) (i32.const 65536))
      (func (export "df_abi_version") (result i32) (i32.const {version}))
      (func (export "df_formats") (result i32) (i32.const {formats}))
      (func (export "df_alloc") (param $n i32) (result i32) (local $p i32) {alloc})
      (func (export "df_reset") (global.set $top (i32.const 65536)))
      {extra}
      (func (export "{function}") {exports} {work}))"""


def plugin(
    work: str = ECHO,
    *,
    kind: str = "Processor",
    name: str = "guest",
    config: Any = None,
    policy: Any = None,
    schema: Any = None,
    **parts: Any,
) -> Plugin:
    """Return such a guest as a plugin."""
    parts.setdefault("function", FUNCTIONS[PluginType(kind)])
    if kind == "Source":
        parts.setdefault("exports", "(result i32) (local $at i32)")
    return described(text(work, **parts), kind=kind, name=name, config=config, policy=policy, schema=schema)


def described(
    wat: str, *, kind: str, name: str = "guest", config: Any = None, policy: Any = None, schema: Any = None
) -> Plugin:
    """Return a whole module in WebAssembly text as a plugin."""
    description = {"name": name, "type": kind, "module_path": "guest.wasm", "config": config or {}}
    description |= {"security_policy": policy or {}} | ({"schema": schema} if schema else {})
    return Plugin.of(WasmPluginConfig.load(description), bytes(wat2wasm(wat)))


def lying(target: str, offset: int, value: int, wide: bool = False) -> str:
    """Return work that changes one field of what it echoes."""
    kind = "i64" if wide else "i32"
    return f"({kind}.store offset={offset} {target} ({kind}.const {value})) {ECHO}"
