"""What a plugin has done so far: calls, rows, bytes, time, memory and errors."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType

from ..errors import WasmError, WasmInterrupted


@dataclass(frozen=True, slots=True)
class PluginStats:
    """Numbers of one plugin. `seconds` is time inside and around the guest, `memory_peak` the largest instance seen."""

    calls: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    memory_peak: int = 0
    errors: int = 0
    errors_by_kind: dict[str, int] = field(default_factory=dict)
    last_error: str | None = None
    failures_in_a_row: int = 0

    @property
    def rows_per_second(self) -> float:
        """Rows handed over for each second of work."""
        return self.rows_in / self.seconds if self.seconds else 0.0

    def __add__(self, other: PluginStats) -> PluginStats:
        return replace(
            self,
            calls=self.calls + other.calls,
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            bytes_in=self.bytes_in + other.bytes_in,
            bytes_out=self.bytes_out + other.bytes_out,
            seconds=self.seconds + other.seconds,
            memory_peak=max(self.memory_peak, other.memory_peak),
            errors=self.errors + other.errors,
            errors_by_kind=dict(Counter(self.errors_by_kind) + Counter(other.errors_by_kind)),
            last_error=self.last_error or other.last_error,
            failures_in_a_row=max(self.failures_in_a_row, other.failures_in_a_row),
        )


class Call:
    """One call under way, as a `with` block; what it moved is filled in on the way."""

    __slots__ = ("_figures", "_start", "bytes_in", "bytes_out", "memory", "rows_in", "rows_out")

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.rows_in = self.rows_out = self.bytes_in = self.bytes_out = self.memory = 0
        self._start = 0.0

    def __enter__(self) -> Call:
        self._figures.begin()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        counts = isinstance(error, WasmError) and not isinstance(error, WasmInterrupted)
        self._figures.end(self, time.perf_counter() - self._start, error if counts else None)


class Figures:
    """Counts calls. Safe from any thread.

    `count` is told the same as counters that only grow, called `plugin/calls`, `plugin/rows_in` ... so that a job can
    show them; `also` are figures that count along.
    """

    def __init__(
        self, plugin: str, *, count: Callable[[str, int], None] | None = None, also: Figures | None = None
    ) -> None:
        self._names = {
            what: f"{plugin}/{what}" for what in ("calls", "rows_in", "rows_out", "us", "memory_peak", "errors")
        }
        self._count, self._also = count, also
        self._lock = threading.Lock()
        self._totals = dict.fromkeys(("calls", "rows_in", "rows_out", "bytes_in", "bytes_out"), 0)
        self._seconds = 0.0
        self._memory_peak = self._in_a_row = 0
        self._kinds: dict[str, int] = {}
        self._last_error: str | None = None
        self.running = 0

    def read(self) -> PluginStats:
        """Return the numbers of this moment."""
        with self._lock:
            return PluginStats(
                **self._totals,
                seconds=self._seconds,
                memory_peak=self._memory_peak,
                errors=sum(self._kinds.values()),
                errors_by_kind=dict(self._kinds),
                last_error=self._last_error,
                failures_in_a_row=self._in_a_row,
            )

    def call(self) -> Call:
        """Return a call, to be used as a `with` block around it."""
        return Call(self)

    def begin(self) -> None:
        """Note that a call has begun."""
        with self._lock:
            self.running += 1

    def end(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """Count a call that has ended."""
        with self._lock:
            self.running -= 1
        self._add(call, seconds, error)

    def _add(self, call: Call, seconds: float, error: BaseException | None) -> None:
        with self._lock:
            totals = self._totals
            totals["calls"] += 1
            totals["rows_in"] += call.rows_in
            totals["rows_out"] += call.rows_out
            totals["bytes_in"] += call.bytes_in
            totals["bytes_out"] += call.bytes_out
            self._seconds += seconds
            grown = max(0, call.memory - self._memory_peak)
            self._memory_peak += grown
            self._in_a_row = 0 if error is None else self._in_a_row + 1
            if error is not None:
                kind = type(error).__name__
                self._kinds[kind] = self._kinds.get(kind, 0) + 1
                self._last_error = str(error)
        if self._also is not None:
            self._also._add(call, seconds, error)
        if self._count is not None:
            told = (1, call.rows_in, call.rows_out, round(seconds * 1e6), grown, int(error is not None))
            for name, by in zip(self._names.values(), told, strict=True):
                if by:
                    self._count(name, by)
