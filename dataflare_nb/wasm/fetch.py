"""`host_http`: a guest's requests, each hop of them checked against its policy before a byte is sent.

The standard library's parser is enough for one request and one answer, and the connection must be ours anyway:
a name is resolved once, what it resolved to is judged, and that very address is connected to, so that a name
which changes its mind leads nowhere. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from .hosts import PORTS, HostPattern, address_of, canonical, first_match, kind_of
from .wire import GivenUp, Wire

BAD_REQUEST, NOT_ALLOWED, PRIVATE, UNRESOLVED, UNREACHABLE = -1, -2, -3, -4, -5
TIMED_OUT, TOO_LARGE, TOO_MANY_CALLS, TOO_MANY_REDIRECTS, BAD_RESPONSE = -6, -7, -8, -9, -10
MOST_RESPONSE = 8 << 20
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OURS = {
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"),
    *("expect", "proxy-authorization", "proxy-connection", "accept-encoding"),
}
_SECRETS = frozenset(("authorization", "cookie"))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_URL = re.compile(r"[\x21-\x7e]+")
_RESOLVERS = threading.BoundedSemaphore(8)


class FetchFailed(Exception):  # noqa: N818 - an answer to the guest
    """A request that gets no answer. `code` is what the guest is told."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What the requests of one call of a guest may use."""

    calls: int = 16
    redirects: int = 5
    request_bytes: int = 1 << 20
    response_bytes: int = MOST_RESPONSE
    seconds: float = 10.0


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a guest asks, as JSON; the body comes beside it."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, or in `error` why there is none, until the next request or the end of the call."""

    status: int
    head: bytes = b""
    body: bytes = b""
    error: str = ""


