"""Every plugin of ours: in order, small, told of, and what its source builds to."""

from __future__ import annotations

import dataclasses
import json
import re

import polars as pl
import pytest

from dataflare_nb.cli import main
from dataflare_nb.errors import WasmConfiguration, WasmPluginLoad
from dataflare_nb.wasm import Plugin, bundled_plugin, bundled_plugins, toolchains, trial
from dataflare_nb.wasm.toolchains.project import Project, description_text

from .helpers import PLUGINS, needs
from .readme import EXAMPLE, given

NAMES = sorted(path.parent.name for path in PLUGINS.glob("*/plugin.json"))


def test_there_are_enough_in_enough_languages() -> None:
    languages = {Project.load(PLUGINS / name).language for name in NAMES}
    assert len(NAMES) >= 9
    assert languages == {"c", "zig", "rust", "assemblyscript"}


@pytest.mark.parametrize("name", NAMES)
def test_it_passes_its_check(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "check", str(PLUGINS / name)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: in order\n")
    assert "example   as promised" in said
    assert re.search(r"rows      [\d,]{5,} in \d+ frames\n", said), "it refuses nothing that is of its types"


@pytest.mark.parametrize("name", NAMES)
def test_its_module_is_what_its_source_builds_to(name: str) -> None:
    """Byte for byte with the compiler it was built with; with another the answers must be the same."""
    found = Project.load(PLUGINS / name)
    needs(found.language)
    built = found.build()
    if built.compiler == found.built_with:
        assert found.difference(built) is None
    committed = Plugin.load(PLUGINS / name / "plugin.json")
    rebuilt = dataclasses.replace(committed, module=built.module)
    assert trial.same_answers(committed, rebuilt) is None


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_told_of(name: str) -> None:
    folder = PLUGINS / name
    assert (folder / f"{name}.wasm").stat().st_size < 100_000
    text = (folder / "plugin.json").read_text()
    assert text == description_text(json.loads(text)), "written as `plugin build` writes it"
    assert f"[{name}]({name})" in (PLUGINS / "README.md").read_text()
    readme = (folder / "README.md").read_text()
    for setting in Plugin.load(folder / "plugin.json").config.config:
        assert f"`{setting}`" in readme, f"the README does not tell of the setting {setting}"


@pytest.mark.parametrize("name", NAMES)
def test_its_readme_says_what_its_example_gives(name: str) -> None:
    example = EXAMPLE.search((PLUGINS / name / "README.md").read_text())
    assert example is not None
    assert given(example["code"]) == example["told"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_imported_but_a_counter(name: str) -> None:
    assert set(toolchains.imported(bundled_plugin(name).module)) <= {"dataflare.host_counter", "dataflare.host_log"}


def test_those_of_the_package_are_found_by_name_and_set_by_keyword() -> None:
    assert bundled_plugins() == NAMES
    assert bundled_plugin("url_parts", parts=["host"]).config.config == {"parts": ["host"], "params": [], "prefix": ""}
    with pytest.raises(WasmConfiguration, match=r"url_parts: it has no setting `part`; .* Did you mean `parts`\?"):
        bundled_plugin("url_parts", part=["host"])
    with pytest.raises(WasmPluginLoad, match=r"no plugin `url_part` comes with .* Did you mean `url_parts`\?"):
        bundled_plugin("url_part")


def test_a_plugin_of_the_package_works_on_a_stream() -> None:
    import dataflare_nb as flare

    rows = pl.DataFrame({"u": ["http://a.example/x?id=1", None] * 2000})
    parts = flare.wasm.bundled_plugin("url_parts", parts=["host"], params=["id"])
    found = flare.from_frame(rows).wasm(parts, column="u").collect(workers=2)
    assert found.equals(rows.with_columns(host=pl.Series(["a.example", None] * 2000), id=pl.Series(["1", None] * 2000)))
