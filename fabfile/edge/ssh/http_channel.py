"""HTTP to the loopback of a host, over channels of its SSH connection. Nothing listens on the operator's machine."""

from __future__ import annotations

import http.client
import io
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramiko import Channel

PORT = 8500
TIMEOUT = 10.0  # seconds a read may take
WHOLE, SIZE = 60.0, 1 << 26  # seconds and bytes that a whole response may take


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
            response = HttpResponse(raw.status, dict(raw.getheaders()), raw.read())
        except BaseException:  # Ctrl-C too: after half a response the connection is useless
            connection.drop()
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


class _ChannelConnection(http.client.HTTPConnection):
    """An HTTP connection whose socket is a channel."""

    def __init__(self, tunnel: Callable[[int], Channel]) -> None:
        super().__init__("127.0.0.1", PORT)
        self._tunnel = tunnel
        self._channel: Channel | None = None

    def connect(self) -> None:
        self._channel = channel = self._tunnel(PORT)
        channel.settimeout(TIMEOUT)
        self.sock = _Bounded(channel)

    def drop(self) -> None:
        """Closes it, whoever still reads."""
        self.close()
        if self._channel is not None:
            self._channel.close()

    @property
    def usable(self) -> bool:
        """False once the host has closed it. Without a socket it is usable: http.client opens a new one."""
        sock: Any = self.sock
        return sock is None or not (sock.channel.closed or sock.channel.eof_received)


class _Bounded:
    """A channel as http.client's socket: each response has an end, in time and in bytes.

    As with a socket, a response that is being read outlives `close`, which http.client calls before it is read.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel, self.sendall = channel, channel.sendall
        self._readers, self._closing = 0, False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """http.client makes one for each response."""
        self._readers += 1
        return io.BufferedReader(_ResponseReader(self, time.monotonic() + WHOLE))

    def close(self) -> None:
        self._closing = True
        if not self._readers:
            self.channel.close()

    def reader_closed(self) -> None:
        """Called once by each reader."""
        self._readers -= 1
        if self._closing:
            self.close()


class _ResponseReader(io.RawIOBase):
    def __init__(self, sock: _Bounded, until: float) -> None:
        self._sock, self._channel, self._until, self._read = sock, sock.channel, until, 0

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._sock.reader_closed()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if self._read > SIZE:
            raise http.client.HTTPException(f"the answer did not end after {SIZE >> 20} MiB")
        try:
            self._channel.settimeout(max(0.01, min(TIMEOUT, left)))
            data = self._channel.recv(len(buffer)) if left > 0 else None
        except TimeoutError:
            if left >= TIMEOUT:
                raise
            data = None
        if data is None:
            raise http.client.HTTPException(f"the answer did not end within {WHOLE:.0f} s")
        self._read += len(data)
        buffer[: len(data)] = data
        return len(data)
