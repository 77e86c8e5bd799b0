"""Make nodes of what a user asks of a stream, with the blobs they need. Nothing here knows a `Stream`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import polars as pl

from . import arguments, dtypes, parameters
from .connectors.registry import sink_options
from .errors import BadOption, BadWindow, UnknownColumn, WrongType, listing, located, shown, told, user_line
from .expr import Expr, expand, readable
from .graph import Edge, fingerprint, node
from .wasm.udf import UdfCall
from .windows import DurationLike, EarlySpec, WindowSpec, microseconds

Step: TypeAlias = "tuple[node.AnyNode, Mapping[str, Any]]"
Exprs: TypeAlias = "type[node.Select] | type[node.WithColumns] | type[node.Filter] | type[node.Aggregate]"
_LIVE_IDLE_TIMEOUT = 5_000_000
_MOST_ROWS = 1 << 62


def exprs(kind: Exprs, made: Sequence[pl.Expr]) -> Step:
    """Return a step of expressions."""
    if not made:
        raise BadOption(f"{kind.__struct_config__.tag} at {user_line()} needs at least one expression")
    values: list[Expr] = []
    blobs: dict[str, Any] = {}
    for expr in made:
        with located(str(kind.__struct_config__.tag)):
            value, needed = Expr.of(expr)
        values.append(value)
        blobs |= needed
    item = kind(exprs=tuple(values), where=user_line())
    names = dict.fromkeys(name for value in values for name in value.params)
    return (msgspec.structs.replace(item, params=parameters.find(list(names))) if names else item), blobs


def rename(columns: Mapping[str, str] | Callable[[str], str], schema: pl.Schema) -> Step:
    """Return a step that renames by a mapping, or by a function of the name."""
    where = user_line()
    if callable(columns):
        columns = _renamed(columns, schema)
    if not isinstance(columns, Mapping) or not columns:
        raise BadOption(f"rename at {where} takes a mapping such as {{'old': 'new'}}, not {shown(columns)}")
    for name in (*columns, *columns.values()):
        if not isinstance(name, str):
            raise BadOption(f"rename at {where}: {shown(name)} is not a name")
    return node.Rename(columns=dict(columns), where=where), {}


def _renamed(function: Callable[[str], str], schema: pl.Schema) -> dict[str, str]:
    made: dict[str, str] = {}
    for name in schema:
        try:
            made[name] = function(name)
        except Exception as error:
            reason = f"{type(error).__name__}: {told(error)}"
            name_of = arguments.called(function)
            raise WrongType(f"rename at {user_line()}: {name_of} failed on {name!r} ({reason})") from error
    return made


def cast(types: Any, strict: bool, schema: pl.Schema) -> Step:
    """Return a step that casts by a mapping, or all columns to one type."""
    if not isinstance(types, Mapping):
        types = dict.fromkeys(schema, types)
    if not types or not all(isinstance(name, str) for name in types):
        raise BadOption(f"cast at {user_line()} takes a mapping such as {{'column': pl.Int64}}, or one type for all")
    columns = dtypes.to_json(arguments.types("cast", types))
    return node.Cast(columns=columns, strict=strict, where=user_line()), {}


def map_batches(function: Any, wanted: Mapping[str, Any] | None, schema: pl.Schema) -> Step:
    """Return a step of a Python function; without a schema it is tried on a frame without rows."""
    arguments.function("map_batches", function, "from frame to frame", ("frame",))
    made = arguments.types("map_batches", wanted) if wanted is not None else _tried(function, schema)
    if not made:
        raise BadOption(f"map_batches at {user_line()} leaves no column; keep at least one")
    key = fingerprint.of_function(function)
    read = parameters.used_by(function) or msgspec.UNSET
    return node.MapBatches(function=key, schema=dtypes.to_json(made), params=read, where=user_line()), {key: function}


def _tried(function: Callable[[pl.DataFrame], pl.DataFrame], schema: pl.Schema) -> pl.Schema:
    name = arguments.called(function)
    at = f"map_batches at {user_line()}"
    try:
        got = function(pl.DataFrame(schema=schema))
    except Exception as error:
        reason = told(error).partition("\n")[0] or "no reason given"
        raise WrongType(
            f"{at}: {name} failed with {type(error).__name__}: {reason}. It was tried on a frame without rows to learn "
            "its columns; if it only fails where there are no rows, say them with schema={...}"
        ) from error
    if not isinstance(got, pl.DataFrame):
        raise WrongType(f"{at}: {name} returned {type(got).__name__}; it has to return a polars.DataFrame")
    return got.schema


def event_time(
    column: str,
    max_out_of_orderness: DurationLike,
    edge: Edge,
    *,
    idle_timeout: DurationLike | None,
    time_zone: str | None,
    unit: str | None,
    watermark_every: int | None,
) -> Step:
    """Return a step that declares event time."""
    with located("event_time") as where:
        slack = microseconds(max_out_of_orderness, "max_out_of_orderness")
        if isinstance(idle_timeout, str) and idle_timeout == "auto":
            idle = None if edge.bounded else _LIVE_IDLE_TIMEOUT
        else:
            idle = None if idle_timeout is None else microseconds(idle_timeout, "idle_timeout")
        if unit is not None and unit not in ("s", "ms", "us", "ns"):
            raise BadOption(f"unit={shown(unit)}; it is 's', 'ms', 'us' or 'ns'")
        if watermark_every is not None and not 1 <= watermark_every <= _MOST_ROWS:
            raise BadOption(f"watermark_every={watermark_every}; it is a number of rows, at least 1")
        item = node.EventTime(
            column=column,
            max_out_of_orderness=slack,
            idle_timeout=idle,
            time_zone=arguments.time_zone(time_zone),
            unit=unit,
            watermark_every=watermark_every,
            where=where,
        )
    return item, {}


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys, and the expressions that have to be computed before."""

    names: tuple[str, ...]
    computed: tuple[pl.Expr, ...]


