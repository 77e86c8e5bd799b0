"""A real Flink cluster on this machine: its environment, its processes, and jobs on it."""

from .cluster import LocalCluster
from .jobs import ClusterJob

__all__ = ["ClusterJob", "LocalCluster"]
