"""Constant HTTP load: one GET every 1/rate seconds, whatever happened to the earlier ones. Threads and sockets.

An open loop, timed from when a request was due: a service that stalls is seen by every request that it kept waiting.
Every other request goes over a kept connection, the rest over one of their own: each kind meets faults of its own.
"""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field

from .load_connections import TIMEOUT, KeptConnections, LoadTarget, context_for, fetch

__all__ = ["DEFAULT_RATE", "MAX_RATE", "Load", "LoadTarget", "RequestSample"]
DEFAULT_RATE, MAX_RATE = 20, 500  # requests a second; above the latter, the operator's machine would be measured


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
    rate: float = DEFAULT_RATE
    zero: float = field(default_factory=time.monotonic)
    samples: list[RequestSample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._next_due = time.monotonic()
        self._context = context_for(self.target)
        self._kept = KeptConnections(self.target, self._context)
        self._over_kept = False  # whether the last request went over a kept connection

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
        self._kept.close()

    def failed(self) -> list[RequestSample]:
        with self._lock:
            return [s for s in self.samples if not s.ok]

    def _send_until_stopped(self) -> None:
        while True:
            with self._lock:
                due = self._next_due
                self._next_due += 1 / self.rate
                over_kept = self._over_kept = not self._over_kept
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            error = self._send(over_kept)
            sample = RequestSample(due - self.zero, (time.monotonic() - due) * 1000, not error, error)
            with self._lock:
                self.samples.append(sample)

    def _send(self, over_kept: bool) -> str:
        """Empty when a status below 400 and the whole body came."""
        try:
            status, _ = self._kept.fetch() if over_kept else fetch(self.target, self._context)
            return "" if status < 400 else f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"

