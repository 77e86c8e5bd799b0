"""What is no module, too much of one, or not the one that was meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from wasmtime import wat2wasm

from dataflare_nb.errors import WasmConfiguration, WasmMemoryLimit, WasmPluginLoad, WasmUntrusted
from dataflare_nb.wasm import Plugin
from dataflare_nb.wasm.cache import CodeCache
from dataflare_nb.wasm.engine import Engine
from dataflare_nb.wasm.modules import ModuleCache
from dataflare_nb.wasm.signing import generate_key, sign, trust_key

from ..bombs import MAGIC, branches, loops, module, nested, padded, section
from ..guests import text
from .attack import Attack, Ground, described, hostile

SECOND = 1000


def _module(name: str, raw: Callable[[], bytes], match: str, error: type[Exception] = WasmPluginLoad) -> Attack:
    return Attack(
        name=name,
        tries="to break the compiler or what comes after it",
        error=error,
        match=match,
        make=lambda place: described(raw()),
        loads=True,
        budget_ms=SECOND,
    )


def _wat(name: str, wat: str, match: str, error: type[Exception] = WasmPluginLoad) -> Attack:
    return _module(name, lambda: bytes(wat2wasm(wat)), match, error)


MODULES = [
    _module("nothing", bytes, "not a core WebAssembly module"),
    _module("text", lambda: b"(module)", "not a core WebAssembly module"),
    _module("another kind of program", lambda: b"\x7fELF" + bytes(60), "not a core WebAssembly module"),
    _module("a component", lambda: b"\0asm\x0d\0\1\0", "not a core WebAssembly module"),
    _module("noise", lambda: MAGIC + b"junk", "ends in the middle|does not compile"),
    _module("half a module", lambda: padded(4000)[:3000], "ends in the middle of a section"),
    _module("wrong types", lambda: module(b"\0\x42\0\x0b"), "does not compile"),
    _module("huge module", lambda: MAGIC + bytes(8 << 20), "more than the 8388608 allowed"),
    _module(
        "huge function", lambda: module(b"\0" + b"\x01" * (1 << 20) + b"\x41\0\x0b"), "at most 1048576 are allowed"
    ),
    _module("too many functions", lambda: MAGIC + section(3, b"\xd1\x86\x03"), "50001 functions"),
    _module("too many data segments", lambda: MAGIC + section(11, b"\xff\xff\xff\xff\x0f"), "data segments"),
    _module("a million sections", lambda: MAGIC + bytes(1 << 21), "more than 1000 sections"),
    _module("length without an end", lambda: MAGIC + b"\0" + b"\xff" * (1 << 21), "a number in it has no end"),
    _module("deep nesting", lambda: nested(100_000), "does not keep the interface"),
    _wat("64-bit memory", '(module (memory (export "memory") i64 1))', "does not compile"),
    _wat("shared memory", '(module (memory (export "memory") 1 2 shared))', "does not compile"),
    _wat("two memories", "(module (memory 1) (memory 1))", "2 memories"),
    _wat("no exports", "(module (memory 1))", "must export its memory as `memory`.*`process_data`"),
    _wat("memory that is a function", '(module (func (export "memory")))', "must export its memory as `memory`"),
    _wat(
        "function that is a number",
        text().replace('(func (export "df_reset")', '(global (export "df_reset") i32 (i32.const 0)) (func'),
        "must export the function `df_reset`",
    ),
    _wat(
        "function of another shape",
        text().replace('(func (export "df_reset")', '(func (export "df_reset") (param f64)'),
        r"`df_reset` is \(f64\) -> nothing and must be \(\) -> nothing",
    ),
    _wat("another version of the interface", text(version=2), "speaks version 2"),
    Attack(
        name="more memory than allowed from the start",
        tries="to take memory before anything runs",
        error=WasmMemoryLimit,
        match="starts with more memory than max_memory",
        make=lambda place: hostile(memory="100", policy={"max_memory": "1MiB"}),
        loads=True,
        budget_ms=SECOND,
    ),
    Attack(
        name="larger tables than allowed from the start",
        tries="to take memory through a table before anything runs",
        error=WasmMemoryLimit,
        match="larger tables than are allowed",
        make=lambda place: hostile(extra="(table 10000000 funcref)"),
        loads=True,
        budget_ms=SECOND,
    ),
    Attack(
        name="policy that grants everything",
        tries="to be let in by a policy that means nothing",
        error=WasmConfiguration,
        match=r"'\*' is not a host",
        make=lambda place: hostile(policy={"allow_network": True, "allowed_hosts": ["*"]}),
        loads=True,
        budget_ms=SECOND,
    ),
    Attack(
        name="policy that grants the process itself",
        tries="to reach /proc/self/mem through a folder",
        error=WasmConfiguration,
        match="/proc/self.* is never granted",
        make=lambda place: hostile(policy={"allow_file_system": True, "allowed_paths": ["/proc/self"]}),
        loads=True,
        budget_ms=SECOND,
    ),
]

METERED = Engine(metered=True)


def _bomb(made: bytes, *, seconds: float, memory: int) -> Callable[[Ground], None]:
    cache = ModuleCache(disk=lambda: None, seconds=seconds, memory=memory)
    return lambda place: void(cache.compile(METERED, made, plugin="guest"))


def _flipped(place: Ground) -> None:
    """Flip one bit in what was compiled before, and take it up again."""
    disk = CodeCache(place.folder / "cache", place.folder / "key")
    made = padded(4000)
    ModuleCache(disk=lambda: disk).compile(METERED, made, plugin="guest")
    (path,) = disk.folder.iterdir()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    ModuleCache(disk=lambda: disk).compile(METERED, made, plugin="guest")
    assert disk.rejected == 1


def _signed(change: Callable[[dict[str, object]], None]) -> Callable[[Ground], None]:
    def run(place: Ground) -> None:
        number = sum(1 for _ in place.folder.glob("signed*"))
        folder = place.folder / f"signed{number}"
        folder.mkdir()
        (folder / "p.wasm").write_bytes(bytes(wat2wasm(text())))
        description = {"name": "guest", "type": "Processor", "module_path": "p.wasm"}
        (folder / "plugin.json").write_text(json.dumps(description))
        trust = _trusting(folder)
        sign(folder, folder / "ana.key")
        document = json.loads((folder / "plugin.json").read_text())
        change(document)
        (folder / "plugin.json").write_text(json.dumps(document))
        void(Plugin.load(folder / "plugin.json", require_signed=True, trust=trust))

    return run


def _trusting(folder: Path) -> Path:
    return trust_key(generate_key(folder / "ana.key"), trust=folder / "trust").parent


def _reversed(document: dict[str, object]) -> None:
    signature = document["signature"]
    assert isinstance(signature, dict)
    signature["ed25519"] = signature["ed25519"][::-1]


def void(value: object) -> None:
    """Need nothing of a value."""


STORED = [
    Attack(
        name="compiler bomb that takes time",
        tries="to keep the compiler busy for minutes",
        error=WasmPluginLoad,
        match="took more than 1 s to compile",
        run=_bomb(loops(1000, 200), seconds=1, memory=1 << 30),
        budget_ms=1250,
    ),
    Attack(
        name="compiler bomb that takes memory",
        tries="to let the compiler take gigabytes",
        error=WasmPluginLoad,
        match="the compiler gave up on the module",
        run=_bomb(branches(1200, 1200), seconds=30, memory=200 << 20),
        budget_ms=30_000,
    ),
    Attack(
        name="flipped byte in the cache",
        tries="to run code that nobody compiled",
        error=None,
        run=_flipped,
        budget_ms=5 * SECOND,
    ),
    Attack(
        name="bad signature",
        tries="to pass for the work of someone trusted",
        error=WasmUntrusted,
        match="or it was not signed by ana",
        run=_signed(_reversed),
        budget_ms=SECOND,
    ),
    Attack(
        name="changed description under a signature",
        tries="to be granted more than was signed",
        error=WasmUntrusted,
        match="its description was changed",
        run=_signed(lambda document: document.update(security_policy={"max_memory": "2GB"})),
        budget_ms=SECOND,
    ),
    Attack(
        name="no signature",
        tries="to come without a name",
        error=WasmUntrusted,
        match="it is not signed",
        run=_signed(lambda document: void(document.pop("signature"))),
        budget_ms=SECOND,
    ),
]
LOADING = (*MODULES, *STORED)
