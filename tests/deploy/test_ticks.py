"""Enough ticks are made for what sources have, so that checkpoints are taken while they are read."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import Stream
from dataflare_nb.deploy.worker.loading import load
from dataflare_nb.deploy.worker.pipeline import Pipeline
from dataflare_nb.deploy.worker.ticks import ENDLESS, ticks

ROWS = pl.DataFrame({"at": range(300_000), "text": ["some words that are packed well"] * 300_000})


def counted(stream: Stream, folder: Path) -> tuple[int, int]:
    """Return the ticks that are made, and the polls that are needed."""
    loaded = load(stream.deploy(flare.Flink(), out=folder).folder)
    head = Pipeline(loaded, 0)
    needed = 0
    while not head.ended:
        for _ in head.step():
            pass
        needed += 1
    head.close()
    return ticks(loaded, loaded.job.vertices[0].stages), needed


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for part in range(3):
        ROWS.write_csv(folder / f"in-{part}.csv")
    with gzip.open(folder / "in.ndjson.gz", "wb", 1) as out:
        out.write(b"".join([ROWS.write_ndjson().encode()] * 10))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in-*.csv", "in-0.csv", "in.ndjson.gz", "."])
def test_files_get_ticks_by_what_is_in_them(name: str, files: Path, tmp_path: Path) -> None:
    read = flare.read_ndjson if name.endswith("gz") else flare.read_csv
    made, needed = counted(read(str(files / name)), tmp_path / "x")
    assert needed <= made - 64 < 60 * needed + 64


def test_live_input_gets_ticks_without_end(files: Path, tmp_path: Path) -> None:
    live = flare.read_csv(files, watch=True).deploy(flare.Flink(), out=tmp_path / "x")
    loaded = load(live.folder)
    assert ticks(loaded, loaded.job.vertices[0].stages) == ENDLESS
