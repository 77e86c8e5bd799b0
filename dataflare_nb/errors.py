"""Everything that can go wrong, as one tree.

Catch as much of it as you mean to:

    DataflareError
    |-- GraphError                     a mistake in the description, raised at the line that made it
    |   |-- UnknownColumn              a column the stream does not have
    |   |-- WrongType                  an expression, key, time or argument of a type that does not fit
    |   |   `-- NoRows                 rows are asked of a stream that does not run; a TypeError too
    |   |-- MissingEventTime           event time is needed and not declared (or was overwritten)
    |   |-- UnwindowedAggregate        an aggregation over a stream that never ends
    |   |-- BadWindow                  a window that cannot be
    |   |-- BadOption                  an option out of range or misspelt
    |   |-- UnknownStage               a stage or side output the graph does not have
    |   `-- GraphFormat                a graph document that cannot be read
    |-- JobError                       a run that went wrong
    |   |-- StageFailed                a stage raised: names the stage, the batch and the cause
    |   |-- JobStopped                 the job ended before it could answer
    |   `-- JobTimeout                 waited long enough
    |-- ConnectorError                 the outside world
    |   |-- MalformedRow               a row that cannot be read: file, line, column
    |   |-- SourceError                a source that cannot be opened or read
    |   |-- SinkError                  a sink that cannot be opened or written
    |   `-- ClusterError               a Flink cluster that does not answer, or refuses what is asked of it
    `-- WasmError                      WebAssembly; each carries `plugin` and `guest_trace` where known
        |-- WasmConfiguration          a plugin description or policy that does not hold
        |-- WasmPluginLoad             a module that cannot be compiled, linked or started
        |   `-- WasmUntrusted          a signature is missing, not trusted, or does not hold
        |-- WasmBuild                  a plugin that cannot be built from its source
        |   |-- WasmToolchainMissing   there is no compiler for the language; says how to get one
        |   `-- WasmBuildFailed        the compiler refused it: file or cell, line and caret
        |-- WasmRuntimeError           the machinery around a guest failed
        |-- WasmPluginExecution        a guest failed
        |   |-- WasmTrap               it trapped (unreachable, out of bounds, stack, division)
        |   |-- WasmTimeout            it ran longer than `max_execution_time`
        |   |-- WasmMemoryLimit        it asked for more than `max_memory`
        |   `-- WasmBadOutput          it returned pointers, lengths or data that do not hold
        |-- WasmInterrupted            the job was stopped while the guest ran
        `-- UdfError                   a Python function that cannot become WebAssembly
            `-- WrongArguments         a call of a compiled function that does not fit it; a TypeError too
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_SAME: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sep", "delim", "delimiter"), ("separator",)),
    **dict.fromkeys(("header", "skip_header"), ("has_header", "include_header")),
    **dict.fromkeys(("dtype", "dtypes", "types"), ("schema_overrides", "schema")),
    **dict.fromkeys(("usecols", "names"), ("columns",)),
    **dict.fromkeys(("na_values", "nulls"), ("null_values",)),
    **dict.fromkeys(("infer_schema_length", "infer_schema"), ("infer_rows",)),
    **dict.fromkeys(("ignore_errors", "on_bad_lines"), ("on_error",)),
    "parse_dates": ("try_parse_dates",),
    "quotechar": ("quote_char",),
}
"""Words of Polars and pandas for options of ours."""
_PACKAGE = str(Path(__file__).resolve().parent) + os.sep
_STANDARD = os.path.dirname(os.__file__) + os.sep


class DataflareError(Exception):
    """The root of the tree; see the module's docstring."""


class GraphError(DataflareError):
    """A mistake in the description of a stream."""


class UnknownColumn(GraphError):  # noqa: N818 - the names are the product's, see the tree above
    """A column the stream does not have."""


class WrongType(GraphError):  # noqa: N818
    """An expression, key, time or argument of a type that does not fit."""


class NoRows(WrongType, TypeError):  # noqa: N818
    """Rows are asked of a stream that does not run; a `TypeError` too, as of anything that has none."""


class MissingEventTime(GraphError):  # noqa: N818
    """Event time is needed and was not declared, or was overwritten."""


class UnwindowedAggregate(GraphError):  # noqa: N818
    """An aggregation over a stream that never ends."""


class BadWindow(GraphError):  # noqa: N818
    """A window that cannot be."""


class BadOption(GraphError):  # noqa: N818
    """An option out of range or misspelt."""


