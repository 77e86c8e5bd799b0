"""A compiled function as a plugin: recognised by its module, and called under a plugin's policy."""

from __future__ import annotations

import polars as pl

from ..errors import WasmConfiguration, WasmPluginLoad, listing, nearest
from .kernel import Kernel, read_facts
from .kernel_pool import KernelPool
from .plugin import Plugin, PluginType

TYPES = (PluginType.PROCESSOR, PluginType.FILTER)
"""What a compiled function can be."""


def is_kernel(module: bytes) -> bool:
    """Whether a module is a compiled function."""
    try:
        read_facts(module)
    except WasmPluginLoad:
        return False
    return True


class KernelSession:
    """Calls of a compiled function that came as a plugin.

    The parameters are found among the columns by name, or taken in order if there are as many columns. It runs
    metered, with the memory and the time of the plugin's policy.
    """

    def __init__(self, plugin: Plugin, *, fast: bool = True) -> None:
        self._kernel = Kernel.load(plugin.module)
        facts, kind = self._kernel.facts, plugin.config.type
        if kind not in TYPES:
            raise WasmConfiguration(
                f"a compiled function is a {' or a '.join(TYPES)}, not a {kind.value}", plugin=plugin.name
            )
        if kind is PluginType.FILTER and (facts.record or facts.outputs[0].type != "bool"):
            raise WasmConfiguration(f"it returns {facts.returns}, and a Filter returns bool", plugin=plugin.name)
        self._name = plugin.name
        self.calls = KernelPool(self._kernel, fast=fast, limits=plugin.config.limits)

    def call(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of the result."""
        names = [slot.name for slot in self._kernel.facts.params]
        missing = [name for name in names if name not in frame.columns]
        if not missing:
            frame = frame.select(names)
        elif frame.width != len(names):
            raise WasmConfiguration(
                f"it takes {listing(names)} and was given {listing(frame.columns)}; name the columns in that order: "
                f"columns=[...].{nearest(missing[0], frame.columns)}",
                plugin=self._name,
            )
        return pl.DataFrame(self.calls.columns(frame.get_columns()))

    def interrupt(self) -> None:
        """Abort the running calls."""
        self.calls.interrupt()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        self.calls.close()
