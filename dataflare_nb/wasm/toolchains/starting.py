"""Begin a plugin: a folder that builds, checks and passes its test at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BadOption, listing
from ..abi import PluginType
from . import Toolchain, abi_folder, toolchain
from .project import DESCRIPTION, description_text

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PLACEHOLDER = "my_plugin"
_SAME = {"c++": "c"}
"""Languages whose templates are those of another."""


@dataclass(frozen=True)
class _Kind:
    """What a template of a type does, and how it is used and tested."""

    does: str
    use: str
    test: str
    config: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, list[Any]] | None = None
    answer: Mapping[str, list[Any]] | None = None


_VALUES = {"value": [1.0, None, -3.0]}
_FRAME = 'flare.from_frame(pl.DataFrame({"value": [1.0, None, -3.0]}))'
_KINDS = {
    PluginType.PROCESSOR: _Kind(
        "adds the column `my_plugin`: what `value` is, times `factor`",
        'stream.wasm("my_plugin/plugin.json", column="value")',
        f'    rows = {_FRAME}.wasm(PLUGIN, column="value").collect()\n'
        '    assert rows["my_plugin"].to_list() == [2.0, None, -6.0]',
        {"factor": 2.0},
        _VALUES,
        {"my_plugin": [2.0, None, -6.0]},
    ),
    PluginType.TRANSFORMER: _Kind(
        "keeps the column `value`, and of it what is not null",
        'stream.select("value").wasm("my_plugin/plugin.json")',
        f'    rows = {_FRAME}.wasm(PLUGIN).collect()\n    assert rows["value"].to_list() == [1.0, -3.0]',
        {},
        _VALUES,
        {"value": [1.0, -3.0]},
    ),
    PluginType.FILTER: _Kind(
        "keeps the rows whose `value` is at least `least`",
        'stream.wasm("my_plugin/plugin.json", column="value")',
        f'    rows = {_FRAME}.wasm(PLUGIN, column="value").collect()\n    assert rows["value"].to_list() == [1.0]',
        {"least": 0.0},
        _VALUES,
        {"keep": [True, False, False]},
    ),
    PluginType.SOURCE: _Kind(
        "reads the numbers from 0 to `count`",
        'flare.read_wasm("my_plugin/plugin.json")',
        '    rows = flare.read_wasm(PLUGIN).collect()\n    assert rows["number"].to_list() == list(range(10))',
        {"count": 10},
    ),
    PluginType.DESTINATION: _Kind(
        "counts the rows that come, and adds up `value`",
        'stream.write_wasm("my_plugin/plugin.json").run()',
        f"    job = {_FRAME}.write_wasm(PLUGIN).run()\n"
        '    assert job.wait(60).status == "finished"\n'
        '    assert job.metrics()["rows_out"].to_list()[-1] == 3',
        {},
        _VALUES,
    ),
    PluginType.AGGREGATOR: _Kind(
        "is the mean of a column",
        'windows.agg(mean=flare.wasm.aggregate("my_plugin/plugin.json", "value"))',
        f'    rows = {_FRAME}.with_columns(k=pl.lit(1)).key_by("k").window(flare.global_window())\n'
        '    out = rows.agg(mean=flare.wasm.aggregate(PLUGIN, "value")).collect()\n'
        '    assert out["mean"].to_list() == [-1.0]',
        {},
        _VALUES,
        {"my_plugin": [-1.0]},
    ),
}
_FIXED = {
    PluginType.PROCESSOR: _Kind(
        "adds the column `my_plugin`: twice what `value` is",
        'stream.wasm("my_plugin/plugin.json", column="value")',
        f'    rows = {_FRAME}.wasm(PLUGIN, column="value").collect()\n'
        '    assert rows["my_plugin"].to_list() == [2.0, None, -6.0]',
        {},
        _VALUES,
        {"my_plugin": [2.0, None, -6.0]},
    ),
    PluginType.FILTER: _Kind(
        "keeps the rows whose `value` is not negative",
        'stream.wasm("my_plugin/plugin.json", column="value")',
        f'    rows = {_FRAME}.wasm(PLUGIN, column="value").collect()\n    assert rows["value"].to_list() == [1.0]',
        {},
        _VALUES,
        {"my_plugin": [True, None, False]},
    ),
}
_OTHERS = {
    "python": _FIXED,
    "wat": {
        PluginType.PROCESSOR: _Kind(
            "doubles the column `value`",
            'stream.wasm("my_plugin/plugin.json", column="value")',
            f'    rows = {_FRAME}.wasm(PLUGIN, column="value").collect()\n'
            '    assert rows["value"].to_list() == [2.0, None, -6.0]',
            {},
            _VALUES,
            {"value": [2.0, None, -6.0]},
        )
    },
}
"""What the templates of languages without settings do."""
_TEST = '''\
"""my_plugin, as a stream uses it. Needs `dataflare plugin build .` before."""

from pathlib import Path

import polars as pl

import dataflare_nb as flare

PLUGIN = Path(__file__).with_name("plugin.json")


def test_my_plugin():
{test}
'''
_README = """\
# my_plugin

