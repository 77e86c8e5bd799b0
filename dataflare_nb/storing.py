"""A graph in a folder: its document, and beside it what the document only names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import polars as pl

from .errors import GraphError, GraphFormat, WasmError
from .graph import Graph, fingerprint
from .wasm.kernel import Kernel
from .wasm.plugin import Plugin, WasmPluginConfig

DOCUMENT = "graph.json"


def write(graph: Graph, folder: Path) -> None:
    """Write a graph so that `read` finds all of it again; the document comes last."""
    for item in graph.nodes.values():
        for key, blob in graph.blobs_of(item).items():
            if not isinstance(blob, Kernel | Plugin | pl.DataFrame):
                raise GraphError(
                    f"{item.kind} at {item.where} needs `{key}`, which lives in this process only; "
                    "use @flare.udf or a plugin for a function, and a sink for rows"
                )
    folder.mkdir(parents=True, exist_ok=True)
    for key, blob in graph.blobs.items():
        match blob:
            case Kernel():
                (folder / f"{key}.wasm").write_bytes(blob.module)
            case Plugin():
                _write_plugin(blob, folder / key)
            case pl.DataFrame():
                _write_frame(blob, folder / f"{key}.parquet")
    (folder / DOCUMENT).write_bytes(graph.to_json(indent=2))


def read(path: Path, blobs: Path | None = None) -> Graph:
    """Read a graph document or the folder of one; `blobs` is another folder for what it names."""
    if path.is_dir():
        path, blobs = path / DOCUMENT, blobs or path
    found = read_blobs(blobs) if blobs is not None else {}
    try:
        return Graph.from_json(path.read_bytes(), found)
    except GraphFormat as error:
        alone = blobs is None and "blobs=" in str(error)
        hint = " (on the command line: --blobs DIR), a folder; stream.save(DIR) writes both" if alone else ""
        raise GraphFormat(f"{path}: {error}{hint}") from None


def read_blobs(folder: Path) -> dict[str, Any]:
    """Read functions, plugins and frames, each by its key."""
    if not folder.is_dir():
        raise NotADirectoryError(f"blobs: {folder} is not a folder")
    blobs: dict[str, Any] = {path.parent.name: Plugin.load(path) for path in sorted(folder.glob("*/plugin.json"))}
    blobs |= {path.stem: _kernel(path) for path in sorted(folder.glob("*.wasm"))}
    blobs |= {path.stem: _frame(path) for path in sorted(folder.glob("*.parquet"))}
    for key, blob in blobs.items():
        if not _is(key, blob):
            raise GraphFormat(f"{folder / key} is not what its name says; its content has another sum")
    return blobs


def _write_plugin(plugin: Plugin, folder: Path) -> None:
    place = PurePosixPath(plugin.config.module_path)
    if place.is_absolute() or ".." in place.parts:
        raise GraphError(f"the plugin {plugin.name} has its module at {place}, outside of its folder; put it inside")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(plugin.module)
    (folder / "plugin.json").write_bytes(msgspec.json.format(msgspec.json.encode(_told(plugin.config)), indent=2))


def _told(config: WasmPluginConfig) -> Mapping[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(config).items() if value is not None}


def _write_frame(frame: pl.DataFrame, path: Path) -> None:
    try:
        frame.write_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise GraphError(f"the frame {path.stem} cannot be written: {str(error).splitlines()[0]}") from None


def _kernel(path: Path) -> Kernel:
    try:
        return Kernel.load(path.read_bytes())
    except WasmError as error:
        raise GraphFormat(f"{path}: {error}") from None


def _frame(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise GraphFormat(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None


def _is(key: str, blob: Any) -> bool:
    match blob:
        case Plugin():
            return key == fingerprint.of_plugin(blob.name, blob.sha256, repr(blob.config))
        case Kernel():
            _, dash, digest = key.rpartition("-")
            return bool(dash) and blob.sha256.startswith(digest)
        case _:
            return True
