"""Real servers on loopback: a polite one that does what a path says, and sockets that behave badly."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Polite(BaseHTTPRequestHandler):
    """`/echo` tells what came; `/to?url&code` redirects; `/loop` does so for ever; `/bytes?n` sends n bytes."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path)
        asked = parse_qs(parts.query)
        self.server.seen.append((self.command, self.path))  # type: ignore[attr-defined]
        match parts.path:
            case "/to":
                self.send(int(asked.get("code", ["302"])[0]), b"", {"location": unquote(asked["url"][0])})
            case "/loop":
                self.send(302, b"", {"location": "/loop"})
            case "/bytes":
                self.send(200, b"x" * int(asked["n"][0]), {})
            case _:
                told = {"method": self.command, "path": self.path, "body": body.decode("latin-1")}
                told["headers"] = {name.lower(): value for name, value in self.headers.items()}  # type: ignore[assignment]
                self.send(200, json.dumps(told).encode(), {"x-two": "a", "X-Two": "b"})

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - the handler's names

    def send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Polite)
        self.seen: list[tuple[str, str]] = []
        self.scheme = "https" if tls else "http"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str = "/echo", host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def polite(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve until the end of the block."""
    with Server(tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def rude(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Accept connections and let `behave` do with each what it likes; yield the port."""
    over = threading.Event()

    def each(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            behave(peer, over)

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=each, args=(peer,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def silent(peer: socket.socket, over: threading.Event) -> None:
    """Say nothing."""
    over.wait(30)


def dripping(start: bytes, drop: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Say something, then one drop after the other."""

    def behave(peer: socket.socket, over: threading.Event) -> None:
        peer.recv(65536)
        peer.sendall(start)
        while not over.is_set():
            peer.sendall(drop)
            time.sleep(0.02)

    return behave


def flooding(start: bytes, more: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Say something, then more and more without a pause."""

    def behave(peer: socket.socket, over: threading.Event) -> None:
        peer.recv(65536)
        peer.sendall(start)
        while not over.is_set():
            peer.sendall(more)

    return behave


def saying(answer: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Say something and hang up."""

    def behave(peer: socket.socket, over: threading.Event) -> None:
        peer.recv(65536)
        peer.sendall(answer)

    return behave


def authority(folder: Path, names: list[str]) -> tuple[ssl.SSLContext, Path]:
    """Return a server's TLS context for some names, and the certificate that vouches for it."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    known: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(known), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return context, certificate
