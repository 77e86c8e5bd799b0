"""A compiled function as a plugin, without its source, and as text for reading."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest
import wasmtime

import dataflare_nb as flare
from dataflare_nb.cli import main
from dataflare_nb.errors import (
    DataflareError,
    UdfError,
    WasmConfiguration,
    WasmError,
    WasmMemoryLimit,
    WasmPluginLoad,
    WasmRuntimeError,
    WasmTimeout,
)
from dataflare_nb.wasm import Kernel, Plugin, Session, Udf, trial, udf
from dataflare_nb.wasm.kernel import SECTION
from dataflare_nb.wasm.library import leb

from .functions import functions_by_name, gained

FRAME = pl.DataFrame({"arr": [1.0, 9.0, None, 0.0], "dep": [4, 5, 6, -1], "carrier": ["A", "B", "C", "D"]})


@udf
def pair(dep: float, arr: float) -> tuple[float, int | None]:
    """Return two things.

    At length.
    """
    if arr == 0:
        return dep / arr, None
    return dep - arr, None if dep > arr else int(arr)


@udf
def late(dep: float) -> bool:
    return dep > 4


@udf
def endless(dep: float) -> float:
    while dep > -100:
        dep = dep * 1.0
    return dep


def test_a_saved_function_is_a_plugin_of_a_stream(tmp_path: Path):
    path = gained.save(tmp_path / "gained")
    assert sorted(p.name for p in path.parent.iterdir()) == ["README.md", "gained.wasm", "plugin.json", "src"]
    stream = flare.from_frame(FRAME)
    as_plugin = stream.wasm(str(path))
    as_udf = stream.with_columns(gained("dep", "arr"))
    assert as_plugin.schema == as_udf.schema
    assert as_plugin.collect().equals(as_udf.collect())
    assert as_plugin.collect()["gained"].to_list() == [3.0, 0.0, None, 0.0]


def test_columns_are_found_by_name_or_taken_in_order(tmp_path: Path):
    path = gained.save(tmp_path)
    stream = flare.from_frame(FRAME.rename({"arr": "x", "dep": "y"}))
    out = stream.wasm(str(path), columns=["y", "x"], output="g").collect()
    assert out["g"].to_list() == [3.0, 0.0, None, 0.0]
    with pytest.raises(
        WasmConfiguration, match=r"it takes dep, arr and was given x, y, carrier; name the columns in that"
    ):
        stream.wasm(str(path))


@pytest.mark.slow
def test_several_outputs_and_optional_ones_come_along(tmp_path: Path):
    path = pair.save(tmp_path)
    frame = FRAME.filter(pl.col("arr") != 0)
    out = flare.from_frame(frame).wasm(str(path)).collect()
    assert out.equals(flare.from_frame(frame).with_columns(pair("dep", "arr")).collect())
    assert out["pair_1"].to_list() == [None, 9]
    with pytest.raises(DataflareError, match=r"ZeroDivisionError: float division by zero at row 3 .*, line 8 of pair"):
        flare.from_frame(FRAME).wasm(str(path)).collect()
    aside = flare.from_frame(FRAME).wasm(str(path), on_error="dead_letter")
    assert aside.collect().height == 3
    assert "ZeroDivisionError" in aside.invalid.collect()["reason"][0]


def test_a_bool_can_be_a_filter(tmp_path: Path):
    path = late.save(tmp_path, kind="Filter")
    assert flare.from_frame(FRAME).wasm(str(path)).collect()["carrier"].to_list() == ["B", "C"]
    with pytest.raises(UdfError, match=r"gained.save: it returns float, and a Filter returns bool"):
        gained.save(tmp_path, kind="Filter")
    with pytest.raises(UdfError, match="a compiled function is a Processor or a Filter, not a Source"):
        gained.save(tmp_path, kind="Source")  # type: ignore[arg-type]
    described = json.loads(path.read_bytes())
    wrong = Plugin.of(flare.wasm.WasmPluginConfig.load({**described, "type": "Aggregator"}), late.wasm_bytes)
    with pytest.raises(WasmConfiguration, match="a compiled function is a Processor or a Filter, not a Aggregator"):
        Session(wrong)


@pytest.mark.slow
def test_another_process_needs_no_source(tmp_path: Path):
    path = pair.save(tmp_path)
    (tmp_path / "src" / "pair.py").unlink()
    code = f"""
import dataflare_nb as flare, polars as pl
out = flare.from_frame(pl.DataFrame({{"a": [3.0, 1.0], "b": [1.0, 2.5]}})).wasm({str(path)!r}, columns=["a", "b"])
print(out.collect().to_dicts()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'a': 1.0, 'b': 2.5, 'pair_0': -1.5, 'pair_1': 2}"


