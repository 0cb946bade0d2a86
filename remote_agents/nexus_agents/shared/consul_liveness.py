"""Whether an agent can read and write Consul, as one sentence that systemd shows and the operator's `inv status` reads.

A process that runs may be deaf all the same: its token is gone, or its host's Consul answers nothing. Each call is
noted by its path: another call that still works must not hide the one that fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .clock import now

FAILING_AFTER = 10.0  # seconds that a call fails until it is told: an election of Consul's servers takes 3 to 5
FORGOTTEN_AFTER = 30.0  # seconds without another try: the agent no longer needs that call
CANNOT = "cannot "  # a sentence of trouble begins with it; fabfile/core/judge/health.py looks for it
_NAMES = {"GET": "read", "PUT": "write"}


@dataclass(frozen=True)
class _Failure:
    """of one path, without a success in between. began, last: by the agent's clock; at: unix time of the first"""

    began: float
    last: float
    at: float
    reason: str


class Liveness:
    """What the clients of one agent have met. Thread-safe: all clones of a client share it."""

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, str], _Failure] = {}
        self._succeeded: set[str] = set()  # methods

    def succeeded(self, method: str, path: str) -> None:
        with self._lock:
            self._succeeded.add(method)
            self._failures.pop((method, path), None)

    def failed(self, method: str, path: str, reason: str) -> None:
        at = self._clock()
        with self._lock:
            known = self._failures.get((method, path))
            if known is None or at - known.last > FORGOTTEN_AFTER:
                known = _Failure(at, at, time.time(), reason)
            self._failures[method, path] = replace(known, last=at, reason=reason)

    def sentence(self) -> str:
        """`reads and writes Consul`, or what it cannot do, since when and why: of reads and writes the longest failure."""
        at = self._clock()
        with self._lock:
            for key in [k for k, f in self._failures.items() if at - f.last > FORGOTTEN_AFTER]:
                del self._failures[key]
            lasting = sorted((f.began, k, f) for k, f in self._failures.items() if at - f.began >= FAILING_AFTER)
            succeeded = [_NAMES[method] + "s" for method in sorted(self._succeeded)]
        worst = {}
        for _, (method, path), failure in reversed(lasting):
            worst[method] = f"{CANNOT}{_NAMES[method]} {_short(path)} since {_utc(failure.at)}: {failure.reason}"
        if worst:
            return "; ".join(worst[method] for method in sorted(worst))
        return f"{' and '.join(succeeded)} Consul" if succeeded else "has not heard of Consul yet"


def _short(path: str) -> str:
    return path.removeprefix("/v1/").removeprefix("kv/")


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