class UnknownStage(GraphError):  # noqa: N818
    """A stage or side output the graph does not have."""


class GraphFormat(GraphError):  # noqa: N818
    """A graph document that cannot be read."""


class JobError(DataflareError):
    """A run that went wrong."""


class StageFailed(JobError):  # noqa: N818
    """A stage raised. `stage` names it, `position` says which rows, `__cause__` is the original error.

    `where` says what the stage does and which line of the user made it.
    """

    def __init__(self, stage: str, position: str, cause: BaseException, where: str = "") -> None:
        self.stage = stage
        self.position = position
        self.where = where
        text = f"stage {stage} failed at {position}: {type(cause).__name__}: {told(cause)}"
        super().__init__(f"{text}\n{where}" if where else text)
        self.__cause__ = cause


class JobStopped(JobError):  # noqa: N818
    """The job ended before it could answer."""


class JobTimeout(JobError):  # noqa: N818
    """Waited long enough."""


class ConnectorError(DataflareError):
    """The outside world."""


class SourceError(ConnectorError):
    """A source that cannot be opened or read."""


class SinkError(ConnectorError):
    """A sink that cannot be opened or written."""


class ClusterError(ConnectorError):
    """A Flink cluster that does not answer, or refuses what is asked of it."""


class MalformedRow(ConnectorError):  # noqa: N818
    """A row that cannot be read.

    `file`, `line` (1-based), `column` (a name, or None for the whole row) and `raw` say which. `way` is a way out that
    keeps the row.
    """

    def __init__(
        self,
        reason: str,
        *,
        file: str,
        line: int,
        column: str | None = None,
        raw: str | None = None,
        way: str = "",
    ) -> None:
        self.file, self.line, self.column, self.raw, self.reason = file, line, column, raw, reason
        where = f"{file}:{line}" + (f", column `{column}`" if column else "")
        shown = f" in {raw[:120]!r}" if raw is not None else ""
        super().__init__(
            f"{where}: {reason}{shown}. {f'{way}. Else mend' if way else 'Mend'} the file, "
            "or read with on_error='dead_letter' to send such rows to .invalid"
        )


class WasmError(DataflareError):
    """WebAssembly. `plugin` names the plugin, `guest_trace` holds the guest's frames, innermost first."""

    def __init__(self, message: str, *, plugin: str | None = None, guest_trace: Iterable[str] = ()) -> None:
        self.plugin = plugin
        self.guest_trace = tuple(guest_trace)
        trace = "".join(f"\n    in {frame}" for frame in self.guest_trace)
        super().__init__((f"plugin {plugin}: " if plugin else "") + message + trace)


class WasmConfiguration(WasmError):  # noqa: N818
    """A plugin description or policy that does not hold."""


class WasmPluginLoad(WasmError):  # noqa: N818
    """A module that cannot be compiled, linked or started."""


class WasmUntrusted(WasmPluginLoad):
    """A signature is missing, not trusted, or does not hold."""


class WasmBuild(WasmError):  # noqa: N818
    """A plugin that cannot be built from its source."""


class WasmToolchainMissing(WasmBuild):
    """There is no compiler for the language."""


class WasmBuildFailed(WasmBuild):
    """The compiler refused it. `places` holds the file or cell and the line of each error."""

    def __init__(self, message: str, *, places: Iterable[tuple[str, int]] = ()) -> None:
        self.places = tuple(places)
        super().__init__(message)


class WasmRuntimeError(WasmError):
    """The machinery around a guest failed."""


class WasmPluginExecution(WasmError):  # noqa: N818
    """A guest failed."""


class WasmTrap(WasmPluginExecution):
    """The guest trapped."""


class WasmTimeout(WasmPluginExecution):
    """The guest ran longer than `max_execution_time`."""


class WasmMemoryLimit(WasmPluginExecution):
    """The guest asked for more than `max_memory`."""


class WasmBadOutput(WasmPluginExecution):
    """The guest returned pointers, lengths or data that do not hold."""


class WasmInterrupted(WasmError):  # noqa: N818
    """The job was stopped while the guest ran."""


class UdfError(WasmError):
    """A Python function that cannot become WebAssembly."""


class WrongArguments(UdfError, TypeError):  # noqa: N818
    """A call of a compiled function that does not fit its parameters; a `TypeError` too, as any function's."""


def told(error: BaseException) -> str:
    """Return what an error of the user's code says, whatever its `__str__` does."""
    try:
        return str(error)
    except Exception:
        return f"it cannot be shown, {type(error).__name__}.__str__ fails"


