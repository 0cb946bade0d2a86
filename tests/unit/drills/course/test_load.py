"""The drills' load: half of it over kept connections, and what counts as failed there. Against a real HTTP server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fabfile.drills.course.load import Load
from fabfile.drills.course.load_connections import KeptConnections, LoadTarget, context_for


class Server(ThreadingHTTPServer):
    """Answers `ok`. It ends each connection after `per_connection` answers, saying so beforehand or not."""

    daemon_threads = True
    per_connection, announced, silent = 1_000_000, True, False

    def __init__(self) -> None:
        self.connections, self.requests = 0, 0
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def target(self) -> LoadTarget:
        return LoadTarget("127.0.0.1", "web.test", port=self.server_address[1], tls=False)


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.answered = 0

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.server.silent and self.answered:
            self.close_connection = True
            return
        self.answered += 1
        last = self.answered >= self.server.per_connection
        self.send_response(200)
        self.send_header("Content-Length", "2")
        if last and self.server.announced:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = self.close_connection or last


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def kept(server: Server) -> KeptConnections:
    return KeptConnections(server.target, context_for(server.target))


def test_half_of_the_requests_share_a_connection(server: Server) -> None:
    """With fast answers the kept half needs one connection, or two when two were due at once."""
    with Load(server.target, rate=200) as load:
        time.sleep(0.5)
    assert not load.failed()
    assert len(load.samples) > 50
    assert len(load.samples) / 2 <= server.connections <= len(load.samples) / 2 + 8


def test_a_kept_connection_is_used_again(server: Server) -> None:
    connections = kept(server)
    assert [connections.fetch() for _ in range(5)] == [(200, b"ok")] * 5
    assert server.connections == 1
    connections.close()


@pytest.mark.parametrize("announced", [True, False])
def test_an_end_between_two_requests_is_no_failure(server: Server, announced: bool) -> None:
    """Whether the server says so in its last answer, or closes the idle connection without a word."""
    server.per_connection, server.announced = 2, announced
    connections = kept(server)
    for _ in range(6):
        assert connections.fetch() == (200, b"ok")
        time.sleep(0.05)
    assert server.connections == 3


def test_an_end_under_a_request_is_a_failure(server: Server) -> None:
    """It was sent and never answered: that is what a user sees. It is not sent a second time."""
    server.silent = True
    connections = kept(server)
    connections.fetch()
    with pytest.raises(OSError, match="closed connection"):
        connections.fetch()
    assert server.requests == 2
    assert connections.fetch() == (200, b"ok")


def test_nobody_there_is_a_failure_of_both_kinds() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = LoadTarget("127.0.0.1", "web.test", port=free.getsockname()[1], tls=False)
        with Load(target, rate=100) as load:
            time.sleep(0.2)
    assert len(load.failed()) == len(load.samples) > 3
