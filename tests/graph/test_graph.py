"""A graph is data: it goes to JSON and back, its ids say what a stage does, and its parts can be asked for."""

from __future__ import annotations

import base64
import functools
import json
import pickle
import re
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflare_nb as flare
from dataflare_nb import errors
from dataflare_nb.graph import Graph, node, published

from .streams import FLIGHTS, FRAME, HOURLY, STREAMS

SCHEMA = json.loads(published.PATH.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def document(stream: flare.Stream = HOURLY) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(stream.to_json())
    return read


def stage(read: dict[str, Any], op: str) -> dict[str, Any]:
    return next(item for item in read["nodes"] if item["op"] == op)


# There and back


def test_between_them_the_streams_have_every_kind_of_node() -> None:
    kinds = {type(item) for stream in STREAMS.values() for item in stream.graph}
    assert kinds == set(node.AnyNode.__args__)


@pytest.mark.parametrize("name", STREAMS)
def test_a_graph_comes_back_from_json_as_it_was(name: str) -> None:
    graph = STREAMS[name].graph
    back = Graph.from_json(graph.to_json(), graph.blobs)
    assert back == graph
    assert hash(back) == hash(graph)
    assert list(back.nodes) == list(graph.nodes)
    assert back.edges == graph.edges
    assert back.to_json() == graph.to_json()


@pytest.mark.parametrize("name", STREAMS)
def test_a_document_holds_to_the_published_schema(name: str) -> None:
    VALIDATOR.validate(document(STREAMS[name]))


def test_a_graph_that_came_back_still_runs() -> None:
    graph = Graph.from_json(HOURLY.to_json(), HOURLY.graph.blobs)
    rows = flare.Stream(graph, "hourly").collect()
    assert rows.equals(HOURLY.collect())


COLUMNS = st.sampled_from(["dep_delay", "arr_delay"])
STEPS = st.one_of(
    st.builds(lambda c, n: lambda s: s.filter(pl.col(c) > n), COLUMNS, st.integers(-5, 5)),
    st.builds(lambda c, n: lambda s: s.with_columns((pl.col(c) * n).alias(c)), COLUMNS, st.floats(-2, 2)),
    st.builds(lambda c: lambda s: s.cast({c: pl.Float32}), COLUMNS),
    st.builds(lambda c: lambda s: s.key_by("origin", c), COLUMNS),
    st.just(lambda s: s.union(s.filter(pl.col("carrier") == "AA"))),
    st.just(lambda s: s.event_time("sched", "5m")),
    st.builds(lambda n: lambda s: s.named(n), st.from_regex(node.NAME_PATTERN, fullmatch=True)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=6))
def test_any_graph_comes_back_from_json_as_it_was(steps: list[Any]) -> None:
    stream = FLIGHTS
    for step in steps:
        try:
            stream = step(stream)
        except errors.BadOption:
            continue
    back = Graph.from_json(stream.to_json(indent=2), stream.graph.blobs)
    assert back == stream.graph
    VALIDATOR.validate(document(stream))
    assert stream.draw()
    assert stream.mermaid().startswith("flowchart LR\n")


# Documents that do not hold


def broken(change: Any, stream: flare.Stream = HOURLY) -> errors.GraphFormat:
    read = document(stream)
    change(read)
    with pytest.raises(errors.GraphFormat) as raised:
        Graph.from_json(json.dumps(read), stream.graph.blobs)
    return raised.value


def test_another_version_is_refused_by_number() -> None:
    error = broken(lambda read: read.update(version=2, nodes="of another shape"))
    assert str(error) == "the graph is of version 2; this release reads version 1"


def test_another_major_version_of_polars_is_refused() -> None:
    assert "Polars 1.40.0" in str(broken(lambda read: read.update(polars="1.40.0")))


def test_another_minor_version_of_polars_is_read() -> None:
    read = document() | {"polars": pl.__version__.split(".")[0] + ".99.0"}
    assert Graph.from_json(json.dumps(read), HOURLY.graph.blobs) == HOURLY.graph


NO_DOCUMENTS = ["", "[]", "{}", "null", '{"version": 1}', '{"version": "1"}', b"\xff\xfe", "{", "\udcff"]


@pytest.mark.parametrize("text", NO_DOCUMENTS, ids=ascii)
def test_what_is_no_document_is_refused(text: str | bytes) -> None:
    with pytest.raises(errors.GraphFormat, match="not a graph document"):
        Graph.from_json(text)


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"version":1,"nodes":' + "[" * 5_000 + "]" * 5_000 + "}"])
def test_a_document_of_endless_depth_is_refused(nested: str) -> None:
    with pytest.raises(errors.GraphFormat, match="not a graph document"):
        Graph.from_json(nested)


@pytest.mark.parametrize("blobs", [5, "x", ["x"], {"x"}, pl.DataFrame()], ids=ascii)
def test_blobs_that_are_no_mapping_are_refused(blobs: Any) -> None:
    with pytest.raises(errors.WrongType, match=r"blobs=.*; it is a dict"):
        Graph.from_json(HOURLY.to_json(), blobs)


JUNK = [None, 5, -1, 2**70, 1.5, True, "", "x", "\u202e", "*", "^x$", "__x", "2026-13-01", [], ["a"], {}, {"a": 1}]


def places(read: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = read.items() if isinstance(read, dict) else enumerate(read) if isinstance(read, list) else ()
    for key, value in items:
        yield (*before, key)
        yield from places(value, (*before, key))


@pytest.mark.parametrize("junk", JUNK, ids=ascii)
def test_junk_anywhere_in_a_document_is_refused_or_is_a_document_again(junk: Any) -> None:
    for place in places(document()):
        read = document()
        *way, last = place
        functools.reduce(lambda part, key: part[key], way, read)[last] = junk
        try:
            graph = Graph.from_json(json.dumps(read), HOURLY.graph.blobs)
        except errors.GraphFormat:
            continue
        assert Graph.from_json(graph.to_json(), HOURLY.graph.blobs) == graph, place


def test_a_missing_blob_is_named() -> None:
    with pytest.raises(errors.GraphFormat, match=r"the graph needs .*frame-.* pass blobs="):
        Graph.from_json(HOURLY.to_json())


def test_a_blob_of_another_kind_is_refused() -> None:
    blobs = dict.fromkeys(HOURLY.graph.blobs)
    with pytest.raises(errors.GraphFormat, match="no compiled @udf"):
        Graph.from_json(HOURLY.to_json(), blobs)


BREAKS: dict[str, Any] = {
    "a field nobody knows": lambda d: stage(d, "filter").update(colour="red"),
    "a field nobody knows at the top": lambda d: d.update(author="me"),
    "a field nobody knows in an expression": lambda d: stage(d, "filter")["exprs"][0].update(x=1),
    "a field nobody knows in a window": lambda d: stage(d, "window")["window"].update(x=1),
    "a kind of node nobody knows": lambda d: stage(d, "filter").update(op="filtre"),
    "no nodes": lambda d: d.pop("nodes"),
    "an id that is no name": lambda d: stage(d, "agg").update(id="my stage"),
    "an input that is no reference": lambda d: stage(d, "agg").update(inputs=["a.b.c"]),
    "a number for a column": lambda d: stage(d, "event_time").update(column=3),
    "a policy nobody knows": lambda d: stage(d, "wasm").update(on_error="ignore"),
}
DEEPER: dict[str, Any] = {
    "an input that is not there": lambda d: stage(d, "agg").update(inputs=["nowhere"]),
    "an input that comes later": lambda d: stage(d, "filter").update(inputs=["hourly"]),
    "a side output that is not there": lambda d: stage(d, "agg").update(inputs=[stage(d, "window")["id"] + ".late"]),
    "a filter of two inputs": lambda d: stage(d, "filter").update(inputs=stage(d, "filter")["inputs"] * 2),
    "a filter of no input": lambda d: stage(d, "filter").update(inputs=[]),
    "a source with an input": lambda d: stage(d, "read").update(inputs=["hourly"]),
    "a stage that is there twice": lambda d: d["nodes"].append(d["nodes"][-1]),
    "a column that is not there": lambda d: stage(d, "event_time").update(column="when"),
    "a column type nobody knows": lambda d: stage(d, "read")["schema"].update(origin="Text"),
    "a time unit nobody knows": lambda d: stage(d, "read")["schema"].update(origin={"Datetime": ["h", None]}),
    "an expression that is none": lambda d: stage(d, "filter")["exprs"][0].update(data="AAAA"),
    "an expression that is not even base64": lambda d: stage(d, "filter")["exprs"][0].update(data="?"),
    "a window of no length": lambda d: stage(d, "window")["window"].update(size={"text": "0s"}),
    "a length that says two things": lambda d: stage(d, "window")["window"].update(size={"text": "1h", "us": 5}),
    "early results of no rows": lambda d: stage(d, "window").update(early={"type": "after_count", "n": 0}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_document_of_the_wrong_shape_is_refused_by_code_and_by_schema(name: str) -> None:
    broken(BREAKS[name])
    read = document()
    BREAKS[name](read)
    assert not VALIDATOR.is_valid(read)


@pytest.mark.parametrize("name", DEEPER)
def test_a_document_of_the_right_shape_that_does_not_hold_is_refused(name: str) -> None:
    assert "stage `" in str(broken(DEEPER[name]))


class Evil:
    ran = False

    def __reduce__(self) -> Any:
        return run_evil, ()


def run_evil() -> Any:
    Evil.ran = True
    return len


def evil_expressions(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    fake = types.ModuleType("cloudpickle")
    fake.dumps = lambda *_args, **_options: pickle.dumps(Evil())  # type: ignore[attr-defined]
    fake.loads = pickle.loads  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cloudpickle", fake)
    made = [
        pl.col("page").map_elements(lambda x: x, return_dtype=pl.Int64),
        pl.col("page").map_batches(lambda x: x, return_dtype=pl.Int64) > 1,
        pl.col("page").name.map(lambda name: name),
        pl.fold(pl.lit(0), lambda a, b: a + b, [pl.col("page")]),
    ]
    return [expr.meta.serialize() for expr in made]


def evil_document(raw: bytes) -> errors.GraphFormat:
    data = base64.b64encode(raw).decode()
    return broken(lambda read: stage(read, "filter")["exprs"][0].update(data=data))


def test_a_pickled_function_in_a_document_is_never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for raw in [*evil_expressions(monkeypatch), b"anything PLPYUDF anything"]:
        assert "pickled Python function" in str(evil_document(raw))
    assert not Evil.ran


def test_a_hidden_pickled_function_is_never_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = evil_expressions(monkeypatch)[0]
    marked = re.sub(rb"\xc4.(PLPY.*)\xa7options", spelled_out, raw, flags=re.DOTALL)
    assert marked != raw
    for hidden in (
        marked,
        raw.replace(b"PLPY", b"QLQY"),
        raw.replace(b"\xb1AnonymousFunction", b"\xc4\x11AnonymousFunction"),
    ):
        evil_document(hidden)
    (tmp_path / "evil.so").touch()
    plugin = pl.plugins.register_plugin_function(
        plugin_path=tmp_path / "evil.so", function_name="f", args=[pl.col("page")], is_elementwise=True
    )
    assert "foreign code" in str(evil_document(plugin.meta.serialize()))
    assert not Evil.ran


def spelled_out(found: re.Match[bytes]) -> bytes:
    """Write the bytes as a list of numbers, each behind a marker, so that no mark stands there in one piece."""
    return (
        b"\xdc" + len(found[1]).to_bytes(2, "big") + b"".join(b"\xcc" + bytes([n]) for n in found[1]) + b"\xa7options"
    )


@pytest.mark.parametrize("slack", [-5, 2**70])
def test_a_slack_out_of_range_is_refused(slack: int) -> None:
    broken(lambda read: stage(read, "event_time").update(max_out_of_orderness=slack))


def test_nothing_is_no_document() -> None:
    with pytest.raises(errors.GraphFormat, match="it is NoneType"):
        Graph.from_json(None)  # type: ignore[arg-type]


def test_the_published_schema_is_current() -> None:
    assert published.PATH.read_text() == published.document(), "run python -m dataflare_nb.graph.published"


def test_the_published_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


# Ids


IDS = """
import sys, json
sys.path.insert(0, {root!r})
from tests.graph.streams import STREAMS
print(json.dumps({{name: list(stream.graph.nodes) for name, stream in STREAMS.items()}}))
"""


@pytest.mark.slow
def test_the_same_code_gives_the_same_ids_in_another_process(pytestconfig: pytest.Config) -> None:
    script = "\n" * 50 + IDS.format(root=str(pytestconfig.rootpath))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    there = json.loads(done.stdout)
    here = {name: list(stream.graph.nodes) for name, stream in STREAMS.items()}
    # A memory buffer is itself and no other, and a lambda in an expression cannot be looked into.
    assert {name: ids for name, ids in there.items() if name != "memory"} == {
        name: ids for name, ids in here.items() if name != "memory"
    }


def test_the_line_is_not_part_of_the_id() -> None:
    one = FLIGHTS.filter(pl.col("dep_delay") > 1)
    other = FLIGHTS.filter(pl.col("dep_delay") > 1)
    assert one.graph.nodes[one.ref].where != other.graph.nodes[other.ref].where
    assert one == other
    assert hash(one) == hash(other)
    assert one.ref == other.ref


def test_what_a_stage_does_and_reads_is_part_of_the_id() -> None:
    heads = [
        FLIGHTS.filter(pl.col("dep_delay") > 1).ref,
        FLIGHTS.filter(pl.col("dep_delay") > 2).ref,
        FLIGHTS.filter(pl.col("dep_delay") > 1.0).ref,
        FLIGHTS.drop("carrier").filter(pl.col("dep_delay") > 1).ref,
        flare.from_frame(FRAME.reverse()).filter(pl.col("dep_delay") > 1).ref,
    ]
    assert len(set(heads)) == len(heads)


def test_functions_that_read_the_same_and_differ_are_different_stages() -> None:
    def plus(n: int) -> flare.Stream:
        return FLIGHTS.map_batches(lambda frame: frame.with_columns(pl.col("dep_delay") + n))

    def default(n: int) -> flare.Stream:
        return FLIGHTS.map_batches(lambda frame, n=n: frame.with_columns(pl.col("dep_delay") + n))

    def inner(name: str) -> flare.Stream:
        source = f"lambda frame: frame.with_columns(dep_delay=(lambda: pl.col({name!r}))())"
        return FLIGHTS.map_batches(eval(source, {"pl": pl}))

    def elements(n: int) -> flare.Stream:
        return FLIGHTS.with_columns(pl.col("dep_delay").map_batches(lambda x: x + n, return_dtype=pl.Float64))

    def open_over(thing: object) -> flare.Stream:
        return FLIGHTS.map_batches(lambda frame: (frame, thing)[0])

    for make, one, other in [
        (plus, 1, 2),
        (default, 1, 2),
        (inner, "dep_delay", "arr_delay"),
        (elements, 1, 2),
        (open_over, object(), object()),
    ]:
        assert make(one).ref != make(other).ref, make


def test_two_functions_in_expressions_that_read_the_same_both_run() -> None:
    frame = flare.from_frame(pl.DataFrame({"a": [1]}))
    one, two = (
        frame.with_columns(pl.col("a").map_batches(lambda x, n=n: x + n, return_dtype=pl.Int64)) for n in (10, 20)
    )
    assert sorted(one.union(two).collect()["a"].to_list()) == [11, 21]


def test_a_function_written_again_is_the_same_stage() -> None:
    heads = set()
    for _ in range(2):

        def twice(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.with_columns(pl.col("dep_delay") * 2)

        heads.add(FLIGHTS.map_batches(twice).ref)
    assert len(heads) == 1


def test_a_stage_has_the_name_it_is_given() -> None:
    stream = FLIGHTS.filter(pl.col("dep_delay") > 1).named("slow")
    assert stream.ref == "slow"
    assert stream.named("slower").ref == "slower"
    assert "slow" not in stream.named("slower").graph.nodes
    assert stream.named("slow") == stream
    assert stream.drop("carrier").at("slow") == stream


def test_a_name_changes_what_reads_it_and_nothing_before_it() -> None:
    plain = FLIGHTS.filter(pl.col("dep_delay") > 1)
    assert plain.named("slow").drop("tags").ref != plain.drop("tags").ref
    assert list(plain.named("slow").graph.nodes)[:-1] == list(plain.graph.nodes)[:-1]


def test_a_name_may_begin_like_an_id_of_ours() -> None:
    assert FLIGHTS.filter(pl.col("dep_delay") > 1).named("filter-slow").ref == "filter-slow"
    with pytest.raises(errors.BadOption, match="looks like an id we give"):
        FLIGHTS.filter(pl.col("dep_delay") > 1).named("filter-0123abcd")


def test_streams_that_share_a_named_part_merge() -> None:
    slow = FLIGHTS.filter(pl.col("dep_delay") > 1).named("slow")
    both = slow.drop("tags").union(slow.drop("tags"))
    assert len(both.graph) == 4
    assert [item.id for item in both.graph][1] == "slow"


def test_one_name_for_the_same_stage_on_two_lines_merges() -> None:
    one = FLIGHTS.filter(pl.col("dep_delay") > 1).named("slow")
    other = FLIGHTS.filter(pl.col("dep_delay") > 1).named("slow")
    assert len(one.union(other).graph) == 3


# Parts


def test_an_edge_is_known_by_stage_and_side_output() -> None:
    graph = HOURLY.graph
    assert graph.edge("hourly").schema == HOURLY.schema
    assert graph.edge("hourly").event_time is not None
    late = graph.edge("hourly.late")
    assert late.schema.names()[-3:] == ["missed_start", "missed_end", "late_by"]
    assert late.event_time is None
    with pytest.raises(errors.UnknownStage, match="has no side output `lat`; it has late"):
        graph.edge("hourly.lat")
    with pytest.raises(errors.UnknownStage, match="Did you mean `hourly`"):
        graph.edge("hourl")


def test_upstream_is_what_a_stage_needs_with_its_blobs() -> None:
    filtered = next(item.id for item in HOURLY.graph if item.kind == "filter")
    part = HOURLY.graph.upstream([filtered])
    assert [item.kind for item in part] == ["read", "event_time", "filter"]
    assert [key.partition("-")[0] for key in part.blobs] == ["frame"]
    assert set(part.edges) == set(part.nodes)
    assert HOURLY.graph.upstream(["hourly.late"]) == HOURLY.graph
    with pytest.raises(errors.UnknownStage):
        HOURLY.graph.upstream(["nowhere"])


def test_consumers_say_who_reads_which_output_at_which_input() -> None:
    timed = FLIGHTS.event_time("sched")
    both = timed.drop("tags").union(timed.drop("tags"), timed.invalid.drop("tags", "reason"))
    found = [(item.kind, port, tag) for item, port, tag in both.graph.consumers(timed.ref)]
    assert found == [("drop", 0, "main"), ("drop", 0, "invalid")]
    drop = both.graph.consumers(timed.ref)[0][0].id
    assert [(item.kind, port) for item, port, _ in both.graph.consumers(drop)] == [("union", 0), ("union", 1)]
    assert both.graph.outputs() == [both.ref]


def test_a_graph_is_never_changed_by_building_on_it() -> None:
    before = FLIGHTS.graph.to_json()
    FLIGHTS.filter(pl.col("dep_delay") > 1).named("x")
    assert FLIGHTS.graph.to_json() == before
    assert len(Graph()) == 0


def test_nodes_are_frozen() -> None:
    with pytest.raises(AttributeError):
        next(iter(FLIGHTS.graph)).id = "other"  # type: ignore[misc]
    assert isinstance(next(iter(FLIGHTS.graph)), msgspec.Struct)


@pytest.mark.slow
def test_a_thousand_columns_are_described_at_once():
    wide = flare.from_frame(pl.DataFrame({f"c{n}": [n] for n in range(1_000)}))
    begun = time.monotonic()
    described = wide.with_columns(pl.all() + 1).window(flare.global_window()).agg(pl.all().sum())
    assert described.collect().row(0)[:3] == (1, 2, 3)
    assert time.monotonic() - begun < 20
