"""The blobs of a graph as files, each called by the sha256 of what it holds; and read back."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import msgspec
import polars as pl

from ..connectors.frame import as_frame
from ..errors import GraphFormat
from ..wasm.kernel import Kernel
from ..wasm.plugin import Plugin, WasmPluginConfig
from . import functions
from .functions import Unportable

FOLDER = "blobs"


class Entry(msgspec.Struct, frozen=True):
    """One blob in the index of a bundle: what it is, and its files by part."""

    kind: str
    files: dict[str, str]


def write(blobs: Mapping[str, Any]) -> tuple[dict[str, Entry], dict[str, bytes]]:
    """Return the index, by key, and the files. Raises Unportable for a blob that is none."""
    index: dict[str, Entry] = {}
    files: dict[str, bytes] = {}
    for key, blob in sorted(blobs.items()):
        kind, parts = _parts(key, blob)
        named = {}
        for part, content in parts.items():
            place = f"{FOLDER}/{hashlib.sha256(content).hexdigest()}.{part}"
            files[place] = content
            named[part] = place
        index[key] = Entry(kind, named)
    return index, files


def read(index: Mapping[str, Entry], folder: Path) -> dict[str, Any]:
    """Return the blobs of a bundle, each checked against its name."""
    return {key: _read(entry, lambda place: _content(folder, place)) for key, entry in index.items()}


def portable(key: str, blob: Any) -> str | None:
    """Return why a blob cannot be a file, or nothing."""
    if isinstance(blob, FunctionType) or callable(blob):
        try:
            functions.write(blob)
        except Unportable as error:
            return str(error)
        return None
    return None if isinstance(blob, Kernel | Plugin) or _is_frame(blob) else f"`{key}` is a {type(blob).__name__}"


def _parts(key: str, blob: Any) -> tuple[str, dict[str, bytes]]:
    match blob:
        case Kernel():
            return "udf", {"wasm": blob.module}
        case Plugin():
            told = msgspec.to_builtins(blob.config)
            told |= {"module_path": "module.wasm", "sha256": blob.sha256}
            plain = {name: value for name, value in told.items() if value not in (None, {}) and name != "metadata"}
            return "plugin", {"json": msgspec.json.encode(plain, order="sorted"), "wasm": blob.module}
        case _ if _is_frame(blob):
            buffer = io.BytesIO()
            as_frame(blob).rechunk().write_ipc(buffer, compression="zstd")
            return "frame", {"arrow": buffer.getvalue()}
        case _ if callable(blob):
            return "function", {"function": functions.write(blob)}
    raise Unportable(f"`{key}` is a {type(blob).__name__}, which cannot be stored")


def _is_frame(blob: Any) -> bool:
    return isinstance(blob, pl.DataFrame) or hasattr(blob, "__arrow_c_stream__")


def _read(entry: Entry, content: Callable[[str], bytes]) -> Any:
    parts = {part: content(place) for part, place in entry.files.items()}
    match entry.kind:
        case "udf":
            return Kernel.load(parts["wasm"])
        case "plugin":
            return _plugin(parts)
        case "frame":
            return pl.read_ipc(io.BytesIO(parts["arrow"]))
        case "function":
            return functions.read(parts["function"])
    raise GraphFormat(f"the bundle holds a blob of the kind `{entry.kind}`, which this version does not know")


def _plugin(parts: Mapping[str, bytes]) -> Plugin:
    return Plugin.of(WasmPluginConfig.load(msgspec.json.decode(parts["json"])), parts["wasm"])


def _content(folder: Path, place: str) -> bytes:
    try:
        content = (folder / place).read_bytes()
    except OSError as error:
        raise GraphFormat(f"{place} of the bundle cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != Path(place).stem:
        raise GraphFormat(f"{place} of the bundle is not what its name says; it has been changed")
    return content
