"""Expressions: taken apart into partial, merge and final steps, checked row by row, expanded, and read aloud."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import dataflare_nb as flare
from dataflare_nb.decompose import Split, decompose
from dataflare_nb.errors import GraphFormat
from dataflare_nb.expr import Expr, changes_height, expand, readable, row_fault

SCHEMA = pl.Schema(
    {"k": pl.String(), "i": pl.Int64(), "s": pl.Int32(), "f": pl.Float64(), "g": pl.Float32(), "b": pl.Boolean()}
)

# Pieces of expressions

rows = st.sampled_from(
    [
        pl.col("i"),
        pl.col("s"),
        pl.col("f"),
        pl.col("i") + pl.col("s"),
        pl.col("f") * 2 - pl.col("i"),
        pl.col("f").abs().fill_nan(0.0),
        pl.col("s").cast(pl.Float64),
        pl.when(pl.col("b")).then(pl.col("i")).otherwise(pl.col("s")),
        pl.col("i").fill_null(7),
    ]
)
flags = st.sampled_from([pl.col("b"), pl.col("i") > 3, pl.col("f").is_null(), pl.col("b") & (pl.col("s") < 0)])
aggregates = st.one_of(
    st.builds(lambda e, how: getattr(e, how)(), rows, st.sampled_from(["sum", "min", "max", "count", "len", "mean"])),
    st.builds(lambda e, ddof: e.var(ddof=ddof), rows, st.integers(0, 2)),
    st.builds(lambda e, ddof: e.std(ddof=ddof), rows, st.integers(0, 2)),
    st.builds(lambda e, how: getattr(e, how)(), rows, st.sampled_from(["first", "last"])),
    st.builds(
        lambda e, how, ignore: getattr(e, how)(ignore_nulls=ignore),
        flags,
        st.sampled_from(["any", "all"]),
        st.booleans(),
    ),
    st.builds(
        lambda e, f, how: getattr(e.filter(f), how)(), rows, flags, st.sampled_from(["sum", "max", "count", "mean"])
    ),
    st.just(pl.len()),
)
expressions = st.recursive(
    aggregates,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a.cast(pl.Float64) + b.cast(pl.Float64), inner, inner),
        st.builds(lambda a, b: a.cast(pl.Float64) / (b.cast(pl.Float64) + 1), inner, inner),
        st.builds(lambda a, n: a.cast(pl.Float64) * n, inner, st.integers(-3, 3)),
        st.builds(lambda a: a.cast(pl.Float64).abs().round(2), inner),
        st.builds(lambda a: a.is_null(), inner),
        st.builds(lambda a, b: a.cast(pl.Float64) >= b.cast(pl.Float64), inner, inner),
    ),
    max_leaves=4,
)
record = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.one_of(st.none(), st.integers(-100, 100)),
    st.one_of(st.none(), st.integers(-100, 100)),
    st.one_of(st.none(), st.sampled_from([0.0, 1.5, -2.25, 1e6, math.nan])),
    st.one_of(st.none(), st.sampled_from([0.0, 1.5, -2.25])),
    st.one_of(st.none(), st.booleans()),
)
batches = st.lists(st.lists(record, max_size=5), min_size=1, max_size=5)


def frame(records: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(records, schema=SCHEMA, orient="row")


def in_steps(split: Split, parts: list[pl.DataFrame], by: list[str]) -> pl.DataFrame:
    """What a window does: partials of each batch, merged pairwise as the state grows, and the value at the end."""
    partials = [part.group_by(by, maintain_order=True).agg(**split.partial) for part in parts]

    def merged(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([one, other]).group_by(by, maintain_order=True).agg(**split.merge)

    state = reduce(merged, partials[1:], partials[0]).group_by(by, maintain_order=True).agg(**split.merge)
    return state.select(*by, x=split.final)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(expressions, batches)
@example(pl.col("f").var(), [[("a", 1, 1, 1e6, 0.0, True)], [("a", 1, 1, None, 0.0, True)]])
@example(pl.col("b").all(ignore_nulls=False), [[("a", 1, 1, 1.0, 0.0, None)], [("a", 1, 1, 1.0, 0.0, False)]])
def test_the_steps_give_what_polars_gives_on_all_rows_at_once(expr: pl.Expr, cut: list[list[Any]]) -> None:
    split = decompose(expr, SCHEMA, "__p_")
    assert split is not None, f"{expr} should be taken apart"
    parts = [frame(records) for records in cut]
    whole = pl.concat(parts)
    wanted = whole.group_by("k", maintain_order=True).agg(x=expr)
    got = in_steps(split, parts, ["k"])
    assert_frame_equal(got, wanted, check_dtypes=False, abs_tol=1e-6, rel_tol=1e-9)
    empty = in_steps(split, [frame([])], ["k"])
    assert empty.height == 0
    # Sums of 32 bits are kept in 64.
    wide = {pl.Int32: pl.Int64}.get(wanted.schema["x"].base_type(), wanted.schema["x"])
    assert empty.schema["x"] in (wanted.schema["x"], wide)


WHOLE = [
    pl.col("i").median(),
    pl.col("i").n_unique(),
    pl.col("i").quantile(0.5),
    pl.col("i").sort().first(),
    pl.col("i").unique().len(),
    pl.col("i").drop_nulls().first(),
    pl.col("i").filter(pl.col("b")).last(),
    pl.col("i").implode(),
    pl.col("g").mean(),
    pl.col("f").cum_sum().last(),
    (pl.col("i") - pl.col("i").mean()).sum(),
    pl.col("i").sum() + pl.col("i").median(),
    pl.col("i").map_batches(lambda s: s, return_dtype=pl.Int64).sum(),
    pl.col("i").sum().map_batches(lambda s: s, return_dtype=pl.Int64),
    pl.col("i").sort_by("f").first(),
    pl.lit(1),
    pl.col("i").top_k(2).sum(),
    pl.col("i").over("b").sum(),
]


@pytest.mark.parametrize("expr", WHOLE, ids=lambda e: readable(str(e)))
def test_what_needs_all_rows_is_not_taken_apart(expr: pl.Expr) -> None:
    assert decompose(expr, SCHEMA, "__p_") is None


def test_the_variance_of_large_numbers_close_together_stays_right() -> None:
    split = decompose(pl.col("f").var(), SCHEMA, "p")
    assert split is not None
    values = [1e9 + x for x in (4.0, 7.0, 13.0, 16.0)]
    parts = [frame([("a", 1, 1, value, 0.0, True)]) for value in values]
    assert in_steps(split, parts, ["k"])["x"].item() == pytest.approx(30.0)


def test_parts_that_are_the_same_are_kept_once() -> None:
    split = decompose(pl.col("i").sum() / pl.col("i").count() + pl.col("i").sum(), SCHEMA, "p")
    assert split is not None
    assert len(split.partial) == 2
    assert not split.ordered


def test_first_and_last_are_known_to_need_the_order() -> None:
    split = decompose(pl.col("i").first() + pl.col("i").sum(), SCHEMA, "p")
    assert split is not None
    assert split.ordered


# Row by row

AT_HOME = [
    pl.col("i") + 1,
    pl.col("i").is_in([1, 2]),
    pl.when(pl.col("b")).then(1).otherwise(pl.col("i")),
    pl.col("k").str.to_uppercase(),
    pl.struct("i", "f"),
    pl.lit(3),
    pl.col("i").map_batches(lambda s: s, return_dtype=pl.Int64),
    pl.max_horizontal("i", "f"),
    pl.col("l").list.eval(pl.element() > 3).list.any(),
    pl.col("l").list.eval(pl.element().sum() + pl.element().rank()).list.first(),
    pl.col("l").list.agg(pl.element().max()),
]
ELSEWHERE: list[tuple[pl.Expr, str]] = [
    (pl.col("i").sum(), "i.sum()"),
    (pl.col("i") - pl.col("i").mean(), "i.mean()"),
    (pl.col("i").shift(1), "i.shift(1)"),
    (pl.col("i").cum_sum(), "i.cum_sum()"),
    (pl.col("i").rank(), "i.rank()"),
    (pl.col("i").over("k"), "i.over(k)"),
    (pl.len(), "len()"),
    (pl.col("i").sum().alias("x"), "i.sum()"),
    (pl.col("i").sum() + pl.col("i").map_batches(lambda s: s, return_dtype=pl.Int64), "i.sum()"),
    (pl.when(pl.col("i") > pl.col("f").max()).then(1), "f.max()"),
    (pl.col("l").list.eval(pl.element().sum()).list.first() + pl.col("i").sum(), "i.sum()"),
    (pl.col("l").shift(1).list.eval(pl.element().sum()), "l.shift(1)"),
]


@pytest.mark.parametrize("expr", AT_HOME, ids=str)
def test_what_looks_at_its_own_row_has_no_fault(expr: pl.Expr) -> None:
    assert row_fault(expr) is None
    assert not changes_height(expr)


@pytest.mark.parametrize(("expr", "part"), ELSEWHERE, ids=[part for _, part in ELSEWHERE])
def test_what_looks_at_other_rows_is_named(expr: pl.Expr, part: str) -> None:
    assert part in (row_fault(expr) or "")


@pytest.mark.parametrize("make", [pl.Expr.drop_nulls, pl.Expr.explode, lambda e: e.filter(pl.col("b"))])
def test_what_changes_the_number_of_rows_is_known(make: Callable[[pl.Expr], pl.Expr]) -> None:
    assert changes_height(make(pl.col("i")))


# Several columns at once

SEVERAL: list[tuple[pl.Expr, list[str]]] = [
    (pl.col("i", "f").sum(), ["i", "f"]),
    (cs.numeric().mean(), ["i", "s", "f", "g"]),
    (pl.all().max(), ["i", "s", "f", "g", "b"]),
    (pl.exclude("b", "g").first(), ["i", "s", "f"]),
    (pl.col("^[if]$").min(), ["i", "f"]),
    (pl.col(pl.Float64, pl.Float32).min(), ["f", "g"]),
    (cs.float().sum().name.suffix("_sum"), ["f_sum", "g_sum"]),
    ((cs.float() - pl.col("i", "s")).sum(), ["f", "g"]),
    (cs.by_name("i", "f").filter(pl.col("b")).sum().round(1), ["i", "f"]),
]


@pytest.mark.parametrize(("expr", "names"), SEVERAL, ids=[readable(str(expr)) for expr, _ in SEVERAL])
def test_an_aggregate_of_several_columns_becomes_one_for_each(expr: pl.Expr, names: list[str]) -> None:
    singles = expand(expr, SCHEMA, ["k"])
    assert [single.meta.output_name() for single in singles] == names
    data = frame([("a", 1, 2, 3.5, 4.5, True), ("a", 5, None, 2.5, 0.5, False), ("b", 0, 0, 0.0, 0.0, None)])
    got, wanted = (data.group_by("k", maintain_order=True).agg(e) for e in (singles, expr))
    assert_frame_equal(got, wanted)
    assert all(decompose(single, SCHEMA, "p") is not None for single in singles if "g" not in single.meta.root_names())


@pytest.mark.parametrize(
    "expr",
    [pl.col("i").sum(), pl.sum_horizontal(cs.numeric()).sum(), pl.struct(pl.all()).first(), pl.col("x", "y").sum()],
    ids=str,
)
def test_what_gives_one_column_or_cannot_be_resolved_stays_as_it_is(expr: pl.Expr) -> None:
    assert len(expand(expr, SCHEMA, ["k"])) == 1


def test_keys_are_left_out_even_where_they_would_not_fit() -> None:
    singles = expand(pl.all().exclude("b").median(), SCHEMA, ["k"])
    assert [single.meta.output_name() for single in singles] == ["i", "s", "f", "g"]
    stream = flare.from_frame(frame([("a", 1, 2, 3.5, 4.5, True)])).key_by("k").window(flare.global_window())
    assert stream.agg(pl.all().exclude("b").median()).collect().rows() == [("a", 1.0, 2.0, 3.5, 4.5)]


def test_one_column_made_of_several_keeps_them_all() -> None:
    singles = expand(cs.float().sum() + pl.sum_horizontal(cs.integer()).sum(), SCHEMA)
    data = frame([("a", 1, 2, 3.5, 4.5, True), ("a", 5, 6, 2.5, 0.5, False)])
    wanted = data.select(cs.float().sum() + pl.sum_horizontal(cs.integer()).sum())
    assert_frame_equal(data.select(singles), wanted)


# Both together, end to end


@settings(max_examples=15, deadline=None)
@given(batches)
def test_several_columns_are_aggregated_end_to_end(cut: list[list[Any]]) -> None:
    data = pl.concat([frame(records) for records in cut])
    stream = flare.from_frames([frame(records) for records in cut]).key_by("k").window(flare.global_window())
    made = stream.agg(pl.col("i", "f").sum().name.suffix("_sum"), cs.integer().max())
    assert "two-phase" in made.explain()
    wanted = data.group_by("k").agg(pl.col("i", "f").sum().name.suffix("_sum"), cs.integer().max())
    assert_frame_equal(made.collect(workers=1), wanted, check_row_order=False)


def test_several_columns_in_select_and_with_columns() -> None:
    data = frame([("a", 1, 2, 3.5, 4.5, True)])
    stream = flare.from_frame(data)
    for step in (
        partial(lambda f: f.select(cs.numeric() * 2)),
        partial(lambda f: f.with_columns(pl.col("i", "f").fill_null(0).name.suffix("_0"))),
        partial(lambda f: f.select(pl.all().exclude("k"), k2=pl.col("k"))),
    ):
        assert_frame_equal(step(stream).collect(), step(data))


# As values


def test_an_expression_is_stored_and_comes_back() -> None:
    value, blobs = Expr.of(pl.col("i").sum().alias("n"))
    assert not blobs
    assert value.load({}).meta == pl.col("i").sum().alias("n").meta
    assert value.readable == "n = i.sum()"


def test_an_expression_with_a_function_stays_in_its_process() -> None:
    expr = pl.col("i").map_batches(lambda s: s, return_dtype=pl.Int64)
    value, blobs = Expr.of(expr)
    assert value.data == ""
    assert value.load(blobs) is expr
    assert Expr.of(expr)[0] == value
    with pytest.raises(KeyError):
        value.load({})


def test_a_pickled_function_is_never_read() -> None:
    with pytest.raises(GraphFormat, match="foreign code"):
        Expr("x", data="UExQWVVERg==").load({})


# Read aloud

ALOUD: list[tuple[pl.Expr, str]] = [
    (pl.col("v") >= 0, "v >= 0"),
    (pl.len().alias("n"), "n = len()"),
    ((pl.col("a") + pl.col("b") * 1.5).sum().alias("x"), "x = (a + (b * 1.5)).sum()"),
    (pl.col("a") & pl.col("b") & (pl.col("c") > 1), "a & b & (c > 1)"),
    (pl.col("a") - (pl.col("b") - pl.col("c")), "a - (b - c)"),
    (pl.col("my col") == "x, (y", 'col("my col") == "x, (y"'),
    (
        pl.when(pl.col("a") > 1).then(pl.lit("hi")).otherwise(None).alias("w"),
        'w = when(a > 1).then("hi").otherwise(null)',
    ),
    (pl.col("a").filter(pl.col("b") > 1).mean(), "a.filter(b > 1).mean()"),
    (pl.col("a").fill_null(0).is_in([1, 2]), "a.fill_null(0).is_in([1, 2])"),
    (pl.col("a").cast(pl.Int8), "a.cast(Int8)"),
    (pl.col("a").alias("a"), "a"),
    (pl.col("a").sum().alias("a"), "a = a.sum()"),
    (pl.col("len") + pl.col("null"), 'col("len") + col("null")'),
    (pl.col("héllo") + 1, "héllo + 1"),
]


@pytest.mark.parametrize(("expr", "words"), ALOUD, ids=[words for _, words in ALOUD])
def test_an_expression_reads_as_a_person_would_write_it(expr: pl.Expr, words: str) -> None:
    assert readable(str(expr)) == words


@given(st.text(max_size=60))
def test_reading_aloud_never_fails(text: str) -> None:
    assert isinstance(readable(text), str)
    assert isinstance(readable(str(pl.col(text) + pl.lit(text))), str)


@pytest.mark.parametrize("text", ["[(a", "[(a) + (b", "a)]", 'col("', "\x00c9\x00"])
def test_what_is_not_understood_stays_as_it_is(text: str) -> None:
    assert readable(text) == text
