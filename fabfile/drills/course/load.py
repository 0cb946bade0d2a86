"""Constant load: one GET each 1/rate seconds, whatever became of the ones before. Threads and sockets; decides nothing.

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

    trusted: whether the certificate must be one that a public CA signed (not so with Caddy's internal CA).
    """

    address: str
    domain: str
    path: str = "/"
    port: int = 443
    tls: bool = True
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """at: seconds since the load's zero, when the request was due; ms: until its answer; why: of a failure."""

    at: float
    ms: float
    ok: bool
    why: str = ""


@dataclass
class Load:
    """`with Load(place, rate) as load:` sends until the block ends. `zero`: a time of time.monotonic()."""

    target: LoadTarget
    rate: float = 20.0
    zero: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._due = time.monotonic()
        self._context = context_for(self.target)

    def __enter__(self) -> Load:
        self._due = time.monotonic()
        # enough that requests which wait for TIMEOUT each still leave one free for the next
        for _ in range(max(4, min(256, int(self.rate * TIMEOUT)))):
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No new request; those under way are waited for."""
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 5)

    def failed(self) -> list[Sample]:
        with self._lock:
            return [s for s in self.samples if not s.ok]

    def _work(self) -> None:
        while True:
            with self._lock:
                due = self._due
                self._due += 1 / self.rate
            if self._over.wait(max(0.0, due - time.monotonic())):
                return
            why = self._one()
            sample = Sample(due - self.zero, (time.monotonic() - due) * 1000, not why, why)
            with self._lock:
                self.samples.append(sample)

    def _one(self) -> str:
        """Empty when a status below 400 came whole."""
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
    """One GET over a connection of its own: status and body. OSError or HTTPException when none came whole."""
    sock: socket.socket = socket.create_connection((target.address, target.port), TIMEOUT)
    try:
        if target.tls:
            sock = context.wrap_socket(sock, server_hostname=target.domain)
        link = http.client.HTTPConnection(target.domain, timeout=TIMEOUT)
        link.sock = sock
        link.request("GET", target.path, headers={"Connection": "close"})
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        sock.close()
