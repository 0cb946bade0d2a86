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
MAX_BODY = 1 << 26  # bytes of an answer; a large cluster's checks are some MB
_PIECE = 1 << 17


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole HTTP response. `headers` are spelled as the server sent them."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """HTTP to Consul's agent on one host. Any thread may call it; each connection serves one request at a time.

    Every channel is closed here explicitly. One left to the garbage collector closes itself in its `__del__`, in
    whatever thread runs at that moment; if that thread is sending on the same SSH connection, it waits for itself
    for ever (paramiko's issue 247).
    """

    def __init__(self, tunnel: Callable[[int], Channel], is_lost: Callable[[], bool] = lambda: False) -> None:
        """`tunnel` opens a channel to a port; `is_lost`: whether the SSH connection was lost, and the next one is new."""
        self._tunnel, self._is_lost = tunnel, is_lost
        self._idle: deque[_ChannelConnection] = deque()

    def request(self, method: str, target: str, body: str | bytes | None, headers: Mapping[str, str]) -> HttpResponse:
        """Sends a request and reads the response. OSError or http.client.HTTPException when no whole response came;
        whatever the tunnel raises when it does not open. A GET is sent again where the SSH connection was lost."""
        try:
            return self._request(method, target, body, headers)
        except (OSError, http.client.HTTPException):
            if method != "GET" or not self._is_lost():
                raise
        return self._request(method, target, body, headers)

    def _request(self, method: str, target: str, body: str | bytes | None, headers: Mapping[str, str]) -> HttpResponse:
        connection = self._take_connection()
        try:
            connection.request(method, target, body=body, headers=headers)
            raw = connection.getresponse()
            response = HttpResponse(raw.status, dict(raw.getheaders()), _read(raw))
        except BaseException:  # Ctrl-C too: after half a response the connection is useless
            connection.close()
            raise
        self._idle.append(connection)
        return response

    def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take_connection(self) -> _ChannelConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return _ChannelConnection(self._tunnel)
            if connection.usable:
                return connection
            connection.close()  # Consul was restarted meanwhile


def _read(raw: http.client.HTTPResponse) -> bytes:
    """The whole body. HTTPException: it is cut, or longer than MAX_BODY."""
    if raw.length is not None and raw.length <= MAX_BODY:
        return raw.read()
    body = bytearray()
    while len(body) <= MAX_BODY and (piece := raw.read(_PIECE)):
        body += piece
    if len(body) > MAX_BODY or raw.length:
        raise http.client.HTTPException(f"its answer is longer than {MAX_BODY >> 20} MB")
    return bytes(body)


class _ChannelConnection(http.client.HTTPConnection):
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
        """False once the host has closed it. Without a socket it is usable: http.client opens a new one."""
        channel: Any = self.sock
        return channel is None or not (channel.closed or channel.eof_received)
