"""WebAssembly behind a wall: guests get columns in, give columns out, and nothing else."""

from __future__ import annotations

from ..errors import (
    WasmBadOutput,
    WasmConfiguration,
    WasmError,
    WasmInterrupted,
    WasmMemoryLimit,
    WasmPluginExecution,
    WasmPluginLoad,
    WasmRuntimeError,
    WasmTimeout,
    WasmTrap,
)
from .aggregator import AggregateCall, aggregate
from .bundled import bundled_plugin, bundled_plugins
from .figures import PluginStats
from .kernel import Kernel, UdfFailed
from .kernel_pool import KernelPool
from .plugin import Plugin, PluginType, WasmPluginConfig
from .policy import SecurityPolicy
from .session import Session
from .udf import Udf, UdfCall, udf

__all__ = [
    "AggregateCall",
    "Kernel",
    "KernelPool",
    "Plugin",
    "PluginStats",
    "PluginType",
    "SecurityPolicy",
    "Session",
    "Udf",
    "UdfCall",
    "UdfFailed",
    "WasmBadOutput",
    "WasmConfiguration",
    "WasmError",
    "WasmInterrupted",
    "WasmMemoryLimit",
    "WasmPluginConfig",
    "WasmPluginExecution",
    "WasmPluginLoad",
    "WasmRuntimeError",
    "WasmTimeout",
    "WasmTrap",
    "aggregate",
    "bundled_plugin",
    "bundled_plugins",
    "udf",
]
