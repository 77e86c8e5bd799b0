"""Key groups are the same in every process and version."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.operators.keys import COLUMN, KEY_GROUPS, key_group, with_key_group


def test_groups_are_what_they_have_always_been():
    """State on disk is dealt out by these numbers: if this fails, old state is lost."""
    frame = pl.DataFrame({"k": ["JFK", "LGA", None, ""], "n": [1, -5, None, 2**40]})
    assert key_group(frame.select("k")).to_list() == [56, 75, 116, 69]
    assert key_group(frame.select("n")).to_list() == [31, 26, 116, 36]
    assert key_group(frame).to_list() == [125, 68, 22, 54]


def test_groups_do_not_depend_on_the_process():
    code = (
        "import polars as pl; from dataflare_nb.operators.keys import key_group;"
        "print(key_group(pl.DataFrame({'k': [str(n) for n in range(50)]})).to_list())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(key_group(pl.DataFrame({"k": [str(n) for n in range(50)]})).to_list())


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_the_same_key_has_the_same_group_whatever_stands_around_it(keys):
    frame = pl.DataFrame({"k": keys}, schema={"k": pl.Int64})
    groups = key_group(frame)
    assert groups.dtype == pl.UInt16
    assert groups.max() < KEY_GROUPS
    assert [key_group(frame[n : n + 1])[0] for n in range(len(keys))] == groups.to_list()


def test_integers_of_any_width_and_texts_of_any_kind_are_the_same_key():
    for narrow in (pl.Int8, pl.UInt16, pl.Int32, pl.UInt64):
        assert key_group(pl.DataFrame({"k": [7]}, schema={"k": narrow}))[0] == key_group(pl.DataFrame({"k": [7]}))[0]
    text = pl.DataFrame({"k": ["a"]})
    for kind in (pl.Categorical, pl.Enum(["z", "a"])):
        assert key_group(text.cast({"k": kind}))[0] == key_group(text)[0]


def test_what_polars_groups_together_shares_a_group():
    floats = key_group(pl.DataFrame({"k": [0.0, -0.0, math.nan, -math.nan]}))
    assert floats[0] == floats[1]
    assert floats[2] == floats[3]


def test_every_kind_of_key_has_a_group():
    frame = pl.DataFrame(
        {
            "a": [True, None],
            "b": [date(2024, 1, 1), None],
            "c": [datetime(2024, 1, 1), None],
            "d": [Decimal("1.50"), None],
            "e": [b"raw", None],
            "f": [1.5, None],
        }
    )
    for name in frame.columns:
        assert key_group(frame.select(name)).null_count() == 0
    assert key_group(frame).len() == 2


def test_groups_are_used_about_evenly():
    counts = key_group(pl.DataFrame({"k": range(12_800)})).value_counts()
    assert counts.height == KEY_GROUPS
    assert counts["count"].min() > 50
    assert counts["count"].max() < 170


def test_a_table_without_keys_or_rows_has_the_column_all_the_same():
    assert with_key_group(pl.DataFrame({"n": [1, 2]}), [])[COLUMN].to_list() == [0, 0]
    assert with_key_group(pl.DataFrame(schema={"k": pl.String}), ["k"]).schema[COLUMN] == pl.UInt16


def test_a_key_may_be_called_as_key_groups_are():
    keys = pl.DataFrame({"key_group": [5, 900, 5]})
    assert key_group(keys).to_list() == key_group(keys.rename({"key_group": "k"})).to_list()
    assert with_key_group(keys, ["key_group"])["key_group"].to_list() == [5, 900, 5]
