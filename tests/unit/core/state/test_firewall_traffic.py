"""The firewall's rules with the real nftables: who reaches which port of a host, in network namespaces of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from fabfile.core.state.firewall import RULES, cluster_addresses, firewall_part, firewall_view
from tests.support.samples import ADDRESSES, CLUSTER

HOST = "10.0.0.2"  # w1's own address
SERVICE, OTHER = 8080, 8500
# the device on the host, its address there, and who is on the other side
WAYS = {
    "container": ("docker0", "172.17.0.1", "172.17.0.2"),
    "container on a network of its own": ("br-0123456789ab", "192.168.144.1", "192.168.144.2"),
    "neighbour": ("eth0", HOST, "10.0.0.3"),
    "stranger": ("eth1", "198.18.9.1", "198.18.9.2"),
}
_SERVER = """
import socket, sys, threading
def serve(port):
    listener = socket.create_server(("", port))
    while True:
        listener.accept()[0].close()
for port in sys.argv[1:]:
    threading.Thread(target=serve, args=(int(port),)).start()
print("ready", flush=True)
"""
_CLIENT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5).close()"


def namespaces_work() -> bool:
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in ("unshare", "nsenter", "ip", "nft")):
        return False
    trial = "ip link add name v0 type veth peer name v1 && ip link add name docker0 type bridge && nft add table inet x"
    return subprocess.run(["unshare", "-n", "sh", "-c", trial], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not namespaces_work(), reason="needs root, network namespaces and nftables")


@dataclass
class Host:
    """A host behind our rules; `others`: who -> the process in whose namespace they are."""

    inside: int
    others: dict[str, int]

    def reaches(self, who: str, port: int) -> bool:
        argv = [sys.executable, "-c", _CLIENT, HOST, str(port)]
        return enter(self.others[who], *argv, check=False).returncode == 0


def enter(pid: int, *argv: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], check=check, capture_output=True, text=True, input=stdin)


def namespace(stack: ExitStack) -> int:
    process = subprocess.Popen(["unshare", "-n", "sleep", "300"])
    stack.callback(lambda: (process.kill(), process.wait()))
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{process.pid}/ns/net") == own:
        time.sleep(0.01)
    return process.pid


def connect(host: int, other: int, device: str, address: str, theirs: str) -> None:
    """A container is behind a bridge, as Docker does it; others are on a cable."""
    bridged = device.startswith(("docker", "br-"))
    end = f"v{other}" if bridged else device
    bridge = f"ip link add {device} type bridge && ip link set {end} master {device} up && " if bridged else ""
    there = f"ip addr add {theirs}/24 dev v && ip link set v up && ip link set lo up && ip route add default via {address}"
    enter(host, "sh", "-c", f"ip link add {end} type veth peer name v netns {other} && {bridge}"
                            f"ip addr add {address}/24 dev {device} && ip link set {device} up")  # fmt: skip
    enter(other, "sh", "-c", there)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    view = firewall_view(CLUSTER, CLUSTER.host("w1"), cluster_addresses(ADDRESSES.values()), (22,), False, (SERVICE,))
    (rules,) = (f.content for f in firewall_part(view).files if f.path == RULES)
    with ExitStack() as stack:
        inside = namespace(stack)
        others = {who: namespace(stack) for who in WAYS}
        enter(inside, "ip", "link", "set", "lo", "up")
        for who, way in WAYS.items():
            connect(inside, others[who], *way)
        argv = ["nsenter", "-t", str(inside), "-n", sys.executable, "-c", _SERVER, str(SERVICE), str(OTHER)]
        server = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        stack.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        enter(inside, "nft", "-f", "-", stdin=(rules or b"").decode())
        yield Host(inside, others)


@pytest.mark.parametrize(("who", "lets_in"), [
    ("container", True), ("container on a network of its own", True), ("neighbour", True), ("stranger", False)])  # fmt: skip
def test_services_are_reached_by_the_cluster_and_the_hosts_own_containers(host: Host, who: str, lets_in: bool) -> None:
    """A container reaches a service on its own host as it reaches one on another; nobody reaches any other port."""
    assert host.reaches(who, SERVICE) == lets_in
    assert not host.reaches(who, OTHER)
