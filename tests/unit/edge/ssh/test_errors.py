"""Why a connection failed: the server that failed is named, and it may be a jump host."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace as Given

import pytest
from invoke.context import Context
from invoke.exceptions import Exit
from paramiko import AuthenticationException, ChannelException, SSHException

from fabfile.cli.tasks.consul import ui
from fabfile.cli.tasks.primary import events, promote
from fabfile.cli.tasks.service import list_
from fabfile.core.errors import HostError
from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.connect import TIMEOUT, hops, new_connection, open_hop
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.errors import explain
from fabfile.edge.ssh.known_hosts import UnknownKey
from fabfile.edge.ssh.trust import offered_key
from tests.support.samples import cluster_of as given_cluster

HOST = Host("w1", "10.0.0.2", ("worker",))
BEHIND = Host("w1", "10.0.0.2", ("worker",), gateway="ann@gw")
GATE = Given(host="gw", port=22, user="ann", gateway=None)
TARGET = Given(host="10.0.0.2", port=22, user="root", gateway=GATE)


@pytest.fixture
def closed() -> int:
    """A local port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cluster_of(folder: Path, config: str = "") -> Cluster:
    (folder / "config").write_text(config)
    ssh = SshDefaults(folder / "known_hosts", folder / "config")
    return Cluster("c", (), folder / "hosts.yml", folder, "c", ssh=ssh)


def test_a_jump_host_that_is_closed_is_named(tmp_path: Path, closed: int) -> None:
    """The jump host is named, whether hosts.yml or ssh_config names it, for every kind of connection."""
    jump = f"127.0.0.1:{closed}"
    cluster = cluster_of(tmp_path, f"Host far\n  ProxyJump {jump}\n")
    for host in (Host("w1", "10.0.0.2", ("worker",), gateway=jump), Host("w1", "far", ("worker",))):
        for attempt in (Remote(cluster, host).open, lambda host=host: offered_key(cluster, host)):
            with pytest.raises(HostError, match=rf"w1: the jump host {jump} is closed or cannot be reached"):
                attempt()


def test_a_host_that_is_closed_is_no_jump_host(tmp_path: Path, closed: int) -> None:
    """Without one, it is the host."""
    with pytest.raises(HostError, match=rf"w1: 127\.0\.0\.1:{closed} is closed or cannot be reached"):
        Remote(cluster_of(tmp_path), Host("w1", "127.0.0.1", ("worker",), port=closed)).open()


def test_an_sshd_that_turns_us_away_for_a_while_is_thought_of(tmp_path: Path) -> None:
    """After failed logins OpenSSH 9.8 and newer sends this line in place of its banner, and closes."""

    def turn_away() -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                link, _ = listener.accept()
                link.sendall(b"Not allowed at this time\r\n")
                link.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=turn_away, daemon=True).start()
        port = listener.getsockname()[1]
        with pytest.raises(HostError) as failed:
            Remote(cluster_of(tmp_path), Host("w1", "127.0.0.1", ("worker",), port=port)).open()
        listener.shutdown(socket.SHUT_RDWR)
    assert failed.value.message == f"w1: 127.0.0.1:{port} accepts connections but does not speak SSH"
    assert "After failed logins an sshd of Debian 13 and the like turns your address away" in failed.value.hint


def test_a_jump_host_has_the_same_timeout(tmp_path: Path) -> None:
    """ProxyJump's hops give up as early as others, unless ssh_config says otherwise; so does the way behind them."""
    far = Host("w1", "far", ("worker",))
    cluster = cluster_of(tmp_path, "Host far\n  ProxyJump a,b\nHost b\n  ConnectTimeout 3\n")
    found = {hop.host: hop.connect_timeout for hop in hops(new_connection(cluster, far))}
    assert found == {"far": TIMEOUT, "a": TIMEOUT, "b": 3}
    transport = Given(channel_timeout=3600)
    open_hop(Given(open=lambda: None, transport=transport))
    assert transport.channel_timeout == TIMEOUT
    assert explain(far, SSHException("Timeout opening channel."), TARGET).message == "w1: 10.0.0.2:22 did not answer in time"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2, "w1: the jump host gw:22 cannot reach 10.0.0.2:22 (connect failed)"),
        (1, "w1: the jump host gw:22 forbids to go on to 10.0.0.2:22"),
    ],
)
def test_a_host_that_its_jump_host_cannot_reach_is_named_with_it(code: int, message: str) -> None:
    """The jump host reports that the host behind it cannot be reached, so both are named."""
    assert explain(BEHIND, ChannelException(code, "Connect failed"), TARGET).message == message


