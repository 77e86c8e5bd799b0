"""A server that answers as Flink's REST interface does, for one job of any size, and what goes wrong on the way."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

IDS = ["0123456789abcdef0123456789abcde" + digit for digit in "0123456789abcdef"]


class Flink:
    """What the server knows and does; tests change it while it answers."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.vertices: list[dict[str, Any]] = []
        self.metrics: dict[str, dict[str, dict[str, float]]] = {}
        self.config: dict[str, str] = {}
        self.asked: list[str] = []
        self.told: list[tuple[str, str, Any]] = []
        self.headers: dict[str, str] = {}
        self.answer_bytes = 0
        self.status = 200
        self.html = False
        self.redirect: str | None = None
        self.failure = ""
        self.elapsed = 60_000
        self.restarts = 0
        self.trace = ""
        self.odd: dict[str, Any] = {}

    def add(self, name: str, state: str = "RUNNING", start: int = 1_000) -> str:
        jid = IDS[len(self.jobs)]
        self.jobs.append({"jid": jid, "name": name, "state": state, "start-time": start})
        return jid

    def vertex(self, name: str, parallelism: int, reads: str | None = None, **metrics: dict[str, float]) -> None:
        vertex = f"v{len(self.vertices)}"
        self.vertices.append({"id": vertex, "name": name, "parallelism": parallelism, "reads": reads})
        self.metrics[vertex] = {key.replace("__", "."): value for key, value in metrics.items()}

    def answer(self, method: str, place: str, body: Any) -> Any:
        parts = urlsplit(place)
        asked = parse_qs(parts.query)
        match [method, *parts.path.strip("/").split("/")]:
            case ["GET", "config"]:
                return {"flink-version": "2.3.0"}
            case ["GET", "jobmanager", "config"]:
                return [{"key": "metrics.fetcher.update-interval", "value": "1000"}]
            case ["GET", *_] if parts.path in self.odd:
                return self.odd[parts.path]
            case ["GET", "jobs", "overview"]:
                return {"jobs": self.jobs}
            case ["GET", "jobs", jid] if (job := self._job(jid)) is not None:
                return self._details(job)
            case ["GET", "jobs", _, "config"]:
                return {"execution-config": {"user-config": self.config}}
            case ["GET", "jobs", _, "checkpoints"]:
                return {"counts": {"completed": 7, "failed": 1, "in_progress": 0, "restored": 0}, "history": []}
            case ["GET", "jobs", _, "metrics"]:
                return [{"id": "numRestarts", "value": str(self.restarts)}]
            case ["GET", "jobs", _, "exceptions"]:
                entry = {"timestamp": 5_000, "exceptionName": "java.lang.Exception", "stacktrace": self.trace}
                return {"exceptionHistory": {"entries": [entry] if self.trace else []}}
            case ["GET", "jobs", _, "vertices", vertex, "subtasks", "metrics"]:
                known = self.metrics[vertex]
                if "get" not in asked:
                    return [{"id": name} for name in known]
                return [{"id": name, **known[name]} for name in asked["get"][0].split(",") if name in known]
            case ["POST", "jobs", _, "checkpoints" | "savepoints" | "stop"]:
                return {"request-id": "r1"}
            case ["GET", "jobs", jid, "savepoints", "r1"]:
                if self.failure:
                    return {
                        "status": {"id": "COMPLETED"},
                        "operation": {"failure-cause": {"stack-trace": self.failure}},
                    }
                if any(place.endswith("/stop") for _, place, _ in self.told):
                    self._end(jid, "FINISHED")
                return {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/savepoints/1"}}
            case ["GET", "jobs", _, "checkpoints", "r1"]:
                return {"status": {"id": "COMPLETED"}, "operation": {"checkpointId": 8, "failureCause": None}}
            case ["PATCH", "jobs", jid]:
                self._end(jid, "CANCELED")
                return {}
        return None

    def _job(self, jid: str) -> dict[str, Any] | None:
        return next((job for job in self.jobs if job["jid"] == jid), None)

    def _end(self, jid: str, state: str) -> None:
        job = self._job(jid)
        assert job is not None
        job["state"] = state

    def _details(self, job: dict[str, Any]) -> dict[str, Any]:
        running = {"RUNNING": 1}
        vertices = [
            {
                "id": each["id"],
                "name": each["name"],
                "parallelism": each["parallelism"],
                "tasks": dict.fromkeys(running, each["parallelism"]),
                "metrics": {"accumulated-busy-time": 30_000, "accumulated-idle-time": 60_000},
            }
            for each in self.vertices
        ]
        ids = {each["name"]: each["id"] for each in self.vertices}
        nodes = [
            {"id": each["id"], "inputs": [{"id": ids[each["reads"]]}] if each["reads"] else []}
            for each in reversed(self.vertices)
        ]
        return {**job, "duration": self.elapsed, "vertices": vertices, "plan": {"nodes": nodes}}


@contextmanager
def served(flink: Flink, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve it; return its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # Head and body in one packet.

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            flink.asked.append(self.path)
            if self.command != "GET":
                flink.told.append((self.command, self.path, body))
            if flink.redirect is not None and self.path.startswith("/old"):
                self._send(307, b"", Location=flink.redirect + self.path.removeprefix("/old"))
                return
            if any(self.headers.get(name) != value for name, value in flink.headers.items()):
                self._send(401, b"who are you?")
                return
            if flink.html:
                self._send(flink.status, b"<html>hello</html>", **{"Content-Type": "text/html"})
                return
            told = flink.answer(self.command, self.path, body)
            if told is None:
                errors = {"errors": ["Not found.", "NotFoundException: Job not found\n\tat x"]}
                self._send(404, json.dumps(errors).encode())
            else:
                self._send(200, json.dumps(told).encode())

        def _send(self, status: int, content: bytes, **headers: str) -> None:
            flink.answer_bytes += len(content)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        live: set[Any] = set()  # noqa: RUF012

        def process_request(self, request: Any, address: Any) -> None:
            self.live.add(request)
            super().process_request(request, address)

    server = Server(("127.0.0.1", port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        for each in server.live:
            try:
                each.shutdown(2)
            except OSError:
                continue
        thread.join()
