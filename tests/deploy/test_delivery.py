"""Rows that Flink has committed get to the sinks once, and only those of a run that has come to its end."""

from __future__ import annotations

import base64
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
    assert delivery.complete(results) == []
    commit(results, "part-1", "whole", "written", ROWS)
    commit(results, "part-1", "whole", LEDGER, ENDED)
    commit(results, ".part-2.inprogress", "whole", "written", ROWS)
    assert delivery.complete(results) == ["whole"]
    delivery.deliver(loaded, results, "whole")
    assert pl.read_parquet(tmp_path / "out").equals(ROWS)
    assert delivery.complete(results) == []


def test_nothing_is_seen_if_a_sink_refuses(loaded: Loaded, tmp_path: Path) -> None:
    results = tmp_path / "results"
    commit(results, "part-0", "whole", LEDGER, ENDED)
    commit(results, "part-0", "whole", "written", pl.DataFrame({"other": ["x"]}))
    (tmp_path / "out").write_text("a file is in the way")
    with pytest.raises(DataflareError):
        delivery.deliver(loaded, results, "whole")
    assert delivery.complete(results) == ["whole"]
    assert (tmp_path / "out").read_text() == "a file is in the way"
