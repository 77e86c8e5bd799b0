"""Print the figures of this machine, from one run: `python -m tests.benchmarks [--rows N] [--runs N] [--long N]`."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from statistics import median

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
from polars.testing import assert_frame_equal

from . import compiled, long, windows
from .timing import Work, interleaved


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the window benchmarks")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each, in turn; medians are shown")
    parser.add_argument("--long", type=int, default=100_000_000, help="rows of the long run, 0 to leave it out")
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, Polars {pl.__version__}, DuckDB {duckdb.__version__}, "
        f"pyarrow {pa.__version__}, msgspec {msgspec.__version__}, {len(os.sched_getaffinity(0))} cores"
    )
    print(
        f"{options.rows:,} rows in memory, medians of {options.runs} runs in turn, each the second of two, M rows/s\n"
    )
    print(f"{'':44}{'ours':>8}{'Polars':>8}{'DuckDB':>8}{'/Polars':>9}{'/DuckDB':>9}{'bar':>6}")
    for keys, bar in ((100, 0.5), (10_000, 0.6)):
        frame = windows.events(options.rows, keys)
        check(frame)
        works: list[Work] = [
            lambda f=frame: windows.ours(f),  # type: ignore[misc]
            lambda f=frame: windows.polars_batch(f),  # type: ignore[misc]
            lambda f=frame: windows.duckdb_batch(f),  # type: ignore[misc]
        ]
        seconds = interleaved(works, options.runs, large=True)
        line(f"tumbling 10 s, sum/len/max, {keys:,} keys", options.rows, seconds, bar)
    works = [lambda: windows.chain_ours(frame), lambda: windows.chain_polars(frame)]
    seconds = interleaved(works, options.runs, large=True)
    line("filter and two expressions", options.rows, seconds, 0.8)
    print()
    if options.long:
        short = median(_rate(long.in_a_process(1_000_000)) for _ in range(3))
        result = long.in_a_process(options.long)
        rate = _rate(result)
        print(
            f"{options.long:,} rows, 10,000 keys: {rate / 1e6:.1f} M rows/s, {rate / short:.2f} of the rate at 1 M "
            f"rows (bar 0.90); {result['mib']:.0f} MiB beyond the input (bar 1,024)"
        )
    print(
        f"import dataflare_nb: {import_seconds():.2f} s (bar 0.40); first result of a small stream: "
        f"{first_result() * 1e3:.0f} ms after run() (bar 500)\n"
    )
    compiled.main()


def check(frame: pl.DataFrame) -> None:
    """Make sure that the same is measured."""
    ours = windows.ours(frame).drop("window_end").sort("key", "window_start")
    for other in (windows.polars_batch(frame), windows.duckdb_batch(frame)):
        theirs = other.sort("key", "window_start").select(ours.columns)
        assert_frame_equal(ours, theirs, check_dtypes=False)


def line(what: str, rows: int, seconds: list[float], bar: float) -> None:
    rates = [f"{rows / each / 1e6:.1f}" for each in seconds] + [""] * (3 - len(seconds))
    ratios = [f"{each / seconds[0]:.2f}" for each in seconds[1:]] + [""] * (3 - len(seconds))
    print(f"{what:44}" + "".join(f"{rate:>8}" for rate in rates) + "".join(f"{r:>9}" for r in ratios) + f"{bar:>6.2f}")


def import_seconds() -> float:
    """Return how long a fresh process takes to import the package, less an empty one; byte code is kept, as it is
    for everybody who does not forbid it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def taken(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - start

    taken("import dataflare_nb")
    return median(taken("import dataflare_nb") for _ in range(5)) - median(taken("pass") for _ in range(5))


def first_result() -> float:
    """Return the seconds from `run()` to the first row, in a process that has run a stream before."""
    import dataflare_nb as flare

    frame = windows.events(1_000, 10)
    stream = flare.from_frame(frame).filter(pl.col("value") > 10)
    stream.collect()
    start = time.perf_counter()
    job = stream.run()
    while not job.result().height:
        time.sleep(0.0005)
    taken = time.perf_counter() - start
    job.wait()
    return taken


def _rate(result: object) -> float:
    assert isinstance(result, dict)
    return float(result["rows"] / result["seconds"])


if __name__ == "__main__":
    main()
