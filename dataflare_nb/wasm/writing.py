"""Destination plugins: one instance that gets every batch, and may commit epoch by epoch."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import polars as pl

from ..errors import BadOption, UnknownColumn, listing, nearest
from ..types import Batch, Context, Json, Schema
from .abi import DOORS, PluginType
from .alone import Alone
from .hostcalls import HostFunctions, listener
from .plugin import Plugin
from .session import Session


class PluginSink:
    """Rows into a plugin, at least once: after a crash what came since the last checkpoint comes again.

    A plugin with `df_prepare` and `df_commit` can do better: it makes rows visible when their epoch is committed.
    """

    def __init__(self, plugin: Plugin, *, columns: Sequence[str] = (), seed: int | None = None) -> None:
        if plugin.config.type is not PluginType.DESTINATION:
            raise BadOption(
                f"plugin {plugin.name} is a {plugin.config.type.value}; write_wasm takes a plugin of type Destination. "
                f"A {plugin.config.type.value} goes into {DOORS[plugin.config.type]}"
            )
        self.plugin, self.columns, self._seed = plugin, tuple(columns), seed

    def check(self, schema: Schema) -> None:
        """Refuse columns that are not there or cannot go to the plugin, without writing anything."""
        for column in self.columns:
            if column not in schema:
                raise UnknownColumn(
                    f"plugin {self.plugin.name} reads `{column}`; the stream has {listing(schema)}."
                    + nearest(column, schema)
                )
        session = Session(self.plugin)
        try:
            frame = pl.DataFrame(schema=schema)
            session.packed(frame.select(self.columns) if self.columns else frame)
        finally:
            session.close()

    def open(self, ctx: Context, schema: Schema) -> PluginWriter:
        host = HostFunctions(
            self.plugin.name,
            clock=ctx.clock,
            seed=self._seed,
            count=ctx.count,
            stage=ctx.node_id,
            listen=listener(ctx),
        )
        return PluginWriter(Session(self.plugin, host=host, count=ctx.count), self.columns)


class PluginWriter:
    """One instance being written to."""

    def __init__(self, session: Session, columns: Sequence[str]) -> None:
        self._session, self._columns = session, list(columns)
        try:
            self._alone = Alone(session)
        except BaseException:
            session.close()
            raise
        self._commits = self._alone.has("df_prepare") and self._alone.has("df_commit")
        self._aborts = self._alone.has("df_abort")

    def write(self, batch: Batch) -> None:
        self._alone.write(batch.select(self._columns) if self._columns else batch)

    def prepare(self, epoch: int) -> Json:
        # A job that is stopped interrupts its guests, and commits what they were given after that.
        self._session.resume()
        if not self._commits:
            return {}
        return {"token": base64.b64encode(self._alone.bytes_from("df_prepare", epoch)).decode()}

    def commit(self, epoch: int, prepared: Json) -> None:
        self._session.resume()
        if self._commits and "token" in prepared:
            self._alone.bytes_to("df_commit", base64.b64decode(str(prepared["token"])), epoch)

    def abort(self) -> None:
        self._session.resume()
        if self._aborts and self._alone.alive:
            self._alone.bytes_from("df_abort")

    def interrupt(self) -> None:
        """Abort the running call."""
        self._session.interrupt()

    def close(self) -> None:
        self._alone.close()
        self._session.close()