def keys(values: Sequence[Any], named: Mapping[str, Any], schema: pl.Schema) -> Keys:
    """Take keys apart. A name is one column; an expression may give several."""
    at = f"key_by at {user_line()}"
    if not values and not named:
        raise BadOption(f"{at} names no column; for one result over all rows leave key_by out")
    names: list[str] = []
    computed: list[pl.Expr] = []
    for name, value in [*((None, value) for value in values), *named.items()]:
        if isinstance(value, str) and name in (None, value):
            names.append(value)
            continue
        if not isinstance(value, pl.Expr | str | UdfCall) and not callable(value):
            raise WrongType(
                f"{at} takes columns, not {shown(value)}, which is the same for all rows; "
                "for one result over all rows leave key_by out"
            )
        for expr in expand(_named("key_by", value, name), schema):
            found = arguments.outputs(expr, schema)
            if expr.meta.has_multiple_outputs() and not found:
                raise UnknownColumn(
                    f"{at}: `{readable(str(expr))}` matches no column; the stream has {listing(schema)}"
                )
            names += found
            if not (expr.meta.is_column() or _selects_itself(expr)):
                computed.append(expr)
    return Keys(tuple(names), tuple(computed))


def _selects_itself(expr: pl.Expr) -> bool:
    """Tell whether this is `pl.col("x").alias("x")`, as expanding a selector gives."""
    return expr.meta.undo_aliases().meta.is_column() and expr.meta.root_names() == [expr.meta.output_name()]


def window(window: WindowSpec, allowed_lateness: DurationLike, early: EarlySpec | None) -> Step:
    """Return a step that says over which windows the next aggregation goes."""
    with located("window") as where:
        if not isinstance(window, WindowSpec):
            raise BadWindow(f"{shown(window)} is not a window; use flare.tumbling('1h'), hopping, session ...")
        if early is not None and not isinstance(early, EarlySpec):
            raise BadWindow(f"early={shown(early)}; use flare.every('1s') or flare.after_count(100)")
        lateness = microseconds(allowed_lateness, "allowed_lateness")
    return node.Window(window=window, allowed_lateness=lateness, early=early, where=where), {}


def write(step: str, sink: str, options: Mapping[str, Any]) -> node.Write:
    """Return a sink with its options checked."""
    with located(step) as where:
        return node.Write(sink=sink, options=sink_options(sink, options), where=where)


def udf(call: UdfCall, made: Sequence[str] = ()) -> Step:
    """Return a step that computes the call into columns, or keeps the rows for which it is true."""
    key = f"{fingerprint.word(call.udf.name)}-{call.udf.sha256[:12]}"
    output, outputs = (made[0], ()) if len(made) == 1 and call.packed else (None, tuple(made))
    item = node.Udf(udf=key, args=call.args, output=output, outputs=outputs, on_error=call.on_error, where=user_line())
    if call.settings:
        read = {param.spec.name: param.spec for _, param in call.settings}
        settings = {slot: param.spec.name for slot, param in call.settings}
        item = msgspec.structs.replace(item, settings=settings, params=tuple(read.values()))
    return item, {key: call.udf.kernel}


@dataclass(frozen=True, slots=True)
class Placed:
    """Calls of udfs in the order of their stages, the expressions that follow them, and the columns to drop then."""

    calls: tuple[tuple[UdfCall, tuple[str, ...]], ...]
    plain: tuple[pl.Expr, ...]
    waiting: tuple[str, ...]


def placed(step: str, values: Iterable[Any], named: Mapping[str, Any], schema: pl.Schema) -> Placed:
    """Put the calls of udfs before the plain expressions.

    All of them see the columns as they were before the step, as in Polars: where a call would replace a column
    that others may read, its result waits under another name.
    """
    columns: list[tuple[str | None, Any]] = [(None, value) for value in arguments.flat(values)]
    columns += [(name, value.alias(name) if isinstance(value, UdfCall) else value) for name, value in named.items()]
    results = [name for _, value in columns if isinstance(value, UdfCall) for name in value.columns]
    if not results:
        return Placed((), tuple(_named(step, value, name) for name, value in columns), ())
    if len(set(results)) < len(results):
        raise BadOption(f"{step} at {user_line()} makes two columns of one name: {listing(results)}; name them apart")
    after = pl.Schema(schema)
    calls: list[tuple[UdfCall, tuple[str, ...]]] = []
    plain: list[pl.Expr] = []
    waiting: list[str] = []
    direct: list[str] = []
    for name, value in columns:
        if not isinstance(value, UdfCall):
            plain += expand(_named(step, value, name), schema)
            continue
        places = []
        for result, dtype in value.schema.items():
            made = result
            while len(columns) > 1 and (made in after or (made != result and made in results)):
                made += "_"
            places.append(made)
            after[made] = dtype
            if step == "select" or made != result:
                plain.append(pl.col(made).alias(result))
                waiting.append(made)
            else:
                direct.append(result)
        calls.append((value, tuple(places)))
    for name in direct:
        if any(name in arguments.outputs(expr, after) for expr in plain):
            raise BadOption(f"{step} at {user_line()} makes two columns named `{name}`; name them apart")
    return Placed(tuple(calls), tuple(plain), () if step == "select" else tuple(waiting))


def _named(step: str, value: Any, name: str | None) -> pl.Expr:
    expr = arguments.expression(step, value)
    return expr if name is None else expr.alias(name)
