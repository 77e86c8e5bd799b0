"""What a guest's end means: wasmtime's traps as errors of ours."""

from __future__ import annotations

from collections.abc import Iterable

import wasmtime
from wasmtime import TrapCode

from ..errors import WasmError, WasmMemoryLimit, WasmPluginExecution, WasmPluginLoad, WasmTimeout, WasmTrap
from .hostcalls import tame

_MOST_NAME = 256
_MEANINGS = {
    TrapCode.STACK_OVERFLOW: "ran out of stack; look for a recursion without an end",
    TrapCode.MEMORY_OUT_OF_BOUNDS: "read or wrote outside its memory",
    TrapCode.TABLE_OUT_OF_BOUNDS: "called outside its function table",
    TrapCode.INDIRECT_CALL_TO_NULL: "called a null function pointer",
    TrapCode.BAD_SIGNATURE: "called a function pointer of another type",
    TrapCode.INTEGER_OVERFLOW: "overflowed in an integer division",
    TrapCode.INTEGER_DIVISION_BY_ZERO: "divided an integer by zero",
    TrapCode.BAD_CONVERSION_TO_INTEGER: "converted a float that no integer can hold",
    TrapCode.UNREACHABLE: "gave up (an `unreachable` instruction: abort, panic or a failed assertion)",
}


class GuestError(WasmPluginExecution):
    """A guest answered with an error code. Its instance is sound and is used again.

    `code` is the number it gave.
    """

    def __init__(self, message: str, code: int, *, plugin: str | None = None) -> None:
        self.code = code
        super().__init__(message, plugin=plugin)


def from_trap(trap: wasmtime.Trap, *, plugin: str, budget_ms: int) -> WasmError:
    """Return the error for a trap, with the guest's frames."""
    frames = [tame((frame.func_name or f"function {frame.func_index}")[:_MOST_NAME]) for frame in trap.frames[:20]]
    code = trap.trap_code
    if code is TrapCode.INTERRUPT:
        return too_long(budget_ms, plugin=plugin, frames=frames)
    meaning = _MEANINGS[code] if code in _MEANINGS else trap.message.splitlines()[0]
    return WasmTrap(meaning, plugin=plugin, guest_trace=frames)


def too_long(budget_ms: int, *, plugin: str, frames: Iterable[str] = ()) -> WasmTimeout:
    """Return the error for a guest whose time is up."""
    return WasmTimeout(
        f"ran longer than its {budget_ms} ms; raise timeout_ms and max_execution_time, or send smaller batches",
        plugin=plugin,
        guest_trace=frames,
    )


def from_start(error: wasmtime.WasmtimeError, *, plugin: str) -> WasmError:
    """Return the error for an instance that could not be made."""
    message = str(error)
    if "memory minimum size" in message or "exceeds memory limits" in message:
        return WasmMemoryLimit(
            f"the module starts with more memory than max_memory allows ({message.splitlines()[-1].strip()})",
            plugin=plugin,
        )
    if "table" in message and "limits" in message:
        return WasmMemoryLimit(
            f"the module starts with larger tables than are allowed ({message.splitlines()[-1].strip()})", plugin=plugin
        )
    return WasmPluginLoad(f"cannot be started: {message}", plugin=plugin)
