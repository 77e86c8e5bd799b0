"""Start a graph, and wait for one that ends."""

from __future__ import annotations

import os
from collections.abc import Sequence

import polars as pl

from . import deploy as deploying
from . import engine
from .deploy import Deployment, Flink
from .deploy.local import LocalCluster
from .engine import Job
from .engine.bar import bar_class, watch
from .errors import BadOption, BadWindow, GraphError, WrongType, listing, located, shown, user_line
from .graph import Graph, node
from .types import Clock
from .windows import DurationLike


def run(
    graph: Graph,
    heads: Sequence[str],
    *,
    name: str | None,
    workers: int | None,
    latency: DurationLike | None,
    commit_every: DurationLike | None,
    clock: Clock | None,
    changes: pl.DataFrame | None,
) -> Job:
    """Start a job that makes `heads`, and return at once."""
    with located("run") as where:
        for head in heads:
            _refuse_open_window("run", graph, head, where)
        return engine.run(
            graph,
            heads,
            name=name,
            workers=workers,
            latency=latency,
            commit_every=commit_every,
            clock=clock,
            changes=changes,
        )


def collect(
    graph: Graph,
    head: str,
    *,
    workers: int | None,
    clock: Clock | None,
    progress: bool,
    changes: pl.DataFrame | None,
) -> pl.DataFrame:
    """Run to the end and return the rows."""
    where = user_line()
    if not graph.edge(head).bounded:
        live = [item.label() for item in graph.upstream([head]) if isinstance(item, node.Read) and not item.bounded]
        raise GraphError(
            f"collect at {where} needs input that ends, and {listing(live)} never does; "
            "use .run() and job.result(), or bound the source"
        )
    if isinstance(graph.nodes.get(head), node.Write):
        raise GraphError(f"collect at {where} returns rows, and this stream ends in a sink; use .run().wait()")
    _refuse_open_window("collect", graph, head, where)
    with located("collect", where):
        bar = bar_class() if progress else None
        job = engine.run(graph, [head], workers=workers, clock=clock, changes=changes, register=False)
    try:
        return (watch(job, bar) if bar is not None else job.wait()).result()
    except BaseException:
        job.stop()
        raise


def deploy(
    graph: Graph, heads: Sequence[str], target: Flink | LocalCluster, out: str | os.PathLike[str], *, submit: bool
) -> Deployment:
    """Write the bundle of a stream, and run it if that is asked for."""
    with located("deploy") as where:
        cluster = target if isinstance(target, LocalCluster) else None
        told = target.target if isinstance(target, LocalCluster) else target
        if not isinstance(told, Flink):
            raise WrongType(f"{shown(target)} is no target; flare.Flink(...) makes one")
        if submit and cluster is None:
            raise BadOption(
                "submit=True runs the bundle on a cluster of this machine, flare.Flink.local(); "
                "on Kubernetes, kubectl apply -k runs it"
            )
        for head in heads:
            _refuse_open_window("deploy", graph, head, where)
        bundle = deploying.Deployer(told).render(graph, heads)
        made = Deployment(bundle, graph.upstream(heads), told, bundle.write(out), tuple(heads), cluster, _collected)
        if submit:
            made.submit()
        return made


def _collected(graph: Graph, head: str) -> pl.DataFrame:
    return collect(graph, head, workers=None, clock=None, progress=False, changes=None)


def _refuse_open_window(step: str, graph: Graph, head: str, where: str) -> None:
    window = graph.edge(head).window
    if window is not None:
        raise BadWindow(
            f"{step} at {where}: .window({window.window}) at {window.where} has no aggregation; add .agg(...) after it"
        )
