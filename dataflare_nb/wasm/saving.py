"""Write a compiled function to a folder, as a plugin that needs no Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataflareError, UdfError, shown
from .abi import PluginType
from .kernel import Facts
from .kernel_plugin import TYPES
from .kernel_pool import KernelPool
from .standalone import Unwritten, standalone
from .toolchains import SourceFile, python
from .toolchains.project import BUILT_WITH, DESCRIPTION, description_text
from .toolchains.toolchain import Refused
from .udf import Udf


def save(udf: Udf, folder: Path, kind: str) -> Path:
    """Write a function as a plugin; return the path of its plugin.json.

    Its source goes to `src/` if that compiles to the very same module by itself, else it is there to be read.
    """
    facts, name = udf.kernel.facts, udf.name
    if kind not in TYPES:
        raise UdfError(f"{name}.save: a compiled function is a {' or a '.join(TYPES)}, not a {kind}")
    if kind == PluginType.FILTER and (facts.record or facts.outputs[0].type != "bool"):
        raise UdfError(f"{name}.save: it returns {facts.returns}, and a Filter returns bool")
    doc = (udf.source.docstring or f"{name}, compiled from Python").strip()
    pool = KernelPool(udf.kernel)
    memory = pool.pool.limits.memory
    pool.close()
    text, why = _source(udf)
    place = f"{name}.py" if why else f"src/{name}.py"
    metadata = {"description": doc.splitlines()[0], "source": place, BUILT_WITH: python.compiler()}
    description: dict[str, Any] = {
        "name": name,
        "type": PluginType(kind).value,
        "module_path": f"{name}.wasm",
        "security_policy": {"max_memory": memory, "max_execution_time": facts.time_ms},
        "metadata": metadata,
        "sha256": udf.sha256,
    }
    path = folder / DESCRIPTION
    try:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.wasm").write_bytes(udf.wasm_bytes)
        (folder / place).write_text(text, encoding="utf-8")
        (folder / "README.md").write_text(_readme(facts, doc, place, why), encoding="utf-8")
        path.write_text(description_text(description), encoding="utf-8")
    except OSError as error:
        raise UdfError(f"{name}.save: cannot write to {folder}: {error.strerror}") from None
    return path


def _source(udf: Udf) -> tuple[str, str]:
    """Return the source, and why it cannot be compiled by itself, which is nothing if it can."""
    try:
        text = standalone(udf)
        again = python.compiled_file(SourceFile(f"{udf.name}.py", text, f"{udf.name}.py of {udf.sha256[:12]}"))
        if again.wasm_bytes == udf.wasm_bytes:
            return text, ""
        why = "it compiles to another module there"
    except (Unwritten, Refused, DataflareError) as error:
        why = shown(str(error), 200)[1:-1]
    return "\n".join(udf.source.lines) + "\n", why


def _readme(facts: Facts, doc: str, place: str, why: str) -> str:
    columns = ", ".join(f'"{slot.name}"' for slot in facts.params)
    takes = "\n".join(f"| {slot.name} | in | `{slot.spelled}` | `{slot.dtype}` |" for slot in facts.params)
    gives = "\n".join(f"| {slot.name} | out | `{slot.spelled}` | `{slot.dtype}` |" for slot in facts.outputs)
    source = (
        f"`{place}` is what it was compiled from, to be read; it does not stand alone: {why}."
        if why
        else f"`{place}` is what it was compiled from; `dataflare plugin build .` compiles it again."
    )
    return f"""# {facts.name}

{doc}

A Python function, compiled to WebAssembly by `@flare.udf`. It needs neither its source nor Python inside:

    stream.wasm("plugin.json", columns=[{columns}])

| column | | type | Polars |
|---|---|---|---|
{takes}
{gives}

A null in a column that is not `| None` gives null. {source}
"""
