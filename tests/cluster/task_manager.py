"""A TaskManager that is lost, and what a cluster tells of itself when a test has waited in vain."""

from __future__ import annotations

import os
import signal

from dataflare_nb.deploy.local import LocalCluster


def kill(cluster: LocalCluster) -> None:
    """Kill one with its Python processes, and let another take its place."""
    name = min(name for name in cluster.pids if name.startswith("taskmanager"))
    os.killpg(cluster.pids[name], signal.SIGKILL)
    cluster.start_task_manager()


def told(cluster: LocalCluster) -> str:
    """Return how the cluster is, and the last lines of its processes, of those that have ended too."""
    logs = sorted((cluster.folder / "log").glob("*.out"))
    seen = [f"{cluster.get('/overview')}", f"{cluster.pids} live"]
    seen += [f"{log.stem}:\n{cluster.log_end(log.stem, 60)}" for log in logs]
    return "\n\n".join(seen)
