"""`%%wasm` in a real shell and a real kernel: a cell becomes a plugin, and mistakes point at the cell's own lines."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugins.cells import CELLS, MISTAKES
from plugins.helpers import SLOW, needs

from dataflare_nb.cli import main
from dataflare_nb.errors import WasmBuildFailed, WasmConfiguration, WasmPluginLoad, WasmToolchainMissing
from dataflare_nb.wasm import Plugin

from .shell import Cell, Shell
from .shell import shell as lend

LANGUAGES = [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in sorted(CELLS)]
USE = "stream.wasm(twice, column='x').select('y').collect()['y'].to_list()"
SCALED = """\
#include "dataflare.h"
static double factor;
DF_INIT(json, length) { factor = df_setting_number(json, length, "factor", 1); return 0; }
DF_PROCESS(batch) {
  const struct ArrowArray* x = df_find(batch, "x", "g");
  if (!x) return df_fail(DF_E_INPUT, "it needs x");
  df_out out = df_out_like(batch, x, "g", "y");
  for (u32 i = 0; i < out.rows; i++) ((double*)out.data)[i] = factor * ((const double*)x->buffers[1])[i];
  return df_return(&out, 1);
}
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("DATAFLARE_CACHE_DIR", str(tmp_path / "cache"))
    with lend() as lent:
        lent.run("import dataflare_nb as flare\nimport polars as pl")
        lent.run("stream = flare.from_frame(pl.DataFrame({'x': [1.5, None, -2.0]}))")
        yield lent