A {kind} in {language}: {does}.

    {use}
{settings}
## Working on it

    dataflare plugin build .      compile src/ and write the sum into plugin.json
    dataflare plugin check .      exports, limits, the example, extreme rows, speed
    pytest                        the test

To build it: {needs}.
"""


def create(folder: Path, name: str, language: str, kind: str = "Processor") -> list[Path]:
    """Write the files of a new plugin into a folder, which must not be there yet; return their paths."""
    chosen, plugin_type = toolchain(language), _plugin_type(kind)
    if not _NAME.fullmatch(name):
        raise BadOption(f"{name!r} is no name for a plugin: small letters, digits and _, beginning with a letter")
    if folder.exists():
        raise BadOption(f"{folder} is there already; choose another name or --in another folder")
    template = _template(chosen, plugin_type)
    told = _OTHERS.get(chosen.language, _KINDS)[plugin_type]
    files = {
        f"src/{name}{chosen.suffix}": template.read_text(),
        DESCRIPTION: description_text(_description(plugin_type, told)),
        "README.md": _readme(chosen, plugin_type, told),
        f"test_{name}.py": _TEST.format(test=told.test),
        **_extras(chosen),
    }
    written = []
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(_PLACEHOLDER, name))
        written.append(path)
    return written


def _plugin_type(kind: str) -> PluginType:
    try:
        return PluginType(kind)
    except ValueError:
        raise BadOption(f"{kind!r} is no type of plugin; there are {', '.join(PluginType)}") from None


def _template(chosen: Toolchain, kind: PluginType) -> Path:
    language = _SAME.get(chosen.language, chosen.language)
    folder = abi_folder().parent / "templates" / language
    known = {path.stem: path for path in sorted(folder.glob("*"))}
    if kind.lower() not in known:
        have = listing(PluginType(each).value for each in known)
        raise BadOption(f"a plugin in {chosen.language} cannot be begun as a {kind}, only as {have}")
    return known[kind.lower()]


def _description(kind: PluginType, told: _Kind) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "author": "",
        "version": "0.1.0",
        "description": f"{told.does[0].upper()}{told.does[1:]}.",
    }
    if told.given is not None:
        metadata["inputs"] = dict.fromkeys(told.given, "Float64")
    if told.answer is not None:
        metadata["example"] = {"input": dict(told.given or {}), "output": dict(told.answer)}
    return {
        "name": _PLACEHOLDER,
        "type": kind.value,
        "module_path": f"{_PLACEHOLDER}.wasm",
        "config": dict(told.config),
        "security_policy": {"max_memory": "64MiB", "max_execution_time": "5s"},
        "metadata": metadata,
    }


def _readme(chosen: Toolchain, kind: PluginType, told: _Kind) -> str:
    rows = "".join(f"| `{name}` | `{json.dumps(value)}` | |\n" for name, value in told.config.items())
    settings = f"\n| setting | default | |\n|---|---|---|\n{rows}" if rows else ""
    names = {"kind": kind.value, "language": chosen.language, "does": told.does, "use": told.use}
    return _README.format(**names, settings=settings, needs=chosen.install)


def _extras(chosen: Toolchain) -> dict[str, str]:
    if chosen.language != "assemblyscript":
        return {}
    pinned = abi_folder() / "package.json"
    return {"package.json": pinned.read_text()}
