"""`%%wasm NAME --lang LANGUAGE`: compile a cell into a plugin that the next cell uses."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from ..errors import DataflareError, WasmBuildFailed, WasmConfiguration, listing
from ..wasm import toolchains
from ..wasm.abi import DOORS, FUNCTIONS, PluginType
from ..wasm.plugin import Plugin, WasmPluginConfig
from ..wasm.session import Session
from ..wasm.toolchains import python
from ..wasm.toolchains.project import BUILT_WITH, DESCRIPTION, Project, description_text
from ..wasm.udf import Udf
from .arguments import Arguments, HelpShown, brief, mapping

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_EXAMPLE = """\
%%wasm with_tax --lang c --config '{"rate": 1.2}'
#include "dataflare.h"
static double rate;
DF_INIT(json, length) { rate = df_setting_number(json, length, "rate", 1); return 0; }
DF_PROCESS(batch) {
  const struct ArrowArray* price = df_find(batch, "price", "g");
  if (!price) return df_fail(DF_E_INPUT, "it needs a column price (Float64)");
  df_out out = df_out_like(batch, price, "g", "with_tax");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory for the result");
  for (u32 i = 0; i < out.rows; i++) ((double*)out.data)[i] = rate * ((const double*)price->buffers[1])[i];
  return df_return(&out, 1);
}

and in the next cell: stream.wasm(with_tax, column="price")"""


@magics_class
class WasmMagics(Magics):
    """The magic `%%wasm`."""

    @no_var_expand
    @line_cell_magic
    def wasm(self, line: str, cell: str | None = None) -> None:
        """Compile the cell into a WebAssembly plugin and bind it to NAME; `%wasm` alone tells the options."""
        try:
            asked = _arguments().read("--help" if cell is None else line)
        except HelpShown:
            return
        assert cell is not None
        if not asked.name.isidentifier():
            raise UsageError(f"%%wasm {asked.name}: this is no name for a variable")
        try:
            self._compile(asked, cell)
        except DataflareError as error:
            raise brief(error) from None

    @property
    def _shell(self) -> InteractiveShell:
        assert self.shell is not None
        return self.shell

    def _compile(self, asked: Namespace, cell: str) -> None:
        names = self._shell.user_ns
        chosen = toolchains.toolchain(asked.lang)
        source = self._source(chosen, cell)
        started = time.perf_counter()
        udf = self._udf(asked, source) if chosen.language == "python" else None
        if udf is not None:
            seconds = time.perf_counter() - started
            built = toolchains.Built(udf.wasm_bytes, "python", python.compiler(), (), seconds, cached=False)
        else:
            built = toolchains.build([source], chosen.language, name=asked.name, names=True)
        config = self._description(asked, chosen.language, built)
        plugin = Plugin.of(WasmPluginConfig.load(config), built.module)
        session = Session(plugin)
        try:
            with session.pool.guest():
                pass
        finally:
            session.close()
        if asked.save is not None:
            _save(asked.save, source, config, udf)
        names[asked.name] = plugin
        for warning in built.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(_told(plugin, built))

    def _source(self, chosen: toolchains.Toolchain, cell: str) -> toolchains.SourceFile:
        """Return the cell as a file; its lines are counted as the notebook shows them."""
        number, above = self._shell.execution_count, 1
        history = self._shell.history_manager
        typed = history.input_hist_raw[-1] if history is not None else ""
        text = cell.rstrip("\n")
        if history is not None and text and text in typed:
            number, above = len(history.input_hist_raw) - 1, typed[: typed.rindex(text)].count("\n")
        return toolchains.SourceFile(f"cell{chosen.suffix}", cell, f"In[{number}]", above)

    def _udf(self, asked: Namespace, source: toolchains.SourceFile) -> Udf:
        if asked.config is not None:
            raise UsageError("%%wasm --lang python takes no --config; what a function needs are its parameters")
        return python.compiled(source, self._shell.user_ns, asked.name)

    def _description(self, asked: Namespace, language: str, built: toolchains.Built) -> dict[str, Any]:
        names = self._shell.user_ns
        policy = mapping("--policy", asked.policy, names)
        if asked.max_memory is not None:
            policy["max_memory"] = asked.max_memory
        if asked.timeout is not None:
            policy["max_execution_time"] = asked.timeout
        kind = asked.type or _type_of(asked.name, language, built.module)
        return {
            "name": asked.name,
            "type": kind,
            "module_path": f"{asked.name}.wasm",
            "config": mapping("--config", asked.config, names),
            "security_policy": policy,
            "metadata": {"description": f"written in a notebook, in {language}", BUILT_WITH: built.compiler},
        }


def _arguments() -> Arguments:
    parser = Arguments(
        prog="%%wasm",
        description="Compile this cell into a WebAssembly plugin and bind it to NAME.",
        epilog=_EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the variable, and the plugin's name")
    parser.add_argument("--lang", required=True, metavar="LANGUAGE", help=f"one of {', '.join(toolchains.LANGUAGES)}")
    parser.add_argument(
        "--type", metavar="TYPE", help=f"one of {', '.join(PluginType)} (default: what the cell exports)"
    )
    parser.add_argument("--config", metavar="CONFIG", help="its settings: a dict of the notebook, or JSON in quotes")
    parser.add_argument("--policy", metavar="POLICY", help="what it may do, in the same way; without one, nothing")
    parser.add_argument("--max-memory", metavar="SIZE", help='bytes, or as "64MiB"')
    parser.add_argument("--timeout", metavar="TIME", help='of one call, as "5s"')
    parser.add_argument("--save", type=Path, metavar="DIR", help="also write it to a folder that is not there yet")
    return parser


def _type_of(name: str, language: str, module: bytes) -> str:
    if language == "python":
        return PluginType.PROCESSOR
    exported = toolchains.exported_functions(module)
    kinds = [kind for kind, function in FUNCTIONS.items() if function in exported]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise WasmConfiguration(f"it is {listing(kinds)} at once; say which with --type", plugin=name)
    raise WasmBuildFailed(
        f"{name} exports none of {listing(FUNCTIONS.values())}, so there is nothing that could be called"
    )


def _save(folder: Path, source: toolchains.SourceFile, config: dict[str, Any], udf: Udf | None) -> None:
    if folder.exists():
        raise WasmConfiguration(f"{folder} is there already; nothing is written over", plugin=config["name"])
    if udf is not None:
        udf.save(folder, kind=config["type"])
        return
    path = folder / "src" / f"{config['name']}{Path(source.name).suffix}"
    path.parent.mkdir(parents=True)
    path.write_text(source.text)
    (folder / DESCRIPTION).write_text(description_text(json.loads(json.dumps(config))))
    project = Project.load(folder)
    project.write(project.build())


def _told(plugin: Plugin, built: toolchains.Built) -> str:
    how = "cached" if built.cached else f"{built.seconds:.1f} s"
    door = DOORS[plugin.config.type].replace("plugin", plugin.name)
    return (
        f"{plugin.name}: a {plugin.config.type.value} of {len(plugin.module):,} bytes by {built.compiler} ({how}), "
        f"for {door}"
    )
