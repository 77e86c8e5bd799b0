"""The command line: `dataflare demo | run | deploy | graph | plugin | doctor`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from . import cli_deploy, cli_plugin, doctor, engine, storing, terminal
from ._version import __version__
from .engine.local import MOST_WORKERS
from .engine.scheduler import default_workers
from .errors import DataflareError, JobError
from .graph import Graph, draw, node

OK, FAILED, USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
_BLOBS = """\
A graph document names its plugins, compiled functions and frames by key. Stream.save(DIR) writes all of them into one
folder; of a document by itself, --blobs says where they are:
  <key>.wasm           a compiled @udf function
  <key>/plugin.json    a plugin, with its module beside it
  <key>.parquet        a frame that the graph starts from
Python functions (map_batches, for_each_batch) cannot be stored; run such a graph from Python."""
_DRAWINGS: dict[str, Callable[[Graph], str]] = {"text": draw.text, "mermaid": draw.mermaid, "html": draw.html}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, as told by `--help`."""
    asked = _parser().parse_args(argv)
    try:
        done: int = asked.command(asked)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has; the interpreter must not flush what is left into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except KeyboardInterrupt:
        print("\nInterrupted; the job is stopped.", file=sys.stderr)
        return INTERRUPTED
    except JobError as error:
        print(f"dataflare: {error}", file=sys.stderr)
        return FAILED
    except DataflareError as error:
        print(f"dataflare: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"dataflare: {place}{error.strerror or error}", file=sys.stderr)
        return USAGE
    return done


def _demo(asked: argparse.Namespace) -> int:
    from .demo import show

    show.run(asked.out, rows=asked.rows, workers=asked.workers, picture=asked.picture)
    return OK


def _run(asked: argparse.Namespace) -> int:
    graph = storing.read(asked.graph, asked.blobs)
    job = engine.run(
        graph,
        graph.outputs(),
        name=asked.name,
        workers=asked.workers,
        latency=asked.latency,
        commit_every=asked.commit_every,
    )
    reading = terminal.follow(job)
    rows = terminal.rows_read(reading)
    for name in graph.outputs():
        if not isinstance(graph.nodes[name], node.Write):
            print(f"\nThe last rows of {name}:\n{terminal.table(job.result(name).tail(10))}")
    print(f"\n{terminal.ledger(job)}")
    print(f"\n{job.name}: {rows:,} rows in {reading.elapsed:.1f} s, {rows / max(reading.elapsed, 1e-9):,.0f} rows/s")
    return OK


def _graph_show(asked: argparse.Namespace) -> int:
    print(_DRAWINGS[asked.form](storing.read(asked.graph, asked.blobs)))
    return OK


def _graph_schema(asked: argparse.Namespace) -> int:
    print(json.dumps(Graph.json_schema(), indent=2))
    return OK


def _doctor(asked: argparse.Namespace) -> int:
    return OK if doctor.examine(sys.stdout) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dataflare",
        description="Streaming dataflow: event-time windows, WebAssembly stages, Polars and Arrow.",
        epilog="Exit codes: 0 done, 1 a job failed, 2 a mistake in what was asked, 130 interrupted, 141 nobody "
        "read what was printed.",
    )
    parser.add_argument("--version", action="version", version=f"dataflare {__version__}")
    parser.set_defaults(command=_help(parser))
    commands = parser.add_subparsers(title="commands", metavar="command")

    demo = _command(
        commands,
        "demo",
        _demo,
        "run the main job on real data: the 336,776 flights of 2013 from New York",
        "Stream a year of flights in the order in which they left, while event time is the time at which they should "
        "have left, so that the disorder is real. A compiled Python function and a plugin written in C are stages on "
        "the way to windows of an hour per airport; flights too late for their window go to a side output. Needs the "
        '"demo" extra.',
    )
    demo.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where results go (default: ./out)")
    demo.add_argument("--rows", type=_count, metavar="N", help="only the first N flights (default: all)")
    demo.add_argument("--no-picture", dest="picture", action="store_false", help="draw no pictures")
    _add_workers(demo)

    run = _command(
        commands,
        "run",
        _run,
        "run a graph document, as Stream.to_json() writes it",
        "Run a graph to its end, with progress. Outputs without a sink are kept in memory and their last rows shown. "
        "Ctrl-C stops the job: a bounded job leaves nothing half-written, a live one commits what it has.",
        _BLOBS,
    )
    _add_graph(run)
    run.add_argument("--name", help="the job's name (default: its last stages)")
    run.add_argument(
        "--latency", metavar="TIME", help='how long a row may take, as "50ms"; or "throughput" for large batches'
    )
    run.add_argument("--commit-every", metavar="TIME", help="how often a live job makes rows visible (default: 10s)")
    _add_workers(run)

    cli_deploy.add_to(commands, _command, storing.read, _add_graph)

    graph = commands.add_parser("graph", help="look at graph documents", description="Look at graph documents.")
    graph.set_defaults(command=_help(graph))
    graphs = graph.add_subparsers(title="commands", metavar="command")
    show = _command(graphs, "show", _graph_show, "draw a graph document", "Check a graph document and draw it.", _BLOBS)
    _add_graph(show)
    show.add_argument("--as", dest="form", choices=_DRAWINGS, default="text", help="the form (default: text)")
    _command(
        graphs,
        "schema",
        _graph_schema,
        "print the JSON Schema of graph documents",
        "Print the JSON Schema (2020-12) that every graph document keeps.",
    )

    plugin = cli_plugin.add_to(commands, _command)
    plugin.set_defaults(command=_help(plugin))

    _command(
        commands,
        "doctor",
        _doctor,
        "say what is installed and try out that it works",
        "Print the versions and the machine, then run a compiled function, a plugin and a window. Exit code 1 if "
        "something does not work.",
    )
    return parser


def _help(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    def show(_: argparse.Namespace) -> int:
        parser.print_help()
        return USAGE

    return show


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    brief: str,
    description: str,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter if epilog else argparse.HelpFormatter
    parser = commands.add_parser(
        name,
        help=brief,
        description=textwrap.fill(description, 78) if epilog else description,
        epilog=epilog,
        formatter_class=form,
    )
    parser.set_defaults(command=command)
    return parser


def _add_graph(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", type=Path, metavar="graph.json", help="the graph document, or the folder of one")
    parser.add_argument("--blobs", type=Path, metavar="DIR", help="the folder with what the document names; see below")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    cores = default_workers()
    parser.add_argument(
        "--workers",
        type=_threads,
        metavar="N",
        help=f"threads; 1: a deterministic loop (default: the cores, {cores})",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:20]) < 1 << 62:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _threads(text: str) -> int:
    number = _count(text)
    if number > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_WORKERS}")
    return number


if __name__ == "__main__":
    sys.exit(main())
