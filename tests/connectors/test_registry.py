"""Sources and sinks by name and options."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb.connectors import (
    MemoryBuffer,
    Options,
    Resources,
    make_sink,
    make_source,
    register_sink,
    register_source,
    sink_names,
    sink_options,
    source_names,
    source_options,
)
from dataflare_nb.errors import BadOption

from .helpers import put, read


def test_every_mistake_in_the_options_is_named_at_once() -> None:
    with pytest.raises(BadOption) as caught:
        source_options("csv", {"pth": "x", "on_error": "explode", "infer_rows": 0, "separator": ";;"})
    message = str(caught.value)
    for part in ("Did you mean `path`?", "on_error='explode'", "infer_rows=0", "separator=';;'", "`path` is missing"):
        assert part in message


def test_an_unknown_connector_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(BadOption, match="Did you mean `parquet`"):
        make_source("parket", {})
    with pytest.raises(BadOption, match="Did you mean `memory`"):
        make_sink("memry", {})


@pytest.mark.parametrize(
    ("name", "options", "wrong"),
    [
        ("csv", {"path": ""}, "`path` is empty"),
        ("csv", {"path": "x", "columns": []}, "`columns` is empty"),
        ("csv", {"path": "x", "watch_interval": "soon"}, "write it as '5s'"),
        ("csv", {"path": "x", "schema": {"a": "Int65"}}, "column `a`"),
        ("csv", {"path": "x", "schema": {"a": "Int64"}, "schema_overrides": {"a": "Int64"}}, "either"),
        ("csv", {"path": "x", "separator": "\n"}, "printable"),
        ("csv", {"path": "x", "separator": '"'}, "the same"),
        ("rate", {"rows_per_second": 0}, "rows_per_second"),
        ("rate", {"splits": 0}, "splits"),
        ("rate", {"rows": -1}, "rows"),
        ("frame", {}, "either"),
        ("frame", {"frames": []}, "empty"),
    ],
)
def test_an_option_out_of_range_is_refused(name: str, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadOption, match=wrong):
        source_options(name, options)


def test_options_become_json_with_dtypes_paths_and_times_in_it() -> None:
    given = {
        "path": Path("in") / "*.csv",
        "schema": {"a": pl.Int64, "t": pl.Datetime("us", "UTC")},
        "watch": True,
        "watch_interval": dt.timedelta(seconds=1),
    }
    options = source_options("csv", given)
    assert json.loads(json.dumps(options)) == {
        "path": "in/*.csv",
        "schema": {"a": "Int64", "t": {"Datetime": ["us", "UTC"]}},
        "watch": True,
        "watch_interval": "1s",
    }
    assert source_options("csv", options) == options


def test_options_say_nothing_of_the_defaults() -> None:
    assert sink_options("parquet", {"path": "out", "mode": "error"}) == {"path": "out"}


@pytest.mark.parametrize("given", [pl.Object, "Int46", pl.List, dict, 3, {"Datetime": ["h", None]}])
def test_a_type_that_is_none_is_an_option_out_of_range(given: Any) -> None:
    with pytest.raises(BadOption, match="csv: schema: "):
        source_options("csv", {"path": "x", "schema": {"a": given}})


def test_users_register_their_own() -> None:
    class Options2(Options, frozen=True, kw_only=True):
        rows: int = 3

    def source(options: Options2, resources: Resources) -> Any:
        return make_source("frame", {"frame": "f"}, {"f": pl.DataFrame({"a": range(options.rows)})})

    register_source("test_three", source, options=Options2)
    register_sink("test_plain", lambda options, resources: make_sink("memory", {"buffer": "b"}, resources.blobs))
    assert "test_three" in source_names()
    assert "test_plain" in sink_names()
    assert read(make_source("test_three", {"rows": 2})).height == 2
    with pytest.raises(BadOption, match="Did you mean `rows`"):
        make_source("test_three", {"row": 2})
    buffer = MemoryBuffer()
    put(make_sink("test_plain", {"anything": 1}, {"b": buffer}), [pl.DataFrame({"a": [1]})])
    assert buffer.rows()["a"].to_list() == [1]
    assert sink_options("test_plain", {"p": Path("x")}) == {"p": "x"}


def test_a_blob_that_is_missing_is_named() -> None:
    with pytest.raises(BadOption, match="names no blob"):
        make_source("frame", {"frame": "f1"}, {"f": pl.DataFrame()})
    with pytest.raises(BadOption, match="not a MemoryBuffer"):
        make_sink("memory", {"buffer": "b"}, {"b": []})
    with pytest.raises(BadOption, match="not a callable"):
        make_sink("for_each_batch", {"function": "f"}, {"f": 1})
