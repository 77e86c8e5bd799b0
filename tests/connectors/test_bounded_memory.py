"""Files larger than the memory they are read with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

READ = """
import sys
import polars as pl, pyarrow.parquet
from dataflare_nb.connectors import make_source
from dataflare_nb.types import EndOfStream

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

kind, path, small = sys.argv[1:]
def read(path):
    source, rows = make_source(kind, {"path": path}), 0
    reader = source.open(source.splits()[0])
    try:
        while True:
            rows += reader.poll(65_536).height
    except EndOfStream:
        reader.close()
        return rows
read(small)
before = peak()
print(read(path), peak() - before)
"""


def text(start: int, rows: int) -> pl.DataFrame:
    i = pl.int_range(start, start + rows)
    noise = (i * 2654435761) % 4294967291
    return pl.select(i=i, x=noise / 7, s=pl.concat_str(pl.lit("user-"), noise, pl.lit("-"), noise.reverse()))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure memory")
@pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson"])
def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    path, small = tmp_path / f"big.{kind}", tmp_path / f"small.{kind}"
    step, steps = 500_000, 10
    if kind == "parquet":
        # A single row group of 5 million rows, as some writers make them.
        frame = pl.concat([text(n * step, step) for n in range(steps)])
        frame.write_parquet(path, row_group_size=step * steps, compression="uncompressed")
        assert pq.ParquetFile(path).metadata.num_row_groups == 1
        frame.head(200_000).write_parquet(small)
    else:
        with path.open("wb") as file:
            for n in range(steps):
                frame = text(n * step, step)
                if kind == "csv":
                    frame.write_csv(file, include_header=n == 0)
                else:
                    frame.write_ndjson(file)
        frame = frame.head(200_000)
        frame.write_csv(small) if kind == "csv" else frame.write_ndjson(small)
    megabytes = path.stat().st_size / (1 << 20)
    del frame
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, str(path), str(small)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows, grown = done.stdout.split()
    assert int(rows) == step * steps
    assert megabytes > 180
    print(f"{kind}: {megabytes:.0f} MB, {grown} MB more")
    assert float(grown) < 80, f"{megabytes:.0f} MB read with {grown} MB more than a small file"
