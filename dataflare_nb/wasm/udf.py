"""`@udf`: a typed Python function becomes a sandboxed column function, without a toolchain."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, overload

import polars as pl

from ..errors import (
    BadOption,
    DataflareError,
    UdfError,
    WasmPluginExecution,
    WrongArguments,
    WrongType,
    listing,
    located,
    nearest,
    shown,
    trimmed,
)
from ..expr import readable as spelled
from ..parameters import Param
from ..signature import held
from .apart import Apart
from .columns import Slot
from .kernel import Kernel
from .kernel_pool import KernelPool
from .policy import milliseconds
from .readable import readable
from .signature import Signature, as_parameter, read_signature
from .source import Source

DEFAULT_TIME = "10s"


OnError: TypeAlias = Literal["fail", "null", "dead_letter"]
POLICIES: tuple[OnError, ...] = ("fail", "null", "dead_letter")
Time: TypeAlias = int | str | timedelta
F = TypeVar("F", bound=Callable[..., Any])


def _placed(method: F) -> F:
    """Put the user's line before what a method says is wrong with the call; it is looked for then only."""

    @trimmed
    @functools.wraps(method)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        try:
            return method(self, *args, **named)
        except WasmPluginExecution:
            raise
        except DataflareError:
            with located(self.udf.name if isinstance(self, UdfCall) else self.name):
                raise

    return call  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class UdfCall(Apart):
    """A udf and the columns it is to be called with, for `with_columns`, `select` and `filter` of a stream."""

    udf: Udf
    args: tuple[str, ...]
    on_error: OnError = "fail"
    names: tuple[str, ...] = ()
    settings: tuple[tuple[str, Param], ...] = ()
    """Parameters that are given a param, with it; `args` are for the others."""

    @_placed
    def alias(self, *names: str) -> UdfCall:
        """Name the result: one name for a column (a struct, if there are fields), or one for each field."""
        for name in names:
            if not isinstance(name, str):
                raise WrongType(f"{self!r}: alias takes names, not {shown(name)}")
        if len(names) not in (1, len(self.udf.outputs)) or len(set(names)) < len(names):
            fields = listing(slot.name for slot in self.udf.outputs)
            raise UdfError(f"{self!r} gives {fields}; alias takes one name, or one for each")
        return replace(self, names=names)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the call makes."""
        return self.names or tuple(slot.name for slot in self.udf.outputs)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns that the call makes, with their types."""
        if self.packed:
            return {self.columns[0]: self.udf.dtype}
        return {name: slot.dtype for name, slot in zip(self.columns, self.udf.outputs, strict=True)}

    @property
    def packed(self) -> bool:
        """Whether the result is one column."""
        return not self.udf.kernel.facts.record or len(self.names) == 1

    def __repr__(self) -> str:
        given = [*self.args, *(f"{slot}={param.spec.name}" for slot, param in self.settings)]
        return f"{self.udf.name}({', '.join(given)})"


