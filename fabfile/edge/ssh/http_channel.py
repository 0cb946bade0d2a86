"""HTTP to the loopback of a host, over channels of its SSH connection. Nothing listens on the operator's machine."""

from __future__ import annotations

import http.client
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramiko import Channel

PORT = 8500
TIMEOUT = 10.0  # seconds a read may take


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` as they were spelled."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """HTTP to Consul's agent on one host. Any thread may ask; a connection serves one question at a time, then the next.

    Every channel is closed here, by name. One that is left to the garbage collector closes itself in its `__del__`, on
    whichever thread that happens to run; where that thread is just sending on the same SSH connection, it waits for
    itself, for ever (paramiko's issue 247).
    """

    def __init__(self, tunnel: Callable[[int], Channel]) -> None:
        self._tunnel = tunnel
        self._idle: deque[_Link] = deque()

    def ask(self, method: str, target: str, body: str | bytes | None, headers: Mapping[str, str]) -> Answer:
        """OSError or http.client.HTTPException when no whole answer came; what the tunnel raises when it does not open."""
        link = self._link()
        try:
            link.request(method, target, body=body, headers=headers)
            answer = link.getresponse()
            found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        except BaseException:  # Ctrl-C, too: half an answer makes the connection useless
            link.close()
            raise
        self._idle.append(link)
        return found

    def close(self) -> None:
        """Closes what waits for the next question."""
        while self._idle:
            self._idle.pop().close()

    def _link(self) -> _Link:
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return _Link(self._tunnel)
            if link.usable:
                return link
            link.close()  # Consul was restarted since


class _Link(http.client.HTTPConnection):
    """An HTTP connection whose socket is a channel."""

    def __init__(self, tunnel: Callable[[int], Channel]) -> None:
        super().__init__("127.0.0.1", PORT)
        self._tunnel = tunnel

    def connect(self) -> None:
        channel = self._tunnel(PORT)
        channel.settimeout(TIMEOUT)
        self.sock = channel

    @property
    def usable(self) -> bool:
        """False once the host has ended it; http.client opens it anew where it was the answer that said so."""
        channel: Any = self.sock
        return channel is None or not (channel.closed or channel.eof_received)
