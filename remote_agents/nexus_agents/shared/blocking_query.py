"""Consul blocking queries: a thread that follows the value of one API path and reports each change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .consul_api import Consul, ConsulError

WAIT = 5  # seconds: a long query to a server that died hides for its whole length that the lock is free
RETRY_DELAY = 0.5  # seconds after a failure


class Watch(threading.Thread):
    """Calls `on_change(value)` with the first value and on every change; never ends. None: the path has no value.

    stale: any server may answer, even without a raft leader. Otherwise the leader answers.
    """

    def __init__(self, consul: Consul, path: str, on_change: Callable[[Any], None], stale: bool = True) -> None:
        super().__init__(name=f"watch {path}", daemon=True)
        self._consul = consul.clone()
        self._path = path + ("&" if "?" in path else "?") + ("stale&" if stale else "")
        self._on_change = on_change

    def run(self) -> None:
        pause = threading.Event()
        index = 0
        while True:
            try:
                new_index, value = self._consul.get(f"{self._path}index={index}&wait={WAIT}s", WAIT + 2.0)
            except ConsulError:
                pause.wait(RETRY_DELAY)
                continue
            if new_index != index or index == 0:
                self._on_change(value)
            # the index goes back after a restored snapshot: then start over, as Consul's documentation demands
            index = new_index if new_index >= index else 0
            if index == 0:
                pause.wait(RETRY_DELAY)
