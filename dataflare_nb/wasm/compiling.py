"""Compile a module in a process of its own: run as a script, it imports nothing but `ctypes`.

The compiler takes time and memory that grow faster than its input, and cannot be interrupted. So it gets an address
space that ends, and whoever started it can end it. It is given the library and the settings as arguments, the module
on standard input, and answers with one byte (0 code, 1 message) and the bytes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


class _Bytes(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("data", ctypes.c_void_p))

    def value(self) -> bytes:
        return ctypes.string_at(self.data, self.size) if self.size else b""


def compile_module(library: str, settings: dict[str, bool | int], module: bytes) -> tuple[int, bytes]:
    """Return 0 and machine code, or 1 and why there is none."""
    dll = ctypes.CDLL(library)
    for name in ("wasm_config_new", "wasm_engine_new_with_config", "wasmtime_module_new", "wasmtime_module_serialize"):
        getattr(dll, name).restype = ctypes.c_void_p
    config = ctypes.c_void_p(dll.wasm_config_new())
    for name, value in settings.items():
        kind = ctypes.c_bool if isinstance(value, bool) else ctypes.c_size_t
        getattr(dll, f"wasmtime_config_{name}_set")(config, kind(value))
    engine = ctypes.c_void_p(dll.wasm_engine_new_with_config(config))
    found = ctypes.c_void_p()
    failed = dll.wasmtime_module_new(engine, module, ctypes.c_size_t(len(module)), ctypes.byref(found))
    out = _Bytes()
    if not failed:
        failed = dll.wasmtime_module_serialize(found, ctypes.byref(out))
    if failed:
        dll.wasmtime_error_message(ctypes.c_void_p(failed), ctypes.byref(out))
    return int(bool(failed)), out.value()


def main(library: str, settings: str, memory: str, parent: str) -> None:
    """Compile what comes in and write what comes out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        return
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind, data = compile_module(library, json.loads(settings), sys.stdin.buffer.read())
    sys.stdout.buffer.write(bytes([kind]) + data)


if __name__ == "__main__":
    main(*sys.argv[1:])
