"""Live input on a real Flink cluster: read on as it comes, handed to its sinks as checkpoints complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from cluster.task_manager import kill, told
from deploy.test_pipeline import MEAN, events, same

import dataflare_nb as flare
from dataflare_nb.deploy.local import ClusterJob, LocalCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def until(holds: Callable[[], bool], cluster: LocalCluster, job: ClusterJob) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert job.running, job.wait()
        assert time.monotonic() < deadline, f"{job}\n{told(cluster)}"
        time.sleep(0.2)


def test_files_that_come_are_read_and_windows_written_though_a_task_manager_is_killed(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    rows = events(rows=1_200)
    last = rows.with_columns(at=pl.lit(10_000, pl.Int64)).head(1)
    came, out = tmp_path / "in", tmp_path / "out"
    came.mkdir()

    def comes(number: int, frame: pl.DataFrame) -> None:
        frame.write_parquet(tmp_path / "beside")
        (tmp_path / "beside").rename(came / f"{number}.parquet")

    comes(0, rows.head(400))
    counted = (
        flare.read_parquet(came, watch=True)
        .event_time("at", "200s", unit="s")
        .key_by("key")
        .window(flare.tumbling("1m"))
        .agg(**MEAN)
    )
    made = counted.write_parquet(out).deploy(cluster, out=tmp_path / "x", submit=True)
    job = made.jobs[-1]

    def windows() -> pl.DataFrame:
        return pl.read_parquet(out / "*.parquet") if list(out.glob("*.parquet")) else pl.DataFrame()

    until(lambda: windows().height > 0, cluster, job)
    before = windows().height
    kill(cluster)
    comes(1, rows.slice(400, 400))
    until(lambda: windows().height > before, cluster, job)
    comes(2, rows.slice(800))
    comes(3, last)
    whole = flare.from_frame(pl.concat([rows, last])).event_time("at", "10000s", unit="s")
    wanted = (
        whole.key_by("key")
        .window(flare.tumbling("1m"))
        .agg(**MEAN)
        .collect()
        .filter(pl.col("window_end") <= pl.lit(9_800_000_000).cast(pl.Datetime("us")))
    )
    until(lambda: windows().height >= wanted.height, cluster, job)
    same(windows(), wanted)
    job.stop()
    same(windows(), wanted)
