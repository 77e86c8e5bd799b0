"""Values that may change while a job runs: `flare.param`. A param is a value in expressions, known by its name."""

from __future__ import annotations

import dis
import functools
import html
import importlib
import math
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import polars as pl

from .errors import BadOption, JobError, WrongType, is_ours, listing, located, nearest, shown, trimmed
from .expr import Setting, param_expr
from .signature import held

Value: TypeAlias = bool | int | float | str
_DTYPES: dict[type, str] = {bool: "Boolean", int: "Int64", float: "Float64", str: "String"}
_PYTHON = {dtype: kind for kind, dtype in _DTYPES.items()}
_LIMITS = (-(2**63), 2**63 - 1)
_DEPTH = 4


class ParamSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of a param before anything runs; it stands in the graph beside what reads the param.

    `value` is the first one, which a run begins with unless it is told of another.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[^\W\d]\w{0,63}$")]
    dtype: Literal["Boolean", "Int64", "Float64", "String"]
    value: Value
    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = None
    options: tuple[Value, ...] | None = None
    label: str = ""

    def check(self, value: Any) -> Value:
        """Return a value as the param holds it, or say why it cannot."""
        kind: Any = _PYTHON[self.dtype]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise WrongType(f"param `{self.name}` is {_A[kind]}, and {shown(value)} is none")
        if kind is float:
            if not math.isfinite(value):
                raise BadOption(f"param `{self.name}`: {value} is not a finite number")
            value += 0.0  # There is one zero.
        if kind is int and not _LIMITS[0] <= value <= _LIMITS[1]:
            raise BadOption(f"param `{self.name}`: {value} does not fit into 64 bits")
        if self.options is not None and value not in self.options:
            raise BadOption(f"param `{self.name}`: {shown(value)} is not one of {listing(map(repr, self.options))}")
        if self.min is not None and value < self.min:
            raise BadOption(f"param `{self.name}`: {value} is less than min={self.min}")
        if self.max is not None and value > self.max:
            raise BadOption(f"param `{self.name}`: {value} is more than max={self.max}")
        return value  # type: ignore[no-any-return]

    def setting(self, value: Value) -> Setting:
        """Return a value as expressions are given it."""
        return Setting(self.name, self.dtype, value)

    @property
    def polars(self) -> pl.DataType:
        """The type as a column's."""
        return getattr(pl, self.dtype)()  # type: ignore[no-any-return]

    def read(self, text: str) -> Value:
        """Return the value of a text that `written` made. Raises WrongType or BadOption for what is none."""
        try:
            match self.dtype:
                case "Boolean":
                    return self.check({"true": True, "false": False}.get(text, text))
                case "Int64":
                    return self.check(int(text))
                case "Float64":
                    return self.check(float(text))
                case "String":
                    return self.check(text)
        except ValueError:
            raise WrongType(f"param `{self.name}` is {_A[_PYTHON[self.dtype]]}, and {shown(text)} is none") from None

    @property
    def told(self) -> str:
        """Say what it may be."""
        if self.options is not None:
            return f"one of {listing(map(repr, self.options))}"
        match self.min, self.max:
            case None, None:
                return ""
            case low, None:
                return f"at least {low}"
            case None, high:
                return f"at most {high}"
            case low, high:
                return f"{low} to {high}"


_A = {bool: "True or False", int: "an int", float: "a number", str: "a str"}
_registry: dict[str, Param] = {}
_lock = threading.RLock()
_bound: ContextVar[Mapping[str, Value] | None] = ContextVar("dataflare_params", default=None)


