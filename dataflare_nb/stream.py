"""The fluent face: a `Stream` describes, and hands its graph down to run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

import msgspec
import polars as pl

from . import arguments, habits, plugin_steps, running, steps, storing
from .connectors.memory import MemoryBuffer
from .deploy import Deployment, Flink
from .deploy.local import LocalCluster
from .engine import Job
from .errors import BadOption, GraphError, NoRows, WrongType, located, trimmed, user_line
from .expr import expand
from .graph import Edge, Graph, draw, fingerprint, node
from .runtime.plan import explain
from .signature import held, public
from .text import Text
from .types import Clock
from .wasm.aggregator import AggregateCall
from .wasm.plugin import Plugin
from .wasm.udf import UdfCall
from .windows import DurationLike, EarlySpec, WindowSpec

Column: TypeAlias = str | pl.Expr | UdfCall
Aggregation: TypeAlias = pl.Expr | AggregateCall
PathLike: TypeAlias = str | Path
_WIDEST = 16
_NO_ROWS = "a stream has no rows before it runs; write"


@public
@dataclass(frozen=True, slots=True, init=False)
class Stream:
    """A stream of rows, described and not yet running. Each method returns a new one.

    `graph` is the plan, `ref` the stage or side output this stream is. `flare.read_csv`, `from_frame` and others begin
    one, `flare.load` makes one of a graph.
    """

    graph: Graph
    ref: str

    @trimmed
    def __init__(self, graph: Graph, ref: str = "") -> None:
        if not isinstance(graph, Graph) or not ref:
            way = "flare.load(graph)" if isinstance(graph, Graph) else "flare.from_frame(...), flare.read_csv(...)"
            raise WrongType(f"Stream at {user_line()} is a Graph and the name of a stage; {way} makes a stream")
        object.__setattr__(self, "graph", graph)
        object.__setattr__(self, "ref", ref)

    # Column steps

    def select(self, *exprs: Column | Iterable[Column], **named: Column) -> Stream:
        """Keep these columns, as `LazyFrame.select` does, one row at a time.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1], "b": [2]})).select("b", double=pl.col("a") * 2).columns
        ['b', 'double']
        """
        placed = steps.placed("select", exprs, named, self.schema)
        return self._called(placed)._then(*steps.exprs(node.Select, placed.plain))

    def with_columns(self, *exprs: Column | Iterable[Column], **named: Column) -> Stream:
        """Add or replace columns, as `LazyFrame.with_columns` does, one row at a time.

        A call of a `@udf` on columns becomes a WebAssembly stage: `with_columns(gained=gained("dep", "arr"))`. One
        that returns several values adds a column for each, or a struct if it is given a name.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).with_columns(b=pl.col("a") / 2).schema["b"]
        Float64
        """
        placed = steps.placed("with_columns", exprs, named, self.schema)
        stream = self._called(placed)
        if placed.plain or not placed.calls:
            stream = stream._then(*steps.exprs(node.WithColumns, placed.plain))
        return stream._then(node.Drop(columns=placed.waiting, where=user_line())) if placed.waiting else stream

    def filter(self, *predicates: Column | bool | Iterable[Column], **equal_to: Any) -> Stream:
        """Keep the rows for which all predicates are true; null is not true.

        >>> import dataflare_nb as flare
        >>> clicks = flare.from_frame(pl.DataFrame({"bot": [True, False], "n": [1, 2]}))
        >>> clicks.filter(~pl.col("bot")).collect()["n"].to_list()
        [2]
        """
        stream = self
        exprs = []
        for predicate in arguments.flat(predicates):
            if isinstance(predicate, UdfCall):
                if predicate.udf.dtype != pl.Boolean:
                    raise WrongType(
                        f"filter at {user_line()}: @udf {predicate.udf.name} returns {predicate.udf.dtype}, "
                        "and a filter needs Boolean"
                    )
                stream = stream._then(*steps.udf(predicate))
            else:
                exprs += expand(arguments.expression("filter", predicate), self.schema)
        exprs += [pl.col(name) == arguments.constant("filter", name, value) for name, value in equal_to.items()]
        return stream._then(*steps.exprs(node.Filter, exprs)) if exprs or stream is self else stream

    def drop(self, *columns: str | pl.Expr | Iterable[str]) -> Stream:
        """Leave columns out: names or selectors.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1], "b": [2]})).drop("a").columns
        ['b']
        """
        return self._then(node.Drop(columns=arguments.names("drop", columns, self.schema), where=user_line()))

    def rename(self, columns: Mapping[str, str] | Callable[[str], str]) -> Stream:
        """Give columns other names: `{"old": "new"}`, or a function of the name. Event time and keys follow.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).rename({"a": "b"}).columns
        ['b']
        """
        return self._then(*steps.rename(columns, self.schema))

    def cast(self, dtypes: Mapping[str, Any] | Any, *, strict: bool = True) -> Stream:
        """Change the types of columns, or of all. A value that does not fit fails the job, or is null if not `strict`.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).cast({"a": pl.Float64}).schema["a"]
        Float64
        """
        return self._then(*steps.cast(dtypes, strict, self.schema))

    def explode(self, *columns: str | pl.Expr | Iterable[str]) -> Stream:
        """Give each element of a list column a row of its own.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [[1, 2], [3]]})).explode("a").collect()["a"].to_list()
        [1, 2, 3]
        """
        return self._then(node.Explode(columns=arguments.names("explode", columns, self.schema), where=user_line()))

    def unnest(self, *columns: str | pl.Expr | Iterable[str]) -> Stream:
        """Put the fields of struct columns in their place.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [{"x": 1, "y": 2}]})).unnest("a").columns
        ['x', 'y']
        """
        return self._then(node.Unnest(columns=arguments.names("unnest", columns, self.schema), where=user_line()))

    # Functions

    def map_batches(
        self, function: Callable[[pl.DataFrame], pl.DataFrame], *, schema: Mapping[str, Any] | None = None
    ) -> Stream:
        """Call a Python function on each batch: the way out when columns and plugins will not do.

        It is called with frames of any height, must not look across batches, and has to return a frame of `schema`.
        Without `schema` the function is tried here on a frame without rows to learn what it returns.

        >>> import dataflare_nb as flare
        >>> numbers = flare.from_frame(pl.DataFrame({"a": [1, 2]}))
        >>> numbers.map_batches(lambda frame: frame.with_columns(b=pl.col("a") * 2)).columns
        ['a', 'b']
        """
        return self._then(*steps.map_batches(function, schema, self.schema))

    def wasm(
        self,
        plugin: PathLike | Mapping[str, Any] | Plugin,
        *,
        column: str | None = None,
        columns: Sequence[str] | None = None,
        output: str | None = None,
        on_error: Literal["fail", "dead_letter"] = "fail",
    ) -> Stream:
        """Send rows through a WebAssembly plugin: a `plugin.json`, the same as a dict, or a `Plugin`.

        It sees `column` or `columns`, or all of them. What it returns is added to the row (the same name replaces),
        a Filter's answer decides which rows stay. `output` renames a single returned column. Rows that the plugin
        refuses fail the job, or go to `.invalid` with `on_error="dead_letter"`.
        """
        return self._then(
            *plugin_steps.wasm(plugin, self.schema, column=column, columns=columns, output=output, on_error=on_error)
        )

    def union(self, *others: Stream) -> Stream:
        """Put streams of one schema together. Of bounded inputs the order is always the same.

        At most 1,024 streams, each counted as often as it comes; `from_frames` and globs read any number as one.

        >>> import dataflare_nb as flare
        >>> one, two = (flare.from_frame(pl.DataFrame({"a": [n]})) for n in (1, 2))
        >>> one.union(two).collect()["a"].to_list()
        [1, 2]
        """
        if not others:
            raise BadOption(f"union at {user_line()} needs another stream")
        graph = self.graph
        for other in others:
            if not isinstance(other, Stream):
                raise WrongType(
                    f"union at {user_line()}: {type(other).__name__} is not a Stream; flare.from_frame makes one"
                )
            with located("union"):
                graph = graph.merge(other.graph)
        if isinstance(graph.nodes[self.ref.partition(".")[0]], node.Write):
            raise GraphError(f"union at {user_line()}: nothing comes after a sink; branch off before it")
        item = node.Union(inputs=(self.ref, *(other.ref for other in others)), where=user_line())
        graph, head = graph.add(item)
        return Stream(graph, head)

    # Time, keys, windows

    def event_time(
        self,
        column: str,
        max_out_of_orderness: DurationLike = "0s",
        *,
        idle_timeout: DurationLike | None = "auto",
        time_zone: str | None = None,
        unit: str | None = None,
        watermark_every: int | None = None,
    ) -> Stream:
        """Say which column is the event time; it becomes `Datetime("us")`.

        The watermark trails the largest time of each split by `max_out_of_orderness`. A split that gives nothing for
        `idle_timeout` holds nothing back (5 s for live input, off for bounded input, None for never). Times without a
        zone are UTC, unless `time_zone` says where they were noted. Integers need `unit`: s, ms, us or ns. Bounded
        input tells the watermark each `watermark_every` rows of a split (65,536 by default), live input at each poll.
        A row can only be late for a watermark that was told before: a file of fewer rows has no late ones. A small
        `watermark_every` finds them, and costs a turn of every stage for each watermark. Rows without a time go to
        `.invalid`.
        """
        return self._then(
            *steps.event_time(
                column,
                max_out_of_orderness,
                self.edge,
                idle_timeout=idle_timeout,
                time_zone=time_zone,
                unit=unit,
                watermark_every=watermark_every,
            )
        )

    def key_by(self, *keys: str | pl.Expr | Iterable[str | pl.Expr], **named: str | pl.Expr) -> Stream:
        """Say which columns tell the rows of one thing from those of another. Expressions are computed first.

        A name is one column, whatever it looks like; for a pattern write `pl.col("^user_.*$")` or a selector.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).key_by("a", odd=pl.col("a") % 2).edge.keys
        ('a', 'odd')
        """
        found = steps.keys(arguments.flat(keys), named, self.schema)
        stream = self._then(*steps.exprs(node.WithColumns, found.computed)) if found.computed else self
        return stream._then(node.KeyBy(keys=found.names, where=user_line()))

    def window(
        self, window: WindowSpec, *, allowed_lateness: DurationLike = "0s", early: EarlySpec | None = None
    ) -> Stream:
        """Say over which windows the next `agg` goes.

        A late row whose window ended no longer than `allowed_lateness` ago updates its result; a later one goes to
        `.late`. `early` asks for results before the end: `every("1s")` or `after_count(100)`. With either, results
        have the columns `pane` (early, on_time, late) and `revision`.
        """
        return self._then(*steps.window(window, allowed_lateness, early))

    def agg(self, *exprs: Aggregation | Iterable[Aggregation], **named: Aggregation) -> Stream:
        """Aggregate each window of each key with any Polars aggregation, or a plugin by `flare.wasm.aggregate`.

        The result has the keys, `window_start`, `window_end`, and one column per expression.

        >>> import dataflare_nb as flare
        >>> bids = flare.from_frame(pl.DataFrame({"who": ["a", "b", "a"], "price": [1, 2, 3]}))
        >>> best = bids.key_by("who").window(flare.global_window()).agg(best=pl.col("price").max())
        >>> best.collect().sort("who").rows()
        [('a', 3), ('b', 2)]
        """
        return self._then(*plugin_steps.agg(exprs, named, self.edge))

    # Side outputs and names

    @property
    @trimmed
    def late(self) -> Stream:
        """The rows that came too late for their window, with the window they missed and how late they were."""
        with located(".late"):
            return Stream(self.graph, self.graph.nearest_side(self.ref, "late"))

    @property
    @trimmed
    def invalid(self) -> Stream:
        """The rows that could not be used, with the reason."""
        with located(".invalid"):
            return Stream(self.graph, self.graph.nearest_side(self.ref, "invalid"))

    def named(self, name: str) -> Stream:
        """Give the last stage a name: it keeps it across runs, in displays, and for its state.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).filter(pl.col("a") > 0).named("positive")
        Stream(read -> positive)
        """
        with located("named"):
            return Stream(*self.graph.renamed(self.ref, name))

    def at(self, name: str) -> Stream:
        """Return the stream as it is after an earlier stage of that name.

        >>> import dataflare_nb as flare
        >>> raw = flare.from_frame(pl.DataFrame({"a": [1]})).named("raw")
        >>> raw.rename({"a": "b"}).at("raw").columns
        ['a']
        """
        with located("at"):
            self.graph.edge(name)
        return Stream(self.graph.upstream([name]), name)

    # Looking

    @property
    def edge(self) -> Edge:
        """What is known of the stream: schema, event time, keys, window."""
        return self.graph.edge(self.ref)

    @property
    def schema(self) -> pl.Schema:
        """The columns, known before anything runs."""
        return self.edge.schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self.schema.names()

    def explain(self) -> str:
        """Say how the stream would run: what is fused, how each aggregation keeps its state."""
        return Text(explain(self.graph.upstream([self.ref])))

    def draw(self) -> str:
        """Return the graph as text."""
        return Text(draw.text(self.graph.upstream([self.ref]), self.ref))

    def mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        return Text(draw.mermaid(self.graph.upstream([self.ref]), self.ref))

    def to_json(self, *, indent: int | None = None) -> bytes:
        """Return the graph as a JSON document, in bytes: `Path("hourly.json").write_bytes(stream.to_json(indent=2))`.

        The functions, plugins and frames that it names are not in it; `save` writes all of them.
        """
        if indent is not None and not 0 <= indent <= _WIDEST:
            raise BadOption(f"to_json at {user_line()}: indent={indent}; it is a number of spaces, at most {_WIDEST}")
        return self.graph.upstream([self.ref]).to_json(indent=indent)

    def save(self, folder: str | Path) -> None:
        """Write the graph and the functions, plugins and frames that it names into a folder.

        `flare.load(folder)` is the stream again, and `dataflare run FOLDER` runs it, wherever the folder is. Python
        functions and buffers cannot be written.
        """
        with located("save"):
            try:
                storing.write(self.graph.upstream([self.ref]), Path(folder))
            except OSError as error:
                raise GraphError(f"cannot write to {folder}: {error.strerror}") from None

    def __repr__(self) -> str:
        path = [item.id if node.is_named(item) else item.kind for item in self.graph.upstream([self.ref])]
        side = self.ref.partition(".")[2]
        return f"Stream({' -> '.join(path)}{f'.{side}' if side else ''})"

    def _repr_html_(self) -> str:
        return draw.html(self.graph.upstream([self.ref]), self.ref)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"a Stream has no `{name}`, at {user_line()}.{habits.hint(name, dir(type(self)))}")

    def __getitem__(self, key: Any) -> NoReturn:
        raise WrongType(
            f"[...] at {user_line()}: a stream has no rows before it runs; use .select(...) for columns, "
            ".filter(...) for rows, or collect()[...]"
        )

    # Without these, Python would look for rows by their number.
    @trimmed
    def __iter__(self) -> NoReturn:
        raise NoRows(f"iteration at {user_line()}: {_NO_ROWS} for row in stream.collect().iter_rows()")

    @trimmed
    def __len__(self) -> NoReturn:
        raise NoRows(f"len at {user_line()}: {_NO_ROWS} stream.collect().height, or a window with agg(n=pl.len())")

    @trimmed
    def __contains__(self, item: object) -> NoReturn:
        raise NoRows(f"`in` at {user_line()}: {_NO_ROWS} `in stream.columns` for a column")

    def __bool__(self) -> bool:
        return True

    # Running

    def collect(
        self,
        *,
        workers: int | None = None,
        clock: Clock | None = None,
        progress: bool = False,
        changes: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """Run bounded input to the end and return the rows, like `LazyFrame.collect`. `progress` shows a bar.

        `changes` are those of params that another run recorded, `job.changes()`; they are made at the same rows again.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1, 2]})).filter(pl.col("a") > 1).collect()["a"].to_list()
        [2]
        """
        return running.collect(self.graph, self.ref, workers=workers, clock=clock, progress=progress, changes=changes)

    def run(
        self,
        name: str | None = None,
        *,
        workers: int | None = None,
        latency: DurationLike | None = None,
        commit_every: DurationLike | None = None,
        clock: Clock | None = None,
        changes: pl.DataFrame | None = None,
    ) -> Job:
        """Start a job and return at once; a running job of the same name is stopped first.

        Without a name it is called by its stage, or by what its sink writes: `write_hourly`, and `write_hourly_2` where
        that one goes on writing elsewhere. A later job without a name that writes to the same place stops it, as when a
        cell is edited and run again.

        `workers` is the number of threads (the cores by default; 1 is a deterministic loop). `latency` is how long a
        row may take, or "throughput": batches adapt to it (50 ms for live input, throughput for bounded). Rows written
        by a live job become visible each `commit_every` (10 s). Without a sink, `job.result()` has the rows. `changes`
        of params, as `job.changes()` recorded them, are made at the same rows again.
        """
        return running.run(
            self.graph,
            [self.ref],
            name=name,
            workers=workers,
            latency=latency,
            commit_every=commit_every,
            clock=clock,
            changes=changes,
        )

    def deploy(self, target: Flink | LocalCluster, *, out: PathLike, submit: bool = False) -> Deployment:
        """Write what takes the stream to Apache Flink on Kubernetes: graph, blobs, manifests, Dockerfile, README.

        What the cluster cannot do is named at once, and then nothing is written. The same stream and target give the
        same bytes. `flare.Flink(...)` says what the cluster is to be like. With `flare.Flink.local()` for it and
        `submit` the bundle is run on a cluster of this machine, and `.result()` has the rows.
        """
        return running.deploy(self.graph, [self.ref], target, out, submit=submit)

    # Sinks

    def write_parquet(self, path: PathLike, **options: Any) -> Stream:
        """Write Parquet: one file if `path` ends in .parquet, else a folder of parts.

        Options: `mode` ("error", "overwrite", "append"), `compression`, `max_rows_per_file`, `max_bytes_per_file`.
        """
        return self._write("write_parquet", "parquet", {"path": os.fspath(path), **options}, {})

    def write_csv(self, path: PathLike, **options: Any) -> Stream:
        """Write CSV: one file if `path` ends in .csv, else a folder of parts.

        Options: `mode`, `include_header`, `separator`, `max_rows_per_file`, `max_bytes_per_file`.
        """
        return self._write("write_csv", "csv", {"path": os.fspath(path), **options}, {})

    def write_ndjson(self, path: PathLike, **options: Any) -> Stream:
        """Write one JSON object per line. Options: `mode`, `max_rows_per_file`, `max_bytes_per_file`."""
        return self._write("write_ndjson", "ndjson", {"path": os.fspath(path), **options}, {})

    def write_ipc(self, path: PathLike, **options: Any) -> Stream:
        """Write Arrow IPC (Feather). Options: `mode`, `compression`, `max_rows_per_file`, `max_bytes_per_file`."""
        return self._write("write_ipc", "ipc", {"path": os.fspath(path), **options}, {})

    def to_memory(self, buffer: MemoryBuffer) -> Stream:
        """Append the rows to a `MemoryBuffer` of yours."""
        if not isinstance(buffer, MemoryBuffer):
            raise WrongType(f"to_memory at {user_line()}: {type(buffer).__name__} is not a flare.MemoryBuffer")
        key = fingerprint.of_object("buffer", buffer)
        return self._write("to_memory", "memory", {"buffer": key}, {key: buffer})

    def for_each_batch(self, function: Callable[[pl.DataFrame, int], None]) -> Stream:
        """Call `function(frame, epoch)` on each batch, at least once.

        `epoch` is the number of the commit that the batch will be part of; after a failure its batches may come again.
        """
        arguments.function("for_each_batch", function, "(frame, epoch)", ("frame", "epoch"))
        key = fingerprint.of_function(function)
        return self._write("for_each_batch", "for_each_batch", {"function": key}, {key: function})

    def write_wasm(
        self,
        plugin: PathLike | Mapping[str, Any] | Plugin,
        *,
        column: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Stream:
        """Write to a Destination plugin, all columns or those named, at least once.

        A plugin that exports `df_prepare` and `df_commit` makes rows visible epoch by epoch.
        """
        self._refuse_second_sink("write_wasm")
        return self._then(*plugin_steps.write_wasm(plugin, self.schema, column=column, columns=columns))

    def write(self, sink: str, **options: Any) -> Stream:
        """Write to a registered sink by its name."""
        return self._write(f"write {sink}", sink, options, {})

    # Building

    def _write(self, step: str, sink: str, options: Mapping[str, Any], blobs: Mapping[str, Any]) -> Stream:
        self._refuse_second_sink(step)
        return self._then(steps.write(step, sink, options), blobs)

    def _refuse_second_sink(self, step: str) -> None:
        if isinstance(self.graph.nodes.get(self.ref), node.Write):
            raise GraphError(
                f"{step} at {user_line()}: the stream already ends in a sink; write from the stage before it"
            )

    def _then(self, item: node.AnyNode, blobs: Mapping[str, Any] | None = None) -> Stream:
        last = self.graph.nodes.get(self.ref)
        if isinstance(last, node.Write):
            raise GraphError(f"{item.kind} at {item.where}: nothing comes after a sink; branch off before it")
        graph, head = self.graph.add(msgspec.structs.replace(item, inputs=(self.ref,)), blobs)
        return Stream(graph, head)

    def _called(self, placed: steps.Placed) -> Stream:
        stream = self
        for call, made in placed.calls:
            stream = stream._then(*steps.udf(call, made))
        return stream


@held
def run(
    *streams: Stream,
    name: str | None = None,
    workers: int | None = None,
    latency: DurationLike | None = None,
    commit_every: DurationLike | None = None,
    clock: Clock | None = None,
    changes: pl.DataFrame | None = None,
) -> Job:
    """Run several streams as one job; what they share is done once. See `Stream.run` for the options."""
    if not streams:
        raise BadOption(f"run at {user_line()}: give at least one stream")
    graph = Graph()
    for stream in streams:
        if not isinstance(stream, Stream):
            way = "; flare.load(graph) makes one" if isinstance(stream, Graph) else ""
            raise WrongType(f"run at {user_line()}: {type(stream).__name__} is not a Stream{way}")
        with located("run"):
            graph = graph.merge(stream.graph)
    heads = list(dict.fromkeys(stream.ref for stream in streams))
    return running.run(
        graph,
        heads,
        name=name,
        workers=workers,
        latency=latency,
        commit_every=commit_every,
        clock=clock,
        changes=changes,
    )
