"""What of a graph runs on Flink and what is refused: one table, from which checks and documentation are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Literal

from ..graph import Graph, node
from ..runtime.plan import plan
from ..runtime.plugins import NAME as PLUGIN
from . import blobs, functions
from .layout import layout
from .secrets import references, written_out
from .target import Flink

Kind = Literal["step", "window", "source", "sink"]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something that the cluster cannot do: the stage, the line that made it, and the reason."""

    stage: str
    where: str
    reason: str

    def __str__(self) -> str:
        return f"`{self.stage}`{f' ({self.where})' if self.where else ''}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Support:
    """A row of the table. `runs` says whether it runs on Flink, `note` how, or why not."""

    kind: Kind
    name: str
    runs: bool
    note: str


_KEYS = "one instance for each share of the keys"
_HEAD = "in the order of the source"
_FILES = "each split with its place in Flink's state, so that no row is lost or doubled; the path is one of the pods"
_COMMITTED = (
    "Flink commits the rows with its checkpoints, and the job's driver hands them over: of live input each time, of "
    "bounded input when the job has ended"
)

TABLE: tuple[Support, ...] = (
    *(
        Support("step", name, True, f"our operator, {_HEAD}")
        for name in ("event_time", "select", "with_columns", "filter", "drop", "rename", "cast", "explode", "unnest")
    ),
    Support("step", "map_batches", True, "the function travels by value, with the modules of Python and of the image"),
    Support("step", "udf", True, "the compiled WebAssembly, under the same policy"),
    Support("step", "wasm", True, "the plugin, under the same policy"),
    Support("step", "union", True, "bounded inputs in the same order as in the notebook"),
    Support("step", "key_by", True, "Flink shuffles by the hash of the keys"),
    Support("step", "window", True, "see the windows below; `.late` and `.invalid` are streams as everywhere"),
    Support("step", "agg", True, f"any Polars aggregation and Aggregator plugins, {_KEYS}"),
    *(
        Support("window", name, True, f"with allowed lateness and revisions, {_KEYS}")
        for name in ("tumbling", "hopping", "session", "cumulative")
    ),
    Support("window", "count", True, _KEYS),
    Support("window", "global_window", True, _KEYS),
    Support("window", "early=after_count", True, "counted as in the notebook"),
    Support("window", "early=every", True, "by the clock of the worker, so how many differs from run to run"),
    Support("source", "frame", True, "the rows travel in the bundle"),
    *(Support("source", name, True, _FILES) for name in ("parquet", "csv", "ndjson", "ipc")),
    Support("source", "rate", True, "each split at its own rate"),
    Support("source", PLUGIN, True, "the plugin's offsets are kept in Flink's state"),
    Support("source", "(live input)", True, "read on until the job is stopped, with or without a savepoint"),
    *(Support("sink", name, True, _COMMITTED) for name in ("parquet", "csv", "ndjson", "ipc")),
    Support("sink", "(none)", True, "the rows are kept in a folder of results"),
    Support("sink", "memory", False, "the buffer is in the memory of this process; write to files"),
    Support(
        "sink", "for_each_batch", False, "the function acts in this process; write to a sink that the cluster reaches"
    ),
    Support("sink", PLUGIN, True, "as files are, by the driver"),
)
_ROWS = {(row.kind, row.name): row for row in TABLE}
_REGISTERED = "is registered in this process; the image has only the connectors of dataflare_nb"


def check(graph: Graph, target: Flink) -> list[Unsupported]:
    """Name everything that the cluster cannot do, with the stage and the reason."""
    found = [problem for item in graph for problem in _of(item, graph, target)]
    return found + list(_misplaced(graph, target))


def _misplaced(graph: Graph, target: Flink) -> Iterator[Unsupported]:
    """Name what stage_parallelism asks for in vain."""
    if not target.stage_parallelism:
        return
    planned = plan(graph)
    spread = {stage for vertex in layout(graph, planned, target) if vertex.keys for stage in vertex.stages}
    for name in target.stage_parallelism:
        if name not in graph.nodes:
            yield Unsupported(name, "", "stage_parallelism names it, and the graph has no such stage")
        elif planned.stage_of[name] not in spread:
            where = graph.nodes[name].where
            yield Unsupported(
                name,
                where,
                "stage_parallelism names it, and only windows over keys, with what follows "
                "row by row, run in several instances",
            )


