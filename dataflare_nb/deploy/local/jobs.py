"""Run a bundle on a local cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ...graph import Graph
from ..remote.job import ClusterJob
from ..remote.rest import Rest
from ..remote.submit import Client

if TYPE_CHECKING:
    from .cluster import LocalCluster


def submitted(
    cluster: LocalCluster,
    folder: Path,
    graph: Graph,
    *,
    after: ClusterJob | None = None,
    parallelism: int | None = None,
) -> ClusterJob:
    """Submit a bundle, and return its job at once.

    `after` is a run that was stopped with a savepoint, and is gone on with, at another parallelism if that is said.
    """
    client = Client(cluster.environment, str(cluster.environment.python), cluster.run_client, cluster.lost)
    cluster.require_alive()
    own = Path(tempfile.mkdtemp(prefix="run-", dir=cluster.folder / "tmp"))
    return client.submit(Rest(cluster.url), folder, graph, cluster.target, own, after=after, parallelism=parallelism)
