"""Call an export of a guest: through wasmtime's unchecked entry where it is there, else through `Func`.

`Func.__call__` looks the signature up and boxes every value, which costs about 24 us a call against less
than 2. The unchecked entry trusts its caller, so a signature is compared once, when the export is bound.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import wasmtime

from ..errors import WasmPluginLoad

try:
    from wasmtime import _ffi, _func
    from wasmtime._bindings import _wasmtime_func_call_unchecked as _unchecked
    from wasmtime._bindings import _wasmtime_memory_data_size as _data_size
except ImportError:  # pragma: no cover - a wasmtime with other insides
    _ffi = _func = _unchecked = _data_size = None  # type: ignore[assignment]

Call: TypeAlias = Callable[..., Any]
Signature: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]


class Halt(Exception):  # noqa: N818 - a signal
    """Ends a guest from within a host call. It says nothing: wasmtime keeps one error for all threads, so that the
    reason is kept with the guest."""


_LETTERS = {"i32": "i", "i64": "q", "f32": "f", "f64": "d"}


def signature(kind: wasmtime.FuncType) -> Signature:
    """Return the parameter and result types as text."""
    return tuple(map(str, kind.params)), tuple(map(str, kind.results))


def bind(store: wasmtime.Store, func: wasmtime.Func, expected: Signature, name: str, *, fast: bool = True) -> Call:
    """Return a Python function that calls `func`, which must have the expected signature."""
    found = signature(func.type(store))
    if found != expected:
        raise WasmPluginLoad(f"export `{name}` is {spelled(found)}; it must be {spelled(expected)}")
    if fast and _unchecked is not None:
        return _UncheckedCall(store, func, expected)
    return _CheckedCall(store, func)


def spelled(sig: Signature) -> str:
    """Return a signature as a reader of an error wants it: `(i32, i32) -> i32`."""
    params, results = sig
    return f"({', '.join(params)}) -> {', '.join(results) or 'nothing'}"


def size_of(store: wasmtime.Store, memory: wasmtime.Memory) -> Callable[[], int]:
    """Return a function that tells how large a memory is."""
    if _data_size is None or not isinstance(memory, wasmtime.Memory):
        return lambda: memory.data_len(store)
    return partial(_data_size, store._context(), ctypes.byref(memory._memory))


class _CheckedCall:
    """The public way."""

    __slots__ = ("_store", "_target")

    def __init__(self, store: wasmtime.Store, func: wasmtime.Func) -> None:
        self._store, self._target = store, func

    def __call__(self, *args: int) -> Any:
        return self._target(self._store, *args)


class _UncheckedCall:
    """The short way. Not thread safe: a guest belongs to one thread at a time."""

    __slots__ = ("_cells", "_context", "_count", "_keep", "_pack", "_target", "_trap", "_trap_at", "_unpack")

    def __init__(self, store: wasmtime.Store, func: wasmtime.Func, sig: Signature) -> None:
        params, results = sig
        cell = ctypes.sizeof(_ffi.wasmtime_val_raw_t)
        self._count = max(len(params), len(results), 1)
        self._cells = (_ffi.wasmtime_val_raw_t * self._count)()
        self._context = store._context()
        self._target = ctypes.byref(func._func)
        self._keep = (store, func)
        self._expect()
        letters = [_LETTERS[p] for p in params]
        self._pack = struct.Struct("<" + "".join(f"{x}{cell - struct.calcsize(x)}x" for x in letters)).pack_into
        self._unpack = struct.Struct("<" + _LETTERS[results[0]]).unpack_from if results else None

    def _expect(self) -> None:
        self._trap = ctypes.POINTER(_ffi.wasm_trap_t)()
        self._trap_at = ctypes.byref(self._trap)

    def __call__(self, *args: int) -> Any:
        self._pack(self._cells, 0, *args)
        error = _unchecked(self._context, self._target, self._cells, self._count, self._trap_at)
        if error or self._trap:
            trap = self._trap
            self._expect()
            ended = wasmtime.WasmtimeError._from_ptr(error) if error else wasmtime.Trap._from_ptr(trap)
            if isinstance(_func.LAST_EXCEPTION, Halt):
                _func.LAST_EXCEPTION = None
            _func.maybe_raise_last_exn()
            raise ended
        return self._unpack(self._cells, 0)[0] if self._unpack is not None else None