class Param(pl.Expr):
    """A value by name, that may be changed from any thread while jobs run.

    It is a Polars expression: `pl.col("price") > threshold` follows the value in a stream, where each batch is worked
    on with one value, and is a constant on a plain frame, the value of the moment at which it was written. Use
    `threshold.value` where Python wants the value itself. As the last line of a cell it is a slider, checkbox, list or
    text field.
    """

    _batch_predicate = None

    def __init__(self, spec: ParamSpec) -> None:
        self._spec = spec
        self._value: Value = spec.value
        self._watchers: weakref.WeakSet[Any] = weakref.WeakSet()

    @trimmed
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "value" or name.startswith("_"):
            return super().__setattr__(name, value)
        with located(f"{self._spec.name}.{name}"):
            if name in self._spec.__struct_fields__:
                raise BadOption(
                    f"`{name}` is declared: {self._spec.name} = flare.param(..., {name}=...) declares it anew"
                )
            raise BadOption(f"of a param only `value` is set.{nearest(name, ['value'])}")

    @property
    def spec(self) -> ParamSpec:
        """Its name, type, first value and bounds."""
        return self._spec

    @property
    def label(self) -> str:
        """What it is called beside its slider."""
        return self._spec.label or self._spec.name

    @property
    def value(self) -> Any:
        """The value: inside of a job's function that of the batch, anywhere else the newest.

        Setting it is felt by each running job at the next batch of each stage that reads it.
        """
        bound = _bound.get()
        if bound is None:
            return self._value
        if self._spec.name not in bound:
            raise JobError(
                f"param `{self._spec.name}` is read by a function of a running job, where a change would not be "
                "recorded; read it by its own name inside the function of a map_batches, or put it into a column "
                f"before, as with_columns({self._spec.name}={self._spec.name})"
            )
        return bound[self._spec.name]

    @value.setter
    @trimmed
    def value(self, value: Any) -> None:
        with located(f"{self._spec.name}.value"), _lock:
            self._value = self._spec.check(value)
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.told(self)

    @property
    def newest(self) -> Value:
        """The value that was set last, whoever asks."""
        return self._value

    @property
    def expr(self) -> pl.Expr:
        """The present value as an expression that a stream goes on following."""
        spec = self._spec
        return param_expr(spec.setting(self.value), spec.value)

    @property
    def _pyexpr(self) -> Any:  # type: ignore[override]
        return self.expr._pyexpr

    def watch(self, watcher: Any) -> None:
        """Have `watcher.told(param)` called after each change, as long as there is the watcher."""
        self._watchers.add(watcher)

    def declare(self, spec: ParamSpec) -> Param:
        """Take a new description, and begin again with its value."""
        with _lock:
            self._spec, self._value = spec, spec.value
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.told(self)
        return self

    # Python asks the right side of a comparison first where it is of a subclass: the column that was on the left
    # names the result.
    def _compared(self, other: Any, method: str, mirrored: str) -> pl.Expr:
        if isinstance(other, pl.Expr) and not isinstance(other, Param):
            return getattr(other, mirrored)(self.expr)  # type: ignore[no-any-return]
        return getattr(self.expr, method)(other)  # type: ignore[no-any-return]

    def __lt__(self, other: Any) -> pl.Expr:
        return self._compared(other, "__lt__", "__gt__")

    def __le__(self, other: Any) -> pl.Expr:
        return self._compared(other, "__le__", "__ge__")

    def __gt__(self, other: Any) -> pl.Expr:
        return self._compared(other, "__gt__", "__lt__")

    def __ge__(self, other: Any) -> pl.Expr:
        return self._compared(other, "__ge__", "__le__")

    def __eq__(self, other: object) -> pl.Expr:  # type: ignore[override]
        return self._compared(other, "__eq__", "__eq__")

    def __ne__(self, other: object) -> pl.Expr:  # type: ignore[override]
        return self._compared(other, "__ne__", "__ne__")

    __hash__ = object.__hash__

    def __reduce__(self) -> Any:
        return of, (self._spec,)

    def __deepcopy__(self, memo: Any) -> Param:
        return self

    __copy__ = __deepcopy__

    def __str__(self) -> str:
        may = f" ({self._spec.told})" if self._spec.told else ""
        return f"{self._spec.name} = {self._value!r}{may}"

    def __repr__(self) -> str:
        spec = self._spec
        more = [f"{key}={part!r}" for key in ("min", "max", "step") if (part := getattr(spec, key)) is not None]
        more += [f"options={list(spec.options)!r}"] if spec.options is not None else []
        return f"Param({', '.join([repr(spec.name), repr(self._value), *more])})"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(str(self))}</code>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Be a slider, checkbox, list or text field, or text where there are no widgets."""
        return importlib.import_module(".notebook.param_widget", __package__).bundle(self, **options)


@held
def param(
    value: bool | int | float | str,
    *,
    min: int | float | None = None,
    max: int | float | None = None,
    step: int | float | None = None,
    options: Sequence[Any] | None = None,
    label: str | None = None,
    name: str | None = None,
) -> Param:
    """Return a value that may be changed while jobs run, a slider in a notebook.

    It is called as the variable that it is assigned to, unless `name` says otherwise. A name has one param: declaring
    it again begins again with the value given. An int among floats is a float.

    >>> threshold = param(100, min=0, max=1000)
    >>> threshold.value = 250
    >>> threshold
    Param('threshold', 250, min=0, max=1000)
    >>> pl.DataFrame({"price": [200, 300]}).filter(pl.col("price") > threshold)["price"].to_list()
    [300]
    """
    with located("param"):
        return _declared(_spec(name or _assigned_to(), value, min, max, step, options, label))


@held
def params() -> dict[str, Param]:
    """Return the params of this process by name."""
    with _lock:
        return dict(_registry)


def of(spec: ParamSpec) -> Param:
    """Return the param of that name; a graph that came from elsewhere brings its own."""
    with _lock:
        return _registry.setdefault(spec.name, Param(spec)) if spec.name not in _registry else _registry[spec.name]


def find(names: Sequence[str]) -> tuple[ParamSpec, ...]:
    """Return what is known of params that an expression reads."""
    with _lock:
        missing = [name for name in names if name not in _registry]
        if missing:
            raise BadOption(f"no param is called `{missing[0]}`.{nearest(missing[0], _registry)}")
        return tuple(_registry[name].spec for name in names)


def written(value: Value) -> str:
    """Return a value as text, of which `ParamSpec.read` makes the same."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


