"""A real Jupyter server with JupyterLab and Notebook 7, and a notebook of its own for each test."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from .chromium import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = {"lab": "lab/tree", "notebook": "notebooks"}


class Server:
    """A Jupyter server on this machine, for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.address = f"http://127.0.0.1:{_free_port()}"
        self._kernels = folder / "data" / "kernels"
        self.offer("python3", str(ROOT))
        asks = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        asks.parent.mkdir(parents=True)
        asks.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        places = {f"JUPYTER_{what}_DIR": str(folder / what.lower()) for what in ("CONFIG", "DATA", "RUNTIME")} | {
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        }
        # In a virtual environment Jupyter would prefer the kernel of that environment.
        places["JUPYTER_PREFER_ENV_PATH"] = "0"
        env = {**os.environ, **places, "IPYTHONDIR": str(folder / "ipython")}
        env.pop("DATAFLARE_STATIC", None)
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                f"--ServerApp.port={self.address.rpartition(':')[2]}",
                "--IdentityProvider.token=",
                "--ServerApp.disable_check_xsrf=True",
                f"--ServerApp.root_dir={self.folder}",
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            env=env,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def offer(self, kernel: str, python_path: str) -> str:
        """Let notebooks have a kernel of that name, with more to import than is installed."""
        spec = self._kernels / kernel
        spec.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        described = {"argv": argv, "display_name": kernel, "language": "python", "env": {"PYTHONPATH": python_path}}
        (spec / "kernel.json").write_text(json.dumps(described))
        return kernel

    def wait(self, timeout: float = 60.0) -> Server:
        deadline = time.monotonic() + timeout
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/api/status", timeout=5):
                    return self
            except OSError:
                assert time.monotonic() < deadline, Path(self._log.name).read_text()[-4_000:]
                assert self._process.poll() is None, Path(self._log.name).read_text()[-4_000:]
                time.sleep(0.1)

    def close(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        self._log.close()

    def ask(self, method: str, path: str) -> Any:
        """Ask the server itself."""
        request = urllib.request.Request(f"{self.address}/api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, server: Server, page: Page, name: str, front: str) -> None:
        self.server, self.page, self.name = server, page, name
        self.path = server.folder / f"{name}.ipynb"
        self.address = f"{server.address}/{PATHS[front]}/{name}.ipynb" + ("?reset" if front == "lab" else "")

    def open(self) -> Notebook:
        self.page.goto(self.address, wait_until="domcontentloaded")
        self.ready()
        return self

    def ready(self) -> None:
        """Wait until the kernel can be asked to run something."""
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell .cm-content", timeout=60_000)
        self.page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", timeout=60_000)
        self.until(self._connected, 60.0)

    def _connected(self) -> bool:
        kernels = [each["kernel"] for each in self.server.ask("GET", "sessions") if each["path"] == self.path.name]
        return any(each["connections"] and each["execution_state"] == "idle" for each in kernels)

    def cell(self, number: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def run(self, number: int, *, wait: bool = True) -> None:
        """Run a cell as a person does, and wait until it has run."""
        prompt = self.cell(number).locator(".jp-InputPrompt")
        before = prompt.inner_text()

        def begun() -> bool:
            return prompt.inner_text() not in ("[ ]:", before)

        for _ in range(5):
            self.cell(number).locator(".cm-content").click()
            self.page.keyboard.press("Control+Enter")
            # A page that still talks to its kernel for the first time may not hear the key, or forget it.
            with contextlib.suppress(AssertionError):
                self.until(begun, 3.0)
                if not wait:
                    return
                self.until(lambda: prompt.inner_text() != "[*]:", 60.0)
                if begun():
                    return
        raise AssertionError(f"cell {number} does not run")

    def until(self, done: Callable[[], Any], timeout: float = 30.0) -> Any:
        deadline = time.monotonic() + timeout
        while not (found := done()):
            assert time.monotonic() < deadline, "what was waited for has not come"
            self.page.wait_for_timeout(30)
        return found

    def save(self) -> nbformat.NotebookNode:
        """Save as a person does, and return what is in the file."""
        before = self.path.stat().st_mtime_ns
        self.cell(0).locator(".cm-content").click()
        self.page.keyboard.press("Control+s")
        self.until(lambda: self.path.stat().st_mtime_ns != before)
        time.sleep(0.2)
        return nbformat.read(self.path, as_version=4)


@contextlib.contextmanager
def notebook(
    server: Server, browser: Browser, front: str, name: str, *cells: str, kernel: str = "python3"
) -> Iterator[Notebook]:
    """Open a new notebook of these cells; its kernel goes when the test is over."""
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
    )
    nbformat.write(book, server.folder / f"{name}.ipynb")
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    opened = Notebook(server, page, name, front)
    try:
        yield opened.open()
    finally:
        page.close()
        for each in server.ask("GET", "sessions"):
            if each["path"] == f"{name}.ipynb":
                server.ask("DELETE", f"sessions/{each['id']}")
