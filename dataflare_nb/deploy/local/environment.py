"""The Python environment of a local cluster: made on first use, apart from the notebook's, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BadOption, DataflareError
from ...wasm.environment import cache_folder
from .. import versions

VARIABLE = "DATAFLARE_FLINK_ENV"
_OLDEST_JAVA = 17
_READY = "dataflare-ready"
_ROOM = 3_000_000_000
"""Bytes: what stays, and what pip unpacks on the way."""
_PACKAGE = Path(versions.__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Environment:
    """A folder with a Python that has apache-flink, and the Java that runs it."""

    folder: Path
    java_home: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def flink_home(self) -> Path:
        return self.packages / "pyflink"

    def variables(self) -> dict[str, str]:
        """Return the environment variables of Flink's processes."""
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        return {
            **own,
            "JAVA_HOME": str(self.java_home),
            "FLINK_HOME": str(self.flink_home),
            "PATH": f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}",
        }

    def configuration(self) -> dict[str, Any]:
        """Return the options that Flink comes with, such as those of Java; keys with dots."""
        import yaml

        return _flat(yaml.safe_load((self.flink_home / "conf" / "config.yaml").read_text()) or {})

    @property
    def packages(self) -> Path:
        found = sorted(self.folder.glob("lib/python3.*/site-packages"))
        if not found:
            raise DataflareError(f"{self.folder} is no Python environment")
        return found[-1]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def environment(folder: Path | None = None) -> Environment:
    """Return the environment, made now if it is not there: 1.1 GB, a few minutes, once."""
    java = java_home()
    if f"{sys.version_info.major}.{sys.version_info.minor}" not in versions.PYTHONS:
        raise DataflareError(
            f"apache-flink {versions.FLINK} is for Python {versions.PYTHONS[0]} to {versions.PYTHONS[-1]}, and this is "
            f"{versions.PYTHON}"
        )
    place = (folder or default_folder()).absolute()
    with _alone(place):
        made = Environment(place, java)
        if not ready(place):
            _require_own(place)
            require_room(place.parent, _ROOM)
            _make(place)
        return made


def ready(place: Path) -> bool:
    """Tell whether an environment is there, whole and with the versions of now."""
    try:
        return (place / _READY).read_text() == _wanted()
    except OSError:
        return False


def require_room(place: Path, room: int) -> None:
    """Raise DataflareError unless a folder has so many bytes left."""
    free = shutil.disk_usage(place).free
    if free < room:
        raise DataflareError(
            f"a local Flink cluster needs {room / 1e9:.1f} GB in {place}, which has {free / 1e9:.1f} GB left; "
            f"{VARIABLE} names another place for its environment, TMPDIR for the rest"
        )


def _require_own(place: Path) -> None:
    """Raise BadOption for a folder that holds something else: making an environment empties it."""
    if place.exists() and not place.is_dir():
        raise BadOption(f"{place} is a file; give a folder for the environment of Flink")
    if place.is_dir() and any(place.iterdir()) and not (place / "pyvenv.cfg").is_file():
        raise BadOption(f"{place} holds something else than an environment; give a folder of its own")


def _wanted() -> str:
    pins = sorted(f"{name}=={told}" for name, told in versions.pins().items() if name != "dataflare-nb")
    return "\n".join([f"python=={versions.PYTHON}", *pins, ""])


def default_folder() -> Path:
    """Return where the environment of these pins is kept."""
    if told := os.environ.get(VARIABLE):
        return Path(told).absolute()
    digest = hashlib.sha256(_wanted().encode()).hexdigest()
    return (cache_folder() or Path(tempfile.gettempdir()) / "dataflare").absolute() / f"flink-{digest[:12]}"


def java_home() -> Path:
    """Return where Java is. Raises DataflareError if there is none, or it is too old."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise DataflareError(
            f"a local Flink cluster needs Java {_OLDEST_JAVA} or newer, and there is no `java`; install one "
            "(apt-get install openjdk-17-jre-headless), or set JAVA_HOME"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < _OLDEST_JAVA:
        told = f"Java {found[1]}" if found else "no Java that says its version"
        raise DataflareError(f"a local Flink cluster needs Java {_OLDEST_JAVA} or newer; {java} is {told}")
    return Path(java).resolve().parents[1]


def _make(place: Path) -> None:
    wanted = [each for each in _wanted().split() if not each.startswith("python==")]
    python = str(place / "bin" / "python")
    _step(1, f"an environment for Flink in {place}", [sys.executable, "-m", "venv", "--clear", str(place)])
    # Some of Flink's own dependencies are built here, with tools that newer ones have left behind.
    _step(2, "what builds its dependencies", [python, "-m", "pip", "install", "--quiet", "setuptools<80", "wheel"])
    _step(3, f"{', '.join(wanted)} (1.1 GB)", [python, "-m", "pip", "install", "--quiet", *wanted])
    (place / _READY).write_text(_wanted())


def _step(number: int, what: str, command: Sequence[str]) -> None:
    print(f"dataflare: {number} of 3: making {what} ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise DataflareError(f"the environment for Flink could not be made; step {number} said:\n{said}")


def link_package(packages: Path) -> None:
    """Let a folder of packages have this one, and nothing else that stands beside it."""
    link = packages / _PACKAGE.name
    if link.is_symlink() and link.resolve() == _PACKAGE:
        return
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.symlink_to(_PACKAGE, target_is_directory=True)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let one process at a time make an environment."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        held = (place.parent / f".{place.name}.lock").open("w")
    except OSError as error:
        raise DataflareError(
            f"the environment for Flink cannot be made in {place}: {error.strerror}; {VARIABLE} names another place"
        ) from None
    with held as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
