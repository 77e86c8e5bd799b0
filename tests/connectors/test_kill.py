"""A sink that is killed, again and again, while it writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.connectors import make_source

from .helpers import hidden, read

ROWS = 50
WRITER = """
import json, os, sys
import polars as pl
from dataflare_nb.connectors import make_sink
from tests.connectors.helpers import Lent
kind, path, manifest, epochs, rows = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
schema = pl.Schema({"epoch": pl.Int64(), "row": pl.Int64()})
restored = os.path.exists(manifest)
writer = make_sink(kind, {"path": path}).open(Lent(restored=restored), schema)
epoch = 0
if restored:
    epoch, prepared = json.load(open(manifest))
    writer.commit(epoch, prepared)
print("ready", flush=True)
while epoch < epochs:
    epoch += 1
    for half in (0, 1):
        row = pl.int_range(half * rows // 2, (half + 1) * rows // 2)
        writer.write(pl.select(epoch=pl.lit(epoch, pl.Int64).repeat_by(rows // 2).explode(), row=row))
    prepared = writer.prepare(epoch)
    with open(manifest + ".new", "w") as file:
        json.dump([epoch, prepared], file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(manifest + ".new", manifest)
    writer.commit(epoch, prepared)
writer.close()
print("done", flush=True)
"""


@pytest.mark.parametrize(("kind", "target", "kills"), [("parquet", "out", 10), ("ndjson", "out/one.ndjson", 3)])
def test_every_committed_row_is_there_once_however_often_the_writer_is_killed(
    tmp_path: Path, kind: str, target: str, kills: int
) -> None:
    chance = random.Random(7)
    path, manifest = tmp_path / target, tmp_path / "manifest"
    killed = 0
    seen: list[int] = []
    while True:
        # Without a last epoch while it is to be killed, and a few more epochs at the end.
        epochs = 10**9 if killed < kills else len(seen) + 5
        command = [sys.executable, "-c", WRITER, kind, str(path), str(manifest), str(epochs), str(ROWS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        if killed < kills:
            if killed % 2:
                # Every other time not before something more has been committed, however slow the machine is.
                wait_for_more(path, size(path))
            time.sleep(chance.uniform(0, 0.06))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            process.communicate()
        else:
            out, problems = process.communicate(timeout=60)
            assert out == "done\n", problems
        rows = visible(kind, path)
        assert rows.is_unique().all()
        assert rows.group_by("epoch").len()["len"].unique().to_list() in ([], [ROWS])
        seen = rows["epoch"].unique().sort().to_list()
        assert seen == list(range(1, len(seen) + 1))
        if process.returncode == 0:
            break
    assert killed == kills
    assert len(seen) == epochs
    assert epochs > 5
    assert hidden(tmp_path / "out") == []


def size(path: Path) -> int:
    """Return how much is there: files of a folder, or bytes of a file."""
    return len(list(path.glob("part-*"))) if path.is_dir() else path.stat().st_size if path.exists() else 0


def wait_for_more(path: Path, before: int) -> None:
    deadline = time.monotonic() + 30
    while size(path) <= before:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def visible(kind: str, path: Path) -> pl.DataFrame:
    schema = {"epoch": pl.Int64, "row": pl.Int64}
    if (path.is_dir() and not any(path.glob("part-*"))) or not path.exists():
        return pl.DataFrame(schema=schema)
    return read(make_source(kind, {"path": path, "splits": "sequence"}))
