"""A real Flink cluster on this machine: its environment, its processes, and jobs on it."""

from .cluster import LocalCluster
from .jobs import submitted

ClusterJob = submitted
"""What tests of the cluster call it."""

__all__ = ["ClusterJob", "LocalCluster", "submitted"]