def test_the_policy_of_the_plugin_holds(tmp_path: Path):
    path = endless.save(tmp_path)
    described = json.loads(path.read_bytes())
    described["security_policy"]["max_execution_time"] = "100ms"
    path.write_text(json.dumps(described))
    session = Session(Plugin.load(path))
    with pytest.raises(WasmTimeout, match="endless: ran longer than its 100 ms"):
        session.call(FRAME.select("dep"))
    session.close()
    described["security_policy"]["max_memory"] = "64KiB"
    path.write_text(json.dumps(described))
    with pytest.raises(WasmMemoryLimit):
        Session(Plugin.load(path)).call(FRAME.select("dep"))


RATE, START, m = 0.25, dt.datetime(2020, 1, 1), math


class Part(NamedTuple):
    share: float
    left: float | None = None


@udf
def share(part: float, whole: float = 2.0) -> Part:
    return Part(part / whole)


@flare.udf(
    output=["share", "since"],
    on_error="null",
)
def all_it_sees(part: float, at: dt.datetime, name: str) -> tuple[float, dt.timedelta] | None:
    """See a constant, a class, a function, a module and a time."""
    if m.isnan(part) or at < dt.datetime(1970, 1, 1, 12):
        return None
    return sqrt(share(part).share) * RATE + len(name), at - START


def undecorated(x: float, scale: float) -> float:
    return x * scale


SAVED = [
    all_it_sees,
    share,
    pair,
    gained.fix(arr=2.0),
    udf(undecorated),
    udf(undecorated, on_error="null").fix(scale=-0.5),
]


@pytest.mark.parametrize("function", SAVED, ids=str)
def test_what_was_saved_can_be_built_again(function: Udf, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = function.save(tmp_path / "saved")
    module = (path.parent / f"{function.name}.wasm").read_bytes()
    assert module == function.wasm_bytes
    assert main(["plugin", "build", "--check", str(path.parent)]) == 0
    assert "in order" in capsys.readouterr().out
    before = path.read_text()
    assert main(["plugin", "build", str(path.parent)]) == 0
    assert (path.read_text(), (path.parent / f"{function.name}.wasm").read_bytes()) == (before, module)
    assert (
        f"`src/{function.name}.py` is what it was compiled from; `dataflare plugin build .`"
        in (path.parent / "README.md").read_text()
    )


def test_every_function_of_these_tests_can_be_built_again(tmp_path: Path):
    for name, function in functions_by_name().items():
        folder = function.save(tmp_path / name).parent
        assert (folder / "src" / f"{function.name}.py").exists(), (folder / "README.md").read_text()


def test_a_source_that_cannot_stand_alone_is_there_to_be_read(tmp_path: Path):
    class Odd:
        share = 3

    def scaled(x: float) -> float:
        return x * Odd.share

    path = udf(scaled).save(tmp_path / "odd")
    assert sorted(p.name for p in path.parent.iterdir()) == ["README.md", "plugin.json", "scaled.py", "scaled.wasm"]
    readme = (path.parent / "README.md").read_text()
    assert "`scaled.py` is what it was compiled from, to be read; it does not stand alone: `Odd` is type" in readme
    assert flare.from_frame(pl.DataFrame({"x": [2.0]})).wasm(path).collect()["scaled"].to_list() == [6.0]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UdfError, match=r"gained at .*: gained.save: cannot write to .*/file: (Not a directory|File exists)"
    ):
        gained.save(tmp_path / "file")


def test_a_module_that_was_changed_is_refused(tmp_path: Path):
    path = gained.save(tmp_path)
    module = tmp_path / "gained.wasm"
    module.write_bytes(module.read_bytes().replace(b'"dep"', b'"dap"'))
    with pytest.raises(WasmPluginLoad, match="its description says"):
        Plugin.load(path)


def test_what_it_did_is_counted_with_its_memory(tmp_path: Path):
    job = flare.from_frame(FRAME).wasm(str(gained.save(tmp_path / "gained"))).run("counted").wait()
    row = job.plugins().row(0, named=True)
    assert (row["plugin"], row["rows_in"], row["rows_out"], row["errors"]) == ("gained", 4, 4, 0)
    assert row["memory_peak"] >= 65536
    with flare.wasm.WasmRuntime() as runtime:
        divide = runtime.load_plugin(pair.save(tmp_path / "pair"))
        with pytest.raises(WasmError, match="float division by zero at row 3"):
            runtime.call_function(divide, "process_data", FRAME)
        assert runtime.stats(divide).memory_peak >= 65536


FOREIGN = bytes(
    wasmtime.wat2wasm(
        """(module (memory (export "memory") 40)
           (func (export "kernel") (param i32 i32 i32) (result i64) (i64.const -1)))"""
    )
)


def foreign(**facts: Any) -> bytes:
    """Return a module that says of itself what a compiled function says."""
    told = {"name": "f", "params": [["x", "float"]], "outputs": [["y", "float"]], "record": False, "sites": []}
    told |= {"metered": False, "vector": False, "time_ms": 100, **facts}
    return _with_section(msgspec.json.encode(told))


def _with_section(content: bytes) -> bytes:
    body = bytes([len(SECTION)]) + SECTION.encode() + content
    return FOREIGN + b"\0" + leb(len(body)) + body