def test_a_tunnel_to_a_host_without_ssh_tells_of_ssh(
    tmp_path: Path, closed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What asks Consul through a host that is down says that the host is down, not that a port of its own is."""
    (tmp_path / "hosts.yml").write_text(
        "cluster: c\ndefaults: {ssh_config: none, known_hosts: k}\n"
        f"hosts: {{m1: {{ssh: 127.0.0.1, port: {closed}, roles: [manager]}}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXUS_HOSTS", raising=False)
    asking = (lambda: list_(Context()), lambda: events(Context()), lambda: promote(Context(), "m1"), lambda: ui(Context()))
    for command in asking:
        with pytest.raises(Exit):
            command()
        assert capsys.readouterr().err.splitlines() == [
            f"error: m1: 127.0.0.1:{closed} is closed or cannot be reached", "hint: is the host up, and sshd running there?",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ChannelException(2, "Connect failed"), "m1: port 8500 on its loopback did not answer (connect failed)"),
        (SSHException("SSH session not active"), "m1: 192.0.2.1:22: SSH session not active"),
    ],
)
def test_a_tunnel_distinguishes_a_closed_port_from_a_lost_connection(error: Exception, message: str) -> None:
    """The one is Consul's fault, the other the network's."""

    def refuse(*_: object, **__: object) -> None:
        raise error

    cluster = given_cluster(m1="manager")
    remote = Remote(cluster, cluster.host("m1"))
    remote._connection = Given(transport=Given(open_channel=refuse, is_active=lambda: True, join=lambda _: None))
    with pytest.raises(HostError) as failed:
        remote.tunnel(8500)
    assert failed.value.message == message


def test_a_refused_login_names_who_refused_whom() -> None:
    """With the keys of the file in which that is set."""
    refused = AuthenticationException()
    found = explain(BEHIND, refused, GATE, jump=True)
    assert found.message == "w1: the jump host gw:22 refused ann (no key was accepted)"
    assert found.hint.startswith("set `gateway: USER@gw` and `key:` of hosts.w1, ")
    assert explain(HOST, refused, GATE, jump=True).hint.startswith("set User and IdentityFile of gw in ssh_config, ")
    assert explain(HOST, refused).hint.startswith("set `user:` and `key:` of hosts.w1, ")


def test_a_jump_hosts_name_and_key_are_its_own() -> None:
    """Neither sends the operator to the host behind it."""
    found = explain(BEHIND, socket.gaierror(), GATE, jump=True)
    assert (found.message, found.hint) == ("w1: the name gw cannot be resolved", "check `gateway:` of hosts.w1")
    key = Given(get_name=lambda: "ssh-ed25519", asbytes=lambda: b"")
    assert "w1: jump host: the SSH key of gw is unknown" in explain(BEHIND, UnknownKey("gw", key), GATE, jump=True).message


@pytest.mark.parametrize(
    ("gateway", "way"),
    [
        ("ann@[fd00::1]:2222", ("ann", "fd00::1", 2222)), ("[fd00::1]", (None, "fd00::1", 22)),
        ("ann@gw.test:23", ("ann", "gw.test", 23)), ("gw", (None, "gw", 22)),
    ],
)  # fmt: skip
def test_a_jump_host_is_reached_as_it_is_written(tmp_path: Path, gateway: str, way: tuple[str | None, str, int]) -> None:
    """User, host and port of each form, IPv6 in brackets too."""
    _, hop = hops(new_connection(cluster_of(tmp_path), Host("w1", "10.0.0.2", ("worker",), gateway=gateway)))
    assert (hop.user, hop.host, hop.port) == (way[0] or hop.config.user, *way[1:])


def test_an_ipv6_address_is_told_in_brackets() -> None:
    """Where the address ends and the port begins can be seen."""
    assert explain(Host("w1", "fd00::1", ("worker",)), TimeoutError()).message == "w1: [fd00::1]:22 did not answer in time"
