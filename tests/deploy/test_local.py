"""What a cluster of this machine needs is looked for first, and what is missing is told with a way out."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

import dataflare_nb as flare
from dataflare_nb.deploy import versions
from dataflare_nb.deploy.local.environment import environment, java_home, ready, require_room
from dataflare_nb.errors import BadOption, DataflareError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_without_java_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(DataflareError, match="needs Java 17 or newer, and there is no `java`; install one"):
        flare.Flink.local()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(DataflareError, match="set JAVA_HOME"):
        java_home()


def test_an_old_java_is_refused_by_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(DataflareError, match=r"Java 17 or newer; .*java is Java 11"):
        java_home()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-15' >&2\n")
    assert java_home() == tmp_path


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Java that only says its version."""
    (tmp_path / "jdk" / "bin").mkdir(parents=True)
    java = tmp_path / "jdk" / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))


@pytest.mark.usefixtures("java")
@pytest.mark.skipif(PYTHON not in versions.PYTHONS, reason=f"there is no apache-flink for Python {PYTHON}")
def test_a_folder_with_something_else_is_not_emptied_for_an_environment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("x")
    with pytest.raises(BadOption, match="holds something else than an environment"):
        flare.Flink.local(environment=home)
    (tmp_path / "file").touch()
    with pytest.raises(BadOption, match="is a file"):
        environment(tmp_path / "file")
    assert [path.name for path in home.iterdir()] == ["thesis.tex"]
    assert not ready(home)


def test_too_little_room_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataflareError, match=r"needs 1\d+\.\d GB in .*, which has .* GB left"):
        require_room(tmp_path, 1 << 60)
    require_room(tmp_path, 1)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(BadOption, match=r"Flink\.local at test_local\.py, line \d+.*cannot be had"):
            flare.Flink.local(port=held.getsockname()[1])


@pytest.mark.parametrize("options", [{"task_managers": 0}, {"slots": 65}, {"task_managers": True}, {"port": 0}])
def test_numbers_that_no_cluster_has_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(BadOption, match=rf"Flink\.local at test_local\.py, line \d+: {name}: "):
        flare.Flink.local(**options)  # type: ignore[arg-type]


def test_all_that_is_wrong_with_a_cluster_is_told_at_once() -> None:
    with pytest.raises(BadOption) as caught:
        flare.Flink.local(task_managers=0, slots="2", environment={"A": "b"}, taskmanager={"cpu": 2}, restart="no")  # type: ignore[arg-type]
    told = str(caught.value)
    assert "Did you mean `task_manager`?" in told
    for option in ("task_managers: 0", "slots: '2'", "environment: {'A': 'b'} is not a folder", "restart: "):
        assert option in told
