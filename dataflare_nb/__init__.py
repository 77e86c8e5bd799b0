"""Interactive streaming dataflow for notebooks.

A stream is described, and runs when it is asked to:

    import dataflare_nb as flare
    import polars as pl

    hourly = (
        flare.read_parquet("flights.parquet")
        .event_time("scheduled", max_out_of_orderness="15m")
        .key_by("origin")
        .window(flare.tumbling("1h"), allowed_lateness="10m")
        .agg(flights=pl.len(), worst=pl.col("dep_delay").max())
    )
    hourly.collect()
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import errors, habits, wasm
from ._version import __version__
from .connectors.memory import MemoryBuffer
from .connectors.registry import register_sink, register_source
from .deploy import ClusterJob, Deployment, Flink, attach
from .engine import Job, job, jobs, stop_all
from .errors import DataflareError
from .graph import Graph
from .live import chart, table
from .parameters import Param, param, params
from .sources import from_frame, from_frames, load, rate, read, read_csv, read_ipc, read_ndjson, read_parquet, read_wasm
from .stream import Stream, run
from .wasm.udf import udf
from .windows import after_count, count, cumulative, every, global_window, hopping, session, tumbling

__all__ = [
    "ClusterJob",
    "DataflareError",
    "Deployment",
    "Flink",
    "Graph",
    "Job",
    "MemoryBuffer",
    "Param",
    "Stream",
    "__version__",
    "after_count",
    "attach",
    "chart",
    "count",
    "cumulative",
    "errors",
    "every",
    "from_frame",
    "from_frames",
    "global_window",
    "hopping",
    "job",
    "jobs",
    "load",
    "param",
    "params",
    "rate",
    "read",
    "read_csv",
    "read_ipc",
    "read_ndjson",
    "read_parquet",
    "read_wasm",
    "register_sink",
    "register_source",
    "run",
    "session",
    "stop_all",
    "table",
    "tumbling",
    "udf",
    "wasm",
]


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: Any) -> None:
    """Add the magics to a notebook, as `%load_ext dataflare_nb` asks for."""
    importlib.import_module(".notebook", __name__).load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away, as `%unload_ext dataflare_nb` asks for."""
    importlib.import_module(".notebook", __name__).unload(shell)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "testing":
            return importlib.import_module(".testing", __name__)
        raise AttributeError(f"dataflare_nb has no `{name}`.{habits.package_hint(name, __all__)}")
