"""add-worker: the cluster grows by a host that nobody knew, or nothing changes at all."""

from __future__ import annotations

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab


def fingerprint(lab: Lab, host: str) -> str:
    return lab.run(host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]


def test_a_wrong_fingerprint_adds_nothing(lab: Lab) -> None:
    """With a fingerprint that is not the host's, nothing is pinned and hosts.yml keeps its bytes."""
    before, known = lab.inventory.read_bytes(), (lab.inventory.parent / "known_hosts").read_bytes()
    done = lab.inv("add-worker", "127.0.7.7", "--yes", "--fingerprint", "SHA256:" + "A" * 43)
    assert done.returncode == 1
    assert fingerprint(lab, "spare") in done.stderr
    assert lab.inventory.read_bytes() == before
    assert (lab.inventory.parent / "known_hosts").read_bytes() == known


def test_yes_alone_does_not_vouch_for_a_key(lab: Lab) -> None:
    """--yes without a fingerprint is refused, with the fingerprint to compare."""
    before = lab.inventory.read_bytes()
    done = lab.inv("add-worker", "127.0.7.7", "--yes")
    assert done.returncode == 1
    assert "--fingerprint" in done.stderr
    assert lab.inventory.read_bytes() == before


def test_a_failed_deploy_leaves_hosts_yml_as_it_was(lab: Lab) -> None:
    """A host that cannot be deployed (its disk is full) is not in hosts.yml afterwards."""
    before = lab.inventory.read_bytes()
    lab.run("spare", "mkdir -p /var/lib/nexus && mount -t tmpfs -o size=5m tmpfs /var/lib/nexus")
    done = lab.inv("add-worker", "127.0.7.7", "--yes", "--fingerprint", fingerprint(lab, "spare"))
    lab.run("spare", "umount /var/lib/nexus")
    assert done.returncode == 1
    assert lab.inventory.read_bytes() == before
    assert lab.run("spare", "ls /usr/local/bin /etc/consul.d 2>/dev/null", check=False).split() == ["/usr/local/bin:"]


def test_add_worker_joins_the_spare_and_keeps_every_other_byte(lab: Lab) -> None:
    """add-worker pins, adds, deploys and waits: seven members are alive, and hosts.yml has one line more."""
    before = lab.inventory.read_text()
    lab.inv_ok("add-worker", "127.0.7.7", "--yes", "--fingerprint", fingerprint(lab, "spare"))
    assert lab.run("m1", "consul members").count("alive") == 7
    added = [line for line in lab.inventory.read_text().splitlines() if line not in before.splitlines()]
    assert added == ["  w3: {ssh: 127.0.7.7, roles: [worker]}"]
    assert lab.status()["healthy"]
    again = lab.inv("add-worker", "127.0.7.7", "--yes")
    assert again.returncode == 1
    assert "already" in again.stderr
    lab.inventory.write_text(before)
    lab.run("spare", "systemctl disable --now nexus-worker consul nexus-firewall")
    lab.consul("m1", "force-leave w3")
    lab.consul("m1", "force-leave -prune w3")


def test_a_dead_address_is_refused_and_nothing_is_added(lab: Lab) -> None:
    """An address where nobody answers is a one-line error, and hosts.yml keeps its bytes."""
    before = lab.inventory.read_bytes()
    done = lab.inv("add-worker", "127.0.7.99", "--yes", "--fingerprint", "SHA256:x")
    assert done.returncode == 1
    assert "w3: 127.0.7.99:22" in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.inventory.read_bytes() == before
