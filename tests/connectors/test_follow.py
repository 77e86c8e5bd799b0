"""Text files that grow while they are read."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb.clock import ManualClock
from dataflare_nb.connectors import make_source
from dataflare_nb.errors import BadOption, MalformedRow, SourceError, StageFailed
from dataflare_nb.types import Batch, EndOfStream, Reader, Source

TICK = 200_000
SCHEMA = {"n": pl.Int64, "s": pl.String}
KINDS = ("csv", "ndjson")


class Follower:
    """Reads one split to where it has come, as often as asked, by new readers of new sources if wanted."""

    def __init__(self, kind: str, path: Path, *, split: str | None = None, **options: Any) -> None:
        self.clock = ManualClock()
        self.make = lambda: make_source(
            kind, {"path": path, "follow": True, "schema": SCHEMA, **options}, clock=self.clock
        )
        self.source: Source = self.make()
        self.split = split
        self.reader: Reader | None = None
        self.rows: list[Any] = []
        self.rejected: list[Any] = []
        self.ended = False
        self.kept: tuple[str, int, int] | None = None

    def look(self, sizes: Iterator[int] | None = None) -> list[Any]:
        """Let the folder be looked at again, read what is there, and return it."""
        self.clock.advance(TICK)
        before = len(self.rows)
        if self.reader is None:
            known = self.source.splits()
            if not known:
                return []
            self.split = self.split or known[0]
            self.reader = self.source.open(self.split)
        while not self.ended and self.poll(next(sizes, 100) if sizes else 100):
            pass
        return self.rows[before:]

    def poll(self, size: int) -> bool:
        assert self.reader is not None
        try:
            batch: Batch = self.reader.poll(size)
        except EndOfStream:
            self.ended = True
            return False
        assert batch.height <= size
        self.rows += batch["s"].to_list()
        bad = self.reader.rejected()
        self.rejected += bad["raw"].to_list() if bad is not None else []
        return bool(batch.height) or bad is not None

    def keep(self) -> None:
        """Remember the offset, and what has come before it."""
        if self.reader is not None:
            self.kept = json.dumps(self.reader.offset()), len(self.rows), len(self.rejected)

    def crash(self) -> None:
        """Go on with a new reader of a new source, from the offset remembered; what came after is lost."""
        self.close()
        self.source, self.reader = self.make(), None
        offset, rows, rejected = self.kept or ("", 0, 0)
        del self.rows[rows:], self.rejected[rejected:]
        if offset:
            assert self.split is not None
            self.reader = self.source.open(self.split, json.loads(offset))

    def restart(self) -> None:
        self.keep()
        self.crash()

    def do(self, action: str) -> None:
        if action:
            getattr(self, action)()

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()


def text(kind: str, values: list[str], end: str = "\n", *, header: bool = True) -> bytes:
    """Return rows as a file has them."""
    if kind == "ndjson":
        return "".join(json.dumps({"n": n, "s": s}) + end for n, s in enumerate(values)).encode()
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows(([["n", "s"]] if header else []) + [[n, s] for n, s in enumerate(values)])
    return out.getvalue().encode()


def append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)


def pieces(whole: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    return (whole[a:b] for a, b in itertools.pairwise(edges))


ACTIONS = st.lists(st.sampled_from(["", "keep", "crash", "restart"]), max_size=12)
WORDS = st.text(st.sampled_from('ab,"\n\r ü€'), min_size=1, max_size=8)


@settings(max_examples=100)
@given(
    kind=st.sampled_from(KINDS),
    values=st.lists(WORDS, min_size=1, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    splits=st.sampled_from(["file", "sequence"]),
    cuts=st.lists(st.integers(1, 200), max_size=12),
    sizes=st.lists(st.integers(1, 5), max_size=30),
    actions=ACTIONS,
)
@pytest.mark.slow
def test_rows_appended_in_any_pieces_are_read_once(
    kind: str,
    values: list[str],
    end: str,
    bom: bool,
    splits: str,
    cuts: list[int],
    sizes: list[int],
    actions: list[str],
) -> None:
    whole = (b"\xef\xbb\xbf" if bom else b"") + text(kind, values, end)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log.{kind}"
        follower = Follower(kind, path, splits=splits)
        size, action = iter(sizes), iter(actions)
        written = b""
        for piece in pieces(whole, cuts):
            append(path, piece)
            written += piece
            follower.look(size)
            # A record counts when its line end is there, and is not held back then.
            assert follower.rows == values[: len(follower.rows)]
            assert len(follower.rows) >= complete(kind, written, values, end, bom)
            follower.do(next(action, ""))
        follower.look()
        follower.close()
        assert follower.rows == values
        assert follower.rejected == []


def complete(kind: str, written: bytes, values: list[str], end: str, bom: bool) -> int:
    """Count the rows of which all has been written."""
    mark = 3 if bom else 0
    return max(n for n in range(len(values) + 1) if not n or mark + len(text(kind, values[:n], end)) <= len(written))


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    good=st.lists(st.booleans(), min_size=1, max_size=15),
    cuts=st.lists(st.integers(1, 150), max_size=8),
    actions=ACTIONS,
    splits=st.sampled_from(["file", "sequence"]),
)
def test_malformed_rows_are_handed_over_once(
    kind: str, good: list[bool], cuts: list[int], actions: list[str], splits: str
) -> None:
    rows = {"csv": ('{n},"w{n}"', 'x{n},"w'), "ndjson": ('{{"n":{n},"s":"w{n}"}}', '{{"n":x{n}}}')}[kind]
    lines = [rows[not fine].format(n=n) for n, fine in enumerate(good)]
    if kind == "csv":
        # An open quote would go on for ever; these are closed in the wrong place.
        lines = [line + 'v"w' if line.endswith('"w') else line for line in lines]
    whole = ("n,s\n" if kind == "csv" else "").encode() + "".join(line + "\n" for line in lines).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log.{kind}"
        follower = Follower(kind, path, splits=splits, on_error="dead_letter")
        action = iter(actions)
        for piece in pieces(whole, cuts):
            append(path, piece)
            follower.look()
            follower.do(next(action, ""))
        follower.look()
        follower.close()
    assert follower.rows == [f"w{n}" for n, fine in enumerate(good) if fine]
    assert follower.rejected == [line for line, fine in zip(lines, good, strict=True) if not fine]


@pytest.mark.parametrize("kind", KINDS)
def test_a_last_record_waits_for_its_line_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log.{kind}"
    append(path, text(kind, ["a", "b"]).rstrip(b"\n"))
    follower = Follower(kind, path)
    with closing(follower):
        assert follower.look() == ["a"]
        assert follower.look() == []
        append(path, b"\n")
        assert follower.look() == ["b"]


@pytest.mark.parametrize("splits", ["file", "sequence"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["truncated", "rewritten", "renamed over", "longer"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_that_is_another_is_named_counted_and_not_read(
    tmp_path: Path, kind: str, splits: str, way: str, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = tmp_path / f"log.{kind}", tmp_path / f"other.{kind}"
    append(path, text(kind, ["a", "b"]))
    append(other, text(kind, ["y"]))
    follower = Follower(kind, path if splits == "file" else tmp_path, splits=splits)
    with closing(follower):
        assert sorted(follower.look()) == ["a", "b"] + (["y"] if splits == "sequence" else [])
        match way:
            case "truncated":
                os.truncate(path, 3)
            case "rewritten":
                path.write_bytes(text(kind, ["c", "d"]))
            case "renamed over":
                (tmp_path / ".new").write_bytes(text(kind, ["c", "d", "e"]))
                (tmp_path / ".new").rename(path)
            case "longer":
                path.write_bytes(text(kind, ["c" * 3_000, "d", "e"]))
        if restarted:
            follower.restart()
        assert follower.look() == []
        append(path, text(kind, ["f"], header=False))
        assert follower.look() == []
        assert follower.ended == (splits == "file")
        assert getattr(follower.source, "counters", None) == {"changed_files": 1}
        told = [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]
        assert len(told) == 1
        assert ("shorter" if way == "truncated" else "replaced") in told[0]
        if splits == "sequence":
            append(other, text(kind, ["z"], header=False))
            assert follower.look() == ["z"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_with_the_same_beginning_is_read_on(tmp_path: Path, kind: str) -> None:
    # Some editors and rsync write a new file and rename it.
    path = tmp_path / f"log.{kind}"
    append(path, text(kind, ["a", "b"]))
    follower = Follower(kind, path)
    with closing(follower):
        assert follower.look() == ["a", "b"]
        (tmp_path / ".new").write_bytes(path.read_bytes() + text(kind, ["c"], header=False))
        (tmp_path / ".new").rename(path)
        assert follower.look() == ["c"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_gone_gives_nothing_and_is_known_when_it_is_back(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log.{kind}"
    append(path, text(kind, ["a"]))
    follower = Follower(kind, path)
    with closing(follower):
        assert follower.look() == ["a"]
        path.rename(tmp_path / "away")
        assert follower.look() == []
        (tmp_path / "away").rename(path)
        append(path, text(kind, ["b"], header=False))
        assert follower.look() == ["b"]


def test_a_sequence_reads_files_in_turn_as_they_grow(tmp_path: Path) -> None:
    follower = Follower("csv", tmp_path, splits="sequence")
    with closing(follower):
        for day, rows in (("1", ["a"]), ("2", ["b"]), ("1", ["c"]), ("3", ["d"])):
            path = tmp_path / f"{day}.csv"
            append(path, text("csv", rows, header=not path.exists()))
            assert follower.look() == rows
            follower.restart()
        append(tmp_path / "3.csv", text("csv", ["e"], header=False))
        append(tmp_path / "2.csv", text("csv", ["f"], header=False))
        assert follower.look() == ["f", "e"]


def test_compressed_text_is_read_once_when_it_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "old.csv.gz"
    path.write_bytes(gzip.compress(text("csv", ["a"])))
    follower = Follower("csv", tmp_path)
    with closing(follower):
        assert follower.look() == ["a"]
        assert follower.ended
        append(path, gzip.compress(text("csv", ["b"], header=False)))
        follower.clock.advance(TICK)
        follower.source.splits()
        assert "old.csv.gz has changed" in caplog.text


def test_a_quoted_last_field_is_not_held_back(tmp_path: Path) -> None:
    # A stray quote sends the block to the careful reader, which must know a whole record as well as the fast one.
    path = tmp_path / "log.csv"
    append(path, b'n,s\n1,x"y\n2,"b"\n')
    follower = Follower("csv", path, on_error="dead_letter")
    with closing(follower):
        assert follower.look() == ["b"]
        append(path, b'3,"c"\r')
        assert follower.look() == []
        append(path, b"\n")
        assert follower.look() == ["c"]
        assert follower.rejected == ['1,x"y']


def test_malformed_rows_fail_the_job_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    append(path, text("csv", ["a", "b\nc"]))
    follower = Follower("csv", path)
    with closing(follower):
        follower.look()
        append(path, b"x,d\n")
        with pytest.raises(MalformedRow, match=r"log\.csv:5, column `n`"):
            follower.look()


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_an_offset_in_a_file_that_is_another_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(text(kind, ["a" * 50] * 40))
    source = make_source(kind, {"path": path})
    reader = source.open(source.splits()[0])
    reader.poll(1_000)
    with pytest.raises(EndOfStream):
        reader.poll(1)
    offset = reader.offset()
    reader.close()
    append(path, text(kind, ["b"], header=False))
    reader = source.open(source.splits()[0], offset)
    assert reader.poll(10)["s"].to_list() == ["b"]
    reader.close()
    path.write_bytes(text(kind, ["c" * 50] * 41))
    with pytest.raises(SourceError, match=rf"a\.{kind} has been replaced"):
        source.open(source.splits()[0], offset)
    os.truncate(path, 100)
    with pytest.raises(SourceError, match=rf"a\.{kind} has become shorter"):
        source.open(source.splits()[0], offset)


def test_columns_are_taken_from_whole_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    append(path, b"n,x")
    options = {"path": path, "follow": True}
    with pytest.raises(SourceError, match="holds no whole row yet"):
        make_source("csv", options)
    append(path, b"\n1,1.5\n2,2")
    assert make_source("csv", options).schema == {"n": pl.Int64, "x": pl.Float64}
    append(path, b".5\n")
    assert make_source("csv", {**options, "columns": ["x"]}).schema == {"x": pl.Float64}


@pytest.mark.parametrize("kind", ["parquet", "ipc"])
def test_files_with_an_end_of_their_own_cannot_be_followed(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BadOption, match="`follow` is not an option"):
        make_source(kind, {"path": tmp_path, "follow": True, "schema": SCHEMA})


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see open files")
@pytest.mark.parametrize("splits", ["file", "sequence"])
def test_between_two_looks_no_file_is_open(tmp_path: Path, splits: str) -> None:
    for n in range(40):
        append(tmp_path / f"{n}.ndjson", text("ndjson", [f"w{n}"]))
    stream = flare.read_ndjson(tmp_path, follow=True, splits=splits, schema=SCHEMA, watch_interval="10ms")
    job = stream.run(name="follow-many", workers=1)
    try:
        wait_for(lambda: job.result().height == 40)
        append(tmp_path / "7.ndjson", text("ndjson", ["more"]))
        wait_for(lambda: job.result().height == 41)
        wait_for(lambda: not opened_below(tmp_path))
    finally:
        job.stop()


def opened_below(folder: Path) -> list[str]:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(os.readlink(entry))
    return [link for link in links if link.startswith(str(folder))]


def test_a_log_that_has_stopped_growing_is_idle_and_counts_again_when_it_grows(tmp_path: Path) -> None:
    logs = {name: tmp_path / f"{name}.csv" for name in ("a", "b")}

    def write(name: str, *seconds: int) -> None:
        append(logs[name], "".join(f"{second}\n" for second in seconds).encode())

    clock = ManualClock()
    for log in logs.values():
        append(log, b"t\n")
    source = flare.read_csv(tmp_path, follow=True, watch_interval="0us", schema={"t": pl.Int64})
    stream = source.event_time("t", unit="s", idle_timeout="5s")
    job = stream.window(flare.tumbling("10s")).agg(n=pl.len()).run(name="idle-log", workers=1, clock=clock)
    try:
        write("a", 1, 25)
        write("b", 2)
        wait_for(lambda: job.metrics()["rows_out"][0] == 3)
        assert job.result().is_empty()
        write("a", 26)
        clock.advance(5_000_000)
        write("a", 27)
        wait_for(lambda: job.result()["n"].to_list() == [2])
        write("b", 28, 29)
        write("a", 31, 45)
        wait_for(lambda: job.metrics()["rows_out"][0] == 9)
        # The other log holds the window again: it is not idle any more, and is at second 29.
        assert job.result().height == 1
        write("b", 45)
        wait_for(lambda: job.result()["n"].to_list() == [2, 5, 1])
    finally:
        job.stop()


def test_a_job_follows_a_log_and_goes_on_though_its_first_rows_would_tell_other_types(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    append(path, b'{"n":1,"s":null}\n')
    stream = flare.read_ndjson(path, follow=True, watch_interval="10ms", schema_overrides={"n": pl.Float64})
    append(path, b'{"n":2,"s":{"a":1}}\n')
    job = stream.run(name="follow-log")
    try:
        for n in range(3, 6):
            append(path, b'{"n":%d.5,"s":"x"}\n' % n)
            wait_for(lambda n=n: job.result().height >= n)
        assert job.result()["n"].to_list() == [1.0, 2.0, 3.5, 4.5, 5.5]
        path.write_bytes(b"")
        wait_for(lambda: job.read().nodes[stream.ref].counters == {"changed_files": 1})
    finally:
        job.stop()
    assert job.status == "stopped"


def test_a_malformed_row_in_a_followed_log_fails_the_job(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    append(path, b"n\n1\n")
    job = flare.read_csv(path, follow=True, watch_interval="10ms").run(name="follow-bad")
    append(path, b"two\n")
    with pytest.raises(StageFailed, match=r"log\.csv:3, column `n`"):
        job.wait(30)


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
