"""`@udf`: a typed Python function becomes a sandboxed column function, without a toolchain."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import polars as pl

from ..errors import UdfError
from .compiler import compile_function
from .kernel import Kernel, KernelPool
from .policy import milliseconds
from .source import Source

_KINDS = {float: "float", int: "int", bool: "bool"}
_TYPES: dict[str, Callable[[Any], Any]] = {"float": float, "int": int, "bool": bool}
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

    Called with column names it describes a stage; called with numbers it runs the Python function itself,
    with the arguments converted as columns would be, and None if one of them is None.

    Numbers mean what they mean in CPython, bit for bit, except that an int has 64 bits: a result beyond them
    is an OverflowError, never a wrong number. What a global or a closure holds is read once, when the function
    is decorated.
    """

    def __init__(self, function: Callable[..., Any], *, max_execution_time: int | str = DEFAULT_TIME) -> None:
        self.function = function
        self.source = Source.of(function)
        self.params, self.returns = _annotations(function, self.source)
        self.kernel: Kernel = compile_function(
            function,
            self.source,
            self.params,
            self.returns,
            is_compiled=lambda target: isinstance(target, Udf),
            time_ms=milliseconds(max_execution_time),
        )
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def dtype(self) -> pl.DataType:
        """The type of the result column."""
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
        """Describe a call on columns, or compute one on numbers."""
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
        if any(arg is None for arg in args):
            return None
        return _TYPES[self.returns](
            self.function(*(_number(arg, *p) for arg, p in zip(args, self.params, strict=True)))
        )

    def call(self, columns: Sequence[pl.Series]) -> pl.Series:
        """Return the result for each row, null where an argument is null. Safe from any thread."""
        return self._pool.call(columns)

    def expr(self, *args: str | pl.Expr) -> pl.Expr:
        """Return a Polars expression for use on any frame: `frame.with_columns(gained.expr("a", "b"))`."""
        if len(args) != len(self.params):
            raise TypeError(f"{self._signature()} takes {len(self.params)} columns, not {len(args)}")
        parts = [(pl.col(arg) if isinstance(arg, str) else arg).alias(str(i)) for i, arg in enumerate(args)]
        named = [_shown(arg) or name for arg, (name, _) in zip(args, self.params, strict=True)]

        def run(packed: pl.Series) -> pl.Series:
            fields = packed.struct.unnest().get_columns()
            return self.call([field.alias(name) for field, name in zip(fields, named, strict=True)])

        return pl.struct(parts).map_batches(run, return_dtype=self.dtype, is_elementwise=True).alias(self.name)

    @functools.cached_property
    def _pool(self) -> KernelPool:
        return KernelPool(self.kernel)

    def _signature(self) -> str:
        return f"{self.name}({', '.join(name for name, _ in self.params)})"

    def __repr__(self) -> str:
        params = ", ".join(f"{name}: {kind}" for name, kind in self.params)
        return f"<udf {self.name}({params}) -> {self.returns}, {len(self.wasm_bytes)} bytes>"


@overload
def udf(function: Callable[..., Any], /) -> Udf: ...
@overload
def udf(*, max_execution_time: int | str = ...) -> Callable[[Callable[..., Any]], Udf]: ...
def udf(
    function: Callable[..., Any] | None = None, /, *, max_execution_time: int | str = DEFAULT_TIME
) -> Udf | Callable[[Callable[..., Any]], Udf]:
    """Compile a function of floats, ints and bools to WebAssembly.

    >>> @udf
    ... def gained(dep_delay: float, arr_delay: float) -> float:  # doctest: +SKIP
    ...     return max(dep_delay - arr_delay, 0.0)
    """
    if function is None:
        return lambda function: Udf(function, max_execution_time=max_execution_time)
    return Udf(function, max_execution_time=max_execution_time)


def _annotations(function: Callable[..., Any], source: Source) -> tuple[tuple[tuple[str, str], ...], str]:
    tree = source.tree
    if tree.args.vararg or tree.args.kwarg or tree.args.kwonlyargs or tree.args.defaults:
        raise source.error(tree, "a udf takes plain parameters, without defaults, `*` or `**`")
    if not tree.args.args and not tree.args.posonlyargs:
        raise source.error(tree, "a udf needs at least one parameter; use pl.lit(...) for a constant column")
    try:
        found = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise source.error(tree, f"an annotation cannot be read: {error}") from None
    nodes = {arg.arg: arg for arg in [*tree.args.posonlyargs, *tree.args.args]}
    params = []
    for name, parameter in found.parameters.items():
        if parameter.annotation not in _KINDS:
            raise source.error(nodes[name], f"`{name}` {_unkind(parameter.annotation)}")
        params.append((name, _KINDS[parameter.annotation]))
    if found.return_annotation not in _KINDS:
        raise source.error(tree.returns or tree, f"the result {_unkind(found.return_annotation)}")
    return tuple(params), _KINDS[found.return_annotation]


def _unkind(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return "has no type; annotate it with float, int or bool"
    if "None" in str(annotation):
        return "is Optional; a udf gives null where an argument is null, so say float, int or bool"
    named = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return f"is {named}; a udf takes float, int and bool. Use .map_batches for other types"


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


def _number(arg: Any, name: str, kind: str) -> Any:
    """Convert an argument as a column would be."""
    allowed = {"float": (int, float), "int": (int,), "bool": (bool,)}[kind]
    if not isinstance(arg, allowed) or (isinstance(arg, bool) and kind != "bool"):
        raise TypeError(f"`{name}` is {kind} and was given {arg!r}")
    return _TYPES[kind](arg)
