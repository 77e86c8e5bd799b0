"""Speak dfx/1 with a plugin: start it, hand it a frame, read the frame it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import polars as pl

from ..errors import WasmBadOutput, WasmConfiguration, WasmError, WasmMemoryLimit, WasmPluginLoad
from . import json_rows
from .abi import ABI_VERSION, KNOWN, PluginType, required
from .figures import Call, Figures
from .formats import KNOWN as FORMATS
from .formats import Bytes, Package, pack
from .guest import Guest
from .hostcalls import HostFunctions, tame
from .kernel_plugin import KernelSession, is_kernel
from .layout import BYTES, JSON, SLICE, TAKES_JSON
from .outbound import Reader
from .plugin import FUNCTIONS, Plugin
from .pool import Pool
from .traps import GuestError
from .trust import enforce

T = TypeVar("T")
_CODES = {
    -1: "its config does not hold",
    -2: "it does not accept this input",
    -3: "a column has a type it does not accept",
    -4: "it ran out of memory",
    -5: "it failed",
    -6: "it does not support this",
}
_MOST_ERROR_TEXT = 4096


class Session:
    """Calls into one plugin, from any number of threads.

    Calls keep nothing from one to the next as far as the host can tell: an instance is picked at random
    and may be replaced at any time. What has to be kept is kept in an instance of one's own, see `Alone`.
    """

    def __init__(
        self,
        plugin: Plugin,
        function: str | None = None,
        *,
        host: HostFunctions | None = None,
        count: Callable[[str, int], None] | None = None,
        fast: bool = True,
    ) -> None:
        self.plugin = plugin
        self.function = function or FUNCTIONS[plugin.config.type]
        self.host = host or HostFunctions(plugin.name)
        self.figures = Figures(plugin.name, count=count, also=plugin.figures)
        self._answers = plugin.config.answers
        self._takes: int | None = None
        self._exports: frozenset[str] = frozenset()
        self._settings = msgspec.json.encode(plugin.config.config)
        enforce(plugin.signed)
        self._kernel: KernelSession | None = None
        refused = plugin.config.security_policy.refused()
        if refused:
            raise WasmConfiguration("; ".join(refused), plugin=plugin.name)
        if is_kernel(plugin.module):
            self._kernel = KernelSession(plugin, fast=fast)
            self.pool = self._kernel.calls.pool
            return
        self.pool = Pool(
            plugin.module,
            name=plugin.name,
            exports={**required(plugin.config.type), self.function: KNOWN[self.function]},
            optional=KNOWN,
            limits=plugin.config.limits,
            host=self.host,
            policy=plugin.config.security_policy,
            settings=self._settings,
            prepare=self._start,
            share=True,
            fast=fast,
        )

    @property
    def takes(self) -> int:
        """The formats that the plugin takes, as bits; an instance is started to know."""
        self._know()
        return self._takes or 0

    def exports(self, name: str) -> bool:
        """Tell whether the plugin has an optional export; an instance is started to know."""
        self._know()
        return name in self._exports

    @property
    def computes(self) -> bool:
        """Whether this is a compiled function, which takes its columns and knows no format."""
        return self._kernel is not None

    def start(self) -> None:
        """Start an instance, or raise what keeps it from starting."""
        with self.pool.guest() as guest:
            if self._kernel is None:
                guest.call("df_abi_version")

    def _know(self) -> None:
        if self._takes is not None:
            return
        if self._kernel is not None:
            self.start()
            self._exports, self._takes = frozenset({self.function}), 0
        else:
            with self.pool.guest() as guest:
                self._exports = frozenset(name for name in KNOWN if guest.has(name))
                self._takes = guest.call("df_formats") & FORMATS

    def call(
        self,
        frame: pl.DataFrame,
        *,
        rows: int | None = None,
        function: str | None = None,
        groups: int | None = None,
        declared: bool = True,
        untyped: bool = False,
    ) -> pl.DataFrame:
        """Hand a frame to the plugin and return its answer, which must have `rows` rows if that is given.

        `groups` is told to an aggregator before. `declared` says that the columns are those of the plugin's `schema`;
        JSON is refused where there is none, unless `untyped` lets its types be found out.
        """
        if self._kernel is not None:
            return self._compute(self._kernel, frame)
        name = function or self.function
        package = self.packed(frame)
        with self.figures.call() as call, self.pool.guest(package.digest) as guest:
            answer = self.hand_over(guest, package, name, call, rows=frame.height, groups=groups)
            if answer == 0:
                raise WasmBadOutput(f"`{name}` returned nothing for {frame.height} rows", plugin=self.plugin.name)
            return self.answer(guest, answer, name, call, rows=rows, declared=declared, untyped=untyped)

    def _compute(self, kernel: KernelSession, frame: pl.DataFrame) -> pl.DataFrame:
        with self.figures.call() as call:
            call.rows_in, call.bytes_in = frame.height, int(frame.estimated_size())
            try:
                answer = kernel.call(frame)
            finally:
                call.memory = self.pool.memory_peak
            call.rows_out, call.bytes_out = answer.height, int(answer.estimated_size())
            return answer

    def packed(self, frame: pl.DataFrame) -> Package:
        """Return a frame in the best format that the plugin takes."""
        try:
            return pack(frame, self.takes)
        except WasmError as error:
            if error.plugin is not None:
                raise
            raise type(error)(str(error), plugin=self.plugin.name) from error

    def hand_over(
        self,
        guest: Guest,
        package: Package,
        function: str,
        call: Call,
        *,
        rows: int = 0,
        groups: int | None = None,
    ) -> int:
        """Copy a package into a guest and call an export on it; return what it returned, which is no error."""
        if not guest.has(function):
            raise WasmPluginLoad(f"it does not export `{function}`", plugin=self.plugin.name)
        guest.call("df_reset")
        if guest.has("df_format"):
            guest.call("df_format", package.format)
        if groups is not None:
            guest.call("df_groups", groups)
        at = self._allocate(guest, package.size, f"a batch of {rows} rows")
        package.write(guest.memory.base, at)
        call.rows_in += rows
        call.bytes_in += package.size
        return self.checked(guest, guest.call(function, at, package.length), call)

    def checked(self, guest: Guest, code: int, call: Call) -> int:
        """Return what an export returned unless it is an error; note how much memory the guest has now."""
        call.memory = max(call.memory, guest.memory.size)
        if code < 0:
            raise self._reported(guest, code)
        return code

    def answer(
        self,
        guest: Guest,
        address: int,
        function: str,
        call: Call,
        *,
        rows: int | None = None,
        declared: bool = True,
        untyped: bool = False,
    ) -> pl.DataFrame:
        """Read the frame that a guest answered with."""
        mask = function == FUNCTIONS[PluginType.FILTER]
        schema = self._answers if declared and not mask else None
        reader = Reader(guest.memory, budget=guest.limits.memory)
        frame = self._read(lambda: reader.frame(address, rows=rows, schema=schema, mask=mask, untyped=untyped))
        call.rows_out += frame.height
        call.bytes_out += int(frame.estimated_size())
        return frame

    def raw(self, guest: Guest, address: int, call: Call) -> tuple[int, bytes]:
        """Read the format and the bytes that a guest answered with; no bytes if it is an Arrow C batch."""
        kind, data = self._read(lambda: Reader(guest.memory, budget=guest.limits.memory).raw(address))
        call.bytes_out += len(data)
        return kind, data

    def json_of(self, data: bytes, guest: Guest) -> Any:
        """Return what a guest answered in JSON."""
        return self._read(lambda: json_rows.decoded(data, budget=guest.limits.memory))

    def kind(self, guest: Guest, address: int) -> int:
        """Return the format of an answer."""
        return self._read(lambda: Reader(guest.memory, budget=guest.limits.memory).kind(address))

    def call_json(self, guest: Guest, value: bytes, function: str, call: Call, *, rows: int = 0) -> int:
        """Hand JSON over as it is."""
        return self.hand_over(guest, Bytes(value, JSON), function, call, rows=rows)

    def bytes_of(self, guest: Guest, address: int, call: Call) -> bytes:
        """Read bytes that mean something to the guest only, such as its position."""
        kind, data = self.raw(guest, address, call)
        if kind != BYTES:
            raise WasmBadOutput(f"it returned format {kind} where bytes (format 0) belong", plugin=self.plugin.name)
        return data

    def interrupt(self) -> None:
        """Abort the running calls."""
        self.pool.interrupt()

    def resume(self) -> None:
        """Take calls again after an interrupt."""
        self.pool.resume()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        self.pool.close()

    def _read(self, work: Callable[[], T]) -> T:
        """Read what a guest has written; what does not hold is put down to the plugin."""
        try:
            return work()
        except (WasmBadOutput, WasmConfiguration) as error:
            raise type(error)(str(error), plugin=self.plugin.name) from error

    def _start(self, guest: Guest) -> None:
        if guest.has("_initialize"):
            guest.call("_initialize")
        version = guest.call("df_abi_version")
        if version != ABI_VERSION:
            raise WasmPluginLoad(f"it speaks version {version} of the interface, we {ABI_VERSION}", plugin=guest.name)
        self._refuse_formats(guest, guest.call("df_formats") & FORMATS)
        if guest.has("plugin_init"):
            code = self.initialize(guest, self._settings)
            if code:
                raise WasmConfiguration(str(self._reported(guest, code, named=False)), plugin=guest.name)

    def _refuse_formats(self, guest: Guest, takes: int) -> None:
        if not takes:
            raise WasmPluginLoad(
                "it takes no format; df_formats returns bits: 1 JSON, 2 Arrow IPC, 4 Arrow C data", plugin=guest.name
            )
        if takes.bit_count() > 1 and not guest.has("df_format"):
            raise WasmPluginLoad(
                f"df_formats returns {takes}, which is several formats, and it does not export df_format(i32) to be "
                "told which one comes",
                plugin=guest.name,
            )
        if self.plugin.config.type is PluginType.AGGREGATOR and takes == TAKES_JSON:
            raise WasmPluginLoad("an aggregator has to take Arrow; set bit 2 or 4 of df_formats", plugin=guest.name)

    def initialize(self, guest: Guest, settings: bytes) -> int:
        """Call `plugin_init` and return its code."""
        at = self._allocate(guest, len(settings), "its config")
        guest.memory.copy_in(at, settings, len(settings))
        code: int = guest.call("plugin_init", at, len(settings))
        return code

    def place(self, guest: Guest, data: bytes, what: str) -> tuple[int, int]:
        """Copy bytes into a guest; return where they are and how many."""
        at = self._allocate(guest, len(data), what)
        guest.memory.copy_in(at, data, len(data))
        return at, len(data)

    def _allocate(self, guest: Guest, size: int, what: str) -> int:
        at: int = guest.call("df_alloc", size) if size < 1 << 31 else 0
        if at == 0:
            raise WasmMemoryLimit(
                f"{what} needs {size} bytes and the guest has {guest.memory.size} of at most {guest.limits.memory}; "
                "raise max_memory, or send smaller batches",
                plugin=self.plugin.name,
            )
        if at % 64:
            raise WasmBadOutput(f"df_alloc returned {at}, which is not a multiple of 64", plugin=self.plugin.name)
        return self._read(lambda: guest.memory.check(at, size, "what df_alloc returned"))

    def _reported(self, guest: Guest, code: int, *, named: bool = True) -> WasmError:
        said = self._last_error(guest)
        meaning = _CODES.get(code, f"error {code}")
        text = f"{meaning}: {said}" if said else meaning
        plugin = self.plugin.name if named else None
        if code == -4:
            return WasmMemoryLimit(f"{text} (max_memory is {guest.limits.memory} bytes)", plugin=plugin)
        return GuestError(text, code, plugin=plugin)

    def _last_error(self, guest: Guest) -> str:
        if not guest.has("df_last_error"):
            return ""
        at = guest.call("df_last_error")
        if at <= 0:
            return ""
        where, length, _, _ = self._read(lambda: guest.memory.unpack(SLICE, at, "the returned error"))
        text = self._read(lambda: guest.memory.read(where, min(length, _MOST_ERROR_TEXT), "its text"))
        return tame(text.decode(errors="replace"))
