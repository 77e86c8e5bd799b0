"""The plan as data: nodes in topological order, the blobs they name, and the edges that follow from them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import polars as pl

from ..errors import (
    BadOption,
    DataflareError,
    GraphFormat,
    UnknownStage,
    WrongType,
    listing,
    nearest,
    shown,
    there_are,
    trimmed,
)
from . import node
from .asking import at
from .edges import edge_of
from .node import NAME_PATTERN, AnyNode, Write, is_named, split_ref
from .schema import Edge

VERSION: Literal[1] = 1
BLOB_OPTIONS = ("frame", "frames", "function", "buffer", "plugin")
"""Options of sources and sinks that name a blob."""
_HAVE = {
    "late": "a window over event time has one",
    "invalid": "event_time has one, and readers and wasm stages with on_error='dead_letter'",
}


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A graph on disk. `polars` is the version whose expressions it holds."""

    version: Literal[1] = VERSION
    polars: str = pl.__version__
    nodes: tuple[AnyNode, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """An acyclic graph of nodes. Build one with `Stream`; read one with `from_json`.

    `blobs` holds what JSON cannot: frames, functions, plugins, by key. Graphs are equal when they do the same; the
    lines that built them do not matter.

    >>> import dataflare_nb as flare
    >>> stream = flare.from_frame(pl.DataFrame({"a": [1, 2]})).filter(pl.col("a") > 1)
    >>> Graph.from_json(stream.to_json(), stream.graph.blobs) == stream.graph
    True
    """

    nodes: Mapping[str, AnyNode] = field(default_factory=dict)
    blobs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    edges: Mapping[str, Edge] = field(default_factory=dict, repr=False, compare=False)
    _readers: dict[str, list[tuple[AnyNode, int, str]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def add(self, item: AnyNode, blobs: Mapping[str, Any] | None = None) -> tuple[Graph, str]:
        """Return the graph with one more node, checked, and the node's id (a hash of its content unless named)."""
        if item.id == "_":
            item = node.with_id(item)
        all_blobs = {**self.blobs, **blobs} if blobs else self.blobs
        if item.id in self.nodes:
            self._refuse_other(item)
            return Graph(self.nodes, all_blobs, self.edges), item.id
        self._refuse_other_params(item)
        edge = edge_of(item, [self.edge(ref) for ref in item.inputs], all_blobs)
        graph = Graph({**self.nodes, item.id: item}, all_blobs, {**self.edges, item.id: edge})
        return graph, item.id

    def merge(self, other: Graph) -> Graph:
        """Return the nodes of both. One id with two meanings is refused."""
        for node_id, item in other.nodes.items():
            if node_id in self.nodes:
                self._refuse_other(item)
            else:
                self._refuse_other_params(item)
        # What is in both keeps its place, so that inputs stay before what reads them.
        return Graph(
            {**self.nodes, **{key: item for key, item in other.nodes.items() if key not in self.nodes}},
            {**self.blobs, **other.blobs},
            {**other.edges, **self.edges},
        )

    def _require(self, node_id: str) -> None:
        if node_id not in self.nodes:
            raise UnknownStage(
                f"there is no stage `{node_id}`; {there_are(self.nodes)}." + nearest(node_id, self.nodes)
            )

    def _refuse_other(self, item: AnyNode) -> None:
        if _what(self.nodes[item.id]) != _what(item):
            raise BadOption(f"two different stages are named `{item.id}`; give one of them another name")

    def _refuse_other_params(self, item: AnyNode) -> None:
        for spec in node.params_of(item):
            for other in self.nodes.values():
                for known in node.params_of(other):
                    if known.name == spec.name and known.dtype != spec.dtype:
                        raise WrongType(
                            f"{at(item)} reads the param `{spec.name}`, which is {spec.dtype} there and {known.dtype} "
                            f"in {at(other)}; write that step again, or give one of them another name"
                        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        mine, theirs = ({key: _what(item) for key, item in graph.nodes.items()} for graph in (self, other))
        return mine == theirs

    def __repr__(self) -> str:
        return f"Graph({listing(self.nodes)})"

    def __hash__(self) -> int:
        return hash(frozenset(self.nodes))

    def edge(self, ref: str) -> Edge:
        """Return what flows along `"id"` or `"id.late"`."""
        node_id, tag = split_ref(ref)
        self._require(node_id)
        edge = self.edges[node_id]
        if tag == "main":
            return edge
        if tag not in edge.sides:
            raise UnknownStage(f"`{node_id}` has no side output `{tag}`; it has {listing(edge.sides)}")
        return edge.side(tag)

    def upstream(self, refs: Iterable[str]) -> Graph:
        """Return the part of the graph that `refs` need, without the blobs of the rest."""
        wanted: set[str] = set()
        waiting = [split_ref(ref)[0] for ref in refs]
        for node_id in waiting:
            self._require(node_id)
        while waiting:
            node_id = waiting.pop()
            if node_id not in wanted:
                wanted.add(node_id)
                waiting += [split_ref(ref)[0] for ref in self.nodes[node_id].inputs]
        nodes = {node_id: item for node_id, item in self.nodes.items() if node_id in wanted}
        used = set(_blob_keys(nodes.values()))
        blobs = {key: blob for key, blob in self.blobs.items() if key in used}
        return Graph(nodes, blobs, {node_id: self.edges[node_id] for node_id in nodes})

    def renamed(self, node_id: str, name: str) -> tuple[Graph, str]:
        """Return what a node needs, with the node under a name that the user gives it."""
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            raise BadOption(
                f"{name!r} is not a name; a name is letters, digits, _ and -, starts with a letter or _, and has at "
                "most 64"
            )
        if node_id not in self.nodes:
            raise BadOption(f"`{node_id}` is a side output and has its stage's name; select from it first")
        item = msgspec.structs.replace(self.nodes[node_id], id=name)
        if not node.is_named(item):
            raise BadOption(f"`{name}` looks like an id we give; choose another name")
        return self.upstream(item.inputs).add(item, self.blobs_of(item))

    def nearest_side(self, ref: str, tag: str) -> str:
        """Return the side output `tag` of the nearest stage upstream that has one."""
        waiting = [split_ref(ref)[0]]
        seen: set[str] = set()
        while waiting:
            found = [node_id for node_id in waiting if tag in self.edges[node_id].sides]
            if len(found) > 1:
                raise UnknownStage(f"several stages have one: {listing(found)}; name it: .at('{found[0]}').{tag}")
            if found:
                return f"{found[0]}.{tag}"
            seen.update(waiting)
            refs = [ref for node_id in waiting for ref in self.nodes[node_id].inputs]
            waiting = list(dict.fromkeys(i for ref in refs if (i := split_ref(ref)[0]) not in seen))
        raise UnknownStage(f"no stage of this stream has one; {_HAVE[tag]}")

    def blobs_of(self, item: AnyNode) -> dict[str, Any]:
        """Return the blobs that a node names."""
        return {key: self.blobs[key] for key in _blob_keys([item]) if key in self.blobs}

    def consumers(self, node_id: str) -> list[tuple[AnyNode, int, str]]:
        """Return who reads a node: the node, which of its inputs, and which output it reads."""
        if not self._readers:
            found: dict[str, list[tuple[AnyNode, int, str]]] = {}
            for item in self.nodes.values():
                for port, ref in enumerate(item.inputs):
                    read, tag = split_ref(ref)
                    found.setdefault(read, []).append((item, port, tag))
            # At once, since other threads may ask.
            self._readers.update(found)
        return self._readers.get(node_id, [])

    def called(self, ref: str) -> str:
        """Return what a job over an output is called: the stage, and of a sink without a name what it writes."""
        node_id, _ = split_ref(ref)
        item = self.nodes[node_id]
        if isinstance(item, Write) and not is_named(item):
            read, tag = split_ref(item.inputs[0])
            if is_named(self.nodes[read]):
                return f"write_{read}" + ("" if tag == "main" else f"_{tag}")
        return node_id

    def outputs(self) -> list[str]:
        """Return the ids that no other node reads."""
        read = {split_ref(ref)[0] for item in self.nodes.values() for ref in item.inputs}
        return [node_id for node_id in self.nodes if node_id not in read]

    def to_json(self, *, indent: int | None = None) -> bytes:
        """Return the graph as a JSON document, in bytes: `Path("graph.json").write_bytes(graph.to_json(indent=2))`.

        Blobs are named in it and travel beside it.
        """
        text = msgspec.json.encode(Document(nodes=tuple(self.nodes.values())))
        return msgspec.json.format(text, indent=indent) if indent else text

    @classmethod
    @trimmed
    def from_json(cls, document: bytes | str, blobs: Mapping[str, Any] | None = None) -> Graph:
        """Read what `to_json` wrote, checking every node and edge again; `flare.load` makes a stream of it.

        Raises GraphFormat for a document that is no graph, is of another version, or names a missing blob.
        """
        if blobs is not None and not isinstance(blobs, Mapping):
            raise WrongType(f"blobs={shown(blobs)}; it is a dict, such as Graph.blobs")
        if not isinstance(document, bytes | str):
            raise GraphFormat(f"not a graph document: it is {type(document).__name__}; pass JSON as bytes or str")
        try:
            version = msgspec.json.decode(document, type=_Version).version
            if version != VERSION:
                raise GraphFormat(f"the graph is of version {version}; this release reads version {VERSION}")
            read = msgspec.json.decode(document, type=Document)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise GraphFormat(f"not a graph document: {error}") from None
        if read.polars.split(".")[0] != pl.__version__.split(".")[0]:
            raise GraphFormat(
                f"the graph holds expressions of Polars {read.polars}; this is Polars {pl.__version__}. "
                "Install the same major version, or build the graph again"
            )
        blobs = dict(blobs or {})
        missing = [key for key in _blob_keys(read.nodes) if key not in blobs]
        if missing:
            raise GraphFormat(f"the graph needs {listing(missing)}, which did not come with it; pass blobs=")
        graph = cls(blobs=blobs)
        for item in read.nodes:
            try:
                if item.id in graph.nodes:
                    raise GraphFormat("the id is there twice")
                graph, _ = graph.add(item)
            except DataflareError as error:
                raise GraphFormat(f"stage `{item.id}` does not hold: {error}") from error
        return graph

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """Return the JSON Schema (2020-12) of the document."""
        schema = _trimmed(msgspec.json.schema(Document))
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "dataflare_nb graph", **schema}

    def __iter__(self) -> Iterator[AnyNode]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)


def _what(item: AnyNode) -> AnyNode:
    return msgspec.structs.replace(item, where="")


def _trimmed(schema: Any) -> Any:
    """Return a schema whose descriptions, which are docstrings, have no indent on any version of Python."""
    if isinstance(schema, dict):
        return {
            name: inspect.cleandoc(part) if name == "description" and isinstance(part, str) else _trimmed(part)
            for name, part in schema.items()
        }
    return [_trimmed(part) for part in schema] if isinstance(schema, list) else schema


class _Version(msgspec.Struct):
    version: int


def _blob_keys(nodes: Iterable[AnyNode]) -> Iterator[str]:
    for item in nodes:
        for name in ("function", "udf", "plugin"):
            if (key := getattr(item, name, None)) is not None:
                yield key
        plugins = getattr(item, "plugins", ())
        yield from (plugin.plugin for plugin in plugins)
        for stored in (*getattr(item, "exprs", ()), *(arg for plugin in plugins for arg in plugin.args)):
            if stored.blob:
                yield stored.blob
        for name in BLOB_OPTIONS:
            value = getattr(item, "options", {}).get(name)
            yield from [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
