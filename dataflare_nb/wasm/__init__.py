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
from .components import Health, WasmComponentConfig, WasmComponentManager, WasmComponentType
from .figures import PluginStats
from .kernel import Kernel, UdfFailed
from .kernel_pool import KernelPool
from .plugin import Plugin, PluginType, WasmPluginConfig
from .policy import SecurityPolicy
from .runtime import WasmRuntime
from .session import Session
from .udf import Udf, UdfCall, udf

__all__ = [
    "AggregateCall",
    "Health",
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
    "WasmComponentConfig",
    "WasmComponentManager",
    "WasmComponentType",
    "WasmConfiguration",
    "WasmError",
    "WasmInterrupted",
    "WasmMemoryLimit",
    "WasmPluginConfig",
    "WasmPluginExecution",
    "WasmPluginLoad",
    "WasmRuntime",
    "WasmRuntimeError",
    "WasmTimeout",
    "WasmTrap",
    "aggregate",
    "bundled_plugin",
    "bundled_plugins",
    "udf",
]
