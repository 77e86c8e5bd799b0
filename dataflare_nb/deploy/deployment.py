"""A bundle that has been written: its files, its graph with parallelism, and what to do next."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from .. import dtypes
from ..errors import BadOption, JobStopped, WrongType, listing, located, user_line
from ..graph import Graph, fingerprint, node
from ..runtime.plan import plan
from ..signature import public
from ..windows import Every
from . import display, support
from .bundle import Bundle
from .comparison import Comparison
from .layout import describe
from .local import LocalCluster, submitted
from .remote import ClusterJob
from .remote.submit import submit_to
from .render import Deployer
from .target import Flink


@public
@dataclass(frozen=True, slots=True)
class Deployment:
    """What `Stream.deploy` returns. As the last line of a cell it shows itself."""

    bundle: Bundle
    graph: Graph
    target: Flink
    folder: Path
    heads: tuple[str, ...] = ()
    cluster: LocalCluster | None = None
    collect: Callable[[Graph, str], pl.DataFrame] | None = field(default=None, repr=False)
    """Runs a graph in this process, to compare with."""
    jobs: list[ClusterJob] = field(default_factory=list, repr=False, compare=False)
    """The runs of this bundle, the newest last."""

    @property
    def name(self) -> str:
        """The job's name on the cluster."""
        return self.bundle.name

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files, in the folder."""
        return tuple(self.bundle.files)

    @property
    def parallelism(self) -> dict[str, int]:
        """In how many instances each stage runs."""
        return dict(describe(self.graph, plan(self.graph), self.target))

    @property
    def notes(self) -> list[str]:
        """What the cluster must have, and what stays as it is."""
        return support.notes(self.graph)

    @property
    def commands(self) -> list[str]:
        """What to run next, in a shell."""
        lines = self.bundle.files["README.md"].decode().splitlines()
        return [f"cd {self.folder}", *(line.strip() for line in lines if line.startswith("    "))]

    def submit(
        self,
        url: str | None = None,
        *,
        after: ClusterJob | None = None,
        parallelism: int | None = None,
        headers: Mapping[str, str] | None = None,
        python: str | None = None,
    ) -> ClusterJob:
        """Run the bundle, and return its job at once: on the cluster of this machine that it was made for, or at `url`.

        `after` is a run that was stopped with a savepoint, and is gone on with; `parallelism` is that of the windows.
        The TaskManagers at `url` must find the bundle at the same path, and there `python` with the packages of its
        requirements.txt; without `python` it is the environment that is made here.
        """
        with located("submit"):
            how: dict[str, Any] = {"after": after, "parallelism": parallelism}
            if url is None:
                made = submitted(self._local(), self.folder, self.graph, **how)
            else:
                made = submit_to(url, self.folder, self.graph, self.target, headers=headers, python=python, **how)
        self.jobs.append(made)
        return made

    def result(self, timeout: float | None = None) -> pl.DataFrame:
        """Wait for the newest run, and return its rows. Raises JobError if it has failed."""
        if not self.jobs:
            raise JobStopped(f"{self.name} has not been run; .submit() it first")
        return self.jobs[-1].wait(timeout).result(self.heads[0])

    def compare(self, frame: pl.DataFrame | None = None, *, timeout: float | None = None) -> Comparison:
        """Run bounded input on the cluster and in this process, and compare the rows.

        The input is `frame` in place of the source, or what the stream itself reads.
        """
        assert self.collect is not None
        if frame is not None and not isinstance(frame, pl.DataFrame):
            raise WrongType(f"compare at {user_line()}: frame is {type(frame).__name__}; it is a pl.DataFrame")
        graph = self.graph if frame is None else _reading(self.graph, frame)
        (head,) = self.heads
        if isinstance(graph.nodes[node.split_ref(head)[0]], node.Write):
            # What comes before a sink can be looked at.
            (head,) = graph.nodes[head].inputs
        graph = graph.upstream([head])
        if not graph.edge(head).bounded:
            raise BadOption(
                f"compare at {user_line()} needs input that ends; give it rows: compare(frame), or bound the source"
            )
        windows = (item for item in graph if isinstance(item, node.Window))
        if clocked := next((item for item in windows if isinstance(item.early, Every)), None):
            raise BadOption(
                f"compare at {user_line()}: `{clocked.id}` tells early results by the clock, {clocked.early}, and "
                "how many differs from run to run; compare it without `early`, or with early=after_count(n)"
            )
        cluster = self._local()
        with tempfile.TemporaryDirectory(prefix="dataflare-compare-") as folder:
            bundle = Deployer(self.target).render(graph, [head])
            job = submitted(cluster, bundle.write(Path(folder) / "bundle"), graph)
            try:
                found = job.wait(timeout).result(head)
            finally:
                job.stop()
        return Comparison.of(found, self.collect(graph, head))

    def _local(self) -> LocalCluster:
        if self.cluster is None:
            raise BadOption(
                "this bundle is for Kubernetes; deploy to flare.Flink.local() to run it on a cluster of this machine"
            )
        return self.cluster

    def __repr__(self) -> str:
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)


def _reading(graph: Graph, frame: pl.DataFrame) -> Graph:
    """Return the graph with a frame in place of its source."""
    sources = [item for item in graph if isinstance(item, node.Read)]
    if len(sources) != 1:
        raise BadOption(f"compare(frame) is for one source, and there are {listing(each.id for each in sources)}")
    wanted = dtypes.from_json(sources[0].schema)
    if frame.schema != wanted:
        raise WrongType(f"the frame has the columns {frame.schema}, and the source gives {wanted}")
    key = fingerprint.of_frame(frame)
    made = Graph()
    for item in graph:
        if isinstance(item, node.Read):
            read = msgspec.structs.replace(
                item, source="frame", options={"frame": key}, bounded=True, invalid_schema=None
            )
            made, _ = made.add(read, {key: frame})
        else:
            made, _ = made.add(item, graph.blobs_of(item))
    return made
