"""Files written epoch by epoch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb.connectors import make_sink, make_source
from dataflare_nb.errors import BadOption, SinkError
from dataflare_nb.types import Writer

from .helpers import Lent, hidden, library, put, read, shown

SUFFIX = {"parquet": ".parquet", "csv": ".csv", "ndjson": ".ndjson", "ipc": ".arrow"}
ROWS = pl.DataFrame({"id": range(10), "name": [None if i == 3 else f'n,"{i}"' for i in range(10)]})


@pytest.fixture(params=list(SUFFIX))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(kind: str, path: Path, schema: pl.Schema | None = None, ctx: Lent | None = None, **options: Any) -> Writer:
    return make_sink(kind, {"path": path, **options}).open(ctx or Lent(), schema or ROWS.schema)


def back(kind: str, path: Path) -> pl.DataFrame:
    return read(make_source(kind, {"path": path}))


def numbered(folder: Path) -> list[str]:
    """List the parts without the mark of the run that wrote them."""
    return [re.sub(r"-[0-9a-f]{8}\.", ".", name) for name in shown(folder)]


def test_rows_appear_with_their_epoch_and_not_before(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "deep" / "out"
    writer = opened(kind, out)
    writer.write(ROWS.head(4))
    assert shown(out) == []
    prepared = json.loads(json.dumps(writer.prepare(1)))
    assert shown(out) == []
    assert all(name.startswith(".part-") and name.endswith(".inprogress") for name in hidden(out))
    writer.commit(1, prepared)
    assert numbered(out) == [f"part-00001-00000{SUFFIX[kind]}"]
    writer.write(ROWS.slice(4))
    writer.commit(2, writer.prepare(2))
    writer.close()
    writer.close()
    assert numbered(out) == [f"part-0000{epoch}-00000{SUFFIX[kind]}" for epoch in (1, 2)]
    assert hidden(out) == []
    assert back(kind, out).equals(ROWS)


def test_commit_can_be_repeated_also_by_a_new_writer(tmp_path: Path, kind: str) -> None:
    writer = opened(kind, tmp_path)
    writer.write(ROWS)
    prepared = json.loads(json.dumps(writer.prepare(1)))
    writer.close()
    for restored in (None, True):
        again = opened(kind, tmp_path, ctx=Lent(restored=restored))
        again.commit(1, prepared)
        again.commit(1, prepared)
        again.close()
    more = opened(kind, tmp_path, ctx=Lent(restored=True))
    more.commit(1, prepared)
    more.write(ROWS)
    more.commit(2, more.prepare(2))
    more.close()
    assert back(kind, tmp_path).equals(pl.concat([ROWS, ROWS]))


def test_abort_and_close_take_back_only_what_was_not_prepared(tmp_path: Path, kind: str) -> None:
    writer = opened(kind, tmp_path)
    writer.write(ROWS.head(1))
    prepared = writer.prepare(1)
    writer.write(ROWS.slice(1))
    writer.abort()
    writer.write(ROWS.slice(5))
    writer.close()
    assert len(hidden(tmp_path)) == 1
    writer.commit(1, prepared)
    assert back(kind, tmp_path).equals(ROWS.head(1))


def test_leftovers_of_the_same_sink_are_cleared_by_the_next_run_and_no_others(tmp_path: Path, kind: str) -> None:
    for node in ("mine", "theirs"):
        writer = opened(kind, tmp_path, ctx=Lent(node))
        writer.write(ROWS)
        writer.prepare(1)
        writer.close()
    (tmp_path / ".part-other.inprogress").write_text("a stranger's")
    left = hidden(tmp_path)
    assert len(left) == 3
    put(make_sink(kind, {"path": tmp_path}), [ROWS], node_id="mine")
    assert len(hidden(tmp_path)) == 2
    assert ".part-other.inprogress" in hidden(tmp_path)
    assert back(kind, tmp_path).equals(ROWS)


def test_a_commit_that_comes_after_the_clearing_is_not_lost_in_silence(tmp_path: Path, kind: str) -> None:
    writer = opened(kind, tmp_path)
    writer.write(ROWS)
    prepared = writer.prepare(1)
    writer.close()
    late = opened(kind, tmp_path)
    late.write(ROWS)
    with pytest.raises(SinkError, match="commit before writing"):
        late.commit(1, prepared)
    late.close()


def test_what_holds_data_is_not_touched_unless_told(tmp_path: Path, kind: str) -> None:
    for path in (tmp_path / "folder", tmp_path / f"one{SUFFIX[kind]}"):
        put(make_sink(kind, {"path": path}), [ROWS])
        with pytest.raises(SinkError, match=r"already holds data.*append.*overwrite"):
            opened(kind, path, ctx=Lent(restored=False))
        second = opened(kind, path)
        with pytest.raises(SinkError, match="already holds data"):
            second.write(ROWS)
        second.close()
        put(make_sink(kind, {"path": path, "mode": "append"}), [ROWS.head(3)])
        assert back(kind, path).equals(pl.concat([ROWS, ROWS.head(3)]))
        put(make_sink(kind, {"path": path, "mode": "overwrite"}), [ROWS.head(2)], [ROWS.slice(2, 1)])
        assert back(kind, path).equals(ROWS.head(3))


def test_overwriting_keeps_the_old_rows_until_the_first_commit(tmp_path: Path, kind: str) -> None:
    put(make_sink(kind, {"path": tmp_path}), [ROWS], [ROWS])
    writer = opened(kind, tmp_path, mode="overwrite")
    writer.write(ROWS.head(1))
    prepared = writer.prepare(1)
    assert back(kind, tmp_path).height == 20
    writer.commit(1, prepared)
    writer.write(ROWS.head(1))
    writer.commit(2, writer.prepare(2))
    writer.commit(1, prepared)
    writer.close()
    assert back(kind, tmp_path).height == 2


def test_files_roll_by_rows_and_bytes(tmp_path: Path, kind: str) -> None:
    put(make_sink(kind, {"path": tmp_path / "rows", "max_rows_per_file": 4}), [ROWS.head(3), ROWS.slice(3)])
    heights = [back(kind, tmp_path / "rows" / name).height for name in shown(tmp_path / "rows")]
    assert heights == [4, 4, 2]
    assert back(kind, tmp_path / "rows").equals(ROWS)
    big = pl.DataFrame({"a": range(400_000)})
    put(
        make_sink(kind, {"path": tmp_path / "bytes", "max_bytes_per_file": 10_000}),
        [big.head(200_000), big.tail(200_000)],
    )
    assert len(shown(tmp_path / "bytes")) == 2
    with pytest.raises(BadOption, match="single file"):
        make_sink(kind, {"path": f"x{SUFFIX[kind]}", "max_rows_per_file": 4})


def test_a_single_file_holds_all_epochs(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"one{SUFFIX[kind]}"
    put(make_sink(kind, {"path": path}), [ROWS.head(2)], [], [ROWS.slice(2, 3), ROWS.slice(5)])
    assert os.listdir(tmp_path) == [path.name]
    assert back(kind, path).equals(ROWS)


def test_a_single_file_resumed_keeps_its_rows(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"one{SUFFIX[kind]}"
    writer = opened(kind, path, mode="overwrite")
    writer.write(ROWS.head(2))
    prepared = writer.prepare(1)
    again = opened(kind, path, mode="overwrite")
    again.commit(1, prepared)
    again.write(ROWS.slice(2))
    again.commit(2, again.prepare(2))
    again.close()
    assert back(kind, path).equals(ROWS)


def test_an_empty_stream_leaves_its_schema(tmp_path: Path, kind: str) -> None:
    for path in (tmp_path / f"one{SUFFIX[kind]}", tmp_path / "folder"):
        put(make_sink(kind, {"path": path}), [], [], schema=ROWS.schema)
        options = {"schema": ROWS.schema} if kind in ("csv", "ndjson") else {}
        source = make_source(kind, {"path": path, **options})
        assert source.schema == ROWS.schema
        assert read(source).height == 0
    if kind == "csv":
        assert (tmp_path / "one.csv").read_text() == "id,name\n"


def test_polars_pyarrow_and_duckdb_read_what_was_written(tmp_path: Path) -> None:
    frame = ROWS.with_columns(
        t=pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 10), time_zone="UTC"),
        l=pl.concat_list("id"),
        e=pl.lit("a").cast(pl.Enum(["a"])),
        m=pl.lit("1.5").str.to_decimal(scale=2),
    )
    put(make_sink("parquet", {"path": tmp_path / "p"}), [frame])
    put(make_sink("ipc", {"path": tmp_path / "i", "compression": "zstd"}), [frame])
    assert pl.read_parquet(tmp_path / "p").equals(frame)
    assert pl.read_ipc(tmp_path / "i" / shown(tmp_path / "i")[0]).equals(frame)
    duckdb = library("duckdb")
    assert duckdb.sql(f"select sum(id), count(name) from '{tmp_path}/p/*.parquet'").fetchall() == [(45, 9)]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("csv", pl.List(pl.Int64)),
        ("csv", pl.Duration("us")),
        ("csv", pl.Binary()),
        ("ndjson", pl.Binary()),
        ("parquet", pl.Int128()),
    ],
)
def test_a_column_the_format_cannot_hold_is_named_at_open(tmp_path: Path, kind: str, dtype: pl.DataType) -> None:
    with pytest.raises(SinkError, match="column `bad` is"):
        opened(kind, tmp_path / "out", pl.Schema({"a": pl.Int64(), "bad": dtype}))


def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"file.*Not a directory"):
        opened(kind, tmp_path / "file")
    with pytest.raises(SinkError, match="cannot be written"):
        opened(kind, Path("/proc/nothing/here"))


def test_a_batch_of_another_schema_is_refused(tmp_path: Path, kind: str) -> None:
    writer = opened(kind, tmp_path / "out")
    with pytest.raises(SinkError, match="was opened for"):
        writer.write(ROWS.select("name", "id"))
    writer.close()


@pytest.mark.parametrize("nodes", [("one", "two"), ("same", "same")])
def test_sinks_that_fill_one_folder_at_once_keep_each_others_rows(
    tmp_path: Path, kind: str, nodes: tuple[str, str]
) -> None:
    writers = [opened(kind, tmp_path, ctx=Lent(node, restored=False)) for node in nodes]
    prepared = []
    for writer, rows in zip(writers, (ROWS.head(5), ROWS.slice(5)), strict=True):
        writer.write(rows)
        prepared.append(json.loads(json.dumps(writer.prepare(1))))
    late = opened(kind, tmp_path, ctx=Lent(nodes[0], restored=False), mode="append")
    late.write(ROWS.head(1))
    for writer, files in zip([*writers, late], [*prepared, late.prepare(1)], strict=True):
        writer.commit(1, files)
        writer.close()
    assert back(kind, tmp_path).sort("id").equals(pl.concat([ROWS, ROWS.head(1)]).sort("id"))
    assert hidden(tmp_path) == []


def test_a_single_file_has_one_sink_at_a_time_however_it_is_spelled(tmp_path: Path, kind: str) -> None:
    name = f"one{SUFFIX[kind]}"
    first = opened(kind, tmp_path / name, ctx=Lent("a", restored=False))
    with pytest.raises(SinkError, match="being written by another sink"):
        opened(kind, Path(f"{tmp_path}/../{tmp_path.name}/{name}"), ctx=Lent("b", restored=False))
    first.close()
    put(make_sink(kind, {"path": tmp_path / name}), [ROWS])
    with pytest.raises(SinkError, match="already holds data") as kept:
        opened(kind, tmp_path / name, ctx=Lent("b", restored=False))
    opened(kind, tmp_path / name, ctx=Lent("b", restored=False), mode="overwrite").close()
    assert kept.tb


@pytest.mark.parametrize("target", ["one", "folder"])
def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path, kind: str, target: str) -> None:
    path = tmp_path / f"one{SUFFIX[kind]}" if target == "one" else tmp_path
    writer = opened(kind, path)
    writer.write(ROWS)
    prepared = writer.prepare(1)
    foreign = tmp_path / prepared["files"][0][1]
    foreign.write_text("a stranger's")
    with pytest.raises(SinkError, match="written by another"):
        writer.commit(1, prepared)
    writer.close()
    assert foreign.read_text() == "a stranger's"


def test_a_staged_file_that_is_gone_before_its_commit_is_told(tmp_path: Path, kind: str) -> None:
    writer = opened(kind, tmp_path)
    writer.write(ROWS)
    prepared = writer.prepare(1)
    os.unlink(tmp_path / hidden(tmp_path)[0])
    with pytest.raises(SinkError, match="removed before it was committed"):
        writer.commit(1, prepared)
    writer.close()


class CrashError(BaseException):
    """The power is cut."""


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("step", range(14))
def test_a_commit_cut_short_anywhere_is_finished_by_the_next(
    tmp_path: Path, kind: str, mode: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(make_sink(kind, {"path": tmp_path, "max_rows_per_file": 5}), [ROWS])
    writer = opened(kind, tmp_path, mode=mode, max_rows_per_file=4)
    writer.write(ROWS)
    prepared = json.loads(json.dumps(writer.prepare(1)))
    steps = iter(range(100))
    with monkeypatch.context() as cut:
        for name in ("replace", "link", "unlink", "fsync"):
            cut.setattr(os, name, _until(step, steps, getattr(os, name)))
        with contextlib.suppress(CrashError):
            writer.commit(1, prepared)
    again = opened(kind, tmp_path, ctx=Lent(restored=True), mode=mode)
    again.commit(1, prepared)
    again.write(ROWS.head(1))
    again.commit(2, again.prepare(2))
    again.commit(1, prepared)
    again.close()
    old = [ROWS] if mode == "append" else []
    assert back(kind, tmp_path).sort("id").equals(pl.concat([*old, ROWS, ROWS.head(1)]).sort("id"))
    assert hidden(tmp_path) == []


def _until(step: int, steps: Iterator[int], real: Callable[..., Any]) -> Callable[..., Any]:
    def act(*arguments: Any) -> Any:
        if next(steps) == step:
            raise CrashError
        return real(*arguments)

    return act


STAGES = """
import sys, polars as pl
from tests.connectors.helpers import Lent
from dataflare_nb.connectors import make_sink
frame = pl.DataFrame({"a": [1]})
writer = make_sink("csv", {"path": sys.argv[1]}).open(Lent(restored=False), frame.schema)
writer.write(frame)
print("staged", flush=True)
sys.stdin.read()
"""


def test_what_a_living_process_has_staged_is_left_alone_until_it_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STAGES, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "staged\n"
        theirs = hidden(tmp_path)
        assert len(theirs) == 1
        put(make_sink("csv", {"path": tmp_path}), [ROWS])
        assert hidden(tmp_path) == theirs
    finally:
        other.kill()
        other.communicate()
    # A name that is none of ours, with the mark of this sink, was left by nobody who lives.
    (tmp_path / theirs[0].replace(theirs[0].split(".")[2], "made-up")).touch()
    put(make_sink("csv", {"path": tmp_path, "mode": "append"}), [ROWS])
    assert hidden(tmp_path) == []
    assert back("csv", tmp_path).height == 2 * ROWS.height
