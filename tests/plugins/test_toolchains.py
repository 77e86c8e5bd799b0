"""Compilers: every language makes the same plugin, says where a mistake is, and gives the same bytes for a source."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.errors import BadOption, WasmBuildFailed, WasmPluginExecution, WasmToolchainMissing
from dataflare_nb.wasm import Plugin, Session, WasmPluginConfig, toolchains
from dataflare_nb.wasm.toolchains import BuildCache, Built, SourceFile, build, build_text

from .cells import CELLS, MISTAKES
from .helpers import SLOW, needs

LANGUAGES = [pytest.param(each, marks=pytest.mark.slow if each in SLOW else ()) for each in sorted(CELLS)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAFLARE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "builds"


def made(language: str, text: str | None = None) -> Built:
    needs(language)
    return build_text(text or CELLS[language], language, name="twice", label="In[3]", above=1)


def called(built: Built, frame: pl.DataFrame) -> pl.DataFrame:
    config = WasmPluginConfig.load({"name": "twice", "type": "Processor", "module_path": "-"})
    session = Session(Plugin.of(config, built.module))
    try:
        return session.call(frame)
    finally:
        session.close()


def test_the_languages_are_told() -> None:
    assert set(toolchains.LANGUAGES) == set(CELLS)
    assert toolchains.toolchain("C++").language == toolchains.toolchain("cpp").language == "c++"
    with pytest.raises(BadOption, match=r"no language `rusty`; there are c, c\+\+, .* Did you mean `rust`\?"):
        toolchains.toolchain("rusty")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_plugin_of_a_dozen_lines_works_and_is_built_once(language: str) -> None:
    first = made(language)
    assert called(first, pl.DataFrame({"x": [1.5, None, -2.0]})).to_dict(as_series=False) == {"y": [3.0, None, -4.0]}
    again = made(language)
    assert again.module == first.module
    assert (first.cached, again.cached) == (False, True)
    assert ("kernel" if language == "python" else "process_data") in toolchains.exported_functions(first.module)
    if language not in ("wat", "python"):
        with pytest.raises(WasmPluginExecution, match="x"):
            called(first, pl.DataFrame({"other": [1.5]}))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mistake_is_shown_with_its_line_and_a_caret(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("FORCE_COLOR", "1")
    right, wrong, line, why, marked = MISTAKES[language]
    assert CELLS[language].count(right) == 1
    text = CELLS[language].replace(right, wrong)
    with pytest.raises(WasmBuildFailed) as caught:
        made(language, text)
    said = str(caught.value).splitlines()
    assert said[0] == f"twice does not compile as {language}:"
    at = next(i for i, row in enumerate(said) if row.startswith(f"In[3], line {line + 1}: "))
    assert why in said[at]
    assert said[at + 1].strip() == text.splitlines()[line - 1].strip()
    assert set(said[at + 2].strip()) == {"^"}
    if marked is not None:
        start = said[at + 2].index("^")
        assert said[at + 1][start:].startswith(marked)
    assert ("In[3]", line + 1) in caught.value.places


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_source_gives_the_same_bytes_wherever_it_stands(language: str, tmp_path: Path) -> None:
    needs(language)
    name = f"twice{toolchains.toolchain(language).suffix}"
    built = [
        build([SourceFile(name, CELLS[language], label)], language, name="twice", cache=BuildCache(None)).module
        for label in (str(tmp_path / name), f"/elsewhere/{name}")
    ]
    assert built[0] == built[1]
    assert str(tmp_path).encode() not in built[0]
    assert b"dataflare-build" not in built[0]
    assert str(Path.home()).encode() not in built[0]


@pytest.mark.parametrize("language", ["c", "zig"])
def test_cells_keep_the_names_of_functions_and_files_do_not(language: str) -> None:
    built = made(language)
    name = f"twice{toolchains.toolchain(language).suffix}"
    small = build([SourceFile(name, CELLS[language], name)], language, name="twice")
    assert b"\x04name" in built.module
    assert b"\x04name" not in small.module
    assert b"producers" not in built.module


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1", "there is no compiled function; put @flare.udf over one"),
        (
            CELLS["python"] * 2 + "\nz = y",
            "^twice does not compile as python:\nthere are several compiled functions, y, z",
        ),
        (CELLS["python"].replace("2.0 * x", "x[0]"), r"In\[3\], line 6: .*\n +return x\[0\]\n +\^"),
        (CELLS["python"] + "\n1 / 0\n", r"In\[3\], line 8: ZeroDivisionError: division by zero\n    1 / 0\n    \^{5}"),
    ],
)
def test_python_that_cannot_be_a_plugin_is_told_why(text: str, why: str) -> None:
    with pytest.raises(WasmBuildFailed, match=why):
        made("python", text)


def test_warnings_are_told_also_when_the_module_is_cached() -> None:
    for cached in (False, True):
        built = made("c", CELLS["c"].replace("DF_NO_INIT", "static int f(void) { int z; return 1; }\nDF_NO_INIT"))
        assert built.cached is cached
        (warning,) = built.warnings
        assert warning.startswith("In[3], line 3: unused variable 'z'")


def test_what_was_cached_and_does_not_hold_is_built_again(own_cache: Path) -> None:
    first = made("wat")
    (entry,) = own_cache.iterdir()
    assert own_cache.stat().st_mode & 0o077 == 0
    data = bytearray(entry.read_bytes())
    data[len(data) // 2] ^= 1
    for broken in (bytes(data), b"", b"nonsense"):
        entry.write_bytes(broken)
        again = made("wat")
        assert not again.cached
        assert again.module == first.module
    assert made("wat").cached


def test_a_cache_that_cannot_be_written_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = SourceFile("twice.wat", CELLS["wat"], "x")
    for cache in (BuildCache(tmp_path / "file"), BuildCache(None)):
        assert not build([source], "wat", name="twice", cache=cache).cached
        assert not build([source], "wat", name="twice", cache=cache).cached


def test_a_missing_compiler_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        WasmToolchainMissing, match=r"no compiler for rust was found\. To install one: `rustup target add"
    ):
        build_text(CELLS["rust"], "rust", name="x", label="x")
    with pytest.raises(WasmToolchainMissing, match=r"npm install assemblyscript"):
        build_text(CELLS["assemblyscript"], "assemblyscript", name="x", label="x")


def test_a_stack_that_overflows_traps_and_harms_nothing() -> None:
    recursion = "static i32 deep(volatile i32 n) { volatile char b[512]; b[n & 511] = 1; return deep(n + 1) + b[0]; }"
    deep = CELLS["c"].replace("DF_NO_INIT", f"{recursion}\nDF_NO_INIT")
    deep = deep.replace("  return df_return", "  if (out.rows == 3) return deep(0);\n  return df_return")
    built = made("c", deep)
    with pytest.raises(WasmPluginExecution, match=r"read or wrote outside its memory|ran out of stack"):
        called(built, pl.DataFrame({"x": [1.0] * 3}))
    assert called(built, pl.DataFrame({"x": [1.0]})).height == 1


def test_a_whole_module_in_text_is_taken_as_it_is() -> None:
    module = made("wat", '(; a comment ;)\n;; (module\n(module (func (export "f")))').module
    assert toolchains.exported_functions(module) == ["f"]


def test_a_source_may_not_be_called_like_the_sdk() -> None:
    with pytest.raises(WasmBuildFailed, match=r"dataflare\.wat comes with the package; give your file another name"):
        build([SourceFile("dataflare.wat", "", "x")], "wat", name="x")


def test_several_files_are_compiled_together() -> None:
    needs("c")
    twice = "double twice(double x) { return x + x; }\n"
    main = (
        CELLS["c"]
        .replace("DF_NO_INIT", "double twice(double);\nDF_NO_INIT")
        .replace("2 * (", "twice((")
        .replace("[i];\n  return", "[i]);\n  return")
    )
    built = build(
        [SourceFile("main.c", main, "main.c"), SourceFile("more/twice.c", twice, "twice.c")], "c", name="twice"
    )
    assert called(built, pl.DataFrame({"x": [4.0]}))["y"].to_list() == [8.0]
