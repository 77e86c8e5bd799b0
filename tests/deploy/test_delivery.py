"""Rows that Flink has committed get to the sinks once, and only those of a run that has come to its end."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.deploy.worker import codec, delivery
from dataflare_nb.deploy.worker.ledger import LEDGER, SCHEMA
from dataflare_nb.deploy.worker.loading import Loaded, load
from dataflare_nb.errors import DataflareError

ROWS = pl.DataFrame({"a": [1, 2]})
ENDED = pl.DataFrame([("read", "rows_out", 2)], schema=SCHEMA, orient="row")


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    stream = flare.from_frame(ROWS).write_parquet(tmp_path / "out").named("written")
    return load(stream.deploy(flare.Flink(), out=tmp_path / "x").folder)


def commit(results: Path, file: str, run: str, output: str, rows: pl.DataFrame) -> None:
    """Leave rows as Flink's sink does."""
    place = results / "2026-01-01--00" / file
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a") as lines:
        lines.write(f"{run} {output} {base64.b64encode(codec.to_ipc(rows)).decode()}\n")


def test_only_a_run_that_has_ended_is_delivered_and_only_its_own_rows(loaded: Loaded, tmp_path: Path) -> None:
    results = tmp_path / "results"
    commit(results, "part-0", "cancelled", "written", ROWS)
    delivery.deliver(loaded, results)
    assert not (tmp_path / "out").exists()
    commit(results, "part-1", "whole", "written", ROWS)
    commit(results, "part-1", "whole", LEDGER, ENDED)
    commit(results, ".part-2.inprogress", "whole", "written", ROWS)
    for _ in range(2):
        delivery.deliver(loaded, results)
        assert pl.read_parquet(tmp_path / "out").equals(ROWS)


def test_nothing_is_seen_if_a_sink_refuses(loaded: Loaded, tmp_path: Path) -> None:
    results = tmp_path / "results"
    commit(results, "part-0", "whole", LEDGER, ENDED)
    commit(results, "part-0", "whole", "written", ROWS)
    (tmp_path / "out").write_text("a file is in the way")
    with pytest.raises(DataflareError):
        delivery.deliver(loaded, results)
    assert (tmp_path / "out").read_text() == "a file is in the way"
    (tmp_path / "out").unlink()
    delivery.deliver(loaded, results)
    assert pl.read_parquet(tmp_path / "out").equals(ROWS)


def test_rows_of_live_input_are_handed_over_as_they_are_committed(loaded: Loaded, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with closing(delivery.Courier(loaded, results)) as courier:
        courier.go()
        for number in range(3):
            commit(results, f"part-{number}", "live", "written", ROWS + number)
            courier.go()
            courier.go()
            assert pl.read_parquet(tmp_path / "out")["a"].sort().to_list() == sorted(
                [1 + i for i in range(number + 1)] + [2 + i for i in range(number + 1)]
            )
        commit(results, "part-3", "live", "another", ROWS)
        courier.go()
    assert [file.name for file in (results / "2026-01-01--00").iterdir()] == ["part-3"], "it only grows"


def test_rows_come_in_the_order_in_which_they_were_committed(loaded: Loaded, tmp_path: Path) -> None:
    results = tmp_path / "results"
    names = [*(f"part-f00d-{number}" for number in range(12)), *(f"part-beef-{number}" for number in range(3))]
    for number, name in enumerate(names):
        commit(results, name, "whole", "written", ROWS + 2 * number)
        file = results / "2026-01-01--00" / name
        os.utime(file, ns=(0, 10**18 + (number if name.startswith("part-beef") else 0)))
    commit(results, "part-beef-3", "whole", LEDGER, ENDED)
    delivery.deliver(loaded, results)
    assert pl.read_parquet(tmp_path / "out")["a"].to_list() == list(range(1, 1 + 2 * len(names)))


def test_a_sink_that_holds_rows_is_told_before_a_job_runs(loaded: Loaded, tmp_path: Path) -> None:
    results = tmp_path / "results"
    delivery.check(loaded, results)
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    commit(results, "part-0", "whole", "written", ROWS)
    commit(results, "part-0", "whole", LEDGER, ENDED)
    delivery.deliver(loaded, results)
    delivery.check(loaded, results)
    with pytest.raises(DataflareError, match="already holds data"):
        delivery.check(loaded, tmp_path / "results of another")
    assert pl.read_parquet(tmp_path / "out").equals(ROWS)


KILLED = """
import os, sys
from pathlib import Path
from dataflare_nb.deploy.worker import delivery
from dataflare_nb.deploy.worker.loading import load

left = int(sys.argv[3])
def deadly(call):
    def counted(*args, **options):
        global left
        left -= 1
        if not left:
            os._exit(9)
        return call(*args, **options)
    return counted
for name in ("rename", "replace", "link", "unlink", "fsync", "listdir"):
    setattr(os, name, deadly(getattr(os, name)))
courier = delivery.Courier(load(Path(sys.argv[1])), Path(sys.argv[2]))
courier.go()
courier.close()
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_anywhere_loses_and_doubles_nothing(loaded: Loaded, tmp_path: Path) -> None:
    for killed_at in range(1, 100):
        results = tmp_path / f"results-{killed_at}"
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        commit(results, "part-0", "live", "written", ROWS)
        with closing(delivery.Courier(loaded, results)) as courier:
            courier.go()
        commit(results, "part-1", "live", "written", ROWS + 10)
        child = [sys.executable, "-c", KILLED, str(loaded.folder), str(results), str(killed_at)]
        code = subprocess.run(child, check=False, env={**os.environ, "PYTHONPATH": os.getcwd()}).returncode
        seen = pl.read_parquet(tmp_path / "out" / "*.parquet")["a"].sort().to_list()
        assert seen in ([1, 2], [1, 2, 11, 12])
        commit(results, "part-2", "live", "written", ROWS + 20)
        with closing(delivery.Courier(loaded, results)) as courier:
            courier.go()
        assert pl.read_parquet(tmp_path / "out" / "*.parquet")["a"].sort().to_list() == [1, 2, 11, 12, 21, 22], (
            killed_at
        )
        if code == 0:
            break
        assert code == 9
    assert 5 < killed_at < 99
