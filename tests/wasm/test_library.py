"""The library of compiled functions is what its sources build to, and a kernel takes along only what it calls."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from dataflare_nb.wasm import library

RUNTIME = Path(__file__).parents[2] / "plugins" / "udf_runtime"
BUILT = Path(library.__file__).with_name("library.bin")


def test_the_library_is_the_one_on_record():
    record = json.loads((RUNTIME / "library.json").read_text())
    assert hashlib.sha256(BUILT.read_bytes()).hexdigest() == record["sha256"]
    assert len(library.library().functions) == record["functions"]


def test_the_library_is_what_its_sources_build_to():
    if importlib.util.find_spec("ziglang") is None:
        if os.environ.get("DATAFLARE_REQUIRE_ALL") == "1":
            pytest.fail("ziglang is not installed and DATAFLARE_REQUIRE_ALL=1 asks for it")
        pytest.skip("ziglang is not installed")
    done = subprocess.run(
        [sys.executable, str(RUNTIME / "build.py"), "--check"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tables_are_what_their_script_computes():
    made = subprocess.run(
        [sys.executable, str(RUNTIME / "math_tables.py")], capture_output=True, text=True, check=True, timeout=100
    )
    assert made.stdout == (RUNTIME / "src" / "math_tables.h").read_text()


def test_a_selection_holds_what_its_functions_call_and_nothing_else():
    nothing = library.select([], 64)
    assert (nothing.functions, nothing.places, nothing.stack, nothing.end) == ((), {}, None, 64)
    names = {f.name for f in (library.library().functions[i] for i in library.select(["math_sinh"], 64).functions)}
    assert {"math_sinh", "expm1_pair"} <= names
    assert not names & {"math_log", "length", "large_angle", "math_gcd"}


def test_a_table_is_read_by_its_name_where_no_function_is_called():
    table = library.table("flag_values")
    selection = library.select([], 64, ["flag_values"])
    (at,) = selection.places.values()
    text = f"""(module (memory (export "memory") {selection.end // 65536 + 1})
        (func (export "read") (param i32) (result i32)
            (i32.load8_u offset={library.table_mark("flag_values")} (local.get 0))))"""
    module = library.link(bytes(wasmtime.wat2wasm(selection.placed(text))), selection)
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, module), []).exports(store)
    assert at + len(table.content) == selection.end
    assert bytes(exports["read"](store, i) for i in range(0, len(table.content), 97)) == table.content[::97]


def test_every_function_links_into_a_module_that_holds():
    engine = wasmtime.Engine()
    every = [function.name for function in library.library().functions]
    for names in [every, *([name] for name in every)]:
        selection = library.select(names, 64)
        text = f"""(module {selection.imports()} {selection.globals()}
            (memory (export "memory") {selection.end // 65536 + 1})
            (func (export "one") (result i32) (i32.const 1)))"""
        module = library.link(bytes(wasmtime.wat2wasm(text)), selection)
        store = wasmtime.Store(engine)
        instance = wasmtime.Instance(store, wasmtime.Module(engine, module), [])
        assert instance.exports(store)["one"](store) == 1
