"""Two jobs never write to one place by accident, and a job that is cut off by Python's end is told."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import SinkError, StageFailed


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    flare.stop_all()


def parity(odd: int, path: Path, mode: str = "error") -> flare.Stream:
    """A live stream of the even or the odd numbers into a place."""
    return flare.rate(1_000).filter(pl.col("value") % 2 == odd).write_parquet(path, mode=mode)  # type: ignore[arg-type]


def test_an_edited_cell_takes_the_place_of_its_older_self(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = parity(0, tmp_path / "out").run()
    with caplog.at_level(logging.WARNING, "dataflare_nb"):
        after = parity(1, tmp_path / "out", "overwrite").run(commit_every="50ms")
    assert before.status == "stopped"
    assert f"job {before.name} is stopped: job {after.name} writes to" in caplog.text
    after.drain()
    assert (pl.read_parquet(tmp_path / "out")["value"] % 2 == 1).all()


def test_a_job_with_a_name_makes_no_way_and_is_not_made_way_for(tmp_path: Path) -> None:
    first = parity(0, tmp_path / "out").run(name="first")
    for name in (None, "second"):
        with pytest.raises(SinkError, match=r"out is being written by the running job first; .*flare.job\('first'\)"):
            parity(1, tmp_path / ".." / tmp_path.name / "out", "append").run(name=name)
    assert first.status == "running"
    first.stop()
    assert parity(1, tmp_path / "out", "append").run(name="second").drain().status == "finished"


def test_two_jobs_that_append_share_a_folder(tmp_path: Path) -> None:
    jobs = [parity(odd, tmp_path / "out", "append").run() for odd in (0, 1)]
    assert [job.status for job in jobs] == ["running", "running"]
    rows = sum(job.drain().ledger()[-1, "in"] for job in jobs)
    assert pl.read_parquet(tmp_path / "out").height == rows


def test_a_sink_without_a_name_is_called_by_what_it_writes(tmp_path: Path) -> None:
    named = flare.rate(1_000).event_time("timestamp").window(flare.tumbling("1s")).agg(n=pl.len()).named("counts")
    assert named.write_parquet(tmp_path / "a").run().name == "write_counts"
    other = named.write_csv(tmp_path / "other", mode="append").run()
    assert other.name == "write_counts_2"
    assert [flare.job(name).status for name in ("write_counts", "write_counts_2")] == ["running", "running"]
    again = named.write_csv(tmp_path / "other", mode="append").run()
    assert (again.name, other.status) == ("write_counts_2", "stopped")
    assert named.late.write_parquet(tmp_path / "b").run().name == "write_counts_late"
    assert named.write_parquet(tmp_path / "c").named("mine").run().name == "mine"
    long = [named.select("n", stage=pl.lit(end)).named("n" * 60 + end).write_parquet(tmp_path / end) for end in "yz"]
    assert len({stream.run().name for stream in long}) == 2
    assert named.write_parquet("res").deploy(flare.Flink(), out=tmp_path / "x").bundle.name == "write-counts"


def test_what_the_end_of_python_cuts_off_is_told(tmp_path: Path) -> None:
    program = f"""
        import polars as pl, dataflare_nb as flare, time
        def slowly(frame):
            time.sleep(0.5)
            return frame
        rows = flare.from_frame(pl.DataFrame({{"a": range(1_000)}})).map_batches(slowly)
        rows.write_parquet({str(tmp_path / "out")!r}).run(latency="1ms")
        print("end")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout == "end\n"
    assert "is stopped half-way, since Python ends, and leaves nothing in" in done.stderr
    assert "job.wait()" in done.stderr


def test_a_failure_names_what_the_stage_does_and_the_line_that_made_it() -> None:
    stream = flare.from_frame(pl.DataFrame({"day": ["today"]})).with_columns(at=pl.col("day").str.to_date("%Y-%m-%d"))
    line = "test_targets.py, line " + str(stream.graph.nodes[stream.ref.split(".")[0]].where.rpartition(" ")[2])
    with pytest.raises(StageFailed) as caught:
        stream.filter(pl.col("at").is_not_null()).collect()
    assert caught.value.where.startswith("`with at = day.str.")
    assert f"made at {line} and test_targets.py, line" in str(caught.value)
