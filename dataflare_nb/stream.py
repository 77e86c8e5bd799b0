"""The fluent face: a `Stream` describes, and hands its graph down to run."""

from __future__ import annotations

import datetime as dt
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import polars as pl

from . import engine
from .connectors.memory import MemoryBuffer
from .connectors.registry import sink_options
from .engine import Job
from .errors import (
    BadOption,
    BadWindow,
    GraphError,
    JobTimeout,
    UnknownColumn,
    UnknownStage,
    WrongType,
    listing,
    located,
    nearest,
    spelled,
    told,
    user_line,
)
from .expr import expand
from .graph import Edge, Graph, draw, dtypes, fingerprint, node
from .graph.schema import stored
from .operators.wasm import WasmStage
from .runtime.plan import explain
from .types import Clock
from .wasm.plugin import Plugin
from .wasm.udf import Udf, UdfCall
from .windows import Duration, DurationLike, EarlySpec, WindowSpec

Column: TypeAlias = "str | pl.Expr | UdfCall"
PathLike: TypeAlias = "str | Path"
N = TypeVar("N", bound=node.Node)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of rows, described and not yet running. Each method returns a new one.

    `graph` is the plan, `head` the stage or side output this stream is.
    """

    graph: Graph
    head: str

    # Column steps

    def select(self, *exprs: Column | Iterable[Column], **named: Column) -> Stream:
        """Keep these columns, as `LazyFrame.select` does, one row at a time.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1], "b": [2]})).select("b", double=pl.col("a") * 2).columns
        ['b', 'double']
        """
        stream, plain, _ = self._with_udfs("select", exprs, named)
        return stream._columns(node.Select, plain)

    def with_columns(self, *exprs: Column | Iterable[Column], **named: Column) -> Stream:
        """Add or replace columns, as `LazyFrame.with_columns` does, one row at a time.

        A call of a `@udf` on columns becomes a WebAssembly stage: `with_columns(gained=gained("dep", "arr"))`.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).with_columns(b=pl.col("a") / 2).schema["b"]
        Float64
        """
        stream, plain, temporary = self._with_udfs("with_columns", exprs, named)
        if plain or stream is self:
            stream = stream._columns(node.WithColumns, plain)
        return stream._then(node.Drop(columns=temporary, where=user_line())) if temporary else stream

    def filter(self, *predicates: Column | bool | Iterable[Column], **equal_to: Any) -> Stream:
        """Keep the rows for which all predicates are true; null is not true.

        >>> import dataflare_nb as flare
        >>> clicks = flare.from_frame(pl.DataFrame({"bot": [True, False], "n": [1, 2]}))
        >>> clicks.filter(~pl.col("bot")).collect()["n"].to_list()
        [2]
        """
        stream = self
        exprs = []
        for predicate in _flat(predicates):
            if isinstance(predicate, UdfCall):
                if predicate.udf.dtype != pl.Boolean:
                    raise WrongType(
                        f"filter at {user_line()}: @udf {predicate.udf.name} returns {predicate.udf.dtype}, "
                        "and a filter needs Boolean"
                    )
                stream = stream._udf(predicate, None)
            else:
                exprs += expand(_expr("filter", predicate), self.schema)
        exprs += [pl.col(name) == value for name, value in equal_to.items()]
        return stream._columns(node.Filter, exprs) if exprs or stream is self else stream

    def drop(self, *columns: str | pl.Expr | Iterable[str]) -> Stream:
        """Leave columns out: names or selectors.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1], "b": [2]})).drop("a").columns
        ['b']
        """
        return self._then(node.Drop(columns=self._names("drop", columns), where=user_line()))

    def rename(self, columns: Mapping[str, str] | Callable[[str], str]) -> Stream:
        """Give columns other names: `{"old": "new"}`, or a function of the name. Event time and keys follow.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).rename({"a": "b"}).columns
        ['b']
        """
        if callable(columns):
            columns = {name: columns(name) for name in self.schema}
        if not isinstance(columns, Mapping) or not columns:
            raise BadOption(f"rename at {user_line()} takes a mapping such as {{'old': 'new'}}, not {columns!r}")
        for name in (*columns, *columns.values()):
            if not isinstance(name, str):
                raise BadOption(f"rename at {user_line()}: {name!r} is not a name")
        return self._then(node.Rename(columns=dict(columns), where=user_line()))

    @spelled
    def cast(self, dtypes_: Mapping[str, Any] | Any, *, strict: bool = True) -> Stream:
        """Change the types of columns, or of all. A value that does not fit fails the job, or is null if not `strict`.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).cast({"a": pl.Float64}).schema["a"]
        Float64
        """
        if not isinstance(dtypes_, Mapping):
            dtypes_ = dict.fromkeys(self.schema, dtypes_)
        if not dtypes_ or not all(isinstance(name, str) for name in dtypes_):
            raise BadOption(
                f"cast at {user_line()} takes a mapping such as {{'column': pl.Int64}}, or one type for all"
            )
        columns = _schema("cast", dtypes_)
        return self._then(node.Cast(columns=dtypes.to_json(columns), strict=strict, where=user_line()))

    def explode(self, *columns: str | pl.Expr | Iterable[str]) -> Stream:
        """Give each element of a list column a row of its own.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [[1, 2], [3]]})).explode("a").collect()["a"].to_list()
        [1, 2, 3]
        """
        return self._then(node.Explode(columns=self._names("explode", columns), where=user_line()))

    def unnest(self, *columns: str | pl.Expr | Iterable[str]) -> Stream:
        """Put the fields of struct columns in their place.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [{"x": 1, "y": 2}]})).unnest("a").columns
        ['x', 'y']
        """
        return self._then(node.Unnest(columns=self._names("unnest", columns), where=user_line()))

    # Functions

    @spelled
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
        where = user_line()
        if not callable(function):
            raise WrongType(f"map_batches at {where}: {function!r} is not a function from frame to frame")
        _refuse_deferred("map_batches", function, where)
        wanted = _schema("map_batches", schema) if schema is not None else _tried(function, self.schema, where)
        key = fingerprint.of_function(function)
        item = node.MapBatches(function=key, schema=dtypes.to_json(wanted), where=where)
        return self._then(item, {key: function})

    @spelled
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
        with located("wasm") as where:
            if column is not None and columns is not None:
                raise BadOption("give column= or columns=, not both")
            if isinstance(columns, str):
                raise BadOption(f"columns={columns!r} is one name; write column={columns!r}")
            names = (column,) if column is not None else tuple(columns) if columns is not None else None
            for name in names or ():
                if name not in self.schema:
                    raise UnknownColumn(
                        f"the plugin is to read `{name}`; the stream has {listing(self.schema)}."
                        + nearest(name, self.schema)
                    )
            loaded = plugin if isinstance(plugin, Plugin) else Plugin.load(plugin)
            stage = WasmStage(loaded, columns=names or (), output=output, on_error=on_error)
            try:
                schema = stage.output_schema(self.schema)
            finally:
                stage.close()
        key = fingerprint.of_plugin(loaded.config.name, loaded.sha256, repr(loaded.config))
        item = node.Wasm(
            plugin=key, columns=names, output=output, on_error=on_error, schema=dtypes.to_json(schema), where=where
        )
        return self._then(item, {key: loaded})

    def union(self, *others: Stream) -> Stream:
        """Put streams of one schema together. Of bounded inputs the order is always the same.

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
        if isinstance(graph.nodes[self.head.partition(".")[0]], node.Write):
            raise GraphError(f"union at {user_line()}: nothing comes after a sink; branch off before it")
        item = node.Union(inputs=(self.head, *(other.head for other in others)), where=user_line())
        graph, head = graph.add(item)
        return Stream(graph, head)

    # Time, keys, windows

    @spelled
    def event_time(
        self,
        column: str,
        max_out_of_orderness: DurationLike = "0s",
        *,
        idle_timeout: DurationLike | str | None = "auto",
        time_zone: str | None = None,
        unit: str | None = None,
        watermark_every: int | None = None,
    ) -> Stream:
        """Say which column is the event time; it becomes `Datetime("us")`.

        The watermark trails the largest time of each split by `max_out_of_orderness`. A split that gives nothing for
        `idle_timeout` holds nothing back (5 s for live input, off for bounded input, None for never). Times without a
        zone are UTC, unless `time_zone` says where they were noted. Integers need `unit`: s, ms, us or ns. Bounded
        input tells the watermark each `watermark_every` rows of a split (65,536 by default), live input at each poll.
        Rows without a time go to `.invalid`.
        """
        with located("event_time") as where:
            if not isinstance(column, str):
                raise BadOption(f"it takes the name of a column, not {column!r}; compute it before, in with_columns")
            slack = _us(max_out_of_orderness, "max_out_of_orderness")
            if idle_timeout == "auto":
                idle = None if self.edge.bounded else 5_000_000
            else:
                idle = None if idle_timeout is None else _us(idle_timeout, "idle_timeout")
            if unit is not None and unit not in ("s", "ms", "us", "ns"):
                raise BadOption(f"unit={unit!r}; it is 's', 'ms', 'us' or 'ns'")
            if watermark_every is not None and (type(watermark_every) is not int or watermark_every < 1):
                raise BadOption(f"watermark_every={watermark_every!r}; it is a number of rows, at least 1")
            if time_zone is not None:
                _check_zone(time_zone)
        return self._then(
            node.EventTime(
                column=column,
                max_out_of_orderness=slack,
                idle_timeout=idle,
                time_zone=time_zone,
                unit=unit,
                watermark_every=watermark_every,
                where=where,
            )
        )

    def key_by(self, *keys: str | pl.Expr | Iterable[str | pl.Expr], **named: pl.Expr) -> Stream:
        """Say which columns tell the rows of one thing from those of another. Expressions are computed first.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).key_by("a", odd=pl.col("a") % 2).edge.keys
        ('a', 'odd')
        """
        exprs = [_expr("key_by", key) for key in _flat(keys)]
        exprs += [_expr("key_by", key).alias(name) for name, key in named.items()]
        if not exprs:
            raise BadOption(f"key_by at {user_line()} names no column; for one result over all rows leave key_by out")
        exprs = [single for expr in exprs for single in expand(expr, self.schema)]
        computed = [e for e in exprs if not (e.meta.is_column() or _selects_itself(e))]
        stream = self._columns(node.WithColumns, computed) if computed else self
        names = [name for e in exprs for name in _outputs(e, stream.schema)]
        return stream._then(node.KeyBy(keys=tuple(names), where=user_line()))

    @spelled
    def window(
        self, window: WindowSpec, *, allowed_lateness: DurationLike = "0s", early: EarlySpec | None = None
    ) -> Stream:
        """Say over which windows the next `agg` goes.

        A late row whose window ended no longer than `allowed_lateness` ago updates its result; a later one goes to
        `.late`. `early` asks for results before the end: `every("1s")` or `after_count(100)`. With either, results
        have the columns `pane` (early, on_time, late) and `revision`.
        """
        with located("window") as where:
            if not isinstance(window, WindowSpec):
                raise BadWindow(
                    f"{window!r} is not a window; use flare.tumbling('1h'), flare.hopping, flare.session ..."
                )
            if early is not None and not isinstance(early, EarlySpec):
                raise BadWindow(f"early={early!r}; use flare.every('1s') or flare.after_count(100)")
            lateness = _us(allowed_lateness, "allowed_lateness")
        return self._then(node.Window(window=window, allowed_lateness=lateness, early=early, where=where))

    def agg(self, *exprs: pl.Expr | Iterable[pl.Expr], **named: pl.Expr) -> Stream:
        """Aggregate each window of each key with any Polars aggregation.

        The result has the keys, `window_start`, `window_end`, and one column per expression.

        >>> import dataflare_nb as flare
        >>> bids = flare.from_frame(pl.DataFrame({"who": ["a", "b", "a"], "price": [1, 2, 3]}))
        >>> best = bids.key_by("who").window(flare.global_window()).agg(best=pl.col("price").max())
        >>> best.collect().sort("who").rows()
        [('a', 3), ('b', 2)]
        """
        made = [_expr("agg", e) for e in _flat(exprs)] + [_expr("agg", e).alias(n) for n, e in named.items()]
        edge = self.edge
        if edge.window is not None:
            made = [single for expr in made for single in expand(expr, edge.schema, edge.keys)]
        return self._columns(node.Aggregate, made)

    # Side outputs and names

    @property
    def late(self) -> Stream:
        """The rows that came too late for their window, with the window they missed and how late they were."""
        return self._side("late")

    @property
    def invalid(self) -> Stream:
        """The rows that could not be used, with the reason."""
        return self._side("invalid")

    def named(self, name: str) -> Stream:
        """Give the last stage a name: it keeps it across runs, in displays, and for its state.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1]})).filter(pl.col("a") > 0).named("positive")
        Stream(read -> positive)
        """
        where = user_line()
        if not isinstance(name, str) or not re.fullmatch(node.NAME_PATTERN, name):
            raise BadOption(
                f"named at {where}: {name!r} is not a name; a name is letters, digits, _ and -, starts with a letter "
                "or _, and has at most 64"
            )
        if "." in self.head:
            raise BadOption(
                f"named at {where}: `{self.head}` is a side output and has its stage's name; select from it first"
            )
        item = msgspec.structs.replace(self.graph.nodes[self.head], id=name)
        if not node.is_named(item):
            raise BadOption(f"named at {where}: `{name}` looks like an id we give; choose another name")
        rest = self.graph.upstream(item.inputs)
        with located("named", where):
            graph, head = rest.add(item, self.graph.blobs_of(item))
        return Stream(graph, head)

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
        return self.graph.edge(self.head)

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
        return explain(self.graph.upstream([self.head]))

    def draw(self) -> str:
        """Return the graph as text."""
        return draw.text(self.graph.upstream([self.head]))

    def mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        return draw.mermaid(self.graph.upstream([self.head]))

    def to_json(self, *, indent: int | None = None) -> bytes:
        """Return the graph as a JSON document."""
        return self.graph.upstream([self.head]).to_json(indent=indent)

    def __repr__(self) -> str:
        path = [item.id if node.is_named(item) else item.kind for item in self.graph.upstream([self.head])]
        side = self.head.partition(".")[2]
        return f"Stream({' -> '.join(path)}{f'.{side}' if side else ''})"

    def _repr_html_(self) -> str:
        return draw.html(self.graph.upstream([self.head]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        hint = f" Use {_ELSEWHERE[name]}." if name in _ELSEWHERE else nearest(name, _public(type(self)))
        raise AttributeError(f"a Stream has no `{name}`, at {user_line()}.{hint}")

    # Running

    @spelled
    def collect(
        self, *, workers: int | None = None, clock: Clock | None = None, progress: bool = False
    ) -> pl.DataFrame:
        """Run bounded input to the end and return the rows, like `LazyFrame.collect`. `progress` shows a bar.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1, 2]})).filter(pl.col("a") > 1).collect()["a"].to_list()
        [2]
        """
        where = user_line()
        if not self.edge.bounded:
            live = [
                item.label()
                for item in self.graph.upstream([self.head])
                if isinstance(item, node.Read) and not item.bounded
            ]
            raise GraphError(
                f"collect at {where} needs input that ends, and {listing(live)} never does; "
                "use .run() and job.result(), or bound the source"
            )
        if isinstance(self.graph.nodes.get(self.head), node.Write):
            raise GraphError(f"collect at {where} returns rows, and this stream ends in a sink; use .run().wait()")
        _refuse_open_window("collect", self, where)
        bar = _bar(where) if progress else None
        with located("collect", where):
            job = engine.run(self.graph, [self.head], workers=workers, clock=clock, register=False)
        return (_watched(job, bar) if bar is not None else job.wait()).result()

    @spelled
    def run(
        self,
        name: str | None = None,
        *,
        workers: int | None = None,
        latency: DurationLike | None = None,
        commit_every: DurationLike | None = None,
        clock: Clock | None = None,
    ) -> Job:
        """Start a job and return at once; a running job of the same name is stopped first.

        `workers` is the number of threads (the cores by default; 1 is a deterministic loop). `latency` is how long a
        row may take, or "throughput": batches adapt to it (50 ms for live input, throughput for bounded). Rows written
        by a live job become visible each `commit_every` (10 s). Without a sink, `job.result()` has the rows.
        """
        with located("run") as where:
            _refuse_open_window("run", self, where)
            return engine.run(
                self.graph,
                [self.head],
                name=name,
                workers=workers,
                latency=latency,
                commit_every=commit_every,
                clock=clock,
            )

    # Sinks

    def write_parquet(self, path: PathLike, **options: Any) -> Stream:
        """Write Parquet: one file if `path` ends in .parquet, else a folder of parts.

        Options: `mode` ("error", "overwrite", "append"), `compression`, `max_rows_per_file`, `max_bytes_per_file`.
        """
        return self._write("write_parquet", "parquet", {"path": _path("write_parquet", path), **options}, {})

    def write_csv(self, path: PathLike, **options: Any) -> Stream:
        """Write CSV: one file if `path` ends in .csv, else a folder of parts.

        Options: `mode`, `include_header`, `separator`, `max_rows_per_file`, `max_bytes_per_file`.
        """
        return self._write("write_csv", "csv", {"path": _path("write_csv", path), **options}, {})

    def write_ndjson(self, path: PathLike, **options: Any) -> Stream:
        """Write one JSON object per line. Options: `mode`, `max_rows_per_file`, `max_bytes_per_file`."""
        return self._write("write_ndjson", "ndjson", {"path": _path("write_ndjson", path), **options}, {})

    def write_ipc(self, path: PathLike, **options: Any) -> Stream:
        """Write Arrow IPC (Feather). Options: `mode`, `compression`, `max_rows_per_file`, `max_bytes_per_file`."""
        return self._write("write_ipc", "ipc", {"path": _path("write_ipc", path), **options}, {})

    def to_memory(self, buffer: MemoryBuffer) -> Stream:
        """Append the rows to a `MemoryBuffer` of yours."""
        if not isinstance(buffer, MemoryBuffer):
            raise WrongType(f"to_memory at {user_line()}: {type(buffer).__name__} is not a flare.MemoryBuffer")
        key = fingerprint.of_object("buffer", buffer)
        return self._write("to_memory", "memory", {"buffer": key}, {key: buffer})

    def for_each_batch(self, function: Callable[[pl.DataFrame, int], None]) -> Stream:
        """Call `function(frame, epoch)` on each batch, at least once."""
        if not callable(function):
            raise WrongType(f"for_each_batch at {user_line()}: {function!r} is not a function (frame, epoch)")
        _refuse_deferred("for_each_batch", function, user_line())
        key = fingerprint.of_function(function)
        return self._write("for_each_batch", "for_each_batch", {"function": key}, {key: function})

    def write(self, sink: str, **options: Any) -> Stream:
        """Write to a registered sink by its name."""
        return self._write(f"write {sink}", sink, options, {})

    # Building

    def _write(self, step: str, sink: str, options: Mapping[str, Any], blobs: Mapping[str, Any]) -> Stream:
        with located(step) as where:
            if isinstance(self.graph.nodes.get(self.head), node.Write):
                raise GraphError("the stream already ends in a sink; write from the stage before it")
            checked = sink_options(sink, options)
            return self._then(node.Write(sink=sink, options=checked, where=where), blobs)

    def _then(self, item: node.AnyNode, blobs: Mapping[str, Any] | None = None) -> Stream:
        last = self.graph.nodes.get(self.head)
        if isinstance(last, node.Write):
            raise GraphError(f"{item.kind} at {item.where}: nothing comes after a sink; branch off before it")
        graph, head = self.graph.add(msgspec.structs.replace(item, inputs=(self.head,)), blobs)
        return Stream(graph, head)

    def _columns(
        self,
        kind: type[node.Select] | type[node.WithColumns] | type[node.Filter] | type[node.Aggregate],
        exprs: Sequence[pl.Expr],
    ) -> Stream:
        if not exprs:
            raise BadOption(f"{kind.__struct_config__.tag} at {user_line()} needs at least one expression")
        values, blobs = stored(exprs)
        return self._then(kind(exprs=values, where=user_line()), blobs)

    def _names(self, step: str, columns: Iterable[Any]) -> tuple[str, ...]:
        names: list[str] = []
        for column in _flat(columns):
            if isinstance(column, pl.Expr):
                names += _outputs(column, self.schema)
            elif isinstance(column, str):
                names.append(column)
            else:
                raise BadOption(f"{step} at {user_line()} takes names of columns, not {column!r}")
        if not names:
            raise BadOption(f"{step} at {user_line()} names no column; the stream has {listing(self.schema)}")
        return tuple(dict.fromkeys(names))

    def _udf(self, call: UdfCall, output: str | None) -> Stream:
        key = f"{fingerprint.word(call.udf.name)}-{call.udf.sha256[:12]}"
        return self._then(node.Udf(udf=key, args=call.args, output=output, where=user_line()), {key: call.udf.kernel})

    def _with_udfs(
        self, step: str, exprs: Iterable[Any], named: Mapping[str, Any]
    ) -> tuple[Stream, list[pl.Expr], tuple[str, ...]]:
        """Put the calls of udfs before the plain expressions, and return these with the columns to drop at the end.

        All of them see the columns as they were before the step, as in Polars: where a call would replace a column
        that others may read, its result waits under another name.
        """
        columns = [(None, value) for value in _flat(exprs)] + list(named.items())
        outputs = [name or value.udf.name for name, value in columns if isinstance(value, UdfCall)]
        if not outputs:
            return self, [_named(_expr(step, value), name) for name, value in columns], ()
        if len(set(outputs)) < len(outputs):
            raise BadOption(
                f"{step} at {user_line()} makes two columns of one name: {listing(outputs)}; name them apart"
            )
        stream = self
        plain: list[pl.Expr] = []
        waiting: list[str] = []
        direct: list[str] = []
        for name, value in columns:
            if not isinstance(value, UdfCall):
                plain += expand(_named(_expr(step, value), name), self.schema)
                continue
            output = made = name or value.udf.name
            while len(columns) > 1 and (made in stream.schema or (made != output and made in outputs)):
                made += "_"
            stream = stream._udf(value, made)
            if step == "select" or made != output:
                plain.append(pl.col(made).alias(output))
                waiting.append(made)
            else:
                direct.append(output)
        for name in direct:
            if any(name in _outputs(expr, stream.schema) for expr in plain):
                raise BadOption(f"{step} at {user_line()} makes two columns named `{name}`; name them apart")
        return stream, plain, () if step == "select" else tuple(waiting)

    def _side(self, tag: str) -> Stream:
        """Return the side output of the nearest stage upstream that has one."""
        waiting = [self.head.partition(".")[0]]
        seen: set[str] = set()
        while waiting:
            found = [node_id for node_id in waiting if tag in self.graph.edges[node_id].sides]
            if len(found) > 1:
                raise UnknownStage(
                    f".{tag} at {user_line()}: several stages have one: {listing(found)}; "
                    f"name it: .at('{found[0]}').{tag}"
                )
            if found:
                return Stream(self.graph, f"{found[0]}.{tag}")
            seen.update(waiting)
            refs = [ref for node_id in waiting for ref in self.graph.nodes[node_id].inputs]
            waiting = list(dict.fromkeys(i for ref in refs if (i := node.split_ref(ref)[0]) not in seen))
        hint = {
            "late": "a window over event time has one",
            "invalid": "event_time has one, and readers and wasm stages with on_error='dead_letter'",
        }[tag]
        raise UnknownStage(f".{tag} at {user_line()}: no stage of this stream has one; {hint}")


@spelled
def run(
    *streams: Stream,
    name: str | None = None,
    workers: int | None = None,
    latency: DurationLike | None = None,
    commit_every: DurationLike | None = None,
    clock: Clock | None = None,
) -> Job:
    """Run several streams as one job; what they share is done once. See `Stream.run` for the options."""
    if not streams:
        raise BadOption(f"run at {user_line()}: give at least one stream")
    graph = Graph()
    for stream in streams:
        if not isinstance(stream, Stream):
            raise WrongType(f"run at {user_line()}: {type(stream).__name__} is not a Stream")
        with located("run") as where:
            _refuse_open_window("run", stream, where)
            graph = graph.merge(stream.graph)
    heads = list(dict.fromkeys(stream.head for stream in streams))
    with located("run"):
        return engine.run(
            graph, heads, name=name, workers=workers, latency=latency, commit_every=commit_every, clock=clock
        )


_ELSEWHERE = {
    "group_by": "key_by(...).window(...).agg(...)",
    "groupby": "key_by(...).window(...).agg(...)",
    "group_by_dynamic": "window(flare.tumbling('1h')) or window(flare.hopping('1h', every='5m'))",
    "rolling": "window(flare.hopping('1h', every='5m'))",
    "where": "filter",
    "sink_parquet": "write_parquet",
    "sink_csv": "write_csv",
    "sink_ipc": "write_ipc",
    "sink_ndjson": "write_ndjson",
    "collect_schema": "schema",
    "concat": "union",
    "map": "map_batches or @flare.udf",
    "apply": "map_batches or @flare.udf",
    "sort": "collect().sort(...): a stream has no last row",
    "head": "collect().head(...), or job.peek(...) of a live one",
    "limit": "collect().head(...), or job.peek(...) of a live one",
    "unique": "key_by(...).window(...).agg(pl.all().first())",
}
"""Where the things are that a Polars, pandas or Spark user looks for."""


def _refuse_open_window(step: str, stream: Stream, where: str) -> None:
    edge = stream.graph.edge(stream.head)
    if edge.window is not None:
        raise BadWindow(
            f"{step} at {where}: .window({edge.window.window}) at {edge.window.where} has no aggregation; "
            "add .agg(...) after it"
        )


def _public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def _flat(values: Iterable[Any]) -> list[Any]:
    """Take lists of expressions apart, as Polars does."""
    return [item for value in values for item in (_flat(value) if isinstance(value, list | tuple) else [value])]


def _named(expr: pl.Expr, name: str | None) -> pl.Expr:
    return expr if name is None else expr.alias(name)


def _outputs(expr: pl.Expr, schema: pl.Schema) -> list[str]:
    """Return the columns that an expression gives, none where it cannot be resolved: the step will say why."""
    try:
        return pl.LazyFrame(schema=schema).select(expr).collect_schema().names()
    except pl.exceptions.PolarsError:
        return [] if expr.meta.has_multiple_outputs() else [expr.meta.output_name()]


def _selects_itself(expr: pl.Expr) -> bool:
    """Tell whether this is `pl.col("x").alias("x")`, as expanding a selector gives."""
    return expr.meta.undo_aliases().meta.is_column() and expr.meta.root_names() == [expr.meta.output_name()]


def _schema(step: str, columns: Mapping[str, Any]) -> pl.Schema:
    """Read a user's schema, in which types may be classes or Python types."""
    try:
        return pl.LazyFrame(schema=pl.Schema(columns)).collect_schema()
    except (TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise WrongType(f"{step} at {user_line()}: {str(error).splitlines()[0]}; types are such as pl.Int64") from None


def _us(value: DurationLike, what: str) -> int:
    return Duration.of(value, what).fixed_us(what)


def _bar(where: str) -> Any:
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        raise BadOption(
            f"collect at {where}: progress=True shows its bar with tqdm, which is not installed; "
            'pip install "dataflare-nb[demo]"'
        ) from None


def _watched(job: Job, bar: Any) -> Job:
    """Wait for a job and show how far it is."""
    with bar(total=1.0, bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as shown:
        try:
            while True:
                try:
                    job.wait(0.1)
                    shown.update(1.0 - shown.n)
                    return job
                except JobTimeout:
                    done = job.read().progress
                    shown.update(max(0.0, (done or 0.0) - shown.n))
        except BaseException:
            job.stop()
            raise


def _expr(step: str, value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    at = f"{step} at {user_line()}"
    if isinstance(value, UdfCall | Udf):
        shown = repr(value) if isinstance(value, UdfCall) else f"{value.name}(...)"
        raise WrongType(f"{at}: {shown} is a @udf, which goes into with_columns, select or filter, as {shown}")
    if callable(value) and not isinstance(value, pl.Series | type):
        name = getattr(value, "__name__", repr(value))
        polars = (getattr(value, "__module__", None) or "").startswith("polars")
        raise WrongType(
            f"{at}: `{name}` is a function; " + (f"call it: {name}()" if polars else "use map_batches, or @flare.udf")
        )
    if not isinstance(value, bool | int | float | bytes | Decimal | dt.date | dt.time | dt.timedelta | None):
        raise WrongType(f"{at} takes expressions such as pl.col('x') * 2, not {type(value).__name__}")
    return pl.lit(value)


def _tried(function: Callable[[pl.DataFrame], pl.DataFrame], schema: pl.Schema, where: str) -> pl.Schema:
    name = getattr(function, "__name__", type(function).__name__)
    try:
        got = function(pl.DataFrame(schema=schema))
    except Exception as error:
        reason = told(error).partition("\n")[0] or "no reason given"
        raise WrongType(
            f"map_batches at {where}: {name} failed on a frame without rows ({type(error).__name__}: "
            f"{reason}), so its columns are unknown; say them with schema={{...}}"
        ) from error
    if not isinstance(got, pl.DataFrame):
        raise WrongType(
            f"map_batches at {where}: {name} returned {type(got).__name__}; it has to return a polars.DataFrame"
        )
    return got.schema


def _refuse_deferred(step: str, function: Any, where: str) -> None:
    """Refuse functions whose call only makes a coroutine or a generator, and does nothing."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    called = getattr(type(function), "__call__", None)  # noqa: B004 - the function itself is wanted
    if any(kind(each) for kind in kinds for each in (function, called)):
        name = getattr(function, "__name__", type(function).__name__)
        raise WrongType(f"{step} at {where}: `{name}` is async or yields; it has to be a plain function that returns")


def _path(step: str, path: Any) -> str:
    if not isinstance(path, str | os.PathLike):
        raise WrongType(f"{step} at {user_line()} takes a path, a str or a Path, not {path!r}")
    return str(path)


def _check_zone(zone: str) -> None:
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone)).dt.replace_time_zone(None)
    except (pl.exceptions.PolarsError, TypeError):
        raise BadOption(f"time_zone={zone!r} is not a time zone such as 'America/New_York'") from None
