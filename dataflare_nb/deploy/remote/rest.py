"""Talk to Flink's REST interface: one connection, kept; redirects, TLS, headers, and words for what goes wrong."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from ...errors import BadOption, ClusterError, DataflareError, shown

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_MOST_BYTES = 64 << 20


class Unreachable(ClusterError):  # noqa: N818
    """Nobody answers now; it may be otherwise later."""


class Refused(ClusterError):  # noqa: N818
    """An answer that is a refusal. `status` is that of HTTP, `said` are Flink's own words, `path` is what was asked."""

    def __init__(self, message: str, status: int, said: str, path: str) -> None:
        self.status, self.said, self.path = status, said, path
        super().__init__(message)


class Rest:
    """The REST interface at an address. May be used from any thread; requests go one by one.

    Headers are sent to that address alone. What is secret in it or in them stands in no error and no repr.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        verify: bool = True,
        timeout: float = 10.0,
    ) -> None:
        self._line: http.client.HTTPConnection | None = None
        self.url, signed_in = _address(url)
        self._headers = {"Accept": "application/json", **signed_in, **_checked(headers or {})}
        self._timeout = timeout
        self._tls = _tls(ca, certificate, key, verify=verify)
        self._lock = threading.RLock()
        self._base = self.url

    def get(self, path: str) -> Any:
        """Ask, and return what the JSON of the answer holds."""
        return self._ask("GET", path, None)

    def post(self, path: str, told: Mapping[str, Any]) -> Any:
        """Ask for something to be done."""
        return self._ask("POST", path, told)

    def patch(self, path: str) -> Any:
        """Ask for a change."""
        return self._ask("PATCH", path, None)

    def close(self) -> None:
        """Hang up. Another request opens the connection again."""
        with self._lock:
            self._hang_up()

    def __del__(self) -> None:
        self._hang_up()

    def check(self) -> str:
        """Return the version of the Flink that answers. Raises ClusterError if it is no Flink, or nobody."""
        told = self.get("/config")
        version = told.get("flink-version") if isinstance(told, dict) else None
        if not version:
            raise ClusterError(f"{self.url} answers, but not as Flink does; give the address of a JobManager")
        return str(version)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        with self._lock:
            target = self._base + path
            for _ in range(_MOST_REDIRECTS + 1):
                status, headers, content = self._exchange(method, target, body)
                if status not in _REDIRECTS:
                    return self._understood(method, path, status, headers, content)
                target = self._led(target, path, str(headers.get("Location") or ""))
            raise ClusterError(f"{self.url} redirects more than {_MOST_REDIRECTS} times")

    def _led(self, target: str, path: str, location: str) -> str:
        """Return where a redirect leads, and begin there the next time."""
        led = urljoin(target, location)
        before, after = urlsplit(target), urlsplit(led)
        if not location or after.scheme not in ("http", "https"):
            raise ClusterError(f"{self.url} redirects to nowhere")
        secret = any(name.lower() not in ("accept",) for name in self._headers)
        if secret and (after.hostname != before.hostname or (before.scheme, after.scheme) == ("https", "http")):
            where = f"{after.scheme}://{after.netloc.rpartition('@')[2]}"
            raise ClusterError(f"{self.url} redirects to {where}, which is not sent your headers; give that address")
        if led.endswith(path):
            self._base = led[: len(led) - len(path)]
        return led

    def _exchange(
        self, method: str, target: str, body: Mapping[str, Any] | None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        where = urlsplit(target)
        content = None if body is None else json.dumps(body).encode()
        headers = dict(self._headers) | ({"Content-Type": "application/json"} if content is not None else {})
        asked = where.path + (f"?{where.query}" if where.query else "")
        for attempt in range(2):
            kept = self._line is not None
            try:
                line = self._connected(where.scheme, where.hostname or "", where.port)
                line.request(method, asked, content, headers)
                answer = line.getresponse()
                said = answer.read(_MOST_BYTES + 1)
            except (OSError, http.client.HTTPException) as error:
                self._hang_up()
                # A connection that was kept may have been closed meanwhile; what changes something is not said twice.
                if kept and attempt == 0 and method == "GET" and not isinstance(error, TimeoutError):
                    continue
                raise self._unreachable(error) from None
            if len(said) > _MOST_BYTES:
                self._hang_up()
                raise ClusterError(f"{self.url} answers with more than {_MOST_BYTES >> 20} MiB")
            return answer.status, answer.headers, said
        raise AssertionError("the second attempt returns or raises")

    def _connected(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        line = self._line
        wanted = (http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection, host, port)
        if line is not None and (type(line), line.host, line.port) == (*wanted[:2], port or wanted[0].default_port):
            return line
        self._hang_up()
        if scheme == "https":
            self._line = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        else:
            self._line = http.client.HTTPConnection(host, port, timeout=self._timeout)
        return self._line

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with suppress(OSError):
                line.close()

    def _unreachable(self, error: BaseException) -> ClusterError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return ClusterError(
                f"the certificate of {self.url} is not trusted: {error.verify_message}; "
                "ca='authority.pem' says who may sign it"
            )
        if isinstance(error, ssl.SSLError):
            return ClusterError(
                f"{self.url} does not speak TLS as asked ({error.reason or error}); http:// or https://?"
            )
        if isinstance(error, TimeoutError):
            why = f"no answer in {self._timeout:g} s"
        elif isinstance(error, OSError):
            why = (error.strerror or str(error)).lower()
        else:
            why = "it breaks the connection off" if not str(error) else f"no HTTP ({type(error).__name__})"
        return Unreachable(f"no Flink answers at {self.url}: {why}")

    def _understood(self, method: str, path: str, status: int, headers: http.client.HTTPMessage, content: bytes) -> Any:
        try:
            told = json.loads(content) if content.strip() else {}
        except (ValueError, RecursionError):
            told = None
        if status in (401, 403):
            raise Refused(
                f"{self.url} wants to know who asks (HTTP {status}); headers={{'Authorization': 'Bearer ...'}}",
                status,
                "",
                path,
            )
        if status in (502, 503, 504):
            raise Unreachable(f"no Flink answers at {self.url}: HTTP {status}")
        if told is None:
            kind = headers.get_content_type()
            raise ClusterError(
                f"{self.url} answers {path.partition('?')[0]} with {kind}, not as Flink does (HTTP {status}); "
                "give the address of a JobManager's REST interface, such as http://jobmanager:8081"
            )
        if status >= 400:
            said = _flinks_words(told)
            raise Refused(f"{self.url} refuses {method} {path.partition('?')[0]}: {said}", status, said, path)
        return told

    def __repr__(self) -> str:
        return f"Rest({self.url})"


def _address(url: str) -> tuple[str, dict[str, str]]:
    """Return the address as it may be shown, and the header for a name and password in it."""
    if not isinstance(url, str) or not url.strip():
        raise BadOption(f"url={shown(url)}: it is an address such as 'http://jobmanager:8081'")
    told = url.strip()
    if "://" not in told:
        raise BadOption(f"url={told!r} does not say how to talk to it; 'http://{told}'?")
    try:
        parts = urlsplit(told)
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise BadOption(f"url={told!r} has a host that is none") from None
    try:
        port = parts.port
    except ValueError:
        raise BadOption(f"url={told!r} has a port that is none") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadOption(f"url={parts.scheme + '://' + (parts.hostname or '')!r}: http:// or https:// and a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    where = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    signed_in = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        signed_in["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    # Copied from a browser it ends in the place of Flink's own page.
    return where + quote(parts.path, safe="/%").rstrip("/"), signed_in


@contextmanager
def understood(rest: Rest) -> Iterator[None]:
    """Raise ClusterError where an answer is JSON, but does not hold what those of Flink do."""
    try:
        yield
    except DataflareError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ClusterError(
            f"{rest.url} answers, but not as Flink does ({type(error).__name__}: {error}); "
            "give the address of a JobManager"
        ) from error


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise BadOption("headers are text by name, such as {'Authorization': 'Bearer ...'}")
        if any(ord(sign) < 32 or ord(sign) > 255 for sign in name + value) or not name:
            raise BadOption(f"the header {shown(name)} has a sign that HTTP does not carry")
    return dict(headers)


def _tls(
    ca: str | Path | None, certificate: str | Path | None, key: str | Path | None, *, verify: bool
) -> ssl.SSLContext:
    if key is not None and certificate is None:
        raise BadOption("key= goes with certificate=, which it belongs to")
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
        if certificate is not None:
            context.load_cert_chain(str(certificate), str(key) if key is not None else None)
    except (OSError, ssl.SSLError) as error:
        given = {"ca": ca, "certificate": certificate, "key": key}
        which = ", ".join(f"{name}={str(path)!r}" for name, path in given.items() if path is not None)
        raise BadOption(f"{which} cannot be read: {error.strerror or error}") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _flinks_words(told: Any) -> str:
    """Return the line that matters of the errors that Flink tells."""
    errors = told.get("errors") if isinstance(told, dict) else None
    lines = [line.strip() for text in errors or [] for line in str(text).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    named = causes[-1:] or [line for line in lines if not line.startswith(("at ", "<", "End of", "..."))][:1]
    said = (named or ["it does not say why"])[0]
    return said.rpartition("Exception: ")[2] or said
