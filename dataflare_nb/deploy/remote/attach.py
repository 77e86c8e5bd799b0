"""Find a job on a cluster that runs already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import BadOption, DataflareError, GraphFormat, UnknownStage, located, nearest, shown
from ...graph import Graph
from ...signature import held
from ...windows import DurationLike, microseconds
from .. import blobs
from ..bundle import LOCK
from .job import ClusterJob
from .look import ENDED
from .rest import Rest, understood
from .sketch import KEY, Match, Sketch


class _Index(msgspec.Struct, frozen=True):
    blobs: dict[str, blobs.Entry]


@held
def attach(
    url: str,
    *,
    job: str | None = None,
    graph: Any = None,
    headers: Mapping[str, str] | None = None,
    ca: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    verify: bool = True,
    timeout: DurationLike = "10s",
) -> ClusterJob:
    """Return a job that runs on a Flink cluster, to watch and to steer.

    `url` is that of the JobManager, `job` the job's name or Flink's id of it; it may be left out where one job runs.
    `graph` is the stream, deployment or bundle's folder that it was made from; a job submitted from here tells itself.
    Without either, Flink's own vertices are shown.

    `headers` go with each request, such as `{"Authorization": "Bearer ..."}`; a name and password may stand in the
    address. `ca` is a file with whom to trust, `certificate` and `key` are the client's own, and `verify=False` trusts
    anybody. An answer is waited for `timeout`.
    """
    with located("attach"):
        seconds = microseconds(timeout, "timeout") / 1e6
        if seconds <= 0:
            raise BadOption(f"timeout={shown(timeout)} is not longer than nothing")
        files = {"ca": ca, "certificate": certificate, "key": key}
        paths = {name: Path(path) for name, path in files.items() if path is not None}
        rest = Rest(url, headers=headers, verify=verify, timeout=seconds, **paths)
        try:
            rest.check()
            with understood(rest):
                found = _found(rest, job)
                told = rest.get(f"/jobs/{found['jid']}")
                sketch = _sketch(rest, told, graph)
                Match.of(sketch, told)
            known = graph if isinstance(graph, Graph) else None
            return ClusterJob(rest, str(told["name"]), sketch, id=str(found["jid"]), graph=known)
        except BaseException:
            rest.close()
            raise


def _found(rest: Rest, job: str | None) -> Mapping[str, Any]:
    """Return the job that is meant. Of several with its name, that which runs; the newest, if none does."""
    jobs = sorted(rest.get("/jobs/overview")["jobs"], key=lambda each: -each["start-time"])
    if not jobs:
        raise UnknownStage(f"no job runs at {rest.url}, and none has")
    going = [each for each in jobs if each["state"] not in ENDED]
    if job is None:
        if len(going) == 1 or len(jobs) == 1:
            return (going or jobs)[0]  # type: ignore[no-any-return]
        what = "several jobs run" if going else "several jobs have ended"
        raise BadOption(f"{what} at {rest.url}; say which: job=...\n{_listed(going or jobs)}")
    named = [each for each in jobs if job in (each["name"], each["jid"])]
    if not named:
        raise UnknownStage(
            f"no job is called {job!r} at {rest.url}.{nearest(job, [each['name'] for each in jobs])}\n{_listed(jobs)}"
        )
    running = [each for each in named if each["state"] not in ENDED]
    if len(running) > 1:
        raise BadOption(f"{len(running)} jobs called {job!r} run at {rest.url}; give the id of one\n{_listed(running)}")
    return (running or named)[0]  # type: ignore[no-any-return]


def _listed(jobs: list[Mapping[str, Any]], most: int = 12) -> str:
    lines = [f"    {each['name']}  {each['state'].lower()}  {each['jid']}" for each in jobs[:most]]
    return "\n".join([*lines, *([f"    and {len(jobs) - most} more"] if len(jobs) > most else [])])


def _sketch(rest: Rest, told: Mapping[str, Any], graph: Any) -> Sketch:
    name = str(told["name"])
    if graph is not None:
        return Sketch.of_graph(name, _graph(graph))
    config = rest.get(f"/jobs/{told['jid']}/config").get("execution-config") or {}
    written = (config.get("user-config") or {}).get(KEY)
    read = Sketch.read(written) if isinstance(written, str) else None
    return read if read is not None else Sketch.of_flink(name, told)


def _graph(given: Any) -> Graph:
    if isinstance(given, Graph):
        return given
    if isinstance(given, str | os.PathLike):
        return _of_bundle(Path(given))
    graph = getattr(given, "graph", None)
    if isinstance(graph, Graph):
        head = getattr(given, "ref", None)
        return graph.upstream([head]) if isinstance(head, str) else graph
    raise BadOption(f"graph={shown(given)}: give a stream, a deployment, or the folder of a bundle")


def _of_bundle(folder: Path) -> Graph:
    try:
        index = msgspec.json.decode((folder / LOCK).read_bytes(), type=_Index)
        return Graph.from_json((folder / "graph.json").read_bytes(), blobs.read(index.blobs, folder))
    except (OSError, msgspec.MsgspecError) as error:
        raise BadOption(f"graph={str(folder)!r} is no bundle that deploy() wrote: {error}") from None
    except DataflareError as error:
        raise GraphFormat(f"graph={str(folder)!r}: {error}") from None
