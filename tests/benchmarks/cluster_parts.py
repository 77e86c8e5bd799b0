"""Where the processor's time goes in a job of `cluster.py`: its pipelines, run in this process without Flink between.

`python -m tests.benchmarks.cluster_parts [--rows N]` prints seconds of one core per million rows, which hold on a busy
machine too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time

# Threads of Polars would be counted while they wait for one another.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import dataflare_nb as flare
from dataflare_nb.deploy.worker.loading import load
from dataflare_nb.deploy.worker.pipeline import Pipeline

from .cluster import stream, written

_RECORDS_OF_A_BUNDLE = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cluster_parts", description=__doc__)
    parser.add_argument("--rows", type=int, default=16_000_000)
    options = parser.parse_args()
    spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def counted(what: str) -> Iterator[None]:
        before = process_time()
        yield
        spent[what] += process_time() - before

    with tempfile.TemporaryDirectory() as made:
        paths = written(Path(made), options.rows)
        with counted("the local engine, all of it"):
            stream(paths).collect(workers=1, progress=False)
        target = flare.Flink(parallelism=2, max_parallelism=32)
        loaded = load(stream(paths).deploy(target, out=Path(made) / "bundle").folder)
        head = Pipeline(loaded, 0)
        windows = {share: Pipeline(loaded, 1, share) for share in range(loaded.job.partitions)}
        size = records = steps = 0
        while not head.ended:
            with counted("read, call, combine, cut, encode (one task)"):
                sent = [each for each in head.step(0.05) if each.vertex is not None]
            for each in sent:
                size, records = size + len(each.content), records + 1
                with counted("decode, merge, fire (two tasks)"):
                    list(windows[each.share].feed(each.content))
            steps += 1
            if steps % _RECORDS_OF_A_BUNDLE == 0:
                with counted("state for Flink, once a bundle (all tasks)"):
                    for pipeline in (head, *windows.values()):
                        pipeline.snapshot()
        for pipeline in (head, *windows.values()):
            pipeline.close()
    million = options.rows / 1e6
    for what, seconds in spent.items():
        print(f"{what:46}{seconds / million * 1e3:>8.1f} ms per million rows")
    print(f"{'shuffled':46}{size / options.rows:>8.2f} bytes a row, in {records:,} records")


if __name__ == "__main__":
    main()