@contextmanager
def bound(values: Mapping[str, Value]) -> Iterator[None]:
    """Let functions that run inside see these values, and no others."""
    token = _bound.set(values)
    try:
        yield
    finally:
        _bound.reset(token)


def guard() -> None:
    """Refuse from now on, in this thread, every param whose value nobody has bound."""
    _bound.set({})


def used_by(function: Any) -> tuple[ParamSpec, ...]:
    """Return the params that a Python function reads by name: globals, closures, defaults, functions inside."""
    found: dict[str, ParamSpec] = {}
    for value in _reads(function, _DEPTH):
        found[value.spec.name] = value.spec
    return tuple(found[name] for name in sorted(found))


def _reads(value: Any, depth: int) -> Iterator[Param]:
    match value:
        case Param():
            yield value
        case _ if not depth:
            return
        case FunctionType():
            for name in _names(value.__code__):
                if name in value.__globals__:
                    yield from _reads(value.__globals__[name], depth - 1)
            for default in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
                yield from _reads(default, depth - 1)
            for cell in value.__closure__ or ():
                try:
                    yield from _reads(cell.cell_contents, depth - 1)
                except ValueError:
                    continue
        case MethodType():
            yield from _reads(value.__func__, depth)
            yield from _reads(vars(value.__self__) if hasattr(value.__self__, "__dict__") else None, depth - 1)
        case functools.partial():
            for part in (value.func, *value.args, *value.keywords.values()):
                yield from _reads(part, depth - 1)
        case list() | tuple():
            for part in value:
                yield from _reads(part, depth - 1)
        case dict():
            for part in list(value.values()):
                yield from _reads(part, depth - 1)
        case _ if callable(value) and isinstance(getattr(type(value), "__call__", None), FunctionType):  # noqa: B004
            yield from _reads(type(value).__call__, depth)
            yield from _reads(getattr(value, "__dict__", None), depth - 1)


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names, *(name for each in inner for name in _names(each))}


def _spec(
    name: str, value: Any, low: Any, high: Any, step: Any, options: Sequence[Any] | None, label: str | None
) -> ParamSpec:
    if options is not None and (isinstance(options, str | bytes) or not isinstance(options, Sequence) or not options):
        raise WrongType(f"options={shown(options)}; it is a list of values to choose from")
    numbers = [value, *(part for part in (low, high, step) if part is not None), *(options or ())]
    kind = type(value)
    if kind is int and any(isinstance(part, float) for part in numbers):
        kind = float
    if kind not in (int, float) and any(part is not None for part in (low, high, step)):
        raise WrongType(f"min, max and step are for numbers, and {shown(value)} is none")
    if options is not None and any(part is not None for part in (low, high, step)):
        raise BadOption("options say all that it may be; leave out min, max and step")
    if not name.isidentifier() or len(name) > 64 or name.startswith("__"):
        raise BadOption(f"name={shown(name)}: a param's name is one as of a variable, at most 64 letters")
    bare = ParamSpec(name=name, dtype=_DTYPES[kind], value=value, label=label or "")  # type: ignore[arg-type]

    def checked(part: Any) -> Any:
        return None if part is None else bare.check(part)

    low, high, step = checked(low), checked(high), checked(step)
    choices = tuple(checked(part) for part in options) if options is not None else None
    if low is not None and high is not None and low > high:
        raise BadOption(f"min={low} is more than max={high}")
    if step is not None and step <= 0:
        raise BadOption(f"step={step} is not more than nothing")
    if choices is not None and len(set(choices)) < len(choices):
        raise BadOption(f"options={list(choices)!r} has one twice")
    spec = msgspec.structs.replace(bare, min=low, max=high, step=step, options=choices)
    return msgspec.structs.replace(spec, value=spec.check(value))


def _declared(spec: ParamSpec) -> Param:
    with _lock:
        known = _registry.get(spec.name)
        if known is None:
            known = _registry[spec.name] = Param(spec)
    return known.declare(spec)


def _assigned_to() -> str:
    """Return the variable that the call of the user is assigned to."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame):
        frame = frame.f_back
    if frame is not None:
        last = frame.f_lasti
        # A value that is copied first goes to several: `a = b = ...`.
        after = next((i for i in dis.get_instructions(frame.f_code) if i.offset > last and i.opname != "COPY"), None)
        if after is not None and after.opname.startswith("STORE_") and after.opname != "STORE_SUBSCR":
            return str(after.argval[0] if isinstance(after.argval, tuple) else after.argval)
    raise BadOption(
        "which variable it is assigned to cannot be told, and it is called after that; write one param to a line, as "
        "`limit = flare.param(1)`, or give each its name, as `flare.param(1, name='limit')`"
    )
