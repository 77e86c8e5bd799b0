"""A real ipykernel and what a page would say to it, without a browser."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]

Message = dict[str, Any]


class Kernel:
    """A kernel and everything that it has published."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.seen: list[Message] = []
        self.shell: str | None = None

    def run(self, code: str, timeout: float = 60.0) -> list[Message]:
        """Run a cell, and return what it showed and printed."""
        asked = self.send(code)
        until = time.monotonic() + timeout
        self.until(lambda: self._idle(asked), until - time.monotonic())
        outputs = [m for m in self.seen if m["parent_header"].get("msg_id") == asked]
        errors = [m["content"] for m in outputs if m["msg_type"] == "error"]
        assert not errors, "\n".join(errors[0]["traceback"])
        return [m for m in outputs if m["msg_type"] in ("display_data", "execute_result", "stream")]

    def send(self, code: str) -> str:
        """Run a cell, and do not wait for it."""
        return str(self.client.execute(code, store_history=True))

    def _idle(self, asked: str) -> bool:
        return any(
            m["msg_type"] == "status"
            and m["content"]["execution_state"] == "idle"
            and m["parent_header"].get("msg_id") == asked
            for m in self.seen
        )

    def until(self, done: Callable[[], Any], timeout: float = 30.0, what: str = "") -> Any:
        """Read what is published until something is so, and return that."""
        deadline = time.monotonic() + timeout
        while not (found := done()):
            left = deadline - time.monotonic()
            assert left > 0, what or "the kernel has not said what was waited for"
            self.read(min(left, 0.2))
        return found

    def read(self, timeout: float) -> None:
        """Read one message if there is one, and all that wait behind it."""
        with contextlib.suppress(Exception):
            while True:
                message = self.client.get_iopub_msg(timeout=timeout)
                message["seen_at"] = time.monotonic()
                self.seen.append(message)
                timeout = 0.0

    def listen(self, seconds: float) -> list[Message]:
        """Return what is published in so many seconds."""
        start, end = len(self.seen), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(min(left, 0.1))
        return self.seen[start:]

    # The page's side of a comm

    def dashboard(self) -> str:
        """Return the comm of the dashboard that was opened last."""
        return str(
            [
                m["content"]["comm_id"]
                for m in self.seen
                if m["msg_type"] == "comm_open" and "graph" in m["content"]["data"].get("state", {})
            ][-1]
        )

    def state(self, comm: str) -> dict[str, Any]:
        """Return the model's traits as they are now."""
        state: dict[str, Any] = {}
        for m in self.seen:
            if m["msg_type"] in ("comm_open", "comm_msg") and m["content"]["comm_id"] == comm:
                state |= m["content"]["data"].get("state", {})
        return state

    def said(self, comm: str, kind: str) -> list[Message]:
        """Return the messages of one kind: their content, with the buffers and the time."""
        return [
            {**m["content"]["data"]["content"], "buffers": m["buffers"], "seen_at": m["seen_at"]}
            for m in self.seen
            if m["msg_type"] == "comm_msg"
            and m["content"]["comm_id"] == comm
            and m["content"]["data"].get("method") == "custom"
            and m["content"]["data"]["content"].get("t") == kind
        ]

    def tell(self, comm: str, content: Message) -> None:
        """Say what a page says, on the subshell if there is one, as JupyterLab does."""
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if self.shell is not None:
            message["header"]["subshell_id"] = self.shell
        self.client.shell_channel.send(message)

    def subshell(self) -> bool:
        """Ask for a subshell, and return whether this kernel has any."""
        session, channel = self.client.session, self.client.control_channel
        message = session.msg("create_subshell_request", {})
        channel.send(message)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                reply = channel.get_msg(timeout=0.5)
                if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                    self.shell = reply["content"].get("subshell_id")
                    break
        return self.shell is not None

    def threads(self) -> list[str]:
        """Return the names of the kernel's threads that are ours."""
        shown = self.run(
            "import threading; print(sorted(t.name for t in threading.enumerate() if t.name.startswith('dataflare:')))"
        )
        return list(eval("".join(m["content"]["text"] for m in shown)))


@contextlib.contextmanager
def kernel(**environment: str) -> Iterator[Kernel]:
    """Start a kernel of this interpreter."""
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="tested",
        language="python",
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "2", **environment}
    if "DATAFLARE_STATIC" not in environment:
        env.pop("DATAFLARE_STATIC", None)
    manager.start_kernel(env=env)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
