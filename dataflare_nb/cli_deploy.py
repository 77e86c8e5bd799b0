"""The command line for clusters: `dataflare deploy`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from . import running, terminal
from .deploy import ClusterJob, Deployment, Flink
from .deploy.remote.submit import check
from .errors import BadOption, GraphFormat, JobTimeout
from .graph import Graph
from .runtime.probe import Reading

OK = 0
Command: TypeAlias = Callable[..., argparse.ArgumentParser]
Load: TypeAlias = Callable[[Path, Path | None], Graph]
_EVERY = 2.0
_TEXTS = {
    "name": ("NAME", "the job's name (default: made of its last stages)"),
    "image": ("IMAGE", "the image that pods run (default: made of the name and the bundle's sum)"),
    "namespace": ("NAME", 'of Kubernetes (default: "default")'),
    "checkpoint_interval": ("TIME", 'how often state is saved, as "30s"'),
    "checkpoint_storage": ("URI", "where state is saved, as s3://bucket/flights (default: the volume claim)"),
    "state_backend": ("KIND", "hashmap or rocksdb"),
    "upgrade": ("MODE", "savepoint, last-state or stateless"),
    "restart": ("STRATEGY", "exponential-delay, fixed-delay, failure-rate or none"),
    "data": ("CLAIM", "the volume claim mounted at /data"),
}
_NUMBERS = {
    "parallelism": "instances of each stage that is spread over keys",
    "max_parallelism": "instances at most, ever; it is fixed for the state of a job",
    "slots": "instances for each TaskManager",
}
_PAIRS = {
    "stage_parallelism": ("stage-parallelism", "STAGE=N", "instances of one stage; may be repeated"),
    "environment": ("env", "NAME=VALUE", "a variable of the workers, no secret; may be repeated"),
    "secrets": ("secret", "NAME=SECRET/KEY", "a variable from a key of a Secret; may be repeated"),
    "configuration": ("config", "KEY=VALUE", "another option of Flink's own; may be repeated"),
}
_MORE = """\
--target reads any option of flare.Flink from a JSON file, such as
  {"parallelism": 64, "task_manager": {"cpu": 2, "memory": "4g"}, "autoscaler": {"max_parallelism": 128}}
and those of the command line go before it. All that does not hold is named at once, before anything is written.

--submit runs the bundle by Flink's client, which needs Java 17 and, the first time, makes an environment of
apache-flink (1.1 GB). The TaskManagers must find DIR at the same path, as on this machine or a shared file system. The
command stays until the job has ended, and Ctrl-C cancels it. On Kubernetes `kubectl apply -k DIR` runs it; see
DIR/README.md.

Exit codes: 0 written (and the job finished), 1 the job failed, 2 a mistake in what was asked, 130 interrupted."""


def add_to(commands: Any, command: Command, load: Load, add_graph: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command; `load` reads a graph document."""
    deploy = command(
        commands,
        "deploy",
        lambda asked: _deploy(asked, load),
        "write the bundle that takes a graph document to Apache Flink, and run it",
        "Write a folder that takes a graph to Flink on Kubernetes: the graph, its frames, functions and WebAssembly, "
        "manifests, a Dockerfile with exact versions, a README. The same graph and options give the same bytes.",
        _MORE,
    )
    add_graph(deploy)
    deploy.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the bundle")
    deploy.add_argument("--target", type=Path, metavar="FILE", help="options as JSON; see below")
    for option, (shown, told) in _TEXTS.items():
        deploy.add_argument(f"--{option.replace('_', '-')}", metavar=shown, help=told)
    for option, told in _NUMBERS.items():
        deploy.add_argument(f"--{option.replace('_', '-')}", type=int, metavar="N", help=told)
    for option, (flag, shown, told) in _PAIRS.items():
        deploy.add_argument(f"--{flag}", dest=option, action="append", type=_pair, metavar=shown, help=told)
    deploy.add_argument("--submit", metavar="URL", help="run it on the cluster at http://jobmanager:8081; see below")
    deploy.add_argument(
        "--header", action="append", type=_header, metavar="NAME:VALUE", help="goes with each request to URL"
    )
    deploy.add_argument("--python", metavar="PATH", help="of the TaskManagers (default: the environment made here)")


