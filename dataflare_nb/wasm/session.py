"""Speak dfx/1 with a plugin: start it, hand it a frame, read the frame it answers."""

from __future__ import annotations

import msgspec
import polars as pl

from ..errors import WasmBadOutput, WasmConfiguration, WasmMemoryLimit, WasmPluginLoad
from .calls import Signature
from .guest import Guest
from .hostcalls import HostFunctions
from .inbound import Parcel, columns_of
from .layout import BATCH, SLICE
from .outbound import Reader
from .plugin import FUNCTIONS, Plugin
from .pool import Pool
from .traps import GuestError
from .trust import enforce

ABI_VERSION = 1
SPEAKS_ARROW_C = 4
_WORK: Signature = (("i32", "i32"), ("i32",))
_REQUIRED: dict[str, Signature] = {
    "df_abi_version": ((), ("i32",)),
    "df_formats": ((), ("i32",)),
    "df_alloc": (("i32",), ("i32",)),
    "df_reset": ((), ()),
}
_OPTIONAL: dict[str, Signature] = {
    "plugin_init": _WORK,
    "plugin_cleanup": ((), ("i32",)),
    "df_last_error": ((), ("i32",)),
    "_initialize": ((), ()),
}
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
    and may be replaced at any time.
    """

    def __init__(
        self, plugin: Plugin, function: str | None = None, *, host: HostFunctions | None = None, fast: bool = True
    ) -> None:
        self.plugin = plugin
        self.function = function or FUNCTIONS[plugin.config.type]
        self.host = host or HostFunctions(plugin.name)
        self._settings = msgspec.json.encode(plugin.config.config)
        enforce(plugin)
        refused = plugin.config.security_policy.refused()
        if refused:
            raise WasmConfiguration("; ".join(refused), plugin=plugin.name)
        self.pool = Pool(
            plugin.module,
            name=plugin.name,
            exports={**_REQUIRED, self.function: _WORK},
            optional=_OPTIONAL,
            limits=plugin.config.limits,
            host=self.host,
            policy=plugin.config.security_policy,
            settings=self._settings,
            prepare=self._start,
            share=True,
            fast=fast,
        )

    def call(self, frame: pl.DataFrame, *, rows: int | None = None) -> pl.DataFrame:
        """Hand a frame to the plugin and return its answer, which must have `rows` rows if that is given."""
        parcel = Parcel(columns_of(frame), frame.height)
        with self.pool.guest(parcel.digest) as guest:
            guest.call("df_reset")
            at = self._allocate(guest, parcel.size, f"a batch of {frame.height} rows")
            parcel.write(guest.memory.base, at)
            answer = guest.call(self.function, at, BATCH.size)
            if answer < 0:
                raise self._reported(guest, answer)
            if answer == 0:
                raise WasmBadOutput(
                    f"`{self.function}` returned nothing for {frame.height} rows", plugin=self.plugin.name
                )
            try:
                return Reader(guest.memory, budget=guest.limits.memory).frame(answer, rows=rows)
            except WasmBadOutput as error:
                raise WasmBadOutput(str(error), plugin=self.plugin.name) from None

    def interrupt(self) -> None:
        """Abort the running calls."""
        self.pool.interrupt()

    def close(self) -> None:
        """Free the instances. May be called twice."""
        self.pool.close()

    def _start(self, guest: Guest) -> None:
        if guest.has("_initialize"):
            guest.call("_initialize")
        version = guest.call("df_abi_version")
        if version != ABI_VERSION:
            raise WasmPluginLoad(f"it speaks version {version} of the interface, we {ABI_VERSION}", plugin=guest.name)
        if not guest.call("df_formats") & SPEAKS_ARROW_C:
            raise WasmPluginLoad("it does not take Arrow batches; set bit 4 of df_formats", plugin=guest.name)
        if guest.has("plugin_init"):
            at = self._allocate(guest, len(self._settings), "its config")
            guest.memory.copy_in(at, self._settings, len(self._settings))
            code = guest.call("plugin_init", at, len(self._settings))
            if code:
                raise WasmConfiguration(str(self._reported(guest, code, named=False)), plugin=guest.name)

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
        try:
            return guest.memory.check(at, size, "what df_alloc returned")
        except WasmBadOutput as error:
            raise WasmBadOutput(str(error), plugin=self.plugin.name) from None

    def _reported(self, guest: Guest, code: int, *, named: bool = True) -> Exception:
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
        try:
            where, length, _, _ = guest.memory.unpack(SLICE, at, "the returned error")
            return guest.memory.read(where, min(length, _MOST_ERROR_TEXT), "its text").decode(errors="replace")
        except WasmBadOutput as error:
            raise WasmBadOutput(str(error), plugin=self.plugin.name) from None
