"""`flare.table` and `flare.chart`: results that update in place, and what stays of them."""

from __future__ import annotations

import struct
import threading
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.errors import BadOption, UnknownColumn, UnknownStage, WrongType

START = datetime(2013, 1, 1)
ROWS = pl.DataFrame(
    {
        "t": [START + timedelta(minutes=n) for n in range(600)],
        "who": ["a", "b", "c"] * 200,
        "v": [float(n * 7919 % 101) for n in range(600)],
    }
).with_columns(pl.col("t").cast(pl.Datetime("us")))


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def threads(kind: str) -> int:
    return sum(thread.name.endswith(f":{kind}") for thread in threading.enumerate())


def test_a_table_has_the_newest_rows_of_a_stream() -> None:
    shown = flare.table(flare.from_frame(ROWS), rows=5).wait(60)
    assert shown.rows().equals(ROWS.tail(5))
    assert ": the newest 5 of 600 rows\n" in repr(shown)


def test_a_revision_takes_the_place_of_the_result_that_it_revises() -> None:
    frame = ROWS.head(2)
    late = frame.with_columns(t=pl.lit(START + timedelta(minutes=30)).cast(pl.Datetime("us")))
    past = frame.head(1).with_columns(t=pl.lit(START + timedelta(minutes=90)).cast(pl.Datetime("us")))
    script = testing.script(frame, past, late, bounded=True)
    again = (
        script.event_time("t", watermark_every=1)
        .key_by("who")
        .window(flare.tumbling("1h"), allowed_lateness="2h")
        .agg(n=pl.len())
    )
    table = flare.table(again.with_columns(twice=pl.col("n") * 2), workers=1).wait(60)
    assert table.rows().select("who", "n", "twice", "revision").rows() == [
        ("a", 2, 4, 1),
        ("b", 2, 4, 1),
        ("a", 1, 2, 0),
    ]
    chart = flare.chart(again, x="window_start", y="n", by="who", workers=1).wait(60)
    assert chart.points().select("series", "y").rows() == [("a", 2.0), ("a", 1.0), ("b", 2.0)]


def test_a_chart_has_a_line_for_each_value_and_the_times_of_the_column() -> None:
    shown = flare.chart(flare.from_frame(ROWS), x="t", y="v", by="who").wait(60)
    points = shown.points()
    assert points["series"].unique(maintain_order=True).to_list() == ["a", "b", "c"]
    wanted = ROWS.filter(who="a")
    line = points.filter(series="a")
    assert line["y"].max() == wanted["v"].max()
    assert line["x"].is_in(wanted["t"]).all()
    assert line["x"][0] == START
    assert points.schema["x"] == ROWS.schema["t"]
    assert "v over t by who, 600 rows\n  a: 0 to" in repr(shown)


@pytest.mark.parametrize(
    "dtype",
    [
        *(pl.Date(), pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("us", "UTC")),
        *(pl.Datetime("ms", "Asia/Kolkata"), pl.Duration("us"), pl.Duration("ms"), pl.Time()),
    ],
    ids=str,
)
def test_any_time_can_be_x_and_comes_back_as_it_was(dtype: pl.DataType) -> None:
    days = pl.Series([15_706, 15_707], dtype=pl.Int32).cast(pl.Date).cast(pl.Datetime("us"))
    if dtype == pl.Time():
        times = pl.Series([1, 86_399_999_999_000]).cast(pl.Time)
    else:
        times = days.to_physical().cast(pl.Duration("us")).cast(dtype) if dtype == pl.Duration else days.cast(dtype)
    frame = pl.DataFrame({"series": "v", "t": times, "v": [1.0, 2.0]})
    points = flare.chart(flare.from_frame(frame), x="t", y="v").wait(60).points()
    if dtype == pl.Time():
        frame = frame.with_columns(t=pl.Series([0, 86_399_999_999_000]).cast(pl.Time))
    assert points.equals(frame.rename({"t": "x", "v": "y"}))


