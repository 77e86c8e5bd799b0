"""Jobs on Flink clusters, by the REST interface: find one, watch it, steer it."""

from .attach import attach
from .job import ClusterJob

__all__ = ["ClusterJob", "attach"]
