"""`host_http` reaches the hosts a policy names, and nothing else by any detour."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dataflare_nb.errors import WasmConfiguration, WasmInterrupted, WasmTimeout
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.fetch import (
    BAD_REQUEST,
    BAD_RESPONSE,
    NOT_ALLOWED,
    PRIVATE,
    TIMED_OUT,
    TOO_LARGE,
    TOO_MANY_CALLS,
    TOO_MANY_REDIRECTS,
    UNREACHABLE,
    UNRESOLVED,
)
from dataflare_nb.wasm.hostcalls import HostFunctions
from dataflare_nb.wasm.wire import trusted

from .asking import answers, ask, asking, call, data, imported
from .guests import plugin
from .servers import Server, authority, dripping, flooding, polite, rude, saying, silent

HEAD, BODY, PARTS, ROOM = 1024, 9216, (16384, 32768, 61440), (16384, 28672, 4096)
NAMES = ["host_http", "host_http_read"]


@dataclass
class Answer:
    status: int
    head: dict[str, Any]
    body: bytes
    error: str


@pytest.fixture
def server() -> Iterator[Server]:
    with polite() as found:
        yield found


def asks(request: dict[str, Any] | bytes, body: bytes = b"", *, hosts: list[str], **policy: Any) -> Any:
    """Return a plugin that makes one request."""
    raw = request if isinstance(request, bytes) else json.dumps(request).encode()
    questions = [call("host_http", HEAD, len(raw), BODY, len(body))]
    questions += [call("host_http_read", part, PARTS[part], ROOM[part]) for part in range(3)]
    granted = {"allow_network": True, "allowed_hosts": hosts, **policy}
    return asking(*questions, imports=NAMES, extra=data(HEAD, raw) + data(BODY, body), policy=granted)


def fetch(
    request: dict[str, Any] | bytes | str,
    body: bytes = b"",
    *,
    hosts: list[str],
    host: HostFunctions | None = None,
    **policy: Any,
) -> Answer:
    """Let a guest make one request, and look at what it was given."""
    asked = {"url": request} if isinstance(request, str) else request
    session = Session(asks(asked, body, hosts=hosts, **policy), host=host)
    try:
        status, *lengths = answers(session, 4)
        with session.pool.guest() as guest:
            parts = [guest.memory.read(at, min(n, room), "") for at, n, room in zip(PARTS, lengths, ROOM, strict=True)]
    finally:
        session.close()
    return Answer(status, json.loads(parts[0] or b"{}"), parts[1], parts[2].decode())


def local(server: Server) -> list[str]:
    return [f"localhost:{server.port}"]


# ---- what works ----


def test_a_guest_asks_and_is_answered(server: Server):
    answer = fetch(server.url("/echo?q=1#part"), hosts=local(server))
    told = json.loads(answer.body)
    assert answer.status == answer.head["status"] == 200
    assert answer.head["url"] == server.url("/echo?q=1")
    assert answer.head["headers"]["x-two"] == "a, b"
    assert answer.error == ""
    assert (told["method"], told["path"]) == ("GET", "/echo?q=1")
    assert told["headers"] == {
        "host": f"localhost:{server.port}",
        "connection": "close",
        "accept-encoding": "identity",
        "user-agent": "dataflare-plugin",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_body_and_headers_are_sent(server: Server, method: str):
    request = {"url": server.url(), "method": method, "headers": {"X-Own": "1", "User-Agent": "me"}}
    told = json.loads(fetch(request, b"\x00\xffbody", hosts=local(server)).body)
    assert told["method"] == method
    assert told["body"].encode("latin-1") == b"\x00\xffbody"
    assert told["headers"]["x-own"] == "1"
    assert told["headers"]["user-agent"] == "me"
    assert told["headers"]["content-length"] == "6"


def test_an_error_of_the_server_is_an_answer(server: Server):
    answer = fetch({"url": server.url("/to?url=x&code=503"), "method": "GET"}, hosts=local(server))
    assert answer.status == 503


def test_head_has_no_body(server: Server):
    answer = fetch({"url": server.url("/bytes?n=100"), "method": "HEAD"}, hosts=local(server))
    assert (answer.status, answer.body, answer.head["headers"]["content-length"]) == (200, b"", "100")


def test_chunks_are_put_together():
    with rude(saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) as port:
        assert fetch(f"http://localhost:{port}", hosts=[f"localhost:{port}"]).body == b"abcde"


def test_requests_are_counted(server: Server):
    counted: dict[str, int] = {}
    host = HostFunctions("guest", count=lambda name, by: counted.update({name: counted.get(name, 0) + by}))
    fetch(server.url("/bytes?n=7"), hosts=local(server), host=host)
    fetch("http://example.org", hosts=local(server), host=host)
    assert counted == {"guest.http.requests": 2, "guest.http.bytes": 7, "guest.http.failed": 1}


def test_the_environments_proxies_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch(server.url(), hosts=local(server)).status == 200


def test_an_answer_lasts_until_the_end_of_the_call(server: Server):
    read = call("host_http_read", 1, PARTS[1], 3)
    request = json.dumps({"url": server.url("/bytes?n=7")}).encode()
    again = [read, call("host_http", HEAD, len(request), 0, 0), read, read, call("host_http_read", 1, 131_071, 3)]
    again += [call("host_http_read", 3, 0, 0), call("host_http_read", -1, 0, 0)]
    policy = {"allow_network": True, "allowed_hosts": local(server)}
    session = Session(asking(*again, imports=NAMES, extra=data(HEAD, request), policy=policy))
    for _ in range(2):
        assert answers(session, 7) == [-1, 200, 7, 7, -1, -1, -1]
    session.close()


# ---- what is not allowed ----


def test_without_a_grant_there_is_no_such_function():
    with pytest.raises(WasmConfiguration, match=r"imports dataflare\.host_http, which its policy does not grant"):
        Session(plugin(imports=imported("host_http")))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "https://localhost:{port}/",
        "http://localhost/",
        "http://localhost.:{other}/",
        "ftp://localhost:{port}/",
        "file:///etc/passwd",
        "localhost:{port}",
        "//localhost:{port}/",
        "",
    ],
)
def test_what_no_pattern_names_is_not_called(server: Server, url: str):
    asked = url.format(port=server.port, other=server.port + 1)
    answer = fetch(asked, hosts=[f"http://localhost:{server.port}"])
    assert answer.status in (NOT_ALLOWED, BAD_REQUEST), answer
    assert (answer.head, answer.body) == ({}, b"")
    assert answer.error
    assert server.seen == []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that resolve to what a test says; how often each was asked for is counted under `asked`."""
    real = socket.getaddrinfo
    table: dict[str, list[str]] = {"asked": []}

    def resolve(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        table["asked"].append(host)
        if host not in table:
            return real(host, port, *args, **options)
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_a_name_that_leads_to_a_private_address_is_not_called(names: dict[str, list[str]], address: str):
    names["api.example.com"] = [address]
    for hosts in (["api.example.com"], ["*.example.com"], ["*.example.com:80", "https://api.example.com"]):
        answer = fetch("http://api.example.com/", hosts=hosts)
        assert answer.status == PRIVATE
        assert address in answer.error
        assert "only an entry such as api.example.com:80 in allowed_hosts opens it" in answer.error


@pytest.mark.parametrize(
    "url", ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.0.0.1./"]
)
def test_other_spellings_of_an_address_are_none(url: str):
    assert fetch(url, hosts=["127.0.0.1"]).status in (BAD_REQUEST, UNREACHABLE)


def test_a_private_address_that_is_named_is_called(server: Server, names: dict[str, list[str]]):
    names["intranet.example"] = ["127.0.0.1"]
    assert fetch(server.url(host="intranet.example"), hosts=[f"intranet.example:{server.port}"]).status == 200
    assert fetch(server.url(host="127.0.0.1"), hosts=[f"127.0.0.1:{server.port}"]).status == 200


def test_a_name_is_resolved_once_and_cannot_change_its_mind(server: Server, names: dict[str, list[str]]):
    """The address that was judged is the one that is called, though the name leads elsewhere from then on."""

    class Turning(list[str]):
        def __iter__(self) -> Iterator[str]:
            first = not names["asked"][:-1]
            return iter(["127.0.0.1"] if first else ["10.255.255.1"])

    names["turning.example"] = Turning()
    answer = fetch(server.url(host="turning.example"), hosts=[f"turning.example:{server.port}"])
    assert answer.status == 200
    assert names["asked"] == ["turning.example"]


def test_of_several_addresses_the_public_ones_are_called(names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch):
    names["mixed.example"] = ["127.0.0.1", "8.8.8.8"]
    tried: list[str] = []

    class Refusing(socket.socket):
        def connect_ex(self, place: Any) -> int:
            tried.append(place[0])
            return 111

    monkeypatch.setattr(socket, "socket", Refusing)
    assert fetch("http://mixed.example/", hosts=["mixed.example"]).status == UNREACHABLE
    assert tried == ["8.8.8.8"]


# ---- redirects ----


def test_a_redirect_is_followed(server: Server):
    answer = fetch(server.url("/to?url=/echo"), hosts=local(server))
    assert (answer.status, answer.head["url"]) == (200, server.url("/echo"))


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://127.0.0.1:{port}/echo", NOT_ALLOWED),
        ("http://169.254.169.254/latest/meta-data", NOT_ALLOWED),
        ("http://[::1]:{port}/echo", NOT_ALLOWED),
        ("http://localhost:1/echo", NOT_ALLOWED),
        ("http://open.example/", PRIVATE),
        ("//open.example/", PRIVATE),
        ("file:///etc/passwd", NOT_ALLOWED),
        ("gopher://localhost:{port}/", NOT_ALLOWED),
        ("http://user:word@localhost:{port}/", BAD_REQUEST),
        ("http://local host/", BAD_REQUEST),
        ("/loop", TOO_MANY_REDIRECTS),
    ],
)
def test_each_redirect_is_checked(server: Server, names: dict[str, list[str]], target: str, code: int):
    names["open.example"] = ["127.0.0.1"]
    url = target.format(port=server.port).replace(" ", "%20")
    answer = fetch(server.url(f"/to?url={url}"), hosts=[*local(server), "open.example"])
    assert answer.status == code, answer
    assert all(path.startswith(("/to", "/loop")) for _, path in server.seen)


