"""The local engine: run a graph on threads of this process. Jobs are known by name, and a name has one job."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import re
import threading
import weakref
from collections.abc import Container, Mapping, Sequence

import polars as pl

from ..clock import SystemClock
from ..connectors.memory import MemoryBuffer
from ..errors import BadOption, SinkError, UnknownStage, listing, located, nearest, shown, there_are
from ..graph import Graph
from ..graph.node import NAME_PATTERN, Write, split_ref
from ..runtime.pace import LARGEST, Pace, row_width
from ..runtime.plan import Plan, plan
from ..signature import held
from ..types import Clock
from ..windows import DurationLike, microseconds
from .job import FAILED, FINISHED, STOPPED, Job
from .scheduler import default_workers
from .tuning import script_of

log = logging.getLogger("dataflare_nb")

LIVE_RESULT_ROWS = 1_000_000
COMMIT_EVERY = "10s"
MOST_WORKERS = 256
ENDED_JOBS = 32
"""How many jobs that have ended are known by name, with the results they hold."""

_jobs: dict[str, Job] = {}
_registry = threading.RLock()
_running: weakref.WeakSet[Job] = weakref.WeakSet()
_unnamed: weakref.WeakSet[Job] = weakref.WeakSet()
_ENDED = (FINISHED, FAILED, STOPPED)


def run(
    graph: Graph,
    outputs: Sequence[str],
    *,
    name: str | None = None,
    workers: int | None = None,
    latency: DurationLike | None = None,
    commit_every: DurationLike | None = None,
    clock: Clock | None = None,
    changes: pl.DataFrame | None = None,
    register: bool = True,
) -> Job:
    """Start a job over the part of a graph that `outputs` need, and return at once.

    `outputs` are node ids or side outputs; those that are no sink are kept in memory for `result()`. A job of the same
    name is stopped first. `latency` is what a row may take to get through: a duration, or `"throughput"` for batches as
    large as may be; by default throughput for bounded input and 50 ms for live input. `commit_every` is how often a
    live job makes written rows visible. `changes` are those of params that `Job.changes` recorded, to be replayed.
    """
    graph = graph.upstream(outputs)
    bounded = all(graph.edge(ref).bounded for ref in outputs)
    graph, results = _with_results(graph, outputs, bounded)
    planned = plan(graph)
    script = script_of(planned, changes)
    with _registry:
        job_name = _name(name, graph, outputs)
        if register and job_name in _jobs:
            # Before the new one opens its sinks, which may be the same; should it not open, the old one stays known.
            _jobs[job_name].stop()
        _make_way(graph, job_name, named=name is not None)
        job = Job(
            job_name,
            graph,
            planned,
            results,
            workers=_workers(workers),
            clock=clock or SystemClock(),
            pace=_pace(planned, latency, bounded),
            commit_every=None if bounded else _positive_us(commit_every or COMMIT_EVERY, "commit_every"),
            changes=script,
        )
        _running.add(job)
        if name is None:
            _unnamed.add(job)
        if register:
            _jobs.pop(job_name, None)
            _jobs[job_name] = job
            _forget_the_oldest()
    try:
        return job.start()
    except BaseException:
        job.stop()
        raise


@held
def jobs() -> dict[str, Job]:
    """Return the jobs of this process by name in the order they were started: all that run, and the last 32 that ended.

    An older one is still there for whoever holds it: `job = stream.run()`. `stop_all()` forgets all.
    """
    with _registry:
        return dict(_jobs)


@held
def job(name: str) -> Job:
    """Return the job of that name."""
    known = jobs()
    with located("job"):
        if name in known:
            return known[name]
        raise UnknownStage(f"no job is called `{name}`; {there_are(known)}.{nearest(name, known)}")


@held
def stop_all() -> None:
    """Stop every job and forget them."""
    with _registry:
        ending = list(_running)
        _jobs.clear()
    for each in ending:
        each.stop()


def _make_way(graph: Graph, name: str, *, named: bool) -> None:
    """See to it that no two jobs write to one place unless both append to it.

    An edited cell that is run again starts another job, if nobody named it: its older self makes way.
    """
    wanted = _targets(graph)
    for other in list(_running) if wanted else ():
        if other.status in _ENDED:
            continue
        theirs = _targets(other.graph)
        shared = [path for path in wanted if path in theirs]
        if not shared:
            continue
        path = shared[0]
        if all(wanted[each] == theirs[each] == "append" for each in shared):
            log.info("job %s and job %s both append to %s", name, other.name, path)
        elif named or other not in _unnamed:
            raise SinkError(
                f"{path} is being written by the running job {other.name}; stop it first, with "
                f"flare.job({other.name!r}).stop(), write to another path, or let both append"
            )
        else:
            log.warning("job %s is stopped: job %s writes to %s instead", other.name, name, path)
            other.stop()


def _writes_elsewhere(job: Job | None, graph: Graph) -> bool:
    return job is not None and job.status not in _ENDED and _targets(job.graph).keys() != _targets(graph).keys()


def _targets(graph: Graph) -> dict[str, str]:
    """Return the files and folders that a graph writes, as the file system knows them, with the mode."""
    return {
        os.path.realpath(str(item.options["path"])): str(item.options.get("mode", "error"))
        for item in graph
        if isinstance(item, Write) and "path" in item.options
    }


def _at_exit() -> None:
    for each in list(_running):
        if each.status not in _ENDED and each.plan.bounded and (paths := list(_targets(each.graph))):
            log.warning(
                "job %s is stopped half-way, since Python ends, and leaves nothing in %s; end a script with job.wait()",
                each.name,
                listing(paths),
            )
    stop_all()


def _forget_the_oldest() -> None:
    """Let go of jobs that ended, but for the newest: each keeps its results, up to a million rows of live ones."""
    ended = [name for name, job in _jobs.items() if job.status in _ENDED]
    for name in ended[:-ENDED_JOBS]:
        del _jobs[name]


def _with_results(graph: Graph, outputs: Sequence[str], bounded: bool) -> tuple[Graph, Mapping[str, MemoryBuffer]]:
    results = {}
    for ref in outputs:
        node_id, tag = split_ref(ref)
        if isinstance(graph.nodes[node_id], Write):
            continue
        buffer = MemoryBuffer(None if bounded else LIVE_RESULT_ROWS)
        key = f"result-{ref}"
        keep_id = _result_id(node_id, tag, graph.nodes)
        keep = Write(id=keep_id, inputs=(ref,), sink="memory", options={"buffer": key})
        graph, _ = graph.add(keep, {key: buffer})
        results[ref] = buffer
    return graph, results


def _result_id(node_id: str, tag: str, taken: Container[str]) -> str:
    """Return a name for the sink of an output, with a number where another stage is called so."""
    name = f"result_{node_id}"[:48] + ("" if tag == "main" else f"_{tag}")
    numbered = (f"{name}_{n}" if n > 1 else name for n in itertools.count(1))
    return next(each for each in numbered if each not in taken)


def _name(name: str | None, graph: Graph, outputs: Sequence[str]) -> str:
    if name is None:
        called = "+".join(graph.called(ref) for ref in outputs)
        numbered = (f"{called}_{n}" if n > 1 else called for n in itertools.count(1))
        # Two sinks of one stream are two jobs.
        return next(each for each in numbered if not _writes_elsewhere(_jobs.get(each), graph))
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise BadOption(f"name={name!r}: a job's name is letters, digits, _ and -, at most 64")
    return name


def _workers(workers: int | None) -> int:
    if workers is None:
        return default_workers()
    if not isinstance(workers, int) or isinstance(workers, bool) or not 1 <= workers <= MOST_WORKERS:
        raise BadOption(f"workers={shown(workers)}: between 1 and {MOST_WORKERS}")
    return workers


def _pace(planned: Plan, latency: DurationLike | None, bounded: bool) -> Pace:
    quanta = [stage.quantum for stage in planned.stages if stage.kind == "source"]
    most = LARGEST if None in quanta else max((q for q in quanta if q is not None), default=LARGEST)
    pace = Pace(_target(latency, bounded), most)
    widths = [row_width(stage.schema) for stage in planned.stages if stage.kind == "source"]
    if None not in widths:
        pace.note_size(1, max((width for width in widths if width), default=0))
    return pace


def _target(latency: DurationLike | None, bounded: bool) -> float | None:
    if (isinstance(latency, str) and latency == "throughput") or (latency is None and bounded):
        return None
    return _positive_us("50ms" if latency is None else latency, "latency") / 1e6


def _positive_us(value: DurationLike, what: str) -> int:
    us = microseconds(value, what)
    if us <= 0:
        raise BadOption(f"{what}={shown(value)} is not longer than nothing")
    return us


def _leave_to_parent() -> None:
    """Know of no job in a process that was forked off: their threads are not here, and their files are the parent's."""
    global _registry, _running
    _registry, _running = threading.RLock(), weakref.WeakSet()
    _jobs.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
