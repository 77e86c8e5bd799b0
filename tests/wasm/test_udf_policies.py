"""What becomes of a row on which the function raises: the job fails, the result is null, or the row goes aside."""

from __future__ import annotations

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption, DataflareError, UdfError
from dataflare_nb.wasm import UdfFailed, udf

FRAME = pl.DataFrame({"id": [1, 2, 3, 4, 5], "a": [1.0, 2.0, None, 4.0, -1.0], "b": [2.0, 0.0, 0.0, 0.0, 1.0]})


@udf
def ratio(a: float, b: float) -> float:
    return a / b


@udf(on_error="null")
def ratio_or_null(a: float, b: float) -> float:
    return a / b


@udf(on_error="dead_letter")
def ratio_or_aside(a: float, b: float) -> float:
    assert a >= 0, "below zero"
    return a / b


@udf
def both(a: float, b: float) -> tuple[float, float | None]:
    return a / b, None if a > 0 else b


@udf
def above(a: float, b: float) -> bool:
    return a / b > 0


def test_a_row_that_fails_stops_the_job_and_is_named_with_its_arguments():
    stream = flare.from_frame(FRAME).with_columns(x=ratio("a", "b"))
    with pytest.raises(DataflareError) as caught:
        stream.collect()
    said = str(caught.value)
    assert "ratio: ZeroDivisionError: float division by zero at row 1 of the batch (a=2.0, b=0.0)" in said
    assert "test_udf_policies.py, line " in said
    assert "`return a / b`" in said


def test_a_result_may_be_null_instead():
    for stream in (
        flare.from_frame(FRAME).with_columns(x=ratio("a", "b", on_error="null")),
        flare.from_frame(FRAME).with_columns(x=ratio_or_null("a", "b")),
    ):
        assert stream.collect()["x"].to_list() == [0.5, None, None, None, -1.0]
    with pytest.raises(DataflareError, match="ZeroDivisionError"):
        flare.from_frame(FRAME).with_columns(x=ratio_or_null("a", "b", on_error="fail")).collect()


def test_a_row_may_go_aside_with_the_reason():
    stream = flare.from_frame(FRAME).with_columns(x=ratio_or_aside("a", "b"))
    assert stream.invalid.schema == {**FRAME.schema, "reason": pl.String}
    assert stream.collect().to_dict(as_series=False) == {
        "id": [1, 3],
        "a": [1.0, None],
        "b": [2.0, 0.0],
        "x": [0.5, None],
    }
    aside = stream.invalid.collect()
    assert aside["id"].to_list() == [2, 4, 5]
    reasons = aside["reason"].to_list()
    assert reasons[0].startswith("ZeroDivisionError: float division by zero (test_udf_policies.py, line ")
    assert reasons[0] == reasons[1]
    assert reasons[2].startswith("AssertionError: below zero (test_udf_policies.py, line ")


def test_rows_that_go_aside_are_in_the_ledger():
    job = flare.from_frame(FRAME).with_columns(x=ratio_or_aside("a", "b")).named("ratio").run()
    job.wait()
    ledger = job.ledger()
    row = ledger.filter(pl.col("stage") == "ratio").to_dicts()[0]
    assert (row["in"], row["out"], row["invalid"]) == (5, 2, 3)


def test_each_field_is_null_where_a_row_failed():
    out = flare.from_frame(FRAME).select(both("a", "b", on_error="null")).collect()
    assert out["both_0"].to_list() == [0.5, None, None, None, -1.0]
    assert out["both_1"].to_list() == [None, None, None, None, 1.0]


def test_a_filter_keeps_to_the_policy():
    stream = flare.from_frame(FRAME)
    assert stream.filter(above("a", "b", on_error="null")).collect()["id"].to_list() == [1]
    aside = stream.filter(above("a", "b", on_error="dead_letter"))
    assert aside.collect()["id"].to_list() == [1]
    assert aside.invalid.collect()["id"].to_list() == [2, 4]


def test_an_expression_fails_or_gives_null():
    assert FRAME.select(ratio.expr("a", "b", on_error="null"))["ratio"].to_list() == [0.5, None, None, None, -1.0]
    assert FRAME.select(ratio_or_null.expr("a", "b"))["ratio_or_null"].null_count() == 3
    with pytest.raises((UdfFailed, pl.exceptions.ComputeError), match=r"at row 1 of the batch \(a=2.0, b=0.0\)"):
        FRAME.select(ratio.expr("a", "b"))
    with pytest.raises(UdfError, match=r"an expression has no \.invalid; use on_error='null', or a stream"):
        ratio_or_aside.expr("a", "b")


def test_a_call_on_columns_gives_null_if_that_is_the_policy():
    assert ratio_or_null.call([FRAME["a"], FRAME["b"]]).to_list() == [0.5, None, None, None, -1.0]


def test_a_policy_that_is_not_known_is_refused():
    with pytest.raises(BadOption, match=r"udf at .*: on_error='skip'; it is 'fail' or 'null' or 'dead_letter'"):
        udf(on_error="skip")(ratio.function)  # type: ignore[call-overload]
    with pytest.raises(BadOption, match="Did you mean `dead_letter`"):
        ratio("a", "b", on_error="dead-letter")


def test_many_failures_cost_no_python_per_row():
    rows = 200_000
    a, b = pl.Series([1.0] * rows), pl.Series([0.0, 2.0] * (rows // 2))
    outcome = ratio._pool.apart([a, b])
    assert outcome.failed is not None
    assert (outcome.failed != 0).sum() == rows // 2
    assert outcome.nulled()[0].null_count() == rows // 2
    assert ratio._pool.apart([a, b + 1]).failed is None


def test_the_policy_is_part_of_the_stored_graph():
    stream = flare.from_frame(FRAME).with_columns(both("a", "b", on_error="null"))
    (item,) = (node for node in stream.graph.nodes.values() if node.kind == "udf")
    assert (item.on_error, item.output, item.outputs) == ("null", None, ("both_0", "both_1"))
    assert item.label() == "both_0, both_1 = both(a, b)"
