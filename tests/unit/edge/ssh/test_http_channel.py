"""HTTP over channels of a real SSH connection: connections are kept, and none is left to the garbage collector."""

from __future__ import annotations

import gc
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from fabfile.core.errors import HostError
from fabfile.edge.consul.client import Consul
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.http_channel import Http
from tests.support.inprocess_sshd import tunnels
from tests.support.samples import cluster_of


@pytest.fixture
def transport() -> Iterator[paramiko.Transport]:
    with tunnels() as found:
        yield found


@pytest.fixture
def http_(transport: paramiko.Transport) -> Iterator[Http]:
    made = Http(lambda port: transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=10))
    yield made
    made.close()


@pytest.fixture
def abandoned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Channels that were still open when the garbage collector found them: each is a deadlock waiting to happen."""
    found: list[str] = []

    def finalize(channel: Any) -> None:
        if channel.active and not channel.closed:
            found.append(repr(channel))

    monkeypatch.setattr(paramiko.Channel, "__del__", finalize)
    return found


def asked(http_: Http, path: str) -> dict[str, Any]:
    answer = http_.request("GET", path, None, {})
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body)
    assert found["path"] == path
    return found


def test_one_connection_serves_one_question_after_the_other(http_: Http) -> None:
    """Questions in turn share a connection."""
    assert len({asked(http_, f"/v1/{n}")["port"] for n in range(5)}) == 1


def test_threads_get_connections_of_their_own(http_: Http) -> None:
    """Questions at the same time never share one: each gets its own answer, and all are whole."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: asked(http_, f"/v1/{n}"), range(64)))
    assert [f["path"] for f in found] == [f"/v1/{n}" for n in range(64)]


def test_a_connection_that_was_ended_is_not_used_again(http_: Http) -> None:
    """Where Consul was restarted between two questions, the second goes over a new connection and is answered."""
    before = asked(http_, "/v1/last")["port"]
    ended = threading.Event()
    for _ in range(100):
        if not all(link.usable for link in http_._idle):
            break
        ended.wait(0.05)
    assert asked(http_, "/v1/next")["port"] != before


def test_no_open_channel_is_left_to_the_garbage_collector(
    transport: paramiko.Transport, abandoned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered or broken off: closing the host closes the channels of clients that were forgotten."""
    cluster = cluster_of(m1="manager")
    remote = Remote(cluster, cluster.host("m1"))
    remote._connection = SimpleNamespace(transport=transport, gateway=None, close=lambda: None)
    for n in range(3):
        assert Consul(remote).request("GET", f"/v1/{n}")["path"] == f"/v1/{n}"
    gc.collect()
    assert abandoned == []
    monkeypatch.setattr(http.client.HTTPResponse, "read", lambda *_: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(HostError):
        Consul(remote).request("GET", "/v1/broken")
    remote.close()
    del remote
    gc.collect()
    assert abandoned == []


def test_an_answer_without_an_end_is_refused(http_: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is longer than anything Consul says is not read to its end; the next question is answered."""
    monkeypatch.setattr("fabfile.edge.ssh.http_channel.SIZE", 2000)
    assert asked(http_, "/a")
    with pytest.raises(http.client.HTTPException, match="did not end after"):
        http_.request("GET", f"/{'a' * 9000}", None, {})
    assert asked(http_, "/b")