def told(cell: Cell) -> str:
    """What the notebook shows of an error: its own words and nothing of our insides."""
    shown = cell.out + cell.err
    assert "Traceback" not in shown
    assert "site-packages" not in shown
    return shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cell_becomes_a_plugin_that_the_next_cell_uses(language: str, shell: Shell) -> None:
    needs(language)
    made = shell.run(f"%%wasm twice --lang {language}\n{CELLS[language]}")
    assert made.error is None
    assert made.out.startswith("twice: a Processor of ")
    assert made.out.endswith("for .wasm(twice)\n")
    assert isinstance(shell["twice"], Plugin)
    used = shell.run(USE.replace(".select('y')", ".select(pl.col('^x|y$'))").replace("['y']", "[:, -1]"))
    assert used.value == [3.0, None, -4.0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mistake_is_shown_on_the_line_of_the_cell(language: str, shell: Shell) -> None:
    needs(language)
    right, wrong, line, why, _ = MISTAKES[language]
    number = shell.number
    cell = f"%%wasm twice --lang {language}\n{CELLS[language].replace(right, wrong)}"
    failed = shell.run(cell)
    assert isinstance(failed.error, WasmBuildFailed)
    shown = told(failed).splitlines()
    at = next(i for i, row in enumerate(shown) if row.startswith(f"In[{number}], line {line + 1}: "))
    assert why in shown[at]
    assert shown[at + 1].strip() == cell.splitlines()[line].strip()
    assert set(shown[at + 2].strip()) == {"^"}
    assert "twice" not in shell.ip.user_ns


def test_lines_are_counted_as_the_notebook_shows_them(shell: Shell) -> None:
    needs("c")
    right, wrong, line, _, _ = MISTAKES["c"]
    failed = shell.run(f"\n\n\n%%wasm twice --lang c\n{CELLS['c'].replace(right, wrong)}")
    assert f", line {line + 4}: " in told(failed)


def test_settings_and_limits_are_options(shell: Shell) -> None:
    needs("c")
    shell.run("settings = {'factor': 3}\npolicy = {'max_memory': '1MiB'}")
    for line, factor in (("--config settings", 3.0), ("""--config '{"factor": -1}'""", -1.0), ("", 1.0)):
        assert shell.run(f"%%wasm twice --lang c {line}\n{SCALED}").error is None
        assert shell.run(USE).value == [1.5 * factor, None, -2.0 * factor]
    shell.run(f"%%wasm twice --lang c --policy policy --timeout 2s\n{SCALED}")
    limits = shell["twice"].config.limits
    assert (limits.memory, limits.time_ms) == (1 << 20, 2000)
    shell.run(f"%%wasm twice --lang c --max-memory 2MiB\n{SCALED}")
    assert shell["twice"].config.limits.memory == 2 << 20


def test_the_type_is_what_the_cell_exports(shell: Shell) -> None:
    needs("zig")
    source = CELLS["zig"].replace("pub fn process", "pub fn transform")
    made = shell.run(f"%%wasm only_y --lang zig\n{source}")
    assert made.out.startswith("only_y: a Transformer of ")
    assert shell.run("stream.wasm(only_y).collect().columns").value == ["y"]
    both = CELLS["zig"] + source[source.index("pub fn") :]
    assert isinstance(shell.run(f"%%wasm both --lang zig\n{both}").error, WasmConfiguration)
    made = shell.run(f"%%wasm both --lang zig --type transformer\n{both}")
    assert made.out.startswith("both: a Transformer of ")
    wrong = shell.run(f"%%wasm both --lang zig --type Source\n{both}")
    assert isinstance(wrong.error, WasmPluginLoad)
    assert "it must export the function `read_data`" in told(wrong)
    nothing = shell.run('%%wasm none --lang wat\n(func (export "f"))')
    assert "exports none of read_data, write_data, process_data" in told(nothing)


def test_a_source_and_an_aggregation_work_from_cells_too(shell: Shell) -> None:
    needs("c")
    templates = Path(__file__).parents[2] / "plugins" / "templates" / "c"
    shell.run(f"%%wasm numbers --lang c --config '{{\"count\": 2500}}'\n{(templates / 'source.c').read_text()}")
    assert shell.run("flare.read_wasm(numbers).collect()['number'].sum()").value == 2500 * 2499 // 2
    shell.run(f"%%wasm mean --lang c\n{(templates / 'aggregator.c').read_text()}")
    used = shell.run(
        "stream.with_columns(k=pl.lit(1)).key_by('k').window(flare.global_window())"
        ".agg(m=flare.wasm.aggregate(mean, 'x')).collect()['m'].to_list()"
    )
    assert used.value == [-0.25]


def test_a_python_cell_sees_the_notebook_and_is_seen_by_it(shell: Shell) -> None:
    shell.run("limit = 1.0\n@flare.udf\ndef clipped(x: float) -> float:\n    return min(x, limit)")
    made = shell.run(
        "%%wasm twice --lang python\n@flare.udf\ndef y(x: float) -> float:\n    return 2.0 * clipped(x)\n\nother = 7"
    )
    assert made.error is None
    assert shell.run(USE).value == [2.0, None, -4.0]
    assert shell["other"] == 7
    assert shell["y"](0.25) == 0.5
    kept = shell.run(
        "%%wasm kept --lang python --type filter\n@flare.udf\ndef kept(x: float) -> bool:\n    return x > 0.0"
    )
    assert kept.out.startswith("kept: a Filter of ")
    assert shell.run("stream.wasm(kept, column='x').collect()['x'].to_list()").value == [1.5]
    number = shell.number
    failed = shell.run("%%wasm bad --lang python\n@flare.udf\ndef bad(x: float) -> float:\n    return x[0]")
    assert f"In[{number}], line 4: " in told(failed)
    failed = shell.run("%%wasm bad --lang python\n1 / 0")
    assert f"In[{number + 1}], line 2: ZeroDivisionError: division by zero" in told(failed)
    assert "no --config" in told(shell.run("%%wasm bad --lang python --config '{}'\nx"))


def test_a_cell_is_compiled_once(shell: Shell) -> None:
    needs("c")
    cell = f"%%wasm twice --lang c\n{CELLS['c']}"
    assert "(cached)" not in shell.run(cell).out
    assert "(cached)" in shell.run(cell).out
    assert "(cached)" in shell.run(cell.replace("twice", "again", 1)).out


def test_warnings_are_shown_beside_the_plugin(shell: Shell) -> None:
    needs("c")
    number = shell.number
    unused = CELLS["c"].replace("DF_NO_INIT", "static int f(int a) { int z; return a; } DF_NO_INIT")
    made = shell.run(f"%%wasm twice --lang c\n{unused}")
    assert made.error is None
    assert f"warning: In[{number}], line 3: unused variable 'z'" in made.err


@pytest.mark.parametrize("language", ["c", "wat"])
def test_a_cell_is_saved_as_a_plugin_that_builds_to_the_same(
    language: str, shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(language)
    folder = tmp_path / "plugins" / "twice"
    made = shell.run(f"%%wasm twice --lang {language} --timeout 2s --save {folder}\n{CELLS[language]}")
    assert made.error is None
    assert json.loads((folder / "plugin.json").read_text())["security_policy"] == {"max_execution_time": "2s"}
    assert main(["plugin", "build", "--check", str(folder)]) == 0
    assert main(["plugin", "check", "--quick", str(folder)]) == 0
    again = shell.run(f"%%wasm twice --lang {language} --save {folder}\n{CELLS[language]}")
    assert "is there already; nothing is written over" in told(again)


def test_what_a_shell_puts_in_the_place_of_open_is_refused_as_open_is(shell: Shell) -> None:
    failed = shell.run("@flare.udf\ndef spy(x: float) -> float:\n    return x + len(open('a').read())")
    assert "a compiled function has no files; read the data as a stream and join it" in str(failed.error)


def test_a_python_cell_is_saved_as_a_plugin_that_needs_no_python(shell: Shell, tmp_path: Path) -> None:
    shell.run(f"%%wasm twice --lang python --save {tmp_path / 'twice'}\n{CELLS['python']}")
    shell.run(f"twice = flare.wasm.Plugin.load('{tmp_path / 'twice' / 'plugin.json'}')")
    assert shell.run(USE).value == [3.0, None, -4.0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "the following arguments are required: NAME, --lang"),
        ("twice", "the following arguments are required: --lang"),
        ("2x --lang c", "this is no name for a variable"),
        ("twice --lang c --typ", "--type"),
        ("twice --lang c --type Sink", "'Sink' is not one of Source, Destination"),
        ("twice --lang rut", "no language `rut`; there are c, c++, zig, rust"),
        ("twice --lang c --config {a}", "this is neither a dict of the notebook nor JSON"),
        ("twice --lang c --config '[1]'", "this is list, and a JSON object is needed"),
        ("twice --lang c --config 'open", "No closing quotation"),
        ("twice --lang c --max-memory much", "`max_memory`: 'much' is not bytes"),
        ("""twice --lang c --policy '{"alow_network": true}'""", "`alow_network` is not known"),
    ],
)
def test_mistakes_in_the_line_are_told_without_a_traceback(line: str, why: str, shell: Shell) -> None:
    needs("c")
    failed = shell.run(f"%%wasm {line}\n{SCALED}")
    assert failed.error is not None
    assert why in told(failed)


