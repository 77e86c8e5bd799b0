"""`dataflare plugin`: what each command does, says and returns, and that mistakes end in words, not in tracebacks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import dataflare_nb as flare
from dataflare_nb.cli import main

from .helpers import PLUGINS, needs

Out = pytest.CaptureFixture[str]
DOUBLED = """#include "dataflare.h"
DF_NO_INIT
DF_PROCESS(batch) {
  const struct ArrowArray* x = df_find(batch, "x", "l");
  if (!x) return df_fail(DF_E_INPUT, "it needs x");
  df_out out = df_out_like(batch, x, "l", "y");
  if (!out.data) return df_fail(DF_E_MEMORY, "no memory");
  for (u32 i = 0; i < out.rows; i++) ((i64*)out.data)[i] = 2 * ((const i64*)x->buffers[1])[i];
  return df_return(&out, 1);
}
"""


@flare.udf
def quotient(a: float, b: float) -> float:
    return a / b


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugin in C that is not built yet."""
    needs("c")
    return write(tmp_path / "doubled", DOUBLED)


def write(folder: Path, source: str, **description: Any) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "doubled.c").write_text(source)
    metadata = {"inputs": {"x": "Int64"}, "example": {"input": {"x": [1, None]}, "output": {"y": [2, None]}}}
    document = {"name": "doubled", "type": "Processor", "module_path": "doubled.wasm", "metadata": metadata}
    (folder / "plugin.json").write_text(json.dumps({**document, **description}))
    return folder


def change(folder: Path, **fields: Any) -> None:
    document = json.loads((folder / "plugin.json").read_text())
    document["metadata"].update(fields.pop("metadata", {}))
    (folder / "plugin.json").write_text(json.dumps({**document, **fields}))


def run(capsys: Out, *command: str | Path) -> tuple[int, str, str]:
    code = main(["plugin", *map(str, command)])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out, said.err


