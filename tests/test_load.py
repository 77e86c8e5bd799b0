"""A stream that was saved is a stream again: `flare.load`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption, GraphError, GraphFormat, UnknownStage, WrongType

ORDERS = pl.DataFrame({"shop": ["a", "b", "a"], "qty": [1, 2, 3]})


@flare.udf
def doubled(qty: int) -> int:
    return qty * 2


def described() -> flare.Stream:
    return flare.from_frame(ORDERS).with_columns(twice=doubled("qty")).filter(pl.col("qty") > 1).named("many")


def test_a_saved_stream_is_loaded_extended_run_and_deployed(tmp_path: Path) -> None:
    described().save(tmp_path / "orders.job")
    loaded = flare.load(tmp_path / "orders.job")
    assert loaded.graph == described().graph
    assert loaded.collect()["twice"].to_list() == [4, 6]
    assert loaded.select("twice").filter(pl.col("twice") > 4).collect().rows() == [(6,)]
    assert loaded.run().wait().result().height == 2
    assert flare.load(str(tmp_path / "orders.job")).schema == described().schema
    for stream, out in ((loaded, "one"), (described(), "two")):
        stream.deploy(flare.Flink(name="orders"), out=tmp_path / out)
    assert (tmp_path / "one/graph.json").read_bytes() == (tmp_path / "two/graph.json").read_bytes()


def test_a_document_alone_is_loaded_with_the_folder_of_what_it_names(tmp_path: Path) -> None:
    described().save(tmp_path / "blobs")
    document = tmp_path / "orders.json"
    document.write_bytes(described().to_json(indent=2))
    assert flare.load(document, blobs=tmp_path / "blobs").collect().height == 2
    with pytest.raises(GraphFormat, match=r"load at test_load.py, line \d+: .*orders.json: the graph needs .*blobs="):
        flare.load(document)
    with pytest.raises(GraphError, match=r"blobs: .*nowhere is not a folder"):
        flare.load(document, blobs=tmp_path / "nowhere")


def test_a_graph_is_a_stream_of_its_output() -> None:
    stream = described()
    graph = flare.Graph.from_json(stream.to_json(), stream.graph.blobs)
    assert flare.load(graph).collect().equals(stream.collect())


def test_of_several_outputs_one_is_named_and_side_outputs_may_be() -> None:
    begun = flare.from_frame(pl.DataFrame({"t": [0, None], "n": [1, 2]})).event_time("t", unit="s").named("timed")
    one, two = begun.select("n").named("one"), begun.select("t").named("two")
    graph = one.graph.merge(two.graph)
    with pytest.raises(BadOption, match=r"load at .*: the graph has 2 outputs, one, two; say which, as output='one'"):
        flare.load(graph)
    assert flare.load(graph, output="two").columns == ["t"]
    assert flare.load(graph, output="timed.invalid").collect()["n"].to_list() == [2]
    with pytest.raises(UnknownStage, match=r"no stage `three`"):
        flare.load(graph, output="three")
    with pytest.raises(BadOption, match=r"0 outputs"):
        flare.load(flare.Graph())
    job = flare.run(flare.load(graph, output="one"), flare.load(graph, output="two")).wait()
    assert job.result("one").height == job.result("two").height == 1


def test_errors_of_a_graph_in_place_of_a_stream_name_load(tmp_path: Path) -> None:
    graph = described().graph
    with pytest.raises(WrongType, match=r"run at test_load.py, line \d+: Graph is not a Stream; flare.load\(graph\)"):
        flare.run(graph)  # type: ignore[arg-type]
    with pytest.raises(WrongType, match=r"Stream at test_load.py, line \d+ .* flare.load\(graph\) makes a stream"):
        flare.Stream(graph)
    with pytest.raises(WrongType, match=r"flare.from_frame\(...\)"):
        flare.Stream(ORDERS)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"load at .*nowhere: No such file or directory"):
        flare.load(tmp_path / "nowhere")
    with pytest.raises(WrongType, match=r"Graph.from_json\(document, blobs\)"):
        flare.load(described().to_json())  # type: ignore[arg-type]