def shown(value: object, most: int = 60) -> str:
    """Return a value for a message: on one line, cut when it is long, whatever its `__repr__` does.

    >>> shown("x" * 1000, most=8)
    "'xxxxxx…"
    """
    try:
        whole = repr(value)
        if "\n" in whole and hasattr(value, "shape"):
            text = f"a {type(value).__name__} of shape {value.shape}"
        else:
            text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(whole.split()))
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean `x`?` for the closest spelling or another word for the same, or nothing.

    >>> nearest("usr_id", ["user_id", "page"]), nearest("sep", ["separator"])
    (' Did you mean `user_id`?', ' Did you mean `separator`?')
    """
    known = list(known)
    by_lower = {k.lower(): k for k in reversed(known)}
    lower = name.lower()
    same = [word for word in _SAME.get(lower, ()) if word in by_lower]
    close = same or difflib.get_close_matches(lower, by_lower, n=1, cutoff=0.6)
    return f" Did you mean `{by_lower[close[0]]}`?" if close else ""


def there_are(names: Iterable[str]) -> str:
    """Return what there is to choose from, for a message.

    >>> there_are(["a", "b"]), there_are([])
    ('there are a, b', 'there is none')
    """
    known = list(names)
    return f"there are {listing(known)}" if known else "there is none"


def listing(names: Iterable[str], most: int = 12) -> str:
    """Return names for a message, cut when there are many.

    >>> listing(["a", "b"])
    'a, b'
    """
    names = list(names)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "nothing"


def is_ours(frame: FrameType) -> bool:
    """Tell whether a frame runs code of this package."""
    return frame.f_code.co_filename.startswith(_PACKAGE)


def user_line() -> str:
    """Return where the user's code called us: `In[4], line 3` in a notebook, else `file.py, line 3`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame):
        frame = frame.f_back
    if frame is None:
        return "unknown place"
    filename = frame.f_code.co_filename
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        label = shell.compile.format_code_name(filename)
        if label is not None:
            return f"{label[1].replace('Input ', '')}, line {frame.f_lineno}"
    return f"{Path(filename).name}, line {frame.f_lineno}"


def brief(error: BaseException, handled: BaseException | None) -> None:
    """Leave the user's frames in the traceback and take ours away: the message names the place.

    `handled` is what the caller was handling already; other errors on the way to this one are ours, too. A cause keeps
    all its frames unless it comes from the user's own code. With `DATAFLARE_TRACEBACK=full` everything stays.
    """
    if os.environ.get("DATAFLARE_TRACEBACK") == "full":
        return
    error.__traceback__ = _without(error.__traceback__, is_ours)
    cause = error.__cause__
    if cause is None:
        error.__context__ = handled
    elif _without(cause.__traceback__, lambda frame: is_ours(frame) or _is_library(frame)) is not None:
        cause.__traceback__ = _without(cause.__traceback__, is_ours)


def trimmed(function: F) -> F:
    """Have errors of ours leave a function without frames of ours, as `brief` says."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        handled = sys.exception()
        try:
            return function(*args, **options)
        except (DataflareError, KeyboardInterrupt) as error:
            brief(error, handled)
            raise

    return call  # type: ignore[return-value]


def _without(trace: TracebackType | None, left_out: Callable[[FrameType], bool]) -> TracebackType | None:
    kept = []
    while trace is not None:
        if not left_out(trace.tb_frame):
            kept.append(trace)
        trace = trace.tb_next
    for each in reversed(kept):
        # An interrupt may come where the code has no line.
        line = each.tb_lineno or each.tb_frame.f_code.co_firstlineno
        trace = TracebackType(trace, each.tb_frame, each.tb_lasti, line)
    return trace


def _is_library(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith((_STANDARD, "<frozen ")) or f"{os.sep}site-packages{os.sep}" in file


class located:  # noqa: N801 - reads as a word: `with located("filter"):`
    """Put the step and the user's line before what an error raised inside says, unless it names the line already."""

    __slots__ = ("_step", "where")

    def __init__(self, step: str, where: str = "") -> None:
        self._step = step
        self.where = where or user_line()

    def __enter__(self) -> str:
        return self.where

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DataflareError) and self.where not in str(error):
            told = str(error)
            for prefix in (self._step, self._step.replace("_", " ").split()[-1]):
                told = told.removeprefix(f"{prefix}: ")
            error.args = (f"{self._step} at {self.where}: {told}", *error.args[1:])