COMMANDS = ["new", "build", "check", "list", "info", "languages", "keygen", "trust", "sign", "verify"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plugin", name, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 150


def test_the_commands_are_listed(capsys: Out) -> None:
    with pytest.raises(SystemExit):
        main(["plugin", "--help"])
    said = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\s", said, re.MULTILINE) for name in COMMANDS)
    assert "Exit codes: 0 all is well" in said


# build


def test_build_writes_the_module_its_sum_and_its_compiler(folder: Path, capsys: Out) -> None:
    code, out, _ = run(capsys, "build", folder)
    assert code == 0
    assert re.fullmatch(r"doubled: [\d,]+ bytes by zig \S+, sha256 [0-9a-f]{64}\n", out)
    document = json.loads((folder / "plugin.json").read_text())
    assert out.split()[-1] == document["sha256"]
    assert document["metadata"]["built_with"].startswith("zig ")
    before = (folder / "plugin.json").read_text(), (folder / "doubled.wasm").read_bytes()
    assert run(capsys, "build", folder / "plugin.json")[0] == 0
    assert before == ((folder / "plugin.json").read_text(), (folder / "doubled.wasm").read_bytes())


@pytest.mark.parametrize("where", ["../out.wasm", "/tmp/out.wasm", "link.wasm", "src/../../out.wasm"])
def test_build_writes_nothing_outside_of_the_folder(folder: Path, capsys: Out, where: str) -> None:
    (folder / "link.wasm").symlink_to(folder.parent / "out.wasm")
    change(folder, module_path=where)
    code, _, err = run(capsys, "build", folder)
    assert code != 0
    assert f"module_path is {where}, which leads out of" in err
    assert not (folder.parent / "out.wasm").exists()


def test_a_source_is_never_an_option_of_a_compiler(folder: Path, capsys: Out) -> None:
    (folder / "src" / "-fplugin=evil.c").write_text("")
    code, _, err = run(capsys, "build", folder)
    assert code != 0
    assert "would be an option to a compiler; give it another name" in err


def test_build_check_compares_and_writes_nothing(folder: Path, capsys: Out) -> None:
    assert run(capsys, "build", "--check", folder) == (1, "doubled: doubled.wasm is not there\n", "")
    assert not (folder / "doubled.wasm").exists()
    run(capsys, "build", folder)
    assert run(capsys, "build", "--check", folder) == (0, "doubled: in order\n", "")
    source = folder / "src" / "doubled.c"
    source.write_text(DOUBLED.replace("2 *", "3 *"))
    code, out, _ = run(capsys, "build", "--check", folder)
    assert (code, out) == (1, "doubled: doubled.wasm is not what its source builds to\n")
    change(folder, metadata={"built_with": "zig 0.1.0"})
    code, out, _ = run(capsys, "build", "--check", folder)
    assert code == 1
    assert "was built with zig 0.1.0 and here is zig" in out
    source.write_text(DOUBLED)
    change(folder, sha256="0" * 64)
    code, out, _ = run(capsys, "build", "--check", folder)
    assert (code, out) == (1, "doubled: the sha256 in plugin.json is not that of the module\n")


def test_build_takes_all_of_a_folder_and_goes_on_after_one_that_fails(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("c")
    write(tmp_path / "plugins" / "a", DOUBLED.replace("(&out, 1);", "(&out, 1)"), name="a")
    write(tmp_path / "plugins" / "b", DOUBLED, name="b")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "build")
    assert code == 1
    assert out.startswith("b: ")
    assert "a does not compile as c:\nplugins/a/src/doubled.c, line 9: expected ';' after return statement" in err
    assert err.splitlines()[3].endswith("^")


def test_build_shows_warnings(tmp_path: Path, capsys: Out) -> None:
    needs("c")
    folder = write(tmp_path / "p", DOUBLED.replace("DF_NO_INIT", "static void f(void) { int unused; }\nDF_NO_INIT"))
    for _ in range(2):
        code, _, err = run(capsys, "build", folder)
        assert code == 0
        assert f"warning: {folder}/src/doubled.c, line 2: unused variable 'unused'" in err


def test_a_build_that_changes_the_module_ends_its_signature(folder: Path, capsys: Out) -> None:
    run(capsys, "build", folder)
    signature = {"key": "0" * 32, "sha256": "0" * 64, "signed": "2026-01-01", "ed25519": ""}
    change(folder, signature=signature)
    run(capsys, "build", folder)
    assert json.loads((folder / "plugin.json").read_text())["signature"] == signature
    (folder / "src" / "doubled.c").write_text(DOUBLED.replace("2 *", "3 *"))
    run(capsys, "build", folder)
    assert "signature" not in json.loads((folder / "plugin.json").read_text())


# check


@pytest.mark.slow
def test_check_tells_what_it_tried(folder: Path, capsys: Out) -> None:
    run(capsys, "build", folder)
    code, out, err = run(capsys, "check", folder)
    assert (code, err) == (0, "")
    for line in (
        r"doubled: in order",
        r"  type      Processor \(exports process_data, takes Arrow\)",
        r"  module    [\d,]+ bytes, sha256 [0-9a-f]{64}",
        r"  one call  at most 64 MiB and 5,000 ms",
        r"  example   as promised",
        r"  rows      1,3\d\d in \d\d frames",
        r"  speed     [\d,.]+ million rows/s \(65,536 rows in [\d.]+ ms\)",
    ):
        assert re.search(f"^{line}$", out, re.MULTILINE), line
    code, out, _ = run(capsys, "check", "--quick", folder)
    assert code == 0
    assert "example   as promised" in out
    assert "speed" not in out


def test_check_without_inputs_says_what_was_left_out(folder: Path, capsys: Out) -> None:
    run(capsys, "build", folder)
    document = json.loads((folder / "plugin.json").read_text())
    (folder / "plugin.json").write_text(json.dumps({**document, "metadata": {}}))
    code, out, _ = run(capsys, "check", folder)
    assert code == 0
    assert "example   none in metadata.example" in out
    assert "rows      not tried; say in metadata.inputs what it takes" in out


def test_check_knows_what_a_compiled_function_takes(tmp_path: Path, capsys: Out) -> None:
    quotient.save(tmp_path / "quotient")
    code, out, _ = run(capsys, "check", tmp_path / "quotient")
    assert code == 0
    assert "type      Processor (a compiled Python function)" in out
    assert re.search(r"rows      1,3\d\d in \d\d frames", out)
    assert re.search(r"\d+ refused: .*ZeroDivisionError", out)


def test_check_counts_what_a_plugin_refuses(tmp_path: Path, capsys: Out) -> None:
    needs("c")
    picky = DOUBLED.replace(
        "  df_out out", '  if (x->null_count) return df_fail(DF_E_INPUT, "no nulls here");\n  df_out out'
    )
    folder = write(tmp_path / "p", picky, metadata={"inputs": {"x": "Int64"}})
    run(capsys, "build", folder)
    code, out, _ = run(capsys, "check", folder)
    assert code == 0
    assert re.search(r"\d+ refused: plugin doubled: it does not accept this input: no nulls here", out)


GROWN = DOUBLED.replace("DF_PROCESS(batch) {", "static i64 calls;\nDF_PROCESS(batch) {\n  calls++;").replace(
    "2 *", "calls *"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "metadata", "why"),
    [
        (DOUBLED.replace("2 *", "3 *"), {}, r"the example in metadata.example gives {'y': \[3, None\]}"),
        (DOUBLED.replace('"y")', '"z")'), {}, r"the example in metadata.example gives {'z': \[2, None\]}"),
        (GROWN, {"example": None}, "it answers differently when it is asked again"),
        (
            DOUBLED.replace("2 *", "(i64)out.rows *"),
            {"example": None},
            "the answer depends on how rows are cut into batches",
        ),
        (
            DOUBLED.replace("2 *", "1000 / "),
            {"example": None},
            "extreme rows: WasmTrap: plugin doubled: divided an integer by zero",
        ),
        (
            DOUBLED.replace("  return df_return", "  out.rows++;\n  return df_return"),
            {"example": None},
            "no rows: WasmBadOutput: .* the guest returned 1 rows for 0",
        ),
        (DOUBLED, {"inputs": {"x": "Int65"}}, "metadata.inputs does not hold"),
        (DOUBLED, {"example": {"input": 3}}, "metadata.example does not hold"),
        (DOUBLED, {"inputs": {"y": "Int64"}, "example": {"input": {"y": [1]}, "output": {}}}, "it needs x"),
    ],
)
def test_check_finds_what_is_wrong(
    source: str, metadata: dict[str, Any], why: str, tmp_path: Path, capsys: Out
) -> None:
    needs("c")
    folder = write(tmp_path / "p", source)
    change(folder, metadata=metadata)
    run(capsys, "build", folder)
    code, _, err = run(capsys, "check", folder)
    assert code == 1
    assert re.search(why, err), err


