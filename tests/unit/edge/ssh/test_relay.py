"""Consul's API behind an sshd that forbids TCP forwarding: reached all the same; other refusals are told apart."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from fabfile.core.errors import HostError
from fabfile.edge.consul.tunnels import forwarded_port
from fabfile.edge.ssh import http_channel, relay
from tests.support.inprocess_sshd import PathEcho
from tests.support.loopback_sshd import Sshd, remote_of, sshd


@pytest.fixture
def server() -> Iterator[Sshd]:
    with sshd() as found:
        yield found


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), PathEcho) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        monkeypatch.setattr(http_channel, "PORT", found.server_port)
        yield found.server_port
        found.shutdown()


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("forwarding", [True, False])
def test_the_api_is_reached_with_and_without_forwarding(server: Sshd, tmp_path: Path, forwarding: bool) -> None:
    """By several threads at once; a refused forwarding is asked for once a connection."""
    server.forwarding = forwarding
    remote = remote_of(server, tmp_path)
    remote.http.request("GET", "/v1/first", None, {})
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda n: remote.http.request("GET", f"/v1/{n}", None, {}).body, range(12)))
    assert [json.loads(body)["path"] for body in bodies] == [f"/v1/{n}" for n in range(12)]
    assert remote.forwarding_refused is not forwarding
    assert forwarding or server.forwards == 1
    remote.reset()
    assert remote.forwarding_refused is False
    remote.close()


@pytest.mark.parametrize("forwarding", [True, False])
def test_a_port_where_nobody_listens_is_told(server: Sshd, tmp_path: Path, forwarding: bool) -> None:
    """With the same words on both ways."""
    server.forwarding = forwarding
    remote = remote_of(server, tmp_path)
    with pytest.raises(HostError, match=r"port 1 on its loopback did not answer \(conn"):
        remote.tunnel(1)
    assert remote.forwarding_refused is not forwarding
    remote.close()


def test_a_host_that_has_no_way_is_told_both(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line for sshd, and the program that is missing."""
    monkeypatch.setattr(relay, "command", lambda _: "exec /no/python3")
    server.forwarding = False
    remote = remote_of(server, tmp_path)
    with pytest.raises(HostError, match="forbids TCP forwarding, and python3") as told:
        remote.tunnel(1)
    assert "AllowTcpForwarding yes" in told.value.hint
    remote.close()


def test_a_forwarded_port_says_that_it_is_forbidden(server: Sshd, tmp_path: Path, web: int) -> None:
    """`inv ui` has no other way; it ends before anybody opens a browser."""
    assert web
    server.forwarding = False
    remote = remote_of(server, tmp_path)
    monkey = pytest.MonkeyPatch()
    monkey.setattr("fabfile.edge.consul.tunnels.PORT", web)
    with pytest.raises(HostError, match="forbids TCP forwarding"), forwarded_port(remote, 0):
        pass
    monkey.undo()
    remote.close()


def test_the_command_is_one_line_that_any_shell_takes() -> None:
    """csh breaks at a newline in quotes, and takes `!` for history."""
    assert "\n" not in relay.command(8500)
    assert "!" not in relay.command(8500)
