"""The nodes of a graph: frozen values that say what is to be done, never how."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from ..expr import Expr
from ..parameters import ParamSpec
from ..windows import Duration, EarlySpec, WindowSpec

Options: TypeAlias = dict[str, Any]
N = TypeVar("N", bound="Node")

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
NodeId = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN, description="a name, or kind-hash")]
InputRef = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[a-z_]+)?$",
        description="a node id, or id.late / id.invalid for a side output",
    ),
]


class Node(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", forbid_unknown_fields=True):
    """What all nodes share. `where` is the user's line, for messages; it is not part of the identity."""

    id: NodeId = "_"
    inputs: tuple[InputRef, ...] = ()
    where: str = ""

    @property
    def kind(self) -> str:
        """The word for this node in drawings and messages."""
        return str(self.__struct_config__.tag)

    def label(self) -> str:
        """Say in a few words what the node does."""
        return self.kind


class Tunable(Node, frozen=True, kw_only=True):
    """A node that may read params; each batch is worked on with one value of each."""

    params: tuple[ParamSpec, ...] | msgspec.UnsetType = msgspec.UNSET


class Read(Node, frozen=True, kw_only=True, tag="read"):
    """A source: a registered name and its options. `schema` is what it gives."""

    source: str
    options: Options = {}
    schema: dict[str, Any]
    bounded: bool
    invalid_schema: dict[str, Any] | None = None

    def label(self) -> str:
        return f"read {self.source}{_path(self.options)}{_plugin(self.options)}"


class EventTime(Node, frozen=True, kw_only=True, tag="event_time"):
    """Which column is the event time, and how far behind the watermark trails. Times in microseconds."""

    column: str
    max_out_of_orderness: Microseconds = 0
    idle_timeout: Microseconds | None = None
    time_zone: str | None = None
    unit: str | None = None
    watermark_every: Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None = None

    def label(self) -> str:
        behind = f", {Duration.of_us(self.max_out_of_orderness)} behind" if self.max_out_of_orderness else ""
        return f"event time {self.column}{behind}"


class Select(Tunable, frozen=True, kw_only=True, tag="select"):
    exprs: tuple[Expr, ...]

    def label(self) -> str:
        return f"select {_texts(self.exprs)}"


class WithColumns(Tunable, frozen=True, kw_only=True, tag="with_columns"):
    exprs: tuple[Expr, ...]

    def label(self) -> str:
        return f"with {_texts(self.exprs)}"


class Filter(Tunable, frozen=True, kw_only=True, tag="filter"):
    exprs: tuple[Expr, ...]

    def label(self) -> str:
        return f"filter {_texts(self.exprs)}"


class Drop(Node, frozen=True, kw_only=True, tag="drop"):
    columns: tuple[str, ...]

    def label(self) -> str:
        return f"drop {', '.join(self.columns)}"


class Rename(Node, frozen=True, kw_only=True, tag="rename"):
    columns: dict[str, str]

    def label(self) -> str:
        return "rename " + ", ".join(f"{old} -> {new}" for old, new in self.columns.items())


class Cast(Node, frozen=True, kw_only=True, tag="cast"):
    columns: dict[str, Any]
    strict: bool = True

    def label(self) -> str:
        return "cast " + ", ".join(f"{name} to {_type(dtype)}" for name, dtype in self.columns.items())


class Explode(Node, frozen=True, kw_only=True, tag="explode"):
    columns: tuple[str, ...]

    def label(self) -> str:
        return f"explode {', '.join(self.columns)}"


class Unnest(Node, frozen=True, kw_only=True, tag="unnest"):
    columns: tuple[str, ...]

    def label(self) -> str:
        return f"unnest {', '.join(self.columns)}"


class MapBatches(Tunable, frozen=True, kw_only=True, tag="map_batches"):
    """A Python function from frame to frame; `function` is the key of a blob."""

    function: str
    schema: dict[str, Any]

    def label(self) -> str:
        return f"map {self.function.partition('-')[0]}"


class Udf(Tunable, frozen=True, kw_only=True, tag="udf"):
    """A Python function compiled to WebAssembly, run over columns.

    Its result is the column `output`, or the columns `outputs`, one for each field; with neither, the rows stay
    for which it is true. `settings` says which of its parameters are params; `args` are the columns for the others.
    """

    udf: str
    args: tuple[str, ...]
    output: str | None
    outputs: tuple[str, ...] = ()
    on_error: Literal["fail", "null", "dead_letter"] = "fail"
    settings: dict[str, str] | msgspec.UnsetType = msgspec.UNSET

    def label(self) -> str:
        given = [*self.args, *(f"{key}={name}" for key, name in (self.settings or {}).items())]
        call = f"{self.udf.rpartition('-')[0]}({', '.join(given)})"
        made = ", ".join(self.outputs) or self.output
        return f"{made} = {call}" if made else f"filter {call}"


