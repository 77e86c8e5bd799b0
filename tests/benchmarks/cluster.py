"""Measure a job on a real Flink cluster of two slots: `python -m tests.benchmarks.cluster [--rows N] [--runs N]`.

A compiled function and a tumbling window, over Parquet files: on the cluster, in this process, and written row by row
in PyFlink, in turn. Seconds on the cluster are those from when its last task runs to the job's end.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

import dataflare_nb as flare
from dataflare_nb import Stream
from dataflare_nb.deploy import versions
from dataflare_nb.deploy.local import LocalCluster

KEYS, PER_SECOND = 10_000, 2_000
ROWS_OF_A_FILE = 4_000_000
BARS = (("M rows/s", 1.5), ("of the local engine", 0.4), ("times PyFlink row by row", 5.0))


@flare.udf
def gained(dep: float, arr: float) -> float:
    return max(dep - arr, 0.0)


def events(rows: int) -> pl.DataFrame:
    """Rows a little out of order, with a key and two numbers."""
    random = np.random.default_rng(1)
    at = np.arange(rows) // PER_SECOND + 10 - random.integers(0, 5, rows)
    dep, arr = random.random(rows) * 60, random.random(rows) * 60
    return pl.DataFrame({"at": at, "key": random.integers(0, KEYS, rows), "dep": dep, "arr": arr})


def written(folder: Path, rows: int) -> list[str]:
    """Write the input as files of the same content, which cost the disk one."""
    frame = events(min(rows, ROWS_OF_A_FILE))
    first = folder / "in-0.parquet"
    frame.write_parquet(first, row_group_size=262_144)
    paths = [folder / f"in-{number}.parquet" for number in range(-(-rows // frame.height))]
    for path in paths[1:]:
        os.link(first, path)
    return [str(path) for path in paths]


def stream(paths: list[str]) -> Stream:
    return (
        flare.read_parquet(paths)
        .event_time("at", "10s", unit="s")
        .with_columns(gained=gained("dep", "arr"))
        .key_by("key")
        .window(flare.tumbling("5m"))
        .agg(n=pl.len(), gained=pl.col("gained").sum())
    )


def seconds_of(cluster: LocalCluster, job: str) -> tuple[float, dict[str, float]]:
    """Return the seconds in which all tasks of a job have run, and the share in which each of them was busy."""
    told: Any = cluster.get(f"/jobs/{job}")
    starts, busy = [], {}
    for vertex in told["vertices"]:
        tasks = cluster.get(f"/jobs/{job}/vertices/{vertex['id']}/subtasktimes")["subtasks"]
        starts += [task["timestamps"]["RUNNING"] for task in tasks]
        busy[vertex["name"].partition(" ->")[0]] = float(vertex["metrics"]["accumulated-busy-time"])
    took = (told["timestamps"]["FINISHED"] - max(starts)) / 1e3
    return took, {name: time / 1e3 / took for name, time in busy.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cluster", description=__doc__)
    parser.add_argument("--rows", type=int, default=256_000_000, help="rows of ours, on the cluster and here")
    parser.add_argument("--plain-rows", type=int, default=50_000, help="rows of the job written row by row")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, in turn; medians are shown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, flare.Flink.local(task_managers=2) as cluster:
        folder = Path(made)
        paths = written(folder, options.rows)
        rows = pl.scan_parquet(paths).select(pl.len()).collect().item()
        seconds, busy = measured(cluster, folder, paths, rows, options)
    report(seconds, busy, rows, options)


def measured(
    cluster: LocalCluster, folder: Path, paths: list[str], rows: int, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run all three in turn, and make sure that they give the same."""
    (folder / "plain").mkdir()
    plain = events(options.plain_rows)
    plain.write_parquet(folder / "plain" / "in.parquet", row_group_size=16_384)
    deployed = stream(paths).deploy(cluster, out=folder / "bundle")
    seconds: dict[str, list[float]] = {"cluster": [], "local": [], "plain": []}
    busy: dict[str, float] = {}
    for number in range(options.runs):
        job = deployed.submit()
        found = job.wait(900).result()
        assert job.id is not None
        took, busy = seconds_of(cluster, job.id)
        seconds["cluster"].append(took)
        print(f"run {number + 1}: cluster {took:.1f} s", end="", flush=True)
        took, wanted = timed(lambda: stream(paths).collect(workers=2, progress=False))
        seconds["local"].append(took)
        print(f", local {took:.1f} s", end="", flush=True)
        seconds["plain"].append(row_by_row(cluster, folder / "plain", number))
        order = ["window_start", "key"]
        assert_frame_equal(found.sort(order), wanted.sort(order), rel_tol=1e-9)
        print(f", row by row {seconds['plain'][-1]:.1f} s", flush=True)
    parts = sorted((folder / "plain").glob("out-0/*/part*"))
    columns = ["key", "window_start", "n", "gained"]
    counted = pl.concat(pl.read_csv(each, has_header=False, new_columns=columns) for each in parts)
    assert counted["n"].sum() == plain.height
    return seconds, busy


def timed(work: Callable[[], pl.DataFrame]) -> tuple[float, pl.DataFrame]:
    started = monotonic()
    result = work()
    return monotonic() - started, result


def row_by_row(cluster: LocalCluster, folder: Path, number: int) -> float:
    """Run the job of `pyflink_rows.py`, and return its seconds."""
    before = {each["id"] for each in cluster.get("/jobs")["jobs"]}
    env = cluster.environment
    script = shutil.copy(Path(__file__).with_name("pyflink_rows.py"), folder)
    client = cluster.run_client(
        [
            *(str(env.flink_home / "bin" / "flink"), "run"),
            *("-pyexec", str(env.python), "-pyclientexec", str(env.python), "-py", str(script)),
            *(str(folder / "in.parquet"), f"file://{folder}/out-{number}", str(cluster.target.parallelism)),
        ],
        folder / f"client-{number}.out",
        cluster.target.parallelism,
    )
    if client.wait(900):
        raise SystemExit((folder / f"client-{number}.out").read_text())
    (job,) = {each["id"] for each in cluster.get("/jobs")["jobs"]} - before
    return seconds_of(cluster, job)[0]


def report(seconds: dict[str, list[float]], busy: dict[str, float], rows: int, options: argparse.Namespace) -> None:
    rates = {name: (options.plain_rows if name == "plain" else rows) / median(each) for name, each in seconds.items()}
    print(
        f"\nPython {platform.python_version()}, Polars {pl.__version__}, apache-flink {versions.FLINK}, "
        f"{len(os.sched_getaffinity(0))} cores; {rows:,} rows, {KEYS:,} keys, medians of {options.runs} runs in turn\n"
    )
    for name, told in (
        ("cluster", "on the cluster, two slots"),
        ("local", "in this process, two workers"),
        ("plain", f"row by row in PyFlink ({options.plain_rows:,} rows)"),
    ):
        print(f"{told:44}{rates[name] / 1e6:>8.3f} M rows/s")
    figures = (rates["cluster"] / 1e6, rates["cluster"] / rates["local"], rates["cluster"] / rates["plain"])
    print()
    for (what, bar), figure in zip(BARS, figures, strict=True):
        print(f"{what:44}{figure:>8.2f}    bar {bar}")
    print("\nbusy, of the seconds of a run: " + ", ".join(f"{name} {share:.0%}" for name, share in busy.items()))


if __name__ == "__main__":
    main()