def test_check_says_what_does_not_keep_the_interface(tmp_path: Path, capsys: Out) -> None:
    folder = write(tmp_path / "p", "")
    assert run(capsys, "check", folder)[0] == 1
    (folder / "doubled.wasm").write_bytes(b"\0asm\1\0\0\0")
    code, _, err = run(capsys, "check", folder)
    assert code == 1
    assert "it must export the function `process_data` (i32, i32) -> i32" in err
    change(folder, sha256="0" * 64)
    assert "its description says 0000" in run(capsys, "check", folder)[2]
    change(folder, security_policy={"max_memory": "1 byte"})
    code, _, err = run(capsys, "check", folder)
    assert code == 2
    assert "`max_memory`" in err


# list, info, languages


def test_list_and_info_tell_of_plugins(capsys: Out) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert re.search(r"^url_parts +Processor +[\d,]+ bytes  Takes URLs apart", out, re.MULTILINE)
    assert run(capsys, "list", PLUGINS) == (0, out, "")
    code, out, _ = run(capsys, "info", "url_parts")
    assert code == 0
    assert 'parts: ["host", "port", "path", "query"]' in out
    assert "signed: no" in out
    told = json.loads(run(capsys, "info", PLUGINS / "pii_redact", "--json")[1])
    assert told["imports"] == ["dataflare.host_counter"]
    assert told["takes"] == {"text": "String"}
    code, _, err = run(capsys, "info", "url_part")
    assert code == 2
    assert "Did you mean `url_parts`?" in err
    assert run(capsys, "info", "nowhere/plugin.json")[0] == 2