def test_a_chart_has_the_clock_of_its_column_and_names_the_zone() -> None:
    night = pl.datetime_range(datetime(2013, 11, 3, 4), datetime(2013, 11, 3, 8), "30m", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"t": night.dt.convert_time_zone("America/New_York")}).with_columns(v=pl.int_range(pl.len()))
    shown = flare.chart(flare.from_frame(frame), x="t", y="v").wait(60)
    assert repr(shown).splitlines() == [
        "v over t (America/New_York), 9 rows",
        "  v: 0 to 8, 8 at the end; 2013-11-03 00:00:00 EDT to 2013-11-03 03:00:00 EST",
    ]
    words, numbers = shown.document()
    assert (words["x"], words["zone"]) == ("t", "America/New_York")
    assert struct.unpack("<d", numbers[:8]) == (datetime(2013, 11, 3, 4, tzinfo=UTC).timestamp() * 1e3,)
    assert shown.points()["x"].equals(frame["t"].alias("x"))
    plain = frame.with_columns(pl.col("t").dt.replace_time_zone(None, ambiguous="earliest"))
    other = flare.chart(flare.from_frame(plain), x="t", y="v").wait(60)
    assert repr(other).startswith("v over t, 9 rows\n")
    assert other.document()[0]["zone"] == ""


def test_the_picture_of_a_chart_has_the_clock_of_its_column_and_names_the_zone() -> None:
    """It is the one that the times on the wall give, with the zone in their name."""
    hours = pl.datetime_range(datetime(2013, 1, 1, 5), datetime(2013, 1, 1, 10), "1h", eager=True)

    def picture(t: pl.Series, name: str = "t") -> str:
        frame = pl.DataFrame({name: t, "v": range(6)})
        return str(flare.chart(flare.from_frame(frame), x=name, y="v").wait(60).saved()[0]["image/png"])

    zoned = picture(hours.dt.replace_time_zone("America/New_York"))
    assert zoned == picture(hours, "t (America/New_York)")
    assert picture(hours.dt.replace_time_zone("UTC")) == picture(hours, "t (UTC)") != picture(hours)


