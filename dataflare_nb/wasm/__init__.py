"""WebAssembly behind a wall: guests get columns in, give columns out, and nothing else."""

from __future__ import annotations

from .bundled import bundled_plugin, bundled_plugins
from .kernel import Kernel, UdfFailed
from .kernel_pool import KernelPool
from .plugin import Plugin, PluginType, WasmPluginConfig
from .policy import SecurityPolicy
from .session import Session
from .udf import Udf, UdfCall, udf

__all__ = [
    "Kernel",
    "KernelPool",
    "Plugin",
    "PluginType",
    "SecurityPolicy",
    "Session",
    "Udf",
    "UdfCall",
    "UdfFailed",
    "WasmPluginConfig",
    "bundled_plugin",
    "bundled_plugins",
    "udf",
]
