"""CSV and NDJSON: types, and rows that cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflare_nb.connectors import REJECTED, csv_records, make_source, text
from dataflare_nb.errors import BadOption, MalformedRow, SourceError
from dataflare_nb.types import Source

from .helpers import polls, read, read_resumed, rejects

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TWO = {"a": pl.Int64, "b": pl.String}
SPOILT_CSV = b"""a,b
1,x
2
3,y,z
foo,q
4,"u
5,v
6,"w
w"
7,a"b
8,\xff

9,k
"""
SPOILT_NDJSON = b"""{"a":1,"b":"x"}
{"a":"two","b":"y"}
foo
[1]
{"a":1,"a":2}

{"a":3}
\xff
{"a":1.5}
{"a":7"""


def source(path: Path, content: bytes, **options: Any) -> Source:
    path.write_bytes(content)
    return make_source(path.suffix[1:], {"path": path, **options})


def test_malformed_csv_rows_go_to_dead_letter_with_place_reason_and_text(tmp_path: Path) -> None:
    spoilt = source(tmp_path / "f.csv", SPOILT_CSV, schema=TWO, on_error="dead_letter")
    assert spoilt.invalid_schema == REJECTED
    assert read(spoilt).rows() == [(1, "x"), (5, "v"), (6, "w\nw"), (9, "k")]
    bad = rejects(spoilt)
    assert bad.schema == REJECTED
    assert bad["file"].unique().to_list() == [str(tmp_path / "f.csv")]
    assert bad.select("line", "column", "raw").rows() == [
        (3, None, "2"),
        (4, None, "3,y,z"),
        (5, "a", "foo,q"),
        (6, None, '4,"u'),
        (10, None, '7,a"b'),
        (11, None, "8,\\xff"),
    ]
    assert bad["reason"][0] == "1 field where 2 are expected"
    assert bad["reason"][2] == "not an Int64"
    assert "UTF-8" in bad["reason"][5]


def test_malformed_ndjson_rows_go_to_dead_letter(tmp_path: Path) -> None:
    spoilt = source(tmp_path / "f.ndjson", SPOILT_NDJSON, schema=TWO, on_error="dead_letter")
    assert read(spoilt).rows() == [(1, "x"), (3, None)]
    assert rejects(spoilt).select("line", "column").rows() == [
        (2, "a"),
        (3, None),
        (4, None),
        (5, None),
        (8, None),
        (9, "a"),
        (10, None),
    ]


@pytest.mark.parametrize(
    ("name", "content", "line", "column"),
    [
        ("f.csv", b"a,b\n1,x\n2,y,z\n", 3, None),
        ("f.csv", b'a,b\n1,"x\nx"\nfoo,y\n', 4, "a"),
        ("f.csv", b"a,b\n1,x\n\n\n2\n", 5, None),
        ("f.csv", b'a,b\n1,"x\n', 2, None),
        ("f.csv", b"a,b\r\n1,x\r\n99999999999999999999,y\r\n", 3, "a"),
        ("f.ndjson", b'{"a":1}\n\n{"a":"x"}\n', 3, "a"),
        ("f.ndjson", b'{"a":1}\n{"a":\n', 2, None),
    ],
)
def test_a_malformed_row_fails_with_its_place(
    tmp_path: Path, name: str, content: bytes, line: int, column: str | None
) -> None:
    spoilt = source(tmp_path / name, content, schema=TWO)
    assert spoilt.invalid_schema is None
    with pytest.raises(MalformedRow) as caught:
        read(spoilt)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(tmp_path / name), line, column)
    assert caught.value.raw is not None
    assert "dead_letter" in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (pl.Int8, "-1", "300"),
        (pl.UInt16, "1", "-1"),
        (pl.Float64, "1e5", "1.2.3"),
        (pl.Boolean, "true", "yes"),
        (pl.Date, "2020-01-31", "2020-13-01"),
        (pl.Datetime("us"), "2020-01-31 10:00:00", "soon"),
        (pl.Time, "10:00:00", "25:00:00"),
        (pl.Decimal(10, 2), "1.25", "x"),
        (pl.Enum(["u", "v"]), "v", "w"),
    ],
)
def test_no_bad_csv_value_becomes_null_in_silence(tmp_path: Path, dtype: Any, good: str, bad: str) -> None:
    content = f"a,n\n{good},1\n,2\n{bad},3\n{good},4\n".encode()
    spoilt = source(tmp_path / "f.csv", content, schema={"a": dtype, "n": pl.Int64}, on_error="dead_letter")
    assert read(spoilt)["n"].to_list() == [1, 2, 4]
    assert read(spoilt)["a"].null_count() == 1
    assert rejects(spoilt).select("line", "column", "raw").rows() == [(4, "a", f"{bad},3")]


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (pl.Int8, "-1", "300"),
        (pl.Int64, "1", "1.5"),
        (pl.Boolean, "true", "1"),
        (pl.Date, '"2020-01-31"', '"2020-13-01"'),
        (pl.Datetime("us", "UTC"), '"2020-01-31T10:00:00Z"', "5"),
        (pl.Time, '"10:00:00"', '"25:00:00"'),
        (pl.Decimal(10, 2), "1.25", '"x"'),
        (pl.Enum(["u", "v"]), '"v"', '"w"'),
        (pl.List(pl.Int64), "[1,null]", '["x"]'),
        (pl.Struct({"x": pl.Int64}), '{"x":1}', '{"x":"y"}'),
    ],
)
def test_no_bad_json_value_becomes_null_in_silence(tmp_path: Path, dtype: Any, good: str, bad: str) -> None:
    values = (good, "null", bad, good)
    content = "".join(f'{{"n":{n},"a":{value}}}\n' for n, value in enumerate(values, start=1)).encode()
    spoilt = source(tmp_path / "f.ndjson", content, schema={"a": dtype, "n": pl.Int64}, on_error="dead_letter")
    assert read(spoilt)["n"].to_list() == [1, 2, 4]
    assert read(spoilt)["a"].null_count() == 1
    assert rejects(spoilt).select("line", "column").rows() == [(3, "a")]


def model(content: str, width: int) -> tuple[list[tuple[str, ...]], list[int]]:
    """Read CSV by the book, a line at a time when a record is broken: good rows and the lines of bad ones."""
    good: list[tuple[str, ...]] = []
    bad: list[int] = []
    at, line = 0, 1
    while at < len(content):
        end = content.find("\n", at)
        end = len(content) if end < 0 else end
        fields, after = _record(content, at)
        if fields is None:
            bad.append(line)
            after = end + 1
        elif after > at + 1 or width == 1:
            (good.append(tuple(fields)) if len(fields) == width else bad.append(line))
        line += content.count("\n", at, after)
        at = after
    return good, bad


def _record(content: str, at: int) -> tuple[list[str] | None, int]:
    fields: list[str] = []
    while True:
        value = ""
        if content[at : at + 1] == '"':
            at += 1
            while True:
                if at >= len(content):
                    return None, at
                if content[at : at + 2] == '""':
                    value, at = value + '"', at + 2
                elif content[at] == '"':
                    at += 1
                    break
                else:
                    value, at = value + content[at], at + 1
            if at < len(content) and content[at] not in ",\n":
                return None, at
        else:
            while at < len(content) and content[at] not in ",\n":
                if content[at] == '"':
                    return None, at
                value, at = value + content[at], at + 1
        fields.append(value)
        if at >= len(content) or content[at] == "\n":
            return fields, at + 1
        at += 1


@QUIET
@given(
    content=st.text(alphabet='ab1,,""\n\n', max_size=60),
    width=st.integers(1, 3),
    block=st.sampled_from([1, 3, 7, 64]),
    cuts=st.lists(st.integers(1, 4), max_size=10),
)
@pytest.mark.slow
def test_any_text_is_read_as_the_book_says_whatever_the_block(
    tmp_path: Path, content: str, width: int, block: int, cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    options = {"schema": {f"c{i}": pl.String for i in range(width)}, "has_header": False, "on_error": "dead_letter"}
    made = source(tmp_path / "f.csv", content.encode(), **options)
    good, bad = model(content, width)
    rows = read(made, cuts=cuts)
    assert [tuple(v or "" for v in row) for row in rows.rows()] == good
    assert rejects(made, cuts)["line"].to_list() == bad
    resumed, refused = read_resumed(lambda: made, str(tmp_path / "f.csv"), cuts)
    assert resumed.equals(rows)
    assert refused["line"].to_list() == bad


@pytest.mark.slow
@QUIET
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.one_of(st.none(), st.text(max_size=8)),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=30,
    ),
    block=st.sampled_from([8, 50, 1 << 20]),
    spoil=st.sets(st.integers(0, 29), max_size=4),
)
def test_good_rows_pass_and_spoilt_ones_are_found_among_any_text(
    tmp_path: Path,
    rows: list[tuple[int, str | None, float]],
    block: int,
    spoil: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    schema: Mapping[str, Any] = {"i": pl.Int64, "s": pl.String, "x": pl.Float64}
    rows = [(i, None if s is None else s.replace("\x00", "").replace("\r", ""), x) for i, s, x in rows]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NOTNULL if hasattr(csv, "QUOTE_NOTNULL") else 1)
    for number, (i, s, x) in enumerate(rows):
        writer.writerow(["oops" if number in spoil else i, s if s is not None else "", x])
    content = "".join(
        json.dumps({"i": [] if number in spoil else i, "s": s, "x": x}) + "\n" for number, (i, s, x) in enumerate(rows)
    )
    expected = [row for number, row in enumerate(rows) if number not in spoil]
    plain = source(tmp_path / "f.csv", out.getvalue().encode(), schema=schema, has_header=False, on_error="dead_letter")
    objects = source(tmp_path / "f.ndjson", content.encode(), schema=schema, on_error="dead_letter")
    assert [(i, s or "", x) for i, s, x in read(plain).rows()] == [(i, s or "", x) for i, s, x in expected]
    assert rejects(plain).height == len(rows) - len(expected)
    assert read(objects).rows() == expected
    assert rejects(objects)["line"].to_list() == sorted(n + 1 for n in spoil if n < len(rows))


def test_the_schema_is_inferred_and_can_be_overridden(tmp_path: Path) -> None:
    content = b"a,b,t\n1,x,2020-01-01\n2,y,2020-01-02\n"
    assert source(tmp_path / "f.csv", content).schema == {"a": pl.Int64, "b": pl.String, "t": pl.String}
    dated = source(tmp_path / "f.csv", content, try_parse_dates=True, schema_overrides={"a": pl.Float32})
    assert dated.schema == {"a": pl.Float32, "b": pl.String, "t": pl.Date}
    with pytest.raises(SourceError, match="schema_overrides"):
        source(tmp_path / "f.csv", content, schema_overrides={"z": pl.Int64})
    nested = source(tmp_path / "f.ndjson", b'{"a":1,"l":[{"q":null}]}\n{"a":2.5,"n":null}\n')
    assert nested.schema == {"a": pl.Float64, "l": pl.List(pl.Struct({"q": pl.String})), "n": pl.String}


def test_only_the_first_rows_are_looked_at_to_infer(tmp_path: Path) -> None:
    content = b"a\n" + b"1\n" * 20 + b"x\n"
    assert source(tmp_path / "f.csv", content, infer_rows=10).schema == {"a": pl.Int64}
    assert source(tmp_path / "f.csv", content, infer_rows=50).schema == {"a": pl.String}


def test_all_csv_files_must_have_the_same_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    (tmp_path / "c.csv").write_text("y,x\n1,2\n")
    made = make_source("csv", {"path": tmp_path})
    with pytest.raises(SourceError, match=r"b\.csv.*`y` is missing; column `z` is new"):
        made.open(str(tmp_path / "b.csv"))
    with pytest.raises(SourceError, match=r"c\.csv.*order y, x, not x, y"):
        made.open(str(tmp_path / "c.csv"))


def test_separators_quotes_null_values_marks_and_line_ends(tmp_path: Path) -> None:
    made = source(
        tmp_path / "f.csv",
        b"\xef\xbb\xbfa;b\r\n1;'x;''y'\r\nNA;\r\n",
        separator=";",
        quote_char="'",
        null_values=["NA"],
    )
    assert made.schema == {"a": pl.Int64, "b": pl.String}
    assert read(made).rows() == [(1, "x;'y"), (None, None)]
    raw = source(tmp_path / "f.csv", b'a,b\n1,5" disk\n2,"\n', quote_char=None)
    assert read(raw).rows() == [(1, '5" disk'), (2, '"')]
    marked = source(tmp_path / "f.ndjson", b'\xef\xbb\xbf{"a":1}\r\n')
    assert read(marked).rows() == [(1,)]


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_gzip_is_unpacked_and_resumed(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 50)
    frame = pl.DataFrame({"a": range(50), "b": [f"r{i}" for i in range(50)]})
    plain = io.BytesIO()
    frame.write_csv(plain) if suffix == "csv" else frame.write_ndjson(plain)
    path = tmp_path / f"f.{suffix}.gz"
    path.write_bytes(gzip.compress(plain.getvalue()))
    made = make_source(suffix, {"path": tmp_path})
    assert read(made).equals(frame)
    assert read_resumed(lambda: made, str(path), [7] * 8)[0].equals(frame)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"\.gz cannot be read"):
        read(make_source(suffix, {"path": tmp_path, "schema": {"a": pl.Int64, "b": pl.String}}))


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64), pl.Duration("us"), pl.Binary])
def test_a_dtype_that_csv_cannot_hold_is_refused(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(BadOption, match="column `a` cannot be read"):
        source(tmp_path / "f.csv", b"a\n1\n", schema={"a": dtype})


def test_rejects_that_nobody_asked_for_are_still_owed_after_a_restart(tmp_path: Path) -> None:
    made = source(tmp_path / "f.csv", SPOILT_CSV, schema=TWO, on_error="dead_letter")
    first = made.open(made.splits()[0])
    first.poll(1)
    offset = first.offset()
    first.close()
    second = made.open(made.splits()[0], offset)
    owed = second.rejected()
    assert owed is not None
    assert owed.height == 6
    assert second.poll(10).height == 3
    assert second.rejected() is None
    second.close()


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_a_schema_says_how_to_give_one(tmp_path: Path, content: bytes) -> None:
    for name in ("f.csv", "f.ndjson"):
        with pytest.raises(SourceError, match="schema="):
            source(tmp_path / name, content)


def test_a_header_must_name_the_columns_of_a_given_schema(tmp_path: Path) -> None:
    swapped = source(tmp_path / "f.csv", b"b,a\n1,2\n", schema=TWO)
    with pytest.raises(SourceError, match="order b, a, not a, b"):
        swapped.open(swapped.splits()[0])


def test_a_schema_of_some_columns_is_told_from_one_of_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"column `b` is new\. schema= names every column; schema_overrides= names"):
        read(source(tmp_path / "f.csv", b"a,b\n1,2\n", schema={"a": pl.Int64}))


def test_a_sequence_hands_over_the_rejects_of_every_file_also_after_a_restart(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.csv").write_bytes(b"a,b\nbad,x\n")
    made = make_source("csv", {"path": tmp_path, "splits": "sequence", "schema": TWO, "on_error": "dead_letter"})
    assert rejects(made)["file"].to_list() == [str(tmp_path / f"{name}.csv") for name in "abc"]
    first = made.open("sequence")
    first.poll(1)
    first.poll(1)
    offset = json.loads(json.dumps(first.offset()))
    first.close()
    found = pl.concat(polls(made.open("sequence", offset))[1])["file"].to_list()
    assert [Path(file).name for file in found] == ["a.csv", "b.csv", "c.csv"]


def test_a_long_quoted_record_is_read_and_an_endless_one_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK", 64)
    monkeypatch.setattr(csv_records, "MAX_RECORD", 1_000)
    long = "x\n" * 400
    content = f'a,b\n1,"{long}"\n2,"open\n3,z\n'.encode() + b"4,y\n" * 1_000
    made = source(tmp_path / "f.csv", content, schema=TWO, on_error="dead_letter")
    rows = read(made)
    assert rows["a"].to_list() == [1, 3] + [4] * 1_000
    assert rows["b"][0] == long
    assert rejects(made)["line"].to_list() == [403]


@pytest.mark.slow
def test_rows_that_cannot_be_read_do_not_spoil_the_inferred_types(tmp_path: Path) -> None:
    content = b'a,b\n1,2.5\n"3\n4\n5,6,7\n8,\n'
    made = source(tmp_path / "f.csv", content, on_error="dead_letter")
    assert made.schema == {"a": pl.Int64, "b": pl.Float64}
    assert read(made).rows() == [(1, 2.5), (8, None)]
    assert source(tmp_path / "f.csv", b"a,b\n").schema == {"a": pl.String, "b": pl.String}
    assert source(tmp_path / "f.csv", b"1,x", has_header=False).schema == {"column_1": pl.Int64, "column_2": pl.String}


@pytest.mark.parametrize(
    ("name", "content", "column", "way"),
    [
        ("f.csv", b"a,b\n1,x\n1.5,y\n", "a", "not an Int64 in '1.5,y'. It is a Float64"),
        ("f.ndjson", b'{"a": 1}\n{"a": 1.5}\n', "a", "It is a Float64"),
        ("f.csv", b"a,b\n1,x\n99999999999999999999,y\n", "a", "It is an Int128"),
        ("f.csv", b"a,b\nx,2026-01-01\nx,2026-01-01 10:00:00\n", "b", "It is a Datetime[\u03bcs]"),
    ],
)
def test_a_value_of_a_wider_type_says_how_to_keep_its_row(
    tmp_path: Path, name: str, content: bytes, column: str, way: str
) -> None:
    options = {"try_parse_dates": True} if column == "b" else {}
    with pytest.raises(MalformedRow) as raised:
        read(source(tmp_path / name, content, infer_rows=1, **options))
    message = str(raised.value)
    assert way in message
    override = message.partition("schema_overrides=")[2].partition(", or infer")[0]
    assert "infer_rows=1." in message
    kept = read(source(tmp_path / name, content, schema_overrides=eval(override, {"pl": pl})))
    assert kept.height == 2
    assert not kept[column].has_nulls()


def test_a_value_of_no_wider_type_leaves_mending_and_a_given_schema_is_named(tmp_path: Path) -> None:
    with pytest.raises(MalformedRow, match=r"'many'. Mend the file"):
        read(source(tmp_path / "f.csv", b"a\n1\nmany\n", infer_rows=1))
    with pytest.raises(MalformedRow, match=r"read with schema=\{'a': pl.Float64\}. Else mend"):
        read(source(tmp_path / "f.csv", b"a\n1\n1.5\n", schema={"a": "Int64"}))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("schema", [None, {"a": "Int64", "b": "String"}])
def test_text_in_utf16_is_told_by_its_name(tmp_path: Path, encoding: str, schema: dict[str, str] | None) -> None:
    content = "a,b\n1,x\n".encode(encoding)
    with pytest.raises(SourceError, match=r"f\.csv is in UTF-16, and UTF-8 is read; convert it"):
        read(source(tmp_path / "f.csv", content, schema=schema))