def _deploy(asked: argparse.Namespace, load: Load) -> int:
    if asked.submit is None and (asked.header or asked.python):
        raise BadOption("--header and --python go with --submit URL")
    target = _target(asked)
    graph = load(asked.graph, asked.blobs)
    if asked.submit is not None:
        check(asked.submit, dict(asked.header or []))
    made = running.deploy(graph, graph.outputs(), target, asked.out, submit=False)
    print(made)
    if asked.submit is None:
        return OK
    return _run(made, asked)


def _run(made: Deployment, asked: argparse.Namespace) -> int:
    job = made.submit(asked.submit, headers=dict(asked.header or []), python=asked.python)
    print(f"\n{made.name} is on its way to {job.url}; Ctrl-C cancels it", flush=True)
    began = time.monotonic()
    try:
        _follow(job)
    finally:
        if job.running:
            job.cancel()
    rows = _rows_read(job.read())
    told = f"{rows:,} rows in " if rows is not None else ""
    print(f"{made.name}: finished, {told}{time.monotonic() - began:.1f} s")
    for output in _results(made):
        print(f"\nThe last rows of {output}:\n{terminal.table(job.result(output).tail(10))}")
    return OK


def _results(made: Deployment) -> list[str]:
    """Return the outputs of a bundle that end in no sink."""
    results: list[str] = json.loads(made.bundle.files["job.json"])["results"]
    return results


def _follow(job: ClusterJob) -> None:
    """Show how the job goes: on one line of a terminal, else a line when something has changed."""
    out = sys.stdout
    before = ""
    while True:
        try:
            job.wait(_EVERY)
        except JobTimeout:
            line = _line(job)
            if out.isatty():
                print(f"\r\x1b[K{line}", end="", file=out, flush=True)
            elif line != before:
                print(line, file=out, flush=True)
            before = line
        else:
            break
        finally:
            if out.isatty() and not job.running:
                print(file=out, flush=True)


def _line(job: ClusterJob) -> str:
    reading = job.read()
    told = [reading.says or reading.status]
    rows = _rows_read(reading)
    if reading.status == "running" and rows is not None:
        sources = [node for node in reading.nodes.values() if node.kind == "source"]
        rate = sum(node.lately.rows_per_s for node in sources if node.lately is not None)
        told += [f"{rows:,} rows", *([] if math.isnan(rate) else [f"{rate:,.0f} rows/s"])]
    totals = reading.totals or {}
    told += [f"{totals[name]:.0f} {name}" for name in ("checkpoints", "restarts") if totals.get(name)]
    return ", ".join(told)


def _rows_read(reading: Reading) -> int | None:
    """Return the rows that have been read, None if nobody has told it."""
    read = [node.rows_in for node in reading.nodes.values() if node.kind == "source"]
    return sum(read) if all(rows >= 0 for rows in read) else None


def _target(asked: argparse.Namespace) -> Flink:
    options = _of_file(asked.target) if asked.target is not None else {}
    for name in (*_TEXTS, *_NUMBERS):
        if (value := getattr(asked, name)) is not None:
            options[name] = value
    for name in _PAIRS:
        if (pairs := getattr(asked, name)) is not None:
            given = options.get(name, {})
            # What is no object is told with all else that is wrong.
            options[name] = {**given, **_values(name, pairs)} if isinstance(given, dict) else given
    try:
        return Flink(**options)
    except BadOption as error:
        # There is no line of Python to name.
        _, colon, told = str(error).partition(": ")
        raise BadOption(told if colon else str(error)) from None


def _of_file(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except ValueError as error:
        raise GraphFormat(f"{path} is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise GraphFormat(f'{path} holds no options; it is an object such as {{"parallelism": 64}}')
    return told


def _values(name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    if name != "stage_parallelism":
        return dict(pairs)
    return {stage: int(text) if text.isascii() and text.isdigit() else text for stage, text in pairs}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("a header is NAME:VALUE, such as 'Authorization: Bearer ...'")
    return name.strip(), value.strip()
