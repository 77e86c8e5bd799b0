"""The command line: what it does, what it says, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import jsonschema
import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import engine, storing
from dataflare_nb.cli import main
from dataflare_nb.wasm import Kernel, Plugin

ROOT = Path(__file__).resolve().parents[1]
CARRIERS = ROOT / "plugins" / "carrier_code"
Out = pytest.CaptureFixture[str]
Within = Callable[[float], AbstractContextManager[None]]


@flare.udf
def doubled(value: float) -> float:
    return value * 2.0


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.parquet"
    pl.DataFrame({"value": [1.0, 2.0, 3.0], "carrier": ["UA", "AA", "B6"]}).write_parquet(path)
    return path


@pytest.fixture
def graph(tmp_path: Path, numbers: Path) -> Path:
    stream = flare.read_parquet(numbers).filter(pl.col("value") > 1).named("large")
    return saved(stream.write_parquet(tmp_path / "large.parquet"), tmp_path)


def saved(stream: flare.Stream, folder: Path) -> Path:
    path = folder / "graph.json"
    path.write_bytes(stream.to_json())
    return path


def put_beside(stream: flare.Stream, folder: Path) -> Path:
    """Store what the stream's graph names, as --blobs wants it."""
    folder.mkdir()
    for key, blob in stream.graph.blobs.items():
        match blob:
            case Kernel():
                (folder / f"{key}.wasm").write_bytes(blob.module)
            case Plugin():
                (folder / key).mkdir()
                (folder / key / "plugin.json").write_bytes((CARRIERS / "plugin.json").read_bytes())
                (folder / key / "carrier_code.wasm").write_bytes(blob.module)
            case pl.DataFrame():
                blob.write_parquet(folder / f"{key}.parquet")
    return folder


def test_run_runs_a_graph_document_and_shows_its_ledger(graph: Path, tmp_path: Path, capsys: Out) -> None:
    assert main(["run", str(graph), "--workers", "1", "--name", "numbers"]) == 0
    assert pl.read_parquet(tmp_path / "large.parquet")["value"].to_list() == [2.0, 3.0]
    said = capsys.readouterr().out
    assert "balanced" in said
    assert "read parquet" in said
    assert "numbers: 3 rows in" in said
    assert engine.job("numbers").status == "finished"


def test_run_shows_the_last_rows_of_outputs_without_a_sink(numbers: Path, tmp_path: Path, capsys: Out) -> None:
    document = saved(flare.read_parquet(numbers).filter(pl.col("value") > 2).named("top"), tmp_path)
    assert main(["run", str(document)]) == 0
    said = capsys.readouterr().out
    assert "The last rows of top" in said
    assert "B6" in said


def test_run_finds_functions_plugins_and_frames_beside_the_document(tmp_path: Path, capsys: Out) -> None:
    frame = pl.DataFrame({"value": [1.5], "carrier": ["UA"]})
    stream = (
        flare.from_frame(frame).with_columns(twice=doubled("value")).wasm(CARRIERS / "plugin.json", column="carrier")
    )
    blobs = put_beside(stream, tmp_path / "blobs")
    assert main(["run", str(saved(stream, tmp_path)), "--blobs", str(blobs)]) == 0
    said = capsys.readouterr().out
    assert "United Air Lines" in said
    assert "3.0" in said


def test_run_runs_the_folder_that_a_stream_was_saved_to(tmp_path: Path, capsys: Out) -> None:
    frame = pl.DataFrame({"value": [1.5], "carrier": ["UA"], "kind": pl.Series(["a"], dtype=pl.Categorical())})
    plugin = flare.wasm.bundled_plugin("carrier_code", column="who")
    stream = flare.from_frame(frame).with_columns(twice=doubled("value")).wasm(plugin, column="carrier").named("all")
    for _ in range(2):
        stream.save(tmp_path / "deep" / "all.job")
    moved = (tmp_path / "deep" / "all.job").rename(tmp_path / "elsewhere")
    assert main(["run", str(moved)]) == 0
    assert main(["graph", "show", str(moved)]) == 0
    said = capsys.readouterr().out
    assert "United Air Lines" in said
    assert "3.0" in said
    assert flare.Stream(storing.read(moved), stream.ref).collect().equals(stream.collect())


def test_what_lives_in_this_process_only_is_not_saved(tmp_path: Path) -> None:
    stream = flare.from_frame(pl.DataFrame({"value": [1.5]})).map_batches(lambda batch: batch)
    with pytest.raises(flare.errors.GraphError, match=r"save at test_cli.py, line \d+: map_batches at .* @flare.udf"):
        stream.save(tmp_path / "job")
    assert not (tmp_path / "job").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(flare.errors.GraphError, match=r"save at .*: cannot write to .*file: "):
        flare.from_frame(pl.DataFrame({"value": [1.5]})).save(tmp_path / "file")


