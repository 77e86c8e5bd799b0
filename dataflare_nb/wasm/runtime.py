"""Plugins called by hand: load one, call its functions with JSON or frames, see what it did."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Literal, TypeAlias, overload

import msgspec
import polars as pl

from ..errors import WasmConfiguration, WasmError, WasmInterrupted, WasmRuntimeError, listing, nearest, there_are
from ..signature import public
from ..types import Clock
from . import json_rows
from .abi import CALLABLE, FUNCTIONS, PluginType
from .aggregator import GROUP
from .alone import Alone
from .figures import Call, PluginStats
from .guest import Guest
from .hostcalls import HostFunctions
from .layout import ARROW_C, ARROW_IPC, JSON, TAKES_JSON
from .plugin import Plugin
from .session import Session

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Plugin"
Status: TypeAlias = Literal["ready", "busy", "failed", "closed"]
Output: TypeAlias = Literal["json", "frame"]

_ALONE = (PluginType.SOURCE, PluginType.DESTINATION)


@public
class WasmRuntime:
    """A place for plugins that are called by hand. Safe from any thread; a `with` block unloads them all.

    A Source and a Destination keep what they hold between calls, in one instance; calls into them take turns. Any other
    plugin may be called by several threads at once, and keeps nothing.

    >>> with WasmRuntime() as runtime:                                                        # doctest: +SKIP
    ...     runtime.load_plugin("plugins/carrier_code/plugin.json")
    ...     runtime.call_function("carrier_code", "process_data", [{"carrier": "AA"}])
    [{'airline': 'American Airlines Inc.'}]
    """

    def __init__(self, *, clock: Clock | None = None, seed: int | None = None) -> None:
        self._clock, self._seed = clock, seed
        self._lock = threading.Lock()
        self._loaded: dict[str, Loaded] = {}
        self._closed = False

    @property
    def status(self) -> dict[str, Status]:
        """How each plugin is: ready, busy, failed (its last call did), or closed."""
        with self._lock:
            return {plugin_id: loaded.status for plugin_id, loaded in self._loaded.items()}

    @property
    def plugins(self) -> dict[str, Plugin]:
        """The plugins that are loaded, by id."""
        with self._lock:
            return {plugin_id: loaded.plugin for plugin_id, loaded in self._loaded.items()}

    def load_plugin(self, config: Source) -> str:
        """Load a plugin, start it once, and return its id: its name, with a number if that is taken.

        `config` is the path of a plugin.json, the same as a dict, or a `Plugin`.
        """
        plugin = Plugin.load(config)
        loaded = Loaded(plugin, clock=self._clock, seed=self._seed)
        with self._lock:
            if not self._closed:
                plugin_id, number = plugin.name, 1
                while plugin_id in self._loaded:
                    number += 1
                    plugin_id = f"{plugin.name}-{number}"
                self._loaded[plugin_id] = loaded
                return plugin_id
        loaded.close()
        raise WasmRuntimeError("this runtime is closed; make another", plugin=plugin.name)

    def call_function(self, plugin_id: str, function: str, args: Any = (), *, output: Output | None = None) -> Any:
        """Call an export of a plugin: `process_data`, `read_data` ..., `plugin_init`, `plugin_cleanup`.

        `args` is a list of JSON values, an object for each row, or a frame; the answer comes in kind unless `output`
        says "json" or "frame". A plugin that takes JSON is handed the list as it is; to any other it goes as columns.
        `plugin_init` starts the plugin anew with `[config]`; `read_data` takes nothing and gives None at the end.
        """
        return self.loaded(plugin_id).call(function, args, output)

    def unload_plugin(self, plugin_id: str) -> None:
        """Let a plugin clean up, and free it. Calls that are under way in other threads are ended."""
        loaded = self.loaded(plugin_id)
        with self._lock:
            self._loaded.pop(plugin_id, None)
        loaded.close()

    @overload
    def stats(self, plugin_id: str) -> PluginStats: ...
    @overload
    def stats(self, plugin_id: None = None) -> dict[str, PluginStats]: ...
    def stats(self, plugin_id: str | None = None) -> PluginStats | dict[str, PluginStats]:
        """Return the `PluginStats` of a plugin, or of all by id."""
        if plugin_id is not None:
            return self.loaded(plugin_id).stats
        with self._lock:
            return {name: loaded.stats for name, loaded in self._loaded.items()}

    def loaded(self, plugin_id: str) -> Loaded:
        """Return what is known of a plugin by its id."""
        with self._lock:
            found = self._loaded.get(plugin_id)
            known = list(self._loaded)
        if found is None:
            raise WasmRuntimeError(
                f"no plugin `{plugin_id}` is loaded; {there_are(known)}.{nearest(str(plugin_id), known)}"
            )
        return found

    def close(self) -> None:
        """Unload every plugin. May be called twice."""
        with self._lock:
            self._closed = True
            ending, self._loaded = list(self._loaded.values()), {}
        for loaded in ending:
            loaded.close()

    def __enter__(self) -> WasmRuntime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"WasmRuntime({', '.join(f'{name}: {status}' for name, status in self.status.items())})"


class _Anew(Exception):  # noqa: N818 - tells a call to begin again
    """The plugin was started anew before the call had its instance."""


class Loaded:
    """One plugin in a runtime.

    `plugin_init` puts another session in the place of the one at hand; calls that are under way finish in theirs, and
    the last of them closes it.
    """

    def __init__(self, plugin: Plugin, *, clock: Clock | None = None, seed: int | None = None) -> None:
        self.plugin = plugin
        self._clock, self._seed = clock, seed
        self._lock = threading.Lock()
        self._before = PluginStats()
        self._closed = False
        self._alone: Alone | None = None
        self._session = self._started(plugin)
        self._lent: dict[Session, int] = {}

    @property
    def stats(self) -> PluginStats:
        """What the plugin has done, under all the configs it was started with."""
        with self._lock:
            stats = self._before
            for session in {self._session, *self._lent}:
                stats = session.figures.read() + stats
            return stats

    @property
    def status(self) -> Status:
        """ready, busy, failed if the last call did, or closed."""
        if self._closed:
            return "closed"
        with self._lock:
            known = (self._session, *self._lent)
        if any(session.figures.running for session in known):
            return "busy"
        return "failed" if self.stats.failures_in_a_row else "ready"

    def alive(self) -> None:
        """Start an instance, or raise what keeps it from starting."""
        with self._lending() as session:
            session.start()

    def call(self, function: str, args: Any, output: Output | None) -> Any:
        """Call one of the exports of the seed."""
        try:
            while True:
                with suppress(_Anew):
                    return self._called(function, args, output)
        except WasmInterrupted:
            raise WasmInterrupted("it was unloaded while it was called", plugin=self.plugin.name) from None

    def _called(self, function: str, args: Any, output: Output | None) -> Any:
        if function not in CALLABLE:
            raise WasmRuntimeError(
                f"`{function}` cannot be called; a plugin has {listing(CALLABLE)}.{nearest(str(function), CALLABLE)}",
                plugin=self.plugin.name,
            )
        if self._closed:
            raise WasmRuntimeError("it was unloaded", plugin=self.plugin.name)
        if function == "plugin_init" and not self._session.computes:
            return self._initialize(args)
        with self._lending() as session:
            return self._worked(session, function, args, output)

    def _worked(self, session: Session, function: str, args: Any, output: Output | None) -> Any:
        if not session.exports(function):
            raise WasmRuntimeError(
                f"it does not export `{function}`; it is a {self.plugin.config.type.value}, which has "
                f"`{FUNCTIONS[self.plugin.config.type]}`",
                plugin=self.plugin.name,
            )
        if function == "plugin_cleanup":
            return self._use(session, lambda guest, call: session.checked(guest, guest.call(function), call), last=True)
        as_frame = output == "frame" if output is not None else isinstance(args, pl.DataFrame)
        if session.computes:
            answer = session.call(self._frame(args))
            return answer if as_frame else self._rows(answer, function)
        if function == FUNCTIONS[PluginType.SOURCE]:
            return self._use(session, lambda guest, call: self._read(session, guest, call, as_frame))
        if function == FUNCTIONS[PluginType.AGGREGATOR]:
            return self._aggregate(session, args, as_frame)
        return self._work(session, function, args, as_frame)

    def close(self) -> None:
        """Free the plugin. May be called twice."""
        self._closed = True
        with self._lock:
            alone, self._alone = self._alone, None
            others = [session for session in self._lent if session is not self._session]
        if alone is not None and not self._session.figures.running:
            alone.close()
        for session in (self._session, *others):
            session.close()

    def _started(self, plugin: Plugin) -> Session:
        host = HostFunctions(plugin.name, clock=self._clock, seed=self._seed)
        session = Session(plugin, host=host)
        try:
            session.takes  # noqa: B018 - starts it
        except BaseException:
            session.close()
            raise
        return session

    @contextmanager
    def _lending(self) -> Iterator[Session]:
        with self._lock:
            session = self._session
            self._lent[session] = self._lent.get(session, 0) + 1
        try:
            yield session
        finally:
            self._give_back(session)

    def _give_back(self, session: Session) -> None:
        with self._lock:
            self._lent[session] -= 1
            if self._lent[session]:
                return
            del self._lent[session]
            if session is self._session:
                return
            self._before = session.figures.read() + self._before
        session.close()

    def _initialize(self, args: Any) -> int:
        """Start the plugin anew with another config; the old one stays if that fails."""
        values = list(args) if isinstance(args, Sequence) else [args]
        config = values[0] if values else self.plugin.config.config
        if len(values) > 1 or not isinstance(config, Mapping):
            raise WasmConfiguration("plugin_init takes one object, the config", plugin=self.plugin.name)
        session = self._started(self.plugin.with_config(config))
        with self._lock:
            old, alone = self._session, self._alone
            self._lent[old] = self._lent.get(old, 0) + 1
            self._session, self._alone, self.plugin = session, None, session.plugin
        try:
            if alone is not None:
                alone.close()
        finally:
            self._give_back(old)
        return 0

    def _use(self, session: Session, work: Callable[[Guest, Call], Any], *, last: bool = False) -> Any:
        """Work in the one instance of a Source or Destination, or in any of another plugin; `last` lets it go then."""
        if self.plugin.config.type not in _ALONE and not last:
            with session.figures.call() as call, session.pool.guest() as guest:
                return work(guest, call)
        with self._lock:
            if session is not self._session:
                raise _Anew
            if self._alone is None or not self._alone.alive:
                self._alone = Alone(session)
            alone = self._alone
        begun = False

        def begin(guest: Guest, call: Call) -> Any:
            nonlocal begun
            begun = True
            return work(guest, call)

        try:
            done = alone.use(begin)
        except WasmRuntimeError:
            if begun or session is self._session:
                raise
            raise _Anew from None
        if last:
            alone.let_go()
        return done

    def _work(self, session: Session, function: str, args: Any, as_frame: bool) -> Any:
        package = None if self._as_json(session, args) else session.packed(self._frame(args))
        height = len(args)

        def work(guest: Guest, call: Call) -> Any:
            if package is None:
                answer = session.call_json(guest, self._encoded(args), function, call, rows=height)
            else:
                answer = session.hand_over(guest, package, function, call, rows=height)
            return self._answer(session, guest, answer, function, call, as_frame) if answer else None

        return self._use(session, work)

    def _read(self, session: Session, guest: Guest, call: Call, as_frame: bool) -> Any:
        guest.call("df_reset")
        answer = session.checked(guest, guest.call("read_data"), call)
        return self._answer(session, guest, answer, "read_data", call, as_frame) if answer else None

    def _answer(self, session: Session, guest: Guest, address: int, function: str, call: Call, as_frame: bool) -> Any:
        """Return the answer as a frame, as JSON, or as the bytes it is."""
        kind = session.kind(guest, address)
        if kind in (ARROW_C, ARROW_IPC) or (kind == JSON and as_frame):
            frame = session.answer(guest, address, function, call, untyped=True)
            return frame if as_frame else self._rows(frame, function)
        data = session.raw(guest, address, call)[1]
        return session.json_of(data, guest) if kind == JSON else data

    def _aggregate(self, session: Session, args: Any, as_frame: bool) -> Any:
        """Return the value over all rows, as one row."""
        frame = self._frame(args)
        if not frame.height:
            raise WasmRuntimeError("there are no rows to aggregate", plugin=self.plugin.name)
        grouped = frame.with_columns(pl.lit(0, pl.UInt32).alias(GROUP))
        answer = session.call(grouped, function="aggregate_data", groups=1, rows=1, declared=False)
        if session.exports("df_final"):
            answer = session.call(answer, function="df_final", rows=1)
        return answer if as_frame else self._rows(answer, "aggregate_data")

    def _as_json(self, session: Session, args: Any) -> bool:
        return isinstance(args, Sequence) and bool(session.takes & TAKES_JSON)

    def _encoded(self, args: Any) -> bytes:
        try:
            return msgspec.json.encode(args)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise WasmRuntimeError(f"its arguments are not JSON: {error}", plugin=self.plugin.name) from error

    def _frame(self, args: Any) -> pl.DataFrame:
        if isinstance(args, pl.DataFrame):
            return args
        if isinstance(args, str | bytes) or not isinstance(args, Sequence):
            raise WasmRuntimeError(
                f"its arguments are a list of JSON values or a frame, not {type(args).__name__}",
                plugin=self.plugin.name,
            )
        try:
            return json_rows.untyped([dict(row) if isinstance(row, Mapping) else row for row in args])
        except WasmError as error:
            raise WasmRuntimeError(
                f"it takes no JSON, so its arguments have to be rows: {error}", plugin=self.plugin.name
            ) from error

    def _rows(self, frame: pl.DataFrame, function: str) -> Any:
        if function == FUNCTIONS[PluginType.FILTER] and frame.width == 1:
            return frame.to_series().to_list()
        return msgspec.json.decode(json_rows.written(frame))
