"""Run the tutorials: compare them with what is saved in them, weigh them, or save them anew.

python -m tests.notebooks                  compare all, and print seconds, memory and size of each
python -m tests.notebooks --save 02 03     run these two and save what they give
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
MOST_SECONDS, MOST_BYTES, MOST_FILE_BYTES = 60.0, 1 << 30, 300_000
_STATIC = {"DATAFLARE_STATIC": "1", "POLARS_MAX_THREADS": "2"}
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Run:
    """How a notebook ran: what was said of it, and what it took."""

    path: Path
    passed: bool
    said: str
    seconds: float
    waited: float
    """Seconds in which somebody waited for a processor, which may not be the notebook's fault."""
    peak_bytes: int

    def complaints(self) -> list[str]:
        """Say what is wrong with it."""
        said = [] if self.passed else [self.said]
        if self.seconds - self.waited > MOST_SECONDS:
            said.append(
                f"it took {self.seconds:.0f} s, {self.waited:.0f} of them waiting; the most is {MOST_SECONDS:.0f} s"
            )
        if self.peak_bytes > MOST_BYTES:
            said.append(f"it took {self.peak_bytes >> 20} MiB; the most is {MOST_BYTES >> 20} MiB")
        if self.path.stat().st_size > MOST_FILE_BYTES:
            said.append(f"it has {self.path.stat().st_size:,} bytes; the most is {MOST_FILE_BYTES:,}")
        return said

    def __str__(self) -> str:
        state = "ok" if not self.complaints() else "FAILED"
        return (
            f"{self.path.stem:<28} {state:<6} {self.seconds:5.1f} s  {self.peak_bytes >> 20:5d} MiB  "
            f"{self.path.stat().st_size / 1e3:4.0f} kB"
        )


def compare(path: Path) -> Run:
    """Run a notebook by nbval, which compares its outputs, and watch what that takes.

    The memory is that of nbval, the kernel and all that they start, together, so a little more than the notebook's own.
    """
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=0"]
    command = [sys.executable, "-m", "pytest", "--nbval", *options, str(path)]
    started, stalled = time.monotonic(), _stalled()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as done:
        peak = _Peak(done.pid)
        said, _ = done.communicate()
    seconds, waited = time.monotonic() - started, _stalled() - stalled
    return Run(path, done.returncode == 0, said[-4_000:], seconds, waited, peak.stop())


def save(path: Path) -> None:
    """Run a notebook as tests do, and save what it gives, without what depends on the machine or the time."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    os.environ.update(_STATIC)
    NotebookClient(notebook, timeout=60, kernel_name="python3", record_timing=False, cwd=str(path.parent)).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", {}
        for output in cell.get("outputs", []):
            output.pop("transient", None)
    notebook.metadata = nbformat.from_dict(_METADATA)
    nbformat.write(notebook, path)


class _Peak:
    """The most memory that a process and all below it have had together, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self._most = max(self._most, sum(_resident(pid) for pid in _family(self._pid)))


def _stalled() -> float:
    """Return the seconds in which anything on this machine has waited for a processor; 0 where nobody counts them."""
    text = _or_nothing(Path("/proc/pressure/cpu").read_text)
    return int(text.partition("total=")[2].split()[0]) / 1e6 if "total=" in text else 0.0


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, _or_nothing(children.read_text).split())
    return found


def _resident(pid: int) -> int:
    fields = _or_nothing(Path(f"/proc/{pid}/statm").read_text).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _or_nothing(read: Callable[[], str]) -> str:
    """Read what may be gone by now."""
    try:
        return read()
    except OSError:
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginnings of names, such as 02 (default: all)")
    parser.add_argument("--save", action="store_true", help="save what they give, instead of comparing it")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="compare each so often (default: once)")
    asked = parser.parse_args()
    chosen = [path for path in ALL if not asked.names or path.name.startswith(tuple(asked.names))]
    failed = 0
    for path in chosen:
        if asked.save:
            save(path)
            print(f"{path.stem:<28} saved, {path.stat().st_size / 1e3:.0f} kB")
            continue
        for _ in range(asked.times):
            run = compare(path)
            failed += bool(run.complaints())
            print(run, *run.complaints(), sep="\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
