"""Submit a bundle to a cluster by Flink's own client, which needs Java and the environment of apache-flink here."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ...errors import BadOption, GraphFormat, WrongType, shown
from ...graph import Graph, node
from ..bundle import RUN
from ..configuration import WORKERS
from ..local.environment import Environment, environment, link_package
from ..target import Flink
from .job import ClusterJob
from .rest import Rest
from .run import Run
from .sketch import Sketch


@dataclass(frozen=True, slots=True)
class Client:
    """Flink's client: where it is, the Python that workers run, and how it is started, given where it is to write."""

    environment: Environment
    python: str
    start: Callable[[Sequence[str], Path, int], subprocess.Popen[bytes]]
    lost: Callable[[], str] = str

    def submit(
        self,
        rest: Rest,
        folder: Path,
        graph: Graph,
        target: Flink,
        own: Path,
        *,
        after: ClusterJob | None,
        parallelism: int | None,
    ) -> ClusterJob:
        """Submit a bundle, and return its job at once. `own` is a new folder for what comes of it."""
        told = _job_of(folder)
        if after is not None and not isinstance(after, ClusterJob):
            raise WrongType(f"after={shown(after)}; it is a job that .submit() has returned")
        if after is not None and (after.savepoint is None or after.submitted is None):
            raise BadOption(f"job {after.name} was not stopped with a savepoint; .stop_with_savepoint() does")
        fits = isinstance(parallelism, int) and not isinstance(parallelism, bool)
        if parallelism is not None and not (fits and 1 <= parallelism <= told["partitions"]):
            raise BadOption(f"parallelism={shown(parallelism)}; between 1 and {told['partitions']} in this bundle")
        sketch = Sketch.of_graph(str(told["name"]), graph, target)
        # Another bundle may take the place of this one, and a job that fails is started again from what it began with.
        bundle = shutil.copytree(folder, own / "bundle", ignore=shutil.ignore_patterns(f"{RUN}*"))
        before = None
        if after is not None and after.submitted is not None:
            before = after.submitted
            before.rewind(after.name)
        results = own / "results" if before is None else before.results
        command = [
            *(str(self.environment.flink_home / "bin" / "flink"), "run"),
            *(("-s", after.savepoint) if after is not None and after.savepoint is not None else ()),
            *("-pyexec", self.python, "-pyclientexec", str(self.environment.python)),
            *("-py", str(bundle / "job.py"), "--results", f"file://{results}"),
            *(("--parallelism", str(parallelism)) if parallelism is not None else ()),
        ]
        log = own / "client.out"
        widest = max(parallelism if parallelism and each["keys"] else each["parallelism"] for each in told["vertices"])
        run = Run(
            self.start(command, log, widest),
            log,
            folder=folder,
            results=results,
            outputs=told["results"],
            lost=self.lost,
            after=before,
            bounded=all(item.bounded for item in graph if isinstance(item, node.Read)),
        )
        return ClusterJob(rest, str(told["name"]), sketch, run=run, graph=graph)


def _job_of(folder: Path) -> dict[str, Any]:
    try:
        return dict(msgspec.json.decode((folder / "job.json").read_bytes()))
    except (OSError, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise GraphFormat(f"{folder} is no bundle that can be run ({error}); deploy() writes it anew") from None


def check(url: str, headers: Mapping[str, str]) -> None:
    """Raise ClusterError unless a Flink answers at an address."""
    rest = Rest(url, headers=headers)
    try:
        rest.check()
    finally:
        rest.close()


def submit_to(
    url: str,
    folder: Path,
    graph: Graph,
    target: Flink,
    *,
    headers: Mapping[str, str] | None = None,
    python: str | None = None,
    after: ClusterJob | None = None,
    parallelism: int | None = None,
) -> ClusterJob:
    """Submit a bundle to the cluster at an address.

    Its TaskManagers must find the bundle at the same path, as on this machine or a shared file system, and there a
    Python with the packages of its requirements.txt: `python`, or the environment made here.
    """
    check(url, headers or {})
    rest = Rest(url, headers=headers)
    env = environment()
    link_package(env.packages)
    folder = folder.absolute()
    told = _configuration(rest.url, env)
    own = Path(tempfile.mkdtemp(prefix=RUN, dir=folder))
    own.chmod(0o755)
    variables = _variables(env, _configured(own / "conf", told, env), headers or {})

    def start(command: Sequence[str], log: Path, _: int) -> subprocess.Popen[bytes]:
        with log.open("wb") as told:
            return subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    client = Client(env, python or str(env.python), start)
    return client.submit(rest, folder, graph, target, own, after=after, parallelism=parallelism)


def _variables(env: Environment, configured: Path, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        **env.variables(),
        "FLINK_CONF_DIR": str(configured),
        "FLINK_LOG_DIR": str(configured),
        **(
            {"FLINK_REST_CLIENT_HEADERS": "\n".join(f"{name}:{value}" for name, value in headers.items())}
            if headers
            else {}
        ),
    }


def _configuration(url: str, env: Environment) -> dict[str, Any]:
    """Return the configuration of a client for an address."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path:
        raise BadOption(
            f"Flink's client submits to http://host:port, not to {url}; open such a way in, by kubectl port-forward"
        )
    return {
        **env.configuration(),
        **WORKERS,
        "rest.address": parts.hostname or "",
        "rest.port": parts.port or 80,
        "python.client.executable": str(env.python),
    }


def _configured(folder: Path, told: Mapping[str, Any], env: Environment) -> Path:
    """Write the configuration of a client."""
    import yaml

    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(told, sort_keys=True, width=10_000))
    for path in (env.flink_home / "conf").glob("*.properties"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
