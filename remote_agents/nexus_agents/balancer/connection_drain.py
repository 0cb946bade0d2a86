"""Empties the users' kept connections before Caddy reloads.

A reload closes each kept connection as soon as it is idle. A request that a client sends at that moment is lost: the
client sees the connection close without an answer. So for a moment before each reload Caddy says `Connection: close` in
every response, and each client closes by itself (HTTP/1), or opens a new connection first (HTTP/2).

Caddy cannot be told that without a reload. A file is the signal: the configuration's first route looks for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..shared.notify import log

MARKER = "draining"  # file name in the balancer's runtime folder
# Seconds. A busy connection has had a response by then. Two such reloads in a row must end before an instance that has
# left Consul is stopped (`worker/instance_steps.DRAIN_TIME`).
DRAIN_TIME = 0.3


class ConnectionDrain:
    """`folder`: the runtime folder, which Caddy may read; None where the configuration has no drain route."""

    def __init__(self, folder: Path | None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._marker = folder / MARKER if folder else None
        self._sleep = sleep
        self._remove()  # an agent that was killed while draining has left it: no connection would be kept

    @contextlib.contextmanager
    def draining(self) -> Iterator[None]:
        """Drains, then runs the body (the reload). The marker goes in any case. It never raises by itself."""
        if self._marker is None:
            yield
            return
        try:
            self._marker.touch()
            self._sleep(DRAIN_TIME)
        except OSError as error:
            log(f"{self._marker} cannot be written: {error}; kept connections are cut by this reload")
        try:
            yield
        finally:
            self._remove()

    def _remove(self) -> None:
        if self._marker is not None:
            with contextlib.suppress(OSError):
                self._marker.unlink(missing_ok=True)
