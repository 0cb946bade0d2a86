"""HTTP to the loopback of a host, over a channel of its SSH connection. Nothing listens on the operator's machine."""

from __future__ import annotations

import http.client

from .ssh import Remote

PORT = 8500
TIMEOUT = 10.0  # seconds a read may take


class Channel(http.client.HTTPConnection):
    """An HTTP connection to Consul's agent whose socket is a channel."""

    def __init__(self, remote: Remote) -> None:
        super().__init__("127.0.0.1", PORT)
        self._remote = remote

    def connect(self) -> None:
        channel = self._remote.tunnel(PORT)
        channel.settimeout(TIMEOUT)
        self.sock = channel
