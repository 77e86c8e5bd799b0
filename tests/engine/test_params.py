"""`flare.param`: a value that changes while jobs run, between two batches, is recorded, and can be replayed."""

from __future__ import annotations

import copy
import logging
import pickle
import threading
import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.errors import BadOption, GraphFormat, StageFailed, UdfError, UnknownStage, WrongType

NUMBERS = pl.DataFrame({"i": range(6), "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "s": list("aabbcc")})
CELL = pl.col("i")
FOURS = [0, 4, 8, 12, 16, 20]


@flare.udf
def scaled(x: float, factor: float) -> float:
    return x * factor


@flare.udf
def above(x: float, limit: float) -> bool:
    return x > limit


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    flare.stop_all()


def fed() -> testing.Feed:
    return testing.Feed(NUMBERS.schema)


def test_what_is_set_beside_the_value_is_refused() -> None:
    limit = flare.param(3, min=0)
    with pytest.raises(
        BadOption, match=r"limit\.valu at .*line \d+: of a param only `value` is set\. Did you mean `value`\?"
    ):
        limit.valu = 4  # type: ignore[attr-defined]
    with pytest.raises(
        BadOption, match=r"`min` is declared: limit = flare\.param\(\.\.\., min=\.\.\.\) declares it anew"
    ):
        limit.min = 1  # type: ignore[method-assign, assignment]
    assert limit.value == 3
    limit.value = 4
    assert limit.value == 4


def test_a_change_takes_effect_at_the_next_batch_and_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    threshold = flare.param(2, min=0, max=1000)
    feed = fed()
    job = feed.stream.filter(pl.col("x") > threshold).named("high").run(workers=1, clock=testing.clock(7_000_000))
    feed.give(NUMBERS).settle()
    assert job.changes().is_empty()
    with caplog.at_level(logging.INFO, "dataflare_nb"):
        threshold.value = 4
        feed.give(NUMBERS).settle()
    assert job.result()["i"].to_list() == [2, 3, 4, 5, 4, 5]
    at = pl.Series([7_000_000]).cast(pl.Datetime("us"))[0]
    assert job.changes().rows() == [("threshold", "high", 6, "2", "4", at)]
    assert "stage high has threshold = 4 instead of 2 from row 6 on" in caplog.text
    assert "`high` has threshold = 4 instead of 2 from row 6 on" in job.log()["text"].to_list()
    assert job.read().nodes["high"].changes[0].new == 4
    assert job.ledger()["balanced"].all()


def test_a_job_that_begins_with_another_value_records_it_at_its_first_row() -> None:
    threshold = flare.param(2)
    threshold.value = 5
    job = flare.from_frame(NUMBERS).filter(pl.col("x") > threshold).named("high").run().wait(60)
    assert job.result()["i"].to_list() == [5]
    assert job.changes().select("param", "stage", "row", "old", "new").rows() == [("threshold", "high", 0, "2", "5")]


@pytest.mark.parametrize(
    ("value", "new", "build", "before", "after"),
    [
        (2, 4, lambda s, p: s.filter(pl.col("x") > p), [2, 3, 4, 5], [4, 5]),
        (2, 4, lambda s, p: s.filter(p < pl.col("x")), [2, 3, 4, 5], [4, 5]),
        (2, 4, lambda s, p: s.filter(x=p), [1], [3]),
        (2.0, 4.0, lambda s, p: s.filter(pl.col("x", "i") >= p), [2, 3, 4, 5], [4, 5]),
        ("b", "c", lambda s, p: s.filter(pl.col("s") == p), [2, 3], [4, 5]),
        (True, False, lambda s, p: s.filter(p), [0, 1, 2, 3, 4, 5], []),
        (True, False, lambda s, p: s.filter((pl.col("x") > 4) | p), [0, 1, 2, 3, 4, 5], [4, 5]),
        (2, 4, lambda s, p: s.select("i", p).select(i=pl.col("knob") * 100), [200] * 6, [400] * 6),
        (2, 4, lambda s, p: s.with_columns(i=pl.col("i") * p), [0, 2, 4, 6, 8, 10], [0, 4, 8, 12, 16, 20]),
        (2, 4, lambda s, p: s.with_columns((pl.col("i", "x") * p).name.keep()), [0, 2, 4, 6, 8, 10], FOURS),
        (2, 4, lambda s, p: s.select(pl.all()).filter(pl.col("i").is_between(p, p + 1)), [2, 3], [4, 5]),
        (2, 4, lambda s, p: s.select(i=pl.when(p < CELL).then(p).otherwise(CELL)), [0, 1, 2, 2, 2, 2], [0, 1, 2, 3, 4, 4]),  # noqa: E501
        (2, 4, lambda s, p: s.with_columns(i=scaled("x", p).alias("i")), [2, 4, 6, 8, 10, 12], [4, 8, 12, 16, 20, 24]),
        (2, 4, lambda s, p: s.filter(above("x", limit=p)), [2, 3, 4, 5], [4, 5]),
        (2, 4, lambda s, p: s.filter(above(x=p, limit="x")), [0], [0, 1, 2]),
        (2, 4, lambda s, p: s.map_batches(lambda f: f.filter(pl.col("x") > p)), [2, 3, 4, 5], [4, 5]),
        (2, 4, lambda s, p: s.map_batches(lambda f: f.filter(pl.col("x") > p.value)), [2, 3, 4, 5], [4, 5]),
    ],
)  # fmt: skip
def test_it_is_a_value_wherever_a_stage_keeps_nothing(value, new, build, before, after) -> None:
    knob = flare.param(value)
    feed = fed()
    stream = build(feed.stream, knob)
    job = stream.run(workers=1)
    feed.give(NUMBERS).settle()
    knob.value = new
    feed.give(NUMBERS).settle()
    assert job.result()["i"].to_list() == [*before, *after]
    assert job.result().schema == stream.schema
    assert job.changes().select("param", "row").rows() == [("knob", 6)]


def test_keys_may_be_computed_with_one() -> None:
    width = flare.param(2)
    stream = flare.from_frame(NUMBERS).key_by(bucket=pl.col("i") // width).window(flare.global_window()).agg(n=pl.len())
    assert stream.collect().sort("bucket").rows() == [(0, 2), (1, 2), (2, 2)]
    width.value = 3
    assert stream.collect().sort("bucket").rows() == [(0, 3), (1, 3)]


def test_each_stage_that_reads_it_changes_at_a_row_of_its_own() -> None:
    low = flare.param(3)
    feed = fed()
    first = feed.stream.filter(pl.col("i") >= low).named("first")
    job = first.with_columns(again=pl.col("i") - low).named("second").run(workers=1)
    feed.give(NUMBERS).settle()
    low.value = 1
    feed.give(NUMBERS).settle()
    assert job.changes().select("stage", "row").rows() == [("first", 6), ("second", 3)]
    assert job.result()["again"].to_list() == [0, 1, 2, 0, 1, 2, 3, 4]


def test_fused_steps_see_one_value() -> None:
    a = flare.param(1)
    b = flare.param(10)
    stream = flare.from_frame(NUMBERS).filter(pl.col("i") > a).with_columns(y=pl.col("i") * b).select("y", z=a + b)
    a.value, b.value = 3, 20
    job = stream.run().wait(60)
    assert job.result().rows() == [(80, 23), (100, 23)]
    assert job.changes().height == 2


# Replaying


CHANGES = st.lists(st.tuples(st.integers(0, 220), st.integers(0, 100)), max_size=8)


def oracle(rows: pl.DataFrame, first: int, changes: list[tuple[int, int]]) -> pl.DataFrame:
    """What the pipeline below makes, by the value that each row was met with."""
    values = [first] * rows.height
    for row, value in sorted(changes, key=lambda change: change[0]):
        values[row:] = [value] * (rows.height - min(row, rows.height))
    seen = rows.with_columns(limit=pl.Series(values, dtype=pl.Int64))
    return seen.filter(pl.col("v") > pl.col("limit")).with_columns(over=pl.col("v") - pl.col("limit")).drop("limit")


@settings(max_examples=40)
@given(
    values=st.lists(st.integers(0, 100), min_size=1, max_size=200),
    changes=CHANGES,
    cut=st.integers(1, 70),
    workers=st.sampled_from([1, 3]),
)
def test_a_replay_gives_the_same_rows_for_any_cut_and_any_number_of_workers(values, changes, cut, workers) -> None:
    limit = flare.param(50)
    rows = pl.DataFrame({"v": values}, schema={"v": pl.Int64})
    feed = testing.Feed(rows.schema, bounded=True)
    for start in range(0, rows.height, cut):
        feed.give(rows.slice(start, cut))
    feed.end()
    stream = feed.stream.filter(pl.col("v") > limit).with_columns(over=pl.col("v") - limit)
    recorded = pl.DataFrame(
        [("limit", stream.ref, row, str(value)) for row, value in changes],
        schema={"param": pl.String, "stage": pl.String, "row": pl.Int64, "new": pl.String},
        orient="row",
    )
    limit.value = 7  # A replay does not ask what it is by now.
    job = stream.run("replay", workers=workers, changes=recorded).wait(60)
    assert job.result().equals(oracle(rows, 50, changes))
    assert job.ledger()["balanced"].all()


@pytest.mark.parametrize("workers", [1, 4])
def test_what_was_changed_under_way_is_replayed_row_for_row(workers: int) -> None:
    limit = flare.param(0)
    factor = flare.param(1.0)
    stream = (
        flare.rate(200_000, rows=40_000)
        .with_columns(x=pl.col("value").cast(pl.Float64))
        .filter(pl.col("value") % 100 >= limit)
        .named("keep")
        .with_columns(y=scaled("x", factor))
        .named("scale")
    )
    job = stream.run("live", workers=workers, latency="5ms")
    for number in range(1, 12):
        time.sleep(0.015)
        limit.value, factor.value = number * 7, number / 4
    job.wait(60)
    recorded = job.changes()
    assert recorded.height > 4
    assert job.ledger()["balanced"].all()
    again = stream.run("again", workers=5 - workers, latency="throughput", changes=recorded).wait(60)
    same = ["value", "x", "y"]
    assert again.result().select(same).equals(job.result().select(same))
    assert (
        again.changes()
        .drop("at")
        .sort("stage", "row", "param")
        .equals(recorded.drop("at").sort("stage", "row", "param"))
    )


def test_a_record_survives_a_file(tmp_path) -> None:
    word = flare.param("a")
    share = flare.param(0.1)
    on = flare.param(True)
    stream = flare.from_frame(NUMBERS).filter((pl.col("s") > word) | on, pl.col("x") > share).named("some")
    word.value, share.value, on.value = "b", 1 / 3, False
    job = stream.run().wait(60)
    job.changes().write_csv(tmp_path / "changes.csv")
    word.value, share.value, on.value = "z", 9.0, True
    assert stream.collect(changes=pl.read_csv(tmp_path / "changes.csv")).equals(job.result())
    assert stream.collect(changes=job.changes().clear()).equals(NUMBERS)


def test_a_record_of_another_graph_is_refused() -> None:
    low = flare.param(1, max=10)
    stream = flare.from_frame(NUMBERS).filter(pl.col("i") > low).named("some")
    low.value = 2
    recorded = stream.run().wait(60).changes()
    with pytest.raises(UnknownStage, match=r"run at test_params.py, line \d+: changes: no stage `soem`.*Did you mean"):
        stream.run(changes=recorded.with_columns(stage=pl.lit("soem")))
    with pytest.raises(BadOption, match="stage `some` reads no param `high`; it reads low"):
        stream.run(changes=recorded.with_columns(param=pl.lit("high")))
    with pytest.raises(WrongType, match="param `low` is an int, and 'x' is none"):
        stream.run(changes=recorded.with_columns(new=pl.lit("x")))
    with pytest.raises(BadOption, match="11 is more than max=10"):
        stream.collect(changes=recorded.with_columns(new=pl.lit("11")))
    with pytest.raises(BadOption, match="changes has no column row"):
        stream.run(changes=recorded.drop("row"))
    with pytest.raises(WrongType, match=r"changes=3; it is a frame as job.changes\(\) returns"):
        stream.run(changes=3)
    with pytest.raises(BadOption, match="has row=-1"):
        stream.run(changes=recorded.with_columns(row=pl.lit(-1)))


def test_changes_of_rows_that_never_come_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    low = flare.param(1, max=10)
    stream = flare.from_frame(NUMBERS).filter(pl.col("i") > low).named("some")
    recorded = pl.DataFrame({"param": ["low"] * 3, "stage": ["some"] * 3, "row": [2, 500, 600], "new": ["2", "3", "4"]})
    job = stream.run(changes=recorded).wait(60)
    said = "stage some had no row 500, from which on low = 3, and 1 more recorded changes come after"
    assert [record.message for record in caplog.records if said in record.message] != []
    assert job.log().filter(pl.col("level") == "warning")["text"].str.contains(said).to_list() == [True]
    assert job.changes()["row"].to_list() == [2]
    caplog.clear()
    stream.collect(changes=recorded.head(1))
    assert caplog.records == []


def test_a_swap_and_a_param_go_together() -> None:
    @flare.udf
    def added(x: float, factor: float) -> float:
        return x + factor

    factor = flare.param(10.0)
    feed = fed()
    job = feed.stream.with_columns(y=scaled("x", factor)).named("scale").run(workers=1)
    feed.give(NUMBERS.head(2)).settle()
    job.swap("scale", added)
    feed.give(NUMBERS.head(2)).settle()
    factor.value = 20
    feed.give(NUMBERS.head(2)).settle()
    assert job.result()["y"].to_list() == [10, 20, 11, 12, 21, 22]


# The graph


def test_a_graph_holds_the_params_that_its_steps_read() -> None:
    limit = flare.param(3, min=0, max=5, label="at most")
    stream = flare.from_frame(NUMBERS).with_columns(y=scaled("x", limit)).filter(pl.col("i") <= limit, pl.col("y") > 0)
    head = stream.ref
    assert '"params":[{"name":"limit","dtype":"Int64","value":3,"min":0,"max":5,"label":"at most"}]' in (
        stream.to_json().decode()
    )
    again = flare.Graph.from_json(stream.to_json(), stream.graph.blobs)
    assert again == stream.graph
    limit.value = 1
    rebuilt = flare.from_frame(NUMBERS).with_columns(y=scaled("x", limit)).filter(pl.col("i") <= limit, pl.col("y") > 0)
    assert rebuilt.ref == head
    assert rebuilt.graph == stream.graph
    assert rebuilt.graph.blobs.keys() == stream.graph.blobs.keys()
    assert "filter i <= limit, y > 0" in stream.draw()
    assert "y = scaled(x, factor=limit)" in stream.draw()
    assert flare.Stream(again, head).collect()["i"].to_list() == [0, 1]


def test_a_step_without_params_is_what_it_was() -> None:
    stream = flare.from_frame(NUMBERS).filter(pl.col("x") > 1).with_columns(y=scaled("x", 2.0))
    assert b'"params"' not in stream.to_json()
    assert b'"settings"' not in stream.to_json()


def test_a_graph_that_came_without_its_param_brings_its_own() -> None:
    own = flare.param(3, name="of_a_document")
    stream = flare.from_frame(NUMBERS).filter(pl.col("i") >= own)
    document = stream.to_json().replace(b"of_a_document", b"of_a_stranger")
    # The mark inside of the expression is compressed in base64, so such a document is refused, not misread.
    with pytest.raises(GraphFormat, match="does not say what the param `of_a_document` is"):
        flare.Graph.from_json(document, stream.graph.blobs)


def test_what_was_written_when_a_param_was_of_another_type_is_refused() -> None:
    limit = flare.param(3)
    old = pl.col("x") > limit
    stream = flare.from_frame(NUMBERS).filter(pl.col("i") > limit).named("old")
    limit = flare.param(3.5)
    with pytest.raises(WrongType, match=r"filter at test_params.py, line \d+ has `x > limit`, written when .* was Int64; it is Float64 now"):  # fmt: skip # noqa: E501
        flare.from_frame(NUMBERS).filter(old)
    with pytest.raises(WrongType, match=r"reads the param `limit`, which is Float64 there and Int64 in filter at"):
        stream.filter(pl.col("x") > limit)
    with pytest.raises(WrongType, match="the param `limit`, which is String, as `limit: float` of above"):
        flare.from_frame(NUMBERS).filter(above("x", flare.param("a", name="limit")))


def test_a_job_goes_on_with_its_value_when_the_param_is_declared_as_something_else(caplog) -> None:
    limit = flare.param(2)
    feed = fed()
    job = feed.stream.filter(pl.col("i") > limit).run(workers=1)
    feed.give(NUMBERS).settle()
    flare.param("text", name="limit")
    with caplog.at_level(logging.WARNING, "dataflare_nb"):
        feed.give(NUMBERS).settle().give(NUMBERS).settle()
    assert job.result()["i"].to_list() == [3, 4, 5] * 3
    assert caplog.text.count("goes on with limit = 2: the param was declared anew as String") == 1
    flare.param(4, name="limit")
    feed.give(NUMBERS).settle()
    assert job.result()["i"].to_list() == [*[3, 4, 5] * 3, 5]


# Refusals


def test_a_window_takes_none() -> None:
    limit = flare.param(3)
    windowed = flare.from_frame(NUMBERS).key_by("s").window(flare.global_window())
    with pytest.raises(WrongType, match=r"agg at test_params.py, line \d+ has `n = \(i > limit\).sum\(\)`, and a param cannot change within a window; .* with_columns\(limit=limit\)"):  # fmt: skip # noqa: E501
        windowed.agg(n=(pl.col("i") > limit).sum())
    with pytest.raises(WrongType, match="a param cannot change within a window"):
        windowed.agg((pl.col("i", "x") * limit).sum())
    with pytest.raises(WrongType, match="a param cannot change within a window"):
        windowed.agg(limit)


def test_what_is_no_expression_is_refused_at_the_line() -> None:
    limit = flare.param(3)
    numbers = flare.from_frame(NUMBERS)
    for wrong in (
        lambda: numbers.event_time("i", unit="s", max_out_of_orderness=limit),
        lambda: numbers.event_time("i", unit="s", watermark_every=limit),
        lambda: flare.tumbling(limit),
        lambda: flare.count(limit),
        lambda: flare.rate(limit),
        lambda: numbers.run(workers=limit),
    ):
        with pytest.raises(flare.DataflareError, match=r"limit|expression"):
            wrong()
    with pytest.raises(WrongType, match=r"filter at test_params.py.*has a Python function and a param"):
        numbers.filter(pl.col("i").map_elements(str.__len__, return_dtype=pl.Int64) > limit)
    with pytest.raises(
        UdfError, match=r"is given the param `limit` as `factor` and no column; limit.value is its value"
    ):
        scaled(1.0, limit)


def test_a_compiled_function_takes_it_as_an_argument_only() -> None:
    limit = flare.param(3.0)
    with pytest.raises(UdfError, match=r"`limit` is a param.*as an argument"):

        @flare.udf
        def wrong(x: float) -> bool:
            return x > limit


def test_a_function_where_a_change_would_not_be_recorded_may_not_read_it() -> None:
    limit = flare.param(3)

    class Hidden:
        def __getattr__(self, name):
            return flare.params()["limit"]

    hidden = Hidden()
    with pytest.raises(
        StageFailed, match=r"param `limit` is read by a function of a running job.*would not be recorded"
    ):
        flare.from_frame(NUMBERS).map_batches(
            lambda f: f.filter(pl.col("i") > hidden.it), schema=NUMBERS.schema
        ).collect()
    assert limit.value == 3


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: flare.param(5, min=7, name="p"), "5 is less than min=7"),
        (lambda: flare.param(5, max=3, name="p"), "5 is more than max=3"),
        (lambda: flare.param(5, min=7, max=3, name="p"), "min=7 is more than max=3"),
        (lambda: flare.param(5, step=0, name="p"), "step=0 is not more than nothing"),
        (lambda: flare.param("a", min=0, name="p"), "min, max and step are for numbers, and 'a' is none"),
        (lambda: flare.param("a", options=["b"], name="p"), "'a' is not one of 'b'"),
        (lambda: flare.param("a", options=[], name="p"), "options=\\[\\]; it is a list"),
        (lambda: flare.param("a", options=["a", "a"], name="p"), "has one twice"),
        (lambda: flare.param("a", options=["a", 1], name="p"), "param `p` is a str, and 1 is none"),
        (lambda: flare.param(float("nan"), name="p"), "param at .*value=nan"),
        (lambda: flare.param(float("inf"), name="p"), "inf is not a finite number"),
        (lambda: flare.param(2**63, name="p"), "does not fit into 64 bits"),
        (lambda: flare.param(None, name="p"), "value=None; it is True or False or an int or a number or a str"),
        (lambda: flare.param(1, name="two words"), "a param's name is one as of a variable"),
        (lambda: [flare.param(1)], "write one param to a line, as `limit = flare.param"),
        (lambda: (flare.param(1), flare.param(2)), "or give each its name, as `flare.param\\(1, name='limit'\\)`"),
    ],
)
def test_a_param_that_cannot_be_is_refused_at_its_line(declare, says) -> None:
    with pytest.raises((BadOption, WrongType), match=rf"param at test_params.py, line \d+: .*{says}|{says}"):
        declare()


