"""The network faults of remote_agents/fault/ with the real nftables, between two network namespaces of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fault_host import FaultyHost, faulty_host, until
from tests.support.script_host import SHELLS, Outcome, call

HOST, PEER, OTHER = "198.18.9.1", "198.18.9.2", "198.18.9.3"  # of the range set apart for tests
_TOOLS = ("unshare", "nsenter", "ip", "nft")

# Runs beside the peer: TCP greets on 22 and 9000, UDP echoes on 9001; each datagram is counted in the file.
_SERVER = f"""
import socket, sys, threading
def tcp(address, port):
    listener = socket.create_server((address, port))
    while True:
        listener.accept()[0].close()
for address in ("{PEER}", "{OTHER}"):
    for port in (22, 9000):
        threading.Thread(target=tcp, args=(address, port), daemon=True).start()
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("{PEER}", 9001))
with open(sys.argv[1], "a") as count:
    print("ready", file=count, flush=True)
    while True:
        data, sender = udp.recvfrom(100)
        print("got", file=count, flush=True)
        udp.sendto(data, sender)
"""
_CLIENT = """
import json, socket, sys
def tcp(address, port):
    try:
        socket.create_connection((address, port), 0.4).close()
        return True
    except OSError:
        return False
def udp(address, count):
    link = socket.socket(type=socket.SOCK_DGRAM)
    link.settimeout(0.4)
    for _ in range(count):
        try:
            link.sendto(b"x", (address, 9001))
        except PermissionError:  # dropped on its way out
            pass
    try:
        return link.recv(100) == b"x"
    except OSError:
        return False
peer, other, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print(json.dumps({"tcp": tcp(peer, 9000), "ssh": tcp(peer, 22), "other": tcp(other, 9000), "echo": udp(peer, count)}))
"""


def namespaces_work() -> bool:
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in _TOOLS):
        return False
    trial = "ip link add name v0 type veth peer name v1 && nft add table inet x"
    return subprocess.run(["unshare", "-n", "sh", "-c", trial], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.parametrize("shell", SHELLS),
    pytest.mark.skipif(not namespaces_work(), reason="needs root, network namespaces and nftables"),
]


@dataclass
class Net:
    """The host under test is in the namespace of `inside`; `counted`: what reached the peer by UDP."""

    host: FaultyHost
    inside: int
    counts: Path

    def say(self, *words: object) -> Outcome:
        host = self.host
        return call("nsenter", "-t", self.inside, "-n", host.shell, host.script, host.root, *words, env=host.env)

    def inject(self, *words: object) -> None:
        for verb in (("arm", self.host.id, words[0], 60, *words[1:]), ("inject", self.host.id)):
            assert self.say(*verb).lines[0] in ("armed", "injected")

    def try_all(self, datagrams: int = 1) -> dict[str, object]:
        before = self.counted
        argv = ["nsenter", "-t", str(self.inside), "-n", sys.executable, "-c", _CLIENT, PEER, OTHER, str(datagrams)]
        found: dict[str, object] = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout)
        return {**found, "arrived": self.counted - before}

    @property
    def counted(self) -> int:
        return self.counts.read_text().count("got")

    def ruleset(self) -> str:
        return "\n".join(call("nsenter", "-t", self.inside, "-n", "nft", "list", "ruleset").lines)


@contextmanager
def namespace(stack: ExitStack) -> Iterator[int]:
    process = subprocess.Popen(["unshare", "-n", "sleep", "300"])
    stack.callback(lambda: (process.kill(), process.wait()))
    own = os.readlink("/proc/self/ns/net")
    assert until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own)
    yield process.pid


@pytest.fixture
def net(shell: str, tmp_path: Path) -> Iterator[Net]:
    with ExitStack() as stack:
        host = stack.enter_context(faulty_host(shell, tmp_path))
        inside, outside = (stack.enter_context(namespace(stack)) for _ in range(2))
        setup = (
            f"ip link add name v0 type veth peer name v1 netns {outside} && ip addr add {HOST}/24 dev v0 && "
            f"ip link set v0 up && ip link set lo up"
        )
        there = f"ip addr add {PEER}/24 dev v1 && ip addr add {OTHER}/24 dev v1 && ip link set v1 up && ip link set lo up"
        for pid, commands in ((inside, setup), (outside, there)):
            subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-c", commands], check=True)
        counts = tmp_path / "counts"
        counts.touch()
        server = subprocess.Popen(["nsenter", "-t", str(outside), "-n", sys.executable, "-c", _SERVER, str(counts)])
        stack.callback(lambda: (server.kill(), server.wait()))
        assert until(lambda: "ready" in counts.read_text())
        yield Net(host, inside, counts)


WELL = {"tcp": True, "ssh": True, "other": True, "echo": True, "arrived": 1}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("partition", "both"), {"tcp": False, "echo": False, "arrived": 0}),
        (("partition", "in"), {"tcp": False, "echo": False, "arrived": 1}),
        (("partition", "out"), {"tcp": False, "echo": False, "arrived": 0}),
        (("partition", "udp"), {"tcp": True, "echo": False, "arrived": 0}),
        (("packet-loss", "100"), {"tcp": False, "echo": False, "arrived": 0}),
    ],
)  # fmt: skip
def test_only_the_named_peer_is_cut_off(net: Net, words: tuple[str, str], found: dict[str, object]) -> None:
    """What is to be lost is lost, SSH and other hosts are spared, and the undo leaves the rules as they were."""
    before = net.ruleset()
    assert net.try_all() == WELL
    net.inject(*words, PEER)
    assert net.say("observe", net.host.id).lines == ("present",)
    assert net.try_all() == {**WELL, **found}
    assert f"nexus_fault_{net.host.id}" in net.ruleset()
    for _ in range(2):
        assert net.say("revert", net.host.id).lines == ("reverted",)
    assert net.say("observe", net.host.id).lines == ("absent",)
    assert net.ruleset() == before
    assert net.try_all() == WELL


def test_a_share_of_the_packets_is_lost(net: Net) -> None:
    """Of 200 datagrams that are sent with half of them lost, 58 to 142 arrive (six standard deviations)."""
    net.inject("packet-loss", "50", PEER)
    net.try_all(200)  # no more: what waits unread beyond the socket's buffer would be lost, too
    assert until(lambda: 58 <= net.counted <= 142)


def test_the_operators_own_port_is_spared(net: Net) -> None:
    """Where SSH came in by another port, that one stays open, too."""
    net.host.env["SSH_CONNECTION"] = f"{PEER} 50000 {HOST} 9000"
    net.inject("partition", "both", PEER, OTHER)
    assert net.try_all() == {**WELL, "echo": False, "arrived": 0}


def test_a_table_without_its_folder_is_found_and_removed(net: Net) -> None:
    """An orphaned table is listed, present, and goes with a revert."""
    net.inject("partition", "both", PEER)
    shutil.rmtree(net.host.folder)
    assert f"left {net.host.id} - orphan 0" in net.say("list").lines
    assert net.say("observe", net.host.id).lines == ("present",)
    assert net.say("revert", net.host.id).lines == ("reverted",)
    assert net.say("list").lines == ()
    assert "nexus_fault" not in net.ruleset()


def test_packets_are_not_delayed_without_netem(net: Net) -> None:
    """Where the kernel has no netem, latency is refused in plain words, and nothing is left."""
    has = call("unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    if has.code == 0:
        pytest.skip("this kernel has netem")
    said = net.say("arm", net.host.id, "latency", 60, 100, PEER).lines
    assert said == ("refused the kernel has no netem (sch_netem); packet-loss works without",)
    assert not net.host.folder.parent.exists()
