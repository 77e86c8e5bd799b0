"""An instance of a plugin for oneself: what it keeps between calls is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

import polars as pl

from ..errors import WasmError, WasmRuntimeError
from .figures import Call
from .guest import Guest
from .session import Session
from .traps import GuestError

T = TypeVar("T")


class _LetGo(Exception):  # noqa: N818 - tells the pool to throw the instance away
    """The instance is not to be used by others."""


class Alone:
    """One instance, lent from a session's pool until `close`, and called by one thread at a time.

    After a trap, a timeout or an answer that does not hold it is gone, and so is what it kept.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lock = threading.Lock()
        self._lending = session.pool.guest(fresh=True)
        self._guest: Guest | None = self._lending.__enter__()

    @property
    def alive(self) -> bool:
        """Whether it can still be called."""
        return self._guest is not None

    def has(self, export: str) -> bool:
        """Tell whether the plugin has an optional export."""
        return self._guest is not None and self._guest.has(export)

    def write(self, frame: pl.DataFrame, function: str = "write_data") -> None:
        """Hand a frame over; an answer is not read."""
        package = self.session.packed(frame)
        self.use(lambda guest, call: self.session.hand_over(guest, package, function, call, rows=frame.height))

    def read(self) -> pl.DataFrame | None:
        """Return the next batch of a source, None after the last."""

        def ask(guest: Guest, call: Call) -> pl.DataFrame | None:
            guest.call("df_reset")
            answer = self.session.checked(guest, guest.call("read_data"), call)
            return self.session.answer(guest, answer, "read_data", call) if answer else None

        return self.use(ask)

    def bytes_from(self, function: str, *args: int) -> bytes:
        """Call an export that returns bytes of the guest's own; none if it returns 0."""

        def ask(guest: Guest, call: Call) -> bytes:
            guest.call("df_reset")
            answer = self.session.checked(guest, guest.call(function, *args), call)
            return self.session.bytes_of(guest, answer, call) if answer else b""

        return self.use(ask)

    def bytes_to(self, function: str, data: bytes, *before: int) -> None:
        """Call an export that takes bytes of the guest's own, and perhaps numbers before them."""

        def give(guest: Guest, call: Call) -> None:
            guest.call("df_reset")
            where = self.session.place(guest, data, "what it once returned")
            self.session.checked(guest, guest.call(function, *before, *where), call)

        self.use(give)

    def use(self, work: Callable[[Guest, Call], T]) -> T:
        """Do something with the instance, its time just started."""
        with self._lock:
            guest = self._guest
            if guest is None:
                raise WasmRuntimeError(
                    "its instance is gone, after an error or a close; start another", plugin=self.session.plugin.name
                )
            with self.session.figures.call() as call:
                try:
                    guest.arm()
                    return work(guest, call)
                except GuestError:
                    raise
                except BaseException as error:
                    self._leave(type(error), error, error.__traceback__)
                    raise

    def close(self) -> None:
        """Let the plugin clean up and free the instance. May be called twice."""
        with self._lock:
            guest = self._guest
            if guest is None:
                return
            with suppress(WasmError):
                if guest.has("plugin_cleanup"):
                    guest.arm()
                    guest.call("plugin_cleanup")
            self._leave(_LetGo, _LetGo(), None)

    def let_go(self) -> None:
        """Free the instance, which has cleaned up."""
        with self._lock:
            if self._guest is not None:
                self._leave(_LetGo, _LetGo(), None)

    def _leave(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self._guest = None
        with suppress(_LetGo):
            self._lending.__exit__(kind, error, trace)