def _of(item: node.AnyNode, graph: Graph, target: Flink) -> Iterator[Unsupported]:
    for reason in (*_reasons(item, graph), *_secret_reasons(item, graph, target)):
        yield Unsupported(item.id, item.where, reason)


def _reasons(item: node.AnyNode, graph: Graph) -> Iterator[str]:
    match item:
        case node.Read(source=name):
            yield from _refused("source", name)
        case node.Write(sink=name):
            yield from _refused("sink", name)
        case _:
            yield from _refused("step", item.kind)
    for stored in (*getattr(item, "exprs", ()), *(arg for each in getattr(item, "plugins", ()) for arg in each.args)):
        if stored.blob:
            yield (
                f"`{stored.readable}` calls Python from an expression, which cannot be stored; "
                "use map_batches or @flare.udf"
            )
    # The blobs of what is refused anyway need no second reason.
    if isinstance(item, node.Write) and item.sink in ("memory", "for_each_batch"):
        return
    for key, blob in graph.blobs_of(item).items():
        if not key.startswith("expr-") and (reason := blobs.portable(key, blob)) is not None:
            yield reason


def _refused(kind: Kind, name: str) -> Iterator[str]:
    row = _ROWS.get((kind, name))
    if row is None:
        yield f"the {kind} `{name}` {_REGISTERED}"
    elif not row.runs:
        yield row.note


def _secret_reasons(item: node.AnyNode, graph: Graph, target: Flink) -> Iterator[str]:
    told: list[tuple[str, dict[str, object]]] = [("", dict(getattr(item, "options", {})))]
    told += [
        (f"config of plugin {blob.name}: ", dict(blob.config.config))
        for blob in graph.blobs_of(item).values()
        if hasattr(blob, "config") and hasattr(blob.config, "config")
    ]
    for blob in graph.blobs_of(item).values():
        if isinstance(blob, FunctionType):
            plain = {name: each for name, each in functions.values(blob).items() if isinstance(each, str | dict)}
            for name in written_out(plain):
                yield (
                    f"`{name}`, which {blob.__name__} reads, looks like a secret; read os.environ['NAME'] in it and "
                    "give the key of a Secret: secrets={'NAME': 'secret/key'}; or call it otherwise if it is none"
                )
    known = {*target.secrets, *target.environment}
    for place, options in told:
        for option in written_out(options):
            yield (
                f"{place}`{option}` holds a secret; write 'env:NAME' there and give the key of a Secret: "
                "secrets={'NAME': 'secret/key'}"
            )
        for name in references(options):
            if name not in known:
                yield f"{place}env:{name} is given by nobody; say secrets={{'{name}': 'secret/key'}}"


def notes(graph: Graph) -> list[str]:
    """Say what a reader of the bundle should know: files that pods must find, and values that stay as they are."""
    lines = []
    for item in graph:
        options = getattr(item, "options", {})
        if (path := options.get("path")) is not None:
            verb = "reads" if isinstance(item, node.Read) else "writes"
            shown = ", ".join(path) if isinstance(path, list) else str(path)
            lines.append(f"`{item.id}` {verb} {shown}" + ("" if shown.startswith("/") else ", under /data"))
        lines += [
            f"`{item.id}` reads the param `{spec.name}`, which stays {spec.value!r}" for spec in node.params_of(item)
        ]
    return lines


def markdown() -> str:
    """Return the table as Markdown, for the documentation."""
    titles: dict[Kind, str] = {"step": "Steps", "window": "Windows", "source": "Sources", "sink": "Sinks"}
    lines = []
    for kind, title in titles.items():
        lines += [f"### {title}", "", "| | on Flink | |", "|---|---|---|"]
        lines += [
            f"| `{row.name}` | {'runs' if row.runs else '**refused**'} | {row.note} |"
            for row in TABLE
            if row.kind == kind
        ]
        lines.append("")
    return "\n".join(lines)