def test_languages_tells_compilers_or_how_to_install_them(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run(capsys, "languages")
    assert code == 0
    assert re.search(r"^wat +wasmtime \d", out, re.MULTILINE)
    monkeypatch.setenv("PATH", "")
    out = run(capsys, "languages")[1]
    assert re.search(r"^rust +not found; `rustup target add wasm32-unknown-unknown`", out, re.MULTILINE)
    assert re.search(r"^go +not found; Go 1\.24 or later", out, re.MULTILINE)
    assert re.search(r"^assemblyscript +not found; `npm install assemblyscript`", out, re.MULTILINE)


# keygen, trust, sign, verify


def test_a_plugin_is_signed_trusted_and_verified(tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("DATAFLARE_TRUST", str(tmp_path / "trust"))
    plugin = shutil.copytree(PLUGINS / "carrier_code", tmp_path / "carrier_code")
    key = tmp_path / "ann.key"
    code, out, _ = run(capsys, "keygen", key)
    assert code == 0
    assert "dataflare plugin trust ann.pub" in out
    code, _, err = run(capsys, "verify", plugin)
    assert code == 1
    assert "it is not signed" in err
    assert run(capsys, "sign", plugin, "--key", key, "--expires", "2999-12-31")[0] == 0
    assert run(capsys, "verify", plugin)[0] == 1
    assert run(capsys, "trust", tmp_path / "ann.pub", "--name", "ann") == (
        0,
        f"ann is trusted; to end that, delete {tmp_path}/trust/ann.pub\n",
        "",
    )
    assert run(capsys, "trust")[1].startswith("ann ")
    code, out, _ = run(capsys, "verify", plugin, plugin / "plugin.json")
    assert code == 0
    assert len(re.findall(r": signed by ann on 2\d{3}-\d\d-\d\d, until 2999-12-31\n", out)) == 2
    assert "with the key" in run(capsys, "info", plugin)[1]
    (plugin / "carrier_code.wasm").write_bytes(b"\0asm\1\0\0\0")
    document = json.loads((plugin / "plugin.json").read_text())
    del document["sha256"]
    (plugin / "plugin.json").write_text(json.dumps(document))
    code, _, err = run(capsys, "verify", plugin)
    assert code == 1
    assert "its module was changed after it was signed" in err


def test_a_locked_key_asks_for_its_password(tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    plugin = shutil.copytree(PLUGINS / "carrier_code", tmp_path / "carrier_code")
    given = iter(["secret", "secret", "wrong", "secret", "one", "another"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(given))
    key = tmp_path / "ann.key"
    assert run(capsys, "keygen", key, "--password")[0] == 0
    assert run(capsys, "sign", plugin, "--key", key, "--password")[0] == 2
    assert run(capsys, "sign", plugin, "--key", key, "--password")[0] == 0
    with pytest.raises(SystemExit, match="the two are not the same"):
        main(["plugin", "keygen", str(tmp_path / "bob.key"), "--password"])


# mistakes


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["check", "nowhere"], "no plugin.json in nowhere or in a folder of it"),
        (["build", "nowhere"], "no plugin.json in nowhere or in a folder of it"),
        (["list", "nowhere"], "no plugin.json in nowhere"),
        (["verify", "nowhere"], "nowhere"),
        (["sign", "nowhere", "--key", "nokey"], "nowhere"),
        (["trust", "nokey.pub"], "nokey.pub"),
        (["new", "Geo", "--lang", "c"], "'Geo' is no name for a plugin"),
        (["new", "geo", "--lang", "cobol"], "no language `cobol`; there are c, c++, zig"),
        (["new", "geo", "--lang", "gop"], "Did you mean `go`?"),
        (["new", "geo", "--lang", "c", "--type", "Sink"], "'Sink' is no type of plugin"),
        (["new", "geo", "--lang", "wat", "--type", "Source"], "cannot be begun as a Source, only as Processor"),
    ],
)
def test_mistakes_end_in_words(
    command: list[str], why: str, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *command)
    assert (code, out) == (2, "")
    assert why in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "geo").mkdir()
    code, _, err = run(capsys, "new", "geo", "--lang", "c", "--in", tmp_path)
    assert code == 2
    assert "is there already" in err
    assert not list((tmp_path / "geo").iterdir())


def test_sources_of_two_languages_or_none_are_refused(tmp_path: Path, capsys: Out) -> None:
    folder = write(tmp_path / "p", DOUBLED)
    (folder / "src" / "more.zig").write_text("")
    assert "holds sources in c, zig; keep to one language" in run(capsys, "build", folder)[2]
    for path in (folder / "src").iterdir():
        path.unlink()
    code, _, err = run(capsys, "build", folder)
    assert code == 2
    assert "holds no source of ours (.c, .cpp, .zig" in err
