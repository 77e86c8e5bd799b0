"""What a plugin has done so far: calls, rows, bytes, time, memory and errors."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

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


@dataclass(slots=True)
class Call:
    """One call under way; what it moved is filled in on the way."""

    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    memory: int = 0


class Figures:
    """Counts calls. Safe from any thread.

    `count` is told the same as counters that only grow, called `plugin/calls`, `plugin/rows_in` ... so that a job can
    show them; `also` are figures that count along.
    """

    def __init__(
        self, plugin: str, *, count: Callable[[str, int], None] | None = None, also: Figures | None = None
    ) -> None:
        self.plugin, self._count, self._also = plugin, count, also
        self._lock = threading.Lock()
        self._now = PluginStats()
        self.running = 0

    def read(self) -> PluginStats:
        """Return the numbers of this moment."""
        return self._now

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Count what happens inside as one call."""
        call = Call()
        with self._lock:
            self.running += 1
        start = time.perf_counter()
        error: WasmError | None = None
        try:
            yield call
        except WasmInterrupted:
            raise
        except WasmError as raised:
            error = raised
            raise
        finally:
            seconds = time.perf_counter() - start
            with self._lock:
                self.running -= 1
            self._add(call, seconds, error)

    def _add(self, call: Call, seconds: float, error: WasmError | None) -> None:
        with self._lock:
            before = self._now
            kinds = before.errors_by_kind
            if error is not None:
                kind = type(error).__name__
                kinds = {**kinds, kind: kinds.get(kind, 0) + 1}
            self._now = replace(
                before,
                calls=before.calls + 1,
                rows_in=before.rows_in + call.rows_in,
                rows_out=before.rows_out + call.rows_out,
                bytes_in=before.bytes_in + call.bytes_in,
                bytes_out=before.bytes_out + call.bytes_out,
                seconds=before.seconds + seconds,
                memory_peak=max(before.memory_peak, call.memory),
                errors=before.errors + (error is not None),
                errors_by_kind=kinds,
                last_error=str(error) if error is not None else before.last_error,
                failures_in_a_row=before.failures_in_a_row + 1 if error is not None else 0,
            )
            grown = self._now.memory_peak - before.memory_peak
        if self._also is not None:
            self._also._add(call, seconds, error)
        if self._count is not None:
            told = {
                "calls": 1,
                "rows_in": call.rows_in,
                "rows_out": call.rows_out,
                "us": round(seconds * 1e6),
                "memory_peak": grown,
                "errors": int(error is not None),
            }
            for name, by in told.items():
                if by:
                    self._count(f"{self.plugin}/{name}", by)
