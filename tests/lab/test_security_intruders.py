"""From a machine that is in no inventory: which doors it finds, and what it takes to join."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fabfile.edge.disk.pki import issue, make_authority

from .conftest import HOSTS, MANAGERS, ROOT, Lab, eventually
from .security_checks import ADDRESS, CONSUL_PORTS, OPERATOR, OTHER_PORTS, scan, ssh_answers, with_admin_from

pytestmark = pytest.mark.lab


def test_a_stranger_finds_ssh_and_the_balancers_doors_and_nothing_else(lab: Lab) -> None:
    """Scanned from a host that is in no inventory, every host answers on 22, the load balancer on 80, too."""
    lab.run("w1", "systemd-run --quiet --unit=forgotten python3 -m http.server 9999")  # a service that nobody meant
    try:
        lab.eventually("w1", "ss -Hltn 'sport = :9999' | grep .")
        found = scan(lab, "spare", (22, 80, 443, *CONSUL_PORTS, *OTHER_PORTS))
    finally:
        lab.run("w1", "systemctl stop forgotten")
    assert found - {("lb1", 443)} == {*((h, 22) for h in HOSTS), ("lb1", 80)}


def test_a_member_reaches_gossip_and_the_servers_rpc_only(lab: Lab) -> None:
    """From another host of the cluster 8301 answers everywhere, 8300 on managers, and the API nowhere."""
    others = tuple(h for h in HOSTS if h != "w1")
    found = scan(lab, "w1", (*CONSUL_PORTS, 9999), others)
    assert found == {*((h, 8301) for h in others), *((m, 8300) for m in MANAGERS)}


# --- rules that shut the operator out -------------------------------------------------------------------------------
# The undo comes after 45 s. The tests between the two of this part need no SSH to w1, and run meanwhile.

_WRAPPER = """#!/bin/sh
/usr/sbin/nft.real "$@" || exit
[ "$*" != "-f /etc/nexus/firewall.nft" ] || /usr/sbin/nft.real insert rule inet nexus input tcp dport 22 ct state new drop
"""
_RULES = "nft list table inet nexus; sha256sum /etc/nexus/firewall.nft"


@dataclass
class Shut:
    """A deploy to w1, under way, whose rules cut off new SSH connections."""

    changed: Lab
    before: str
    running: subprocess.Popen[str]
    again: Future[float]  # seconds until a new connection got through


@pytest.fixture(scope="module")
def shut(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shut]:
    lab.deploy()
    changed = with_admin_from(lab, tmp_path_factory.mktemp("shut"), OPERATOR)
    before = lab.run("w1", _RULES)
    lab.run("w1", "mv /usr/sbin/nft /usr/sbin/nft.real; cat >/usr/sbin/nft; chmod 0755 /usr/sbin/nft", stdin=_WRAPPER)
    with ThreadPoolExecutor(1) as pool:
        try:
            running = subprocess.Popen(
                lab.argv("deploy", "--hosts", "w1", "--yes"), cwd=ROOT, env=changed.env(), text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            lab.eventually("w1", "nft.real list table inet nexus | grep -q 'tcp dport 22 ct state new drop'", 20)
            assert not ssh_answers("w1")
            yield Shut(changed, before, running, pool.submit(eventually, lambda: ssh_answers("w1"), 60))
        finally:
            lab.run("w1", "mv /usr/sbin/nft.real /usr/sbin/nft")


def test_rules_that_shut_the_operator_out_keep_the_deploy_waiting(shut: Shut) -> None:
    """The deploy is still under way, and asks in vain."""
    assert shut.running.poll() is None
    assert not ssh_answers("w1")


# --- joining -------------------------------------------------------------------------------------------------------


class Intruder:
    """A real Consul on the spare host, run by somebody who wants in."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def start(self, **settings: Any) -> None:
        config = {
            "node_name": "intruder", "datacenter": "lab", "data_dir": "/root/intruder/data", "bind_addr": ADDRESS["spare"],
            "retry_join": [ADDRESS["m1"]], "retry_interval": "1s",
            "performance": {"rpc_hold_timeout": "1s", "leave_drain_time": "0s"}, **settings,
        }  # fmt: skip
        self.lab.run(
            "spare",
            "systemctl reset-failed intruder 2>/dev/null; rm -rf /root/intruder; umask 077; mkdir -p /root/intruder; "
            "cat >/root/intruder/c.json; "
            "systemd-run --quiet --unit=intruder /root/consul agent -config-file=/root/intruder/c.json",
            stdin=json.dumps(config),
        )
        self.lab.eventually("spare", "/root/consul members 2>/dev/null | grep -q intruder")

    def stop(self) -> None:
        self.lab.run("spare", "systemctl stop intruder", check=False)

    def joins(self, within: float) -> bool:
        """Whether m1 ever counts it among the living."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            if re.search(r"^intruder .*alive", self.lab.consul("m1", "members"), re.MULTILINE):
                return True
            time.sleep(0.3)
        return False


@pytest.fixture(scope="module")
def their_consul(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    binary = tmp_path_factory.mktemp("intruder") / "consul"
    subprocess.run(["docker", "cp", "nexus-lab-m1:/usr/local/bin/consul", binary], check=True, capture_output=True)
    subprocess.run(["docker", "cp", binary, "nexus-lab-spare:/root/consul"], check=True, capture_output=True)
    yield
    lab.run("spare", "rm -f /root/consul")


@pytest.fixture
def intruder(lab: Lab, their_consul: None) -> Iterator[Intruder]:
    one = Intruder(lab)
    yield one
    one.stop()
    lab.run("spare", "rm -rf /root/intruder")
    if "intruder" in lab.consul("m1", "members"):
        lab.consul("m1", "force-leave -prune intruder", check=False)


@contextmanager
def doors_open(lab: Lab, *hosts: str) -> Iterator[None]:
    """The firewall lets the spare host in, so that what refuses it is the next lock on the way."""
    rule = f"inet nexus input ip saddr {ADDRESS['spare']} accept"
    handles = {h: re.findall(r"# handle (\d+)", lab.run(h, f"nft --echo --handle insert rule {rule}"))[-1] for h in hosts}
    try:
        yield
    finally:
        for host, handle in handles.items():
            lab.run(host, f"nft delete rule inet nexus input handle {handle}")


WRONG_KEY = "Tk9UIFRIRSBLRVksIEpVU1QgMzIgQllURVMgTE9ORyE="


def test_nobody_joins_without_the_gossip_key(lab: Lab, intruder: Intruder) -> None:
    """With no key or a wrong one an agent never becomes a member: not through the firewall, not with it open."""
    for settings in ({}, {"encrypt": WRONG_KEY}):
        intruder.start(**settings)
        assert not intruder.joins(within=2.5)
        with doors_open(lab, "m1"):
            since = lab.run("m1", "date +%s").strip()
            assert scan(lab, "spare", (8301,), ("m1",))  # it is not the firewall that keeps it out now
            assert not intruder.joins(within=4)
            heard = lab.run("m1", f"journalctl -u consul -o cat --since @{since} | grep {ADDRESS['spare']}")
            assert "crypt" in heard, heard
        intruder.stop()


def assert_nothing_is_answered(lab: Lab, log: Callable[[], str], why: str) -> None:
    """Three calls at once, for each waits for its own timeouts, and again until m1 was among the servers that were asked:
    then `log` has the reason."""
    asked = "catalog nodes", "kv get nexus/primary", "kv put nexus/primary me"
    command = "".join(f"(/root/consul {words} >/dev/null 2>&1; echo code $?) & " for words in asked) + "wait"
    for _ in range(6):
        assert lab.run("spare", command).split("\n") == ["code 1"] * len(asked) + [""]
        if re.search(why, log()):
            return
    raise AssertionError(log()[-2000:])


def test_the_gossip_key_alone_opens_no_rpc(lab: Lab, intruder: Intruder) -> None:
    """An agent with the right gossip key and no certificate may gossip, and the servers answer none of its calls."""
    with doors_open(lab, *MANAGERS):
        intruder.start(encrypt=lab.secrets()["gossip"])
        assert intruder.joins(within=15)
        why = rf"RPC.*server={re.escape(ADDRESS['m1'])}:8300.*error"
        assert_nothing_is_answered(lab, lambda: lab.run("spare", "journalctl -u intruder -o cat"), why)


def test_a_foreign_authoritys_certificate_opens_no_rpc(lab: Lab, intruder: Intruder) -> None:
    """A certificate with the right names, signed by a CA of the intruder's own, is refused by the servers' side of TLS."""
    pair = issue(make_authority("lab"), ["server.lab.consul", "intruder", "m1"])
    files = {"cert_file": pair.cert, "key_file": pair.key, "ca_file": lab.secrets()["trusted"][0]}
    with doors_open(lab, *MANAGERS):
        for name, text in files.items():
            lab.run("spare", f"umask 077; cat >/root/{name}.pem", stdin=text)
        intruder.start(
            encrypt=lab.secrets()["gossip"], verify_outgoing=True,
            **{name: f"/root/{name}.pem" for name in files},
        )  # fmt: skip
        assert intruder.joins(within=15)
        since = lab.run("m1", "date +%s").strip()
        heard = f"journalctl -u consul -o cat --since @{since} | grep {ADDRESS['spare']}"
        why = "certificate signed by unknown authority|unknown certificate|bad certificate"
        assert_nothing_is_answered(lab, lambda: lab.run("m1", heard, check=False), why)
    lab.run("spare", "rm -f /root/*.pem")


def test_rules_that_shut_the_operator_out_are_taken_back(lab: Lab, shut: Shut) -> None:
    """A rule change that cuts off new SSH connections fails and undoes itself within 50 s; the next deploy succeeds. The
    rest of the cluster sees nothing of it."""
    assert lab.run("m1", "consul members").count("alive") == len(HOSTS)
    took = shut.again.result()
    said, _ = shut.running.communicate(timeout=30)
    print(f"the host let its operator in again after {took:.1f} s")
    assert took < 50
    assert shut.running.returncode == 1, said
    assert "lets no new SSH connection in" in said
    assert lab.run("w1", "nft.real list table inet nexus; sha256sum /etc/nexus/firewall.nft") == shut.before
    lab.run("w1", "cp /usr/sbin/nft.real /usr/sbin/nft")
    assert shut.changed.inv("plan", "--hosts", "w1").returncode == 2
    shut.changed.inv_ok("deploy", "--hosts", "w1", "--yes")
    assert "admin4" in lab.run("w1", "nft list table inet nexus")
    lab.eventually("w1", "! systemctl is-active nexus-firewall-undo.timer")
    lab.deploy()