def test_a_module_may_say_what_a_compiled_function_says():
    assert Kernel.load(foreign()).facts.time_ms == 100


@pytest.mark.parametrize(
    "facts",
    [
        {"params": []},
        {"params": [["x", "float"], ["x", "float"]]},
        {"params": [["x\n", "float"]]},
        {"params": [[f"p{i}", "float"] for i in range(100_000)]},
        {"outputs": [[f"p{i}", "float"] for i in range(100_000)], "record": True},
        {"outputs": [["y", "float"], ["z", "float"]]},
        {"outputs": [["y\0", "float"]]},
        {"name": "f\nERROR root: all is lost"},
        {"time_ms": 0},
        {"start": -64},
    ],
    ids=lambda facts: str(facts)[:40],
)
def test_what_a_foreign_module_says_of_itself_has_to_hold(facts: dict[str, Any]):
    with pytest.raises(WasmPluginLoad, match="this module is not a compiled udf"):
        Kernel.load(foreign(**facts))


def test_a_section_may_hold_anything():
    for content in (b"", b"\xff", b"[" * 500_000, b'{"name":' + b"[" * 500_000, b'{"odd":' + b"[" * 500_000):
        with pytest.raises(WasmPluginLoad, match="this module is not a compiled udf"):
            Kernel.load(_with_section(content))


def test_the_command_line_knows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["plugin", "check", str(pair.save(tmp_path))]) == 0
    assert "pair: in order" in capsys.readouterr().out


def test_the_readme_says_how_to_use_it(tmp_path: Path):
    text = (pair.save(tmp_path).parent / "README.md").read_text()
    assert text.startswith("# pair\n\nReturn two things.\n\nAt length.\n")
    assert 'stream.wasm("plugin.json", columns=["dep", "arr"])' in text
    assert "| pair_1 | out | `int | None` | `Int64` |" in text


@pytest.mark.parametrize("name", ["gained", "collatz", "through_others", "modulo", "far_ranges", "logic"])
def test_the_text_names_the_lines_and_is_the_module(name: str):
    function = functions_by_name()[name]
    text = function.wat
    for line in function.source.lines:
        if line.strip().startswith(("return", "if", "while", "for", "steps")):
            number = function.source.first + function.source.lines.index(line)
            assert f";; functions.py, line {number}: {line.strip()}" in text
    assert max(map(len, text.splitlines())) < 260
    module = bytes(wasmtime.wat2wasm(text))
    assert function.wasm_bytes.startswith(module)
    assert Kernel.load(function.wasm_bytes).facts.name == name


def test_a_saved_function_is_called_by_hand(tmp_path: Path):
    with flare.wasm.WasmRuntime() as runtime:
        pairs = runtime.load_plugin(pair.save(tmp_path / "pair"))
        rows = [{"dep": 4.0, "arr": 1.0}, {"dep": 5, "arr": 9}, {"dep": 6.0, "arr": None}]
        answer = runtime.call_function(pairs, "process_data", rows)
        assert [list(row.values()) for row in answer] == [[3.0, None], [-4.0, 9], [None, None]]
        frame = FRAME.select("dep", "arr").head(3)
        as_frame = runtime.call_function(pairs, "process_data", frame)
        assert as_frame.rows() == [(3.0, None), (-4.0, 9), (None, None)]
        for function in ("plugin_init", "plugin_cleanup", "filter_data"):
            with pytest.raises(WasmRuntimeError, match=f"does not export `{function}`; it is a Processor"):
                runtime.call_function(pairs, function, [{}])
        with pytest.raises(WasmConfiguration, match="it takes dep, arr and was given dep"):
            runtime.call_function(pairs, "process_data", [{"dep": 1.0}])
        assert (runtime.stats()[pairs].rows_in, runtime.stats()[pairs].rows_out, runtime.stats()[pairs].errors) == (
            7,
            6,
            1,
        )
        lates = runtime.load_plugin(late.save(tmp_path / "late", kind="Filter"))
        assert runtime.call_function(lates, "filter_data", [{"dep": 5.0}, {"dep": 4.0}]) == [True, False]


def test_a_saved_function_is_a_component(tmp_path: Path):
    with flare.wasm.WasmComponentManager() as manager:
        manager.register_component(flare.wasm.WasmComponentConfig(name="pair", plugin=pair.save(tmp_path / "pair")))
        assert manager.health("pair").ok


@pytest.mark.slow
def test_the_speed_of_a_compiled_function_is_that_of_a_batch_in_one_piece(tmp_path: Path) -> None:
    """It takes 0.3 ms; cut into pieces as small as the example it took 60, so the bound leaves much room."""
    path = gained.save(tmp_path)
    description = json.loads(path.read_text())
    example = {"input": {"dep": [4.0, None, 1.0], "arr": [1.0, 2.0, 3.0]}, "output": {}}
    description["metadata"]["example"] = example
    path.write_text(json.dumps(description))
    rows, seconds = trial.bench(Plugin.load(path))
    assert rows == 65_536
    assert seconds < 0.02
