"""Paths that are none, and files that cannot be read or are no longer what they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb import from_frame, read_csv, read_ndjson, read_parquet
from dataflare_nb.connectors import make_sink, make_source, sink_options
from dataflare_nb.errors import BadOption, SinkError, SourceError, WrongType

from .helpers import Lent, hidden, put, read

ODD = os.fsdecode(b"nu\xff.csv")


@pytest.mark.parametrize("path", [None, 5, b"x.csv", ["x.csv", None]])
def test_what_is_no_path_is_refused_at_the_line(path: Any) -> None:
    with pytest.raises(WrongType, match=r"read_csv at .*test_paths.py.*path=.*; it is a str or a Path or a list of"):
        read_csv(path)


def test_a_nul_in_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="NUL"):
        read_csv(f"{tmp_path}/a\0.csv")
    with pytest.raises(BadOption, match="NUL"):
        from_frame(pl.DataFrame({"a": [1]})).write_csv("a\0")


def test_a_device_is_not_a_file() -> None:
    with pytest.raises(SourceError, match="device"):
        read_csv("/dev/null")


def test_a_path_that_is_not_text_is_told_at_the_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nu\\udcff.*not UTF-8"):
        read_csv(tmp_path / ODD)
    with pytest.raises(SinkError, match=r"nu\\udcff.*not UTF-8"):
        from_frame(pl.DataFrame({"a": [1]})).write_csv(tmp_path / ODD)
    with pytest.raises(SinkError, match="not UTF-8"):
        sink_options("parquet", {"path": ODD})
    try:
        (tmp_path / ODD).write_text("a\n1\n")
    except OSError:
        pytest.skip("the file system takes only text for names")
    with pytest.raises(SourceError, match=r"nu\\udcff.*not UTF-8"):
        read_csv(tmp_path)


@pytest.mark.parametrize(("denied", "path"), [("scandir", "."), ("stat", "a.csv")])
def test_a_folder_that_may_not_be_read_is_told(
    tmp_path: Path, denied: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    real: Callable[..., Any] = getattr(os, denied)

    def refuse(asked: Any, *arguments: Any, **options: Any) -> Any:
        if str(asked).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(asked))
        return real(asked, *arguments, **options)

    with monkeypatch.context() as closed:
        closed.setattr(os, denied, refuse)
        with pytest.raises(SourceError, match=r"cannot be read: Permission denied"):
            make_source("csv", {"path": str(tmp_path / path)})


@pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson", "ipc"])
def test_a_column_chosen_twice_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BadOption, match=r"columns.*`?a`? stands twice"):
        make_source(kind, {"path": tmp_path, "columns": ["a", "b", "a"]})


def test_quoting_can_be_turned_off(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text('a,b\n"x,y"\n')
    stream = read_csv(tmp_path / "q.csv", quote_char=None)
    assert stream.collect().rows() == [('"x', 'y"')]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1\n', "line 1: broken JSON"),
        ("\n[1]\n", "line 2: not a JSON object"),
        ("\n", "is empty"),
        ('{"a": "' + "x" * (17 << 20), "line 1: the line is longer than 1[67] MiB"),
    ],
)
def test_ndjson_without_an_object_says_where_and_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.ndjson").write_text(text)
    with pytest.raises(SourceError, match=told):
        read_ndjson(tmp_path / "a.ndjson")


def test_a_file_that_changed_since_the_stream_was_built_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pl.DataFrame({"a": [1], "b": [1]}).write_parquet(path)
    schema = read_parquet(path).schema
    assert read(make_source("parquet", {"path": str(path)}, schema=schema)).height == 1
    pl.DataFrame({"z": [1], "b": [1]}).write_parquet(path)
    with pytest.raises(
        SourceError, match=r"c.parquet no longer has the columns.*built on: column `a` is missing, column `z` is new"
    ):
        make_source("parquet", {"path": str(path)}, schema=schema)


def test_a_reader_of_the_folder_does_not_see_what_is_staged(tmp_path: Path) -> None:
    rows = pl.DataFrame({"a": [1]})
    put(make_sink("csv", {"path": tmp_path}), [rows])
    writer = make_sink("csv", {"path": tmp_path, "mode": "append"}).open(Lent(), rows.schema)
    writer.write(rows)
    writer.prepare(1)
    assert hidden(tmp_path)
    for path in (tmp_path, tmp_path / "*", tmp_path / "**" / "*"):
        assert read(make_source("csv", {"path": path})).height == 1
    writer.close()


def test_a_file_named_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    with pytest.raises(SourceError, match=r"a\.csv was named twice"):
        make_source("csv", {"path": [str(path), str(path)]})


def test_a_file_named_in_two_ways_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "again").symlink_to("data")
    for name in "ab":
        (tmp_path / "data" / f"{name}.csv").write_text("x\n1\n")
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(SourceError, match=r"\./a\.csv was named twice"):
        make_source("csv", {"path": ["a.csv", "./a.csv"]})
    for also in (".", "./*.csv", str(tmp_path / "data"), "../data/*.csv", "../again"):
        source = make_source("csv", {"path": ["a.csv", also]})
        assert sorted(os.path.basename(split) for split in source.splits()) == ["a.csv", "b.csv"]
        assert read(source).height == 2


def test_a_glob_goes_down_and_leaves_out_hidden_files_links_to_nothing_and_folders(tmp_path: Path) -> None:
    for name in ("a.csv", "deep/b.csv", "deep/er/c.csv", "deep/.d.csv", "deep/_e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    (tmp_path / "deep" / "f.csv").mkdir()
    (tmp_path / "deep" / "g.csv").symlink_to(tmp_path / "nowhere")
    source = make_source("csv", {"path": str(tmp_path / "**" / "*.csv")})
    assert [os.path.basename(split) for split in source.splits()] == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("data/yellow.csvv", "data/yellow.csv"), ("dta/yellow.csv", "data"), ("dta/*/yellow.csv", None)],
)
def test_a_path_that_is_not_there_is_answered_with_what_is(tmp_path: Path, wrong: str, hint: str | None) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "yellow.csv").write_text("a\n1\n")
    with pytest.raises(SourceError) as told:
        make_source("csv", {"path": str(tmp_path / wrong)})
    if hint is None:
        assert "Did you mean" not in str(told.value)
    else:
        assert f"Did you mean `{tmp_path / hint}`?" in str(told.value)


def test_a_path_below_a_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(SourceError, match=r"a\.csv/b\.csv does not exist"):
        make_source("csv", {"path": str(tmp_path / "a.csv" / "b.csv")})


def test_a_header_that_names_a_column_twice_or_is_torn_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(SourceError, match="has a name twice: a, b, a; rename one"):
        make_source("csv", {"path": str(path)})
    path.write_text('a,"b\n1,2\n')
    with pytest.raises(SourceError, match=r"the header of .*a\.csv cannot be read: a quote is opened"):
        make_source("csv", {"path": str(path)})


def test_overrides_of_columns_that_are_not_there_are_told(tmp_path: Path) -> None:
    for kind, text in (("csv", "a\n1\n"), ("ndjson", '{"a":1}\n')):
        (tmp_path / f"a.{kind}").write_text(text)
        with pytest.raises(SourceError, match=r"schema_overrides=\['b'\] are not in .*, which has a"):
            make_source(kind, {"path": str(tmp_path / f"a.{kind}"), "schema_overrides": {"b": pl.Int64}})


def test_a_link_to_a_folder_above_is_not_followed_round_and_round(tmp_path: Path) -> None:
    for folder in ("top", "top/below", "other"):
        (tmp_path / folder).mkdir()
        pl.DataFrame({"a": [1]}).write_csv(tmp_path / folder / "rows.csv")
    (tmp_path / "top" / "below" / "back").symlink_to("..")
    (tmp_path / "top" / "aside").symlink_to(tmp_path / "other")
    (tmp_path / "entry").symlink_to("top")
    assert read_csv(tmp_path / "top" / "**" / "*.csv").collect().height == 3
    assert read_csv(tmp_path / "entry" / "**" / "*.csv").collect().height == 3
