"""Parquet, CSV, NDJSON and IPC files as sources: what they share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare_nb.connectors import make_source, text
from dataflare_nb.errors import SourceError
from dataflare_nb.types import EndOfStream, Source

from .helpers import read, read_resumed

FORMATS = ["parquet", "csv", "ndjson", "ipc"]
SUFFIX = {"parquet": ".parquet", "csv": ".csv", "ndjson": ".ndjson", "ipc": ".arrow"}
ROWS = pl.DataFrame(
    {
        "id": range(40),
        "name": [None if i % 7 == 0 else f'n "{i}",\nline' if i % 5 == 0 else f"näme {i}" for i in range(40)],
        "x": [None if i % 11 == 3 else i / 4 for i in range(40)],
        "on": [i % 3 == 0 for i in range(40)],
    }
)


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def save(frame: pl.DataFrame, path: Path, kind: str) -> Path:
    match kind:
        case "parquet":
            frame.write_parquet(path, row_group_size=7)
        case "csv":
            frame.write_csv(path)
        case "ndjson":
            frame.write_ndjson(path)
        case _:
            frame.write_ipc(path, record_batch_size=7)
    return path


def test_a_file_gives_its_rows(tmp_path: Path, kind: str) -> None:
    path = save(ROWS, tmp_path / f"rows{SUFFIX[kind]}", kind)
    source = make_source(kind, {"path": str(path)})
    assert source.schema == ROWS.schema
    assert source.bounded
    assert source.splits() == [str(path)]
    assert read(source).equals(ROWS)


def test_a_folder_or_glob_gives_a_split_for_each_file_by_name(tmp_path: Path, kind: str) -> None:
    suffix = SUFFIX[kind]
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b", "a", "c"):
        save(ROWS.head(5).with_columns(name=pl.lit(name)), folder / f"{name}{suffix}", kind)
    for name in (".d", "_e"):
        (folder / f"{name}{suffix}").write_text("not for us")
    (folder / "notes.txt").write_text("not for us")
    expected = [str(folder / f"{name}{suffix}") for name in "abc"]
    for path in (folder, folder / f"*{suffix}", tmp_path / "*" / f"[abc]{suffix}"):
        source = make_source(kind, {"path": path})
        assert source.splits() == expected
    source = make_source(kind, {"path": [expected[2], expected[0]]})
    assert source.splits() == [expected[0], expected[2]]
    assert read(source, expected[2])["name"].unique().to_list() == ["c"]


def test_a_sequence_is_one_split_in_the_order_of_names(tmp_path: Path, kind: str) -> None:
    for i, name in enumerate(("a", "b", "c")):
        save(ROWS.slice(i * 10, 10), tmp_path / f"{name}{SUFFIX[kind]}", kind)
    source = make_source(kind, {"path": tmp_path, "splits": "sequence"})
    assert source.splits() == ["sequence"]
    assert read(source).equals(ROWS.head(30))


def test_columns_are_projected_in_the_order_asked_for(tmp_path: Path, kind: str) -> None:
    path = save(ROWS, tmp_path / f"rows{SUFFIX[kind]}", kind)
    source = make_source(kind, {"path": path, "columns": ["x", "id"]})
    assert source.schema.names() == ["x", "id"]
    assert read(source).equals(ROWS.select("x", "id"))
    with pytest.raises(SourceError, match="nmae"):
        make_source(kind, {"path": path, "columns": ["nmae"]})


def test_what_is_missing_is_named_with_its_neighbour(tmp_path: Path, kind: str) -> None:
    save(ROWS, tmp_path / f"flights{SUFFIX[kind]}", kind)
    with pytest.raises(SourceError, match=rf"does not exist.*Did you mean `.*flights\{SUFFIX[kind]}`"):
        make_source(kind, {"path": tmp_path / f"flihgts{SUFFIX[kind]}"})
    with pytest.raises(SourceError, match="no file matches"):
        make_source(kind, {"path": tmp_path / "*.nothing"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no"):
        make_source(kind, {"path": tmp_path / "empty"})


def test_an_empty_file_with_a_schema_gives_no_rows(tmp_path: Path, kind: str) -> None:
    path = save(ROWS.clear(), tmp_path / f"rows{SUFFIX[kind]}", kind)
    source = make_source(kind, {"path": path, "schema": ROWS.schema} if kind in ("csv", "ndjson") else {"path": path})
    assert source.schema == ROWS.schema
    with pytest.raises(EndOfStream):
        source.open(source.splits()[0]).poll(10)


def test_the_number_of_rows_is_told_where_it_is_cheap(tmp_path: Path, kind: str) -> None:
    path = save(ROWS, tmp_path / f"rows{SUFFIX[kind]}", kind)
    assert make_source(kind, {"path": path}).total_rows() == (40 if kind == "parquet" else None)


@pytest.mark.parametrize("kind", ["parquet", "ipc"])
def test_files_must_agree_and_the_difference_is_named(tmp_path: Path, kind: str) -> None:
    save(ROWS, tmp_path / f"a{SUFFIX[kind]}", kind)
    bad = save(ROWS.with_columns(pl.col("x").cast(pl.String)), tmp_path / f"b{SUFFIX[kind]}", kind)
    source = make_source(kind, {"path": tmp_path})
    with pytest.raises(SourceError, match=r"b\..*column `x` is String, not Float64"):
        source.open(str(bad))


@pytest.mark.parametrize("kind", ["parquet", "ipc"])
def test_a_torn_file_is_named(tmp_path: Path, kind: str) -> None:
    path = save(ROWS, tmp_path / f"rows{SUFFIX[kind]}", kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="rows"):
        make_source(kind, {"path": path})
    path.write_bytes(whole[:40] + bytes(255 - b for b in whole[40 : len(whole) // 2]) + whole[len(whole) // 2 :])
    with pytest.raises(SourceError, match="rows"):
        read(make_source(kind, {"path": path}))


def test_rich_types_survive_parquet_and_ipc(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "t": [dt.datetime(2020, 1, 1), None],
            "d": [dt.date(2020, 1, 1), None],
            "l": [[1, 2], None],
            "s": [{"a": 1, "b": "x"}, None],
            "e": pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
            "m": pl.Series(["1.50", None]).str.to_decimal(scale=2),
            "y": [b"\x00\xff", None],
        }
    )
    for kind in ("parquet", "ipc"):
        path = save(frame, tmp_path / f"rich{SUFFIX[kind]}", kind)
        source = make_source(kind, {"path": path})
        assert source.schema == frame.schema
        assert read(source).equals(frame)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 13), max_size=12), block=st.sampled_from([16, 100, 1 << 20]))
def test_any_cut_and_any_resume_gives_the_same_rows(
    tmp_path: Path, kind: str, cuts: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    path = tmp_path / f"rows{SUFFIX[kind]}"
    if not path.exists():
        save(ROWS, path, kind)

    def make() -> Source:
        return make_source(kind, {"path": path})

    assert read(make(), cuts=cuts).equals(ROWS)
    assert read_resumed(make, str(path), cuts)[0].equals(ROWS)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 13), max_size=12))
def test_a_sequence_resumes_in_the_middle_of_any_file(tmp_path: Path, kind: str, cuts: list[int]) -> None:
    for i in range(4):
        path = tmp_path / f"{i}{SUFFIX[kind]}"
        if not path.exists():
            save(ROWS.slice(i * 10, 10), path, kind)

    def make() -> Source:
        return make_source(kind, {"path": tmp_path, "splits": "sequence"})

    assert read(make(), cuts=cuts).equals(ROWS)
    assert read_resumed(make, "sequence", cuts)[0].equals(ROWS)


def test_closing_twice_is_fine(tmp_path: Path, kind: str) -> None:
    path = save(ROWS, tmp_path / f"rows{SUFFIX[kind]}", kind)
    for options in ({}, {"splits": "sequence"}):
        source: Any = make_source(kind, {"path": path, **options})
        reader = source.open(source.splits()[0])
        reader.poll(3)
        reader.close()
        reader.close()


def test_asking_for_no_rows_loses_none(tmp_path: Path, kind: str) -> None:
    path = save(ROWS, tmp_path / f"rows{SUFFIX[kind]}", kind)
    assert read(make_source(kind, {"path": path}), cuts=[3, 0, 0, 4, 0]).equals(ROWS)