def test_run_says_what_is_missing_and_how_to_give_it(tmp_path: Path, capsys: Out) -> None:
    stream = flare.from_frame(pl.DataFrame({"value": [1.5]})).with_columns(twice=doubled("value"))
    assert main(["run", str(saved(stream, tmp_path))]) == 2
    said = capsys.readouterr().err
    assert "doubled-" in said
    assert "--blobs" in said


def test_run_refuses_a_module_that_is_not_what_its_name_says(tmp_path: Path, capsys: Out) -> None:
    stream = flare.from_frame(pl.DataFrame({"value": [1.5]})).with_columns(twice=doubled("value"))
    blobs = put_beside(stream, tmp_path / "blobs")
    module = next(blobs.glob("*.wasm"))
    module.rename(module.with_name("doubled-000000000000.wasm"))
    assert main(["run", str(saved(stream, tmp_path)), "--blobs", str(blobs)]) == 2
    assert "is not what its name says" in capsys.readouterr().err


def test_a_failed_job_ends_with_one_line_and_exit_code_1(tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "words.csv"
    path.write_text("n\n1\nzwei\n")
    stream = flare.read_csv(path, schema={"n": pl.Int64}).write_parquet(tmp_path / "out.parquet")
    assert main(["run", str(saved(stream, tmp_path))]) == 1
    said = capsys.readouterr().err
    assert "words.csv:3" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere.json"], "nowhere.json: No such file or directory"),
        (["run", "{graph}", "--blobs", "nowhere"], "blobs: nowhere is not a folder"),
        (["run", "{graph}", "--latency", "soon"], "soon"),
        (["run", "{graph}", "--name", "no spaces"], "letters, digits"),
        (["plugin", "check", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], said: str, graph: Path, capsys: Out) -> None:
    assert main([each.format(graph=graph) for each in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_document_that_is_no_graph_is_named(tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "graph.json"
    path.write_text("{}")
    assert main(["graph", "show", str(path)]) == 2
    assert f"{path}: not a graph document" in capsys.readouterr().err


@pytest.mark.parametrize("group", [[], ["graph"], ["plugin"]])
def test_a_command_that_is_a_group_shows_its_help(group: list[str], capsys: Out) -> None:
    assert main(group) == 2
    assert "commands:" in capsys.readouterr().out


def test_a_blob_that_cannot_be_read_is_named(tmp_path: Path, capsys: Out) -> None:
    stream = flare.from_frame(pl.DataFrame({"value": [1.5]})).with_columns(twice=doubled("value"))
    blobs = put_beside(stream, tmp_path / "blobs")
    for path in blobs.iterdir():
        whole = path.read_bytes()
        path.write_bytes(b"something else")
        assert main(["run", str(saved(stream, tmp_path)), "--blobs", str(blobs)]) == 2
        assert str(path) in capsys.readouterr().err
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "arguments",
    [
        ["walk"],
        ["demo", "--rows", "0"],
        ["demo", "--rows", "9" * 30],
        ["run"],
        ["run", "x", "--workers", "two"],
        ["run", "x", "--workers", "257"],
    ],
)
def test_wrong_usage_ends_with_exit_code_2(arguments: list[str], capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: dataflare" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["run"],
        ["graph"],
        ["graph", "show"],
        ["graph", "schema"],
        ["plugin"],
        ["plugin", "check"],
        ["doctor"],
    ],
)
def test_every_command_has_help(command: list[str], capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 100


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "dataflare_nb", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == f"dataflare {flare.__version__}\n"


def test_the_version_is_that_of_the_package(capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dataflare {flare.__version__}\n"


@pytest.mark.parametrize(("form", "sign"), [("text", "-> large"), ("mermaid", "flowchart LR"), ("html", "<table")])
def test_graph_show_draws_the_document(form: str, sign: str, graph: Path, capsys: Out) -> None:
    assert main(["graph", "show", str(graph), "--as", form]) == 0
    assert sign in capsys.readouterr().out


def test_graph_schema_describes_the_documents(graph: Path, capsys: Out) -> None:
    assert main(["graph", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(graph.read_bytes()), schema)


def test_doctor_tries_out_that_everything_works(capsys: Out) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert said.count(": ok (") == 3
    assert f"polars {pl.__version__}" in said


def test_doctor_says_what_does_not_work(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    from dataflare_nb import doctor

    def broken() -> None:
        raise OSError("no such luck")

    monkeypatch.setitem(doctor._ATTEMPTS, "a plugin", broken)
    assert main(["doctor"]) == 1
    assert "a plugin: OSError: no such luck" in capsys.readouterr().out


def on_a_terminal(command: list[str]) -> str:
    """Run a command with a terminal for its output, and return what it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65_536):
            said += piece
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


@pytest.mark.slow
def test_on_a_terminal_a_bar_shows_how_far_the_job_is(tmp_path: Path) -> None:
    document = saved(flare.rate(2_000.0, rows=1_000).named("ticks"), tmp_path)
    said = on_a_terminal([sys.executable, "-m", "dataflare_nb.cli", "run", str(document), "--name", "ticking"])
    bars = [line for line in re.split(r"[\r\n]", said) if line.startswith("ticking:") and "[00:0" in line]
    assert len(bars) > 2
    assert "1.00k" in bars[-1]


def live(tmp_path: Path) -> subprocess.Popen[str]:
    document = saved(flare.rate(200.0).named("ticks").write_parquet(tmp_path / "ticks"), tmp_path)
    command = [sys.executable, "-m", "dataflare_nb.cli", "run", str(document)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_an_interrupt_ends_a_live_job_at_once_and_keeps_what_it_wrote(tmp_path: Path, within: Within) -> None:
    process = live(tmp_path)
    assert process.stdout is not None
    assert "rows" in process.stdout.readline()
    with within(1.5):
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.strip() == "Interrupted; the job is stopped."
    assert pl.read_parquet(tmp_path / "ticks").height > 100


@pytest.mark.slow
def test_a_live_job_ends_and_keeps_what_it_wrote_when_nobody_reads_on(tmp_path: Path) -> None:
    with live(tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "rows" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 141
        assert process.stderr.read() == ""
    assert pl.read_parquet(tmp_path / "ticks").height > 100


def test_what_nobody_reads_is_no_error(graph: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "dataflare_nb.cli", "graph", "show", str(graph)]
    for buffered in ("", "1"):
        environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, check=False)
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(write)


def test_deploy_writes_a_bundle_of_a_graph_document_and_says_what_runs_where(
    graph: Path, tmp_path: Path, capsys: Out
) -> None:
    (tmp_path / "target.json").write_text('{"parallelism": 8, "task_manager": {"memory": "4g"}}')
    told = ["deploy", str(graph), "--out", str(tmp_path / "x"), "--target", str(tmp_path / "target.json")]
    options = ["--parallelism", "4", "--secret", "KEY=kafka/key", "--env", "REGION=east", "--image", "r.example/x:1"]
    assert main([*told, *options]) == 0
    said = capsys.readouterr().out
    assert "kubectl apply -k ." in said
    deployment = (tmp_path / "x" / "flinkdeployment.yaml").read_text()
    assert "parallelism: 4" in deployment
    assert "4096m" in deployment
    assert "r.example/x:1" in deployment
    assert (tmp_path / "x" / "configmap.yaml").exists()
    first = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir() if path.is_file()}
    assert main([*told, *options]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir() if path.is_file()} == first


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--parallelism", "0", "--upgrade", "never"], r"parallelism.*upgrade"),
        (["--target", "none.json"], "none.json"),
        (["--python", "/usr/bin/python"], "go with --submit URL"),
        (["--stage-parallelism", "nobody=3"], "the graph has no such stage"),
        (["--secret", "KEY=literal"], "never the secret itself"),
    ],
)
def test_what_deploy_cannot_do_is_said_and_nothing_is_written(
    graph: Path, tmp_path: Path, capsys: Out, options: list[str], says: str
) -> None:
    assert main(["deploy", str(graph), "--out", str(tmp_path / "x"), *options]) == 2
    said = capsys.readouterr().err
    assert re.search(says, said, re.DOTALL), said
    assert "Traceback" not in said
    assert not (tmp_path / "x").exists()


def test_a_file_of_options_that_holds_a_list_for_an_object_is_told(graph: Path, tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "target.json").write_text('{"environment": [1]}')
    told = ["deploy", str(graph), "--out", str(tmp_path / "x"), "--target", str(tmp_path / "target.json")]
    assert main([*told, "--env", "A=b", "--slots", "0"]) == 2
    said = capsys.readouterr().err
    assert "environment: [1] is not a dict" in said
    assert "slots: 0" in said


def test_a_deploy_to_a_cluster_that_is_not_there_says_so(graph: Path, tmp_path: Path, capsys: Out) -> None:
    told = ["deploy", str(graph), "--out", str(tmp_path / "x"), "--submit"]
    assert main([*told, "http://127.0.0.1:1"]) == 2
    assert "no Flink answers at http://127.0.0.1:1: connection refused" in capsys.readouterr().err
    assert main([*told, "127.0.0.1:8081"]) == 2
    assert "'http://127.0.0.1:8081'?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
