"""`@udf`: a typed Python function becomes a sandboxed column function, without a toolchain."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import polars as pl

from ..errors import UdfError
from .columns import TYPES, Slot
from .compiler import compile_function
from .kernel import Kernel
from .kernel_pool import KernelPool
from .policy import milliseconds
from .signature import Signature, read_signature
from .source import Source

DEFAULT_TIME = "10s"


@dataclass(frozen=True, slots=True)
class UdfCall:
    """A udf and the columns it is to be called with, for `with_columns` and `filter` of a stream."""

    udf: Udf
    args: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self.udf.name}({', '.join(self.args)})"


class Udf:
    """A compiled function.

    Called with column names it describes a stage; called with values it runs the Python function itself,
    with the arguments converted as columns would be, and None if one that is not optional is None.

    Numbers mean what they mean in CPython, bit for bit, except that an int has 64 bits: a result beyond them
    is an OverflowError, never a wrong number. What a global or a closure holds is read once, when the function
    is decorated.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        output: str | Sequence[str] = (),
        max_execution_time: int | str = DEFAULT_TIME,
    ) -> None:
        self.function = function
        self.source = Source.of(function)
        self.signature: Signature = read_signature(
            function, self.source, (output,) if isinstance(output, str) else output
        )
        self.kernel: Kernel
        self.kernel, self._text = compile_function(
            function,
            self.source,
            self.signature,
            is_compiled=lambda target: isinstance(target, Udf),
            time_ms=milliseconds(max_execution_time),
        )
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
    def dtype(self) -> pl.DataType:
        """The type of the result column, a struct if it has several fields."""
        return self.kernel.dtype

    @property
    def wasm_bytes(self) -> bytes:
        """The module; `Kernel.load` reads it back."""
        return self.kernel.module

    @property
    def sha256(self) -> str:
        """The sum of the module: the same source compiles to the same sum."""
        return self.kernel.sha256

    @property
    def source_location(self) -> str:
        """Where the function stands: `flights.py, line 12`."""
        return self.source.place(self.source.tree)

    def __call__(self, *args: Any) -> Any:
        """Describe a call on columns, or compute one on values."""
        if len(args) != len(self.params):
            raise TypeError(f"{self._signature()} takes {len(self.params)} arguments, not {len(args)}")
        names = [_column(arg) for arg in args]
        if args and all(name is not None for name in names):
            return UdfCall(self, tuple(name for name in names if name is not None))
        if any(name is not None for name in names):
            raise TypeError(
                f"{self._signature()} takes columns or numbers, not both; add the number as a column, "
                "or write it into the function"
            )
        if any(arg is None and not slot.optional for arg, slot in zip(args, self.params, strict=True)):
            return None
        return self._converted(self.function(*map(_argument, args, self.params)))

    def call(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Return the result for each row, null where an argument is null. Safe from any thread."""
        return self._pool.call(columns)

    def expr(self, *args: str | pl.Expr) -> pl.Expr:
        """Return a Polars expression for use on any frame: `frame.with_columns(gained.expr("a", "b"))`."""
        if len(args) != len(self.params):
            raise TypeError(f"{self._signature()} takes {len(self.params)} columns, not {len(args)}")
        parts = [(pl.col(arg) if isinstance(arg, str) else arg).alias(str(i)) for i, arg in enumerate(args)]
        named = [_shown(arg) or slot.name for arg, slot in zip(args, self.params, strict=True)]

        def run(packed: pl.Series) -> pl.Series:
            fields = packed.struct.unnest().get_columns()
            return self.call([field.alias(name) for field, name in zip(fields, named, strict=True)])

        return pl.struct(parts).map_batches(run, return_dtype=self.dtype, is_elementwise=True).alias(self.name)

    @functools.cached_property
    def _pool(self) -> KernelPool:
        return KernelPool(self.kernel)

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

    def _signature(self) -> str:
        return f"{self.name}({', '.join(slot.name for slot in self.params)})"

    def __repr__(self) -> str:
        params = ", ".join(map(str, self.params))
        return f"<udf {self.name}({params}) -> {self.kernel.facts.returns}, {len(self.wasm_bytes)} bytes>"


@overload
def udf(function: Callable[..., Any], /) -> Udf: ...
@overload
def udf(
    *, output: str | Sequence[str] = ..., max_execution_time: int | str = ...
) -> Callable[[Callable[..., Any]], Udf]: ...
def udf(
    function: Callable[..., Any] | None = None,
    /,
    *,
    output: str | Sequence[str] = (),
    max_execution_time: int | str = DEFAULT_TIME,
) -> Udf | Callable[[Callable[..., Any]], Udf]:
    """Compile a function of numbers, bools, dates and times to WebAssembly.

    `output` names the result: one name, or one for each field of a tuple.

    >>> @udf
    ... def gained(dep_delay: float, arr_delay: float) -> float:  # doctest: +SKIP
    ...     return max(dep_delay - arr_delay, 0.0)
    """
    if function is None:
        return lambda function: Udf(function, output=output, max_execution_time=max_execution_time)
    return Udf(function, output=output, max_execution_time=max_execution_time)


def _column(arg: object) -> str | None:
    if isinstance(arg, str):
        return arg
    if isinstance(arg, pl.Expr):
        if not arg.meta.is_column():
            raise UdfError(f"{arg} is not a plain column; compute it with .with_columns(name=...) first")
        return arg.meta.output_name()
    return None


def _shown(arg: str | pl.Expr) -> str | None:
    """Return the name of a column for errors, if it has one."""
    return arg if isinstance(arg, str) else arg.meta.output_name(raise_if_undetermined=False)


def _argument(arg: Any, slot: Slot) -> Any:
    """Convert an argument as a column would be."""
    if arg is None:
        return None
    kind = TYPES[slot.type].python
    fits = isinstance(arg, (int, float)) if kind is float else type(arg) is kind
    if not fits or (isinstance(arg, bool) and kind is not bool):
        raise TypeError(f"`{slot.name}` is {slot.type} and was given {arg!r}")
    return float(arg) if kind is float else arg


def _as_slot(value: Any, slot: Slot) -> Any:
    return float(value) if slot.type == "float" and value is not None else value