class Udf:
    """A compiled function.

    Called with column names it describes a stage, where values among the names are compiled in; called with
    values only it runs the Python function itself, with the arguments converted as columns would be, and gives
    None if one that is not optional is None.

    Numbers mean what they mean in CPython, bit for bit, except that an int has 64 bits: a result beyond them
    is an OverflowError, never a wrong number. Where CPython asks the machine's C library (`math.exp`, `sin`, `**`
    of floats ...), the result is the double nearest to the true value nearly always and never the second next,
    the same on every machine; a negative number to a fractional power is a ValueError. Text means what it means in
    CPython with Unicode 14. docs/udf.md lists every exception. What a global or a closure holds is read once, when
    the function is decorated. A text in a call is the name of a column; `.function` is the Python function itself.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        output: str | Sequence[str] = (),
        on_error: OnError = "fail",
        max_execution_time: Time = DEFAULT_TIME,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        _check_policy(on_error)
        time_ms = _time(max_execution_time)
        self.function, self.on_error = function, on_error
        self.source = Source.of(function)
        self._options = {"output": output, "on_error": on_error, "max_execution_time": max_execution_time}
        whole = read_signature(function, self.source, (output,) if isinstance(output, str) else output)
        self.signature: Signature = whole.fix(fixed or {})
        # The compiler is imported with the first function.
        from .compiler import compile_function

        self._compiled = compile_function(
            function,
            self.source,
            self.signature,
            is_compiled=lambda target: isinstance(target, Udf),
            time_ms=time_ms,
        )
        self.kernel: Kernel = self._compiled.kernel
        self._variants: dict[tuple[Any, ...], Udf] = {}
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def params(self) -> tuple[Slot, ...]:
        """The parameters."""
        return self.signature.params

    @property
    def outputs(self) -> tuple[Slot, ...]:
        """The columns of the result."""
        return self.signature.returns.slots

    @property
    def output(self) -> tuple[str, ...]:
        """The names that the result was given."""
        given = self._options["output"]
        return (given,) if isinstance(given, str) else tuple(given)  # type: ignore[arg-type]

    @property
    def dtype(self) -> pl.DataType:
        """The type of the result as one column, a struct if it has several fields."""
        return self.kernel.dtype

    @property
    def wasm_bytes(self) -> bytes:
        """The module; `Kernel.load` reads it back."""
        return self.kernel.module

    @property
    def wat(self) -> str:
        """The module as text, with the lines of the source that its parts come from."""
        return readable(self._compiled.text, self._compiled.lines)

    @property
    def sha256(self) -> str:
        """The sum of the module: the same source compiles to the same sum."""
        return self.kernel.sha256

    @property
    def source_location(self) -> str:
        """Where the function stands: `flights.py, line 12`."""
        return self.source.place(self.source.tree)

    @_placed
    def __call__(self, *args: Any, on_error: OnError | None = None, **named: Any) -> Any:
        """Describe a call on columns, or compute one on values."""
        given = self._given(args, named)
        settings = {name: arg for name, arg in given.items() if isinstance(arg, Param)}
        columns = {
            name: column for name, arg in given.items() if name not in settings and (column := _column(arg)) is not None
        }
        if not columns:
            for name, param in settings.items():
                raise UdfError(
                    f"{self._spelled()} is given the param `{param.spec.name}` as `{name}` and no column; "
                    f"{param.spec.name}.value is its value by now"
                )
            return self._computed(given)
        bound = self.fix(**{name: arg for name, arg in given.items() if name not in columns | settings})
        policy = self.on_error if on_error is None else on_error
        _check_policy(policy)
        args = tuple(columns[slot.name] for slot in bound.params if slot.name in columns)
        return UdfCall(bound, args, policy, settings=tuple(settings.items()))

    @_placed
    def fix(self, **values: Any) -> Udf:
        """Return the function with values for some parameters compiled in; defaults fill in what is left out."""
        if not values:
            return self
        known = [slot.name for slot in (*self.signature.fixed_slots, *self.params)]
        for name in values:
            if name not in known:
                raise WrongArguments(f"{self._spelled()} has no parameter `{name}`.{nearest(name, known)}")
        key = tuple((name, type(value), repr(value)) for name, value in sorted(values.items()))
        if key not in self._variants:
            fixed = {**self.signature.fixed, **values}
            self._variants[key] = Udf(self.function, fixed=fixed, **self._options)  # type: ignore[arg-type]
        return self._variants[key]

    @_placed
    def call(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Return the result for each row, null where an argument is null. Safe from any thread."""
        if not isinstance(columns, list | tuple) or not all(isinstance(column, pl.Series) for column in columns):
            raise WrongArguments(
                f"{self.name}.call takes a list of Series, one for each parameter, not {shown(columns)}"
            )
        return self._called(columns, self.on_error)

    @_placed
    def expr(self, *args: Any, on_error: OnError | None = None, **named: Any) -> pl.Expr:
        """Return a Polars expression for use on any frame: `frame.with_columns(gained.expr("a", "b"))`.

        Several outputs are the fields of a struct: `.unnest("gained")` makes columns of them.
        """
        policy = self.on_error if on_error is None else on_error
        _check_policy(policy)
        if policy == "dead_letter":
            raise UdfError(f"{self.name}.expr: an expression has no .invalid; use on_error='null', or a stream")
        given = self._given(args, named)
        exprs = {name: pl.col(arg) if isinstance(arg, str) else arg for name, arg in given.items()}
        columns = {name: arg for name, arg in exprs.items() if isinstance(arg, pl.Expr)}
        if not columns:
            raise WrongArguments(f"{self._spelled()} takes a column at least; use pl.lit(...) for a constant one")
        bound = self.fix(**{name: arg for name, arg in given.items() if name not in columns})
        inputs = [columns[slot.name] for slot in bound.params]
        named_after = [expr.meta.output_name(raise_if_undetermined=False) for expr in inputs]

        def run(series: Sequence[pl.Series]) -> pl.Series:
            height = max(map(len, series)) if all(map(len, series)) else 0
            given = [
                (one if len(one) == height else one.new_from_index(0, height)).alias(name or slot.name)
                for one, name, slot in zip(series, named_after, bound.params, strict=True)
            ]
            return bound._called(given, policy)

        return pl.map_batches(inputs, run, return_dtype=bound.dtype, is_elementwise=True).alias(bound._own_name)

    @_placed
    def save(self, folder: str | os.PathLike[str], *, kind: Literal["Processor", "Filter"] = "Processor") -> Path:
        """Write the function as a plugin that needs no Python, and return the path of its plugin.json.

        Beside it are the module, a README and the source, with all that it sees from outside: `dataflare plugin build`
        compiles it again. A source that cannot stand alone is written to be read, and the README says why.
        """
        if not isinstance(folder, str | os.PathLike):
            raise WrongType(f"save takes the path of a folder, not {shown(folder)}")
        from .saving import save

        return save(self, Path(folder), kind)

    @functools.cached_property
    def _pool(self) -> KernelPool:
        return KernelPool(self.kernel)

    @property
    def _own_name(self) -> str:
        return self.name if self.kernel.facts.record else self.outputs[0].name

    def _called(self, columns: Sequence[pl.Series], policy: OnError) -> pl.Series:
        if policy != "null":
            return self._pool.call(columns)
        return KernelPool.packed(self.kernel.facts, self._pool.apart(columns).nulled())

    def _given(self, args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by the names of the parameters, in their order, with the defaults."""
        names = [slot.name for slot in self.params]
        if len(args) > len(names):
            raise WrongArguments(f"{self._spelled()} takes {_arguments(len(names))}, not {len(args)}")
        given = dict(zip(names, args, strict=False))
        for name, arg in named.items():
            if name not in names or name in given:
                raise WrongArguments(f"{self._spelled()} takes {listing(names)}, each once.{nearest(name, names)}")
            given[name] = arg
        given = {**{n: v for n, v in self.signature.defaults.items() if n in names and n not in given}, **given}
        if len(given) < len(names):
            missing = next(name for name in names if name not in given)
            takes = f"takes {_arguments(len(names))}, not {len(args) + len(named)}"
            raise WrongArguments(f"{self._spelled()} {takes}: `{missing}` is missing")
        return {name: given[name] for name in names}

    def _computed(self, given: Mapping[str, Any]) -> Any:
        """Return what the Python function makes of values."""
        if any(given[slot.name] is None and not slot.optional for slot in self.params):
            return None
        values = {slot.name: as_parameter(given[slot.name], slot) for slot in self.params}
        return self._converted(self.function(**{**self.signature.fixed, **values}))

    def _converted(self, result: Any) -> Any:
        """Return what the function gave as the result columns hold it."""
        returns = self.signature.returns
        if not returns.record:
            return _as_slot(result, returns.slots[0])
        if result is None:
            return None
        given = result if isinstance(result, tuple) else [getattr(result, name) for name in vars(result)]
        values = [_as_slot(value, slot) for value, slot in zip(given, returns.slots, strict=True)]
        return returns.maker(*values) if returns.maker is not None else tuple(values)

    def _spelled(self) -> str:
        return f"{self.name}({', '.join(slot.name for slot in self.params)})"

    def __repr__(self) -> str:
        params = ", ".join(map(str, self.params))
        return f"<udf {self.name}({params}) -> {self.kernel.facts.returns}, {len(self.wasm_bytes)} bytes>"


@overload
def udf(function: Callable[..., Any], /) -> Udf: ...
@overload
def udf(
    *, output: str | Sequence[str] = ..., on_error: OnError = ..., max_execution_time: Time = ...
) -> Callable[[Callable[..., Any]], Udf]: ...
@held
def udf(
    function: Callable[..., Any] | None = None,
    /,
    *,
    output: str | Sequence[str] = (),
    on_error: OnError = "fail",
    max_execution_time: Time = DEFAULT_TIME,
) -> Udf | Callable[[Callable[..., Any]], Udf]:
    """Compile a function of numbers, bools, text, dates and times to WebAssembly.

    `output` names the result: one name, or one for each field of a tuple. `on_error` says what becomes of a row
    on which the function raises: the job fails (`"fail"`), its result is null (`"null"`), or it goes to `.invalid`
    (`"dead_letter"`). `max_execution_time` is that of a batch. On a plain Polars frame a call is an expression by
    `.expr`: `frame.with_columns(gained.expr("dep_delay", "arr_delay"))`.

    >>> @udf
    ... def gained(dep_delay: float, arr_delay: float) -> float:  # doctest: +SKIP
    ...     return max(dep_delay - arr_delay, 0.0)
    """

    with located("udf"):
        _time(max_execution_time)

    def compiled(function: Callable[..., Any]) -> Udf:
        return Udf(function, output=output, on_error=on_error, max_execution_time=max_execution_time)

    return compiled if function is None else compiled(function)


def _check_policy(on_error: str) -> None:
    if on_error not in POLICIES:
        near = nearest(str(on_error), POLICIES)
        raise BadOption(f"on_error={shown(on_error)} is not {listing(map(repr, POLICIES))}.{near}")


def _time(given: Time) -> int:
    try:
        return milliseconds(given)
    except ValueError as error:
        raise BadOption(f"max_execution_time: {error}") from None


def _column(arg: object) -> str | None:
    if isinstance(arg, str):
        return arg
    if isinstance(arg, pl.Expr):
        if not arg.meta.is_column():
            told = spelled(str(arg))
            raise UdfError(f"`{told}` is not a plain column; compute it with .with_columns(name=...) first")
        return arg.meta.output_name()
    return None


def _as_slot(value: Any, slot: Slot) -> Any:
    return float(value) if slot.type == "float" and value is not None else value


def _arguments(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"
