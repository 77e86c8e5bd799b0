"""A disk that is full: the error says so, nothing half is seen, nothing committed is lost, the next run succeeds."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from .full_disk import STORIES

OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private"]


@cache
def may_mount() -> bool:
    """Say whether a file system of our own can be had."""
    command = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        return False


def told(how: str, folder: Path, story: str) -> str:
    command = [sys.executable, "-m", "tests.connectors.full_disk", how, str(folder), story]
    done = subprocess.run(
        OWN_MOUNTS + command if how == "mount" else command,
        capture_output=True,
        text=True,
        timeout=110,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.stdout == "done\n", done.stdout + done.stderr
    return done.stderr


@pytest.mark.parametrize("story", [story for story in STORIES if story != "no_links"])
def test_a_full_disk(tmp_path: Path, story: str) -> None:
    problems = told("mount" if may_mount() else "limit", tmp_path, story)
    assert "Exception ignored" not in problems
    assert "Traceback" not in problems


def test_a_file_that_may_not_grow_further(tmp_path: Path) -> None:
    # The same by a limit on the size of a file, which is what the other tests fall back to.
    assert "Exception ignored" not in told("limit", tmp_path, "folder")


def test_a_disk_with_no_room_for_another_name(tmp_path: Path) -> None:
    if may_mount():
        told("mount", tmp_path, "no_links")
    else:
        # A limit on the size of files does not limit their number; the rest of the story holds on any disk.
        with pytest.raises(AssertionError, match="room for any number of files"):
            told("limit", tmp_path, "no_links")
