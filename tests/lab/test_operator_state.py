"""The operator's own files beside a real cluster: what a slip in hosts.yml costs, and what is put back."""

from __future__ import annotations

import signal
import time

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab


def test_a_host_that_is_commented_out_for_a_plan_loses_nothing(
    restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A plan without w2 leaves its secrets; taken back, nothing differs. A deploy without it drops its tokens for good."""
    before = restored_lab.secrets()
    without = restored_lab.variant(tmp_path_factory.mktemp("without"), "  w2: {", "  # w2: {")
    assert without.inv("plan").returncode == 2  # the neighbours' firewalls
    assert restored_lab.secrets()["tokens"] == before["tokens"]
    assert restored_lab.inv("plan").returncode == 0
    assert restored_lab.secrets() == before
    without.deploy()
    after = restored_lab.secrets()
    assert sorted(before["tokens"].keys() - after["tokens"].keys()) == ["agent/w2", "worker/w2"]
    accessors = restored_lab.consul("m1", "acl token list")
    assert before["tokens"]["agent/w2"]["accessor"] not in accessors
    assert before["tokens"]["agent/w1"]["accessor"] in accessors
    restored_lab.deploy()
    assert restored_lab.secrets()["tokens"]["agent/w2"] != before["tokens"]["agent/w2"]


def test_a_growth_that_is_told_to_end_puts_hosts_yml_back(restored_lab: Lab) -> None:
    """SIGTERM in add-worker, before a host has changed: hosts.yml gets its bytes back, and no lock is left."""
    before = restored_lab.inventory.read_bytes()
    key = restored_lab.run("spare", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    running = restored_lab.start_inv("add-worker", "127.0.7.7", "--yes", "--fingerprint", key)
    until = time.monotonic() + 30
    while restored_lab.inventory.read_bytes() == before:
        assert time.monotonic() < until
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 128 + signal.SIGTERM
    assert restored_lab.inventory.read_bytes() == before
    assert restored_lab.run("m1", "ls /var/lib/nexus/lock", check=False) == ""