class Fetcher:
    """Requests under one policy. Safe from any thread."""

    def __init__(self, patterns: tuple[HostPattern, ...], limits: FetchLimits) -> None:
        self.patterns, self.limits = patterns, limits

    def fetch(self, head: bytes, body: bytes, *, wanted: Callable[[], bool]) -> Fetched:
        """Return the answer to a request; raises `FetchFailed`."""
        request = _request(head)
        if len(head) + len(body) > self.limits.request_bytes:
            raise FetchFailed(TOO_LARGE, f"a request may have {self.limits.request_bytes} bytes")
        url, method, headers = request.url, request.method, _headers(request.headers)
        wanted = _until(min(self.limits.seconds, (request.timeout_ms or 1e9) / 1000), wanted)
        for _ in range(self.limits.redirects + 1):
            target = _Target.of(url)
            response, wire = self._ask(target, method, headers, body, wanted)
            try:
                onward = response.getheader("location")
                if response.status not in (301, 302, 303, 307, 308) or onward is None:
                    return self._answer(target, method, response)
            except GivenUp:
                raise FetchFailed(TIMED_OUT, f"{target.host} took too long") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise FetchFailed(BAD_RESPONSE, f"{target.host} broke off: {error}") from None
            finally:
                response.close()
                wire.close()
            url = urljoin(target.url, onward)
            after = _Target.of(url)
            if target.scheme == "https" and after.scheme == "http":
                raise FetchFailed(NOT_ALLOWED, f"{target.host} redirects from https to http")
            if (after.scheme, after.host, after.port) != (target.scheme, target.host, target.port):
                headers = {name: value for name, value in headers.items() if name not in _SECRETS}
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = "HEAD" if method == "HEAD" else "GET", b""
                headers.pop("content-type", None)
        raise FetchFailed(TOO_MANY_REDIRECTS, f"more than {self.limits.redirects} redirects")

    def _ask(
        self, target: _Target, method: str, headers: dict[str, str], body: bytes, wanted: Callable[[], bool]
    ) -> tuple[http.client.HTTPResponse, Wire]:
        try:
            with ExitStack() as opened:
                wire = opened.enter_context(closing(self._connected(target, wanted)))
                wire.sendall(target.spelled(method, headers, body) + body)
                response = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
                # Closed before the wire: what is left of it on Python 3.13 complains when it is collected.
                opened.enter_context(closing(response))
                response.begin()
                opened.pop_all()
                return response, wire
        except GivenUp:
            raise FetchFailed(TIMED_OUT, f"{target.host} took too long") from None
        except ssl.SSLError as error:
            raise FetchFailed(UNREACHABLE, f"{target.host} cannot be trusted: {error}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise FetchFailed(BAD_RESPONSE, f"{target.host} does not speak HTTP: {error!r}") from None
        except OSError as error:
            raise FetchFailed(UNREACHABLE, f"{target.host} cannot be reached: {error}") from None

    def _connected(self, target: _Target, wanted: Callable[[], bool]) -> Wire:
        last: OSError | None = None
        for address in self._permitted(target, wanted):
            try:
                wire = Wire(address, target.port, wanted=wanted)
            except GivenUp:
                raise
            except OSError as error:
                last = error
                continue
            if target.scheme == "https":
                try:
                    wire.secure(target.host)
                except BaseException:
                    wire.close()
                    raise
            return wire
        raise last or OSError("no address")

    def _permitted(self, target: _Target, wanted: Callable[[], bool]) -> Iterator[str]:
        pattern = first_match(self.patterns, target.scheme, target.host, target.port)
        if pattern is None:
            raise FetchFailed(
                NOT_ALLOWED, f"{target.scheme}://{target.host}:{target.port} is not in the policy's allowed_hosts"
            )
        addresses = _resolved(target, wanted)
        kinds = {address: kind_of(ipaddress.ip_address(address)) for address in addresses}
        good = [address for address, kind in kinds.items() if kind is None or pattern.literal]
        if not good:
            told = ", ".join(f"{address} ({kind})" for address, kind in kinds.items())
            raise FetchFailed(
                PRIVATE,
                f"{target.host} is {told}; only an entry such as {target.host}:{target.port} in allowed_hosts opens it",
            )
        yield from good[:4]

    def _answer(self, target: _Target, method: str, response: http.client.HTTPResponse) -> Fetched:
        most = self.limits.response_bytes
        body = response.read(most + 1) if method != "HEAD" else b""
        if len(body) > most:
            raise FetchFailed(TOO_LARGE, f"the answer of {target.host} has more than {most} bytes")
        if response.length and method != "HEAD":
            raise FetchFailed(BAD_RESPONSE, f"{target.host} broke off {response.length} bytes before the end")
        headers: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        told = msgspec.json.encode({"status": response.status, "url": target.url, "headers": headers})
        return Fetched(response.status, told, body)


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL taken apart, its host as it is compared and connected to."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> _Target:
        if len(url) > 8192 or not _URL.fullmatch(url) or "\\" in url:
            raise FetchFailed(BAD_REQUEST, "the URL has characters that do not belong there; encode them")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise FetchFailed(BAD_REQUEST, f"the URL does not hold: {error}") from None
        return cls._from(parts, port)

    @classmethod
    def _from(cls, parts: SplitResult, port: int | None) -> _Target:
        if parts.scheme not in PORTS:
            raise FetchFailed(NOT_ALLOWED, f"{parts.scheme or 'no scheme'}: only http and https can be called")
        if "@" in parts.netloc:
            raise FetchFailed(BAD_REQUEST, "the URL holds a name or password; put them into a header")
        bare = parts.hostname or ""
        host = canonical(f"[{bare}]" if ":" in bare else bare)
        if host is None or port == 0:
            raise FetchFailed(BAD_REQUEST, "the URL names no host")
        path = parts.path or "/"
        return cls(parts.scheme, host, port or PORTS[parts.scheme], path + (f"?{parts.query}" if parts.query else ""))

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def spelled(self, method: str, headers: dict[str, str], body: bytes) -> bytes:
        """Return the head of the request."""
        lines = [f"{method} {self.path} HTTP/1.1", f"host: {self.authority}", "connection: close"]
        lines += ["accept-encoding: identity"]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _request(head: bytes) -> Request:
    try:
        request = msgspec.json.decode(head, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FetchFailed(BAD_REQUEST, f"the request is not JSON as it should be: {error}") from None
    if request.method not in _METHODS:
        raise FetchFailed(BAD_REQUEST, f"the method is not one of {', '.join(_METHODS)}")
    return request


def _headers(given: dict[str, str]) -> dict[str, str]:
    headers = {"user-agent": "dataflare-plugin"}
    for name, value in given.items():
        key = name.lower()
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value) or len(given) > 64:
            raise FetchFailed(BAD_REQUEST, "a header has characters that do not belong there, or there are too many")
        if key in _OURS:
            raise FetchFailed(BAD_REQUEST, f"the header {key} is written by the host")
        headers[key] = value
    return headers


def _until(seconds: float, wanted: Callable[[], bool]) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end and wanted()


def _resolved(target: _Target, wanted: Callable[[], bool]) -> list[str]:
    """Return the addresses of a host, waiting no longer than that is wanted: a resolver cannot be interrupted."""
    if address_of(target.host) is not None:
        return [target.host]
    if not _RESOLVERS.acquire(blocking=False):
        raise FetchFailed(UNRESOLVED, "too many names are being looked up")
    found: list[str] = []
    failed: list[OSError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            for *_, place in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
                found.append(str(place[0]).partition("%")[0])
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else OSError(str(error)))
        finally:
            _RESOLVERS.release()
            done.set()

    threading.Thread(target=look_up, name="dataflare-resolver", daemon=True).start()
    while not done.wait(0.02):
        if not wanted():
            raise FetchFailed(TIMED_OUT, f"looking up {target.host} took too long")
    if failed:
        raise FetchFailed(UNRESOLVED, f"{target.host} cannot be found: {failed[0]}")
    return list(dict.fromkeys(found))
