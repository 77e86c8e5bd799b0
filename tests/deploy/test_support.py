"""What Flink cannot run is named at once, before anything is written; and the table in the docs is the code's."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import get_args

import msgspec
import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.connectors import sink_names, source_names
from dataflare_nb.connectors.frame import FrameSource
from dataflare_nb.connectors.registry import register_source
from dataflare_nb.deploy import Deployer, Refused
from dataflare_nb.deploy.secrets import references, written_out
from dataflare_nb.deploy.support import TABLE, markdown
from dataflare_nb.errors import GraphError
from dataflare_nb.graph.node import AnyNode
from dataflare_nb.windows import WindowSpec

from . import graphs

FRAME = flare.from_frame(pl.DataFrame({"t": [1, 2], "a": [1, 2]}))
DOCS = Path(__file__).parents[2] / "docs" / "flink.md"


def reasons(stream: flare.Stream, target: flare.Flink | None = None) -> list[str]:
    return [problem.reason for problem in Deployer(target or flare.Flink()).check(stream.graph)]


def test_the_table_knows_every_step_window_and_connector() -> None:
    known = {(row.kind, row.name) for row in TABLE}
    kinds = [str(kind.__struct_config__.tag) for kind in get_args(AnyNode)]
    assert {("step", kind) for kind in kinds if kind not in ("read", "write")} == {k for k in known if k[0] == "step"}
    own = ("frame", "rate", "parquet", "csv", "ndjson", "ipc", "wasm", "memory", "for_each_batch")
    assert {("source", name) for name in source_names() if name in own} <= known
    assert {("sink", name) for name in sink_names() if name in own} <= known
    windows = {str(kind.__struct_config__.tag) for kind in get_args(WindowSpec)}
    assert len([k for k in known if k[0] == "window" and "=" not in k[1]]) == len(windows)


def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    assert markdown() in DOCS.read_text(), "renew it with: python -m tests.deploy.renew"


def test_all_that_is_refused_is_named_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:")

    def twisted(value: int) -> int:
        return int(str(value)[::-1])

    stream = (
        FRAME.with_columns(b=pl.col("a").map_elements(twisted, return_dtype=pl.Int64))
        .map_batches(lambda frame: frame if connection else frame.clear())
        .event_time("t", unit="s")
        .window(flare.tumbling("1m"))
        .agg(n=pl.len())
        .for_each_batch(lambda frame, epoch: None)
    )
    with pytest.raises(Refused) as caught:
        stream.deploy(flare.Flink(stage_parallelism={"nobody": 2}), out=tmp_path / "x")
    assert isinstance(caught.value, GraphError)
    told = str(caught.value)
    for reason in (
        "calls Python from an expression",
        "`connection`, which <lambda> closes over, is",
        "the function acts in this process",
        "the graph has no such stage",
    ):
        assert reason in told
    assert len(caught.value.unsupported) == 4
    assert "test_support.py, line" in told
    assert not list(tmp_path.iterdir())
    connection.close()


def test_a_parallelism_that_a_stage_cannot_have_is_named() -> None:
    stream = FRAME.filter(pl.col("a") > 0).named("few").event_time("t", unit="s")
    counted = stream.key_by("a").window(flare.tumbling("1m")).agg(n=pl.len()).named("counted")
    assert reasons(counted, flare.Flink(stage_parallelism={"counted": 3})) == []
    (told,) = reasons(counted, flare.Flink(stage_parallelism={"counted": 3, "few": 2}))
    assert "only windows over keys" in told


def test_what_lives_in_this_process_is_refused() -> None:
    assert reasons(FRAME.to_memory(flare.MemoryBuffer())) == [
        "the buffer is in the memory of this process; write to files"
    ]
    mine = FrameSource([pl.DataFrame({"a": [1]})])
    register_source("mine", lambda options, resources: mine)
    assert "is registered in this process" in reasons(flare.read("mine"))[0]


@pytest.mark.parametrize(
    "options",
    [
        {"password": "hunter2"},
        {"sasl": {"token": "hunter2"}},
        {"url": "https://me:hunter2@host/x"},
        {"api_key": "hunter2"},
    ],
)
def test_a_secret_that_is_written_out_is_refused_and_not_told(options: dict[str, object]) -> None:
    source = FrameSource([pl.DataFrame({"a": [1]})])
    register_source("with_secret", lambda options, resources: source)
    told = reasons(flare.read("with_secret", **options))
    assert any("holds a secret; write 'env:NAME'" in reason for reason in told)
    assert not any("hunter2" in reason for reason in told)


def test_a_secret_that_is_named_must_be_given() -> None:
    source = FrameSource([pl.DataFrame({"a": [1]})])
    register_source("with_secret", lambda options, resources: source)
    stream = flare.read("with_secret", password="env:DB_PASSWORD")
    assert any("env:DB_PASSWORD is given by nobody" in reason for reason in reasons(stream))
    given = reasons(stream, flare.Flink(secrets={"DB_PASSWORD": "db/password"}))
    assert not any("DB_PASSWORD" in reason for reason in given)


def test_a_secret_in_the_config_of_a_plugin_is_refused() -> None:
    plugin = msgspec.json.decode(Path("plugins/carrier_code/plugin.json").read_bytes())
    plugin |= {"module_path": "plugins/carrier_code/carrier_code.wasm", "config": {"db": {"password": "hunter2"}}}
    plugin.pop("signature", None)
    told = reasons(flare.from_frame(graphs.FLIGHTS).wasm(plugin, column="origin"))
    assert told
    assert "config of plugin carrier_code: `db.password` holds a secret" in told[0]


def test_a_secret_that_a_function_reads_is_refused_and_not_told() -> None:
    password, options = "hunter2", {"db": {"token": "hunter2"}, "secret": "env:DB"}

    def ask() -> str:
        return f"{password}{options}"

    def asks(frame: pl.DataFrame, api_key: str = "hunter2") -> pl.DataFrame:
        return frame.head(len(ask() + api_key))

    told = reasons(FRAME.map_batches(asks, schema={"a": pl.Int64}))
    assert sorted(reason.partition(",")[0] for reason in told) == ["`api_key`", "`options.db.token`", "`password`"]
    assert all("read os.environ['NAME'] in it" in reason for reason in told)
    assert not any("hunter2" in reason for reason in told)
    assert reasons(FRAME.map_batches(lambda frame: frame.head(3), schema={"a": pl.Int64})) == []


def test_names_of_secrets_are_found_at_any_depth() -> None:
    assert list(references({"a": ["env:ONE", {"b": "env:TWO"}], "c": "environment"})) == ["ONE", "TWO"]
    assert list(written_out({"secret": "", "tokens": ["env:T", "x"], "keys": ["a"], "path": "a:b@c"})) == ["tokens[1]"]


def test_notes_say_what_pods_must_find_and_what_stays(tmp_path: Path) -> None:
    limit = flare.param(1, name="limit")
    made = FRAME.filter(pl.col("a") >= limit).write_csv("out").deploy(flare.Flink(), out=tmp_path / "x")
    assert [note.partition("` ")[2] for note in made.notes] == [
        "reads the param `limit`, which stays 1",
        "writes out, under /data",
    ]
    assert all(note in (made.folder / "README.md").read_text() for note in made.notes)
