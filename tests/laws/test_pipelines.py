"""A whole pipeline can be cut off anywhere and gone on with."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.testing import LawBroken, check_pipeline, script, wait
from dataflare_nb.types import EndOfStream

START = datetime(2024, 1, 1)
SCHEMA = {"t": pl.Datetime("us"), "k": pl.String, "v": pl.Int64}
TIME = pl.Datetime("us")


def rows(seed: int, count: int = 24, *, start: int = 0) -> pl.DataFrame:
    """Make rows of about a second each, out of order by up to ten."""
    dice = random.Random(seed)
    seconds = [start + n + dice.randint(-10, 0) for n in range(count)]
    return pl.DataFrame(
        {
            "t": [START + timedelta(seconds=s) for s in seconds],
            "k": [dice.choice(["x", "y", None]) for _ in seconds],
            "v": range(seed * 100, seed * 100 + count),
        },
        schema_overrides=SCHEMA,
    )


def folder(tmp_path: Path, kind: str) -> Path:
    """Write three files, the second of which begins later."""
    place = tmp_path / "in"
    place.mkdir()
    for number, start in enumerate((0, 15, 5)):
        getattr(rows(number, start=start), f"write_{kind}")(place / f"part_{number}.{kind}")
    return place


WINDOWS = {
    "tumbling": flare.tumbling("5s"),
    "hopping": flare.hopping("6s", every="4s"),
    "cumulative": flare.cumulative("8s", step="2s"),
    "session": flare.session("2s"),
    "count": flare.count(4),
    "global": flare.global_window(),
}


@pytest.mark.parametrize("kind", ["parquet", "csv", "ndjson", "ipc"])
@pytest.mark.parametrize("splits", ["file", "sequence"])
def test_files_to_files(tmp_path, kind, splits):
    options = {"schema": SCHEMA} if kind in ("csv", "ndjson") else {}
    place = folder(tmp_path, kind)

    def build(name):
        source = getattr(flare, f"read_{kind}")(place, splits=splits, **options)
        windows = source.event_time("t", "4s", watermark_every=5).key_by("k").window(flare.tumbling("5s"))
        return getattr(windows.agg(n=pl.len(), v=pl.col("v").sum()), f"write_{kind}")(tmp_path / name)

    def read_back(name):
        told = pl.Schema({"k": pl.String, "window_start": TIME, "window_end": TIME, "n": pl.UInt32, "v": pl.Int64})
        files = sorted(file for file in (tmp_path / name).iterdir() if not file.name.startswith("."))
        known = {"schema": told} if kind in ("csv", "ndjson") else {}
        return pl.concat([pl.DataFrame(schema=told), *(getattr(pl, f"read_{kind}")(file, **known) for file in files)])

    check_pipeline(build, read_back, poll=4, most_cuts=12)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("lateness", ["0s", "3s"])
def test_windows_over_splits_of_their_own_time(window, lateness):
    frames = [rows(number, start=start) for number, start in enumerate((0, 15, 5))]

    def build(_):
        stream = flare.from_frames(frames).event_time("t", "2s", watermark_every=4).key_by("k")
        late = {} if window in ("count", "global") else {"allowed_lateness": lateness}
        return stream.window(WINDOWS[window], **late).agg(n=pl.len(), v=pl.col("v").sum(), m=pl.col("v").median())

    check_pipeline(build)


@pytest.mark.parametrize("window", ["tumbling", "session"])
def test_live_splits_that_pause_are_idle_and_come_back(window):
    parts = [list(rows(number, 18).iter_slices(4)) for number in range(3)]
    splits = {
        "a": [parts[0][0], wait("3s"), *parts[0][1:]],
        "b": [*parts[1][:2], wait("8s"), *parts[1][2:]],
        "c": [wait("2s"), parts[2][0], wait("7s"), parts[2][1], wait("1s"), *parts[2][2:]],
    }

    def build(_):
        stream = script(splits=splits).event_time("t", "1s", idle_timeout="2s").key_by("k")
        early = stream.window(WINDOWS[window], allowed_lateness="4s", early=flare.every("1s"))
        return early.agg(n=pl.len(), v=pl.col("v").sum())

    check_pipeline(build, step="300ms", patience="12s", most_cuts=40 if window == "tumbling" else 12)


def test_unions_of_branches_with_times_of_their_own():
    first, second = rows(1), rows(2, 30, start=6)

    def build(_):
        left = flare.from_frames([first, rows(3)]).event_time("t", "1s", watermark_every=3)
        right = flare.from_frame(second).event_time("t", "5s", watermark_every=7).filter(pl.col("v") % 5 > 0)
        both = left.union(right).with_columns(pl.col("k").fill_null("none"))
        return both.key_by("k").window(flare.tumbling("5s")).agg(n=pl.len())

    check_pipeline(build, most_cuts=40)


def test_a_union_of_live_branches_one_of_which_is_silent():
    def build(_):
        left = script(*rows(1).iter_slices(3), wait("4s"), rows(4, start=20)).event_time("t", idle_timeout="1s")
        right = script(rows(2, 1), wait("6s"), rows(2, start=10)).event_time("t", idle_timeout="1s")
        return left.union(right).window(flare.tumbling("4s"), allowed_lateness="2s").agg(n=pl.len())

    check_pipeline(build, step="200ms", patience="5s", most_cuts=40)


def test_more_live_splits_than_are_read_at_once():
    splits = {f"s{n:02}": [rows(n, 4), wait("2s"), rows(n, 3, start=8)] for n in range(20)}

    def build(_):
        return (
            script(splits=splits).event_time("t", "9s", idle_timeout="3s").window(flare.tumbling("5s")).agg(n=pl.len())
        )

    check_pipeline(build, step="100ms", patience="5s", most_cuts=20)


def test_malformed_late_and_invalid_rows_go_aside_once(tmp_path):
    for number in range(2):
        good = rows(number).with_columns(pl.col("t").dt.strftime("%Y-%m-%dT%H:%M:%S"), pl.col("v").cast(pl.String))
        lines = good.with_columns(v=pl.when(pl.col("v").str.ends_with("3")).then(pl.lit("three")).otherwise("v"))
        lines = lines.with_columns(t=pl.when(pl.col("v").str.ends_with("5")).then(None).otherwise("t"))
        lines.write_csv(tmp_path / f"{number}.csv")

    def build(_):
        source = flare.read_csv(tmp_path / "*.csv", schema=SCHEMA, on_error="dead_letter")
        return source.event_time("t", watermark_every=2).window(flare.tumbling("3s")).agg(n=pl.len())

    check_pipeline(build)


def test_logs_that_are_followed(tmp_path):
    place = folder(tmp_path, "ndjson")

    def build(name):
        source = flare.read_ndjson(place, follow=True, schema=SCHEMA, watch_interval="500ms", splits="sequence")
        return source.filter(pl.col("v") % 3 > 0).write_ndjson(tmp_path / name)

    def read_back(name):
        files = sorted(file for file in (tmp_path / name).iterdir() if not file.name.startswith("."))
        return pl.concat([pl.read_ndjson(file, schema=SCHEMA) for file in files])

    check_pipeline(build, read_back, step="100ms", patience="3s", most_cuts=12)


@flare.udf
def doubled(v: int) -> int:
    return v * 2


def test_stages_in_wasm_and_python_and_a_rate():
    def build(_):
        made = flare.rate(20.0, rows=40, splits=3).with_columns(w=doubled("value"))
        moved = made.map_batches(lambda frame: frame.with_columns(pl.col("w") + 1))
        return moved.event_time("timestamp").window(flare.tumbling("500ms")).agg(n=pl.len(), w=pl.col("w").sum())

    check_pipeline(build, step="30ms")


# The law can be broken, and says where


class Forgetful:
    """A source whose offset is always that of its first row."""

    schema = pl.Schema({"n": pl.Int64})
    bounded = True
    invalid_schema = None

    def total_rows(self):
        return None

    def splits(self):
        return ["only"]

    def open(self, split, offset=None):
        return ForgetfulReader()


class ForgetfulReader:
    def __init__(self):
        self.left = [1, 2, 3, 4, 5]

    def poll(self, max_rows):
        if not self.left:
            raise EndOfStream
        batch, self.left = self.left[:max_rows], self.left[max_rows:]
        return pl.DataFrame({"n": batch}, schema=Forgetful.schema)

    def rejected(self):
        return None

    def offset(self):
        return {}

    def close(self):
        return None


def test_a_source_that_forgets_where_it_was_is_found():
    flare.register_source("forgetful", lambda options, resources: Forgetful())
    with pytest.raises(LawBroken, match=r"restart: cut after 1 of \d+ polls; `stage 1: filter.*8 rows instead of 5"):
        check_pipeline(lambda _: flare.read("forgetful").filter(pl.col("n") > 0))


def test_a_sink_that_writes_twice_is_found(tmp_path):
    class Twice:
        def open(self, ctx, schema):
            return self

        def write(self, batch):
            seen.setdefault(self.place, []).extend(batch["n"].to_list())

        def prepare(self, epoch):
            return {}

        def commit(self, epoch, prepared):
            return None

        abort = close = lambda self: None

    seen: dict[str, list[int]] = {}

    def build(name):
        sink = Twice()
        sink.place = name
        flare.register_sink(f"twice_{name}", lambda options, resources: sink)
        return flare.from_frame(pl.DataFrame({"n": range(9)})).write(f"twice_{name}")

    with pytest.raises(LawBroken, match=r"restart: .* what can be seen: .* rows instead of"):
        check_pipeline(build, lambda name: pl.DataFrame({"n": seen[name]}))
