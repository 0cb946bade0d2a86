"""Constant HTTP load: one GET every 1/rate seconds, whatever happened to the earlier ones. Threads and sockets.

An open loop, timed from when a request was due: a service that stalls is seen by every request that it kept waiting.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class RequestSample:
    """due_s: seconds since the load's `zero`, when the request was due; ms: until its answer; error: of a failure."""

    due_s: float
    ms: float
    ok: bool
    error: str = ""


@dataclass
class Load:
    """`with Load(target, rate) as load:` sends until the block ends. rate: per second. zero: a time.monotonic()."""

    target: LoadTarget
    rate: float = 20.0
    zero: float = field(default_factory=time.monotonic)
    samples: list[RequestSample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._next_due = time.monotonic()
        self._context = context_for(self.target)

    def __enter__(self) -> Load:
        self._next_due = time.monotonic()
        # enough that requests which wait for TIMEOUT each still leave one thread free for the next
        for _ in range(max(4, min(256, int(self.rate * TIMEOUT)))):
            thread = threading.Thread(target=self._send_until_stopped, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Sends no new request, and waits for those under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 5)

    def failed(self) -> list[RequestSample]:
        with self._lock:
            return [s for s in self.samples if not s.ok]

    def _send_until_stopped(self) -> None:
        while True:
            with self._lock:
                due = self._next_due
                self._next_due += 1 / self.rate
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            error = self._send()
            sample = RequestSample(due - self.zero, (time.monotonic() - due) * 1000, not error, error)
            with self._lock:
                self.samples.append(sample)

    def _send(self) -> str:
        """Empty when a status below 400 and the whole body came."""
        try:
            status, _ = fetch(self.target, self._context)
            return "" if status < 400 else f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"


def context_for(target: LoadTarget) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not target.trusted:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def fetch(target: LoadTarget, context: ssl.SSLContext) -> tuple[int, bytes]:
    """One GET over a connection of its own: status and body. OSError or HTTPException when no whole answer came."""
    sock: socket.socket = socket.create_connection((target.address, target.port), TIMEOUT)
    try:
        if target.tls:
            sock = context.wrap_socket(sock, server_hostname=target.domain)
        connection = http.client.HTTPConnection(target.domain, timeout=TIMEOUT)
        connection.sock = sock
        connection.request("GET", target.path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        sock.close()
