"""`%flare`: jobs, graphs, plugins and the doctor, from a line of a cell."""

from __future__ import annotations

from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import publish_display_data

from .. import doctor, engine
from ..engine import Job
from ..errors import DataflareError, listing, nearest
from ..graph import Graph, draw
from ..stream import Stream
from ..wasm.bundled import bundled_plugin, bundled_plugins
from ..wasm.plugin import Plugin
from ..wasm.udf import Udf
from .arguments import Arguments, HelpShown, brief
from .change import ENDED

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_JOBS = {
    "job": pl.String,
    "status": pl.String,
    "seconds": pl.Float64,
    "stages": pl.Int64,
    "rows_read": pl.Int64,
    "rows_written": pl.Int64,
    "late": pl.Int64,
    "invalid": pl.Int64,
    "error": pl.String,
}
_PLUGINS = {"name": pl.String, "from": pl.String, "kind": pl.String, "bytes": pl.Int64, "does": pl.String}


@magics_class
class FlareMagics(Magics):
    """The magic `%flare`."""

    @no_var_expand
    @line_magic
    def flare(self, line: str) -> pl.DataFrame | None:
        """Tell of jobs, graphs and plugins, and stop jobs; `%flare help` tells the commands.

        `jobs` and `plugins` return Polars frames, so `rows = %flare jobs` keeps one.
        """
        parser = _arguments()
        try:
            asked = parser.read(line or "help")
            if asked.command == "help":
                parser.print_help()
                return None
            answer: pl.DataFrame | None = getattr(self, f"_{asked.command}")(asked)
        except HelpShown:
            return None
        except DataflareError as error:
            raise brief(error) from None
        return answer

    @property
    def _shell(self) -> InteractiveShell:
        assert self.shell is not None
        return self.shell

    def _jobs(self, asked: Namespace) -> pl.DataFrame:
        return pl.DataFrame([_told(job) for job in engine.jobs().values()], schema=_JOBS, orient="row")

    def _graph(self, asked: Namespace) -> None:
        graph, head = self._named(asked.name)
        if asked.mermaid:
            print(draw.mermaid(graph, head))
        else:
            drawn = {"text/plain": draw.text(graph, head), "text/html": draw.html(graph, head)}
            publish_display_data(drawn)  # type: ignore[no-untyped-call]

    def _named(self, name: str | None) -> tuple[Graph, str]:
        """Return the graph of a stream or a job, and the output of it that is meant."""
        jobs = engine.jobs()
        streams = {
            each: value
            for each, value in self._shell.user_ns.items()
            if isinstance(value, Stream) and not each.startswith("_")
        }
        if name is None:
            known = [*jobs, *streams]
            if len(known) != 1:
                raise UsageError(f"%flare graph NAME: say which; there are {', '.join(known) or 'none yet'}")
            name = known[0]
        if name in streams:
            return streams[name].graph.upstream([streams[name].ref]), streams[name].ref
        if name in jobs:
            return jobs[name].graph, ""
        known = [*streams, *jobs]
        raise UsageError(f"%flare graph: no stream or job is called {name}.{nearest(name, known)}")

    def _stop(self, asked: Namespace) -> None:
        jobs = engine.jobs()
        # A job may be called `all`.
        every = asked.all or (asked.names == ["all"] and "all" not in jobs)
        if not every and not asked.names:
            _tell_running(jobs)
            return
        if asked.all and asked.names:
            raise UsageError("%flare stop NAME ... stops those jobs, %flare stop all all of them")
        for name in asked.names if not every else ():
            if name not in jobs:
                raise UsageError(f"%flare stop: no job is called {name}.{nearest(name, jobs) or _known(jobs)}")
        ended = [jobs[name] for name in (jobs if every else asked.names)]
        for job in ended:
            before = job.status
            job.stop()
            print(f"{job.name}: {job.status}" if job.status != before else f"{job.name}: had {job.status} already")
        if not ended:
            print("no job is running")

    def _plugins(self, asked: Namespace) -> pl.DataFrame:
        if asked.job is not None:
            return engine.job(asked.job).plugins()
        rows = [
            (name, "this notebook", value.config.type.value, len(value.module), _does(value))
            for name, value in self._shell.user_ns.items()
            if isinstance(value, Plugin) and not name.startswith("_")
        ]
        rows += [
            (name, "this notebook", "@udf", len(value.wasm_bytes), " ".join((value.__doc__ or "").split()))
            for name, value in self._shell.user_ns.items()
            if isinstance(value, Udf) and not name.startswith("_")
        ]
        for name in bundled_plugins():
            plugin = bundled_plugin(name)
            rows.append((name, "the package", plugin.config.type.value, len(plugin.module), _does(plugin)))
        return pl.DataFrame(rows, schema=_PLUGINS, orient="row")

    def _doctor(self, asked: Namespace) -> None:
        doctor.examine()


def _told(job: Job) -> tuple[Any, ...]:
    reading = job.read()
    nodes = reading.nodes.values()
    return (
        job.name,
        reading.status,
        reading.elapsed,
        len(reading.nodes),
        sum(node.rows_out for node in nodes if node.kind == "source"),
        sum(node.rows_out for node in nodes if node.kind == "sink"),
        sum(node.sides.get("late", 0) for node in nodes),
        sum(node.sides.get("invalid", 0) for node in nodes),
        str(job.error) if job.error is not None else None,
    )


def _tell_running(jobs: Mapping[str, Job]) -> None:
    running = [job for job in jobs.values() if job.status not in ENDED]
    width = max((len(job.name) for job in running), default=0)
    for job in running:
        print(f"{job.name:<{width}}  {job.status}, {job.read().elapsed:.0f} s")
    if running:
        print(f"To stop: %flare stop {running[0].name}, several by their names, or %flare stop all")
    else:
        print("no job is running")


def _known(jobs: Mapping[str, Job]) -> str:
    return f" There are {listing(jobs)}." if jobs else " There is none."


def _does(plugin: Plugin) -> str:
    return str(plugin.config.metadata.get("description", ""))


def _arguments() -> Arguments:
    parser = Arguments(
        prog="%flare", description="Jobs, graphs and plugins.", formatter_class=RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Arguments)
    commands.add_parser("jobs", help="the jobs of this kernel, as a frame")
    graph = commands.add_parser("graph", help="draw a stream of this notebook, or what a job runs")
    graph.add_argument("name", nargs="?", metavar="NAME", help="a variable or a job; may be left out if there is one")
    graph.add_argument("--mermaid", action="store_true", help="as a Mermaid flowchart")
    stop = commands.add_parser(
        "stop",
        help="stop jobs by name, or `stop all`; `stop` alone tells which run",
        description="Stop jobs by their names, or all; alone it tells which run.",
    )
    stop.add_argument("names", nargs="*", metavar="NAME", help="a job, or `all`")
    stop.add_argument("--all", action="store_true", help="all of them, also where a job is called `all`")
    plugins = commands.add_parser("plugins", help="the plugins at hand; with a job, what its plugins have done")
    plugins.add_argument("job", nargs="?", metavar="JOB")
    commands.add_parser("doctor", help="say what is installed, and try it out")
    commands.add_parser("help", help="tell the commands")
    return parser