class Wasm(Node, frozen=True, kw_only=True, tag="wasm"):
    """A plugin as a stage; `plugin` is the key of a blob, `schema` what comes out."""

    plugin: str
    columns: tuple[str, ...] | None = None
    output: str | None = None
    on_error: Literal["fail", "dead_letter"] = "fail"
    schema: dict[str, Any]

    def label(self) -> str:
        return f"wasm {self.plugin.rpartition('-')[0]}({', '.join(self.columns or ())})"


class Union(Node, frozen=True, kw_only=True, tag="union"):
    pass


class KeyBy(Node, frozen=True, kw_only=True, tag="key_by"):
    keys: tuple[str, ...]

    def label(self) -> str:
        return f"key by {', '.join(self.keys)}"


class Window(Node, frozen=True, kw_only=True, tag="window"):
    """Which windows the aggregation that follows is over. `allowed_lateness` in microseconds."""

    window: WindowSpec
    allowed_lateness: Microseconds = 0
    early: EarlySpec | None = None

    def label(self) -> str:
        more = f", {Duration.of_us(self.allowed_lateness)} late allowed" if self.allowed_lateness else ""
        return f"{self.window}{more}{f', early {self.early}' if self.early is not None else ''}"


class PluginAggregate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column that a plugin aggregates; `plugin` is the key of a blob.

    It stands after so many of the node's expressions. `dtype` is the type of its values; `merges` says that state may
    hold the plugin's own states instead of rows.
    """

    name: str
    plugin: str
    args: tuple[Expr, ...]
    dtype: Any
    merges: bool
    after: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def readable(self) -> str:
        """The call as a person would write it."""
        call = f"{self.plugin.rpartition('-')[0]}({_texts(self.args)})"
        return f"{self.name} = {call}"


class Aggregate(Node, frozen=True, kw_only=True, tag="agg"):
    exprs: tuple[Expr, ...] = ()
    plugins: tuple[PluginAggregate, ...] = ()

    def label(self) -> str:
        texts = [expr.readable for expr in self.exprs]
        for number, plugin in enumerate(self.plugins):
            texts.insert(min(plugin.after, len(self.exprs)) + number, plugin.readable)
        return f"agg {', '.join(texts)}"


class Write(Node, frozen=True, kw_only=True, tag="write"):
    """A sink: a registered name and its options."""

    sink: str
    options: Options = {}

    def label(self) -> str:
        return f"write {self.sink}{_path(self.options)}{_plugin(self.options)}"


AnyNode: TypeAlias = (
    Read
    | EventTime
    | Select
    | WithColumns
    | Filter
    | Drop
    | Rename
    | Cast
    | Explode
    | Unnest
    | MapBatches
    | Udf
    | Wasm
    | Union
    | KeyBy
    | Window
    | Aggregate
    | Write
)

COLUMN_NODES = (Select, WithColumns, Filter, Drop, Rename, Cast, Explode, Unnest)
"""Nodes that are one call on a LazyFrame and look at one row at a time; neighbours are fused."""


def params_of(item: Node) -> tuple[ParamSpec, ...]:
    """Return the params that a node reads."""
    found = getattr(item, "params", msgspec.UNSET)
    return found if found is not msgspec.UNSET else ()


def split_ref(ref: str) -> tuple[str, str]:
    """Return the node id and the output of an input reference: `"hourly.late"` is `("hourly", "late")`."""
    node_id, _, tag = ref.partition(".")
    return node_id, tag or "main"


def is_named(node: Node) -> bool:
    """Tell whether the user named the node; otherwise its id is its kind and a hash."""
    return re.fullmatch(f"{node.kind}-[0-9a-f]{{8}}", node.id) is None


def with_id(node: N) -> N:
    """Return the node with the id that its content and inputs hash to."""
    plain = msgspec.structs.replace(node, id="_", where="")
    digest = hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()
    return msgspec.structs.replace(node, id=f"{node.kind}-{digest[:8]}")


def _texts(exprs: tuple[Expr, ...]) -> str:
    return ", ".join(expr.readable for expr in exprs)


def _path(options: Options) -> str:
    path = options.get("path")
    if isinstance(path, list):
        return f" {path[0]} and {len(path) - 1} more" if len(path) > 1 else f" {path[0]}"
    return f" {path}" if path else ""


def _plugin(options: Options) -> str:
    key = options.get("plugin")
    return f" {key.rpartition('-')[0]}" if isinstance(key, str) else ""


def _type(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else next(iter(dtype), "?")
