"""Ports asked for real: ask_ports.py by this machine's python3, over an SSH server on the loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fabfile.core.errors import HostError
from fabfile.core.judge.health import ConsulStatus, Health, assess
from fabfile.core.judge.reachability import Port
from fabfile.core.state.facts import OtherFirewall
from fabfile.core.state.topology import Address
from fabfile.edge.consul import reach
from fabfile.edge.disk.state import State
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.exec_channel import Result
from tests.support.loopback_sshd import Sshd, remote_of, sshd
from tests.support.samples import active, bare_facts, cluster_of


@pytest.fixture
def server() -> Iterator[Sshd]:
    with sshd() as found:
        yield found


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as found:
        yield found.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_a_host_tells_which_ports_answer_it(server: Sshd, tmp_path: Path, listening: int) -> None:
    """Many ports in one command on the host: nothing for those that answer, the kernel's reason for the others."""
    remote, shut = remote_of(server, tmp_path), closed_port()
    ports = [Port("w1", "127.0.0.1", number, "a test") for number in (listening, shut, *[listening] * 300)]
    assert reach._ask(remote, ports) == ("", "Connection refused", *[""] * 300)
    assert len(server.commands) == 1
    remote.close()


def test_an_instance_that_is_just_being_replaced_is_asked_again(server: Sshd, tmp_path: Path) -> None:
    """A port that nobody listens at for a moment is no fault."""
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        server.before_command = lambda _: threading.Timer(0.35, late.listen).start()
        remote = remote_of(server, tmp_path)
        assert reach._ask(remote, [Port("w1", "127.0.0.1", late.getsockname()[1], "a test")]) == ("",)
        remote.close()


@pytest.mark.parametrize(("code", "out"), [(127, b""), (0, b"Welcome!\n[]"), (0, b'["", ""]')])
def test_a_host_that_cannot_ask_is_an_error(code: int, out: bytes) -> None:
    """Without python3, or with another's words in the answer, the host is named."""
    answer = Result(code, out, "python3: not found")
    remote: Any = SimpleNamespace(host=SimpleNamespace(name="lb1"), run=lambda *_, **__: answer)
    with pytest.raises(HostError, match="lb1: which ports it reaches cannot be read"):
        reach._ask(remote, [Port("w1", "127.0.0.1", 1, "a test")])


class Answering:
    """A Consul whose balancers offer `web`, with one passing instance."""

    port = 0

    def __init__(self, _remote: object) -> None:
        value = json.dumps({"routes": [{"service": "web", "domain": "web.test"}]}).encode()
        self.kv = SimpleNamespace(get=lambda *_, **__: (1, {"Value": value}))

    def request(self, _method: str, path: str) -> list[dict[str, Any]]:
        assert path == "/v1/health/service/web?passing&stale"
        return [{"Node": {"Node": "w1", "Address": "127.0.0.1"}, "Service": {"Address": "", "Port": Answering.port}}]


def cluster_health(folder: Path) -> Health:
    """m1 is manager and balancer at the loopback, w1 has iptables."""
    cluster = replace(cluster_of(m1="manager loadbalancer", w1="worker"), state=folder / "state")
    State(cluster.state).keep_addresses({"m1": Address("127.0.0.1", "127.0.0.1")})
    units = {"consul.service": active()}
    strict = bare_facts(units=units, other_firewalls=(OtherFirewall("iptables", True),))
    return assess(cluster, {"m1": bare_facts(units=units), "w1": strict}, {}, ConsulStatus())


def test_a_balancer_that_reaches_no_instance_is_told_with_the_rules(
    server: Sshd, tmp_path: Path, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consul's checks pass, and the port does not answer the balancer: the host, the port and iptables are named."""
    monkeypatch.setattr("fabfile.edge.consul.overview.Consul", Answering)
    health, remote = cluster_health(tmp_path), remote_of(server, tmp_path)
    remotes: dict[str, Remote] = {"m1": remote, "w1": remote_of(server, tmp_path)}
    Answering.port = listening
    monkeypatch.setattr(reach, "ports_to_ask", lambda *given: {"m1": tuple(given[2])})
    assert reach.hosts_reach_each_other(remotes, health) == (True, "1 ports asked from 1 hosts")
    Answering.port = closed_port()
    passed, detail = reach.hosts_reach_each_other(remotes, health)
    assert not passed
    assert detail.startswith(f"w1 does not answer m1 on {Answering.port} (service web): connection refused; iptables there")
    remote.close()


def test_where_nobody_knows_the_instances_the_managers_are_asked_all_the_same(tmp_path: Path) -> None:
    """A FAIL says what could not be asked, for a firewall may be why there is no leader."""
    health = cluster_health(tmp_path)
    asked: list[object] = []

    def run(*_: object, **__: object) -> Result:
        asked.append(1)
        return Result(0, b'["", ""]', "")

    remotes: Any = {"w1": SimpleNamespace(host=health.cluster.host("w1"), run=run)}
    without_m1 = replace(health, hosts=(replace(health.hosts[0], reachable=False), health.hosts[1]))
    passed, detail = reach.hosts_reach_each_other(remotes, without_m1)
    assert (passed, detail) == (False, "which instances pass is not known: cluster: no manager answers")
    assert asked == [1]
