"""A TaskManager that is lost, and what a cluster tells of itself when a test has waited in vain."""

from __future__ import annotations

import os
import signal

from dataflare_nb.deploy.local import LocalCluster


def kill(cluster: LocalCluster) -> None:
    """Kill one with its Python processes; the cluster puts another in its place."""
    pids = cluster.pids
    os.killpg(pids["taskmanager-0" if "taskmanager-0" in pids else "taskmanager-1"], signal.SIGKILL)


def told(cluster: LocalCluster) -> str:
    """Return how the cluster is, and the last lines of its processes."""
    names = sorted(log.stem for log in (cluster.folder / "log").glob("*.out"))
    seen = [f"{cluster.get('/overview')}", f"{cluster.pids} live"]
    seen += [f"{name}:\n{cluster.log_end(name, 60)}" for name in names]
    return "\n\n".join(seen)
