"""What is in force on the hosts, not what was loaded once: flushed tables, units without their files, hosts that move."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import Lab, eventually
from .security_checks import scan

pytestmark = pytest.mark.lab

TABLE = "nft list table inet nexus"


@pytest.mark.parametrize("verb", ["start", "restart", "reload", "stop"])
def test_nftables_service_brings_our_rules_back(lab: Lab, verb: str) -> None:
    """Whatever is done with nftables.service, which flushes all tables, ours is in force right after."""
    rules = lab.run("lb1", TABLE)
    try:
        if verb != "start":
            lab.run("lb1", "systemctl start nftables")
        lab.run("lb1", f"systemctl {verb} nftables")
        assert lab.run("lb1", TABLE) == rules
        assert "nothing to do" in lab.inv_ok("plan", "--hosts", "lb1")
    finally:
        lab.run("lb1", "systemctl stop nftables", check=False)


def test_a_flush_by_hand_is_seen_and_mended(restored_lab: Lab) -> None:
    """plan, status and verify name the host whose rules somebody has flushed; one deploy loads them again."""
    lab = restored_lab
    rules = lab.run("lb1", TABLE)
    lab.run("lb1", "nft flush ruleset")
    planned = lab.inv("plan", "--brief")
    assert planned.returncode == 2
    assert "> reload nexus-firewall.service (its rules are not in force)" in planned.stdout
    assert "lb1: the firewall: its rules are not in force; inv deploy --hosts lb1" in lab.status()["problems"]
    verified = lab.inv("verify")
    assert verified.returncode == 1
    assert "FAIL  firewalls and units are in force as deployed: lb1: the firewall" in verified.stdout
    lab.inv_ok("deploy", "--hosts", "lb1", "--yes")
    assert lab.run("lb1", TABLE) == rules
    assert lab.status()["problems"] == []


def test_a_rule_by_hand_is_seen_and_mended(restored_lab: Lab) -> None:
    """A port that somebody has opened within our table is shut by the next deploy."""
    lab = restored_lab
    rules = lab.run("lb1", TABLE)
    lab.run("lb1", "nft insert rule inet nexus input tcp dport 8500 accept")
    assert "other rules are in force than it loaded" in lab.inv("plan", "--brief").stdout
    lab.inv_ok("deploy", "--hosts", "lb1", "--yes")
    assert lab.run("lb1", TABLE) == rules


@pytest.mark.long
def test_with_nftables_service_enabled_our_rules_are_there_after_a_boot(restored_lab: Lab) -> None:
    """Whichever of the two units comes first at boot, our table is in force when the host is up."""
    lab = restored_lab
    rules = lab.run("lb1", TABLE)
    lab.run("lb1", "systemctl enable nftables")
    try:
        subprocess.run(["docker", "restart", "--time", "2", "nexus-lab-lb1"], check=True, capture_output=True)
        lab.wait_active("lb1", "ssh", "consul", "nftables", "nexus-firewall")
        assert lab.run("lb1", TABLE) == rules
        assert scan(lab, "spare", (8301,), ("lb1",)) == set()
        eventually(lambda: lab.status()["problems"] == [], 60, lambda: lab.status()["problems"])
    finally:
        lab.run("lb1", "systemctl disable --now nftables", check=False)


def test_a_unit_without_its_file_is_mended_by_one_deploy(restored_lab: Lab) -> None:
    """A running unit whose file is deleted, and systemd told so, is whole again after one deploy, not broken for ever."""
    lab = restored_lab
    lab.run("w1", "rm /etc/systemd/system/nexus-worker.service; systemctl daemon-reload")
    assert "nexus-worker.service (its file was gone)" in lab.inv("plan", "--brief").stdout
    lab.inv_ok("deploy", "--hosts", "w1", "--yes")
    lab.wait_active("w1", "nexus-worker")
    assert "nothing to do" in lab.inv_ok("plan", "--hosts", "w1")


def test_a_unit_that_systemd_has_not_read_again_is_seen_and_mended(restored_lab: Lab) -> None:
    """A unit's file that was changed and put back, with systemd told half of it, shows in plan and status."""
    lab = restored_lab
    unit = "/etc/systemd/system/consul.service"
    lab.run("w2", f"cp -p {unit} /root/kept; echo '# by hand' >>{unit}; systemctl daemon-reload; cp /root/kept {unit}")
    line = "systemd has another text than the file of consul.service"
    assert f"> daemon-reload ({line})" in lab.inv("plan", "--brief").stdout
    assert f"w2: {line}; inv deploy --hosts w2" in lab.status()["problems"]
    pid = lab.run("w2", "systemctl show -P MainPID consul")
    lab.inv_ok("deploy", "--hosts", "w2", "--yes")
    assert lab.run("w2", "systemctl show -P NeedDaemonReload consul").strip() == "no"
    assert lab.run("w2", "systemctl show -P MainPID consul") == pid


@pytest.mark.long
def test_without_a_leader_the_services_ports_stay_open(services_lab: Lab) -> None:
    """No services.yml and no raft leader: nobody knows the services, and a deploy shuts none of their ports."""
    lab = services_lab
    offered = lab.inventory.with_name("services.yml")
    text, rules = offered.read_text(), lab.run("w1", TABLE)
    assert "Services" in lab.run("w1", "cat /etc/nexus/firewall.nft")
    offered.unlink()
    try:
        for host in ("m2", "m3"):
            lab.run(host, "systemctl stop consul")
        eventually(lambda: lab.status()["raft_leader"] is None, 60)
        assert "firewall.nft" not in lab.inv("plan", "--hosts", "w1", "--brief").stdout
        lab.inv("deploy", "--hosts", "w1", "--yes")
        assert lab.run("w1", TABLE) == rules
    finally:
        offered.write_text(text)
        for host in ("m2", "m3"):
            lab.run(host, "systemctl start consul")
        eventually(lambda: lab.status()["raft_leader"] is not None, 60)
        lab.deploy()


@pytest.mark.long
def test_a_manager_and_a_worker_move_in_one_deploy(restored_lab: Lab, tmp_path: Path) -> None:
    """Old and new addresses are let in before the move, the old ones go after it, and the next deploy has nothing to do."""
    lab = restored_lab
    moves = {"m2": ("198.18.7.12", "198.18.7.112"), "w2": ("198.18.7.15", "198.18.7.115")}
    for host, (old, new) in moves.items():
        assert f"inet {old}/" in lab.run(host, "ip -4 -o addr")
        lab.run(host, f"ip addr add {new}/24 dev eth0")
    text = lab.inventory.read_text()
    for host, (_, new) in moves.items():
        line = next(x for x in text.splitlines() if x.strip().startswith(f"{host}:"))
        text = text.replace(line, line.replace("{", f"{{address: {new}, ", 1))
    moved = Lab(lab.inventory.with_name(f"{tmp_path.name}.yml"))
    moved.inventory.write_text(text)
    try:
        output = moved.deploy()
        assert "firewalls let the new addresses in" in output
        members = lab.run("m1", "consul members")
        for host, (old, new) in moves.items():
            assert f"{new}:8301" in members, members
            for other in ("m1", "m3", "w1", "lb1"):
                rules = lab.run(other, TABLE)
                assert new in rules, (other, host)
                assert f"{old}," not in rules, (other, host)
        assert "nothing to do" in moved.inv_ok("plan")
    finally:
        lab.deploy()                             # and back: these are moves, too
        for host, (_, new) in moves.items():
            lab.run(host, f"ip addr del {new}/24 dev eth0", check=False)
