"""The connections of a load: one for each request, as curl has, or kept for the next ones, as browsers have."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass

TIMEOUT = 15.0  # seconds until a request counts as failed


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """Where requests go: `address:port`, speaking to `domain`, over TLS or not.

    trusted: whether a public CA must have signed the certificate (not so with Caddy's internal CA).
    """

    address: str
    domain: str
    path: str = "/"
    port: int = 443
    tls: bool = True
    trusted: bool = False


def context_for(target: LoadTarget) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not target.trusted:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def fetch(target: LoadTarget, context: ssl.SSLContext) -> tuple[int, bytes]:
    """One GET over a connection of its own: status and body. OSError or HTTPException when no whole answer came."""
    connection = _connect(target, context)
    try:
        return _exchange(connection, target, {"Connection": "close"})[:2]
    finally:
        connection.close()


class KeptConnections:
    """Connections that are used again. The last one used is taken first, so there are no more than are busy at once."""

    def __init__(self, target: LoadTarget, context: ssl.SSLContext) -> None:
        self._target, self._context = target, context
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def fetch(self) -> tuple[int, bytes]:
        """One GET: status and body. OSError or HTTPException when no whole answer came.

        A connection that the server has closed while it was idle is not used: no client would. One that ends under a
        request is a failure, and is not tried again: a browser does not, for a POST.
        """
        connection = self._take() or _connect(self._target, self._context)
        kept = False
        try:
            status, body, kept = _exchange(connection, self._target, {})
            if kept:
                with self._lock:
                    self._idle.append(connection)
            return status, body
        finally:
            if not kept:
                connection.close()

    def close(self) -> None:
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _take(self) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if _is_open(connection.sock):
                return connection
            connection.close()


def _connect(target: LoadTarget, context: ssl.SSLContext) -> http.client.HTTPConnection:
    sock: socket.socket = socket.create_connection((target.address, target.port), TIMEOUT)
    try:
        # else a request on a kept connection waits for the delayed acknowledgement of the one before
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls:
            sock = context.wrap_socket(sock, server_hostname=target.domain)
    except OSError:
        sock.close()
        raise
    connection = http.client.HTTPConnection(target.domain, timeout=TIMEOUT)
    connection.sock, connection.auto_open = sock, 0  # never a connection to the domain's own address
    return connection


def _exchange(
    connection: http.client.HTTPConnection, target: LoadTarget, headers: dict[str, str]
) -> tuple[int, bytes, bool]:
    """(status, body, whether the connection can be used again)."""
    connection.request("GET", target.path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read(), not response.will_close


def _is_open(sock: socket.socket) -> bool:
    """Whether the server has neither closed the idle connection nor said anything. TLS may have messages of its own."""
    sock.settimeout(0)
    try:
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            sock.settimeout(TIMEOUT)
    return False
