"""Blocking queries: a thread that knows the newest value of one path, and tells when it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .clock import now
from .consul_api import Consul, ConsulError

WAIT = 5  # seconds: a long query to a server that died would sit on a lock that has long been free
PAUSE = 0.5  # seconds after a failure


class Watch(threading.Thread):
    """Calls `on_change(value)` with the first value and on every change; never ends. None: the path has no value.

    stale: any server may answer, even with no leader; else the leader's word is asked for.
    """

    def __init__(self, consul: Consul, path: str, on_change: Callable[[Any], None], stale: bool = True) -> None:
        super().__init__(name=f"watch {path}", daemon=True)
        self._consul = consul.again()
        self._path = path + ("&" if "?" in path else "?") + ("stale&" if stale else "")
        self._on_change = on_change
        self.seen_at = float("-inf")  # when Consul last answered

    def run(self) -> None:
        rest = threading.Event()
        index = 0
        while True:
            try:
                found, value = self._consul.get(f"{self._path}index={index}&wait={WAIT}s", WAIT + 2.0)
            except ConsulError:
                rest.wait(PAUSE)
                continue
            self.seen_at = now()
            if found != index or index == 0:
                self._on_change(value)
            # an index that went back is a restored snapshot: begin anew, as Consul's own documentation asks for
            index = found if found >= index else 0
            if index == 0:
                rest.wait(PAUSE)