def test_secrets_do_not_travel_to_another_host(server: Server):
    with polite() as other:
        request = {
            "url": server.url(f"/to?url={other.url()}"),
            "headers": {"Authorization": "a", "Cookie": "b", "X": "c"},
        }
        told = json.loads(fetch(request, hosts=[*local(server), *local(other)]).body)
        assert told["headers"].get("x") == "c"
        assert not {"authorization", "cookie"} & told["headers"].keys()
        request = {"url": server.url("/to?url=/echo"), "headers": {"Authorization": "a"}}
        assert json.loads(fetch(request, hosts=local(server)).body)["headers"]["authorization"] == "a"


@pytest.mark.parametrize(("code", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirected_post_is_one_of_get_unless_it_must_not_be(server: Server, code: int, method: str):
    request = {"url": server.url(f"/to?url=/echo&code={code}"), "method": "POST"}
    told = json.loads(fetch(request, b"body", hosts=local(server)).body)
    assert (told["method"], told["body"]) == (method, "body" if method == "POST" else "")


# ---- TLS ----


@pytest.fixture
def vouching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    context, certificate = authority(tmp_path, ["localhost", "127.0.0.1"])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    trusted.cache_clear()
    yield context
    trusted.cache_clear()


def test_a_server_that_is_vouched_for_is_called_over_tls(vouching: Any):
    with polite(vouching) as server:
        for host in ("localhost", "127.0.0.1"):
            answer = fetch(server.url("/bytes?n=20000", host=host), hosts=[f"{host}:{server.port}"])
            assert (answer.status, len(answer.body)) == (200, 20000)


def test_no_redirect_leads_from_tls_to_the_open(vouching: Any, server: Server):
    with polite(vouching) as safe:
        answer = fetch(safe.url(f"/to?url={server.url()}"), hosts=[*local(safe), *local(server)])
        assert answer.status == NOT_ALLOWED
        assert "from https to http" in answer.error
        assert server.seen == []


def test_a_certificate_of_another_name_is_refused(vouching: Any, names: dict[str, list[str]]):
    names["other.example"] = ["127.0.0.1"]
    with polite(vouching) as server:
        answer = fetch(server.url(host="other.example"), hosts=[f"other.example:{server.port}"])
        assert answer.status == UNREACHABLE
        assert "cannot be trusted" in answer.error


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path):
    context, _ = authority(tmp_path, ["localhost"])
    trusted.cache_clear()
    with polite(context) as server:
        assert fetch(server.url(), hosts=local(server)).status == UNREACHABLE
        assert server.seen == []


def test_what_does_not_speak_tls_is_unreachable(server: Server):
    url = server.url().replace("http:", "https:")
    assert fetch(url, hosts=local(server)).status == UNREACHABLE


# ---- time ----

SLOW = {
    "silent": silent,
    "dripping its head": dripping(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n"),
    "dripping a line": dripping(b"HTTP/1.1 200 OK\r\nx: ", b"y"),
    "dripping its body": dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x"),
    "always about to answer": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "about to answer without a pause": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000),
}


@pytest.mark.parametrize("behave", SLOW.values(), ids=SLOW.keys())
def test_a_slow_server_is_given_up_in_time(behave: Any):
    with rude(behave) as port:
        start = time.monotonic()
        request = {"url": f"http://localhost:{port}/", "timeout_ms": 200}
        assert fetch(request, hosts=[f"localhost:{port}"]).status == TIMED_OUT
        assert 0.2 <= time.monotonic() - start < 2


def test_the_guests_own_time_is_the_end_of_all_requests():
    with rude(silent) as port:
        session = Session(
            asks({"url": f"http://localhost:{port}/"}, hosts=[f"localhost:{port}"], max_execution_time=200)
        )
        start = time.monotonic()
        with pytest.raises(WasmTimeout, match="ran longer than its 200 ms"):
            answers(session, 4)
        assert 0.2 <= time.monotonic() - start < 2
        session.close()


def test_a_job_that_is_stopped_does_not_wait_for_an_answer():
    with rude(silent) as port:
        session = Session(asks({"url": f"http://localhost:{port}/"}, hosts=[f"localhost:{port}"]))
        caught: list[BaseException] = []

        def work() -> None:
            try:
                answers(session, 4)
            except WasmInterrupted as error:
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        start = time.monotonic()
        session.interrupt()
        thread.join(5)
        assert time.monotonic() - start < 1
        assert caught
        session.close()


def test_a_name_server_that_does_not_answer_is_given_up(names: dict[str, list[str]]):
    over = threading.Event()

    class Hanging(list[str]):
        def __iter__(self) -> Iterator[str]:
            over.wait(10)
            return iter(["8.8.8.8"])

    names["hanging.example"] = Hanging()
    start = time.monotonic()
    request = {"url": "http://hanging.example/", "timeout_ms": 200}
    assert fetch(request, hosts=["hanging.example"]).status == TIMED_OUT
    assert time.monotonic() - start < 2
    over.set()


def test_what_is_not_there_is_said(names: dict[str, list[str]]):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert fetch(f"http://localhost:{port}/", hosts=[f"localhost:{port}"]).status == UNREACHABLE
    assert fetch("http://nowhere.invalid/", hosts=["nowhere.invalid"]).status == UNRESOLVED


# ---- size and number ----


@pytest.mark.parametrize(
    "behave",
    [
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n" + b"x" * (1 << 20)),
        saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 20)),
        saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100000\r\n" + b"x" * (1 << 20)),
    ],
    ids=["announced", "without a length", "in chunks"],
)
def test_an_answer_beyond_its_bounds_is_refused(behave: Any):
    with rude(behave) as port:
        answer = fetch(f"http://localhost:{port}/", hosts=[f"localhost:{port}"], max_memory="1MiB")
        assert answer.status == TOO_LARGE
        assert "more than 524288 bytes" in answer.error


