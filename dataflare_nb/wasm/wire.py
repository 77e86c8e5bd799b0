"""A connection to one address that keeps a deadline and can be given up, plain or TLS."""

from __future__ import annotations

import errno
import io
import select
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from .desk import SLICE

T = TypeVar("T")


class GivenUp(OSError):  # noqa: N818 - a signal
    """The time is up, or the job was stopped."""


class Wire(io.RawIOBase):
    """A stream of bytes over a socket. Everything that waits asks every 20 ms whether it is still `wanted`."""

    def __init__(self, address: str, port: int, *, wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._wanted = wanted
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket: socket.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._connect(address, port)
        except BaseException:
            self.close()
            raise

    def secure(self, host: str) -> None:
        """Begin TLS with the host of that name, whose certificate must hold."""
        self._socket = wrapped = trusted().wrap_socket(
            self._socket, server_hostname=host, do_handshake_on_connect=False
        )
        self._patiently(wrapped.do_handshake, select.POLLIN)

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._patiently(lambda: self._socket.send(rest[:65536]), select.POLLOUT) :]  # noqa: B023 - called at once

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        return self._patiently(lambda: self._socket.recv_into(buffer), select.POLLIN)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader, as `http.client` asks a socket for one."""
        return io.BufferedReader(self)

    def close(self) -> None:
        if not self.closed:
            self._socket.close()
        super().close()

    def _connect(self, address: str, port: int) -> None:
        code = self._socket.connect_ex((address, port))
        if code and code != errno.EINPROGRESS:
            raise OSError(code, "cannot connect")
        self._wait(select.POLLOUT)
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "cannot connect")

    def _patiently(self, work: Callable[[], T], event: int) -> T:
        while True:
            # Asked before and not only while waiting: a peer that is always ready would never be given up.
            if not self._wanted():
                raise GivenUp("given up")
            try:
                return work()
            except BlockingIOError:
                self._wait(event)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        while not poll.poll(SLICE * 1000):
            if not self._wanted():
                raise GivenUp("given up")
        if not self._wanted():
            raise GivenUp("given up")


@cache
def trusted() -> ssl.SSLContext:
    """Return the machine's own idea of whom to trust."""
    return ssl.create_default_context()