def test_a_stage_of_a_job_is_shown_as_it_goes() -> None:
    feed = testing.Feed(ROWS.schema)
    job = feed.stream.filter(pl.col("v") >= 0).named("some").run(workers=1)
    feed.give(ROWS.head(10)).settle()
    table, chart = flare.table(job, "some", rows=3), flare.chart(job, "some", x="t", y="v")
    feed.give(ROWS.slice(10, 10)).settle()
    assert table.rows().equals(ROWS.slice(17, 3))
    assert chart.points().height == 20
    assert threads("table") == threads("chart") == 1
    table.close()
    deadline = time.monotonic() + 30
    while threads("table"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    feed.give(ROWS.slice(20, 10)).settle()
    assert table.rows().equals(ROWS.slice(17, 3))
    assert chart.points().height == 30
    assert job.status == "running"
    job.stop()
    assert flare.table(job, "some", rows=2).rows().equals(ROWS.slice(28, 2))


def test_what_came_too_fast_is_told_in_a_table_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflare_nb.notebook.live.INTERVAL", 30.0)
    feed = testing.Feed(ROWS.schema, bounded=True)
    job = feed.stream.named("some").run("fast", workers=1)
    shown = flare.table(job, "some", rows=2)
    many = pl.concat([ROWS] * 200)
    for _ in range(3):
        feed.give(many).settle()
    feed.end()
    job.wait(60)
    shown.close()
    said, _ = shown.document()
    skipped = 3 * many.height - said["came"]
    assert skipped > 0
    assert said["note"] == f"{skipped:,} rows came too fast to be looked at"
    assert f"; {said['note']}</caption>" in shown.saved()[0]["text/html"]
    assert repr(shown).startswith(f"some: the newest 2 of {said['came']:,} rows; {said['note']}\n")


@pytest.mark.slow
def test_rows_that_no_axis_has_are_counted_and_those_that_cannot_be_named_end_the_display_and_not_the_job() -> None:
    far = pl.DataFrame({"t": pl.Series([0, 2**61], dtype=pl.Datetime("us")), "v": [1.0, 2.0]})
    shown = flare.chart(flare.from_frame(far), x="t", y="v").wait(60)
    assert "1 rows have no x or no y to draw" in repr(shown)
    huge = flare.chart(
        flare.from_frame(pl.DataFrame({"x": [-1e308, 1.0, 1e308], "y": [1e308, 1.0, None]})), x="x", y="y"
    )
    assert "2 rows have no x or no y to draw" in huge.wait(60).saved()[0]["text/plain"]
    none = pl.DataFrame({"x": [1, 2], "y": pl.Series([None, None], dtype=pl.Float64)})
    assert set(flare.chart(flare.from_frame(none), x="x", y="y").wait(60).saved()[0]) == {"text/plain", "image/png"}
    # A date that far Polars cannot write, and says so by a panic.
    days = pl.DataFrame({"d": pl.Series([2**30], dtype=pl.Int32).cast(pl.Date), "v": [1.0]})
    named = flare.chart(flare.from_frame(days), x="v", y="v", by="d").wait(60)
    assert named.job.status == "finished"
    assert "no more is shown: out-of-range date" in repr(named)
    assert "1073741824 days since 1970" in flare.table(flare.from_frame(days)).wait(60).saved()[0]["text/html"]


def test_a_wide_table_says_how_much_of_it_is_shown() -> None:
    wide = pl.DataFrame({f"c{n}": [n] for n in range(250)})
    shown = flare.table(flare.from_frame(wide)).wait(60)
    assert shown.document()[0]["note"] == "the first 100 of 250 columns"
    assert "the first 100 of 250 columns" in shown.saved()[0]["text/html"]


@pytest.mark.slow
def test_many_small_batches_are_no_burden(within) -> None:
    feed = testing.Feed(ROWS.schema, bounded=True)
    for piece in [*ROWS.iter_slices(1)] * 5:
        feed.give(piece)
    feed.end()
    with within(20):
        shown = flare.chart(feed.stream, x="t", y="v", by="who", workers=1).wait(60)
    assert shown.document()[0]["came"] == 3_000


def test_the_same_again_replaces_the_one_before() -> None:
    feed = testing.Feed(ROWS.schema)
    for _ in range(5):
        shown = flare.table(feed.stream, workers=1)
    assert len(flare.jobs()) == 1
    deadline = time.monotonic() + 30
    while threads("table") > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert shown.job.status == "running"
    named = flare.table(feed.stream, name="mine", workers=1)
    assert named.job.name == "mine"


@pytest.mark.slow
def test_what_stays_is_the_same_for_the_same_rows() -> None:
    stream = flare.from_frame(ROWS.with_columns(markup=pl.lit("<b>&$x$")))
    for make in (
        lambda: flare.table(stream, rows=3),
        lambda: flare.chart(stream, x="t", y="v", by="markup"),
        lambda: flare.chart(stream.filter(pl.col("v") > 1e9), x="t", y="v"),
    ):
        one, two = make().wait(60).saved(), make().wait(60).saved()
        assert one == two
        assert "text/html" not in one[0] or "<b>" not in one[0]["text/html"]
    assert one[0]["text/plain"] == "v over t, 0 rows"
    table = flare.table(stream, rows=3).wait(60).saved()[0]["text/html"]
    assert table.count("<tr>") == 4
    assert "&lt;b&gt;&amp;$x$" in table


def test_what_cannot_be_shown_is_refused_at_the_line() -> None:
    stream = flare.from_frame(ROWS).named("rows")
    job = stream.run()
    with pytest.raises(UnknownColumn, match=r"chart at test_live.py, line \d+: y='w'; the stream has t, who, v"):
        flare.chart(stream, x="t", y="w")
    with pytest.raises(WrongType, match="x='who' is String; it is a number or a time, as t, v"):
        flare.chart(stream, x="who", y="v")
    with pytest.raises(WrongType, match=r"y='t' is Datetime.*; it is a number, as v"):
        flare.chart(stream, x="t", y="t")
    with pytest.raises(WrongType, match=r"by='l' is List\[Int32\], of which no name of a line can be made"):
        flare.chart(stream.with_columns(l=pl.concat_list(pl.lit(1))), x="t", y="v", by="l")
    with pytest.raises(BadOption, match="rows=0; between 1 and 500"):
        flare.table(stream, rows=0)
    with pytest.raises(WrongType, match=r"stage='rows' is for a job; of a stream it is stream.at\('rows'\)"):
        flare.table(stream, "rows")
    with pytest.raises(UnknownStage, match="no stage `row`"):
        flare.table(job, "row")
    with pytest.raises(WrongType, match="is neither a stream nor a job"):
        flare.table(ROWS)
    with pytest.raises(BadOption, match="it takes"):
        flare.chart(stream, x="t")


FEED = """
import dataflare_nb as flare, polars as pl
from dataflare_nb import testing
feed = testing.Feed({"x": pl.Int64, "y": pl.Float64})
rows = lambda *n: pl.DataFrame({"x": n, "y": [float(v * v) for v in n]}, schema=feed.schema)
"""


def views(lent) -> list[str]:
    """The comms of tables and charts that are open."""
    opened = [
        m["content"]["comm_id"]
        for m in lent.seen
        if m["msg_type"] == "comm_open" and "_esm" in m["content"]["data"].get("state", {})
    ]
    closed = {m["content"]["comm_id"] for m in lent.seen if m["msg_type"] == "comm_close"}
    return [each for each in opened if each not in closed]


@pytest.mark.slow
def test_a_page_is_shown_what_changed_when_it_has_painted_and_a_picture_stays() -> None:
    from .kernel import kernel

    with kernel() as lent:
        lent.run(FEED)
        (shown,) = lent.run("c = flare.chart(feed.stream, x='x', y='y', workers=1)\nc")
        assert shown["content"]["data"]["text/plain"] == "y over x, 0 rows"
        (comm,) = views(lent)
        lent.subshell()
        lent.tell(comm, {"t": "hello", "view": "v"})
        lent.until(lambda: lent.said(comm, "show"))
        lent.run("feed.give(rows(1, 2, 3)).settle()")
        # The page has not said that it has painted, so nothing more comes for the while that it is waited for.
        first = lent.said(comm, "show")[0]
        assert (first["seq"], first["came"], first["series"]) == (1, 0, [])
        # While a cell blocks, the page is heard.
        lent.send("import time; time.sleep(3)")
        lent.tell(comm, {"t": "ack", "seq": 1})
        second = lent.until(lambda: [m for m in lent.said(comm, "show") if m["came"] == 3])[0]
        assert second["series"] == [{"name": "y", "n": 3}]
        assert list(memoryview(bytes(second["buffers"][0])).cast("d")) == [1, 2, 3, 1, 4, 9]
        # However much comes, at most four pictures a second go out.
        lent.tell(comm, {"t": "ack", "seq": second["seq"]})
        before, begun = len(lent.said(comm, "show")), time.monotonic()
        for number in range(20):
            lent.run(f"feed.give(rows({number})).settle()")
            for message in lent.said(comm, "show")[before:]:
                lent.tell(comm, {"t": "ack", "seq": message["seq"]})
        took = time.monotonic() - begun
        assert len(lent.said(comm, "show")) - before <= 4 * took + 2
        lent.run("feed.end(); c.job.drain(60)")
        frozen = lent.until(lambda: [m for m in lent.seen if m["msg_type"] == "update_display_data"])[0]["content"]
        assert {"text/plain", "image/png"} <= set(frozen["data"])
        assert frozen["transient"]["display_id"] == shown["content"]["transient"]["display_id"]
        # A page that was loaded again shows the model still: it knows nothing of the display that was updated.
        lent.tell(comm, {"t": "hello", "view": "w"})
        last = lent.until(lambda: lent.state(comm).get("ended") and lent.said(comm, "show"))[-1]
        assert last["came"] == 23
        for view in ("v", "w"):
            assert views(lent) == [comm]
            lent.tell(comm, {"t": "bye", "view": view})
        lent.until(lambda: not views(lent))
        lent.until(lambda: not lent.threads())


@pytest.mark.slow
def test_a_cell_that_is_run_again_has_one_job_and_one_view() -> None:
    from .kernel import kernel

    with kernel() as lent:
        lent.run(FEED)
        for _ in range(6):
            lent.run("flare.table(feed.stream, workers=1)")
        lent.run("feed.give(rows(7, 8)).settle()")
        shown = lent.run("print(len(flare.jobs()), list(flare.jobs().values())[0].status)")
        assert shown[0]["content"]["text"] == "1 running\n"
        lent.until(lambda: len(views(lent)) == 1)
        lent.until(lambda: len(lent.threads()) == 2, what="one worker, one display")


@pytest.mark.slow
def test_static_notebooks_show_what_stays() -> None:
    from .kernel import kernel

    with kernel(DATAFLARE_STATIC="1") as lent:
        lent.run(FEED)
        one, two = (lent.run("flare.table(flare.from_frame(rows(1, 2, 3)), rows=2)")[0]["content"] for _ in range(2))
        assert one["data"] == two["data"]
        assert one["data"]["text/html"].startswith("<table><caption>read frame: the newest 2 of 3 rows</caption>")
        assert not views(lent)