def test_a_value_that_it_cannot_have_is_refused_and_changes_nothing() -> None:
    limit = flare.param(3, min=0, max=10)
    share = flare.param(1, max=2.0)
    for value, says in [
        (11, "11 is more than max=10"),
        (2.0, "is an int, and 2.0 is none"),
        (True, "is an int, and True"),
    ]:
        with pytest.raises((BadOption, WrongType), match=rf"limit.value at test_params.py, line \d+: .*{says}"):
            limit.value = value
    assert limit.value == 3
    share.value = 2
    assert (share.value, type(share.value)) == (2.0, float)


# As a value


def test_on_a_plain_frame_it_is_the_value_of_the_moment() -> None:
    limit = flare.param(3)
    high = pl.col("i") > limit
    assert NUMBERS.filter(high)["i"].to_list() == [4, 5]
    limit.value = 4
    assert NUMBERS.filter(high)["i"].to_list() == [4, 5]
    assert NUMBERS.lazy().filter(pl.col("i") > limit).collect()["i"].to_list() == [5]
    assert NUMBERS.select(limit).to_dict(as_series=False) == {"limit": [4]}
    assert NUMBERS.filter(pl.col("i") > limit.expr)["i"].to_list() == [5]
    assert NUMBERS.select(scaled.expr("x", limit)).to_series().to_list() == [4, 8, 12, 16, 20, 24]


def test_the_column_names_the_result_whichever_side_it_is_on() -> None:
    limit = flare.param(3)
    for made in (pl.col("i") > limit, limit > pl.col("i"), pl.col("i") * limit, pl.col("i") == limit):
        assert made.meta.output_name() == "i"
    assert (limit + 1).meta.output_name() == "limit"


def test_it_is_called_as_its_variable_and_declaring_it_again_begins_again() -> None:
    limit = flare.param(3)
    limit.value = 5
    again = flare.param(3, name="limit")
    assert (limit.value, again.value, again is limit) == (3, 3, True)
    assert flare.params()["limit"] is limit
    first = second = flare.param(7)
    assert first is second is flare.params()["first"]
    assert repr(flare.param(1, max=9, name="other")) == "Param('other', 1, max=9)"
    assert str(flare.param("a", options=["a", "b"], name="other")) == "other = 'a' (one of 'a', 'b')"
    assert copy.deepcopy(limit) is limit
    assert pickle.loads(pickle.dumps(limit)) is limit


def test_any_thread_may_set_it() -> None:
    limit = flare.param(0)
    threads = [threading.Thread(target=setattr, args=(limit, "value", n)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit.value in range(1, 9)
