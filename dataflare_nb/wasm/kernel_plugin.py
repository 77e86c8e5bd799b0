"""A compiled function as a plugin: written to a folder, recognised by its module, called under a plugin's policy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl

from ..errors import UdfError, WasmConfiguration, WasmPluginLoad, listing, nearest
from .kernel import Facts, Kernel, read_facts
from .kernel_pool import KernelPool
from .plugin import Plugin, PluginType
from .source import Source

_TYPES = (PluginType.PROCESSOR, PluginType.FILTER)


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
        if kind not in _TYPES:
            raise WasmConfiguration(
                f"a compiled function is a {' or a '.join(_TYPES)}, not a {kind.value}", plugin=plugin.name
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


def save_plugin(kernel: Kernel, source: Source, folder: Path, *, kind: str = PluginType.PROCESSOR) -> Path:
    """Write a compiled function as a plugin; return the path of its plugin.json."""
    facts = kernel.facts
    if kind not in _TYPES:
        raise UdfError(f"{facts.name}.save: a compiled function is a {' or a '.join(_TYPES)}, not a {kind}")
    if PluginType(kind) is PluginType.FILTER and (facts.record or facts.outputs[0].type != "bool"):
        raise UdfError(f"{facts.name}.save: it returns {facts.returns}, and a Filter returns bool")
    doc = (source.docstring or f"{facts.name}, compiled from Python").strip()
    pool = KernelPool(kernel)
    memory = pool.pool.limits.memory
    pool.close()
    description = {
        "name": facts.name,
        "type": PluginType(kind).value,
        "module_path": f"{facts.name}.wasm",
        "security_policy": {"max_memory": memory, "max_execution_time": facts.time_ms},
        "sha256": kernel.sha256,
        "metadata": {"description": doc.splitlines()[0], "source": f"{facts.name}.py"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{facts.name}.wasm").write_bytes(kernel.module)
    (folder / f"{facts.name}.py").write_text("\n".join(source.lines) + "\n")
    (folder / "README.md").write_text(_readme(facts, doc))
    path = folder / "plugin.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(description), indent=2) + b"\n")
    return path


def _readme(facts: Facts, doc: str) -> str:
    columns = ", ".join(f'"{slot.name}"' for slot in facts.params)
    takes = "\n".join(f"| {slot.name} | in | `{slot.spelled}` | `{slot.dtype}` |" for slot in facts.params)
    gives = "\n".join(f"| {slot.name} | out | `{slot.spelled}` | `{slot.dtype}` |" for slot in facts.outputs)
    return f"""# {facts.name}

{doc}

A Python function, compiled to WebAssembly by `@flare.udf`. It needs neither its source nor Python inside:

    stream.wasm("plugin.json", columns=[{columns}])

| column | | type | Polars |
|---|---|---|---|
{takes}
{gives}

A null in a column that is not `| None` gives null. `{facts.name}.py` is what it was compiled from.
"""