def test_help_tells_the_options_and_shows_an_example(shell: Shell) -> None:
    helped = shell.run("%wasm")
    assert helped.error is None
    assert shell.run("%%wasm --help\nanything").out == helped.out
    assert "Did you mean the line magic %wasm" in told(shell.run("%%wasm --help"))
    assert "--config CONFIG" in helped.out
    needs("c")
    example = helped.out[helped.out.index("%%wasm with_tax") : helped.out.index("\n\nand in the next cell")]
    assert shell.run(example).error is None
    used = shell.run("stream.select(price='x').wasm(with_tax, column='price').collect()['with_tax'].to_list()")
    assert used.value == [1.5 * 1.2, None, -2.0 * 1.2]


def test_a_missing_compiler_is_told_with_the_way_to_get_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    failed = shell.run(f"%%wasm twice --lang go\n{CELLS['go']}")
    assert isinstance(failed.error, WasmToolchainMissing)
    assert "To install one: Go 1.24 or later" in told(failed)


def test_the_extension_is_unloaded_and_loaded_again(shell: Shell) -> None:
    shell.run("%unload_ext dataflare_nb")
    assert "`%%wasm` not found" in told(shell.run("%%wasm x --lang c\nx"))
    assert "`%wasm` not found" in told(shell.run("%wasm"))
    shell.run("%load_ext dataflare_nb\n%load_ext dataflare_nb")
    assert "NAME, --lang" in told(shell.run("%%wasm\nx"))


@pytest.mark.slow
def test_it_works_in_a_kernel(tmp_path: Path) -> None:
    needs("c")
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        texts: list[str] = []

        def hook(message: dict[str, dict[str, object]]) -> None:
            content = message["content"]
            texts.append(str(content.get("text", "")) + "\n".join(content.get("traceback", [])))  # type: ignore[call-overload]

        def run(code: str) -> str:
            texts.clear()
            client.execute_interactive(code, timeout=60, output_hook=hook)  # type: ignore[arg-type]
            return "".join(texts)

        run(f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n%load_ext dataflare_nb")
        assert "twice: a Processor" in run(f"%%wasm twice --lang c\n{CELLS['c']}")
        assert "[3.0, 5.0]" in run(
            "import dataflare_nb as flare, polars as pl\n"
            "print(flare.from_frame(pl.DataFrame({'x': [1.5, 2.5]})).wasm(twice).collect()['y'].to_list())"
        )
        shown = run(f"%%wasm twice --lang c\n{CELLS['c'].replace('out.rows', 'out.row')}")
        assert "In[4], line 8: no member named 'row'" in shown
        assert "Traceback" not in shown
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_importing_the_package_does_not_import_ipython() -> None:
    code = "import sys, dataflare_nb; print('IPython' in sys.modules, 'ziglang' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_the_cell_in_the_documents_is_one(shell: Shell) -> None:
    needs("zig")
    text = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
    cell = textwrap.dedent(text[text.index("    %%wasm scaled") : text.index("\n\n    stream.wasm(scaled")])
    assert shell.run(cell).error is None
    assert shell.run("stream.wasm(scaled, column='x').collect()['scaled'].to_list()").value == [4.5, None, -6.0]
