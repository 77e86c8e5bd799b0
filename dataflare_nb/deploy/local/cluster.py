"""A JobManager and TaskManagers as processes of this machine, which end with the cluster or with this process."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import BadOption, DataflareError, JobError, JobStopped, shown, user_line
from .. import fields as read
from ..configuration import NETWORK, WORKERS, restart
from ..target import Flink, Restart
from .environment import Environment, environment, link_package, require_room

_PATIENCE = 120.0
_MOST = 64
_JAVA, _QUICK = "env.java.opts.all", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Java hands batches on, and Python works on them: to compile Java well takes more of a core than it gives back."""
_BREATH = 1.0
"""Seconds before a TaskManager is started again."""
_ROOM = 200_000_000
"""Bytes that logs, checkpoints and what tasks unpack may take at the least."""
_running: weakref.WeakSet[LocalCluster] = weakref.WeakSet()
# Ends the processes when the pipe to it closes, as it does however this process ends, and takes their folder away.
_WATCH = 'cat >/dev/null; for each in "$@"; do kill -TERM "-$each"; done; sleep 2; ' + (
    'for each in "$@"; do kill -KILL "-$each"; done 2>/dev/null; rm -rf -- "$0"'
)


class LocalCluster:
    """A standalone Flink cluster, and a target for `Stream.deploy(cluster, out=..., submit=True)`.

    `options` are those of `flare.Flink`; parallelism is the number of slots unless they say otherwise. A TaskManager
    that ends is started again, as Kubernetes would. Close the cluster, use it in a `with`, or let the process end.
    """

    def __init__(
        self,
        *,
        task_managers: int = 2,
        slots: int = 1,
        port: int | None = None,
        environment_folder: str | os.PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        own = {"task_managers": task_managers, "slots": slots, "port": port, "environment": environment_folder}
        _, wrong = read.read_all({**own, **(options or {})}, {**Flink.READERS, **_READERS})
        if wrong:
            raise BadOption(f"Flink.local at {user_line()}: {read.told(wrong)}")
        quick = {"restart": Restart(strategy="fixed-delay", attempts=20, delay="1s"), "checkpoint_interval": "1s"}
        parallelism = task_managers * slots
        groups = {"max_parallelism": 1 << (16 * parallelism - 1).bit_length()}
        given = {"parallelism": parallelism, "slots": slots, **groups, **quick, **(options or {})}
        self.target = Flink(**given)
        self.environment: Environment = environment(Path(environment_folder) if environment_folder else None)
        self.task_managers = task_managers
        self._owner = os.getpid()
        self._closing = ExitStack()
        self.folder = _own_folder()
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._clients: dict[subprocess.Popen[bytes], int] = {}
        self._watch: subprocess.Popen[bytes] | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        free, rpc, blob = _free_ports(3)
        self.port = port or free
        self._configure(rpc, blob)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        _running.add(self)

    @property
    def url(self) -> str:
        """Where Flink's own page and REST interface are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> dict[str, int]:
        """The processes that live by name: `jobmanager`, `taskmanager-0` ..."""
        return {name: process.pid for name, process in self._processes.items() if process.poll() is None}

    def variables(self) -> dict[str, str]:
        """Return the environment variables of the cluster's processes and of its client."""
        return {
            **self.environment.variables(),
            # The environment may be shared with a process that has this package from elsewhere.
            "PYTHONPATH": str(self.folder / "lib"),
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LOG_DIR": str(self.folder / "log"),
        }

    def get(self, path: str) -> Any:
        """Ask the REST interface."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None, *, timeout: float = 10.0) -> Any:
        """Tell the REST interface something, and return its answer."""
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"{self.url}{path}", content, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return json.loads(answer.read() or b"null")

    def lost(self) -> str:
        """Say why the cluster runs no job any more; nothing while it does."""
        manager = self._processes.get("jobmanager")
        if manager is None:
            return "it is closed; flare.Flink.local() starts another"
        code = manager.poll()
        if code is None:
            return ""
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"its JobManager {how}; flare.Flink.local() starts another"

    def require_alive(self) -> None:
        """Raise JobStopped unless the cluster can run a job."""
        if why := self.lost():
            raise JobStopped(f"the cluster is gone: {why}")

    def run_client(self, command: Sequence[str], log: Path, slots: int) -> subprocess.Popen[bytes]:
        """Start a program that runs a job of so many slots, and ends with the cluster at the latest.

        Raises JobError if other jobs have the slots: two that wait for each other's would wait for ever.
        """
        self.require_alive()
        every = self.task_managers * self.target.slots
        with log.open("wb") as told, self._lock:
            self._clients = {client: held for client, held in self._clients.items() if client.poll() is None}
            free = every - sum(self._clients.values())
            if slots > free:
                raise JobError(
                    f"the job needs {slots} slots, and {free} of {every} are free; "
                    "wait for the jobs that run, .stop() them, or start a cluster of more task_managers or slots"
                )
            client = subprocess.Popen(
                command,
                env=self.variables(),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._clients[client] = slots
            self._guard()
        return client

    def end_client(self, client: subprocess.Popen[bytes]) -> None:
        """End a client and what it has started."""
        _signal(client.pid, signal.SIGKILL)
        client.wait()

    def log_end(self, name: str, lines: int = 20) -> str:
        """Return the last lines of what a process wrote."""
        with suppress(OSError):
            return "\n".join((self.folder / "log" / f"{name}.out").read_text(errors="replace").splitlines()[-lines:])
        return ""

    def close(self) -> None:
        """End all processes. May be called twice. In a process that was forked off it does nothing."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._ended.set()
        for client in self._clients:
            # The number of one that has ended may be another's by now.
            if client.poll() is None:
                self.end_client(client)
        self._clients = {}
        for process in self._processes.values():
            _signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._processes.values():
            # The group too, since a TaskManager leaves its Python workers behind when it is killed.
            _signal(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()
        self._unguard()
        self._closing.close()
        _running.discard(self)

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if not self._processes:
            return "<Flink cluster, closed>"
        state = f"{self.task_managers} TaskManagers of {self.target.slots} slots at {self.url}"
        return f"<Flink cluster, {self.lost() or state}>"

    def _start(self) -> None:
        self._run("jobmanager", "jobmanager.sh")
        for number in range(self.task_managers):
            self._run(f"taskmanager-{number}", "taskmanager.sh")
        self._guard()
        self._wait_for_all()
        for name, process in self._processes.items():
            if name != "jobmanager":
                threading.Thread(target=self._tend, args=(name, process), name=f"dataflare {name}", daemon=True).start()

    def _wait_for_all(self) -> None:
        """Wait until all TaskManagers have reported. Raises JobError if a process ends before."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                if self.get("/overview")["taskmanagers"] >= self.task_managers:
                    return
            if len(self.pids) < len(self._processes):
                break
            time.sleep(0.2)
        name = next((each for each in self._processes if each not in self.pids), "jobmanager")
        raise JobError(f"the Flink cluster did not start; the log of its {name} ends:\n{self.log_end(name)}")

    def _tend(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Start a TaskManager again when it has ended.

        It may end itself when a job is started anew: Flink's Python runner can come to a reference count below zero
        ("Reference count must not be negative", 2.3), which is fatal to it.
        """
        process.wait()
        while not self._ended.wait(_BREATH):
            with self._lock:
                if self._ended.is_set():
                    return
                # Its Python workers outlive one that was killed.
                _signal(process.pid, signal.SIGKILL)
                process = self._run(name, "taskmanager.sh")
                self._guard()
            process.wait()

    def _run(self, name: str, script: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            process = self._processes[name] = subprocess.Popen(
                [str(self.environment.flink_home / "bin" / script), "start-foreground"],
                cwd=self.folder,
                env=self.variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process

    def _guard(self) -> None:
        pids = [str(process.pid) for process in (*self._processes.values(), *self._clients)]
        watch = subprocess.Popen(
            ["sh", "-c", _WATCH, str(self.folder), *pids],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._unguard()
        self._watch = watch

    def _unguard(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            _signal(watch.pid, signal.SIGKILL)
            watch.wait()
            assert watch.stdin is not None
            watch.stdin.close()

    def _configure(self, rpc: int, blob: int) -> None:
        import yaml

        for name in ("conf", "lib", "log", "tmp", "checkpoints", "savepoints"):
            (self.folder / name).mkdir()
        link_package(self.folder / "lib")
        theirs = self.environment.flink_home / "conf"
        for path in theirs.glob("*.properties"):
            shutil.copy(path, self.folder / "conf")
        told = self.environment.configuration()
        python = str(self.environment.python)
        told[_JAVA] = f"{told.get(_JAVA, '')} {_QUICK}".strip()
        told |= {
            **WORKERS,
            **NETWORK,
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": rpc,
            "jobmanager.memory.process.size": "1024m",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": self.target.slots,
            "taskmanager.memory.process.size": "2048m",
            "taskmanager.memory.managed.fraction": 0.3,
            "taskmanager.memory.network.min": "128mb",
            "taskmanager.memory.network.max": "256mb",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.port,
            "rest.bind-port": str(self.port),
            "blob.server.port": str(blob),
            "web.timeout": 10_000,
            "web.refresh-interval": 1_000,
            "io.tmp.dirs": str(self.folder / "tmp"),
            "env.log.dir": str(self.folder / "log"),
            "env.pid.dir": str(self.folder / "tmp"),
            # A process that is gone is missed after about a second, one that is only busy is not.
            "heartbeat.interval": 500,
            "heartbeat.timeout": 15_000,
            "metrics.fetcher.update-interval": 1_000,
            # A busy machine is slow to start; ten seconds of patience, the defaults, are too few.
            "pekko.startup-timeout": "60s",
            "pekko.ask.timeout": "60s",
            "state.backend.type": self.target.state_backend,
            "execution.checkpointing.dir": f"file://{self.folder}/checkpoints",
            "execution.checkpointing.savepoint-dir": f"file://{self.folder}/savepoints",
            "python.executable": python,
            "python.client.executable": python,
            **restart(self.target),
        }
        (self.folder / "conf" / "config.yaml").write_text(yaml.safe_dump(told, sort_keys=True, width=10_000))


def _own_folder() -> Path:
    try:
        require_room(Path(tempfile.gettempdir()), _ROOM)
        return Path(tempfile.mkdtemp(prefix="dataflare-flink-"))
    except OSError as error:
        place = tempfile.gettempdir()
        raise DataflareError(
            f"a local Flink cluster can have no folder in {place}: {error.strerror}; TMPDIR names another place"
        ) from None


def _free_port(value: Any) -> int:
    port = int(read.whole(1, (1 << 16) - 1)(value))
    with socket.socket() as asked:
        asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            asked.bind(("127.0.0.1", port))
        except OSError as error:
            raise read.Wrong(f"{port} cannot be had ({error.strerror}); leave it out") from None
    return port


def _folder(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise read.Wrong(f"{shown(value)} is not a folder, that of the environment of apache-flink")
    return Path(value)


_READERS: Mapping[str, read.Read] = {
    "task_managers": read.whole(1, _MOST),
    "slots": read.whole(1, _MOST),
    "port": read.optional(_free_port),
    "environment": read.optional(_folder),
}
"""Options of a local cluster beside those of Flink, or in their place."""


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def close_all() -> None:
    """Close every cluster of this process."""
    for cluster in list(_running):
        cluster.close()


atexit.register(close_all)
