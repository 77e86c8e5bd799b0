"""A TaskManager that is lost."""

from __future__ import annotations

import os
import signal

from dataflare_nb.deploy.local import LocalCluster


def kill(cluster: LocalCluster) -> None:
    """Kill one with its Python processes, and let another take its place."""
    name = min(name for name in cluster.pids if name.startswith("taskmanager"))
    os.killpg(cluster.pids[name], signal.SIGKILL)
    cluster.start_task_manager()
