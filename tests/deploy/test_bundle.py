"""What `.deploy()` writes: the same bytes for the same stream, nothing of this machine, all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.deploy import Bundle, Deployer, blobs
from dataflare_nb.deploy.worker.loading import load
from dataflare_nb.errors import DataflareError, GraphError, SinkError, WrongType
from dataflare_nb.graph import Graph

from . import graphs

TARGET = flare.Flink(
    image="registry.example/flights:1",
    parallelism=4,
    environment={"REGION": "east"},
    secrets={"KAFKA_PASSWORD": "kafka/password"},
)
ROOT = Path(__file__).parents[2]


def rendered() -> Bundle:
    return Deployer(TARGET).render(graphs.hourly().graph)


def test_a_bundle_has_all_that_a_cluster_needs(tmp_path: Path) -> None:
    made = graphs.hourly().deploy(TARGET, out=tmp_path / "hourly")
    on_disk = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert on_disk == set(made.files)
    assert on_disk - {path for path in on_disk if path.startswith("blobs/")} == {
        *("graph.json", "job.json", "job.py", "dataflare.lock", "requirements.txt", "Dockerfile", "README.md"),
        *("flinkdeployment.yaml", "kustomization.yaml", "configmap.yaml", "serviceaccount.yaml", "rbac.yaml"),
        *("networkpolicy.yaml", "poddisruptionbudget.yaml", "podmonitor.yaml"),
    }
    suffixes = sorted(path.rpartition(".")[2] for path in on_disk if path.startswith("blobs/"))
    assert suffixes == ["arrow", "function", "json", "wasm", "wasm"]


@pytest.mark.slow
def test_another_process_gives_the_same_bytes() -> None:
    program = "from tests.deploy.test_bundle import rendered; print(rendered().sha256)"
    sums = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert sums == {rendered().sha256}


def test_another_graph_or_target_gives_other_bytes() -> None:
    other_graph = Deployer(TARGET).render(graphs.hourly().select("flights").graph)
    other_target = Deployer(flare.Flink(parallelism=5)).render(graphs.hourly().graph)
    assert len({rendered().sha256, other_graph.sha256, other_target.sha256}) == 3


def test_no_file_knows_a_path_of_this_machine() -> None:
    own = {str(ROOT), str(Path.home()), sys.prefix, str(Path(pl.__file__).parent)} - {"/"}
    for path, content in rendered().files.items():
        assert not [place for place in own if place.encode() in content], path
        assert b"graphs.py" not in content or path == "graph.json", path


def test_the_graph_and_its_blobs_come_back(tmp_path: Path) -> None:
    stream = graphs.hourly()
    folder = stream.deploy(TARGET, out=tmp_path / "x").folder
    lock = json.loads((folder / "dataflare.lock").read_bytes())
    index = {key: blobs.Entry(**entry) for key, entry in lock["blobs"].items()}
    back = Graph.from_json((folder / "graph.json").read_bytes(), blobs.read(index, folder))
    assert back == stream.graph
    assert flare.Stream(back, "hourly").collect().equals(stream.collect())


def test_a_blob_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = graphs.hourly().deploy(TARGET, out=tmp_path / "x").folder
    lock = json.loads((folder / "dataflare.lock").read_bytes())
    index = {key: blobs.Entry(**entry) for key, entry in lock["blobs"].items()}
    for path in folder.glob("blobs/*.wasm"):
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataflareError, match="it has been changed"):
        blobs.read(index, folder)


def test_the_lock_has_the_sum_of_each_file(tmp_path: Path) -> None:
    folder = graphs.hourly().deploy(TARGET, out=tmp_path / "x").folder
    lock = json.loads((folder / "dataflare.lock").read_bytes())
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert lock["files"] == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != "dataflare.lock"
    }
    assert lock["packages"]["polars"] == pl.__version__
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert pins == [f"{name}=={version}" for name, version in sorted(lock["packages"].items())]


def test_the_image_has_exact_pins_and_no_root() -> None:
    dockerfile = rendered().files["Dockerfile"].decode()
    python = ".".join(map(str, sys.version_info[:3]))
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert bases == ["flink:2.3.0-java17", f"python:{python}-slim", f"python:{python}-slim"]
    assert dockerfile.rindex("\nUSER 9999:9999") > dockerfile.rindex("\nRUN")


def test_the_readme_has_five_commands(tmp_path: Path) -> None:
    made = graphs.hourly().deploy(TARGET, out=tmp_path / "x")
    commands = [line for line in (made.folder / "README.md").read_text().splitlines() if line.startswith("    ")]
    assert len(commands) == 5
    assert "kafka/password" in (made.folder / "README.md").read_text()


def test_a_new_bundle_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    out = tmp_path / "x"
    graphs.hourly().deploy(TARGET, out=out)
    graphs.hourly().filter(pl.col("flights") > 1).deploy(flare.Flink(), out=out)
    assert not (out / "configmap.yaml").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_runs_from_a_bundle_stays_when_another_takes_its_place(tmp_path: Path) -> None:
    out = tmp_path / "x"
    graphs.hourly().deploy(TARGET, out=out)
    (out / ".run-1" / "results").mkdir(parents=True)
    (out / ".run-1" / "results" / "part").write_text("x")
    graphs.hourly().deploy(flare.Flink(), out=out)
    assert (out / ".run-1" / "results" / "part").read_text() == "x"
    assert not (out / "configmap.yaml").exists()


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    made = graphs.hourly().deploy(TARGET, out=tmp_path / "link")
    assert made.folder == tmp_path / "link"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "dataflare.lock").is_file()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/x"])
def test_a_folder_that_cannot_be_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"^deploy at test_bundle\.py, line \d+: the bundle cannot be written to"):
        graphs.hourly().deploy(TARGET, out=f"{tmp_path}/{name}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_folder_that_a_process_works_in_is_not_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = graphs.hourly()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SinkError, match="is where this process works"):
        stream.deploy(TARGET, out=".")
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


@pytest.mark.parametrize("name", ["graph.json", "job.json"])
def test_a_worker_refuses_a_bundle_that_was_changed(name: str, tmp_path: Path) -> None:
    folder = graphs.hourly().deploy(TARGET, out=tmp_path / "x").folder
    load(folder)
    load.cache_clear()
    (folder / name).write_bytes((folder / name).read_bytes().replace(b'"hourly"', b'"daily"'))
    with pytest.raises(DataflareError, match=rf"{name} of the bundle is not what dataflare\.lock says"):
        load(folder)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(SinkError, match=r"holds thesis\.tex and no bundle"):
        graphs.hourly().deploy(TARGET, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(SinkError, match="is a file"):
        graphs.hourly().deploy(TARGET, out=tmp_path / "thesis.tex")


def test_what_is_no_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongType, match=r"flare\.Flink\(\.\.\.\) makes one"):
        graphs.hourly().deploy({"parallelism": 3}, out=tmp_path / "x")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"add \.agg"):
        flare.from_frame(graphs.FLIGHTS).window(flare.global_window()).deploy(TARGET, out=tmp_path / "x")


def test_a_deployment_shows_its_files_its_graph_and_what_is_next(tmp_path: Path) -> None:
    made = graphs.hourly().deploy(TARGET, out=tmp_path / "x")
    assert made.parallelism["hourly"] == 4
    for shown in (repr(made), made._repr_html_()):
        assert "kubectl apply -k ." in shown
        assert "wasm carrier_code(origin)" in shown
        assert "hourly" in shown
    assert "flinkdeployment.yaml" in made._repr_html_()


def test_the_names_of_jobs_are_those_of_stages() -> None:
    frame = flare.from_frame(pl.DataFrame({"a": [1]}))
    for stage, name in (("Hourly_x", "hourly-x"), ("_1", "job-1"), ("a" * 64, "a" * 45)):
        assert Deployer(flare.Flink()).render(frame.named(stage).graph).name == name
    assert Deployer(flare.Flink(name="mine")).render(frame.graph).name == "mine"


def test_a_bundle_for_a_thousand_machines_is_quickly_made(within) -> None:  # type: ignore[no-untyped-def]
    stream = graphs.hourly()
    with within(2.0):
        bundle = Deployer(flare.Flink(parallelism=4096, slots=4)).render(stream.graph)
    assert json.loads(bundle.files["job.json"])["key_groups"] == 16_384


def test_making_a_bundle_does_not_take_long_to_import() -> None:
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import dataflare_nb.deploy, sys; assert 'yaml' not in sys.modules"], check=True
    )
    assert time.monotonic() - started < 60
