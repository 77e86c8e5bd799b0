"""Run a graph on Apache Flink: what the cluster is told, what it cannot do, and the bundle that takes it there."""

from .bundle import Bundle
from .deployment import Deployment
from .remote import ClusterJob, attach
from .render import Deployer, Refused
from .support import Unsupported
from .target import Autoscaler, Flink, Resources, Restart

__all__ = [
    "Autoscaler",
    "Bundle",
    "ClusterJob",
    "Deployer",
    "Deployment",
    "Flink",
    "Refused",
    "Resources",
    "Restart",
    "Unsupported",
    "attach",
]