def test_a_request_beyond_its_bounds_is_refused(server: Server):
    request = json.dumps({"url": server.url(), "method": "POST"}).encode()
    policy = {"allow_network": True, "allowed_hosts": local(server)}
    huge = call("host_http", HEAD, len(request), 0, (1 << 20) + 1)
    told = ask(huge, imports=["host_http"], extra=data(HEAD, request), policy=policy, memory="20")
    assert told == [TOO_LARGE]
    assert server.seen == []


def test_one_batch_makes_so_many_requests(server: Server):
    request = json.dumps({"url": server.url("/bytes?n=1")}).encode()
    once = call("host_http", HEAD, len(request), 0, 0)
    policy = {"allow_network": True, "allowed_hosts": local(server)}
    session = Session(asking(*[once] * 18, imports=["host_http"], extra=data(HEAD, request), policy=policy))
    for calls in (16, 32):
        assert answers(session, 18) == [200] * 16 + [TOO_MANY_CALLS] * 2
        assert len(server.seen) == calls
    session.close()


# ---- what does not hold ----


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"{",
        b"[]",
        b'{"url": 5}',
        b'{"method": "GET"}',
        b'{"url": "http://localhost:PORT/", "more": 1}',
        b'{"url": "http://localhost:PORT/", "method": "CONNECT"}',
        b'{"url": "http://localhost:PORT/", "method": "GET / HTTP/1.1\\r\\nX: y"}',
        b'{"url": "http://localhost:PORT/a b"}',
        b'{"url": "http://localhost:PORT/\\r\\nX: y"}',
        b'{"url": "http://localhost:PORT/\\u00fc"}',
        b'{"url": "http://user@localhost:PORT/"}',
        b'{"url": "http://localhost:PORT\\\\@example.org/"}',
        b'{"url": "http://:PORT/"}',
        b'{"url": "http://[::1/"}',
        b'{"url": "http://localhost:99999/"}',
        b'{"url": "http://localhost:PORT/", "headers": {"a": "b\\r\\nc: d"}}',
        b'{"url": "http://localhost:PORT/", "headers": {"a\\r\\nc": "d"}}',
        b'{"url": "http://localhost:PORT/", "headers": {"a b": "c"}}',
        b'{"url": "http://localhost:PORT/", "headers": {"": "c"}}',
        b'{"url": "http://localhost:PORT/", "headers": {"Host": "example.org"}}',
        b'{"url": "http://localhost:PORT/", "headers": {"Transfer-Encoding": "chunked"}}',
        b'{"url": "http://localhost:PORT/", "headers": {"content-length": "0"}}',
        b"\xff\xfe",
        b'{"url": "http://localhost:PORT/'
        + b"x" * 8200
        + b'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}',
    ],
)
def test_a_request_that_does_not_hold_is_not_made(server: Server, request_: bytes):
    answer = fetch(request_.replace(b"PORT", str(server.port).encode()), hosts=local(server))
    assert answer.status == BAD_REQUEST, answer
    assert answer.error
    assert server.seen == []


@pytest.mark.parametrize("args", [(-4, 8, 0, 0), (131_070, 8, 0, 0), (0, -1, 0, 0), (0, 4, -1, 5), (0, 4, 0, -1)])
def test_a_request_outside_the_memory_is_not_made(args: tuple[int, ...]):
    policy = {"allow_network": True, "allowed_hosts": ["a.b"]}
    assert ask(call("host_http", *args), imports=["host_http"], policy=policy) == [BAD_REQUEST]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_an_answer_that_does_not_hold_is_none(answer: bytes):
    with rude(saying(answer)) as port:
        found = fetch(f"http://localhost:{port}/", hosts=[f"localhost:{port}"])
        assert found.status in (BAD_RESPONSE, UNREACHABLE), found
        assert (found.head, found.body) == ({}, b"")


def test_after_a_failure_the_guest_goes_on_and_is_kept(server: Server):
    session = Session(asks({"url": "http://example.org/"}, hosts=local(server)))
    for _ in range(3):
        assert answers(session, 4)[0] == NOT_ALLOWED
        assert session.pool.idle == 1
    assert session.call(pl.DataFrame({"x": [0, 0, 0, 0]})).height == 4
    session.close()
