"""A bundle as a worker reads it: the graph with its blobs, the plan, and which vertex runs what."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ...errors import DataflareError, GraphFormat
from ...graph import Graph
from ...runtime.plan import Plan, StagePlan, plan
from ...types import Split
from .. import blobs, versions
from ..bundle import LOCK
from ..layout import Vertex


class Job(msgspec.Struct, frozen=True):
    """What job.json says."""

    name: str
    heads: tuple[str, ...]
    results: tuple[str, ...]
    key_groups: int
    partitions: int
    checkpoint_interval: int
    storage: str
    restart: dict[str, str]
    vertices: tuple[Vertex, ...]


class _Lock(msgspec.Struct, frozen=True):
    python: str
    packages: dict[str, str]
    files: dict[str, str]
    blobs: dict[str, blobs.Entry]


@dataclass(frozen=True)
class Loaded:
    """A job that can be run."""

    folder: Path
    job: Job
    graph: Graph
    plan: Plan

    @functools.cached_property
    def stages(self) -> dict[str, StagePlan]:
        """The stages by id, in topological order."""
        return {stage.id: stage for stage in self.plan.stages}

    @functools.cached_property
    def vertex_of(self) -> dict[str, int]:
        """The vertex that runs a stage."""
        return {stage: number for number, vertex in enumerate(self.job.vertices) for stage in vertex.stages}

    @functools.cached_property
    def branches(self) -> dict[str, tuple[Split, ...]]:
        """For each stage the branches that come in: what a spread vertex sends comes by share."""
        going: dict[str, tuple[Split, ...]] = {}
        coming: dict[str, tuple[Split, ...]] = {}
        for stage in self.plan.stages:
            ports = [self._sent(sender, stage.id, going[sender]) for sender, _ in stage.inputs]
            several = len(ports) > 1
            found = tuple((port, *each) if several else each for port, sent in enumerate(ports) for each in sent)
            coming[stage.id] = found or ((),)
            going[stage.id] = coming[stage.id] if stage.transparent and stage.source is None else ((),)
        return coming

    def spread(self, sender: str, receiver: str) -> bool:
        """Tell whether rows come from each share of a spread vertex."""
        before, after = self.vertex_of[sender], self.vertex_of[receiver]
        return before != after and self.job.vertices[before].keys is not None

    def _sent(self, sender: str, receiver: str, branches: tuple[Split, ...]) -> tuple[Split, ...]:
        if not self.spread(sender, receiver):
            return branches
        return tuple((share, *each) for share in range(self.job.partitions) for each in branches)


@functools.lru_cache(maxsize=4)
def load(folder: Path) -> Loaded:
    """Read a bundle. Raises DataflareError if it was made for another Python or Polars, or has been changed."""
    lock = msgspec.json.decode((folder / LOCK).read_bytes(), type=_Lock)
    _require("Python", lock.python.rpartition(".")[0], versions.PYTHON.rpartition(".")[0])
    for package, wanted in lock.packages.items():
        if package in ("polars", "dataflare-nb"):
            _require(package, wanted, versions.pins()[package])
    job = msgspec.json.decode(_content(folder, "job.json", lock), type=Job)
    graph = Graph.from_json(_content(folder, "graph.json", lock), blobs.read(lock.blobs, folder))
    return Loaded(folder, job, graph, plan(graph))


def _content(folder: Path, name: str, lock: _Lock) -> bytes:
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != lock.files.get(name):
        raise GraphFormat(f"{name} of the bundle is not what {LOCK} says; it has been changed, deploy() writes it anew")
    return content


def _require(what: str, wanted: str, found: Any) -> None:
    if wanted != found:
        raise DataflareError(
            f"the bundle was made with {what} {wanted}, and this worker has {found}; build the image from the bundle"
        )
