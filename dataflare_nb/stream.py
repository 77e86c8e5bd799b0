"""The fluent face: a `Stream` describes, and hands its graph down to run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import polars as pl

from . import engine
from .connectors.memory import MemoryBuffer
from .connectors.registry import sink_options
from .engine import Job
from .errors import BadOption, BadWindow, GraphError, UnknownStage, WrongType, listing, nearest, user_line
from .graph import Edge, Graph, draw, dtypes, node
from .graph.schema import stored
from .operators.functions import conform
from .operators.wasm import WasmStage
from .runtime.plan import explain
from .types import Clock
from .wasm.plugin import Plugin
from .wasm.udf import Udf, UdfCall
from .windows import DurationLike, Duration, EarlySpec, WindowSpec

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

    def select(self, *exprs: Column, **named: Column) -> Stream:
        """Keep these columns, as `LazyFrame.select` does, one row at a time.

        >>> import dataflare_nb as flare
        >>> flare.from_frame(pl.DataFrame({"a": [1], "b": [2]})).select("b").schema.names()
        ['b']
        """
        stream, plain = self._with_udfs(exprs, named, keep_names=True)
        return stream._columns(node.Select, plain)

    def with_columns(self, *exprs: Column, **named: Column) -> Stream:
        """Add or replace columns, as `LazyFrame.with_columns` does, one row at a time.

        A call of a `@udf` on columns becomes a WebAssembly stage: `with_columns(gained=gained("dep", "arr"))`.
        """
        stream, plain = self._with_udfs(exprs, named, keep_names=False)
        return stream._columns(node.WithColumns, plain) if plain else stream

    def filter(self, *predicates: pl.Expr | str | UdfCall, **equal_to: Any) -> Stream:
        """Keep the rows for which all predicates are true; null is not true.

        >>> import dataflare_nb as flare
        >>> clicks = flare.from_frame(pl.DataFrame({"bot": [True, False], "n": [1, 2]}))
        >>> clicks.filter(~pl.col("bot")).collect()["n"].to_list()
        [2]
        """
        stream = self
        exprs = []
        for predicate in predicates:
            if isinstance(predicate, UdfCall):
                if predicate.udf.dtype != pl.Boolean:
                    raise WrongType(
                        f"filter at {user_line()}: @udf {predicate.udf.name} returns {predicate.udf.dtype}, not a bool"
                    )
                stream = stream._udf(predicate, None)
            else:
                exprs.append(_expr("filter", predicate))
        exprs += [pl.col(name) == value for name, value in equal_to.items()]
        return stream._columns(node.Filter, exprs) if exprs or not predicates else stream

    def drop(self, *columns: str) -> Stream:
        """Leave columns out."""
        return self._then(node.Drop(columns=_names("drop", columns), where=user_line()))

    def rename(self, columns: Mapping[str, str]) -> Stream:
        """Give columns other names: `{"old": "new"}`."""
        return self._then(node.Rename(columns=dict(columns), where=user_line()))

    def cast(self, dtypes_: Mapping[str, Any], *, strict: bool = True) -> Stream:
        """Change the types of columns. A value that does not fit fails the job, or is null with `strict=False`."""
        try:
            schema = pl.Schema(dtypes_)
            columns = dtypes.to_json(pl.LazyFrame(schema=schema).collect_schema())
        except TypeError as error:
            raise WrongType(f"cast at {user_line()}: {error}") from None
        return self._then(node.Cast(columns=columns, strict=strict, where=user_line()))

    def explode(self, *columns: str) -> Stream:
        """Give each element of a list column a row of its own."""
        return self._then(node.Explode(columns=_names("explode", columns), where=user_line()))

    def unnest(self, *columns: str) -> Stream:
        """Put the fields of struct columns in their place."""
        return self._then(node.Unnest(columns=_names("unnest", columns), where=user_line()))

    # Functions

    def map_batches(
        self, function: Callable[[pl.DataFrame], pl.DataFrame], *, schema: Mapping[str, Any] | None = None
    ) -> Stream:
        """Call a Python function on each batch: the way out when columns and plugins will not do.

        It is called with frames of any height, must not look across batches, and has to return a frame of `schema`.
        Without `schema` the function is tried here on a frame without rows to learn what it returns.
        """
        where = user_line()
        if not callable(function):
            raise WrongType(f"map_batches at {where}: {function!r} is not a function from frame to frame")
        wanted = pl.Schema(schema) if schema is not None else _tried(function, self.schema, where)
        key = f"{_word(getattr(function, '__name__', 'function'))}-{_code_hash(function)}"
        item = node.MapBatches(function=key, schema=dtypes.to_json(wanted), where=where)
        return self._then(item, {key: function})

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
        where = user_line()
        if column is not None and columns is not None:
            raise BadOption(f"wasm at {where}: give column= or columns=, not both")
        names = (column,) if column is not None else tuple(columns) if columns is not None else None
        if on_error not in ("fail", "dead_letter"):
            raise BadOption(f"wasm at {where}: on_error={on_error!r}; it is 'fail' or 'dead_letter'")
        for name in names or ():
            if name not in self.schema:
                raise _unknown(f"wasm at {where}", name, self.schema)
        loaded = plugin if isinstance(plugin, Plugin) else Plugin.load(plugin)
        stage = WasmStage(loaded, columns=names or (), output=output, on_error=on_error)
        schema = stage.output_schema(self.schema)
        key = f"{_word(loaded.config.name)}-{loaded.sha256[:12]}"
        item = node.Wasm(
            plugin=key, columns=names, output=output, on_error=on_error, schema=dtypes.to_json(schema), where=where
        )
        return self._then(item, {key: loaded})

    def union(self, *others: Stream) -> Stream:
        """Put streams of one schema together. Of bounded inputs the order is always the same."""
        if not others:
            raise BadOption(f"union at {user_line()} needs another stream")
        graph = self.graph
        for other in others:
            if not isinstance(other, Stream):
                raise WrongType(f"union at {user_line()}: {type(other).__name__} is not a Stream; flare.from_frame makes one")
            graph = graph.merge(other.graph)
        item = node.Union(inputs=(self.head, *(other.head for other in others)), where=user_line())
        graph, head = graph.add(item)
        return Stream(graph, head)

    # Time, keys, windows

    def event_time(
        self,
        column: str,
        max_out_of_orderness: DurationLike = "0s",
        *,
        idle_timeout: DurationLike | None | str = "auto",
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
        where = user_line()
        slack = Duration.of(max_out_of_orderness, "max_out_of_orderness").fixed_us("max_out_of_orderness")
        if idle_timeout == "auto":
            idle = None if self.edge.bounded else 5_000_000
        else:
            idle = None if idle_timeout is None else Duration.of(idle_timeout, "idle_timeout").fixed_us("idle_timeout")
        if unit is not None and unit not in ("s", "ms", "us", "ns"):
            raise BadOption(f"event_time at {where}: unit={unit!r}; it is 's', 'ms', 'us' or 'ns'")
        if watermark_every is not None and (not isinstance(watermark_every, int) or watermark_every < 1):
            raise BadOption(f"event_time at {where}: watermark_every={watermark_every!r}; give a number of rows")
        if time_zone is not None:
            _check_zone(time_zone, where)
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

    def key_by(self, *keys: str | pl.Expr, **named: pl.Expr) -> Stream:
        """Say which columns tell the rows of one thing from those of another. Expressions are computed first."""
        exprs = [key for key in keys if not isinstance(key, str)] + [e.alias(name) for name, e in named.items()]
        names = [key if isinstance(key, str) else key.meta.output_name() for key in keys] + list(named)
        if not names:
            raise BadOption(f"key_by at {user_line()} names no column")
        computed = [e for e in exprs if not (e.meta.is_column() and e.meta.output_name() in self.schema)]
        stream = self._columns(node.WithColumns, computed) if computed else self
        return stream._then(node.KeyBy(keys=tuple(names), where=user_line()))

    def window(
        self, window: WindowSpec, *, allowed_lateness: DurationLike = "0s", early: EarlySpec | None = None
    ) -> Stream:
        """Say over which windows the next `agg` goes.

        A late row whose window ended no longer than `allowed_lateness` ago updates its result; a later one goes to
        `.late`. `early` asks for results before the end: `every("1s")` or `after_count(100)`. With either, results
        have the columns `pane` (early, on_time, late) and `revision`.
        """
        where = user_line()
        if not isinstance(window, WindowSpec):
            raise BadWindow(f"window at {where}: {window!r} is not a window; use flare.tumbling('1h'), hopping, session ...")
        if early is not None and not isinstance(early, EarlySpec):
            raise BadWindow(f"window at {where}: early={early!r}; use flare.every('1s') or flare.after_count(100)")
        lateness = Duration.of(allowed_lateness, "allowed_lateness").fixed_us("allowed_lateness")
        return self._then(node.Window(window=window, allowed_lateness=lateness, early=early, where=where))

    def agg(self, *exprs: pl.Expr, **named: pl.Expr) -> Stream:
        """Aggregate each window of each key with any Polars aggregation.

        The result has the keys, `window_start`, `window_end`, and one column per expression.
        """
        return self._columns(node.Aggregate, _exprs("agg", exprs, named))

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
        """Give the last stage a name: it keeps it across runs, in displays, and for its state."""
        if not isinstance(name, str) or not re.match(node.NAME_PATTERN, name):
            raise BadOption(f"named({name!r}) at {user_line()}: a name is letters, digits, _ and -, at most 64")
        if "." in self.head:
            raise BadOption(f"named at {user_line()}: a side output has its stage's name; select from it first")
        item = msgspec.structs.replace(self.graph.nodes[self.head], id=name)
        rest = self.graph.upstream(item.inputs) if item.inputs else Graph()
        graph, head = rest.add(item, self.graph.blobs)
        return Stream(graph, head)

    def at(self, name: str) -> Stream:
        """Return the stream as it is after an earlier named stage."""
        self.graph.edge(name)
        return Stream(self.graph, name)

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
        path = [item.kind if item.id.startswith(f"{item.kind}-") else item.id for item in self.graph.upstream([self.head])]
        return f"Stream({' -> '.join(path)}{'.' + self.head.partition('.')[2] if '.' in self.head else ''})"

    def _repr_html_(self) -> str:
        return draw.html(self.graph.upstream([self.head]))

    def __getattr__(self, name: str) -> Any:
        methods = [m for m in dir(type(self)) if not m.startswith("_")]
        raise AttributeError(f"a Stream has no `{name}`.{nearest(name, methods)}")

    # Running

    def collect(self, *, workers: int | None = None, clock: Clock | None = None) -> pl.DataFrame:
        """Run bounded input to the end and return the rows, like `LazyFrame.collect`."""
        if not self.edge.bounded:
            raise GraphError(
                "collect() needs input that ends, and this stream is live; use .run() and job.result(), or bound the source"
            )
        if isinstance(self.graph.nodes.get(self.head), node.Write):
            raise GraphError("collect() returns rows, and this stream ends in a sink; use .run().wait()")
        job = engine.run(self.graph, [self.head], workers=workers, clock=clock, register=False)
        return job.wait().result()

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
        return self.write("parquet", path=str(path), **options)

    def write_csv(self, path: PathLike, **options: Any) -> Stream:
        """Write CSV: one file if `path` ends in .csv, else a folder of parts.

        Options: `mode`, `include_header`, `separator`, `max_rows_per_file`, `max_bytes_per_file`.
        """
        return self.write("csv", path=str(path), **options)

    def write_ndjson(self, path: PathLike, **options: Any) -> Stream:
        """Write one JSON object per line. Options: `mode`, `max_rows_per_file`, `max_bytes_per_file`."""
        return self.write("ndjson", path=str(path), **options)

    def write_ipc(self, path: PathLike, **options: Any) -> Stream:
        """Write Arrow IPC (Feather). Options: `mode`, `compression`, `max_rows_per_file`, `max_bytes_per_file`."""
        return self.write("ipc", path=str(path), **options)

    def to_memory(self, buffer: MemoryBuffer) -> Stream:
        """Append the rows to a `MemoryBuffer` of yours."""
        if not isinstance(buffer, MemoryBuffer):
            raise WrongType(f"to_memory at {user_line()}: {type(buffer).__name__} is not a flare.MemoryBuffer")
        key = f"buffer-{id(buffer):x}"
        return self._write("memory", {"buffer": key}, {key: buffer})

    def for_each_batch(self, function: Callable[[pl.DataFrame, int], None]) -> Stream:
        """Call `function(frame, epoch)` on each batch, at least once."""
        if not callable(function):
            raise WrongType(f"for_each_batch at {user_line()}: {function!r} is not a function (frame, epoch)")
        key = f"{_word(getattr(function, '__name__', 'function'))}-{_code_hash(function)}"
        return self._write("for_each_batch", {"function": key}, {key: function})

    def write(self, sink: str, **options: Any) -> Stream:
        """Write to a registered sink by its name."""
        return self._write(sink, options, {})

    # Building

    def _write(self, sink: str, options: Mapping[str, Any], blobs: Mapping[str, Any]) -> Stream:
        if isinstance(self.graph.nodes.get(self.head), node.Write):
            raise GraphError(f"write at {user_line()}: the stream already ends in a sink; write from the stage before it")
        checked = sink_options(sink, options)
        return self._then(node.Write(sink=sink, options=checked, where=user_line()), blobs)

    def _then(self, item: node.AnyNode, blobs: Mapping[str, Any] | None = None) -> Stream:
        last = self.graph.nodes.get(self.head)
        if isinstance(last, node.Write):
            raise GraphError(f"{item.kind} at {item.where}: nothing comes after a sink; branch off before it")
        graph, head = self.graph.add(msgspec.structs.replace(item, inputs=(self.head,)), blobs)
        return Stream(graph, head)

    def _columns(
        self, kind: type[node.Select] | type[node.WithColumns] | type[node.Filter] | type[node.Aggregate], exprs: Sequence[pl.Expr]
    ) -> Stream:
        if not exprs:
            raise BadOption(f"{kind.__struct_config__.tag} at {user_line()} needs at least one expression")
        values, blobs = stored(exprs)
        return self._then(kind(exprs=values, where=user_line()), blobs)

    def _udf(self, call: UdfCall, output: str | None) -> Stream:
        key = f"{_word(call.udf.name)}-{call.udf.sha256[:12]}"
        return self._then(node.Udf(udf=key, args=call.args, output=output, where=user_line()), {key: call.udf.kernel})

    def _with_udfs(
        self, exprs: Sequence[Column], named: Mapping[str, Column], *, keep_names: bool
    ) -> tuple[Stream, list[pl.Expr]]:
        """Put the calls of udfs before the plain expressions, which in a `select` name their results."""
        stream, plain = self, []
        step = "select" if keep_names else "with_columns"
        for name, value in [(None, e) for e in exprs] + list(named.items()):
            if isinstance(value, UdfCall):
                output = name or value.udf.name
                stream = stream._udf(value, output)
                if keep_names:
                    plain.append(pl.col(output))
            else:
                expr = _expr(step, value)
                plain.append(expr.alias(name) if name is not None else expr)
        return stream, plain

    def _side(self, tag: str) -> Stream:
        """Return the side output of the nearest stage upstream that has one."""
        waiting = [self.head.partition(".")[0]]
        seen: set[str] = set()
        while waiting:
            found = [node_id for node_id in waiting if tag in self.graph.edges[node_id].sides]
            if len(found) > 1:
                raise UnknownStage(
                    f".{tag} at {user_line()}: several stages have one: {listing(found)}; name it: .at('{found[0]}').{tag}"
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
        graph = graph.merge(stream.graph)
    heads = list(dict.fromkeys(stream.head for stream in streams))
    return engine.run(
        graph, heads, name=name, workers=workers, latency=latency, commit_every=commit_every, clock=clock
    )


def _exprs(step: str, exprs: Sequence[Any], named: Mapping[str, Any]) -> list[pl.Expr]:
    return [_expr(step, e) for e in exprs] + [_expr(step, e).alias(name) for name, e in named.items()]


def _expr(step: str, value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    if isinstance(value, UdfCall | Udf):
        raise WrongType(f"{step} at {user_line()}: a @udf goes into with_columns, select or filter, or use {value!r}.expr(...)")
    if callable(value) and not isinstance(value, pl.Series):
        raise WrongType(f"{step} at {user_line()}: {value!r} is a function; use map_batches, or @flare.udf")
    if isinstance(value, list | tuple | dict | pl.Series | pl.DataFrame | pl.LazyFrame):
        raise WrongType(f"{step} at {user_line()} takes expressions such as pl.col('x') * 2, not {type(value).__name__}")
    return pl.lit(value)


def _names(step: str, columns: Sequence[Any]) -> tuple[str, ...]:
    names = tuple(columns[0]) if len(columns) == 1 and isinstance(columns[0], list | tuple) else tuple(columns)
    if not names or not all(isinstance(name, str) for name in names):
        raise BadOption(f"{step} at {user_line()} takes names of columns")
    return names


def _tried(function: Callable[[pl.DataFrame], pl.DataFrame], schema: pl.Schema, where: str) -> pl.Schema:
    try:
        got = function(pl.DataFrame(schema=schema))
        return conform(got, got.schema).schema
    except Exception as error:
        raise WrongType(
            f"map_batches at {where}: {getattr(function, '__name__', 'the function')} failed on a frame without rows "
            f"({type(error).__name__}: {error}), so its columns are unknown; say them with schema={{...}}"
        ) from error


def _code_hash(function: Any) -> str:
    """Tell one function from another: its code and what it closes over, so that a cell run again finds its stage."""
    code = getattr(function, "__code__", None)
    if code is None:
        seed = repr(type(function)) + getattr(function, "__qualname__", "")
    else:
        cells = [repr(c.cell_contents) if _plain(c) else "" for c in getattr(function, "__closure__", None) or ()]
        constants = [c for c in code.co_consts if not hasattr(c, "co_code")]
        seed = repr((code.co_code, constants, code.co_names, getattr(function, "__defaults__", None) is None, cells))
    return hashlib.sha256(seed.encode()).hexdigest()[:12]


def _plain(cell: Any) -> bool:
    try:
        return isinstance(cell.cell_contents, int | float | str | bytes | bool | type(None))
    except ValueError:
        return False


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name) or "function"


def _check_zone(zone: str, where: str) -> None:
    try:
        pl.Series([0]).cast(pl.Datetime("us", zone)).dt.replace_time_zone(None)
    except pl.exceptions.PolarsError:
        raise BadOption(f"event_time at {where}: time_zone={zone!r} is not a time zone such as 'America/New_York'") from None


def _unknown(at: str, name: str, schema: pl.Schema) -> GraphError:
    from .errors import UnknownColumn

    return UnknownColumn(f"{at} reads `{name}`; the stream has {listing(schema)}.{nearest(name, schema)}")
