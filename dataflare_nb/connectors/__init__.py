"""Doors to the world: sources and sinks by name."""

from .files import REJECTED
from .frame import as_frame
from .memory import MemoryBuffer
from .options import Options, Resources
from .registry import (
    make_sink,
    make_source,
    register_sink,
    register_source,
    sink_names,
    sink_options,
    source_names,
    source_options,
)

__all__ = [
    "REJECTED",
    "MemoryBuffer",
    "Options",
    "Resources",
    "as_frame",
    "make_sink",
    "make_source",
    "register_sink",
    "register_source",
    "sink_names",
    "sink_options",
    "source_names",
    "source_options",
]
