"""Source plugins: an instance for each split, read batch by batch, and gone on with from an offset."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence

import polars as pl

from ..errors import BadOption, SourceError, WasmBadOutput, WasmConfiguration, listing
from ..types import Batch, Clock, EndOfStream, Json, Schema
from .abi import DOORS, PluginType
from .alone import Alone
from .hostcalls import HostFunctions, Listener
from .plugin import Plugin
from .session import Session

WHOLE = "all"
"""The split of a source that names none."""
SPLIT = "split"
"""What a plugin finds its split under, in its config."""


class PluginSource:
    """Rows from a plugin. Each split is an instance whose config names it."""

    invalid_schema: Schema | None = None

    def __init__(
        self,
        plugin: Plugin,
        *,
        splits: Sequence[str] | None = None,
        bounded: bool = True,
        clock: Clock | None = None,
        seed: int | None = None,
    ) -> None:
        if plugin.config.type is not PluginType.SOURCE:
            raise BadOption(
                f"plugin {plugin.name} is a {plugin.config.type.value}; read_wasm takes a plugin of type Source. "
                f"A {plugin.config.type.value} goes into {DOORS[plugin.config.type]}"
            )
        self.plugin, self.bounded = plugin, bounded
        self.counters: dict[str, int] = {}
        self.hear: Listener | None = None
        self._named = splits if splits is not None else _splits(plugin)
        self._clock, self._seed = clock, seed
        self._schema = plugin.config.answers
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()

    @property
    def schema(self) -> Schema:
        """What its description says, or what its first batch has."""
        if self._schema is None:
            self._schema = self._first_schema()
        return self._schema

    def total_rows(self) -> int | None:
        return None

    def splits(self) -> Sequence[str]:
        return list(self._named or [WHOLE])

    def open(self, split: str, offset: Json | None = None) -> PluginReader:
        return PluginReader(self, split, offset)

    def interrupt(self) -> None:
        """Abort the running calls."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.interrupt()

    def session(self, split: str) -> Session:
        """Start a session that knows its split."""
        plugin = self._for(split)
        host = HostFunctions(
            plugin.name, clock=self._clock, seed=self._seed, count=self._count, stage=split, listen=self.hear
        )
        session = Session(plugin, host=host, count=self._count)
        with self._lock:
            self._sessions.add(session)
        return session

    def _for(self, split: str) -> Plugin:
        told = {SPLIT: split} if self._named else {}
        return self.plugin.with_config({**self.plugin.config.config, **told})

    def _first_schema(self) -> Schema:
        """Return the columns of the first batch, of an instance that is only asked for this."""
        plugin = self._for(self.splits()[0])
        session = Session(plugin, host=HostFunctions(plugin.name, clock=self._clock, seed=self._seed))
        try:
            alone = Alone(session)
            batch = alone.read()
            alone.close()
        finally:
            session.close()
        if batch is None:
            raise WasmConfiguration(
                "it gives no batch, so its columns are unknown; return one without rows, or say them in `schema` of "
                "its plugin.json",
                plugin=self.plugin.name,
            )
        return batch.schema

    def forget(self, session: Session) -> None:
        """Close a session."""
        with self._lock:
            self._sessions.discard(session)
        session.close()

    def _count(self, name: str, by: int) -> None:
        with self._lock:
            self.counters[name] = self.counters.get(name, 0) + by


class PluginReader:
    """One split being read.

    An offset is the plugin's own position before the batch that is being given out and the rows taken of it; for a
    plugin that does not tell its position, the rows read so far, which are read again and skipped.
    """

    def __init__(self, source: PluginSource, split: str, offset: Json | None) -> None:
        self._source, self._split = source, split
        self._batch: pl.DataFrame | None = None
        self._taken = self._rows = self._skip = 0
        self._position = ""
        self._ended = self._closed = False
        self._session = source.session(split)
        try:
            self._alone = Alone(self._session)
            self._tells = self._alone.has("df_offset") and self._alone.has("df_seek")
            self._go_to(offset or {})
        except BaseException:
            source.forget(self._session)
            raise

    def poll(self, max_rows: int) -> Batch:
        while self._left == 0 or self._skip:
            if self._left == 0 and not self._fetch():
                break
            step = min(self._skip, self._left)
            self._taken += step
            self._skip -= step
        if self._ended:
            if self._skip:
                raise SourceError(
                    f"plugin {self._source.plugin.name}, split {self._split}, ends {self._skip} rows before the place "
                    "where it is to go on; a source has to give the same rows again"
                )
            raise EndOfStream
        assert self._batch is not None
        batch = self._batch.slice(self._taken, max_rows)
        self._taken += batch.height
        self._rows += batch.height
        return batch

    def rejected(self) -> Batch | None:
        return None

    def offset(self) -> Json:
        if not self._tells:
            return {"rows": self._rows}
        if self._left == 0:
            self._pass()
        return {"position": self._position, "skip": self._taken + self._skip}

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._session.resume()
            self._alone.close()
            self._source.forget(self._session)

    @property
    def _left(self) -> int:
        return 0 if self._batch is None else self._batch.height - self._taken

    def _fetch(self) -> bool:
        """Take the next batch; tell whether it has rows."""
        self._pass()
        batch = None if self._ended else self._alone.read()
        if batch is None:
            self._ended = True
            return False
        if batch.schema != self._source.schema:
            raise WasmBadOutput(
                f"a batch has {dict(batch.schema)}, and the source {dict(self._source.schema)}",
                plugin=self._source.plugin.name,
            )
        self._batch = batch
        return batch.height > 0

    def _pass(self) -> None:
        """Leave the batch that has been given out, and note where the plugin is now."""
        if self._batch is not None:
            self._batch, self._taken = None, 0
            if self._tells:
                self._position = base64.b64encode(self._alone.bytes_from("df_offset")).decode()

    def _go_to(self, offset: Json) -> None:
        if "position" in offset:
            if not self._tells:
                raise SourceError(
                    f"plugin {self._source.plugin.name} was left at a position of its own, and no longer exports "
                    "df_offset and df_seek to go on from it"
                )
            self._position = str(offset["position"])
            if self._position:
                self._alone.bytes_to("df_seek", base64.b64decode(self._position))
            self._skip = int(offset.get("skip", 0))
        else:
            self._rows = self._skip = int(offset.get("rows", 0))


def _splits(plugin: Plugin) -> list[str] | None:
    found = plugin.config.config.get("splits")
    if found is None:
        return None
    if not isinstance(found, list) or not found or not all(isinstance(name, str) and name for name in found):
        raise WasmConfiguration(f"`splits` in its config is {found!r}, not a list of names", plugin=plugin.name)
    if len(set(found)) < len(found):
        raise WasmConfiguration(f"`splits` in its config names one twice: {listing(found)}", plugin=plugin.name)
    return found
