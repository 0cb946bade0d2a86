"""An SSH server in this process, over a socket pair: it opens tunnels to a real HTTP server, as the sshd of a host does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import paramiko


class PathEcho(BaseHTTPRequestHandler):
    """Answers with the request's path and the connection's port; keeps connections open, as Consul does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f'{{"path": "{self.path}", "port": {self.client_address[1]}}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path.endswith("last")  # without `Connection: close`, like a server that restarts

    def log_message(self, *_: Any) -> None:
        """Keeps the log out of the tests' output."""


class _OpenServer(paramiko.ServerInterface):
    """Lets everybody in, and allows every tunnel."""

    def check_auth_none(self, _username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def get_allowed_auths(self, _username: str) -> str:
        return "none"

    def check_channel_direct_tcpip_request(self, _chanid: int, _origin: Any, _destination: Any) -> int:
        return paramiko.common.OPEN_SUCCEEDED


def _copy(source: Any, sink: Any) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # the other side closed it
    finally:
        sink.close()


def _serve(transport: paramiko.Transport, port: int) -> None:
    while transport.is_active():
        channel = transport.accept(0.2)
        if channel is not None:
            inner = socket.create_connection(("127.0.0.1", port))
            for pair in ((channel, inner), (inner, channel)):
                threading.Thread(target=_copy, args=pair, daemon=True).start()


@contextmanager
def tunnels() -> Iterator[paramiko.Transport]:
    """The client's end of an SSH connection. Every tunnel leads to a `PathEcho`."""
    web = ThreadingHTTPServer(("127.0.0.1", 0), PathEcho)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    client_end, server_end = socket.socketpair()
    server, client = paramiko.Transport(server_end), paramiko.Transport(client_end)
    server.add_server_key(paramiko.ECDSAKey.generate())
    try:
        server.start_server(server=_OpenServer(), event=threading.Event())
        client.start_client(timeout=10)
        client.auth_none("nobody")
        threading.Thread(target=_serve, args=(server, web.server_port), daemon=True).start()
        yield client
    finally:
        client.close()
        server.close()
        web.shutdown()
        web.server_close()
