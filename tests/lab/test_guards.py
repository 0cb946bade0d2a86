"""One primary, one cluster: a deploy that would take over somebody else's stops before it changes anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab


def test_a_primary_that_the_inventory_does_not_name_stops_the_deploy(restored_lab: Lab, tmp_path: Path) -> None:
    """With m3 primary and missing from hosts.yml, deploy names m3 and changes nothing."""
    restored_lab.inv_ok("promote", "m3", "--yes")
    assert restored_lab.status()["primary"] == "m3"
    other = restored_lab.variant(tmp_path, "  m3: {ssh: 127.0.7.3, roles: [manager]}\n", "")
    before = restored_lab.run("m1", "cat /etc/consul.d/consul.hcl")
    done = other.inv("deploy", "--yes")
    assert done.returncode == 1
    assert "primary manager is m3" in done.stderr
    assert "hint:" in done.stderr
    assert restored_lab.run("m1", "cat /etc/consul.d/consul.hcl") == before
    restored_lab.run("w1", "echo '# drift' >> /etc/consul.d/consul.hcl")
    restored_lab.deploy()


def test_a_host_of_another_cluster_stops_the_deploy(lab: Lab, tmp_path: Path) -> None:
    """An inventory of another cluster that names a deployed host is refused, and says which host and whose it is."""
    other = Lab(tmp_path / "hosts.yml")
    text = lab.inventory.read_text().replace("cluster: lab", "cluster: other")
    other.inventory.write_text(
        text.replace("known_hosts: known_hosts", f"known_hosts: {lab.inventory.parent}/known_hosts")
    )
    done = other.inv("deploy", "--yes")
    assert done.returncode == 1
    assert "m1 belongs to another cluster: lab" in done.stderr
    assert lab.inv("plan").returncode == 0


def test_a_lost_state_folder_is_noticed_and_adopted_on_request(lab: Lab, tmp_path: Path) -> None:
    """An empty state folder is refused, with --adopt too; with the secrets at hand --adopt takes the cluster over."""
    empty = {"NEXUS_STATE": str(tmp_path / "state")}
    refused = lab.inv("deploy", "--yes", env=empty)
    assert refused.returncode == 1
    assert "this state folder does not know" in refused.stderr.replace("\n", " ").replace("which ", "")
    unarmed = lab.inv("deploy", "--yes", "--adopt", env=empty)
    assert unarmed.returncode == 1
    assert "secrets.import" in unarmed.stderr
    (tmp_path / "state" / "lab").mkdir(parents=True, exist_ok=True)
    (tmp_path / "state" / "lab" / "secrets.json").write_text(json.dumps(lab.secrets()))
    lab.inv_ok("deploy", "--yes", "--adopt", env=empty)
    assert lab.inv("plan").returncode == 0


def test_two_primaries_are_refused_before_any_connection(lab: Lab, tmp_path: Path) -> None:
    """Two hosts marked primary are a fault of hosts.yml, found without a network."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "cluster: x\nhosts:\n  m1: {ssh: 192.0.2.1, roles: [manager], primary: true}\n"
        "  m2: {ssh: 192.0.2.2, roles: [manager], primary: true}\n  m3: {ssh: 192.0.2.3, roles: [manager]}\n"
    )
    done = Lab(inventory).inv("deploy", "--yes", timeout=10)
    assert done.returncode == 1
    assert "hosts.m2.primary" in done.stderr
