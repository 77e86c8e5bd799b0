"""The plan as data."""

from .graph import Graph
from .schema import Edge, TimeRef

__all__ = ["Edge", "Graph", "TimeRef"]
