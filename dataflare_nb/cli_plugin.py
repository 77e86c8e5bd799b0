"""The command line for plugins: `dataflare plugin new | build | check | list | info | languages`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from . import cli_signing
from .errors import WasmBuild, WasmConfiguration, WasmError, WasmPluginExecution, WasmPluginLoad
from .wasm import toolchains, trial
from .wasm.bundled import bundled_plugin, bundled_plugins
from .wasm.hostcalls import tame
from .wasm.kernel_plugin import is_kernel
from .wasm.plugin import FUNCTIONS, Plugin, PluginType
from .wasm.session import Session
from .wasm.toolchains import project, starting

OK, FAILED = 0, 1
Command: TypeAlias = Callable[..., argparse.ArgumentParser]
_EXITS = "Exit codes: 0 all is well, 1 something is not, 2 a mistake in what was asked."


def add_to(commands: Any, command: Command) -> argparse.ArgumentParser:
    """Add the sub-commands and return their parser; `command` makes one of a name, a function and its words."""
    plugin: argparse.ArgumentParser = commands.add_parser(
        "plugin", help="make, build, check, sign and look at plugins", description="WebAssembly plugins.", epilog=_EXITS
    )
    plugins = plugin.add_subparsers(title="commands", metavar="command")
    _add_making(plugins, command)
    _add_looking(plugins, command)
    cli_signing.add_to(plugins, command)
    return plugin


def _add_making(plugins: Any, command: Command) -> None:
    new = command(
        plugins,
        "new",
        _new,
        "begin a plugin: source, plugin.json, README and a test",
        "Make a folder with a small plugin that builds, checks and passes its test at once.",
        _EXITS,
    )
    new.add_argument("name", help="the plugin's name and its folder's, as geo_hash")
    languages = ", ".join(toolchains.LANGUAGES)
    new.add_argument("--lang", required=True, metavar="LANGUAGE", help=f"one of {languages}")
    kinds = ", ".join(PluginType)
    new.add_argument("--type", default="Processor", metavar="TYPE", help=f"one of {kinds} (default: Processor)")
    new.add_argument("--in", dest="folder", type=Path, default=Path(), metavar="DIR", help="where to (default: here)")

    build = command(
        plugins,
        "build",
        _build,
        "compile plugins and write their sums",
        "Compile the sources in src/ to the module, and write its sha256 and the compiler into plugin.json. The same "
        "sources and the same compiler give the same bytes. Build only sources that you trust: those of Python are "
        "run, as is an AssemblyScript compiler in the plugin's folder, and others may read your files.",
        _EXITS,
    )
    _add_paths(build)
    build.add_argument("--check", action="store_true", help="compare with what is there and write nothing")

    command(
        plugins,
        "languages",
        _languages,
        "say which languages can be compiled here, and how to get the others",
        "List the languages of plugins, the compiler that was found for each, or how to install one.",
    )


def _add_looking(plugins: Any, command: Command) -> None:
    check = command(
        plugins,
        "check",
        _check,
        "try plugins out under their own policy, or say what is wrong",
        "Read plugin.json, compare the module with its sha256, compile it, check exports and imports, start it under "
        "its policy, run the example of metadata.example, hand it empty, null, extreme and random rows of the columns "
        "in metadata.inputs (the same rows must give the same answer, however they are cut into batches), and time it.",
        _EXITS,
    )
    _add_paths(check)
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of the random rows (default: 0)")
    check.add_argument("--quick", action="store_true", help="start it and run its example only")

    listing = command(
        plugins,
        "list",
        _list,
        "list the plugins that come with the package, or those in folders",
        "List plugins: name, type, size, and what they do.",
    )
    listing.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="folders (default: the package's own)")

    info = command(
        plugins,
        "info",
        _info,
        "tell all about a plugin",
        "Print a plugin's description, limits, imports, exports and signature.",
    )
    info.add_argument("plugin", metavar="PLUGIN", help="a plugin.json, its folder, or the name of one of the package's")
    info.add_argument("--json", action="store_true", help="as JSON")


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        default=[Path()],
        metavar="PATH",
        help="plugin.json files, plugins' folders, or folders of those (default: here, or ./plugins)",
    )


# Making


def _new(asked: argparse.Namespace) -> int:
    folder = asked.folder / asked.name
    for path in starting.create(folder, asked.name, asked.lang, asked.type):
        print(f"  {path}")
    print(f"\nNext: dataflare plugin build {folder} && dataflare plugin check {folder}")
    chosen = toolchains.toolchain(asked.lang)
    if chosen.find(folder) is None:
        print(f"\nThere is no compiler for {chosen.language} yet. To install one: {chosen.install}")
    return OK


def _build(asked: argparse.Namespace) -> int:
    failed = 0
    for each in project.projects(asked.paths):
        try:
            built = each.build()
        except WasmBuild as error:
            print(f"dataflare: {error}", file=sys.stderr)
            failed += 1
            continue
        for warning in built.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        if not asked.check:
            digest = each.write(built)
            print(f"{each.config.name}: {len(built.module):,} bytes by {built.compiler}, sha256 {digest}")
            continue
        difference = each.difference(built)
        print(f"{each.config.name}: {difference or 'in order'}")
        failed += difference is not None
    return FAILED if failed else OK


def _languages(asked: argparse.Namespace) -> int:
    for chosen in toolchains.LANGUAGES.values():
        found = chosen.find(Path())
        print(f"{chosen.language:15} {found.version if found else f'not found; {chosen.install}'}")
    return OK


# Looking


def _check(asked: argparse.Namespace) -> int:
    failed = 0
    for each in project.projects(asked.paths):
        try:
            problems = _checked(Plugin.load(each.folder / project.DESCRIPTION), asked)
        except WasmConfiguration as error:
            problems = [str(error)]
        except WasmError as error:
            problems = [f"{type(error).__name__}: {error}"]
        for problem in problems:
            print(f"{each.config.name}: {problem}", file=sys.stderr)
        failed += bool(problems)
    return FAILED if failed else OK


def _checked(plugin: Plugin, asked: argparse.Namespace) -> list[str]:
    limits = plugin.config.limits
    lines = {
        "type": f"{plugin.config.type} ({_started(plugin)})",
        "module": f"{len(plugin.module):,} bytes, sha256 {plugin.sha256}",
        "one call": f"at most {limits.memory >> 20} MiB and {limits.time_ms:,} ms",
    }
    problems = []
    wrong = trial.run_example(plugin)
    if wrong is not None:
        problems.append(wrong)
    lines["example"] = "differs" if wrong else "as promised" if trial.example(plugin) else "none in metadata.example"
    if not asked.quick:
        problems += _tried(plugin, asked.seed, lines)
    print(f"{plugin.name}: {'in order' if not problems else 'not in order'}")
    for name, text in lines.items():
        print(f"  {name:9} {text}")
    return problems


def _started(plugin: Plugin) -> str:
    """Start a plugin under its own policy and say how it is called."""
    session = Session(plugin)
    try:
        if is_kernel(plugin.module):
            with session.pool.guest():
                return "a compiled Python function"
        return f"exports {FUNCTIONS[plugin.config.type]}, takes {_formats(session.takes)}"
    finally:
        session.close()


def _tried(plugin: Plugin, seed: int, lines: dict[str, str]) -> list[str]:
    if trial.inputs(plugin) is None and plugin.config.type is not PluginType.SOURCE:
        lines["rows"] = "not tried; say in metadata.inputs what it takes"
        return []
    found = trial.fuzz(plugin, seed=seed)
    lines["rows"] = f"{found.rows:,} in {found.cases} frames" + "".join(
        f"\n            {times} refused: {error}" for error, times in trial.refusals(found).items()
    )
    if not found.problems and plugin.config.type not in (PluginType.SOURCE, PluginType.DESTINATION):
        lines["speed"] = _speed(plugin)
    return found.problems


def _speed(plugin: Plugin) -> str:
    try:
        rows, seconds = trial.bench(plugin)
    except WasmPluginExecution:
        return "not measured; it refuses the rows, so give it metadata.example"
    return f"{rows / seconds / 1e6:,.1f} million rows/s ({rows:,} rows in {seconds * 1e3:,.1f} ms)"


def _list(asked: argparse.Namespace) -> int:
    found = (
        [Plugin.load(each.folder / project.DESCRIPTION) for each in project.projects(asked.paths)]
        if asked.paths
        else [bundled_plugin(name) for name in bundled_plugins()]
    )
    for plugin in found:
        does = plugin.config.metadata.get("description", "")
        print(f"{plugin.name:15} {plugin.config.type:12} {len(plugin.module):>9,} bytes  {tame(str(does))}")
    return OK


def _info(asked: argparse.Namespace) -> int:
    plugin = _plugin(asked.plugin)
    told = _told(plugin)
    if asked.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return OK
    for name, value in told.items():
        if isinstance(value, list):
            value = tame(", ".join(map(str, value))) or "nothing"
        elif isinstance(value, dict):
            value = "".join(
                f"\n    {tame(f'{key}: {json.dumps(each, ensure_ascii=False)}')}" for key, each in value.items()
            )
        else:
            value = tame(str(value))
        print(f"{name}: {value}")
    return OK


def _told(plugin: Plugin) -> dict[str, Any]:
    config, limits = plugin.config, plugin.config.limits
    names = toolchains.imported(plugin.module)
    told: dict[str, Any] = {
        "name": plugin.name,
        "type": config.type.value,
        "description": config.metadata.get("description", ""),
        "version": config.metadata.get("version", ""),
        "author": config.metadata.get("author", ""),
        "config": config.config,
        "takes": config.metadata.get("inputs", {}),
        "answers": config.schema or {},
        "module": f"{len(plugin.module):,} bytes",
        "sha256": plugin.sha256,
        "built with": config.metadata.get(project.BUILT_WITH, "unknown"),
        "memory": f"{limits.memory >> 20} MiB",
        "time": f"{limits.time_ms} ms",
        "imports": names,
        "exports": toolchains.exported_functions(plugin.module),
        "signed": _signed(plugin),
    }
    return {name: value for name, value in told.items() if value not in ("", {}, None)}


def _signed(plugin: Plugin) -> str:
    signature = plugin.config.signature
    return f"on {signature.signed} with the key {signature.key}" if signature is not None else "no"


def _plugin(asked: str) -> Plugin:
    path = Path(asked)
    if path.exists():
        return Plugin.load(path / project.DESCRIPTION if path.is_dir() else path)
    if path.suffix or path.name != asked:
        raise WasmPluginLoad(f"{asked} is not there")
    return bundled_plugin(asked)


def _formats(bits: int) -> str:
    names = {4: "Arrow", 2: "Arrow IPC", 1: "JSON"}
    return ", ".join(name for bit, name in names.items() if bits & bit)
