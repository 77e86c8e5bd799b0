"""Shares of the keys lie evenly over the instances of a stage, whatever their number."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.deploy.layout import partitions
from dataflare_nb.deploy.worker import placement
from dataflare_nb.deploy.worker.shares import Shares


def loads(target: flare.Flink, parallelism: int) -> list[int]:
    """Return the shares of each instance."""
    groups = target.key_groups
    keys = placement.keys(partitions(target), groups)
    found = Counter(placement.instance(placement.key_group(key, groups), groups, parallelism) for key in keys)
    return [found[number] for number in range(parallelism)]


@pytest.mark.parametrize(("parallelism", "slots"), [(4096, 4), (4096, 5), (1024, 1), (64, 4), (2, 1), (1, 1)])
def test_shares_are_within_five_percent_of_even(parallelism: int, slots: int) -> None:
    target = flare.Flink(parallelism=parallelism, slots=slots)
    found = loads(target, parallelism)
    even = sum(found) / parallelism
    assert max(abs(each - even) for each in found) <= 0.05 * even
    assert sum(found) == partitions(target)


def test_a_thousand_task_managers_get_the_same_number_of_shares() -> None:
    target = flare.Flink(parallelism=4096, slots=4)
    assert target.task_managers == 1024
    shares = Counter(each for each in loads(target, 4096))
    assert shares == {1: 4096}
    # Half of them, after a rescale, have two each.
    assert set(loads(target, 2048)) == {2}


def test_other_parallelisms_differ_by_one_share_at_most() -> None:
    target = flare.Flink(parallelism=32)
    for parallelism in range(1, 33):
        found = loads(target, parallelism)
        assert max(found) - min(found) <= 1


def test_rows_of_a_key_are_in_one_share_and_keep_their_order() -> None:
    frame = pl.DataFrame({"key": [f"k{n % 97}" for n in range(5_000)], "n": range(5_000)})
    cutter = Shares(("key",), 8)
    first, again = dict(cutter.cut(frame)), dict(cutter.cut(frame))
    anew = dict(Shares(("key",), 8).cut(frame[::-1]))
    assert sorted(first) == list(range(8))
    assert sum(rows.height for rows in first.values()) == frame.height
    for share, rows in first.items():
        assert rows.equals(again[share])
        assert rows["n"].is_sorted()
        assert set(rows["key"]) == set(anew[share]["key"])


def test_keys_that_are_equal_share_a_share_and_nulls_are_keys() -> None:
    frame = pl.DataFrame({"a": [0.0, -0.0, float("nan"), -float("nan"), None, None]})
    parts = [set(rows.with_row_index()["index"]) for _, rows in Shares(("a",), 128).cut(frame.with_columns(i=1))]
    assert sum(map(len, parts)) == 6
    assert len(parts) <= 3
