"""The flow on real hosts: deploy, deploy again, drift, rollback, verify."""

from __future__ import annotations

import json
import time

import pytest

from .conftest import HOSTS, MANAGERS, Lab

pytestmark = pytest.mark.lab


def test_the_cluster_has_three_voters_and_six_members(lab: Lab) -> None:
    """Consul itself, asked on a host, knows three voters and six members that are alive."""
    peers = lab.consul("m2", "operator raft list-peers").splitlines()[1:]
    assert len([line for line in peers if "true" in line.split()]) == 3
    members = lab.run("m2", "consul members").splitlines()[1:]
    assert len([line for line in members if line.split()[2] == "alive"]) == 6


def test_only_loopback_answers_for_the_api(lab: Lab) -> None:
    """Consul's HTTP port listens on no address but loopback."""
    for host in HOSTS:
        listening = lab.run(host, "ss -Hltn 'sport = :8500'").split("\n")
        assert [line.split()[3] for line in listening if line] == ["127.0.0.1:8500"]


def test_a_second_deploy_does_nothing_over_one_connection(lab: Lab) -> None:
    """A deploy of what is there says so, changes no file, and takes at most two SSH connections a host."""
    before = {h: lab.run(h, "journalctl -u ssh -o cat | grep -c 'Accepted publickey'") for h in HOSTS}
    stamps = {
        h: lab.run(h, "find /etc/consul.d /etc/systemd/system /usr/local/bin -newermt '1 second ago'") for h in HOSTS
    }
    said = lab.deploy()
    after = {h: lab.run(h, "journalctl -u ssh -o cat | grep -c 'Accepted publickey'") for h in HOSTS}
    assert "nothing changed" in said
    assert stamps == dict.fromkeys(HOSTS, "")
    assert all(int(after[h]) - int(before[h]) <= 2 for h in HOSTS)


def test_plan_tells_drift_by_its_exit_code_and_deploy_mends_it(restored_lab: Lab) -> None:
    """plan exits 0 when nothing is to do and 2 when a host was edited by hand; deploy brings the bytes back."""
    assert restored_lab.inv("plan").returncode == 0
    good = restored_lab.run("w1", "sha256sum /etc/consul.d/consul.hcl /usr/local/bin/consul")
    restored_lab.run("w1", "echo '# by hand' >> /etc/consul.d/consul.hcl")
    plan = restored_lab.inv("plan")
    assert plan.returncode == 2
    assert "-# by hand" in plan.stdout
    assert "nothing to do: m1, m2, m3, w2, lb1" in plan.stdout
    restored_lab.deploy()
    assert restored_lab.run("w1", "sha256sum /etc/consul.d/consul.hcl /usr/local/bin/consul") == good


def test_a_stopped_unit_and_a_lost_file_come_back(restored_lab: Lab) -> None:
    """A unit that was stopped, disabled or deleted by hand is a change, and deploy mends it."""
    broken = "systemctl disable --now consul; rm /etc/systemd/system/consul.service; systemctl daemon-reload"
    restored_lab.run("w1", broken)
    restored_lab.run("lb1", "systemctl stop caddy")
    restored_lab.deploy()
    states = restored_lab.run("w1", "systemctl is-active consul; systemctl is-enabled consul")
    assert states.split() == ["active", "enabled"]
    assert restored_lab.run("lb1", "systemctl is-active caddy").strip() == "active"


def test_hosts_limits_what_changes_and_not_what_templates_see(restored_lab: Lab) -> None:
    """--hosts w1 touches w1 alone, and w1 still knows every manager."""
    restored_lab.run("w1", "rm /etc/consul.d/consul.hcl")
    restored_lab.run("w2", "echo '# drift' >> /etc/consul.d/consul.hcl")
    restored_lab.inv_ok("deploy", "--hosts", "w1", "--yes")
    assert restored_lab.run("w1", "grep retry_join /etc/consul.d/consul.hcl").count("198.18.7.1") == 3
    assert "# drift" in restored_lab.run("w2", "cat /etc/consul.d/consul.hcl")


def test_a_rolling_change_keeps_the_quorum(restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """While every manager restarts for a new setting, one after the other, a majority always votes."""
    changed = restored_lab.variant(
        tmp_path_factory.mktemp("rolling"), "roles: [manager]}", "roles: [manager], labels: {zone: a}}"
    )
    lost = []
    running = changed.start_inv("deploy", "--yes")
    while running.poll() is None:
        up = [m for m in MANAGERS if restored_lab.run(m, "systemctl is-active consul", check=False).strip() == "active"]
        if len(up) < 2:
            lost.append(up)
        time.sleep(0.1)
    assert running.returncode == 0
    assert not lost
    assert "zone" in restored_lab.run("m3", "cat /etc/consul.d/consul.hcl")


def test_rollback_puts_the_generation_before_back(restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """rollback restores the very bytes that were there before the last deploy, with the unit running on them."""
    before = restored_lab.run("w1", "sha256sum /etc/consul.d/consul.hcl")
    changed = restored_lab.variant(
        tmp_path_factory.mktemp("rollback"),
        "w1: {ssh: 127.0.7.4, roles: [worker]",
        "w1: {ssh: 127.0.7.4, roles: [worker], labels: {disk: ssd}",
    )
    changed.inv_ok("deploy", "--hosts", "w1", "--yes")
    assert restored_lab.run("w1", "sha256sum /etc/consul.d/consul.hcl") != before
    said = changed.inv_ok("rollback", "--hosts", "w1", "--yes")
    assert "disk" in said
    assert restored_lab.run("w1", "sha256sum /etc/consul.d/consul.hcl") == before
    restored_lab.eventually("m1", "consul members | grep '^w1 .*alive'")


def test_a_role_taken_away_is_taken_off_the_host(restored_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A host that stops being a load balancer loses Caddy, its files and its unit, and nothing else."""
    changed = restored_lab.variant(tmp_path_factory.mktemp("role"), "roles: [loadbalancer]", "roles: [worker]")
    changed.inv_ok("deploy", "--hosts", "lb1", "--yes")
    assert restored_lab.run("lb1", "systemctl is-active caddy", check=False).strip() == "inactive"
    listing = restored_lab.run("lb1", "ls /usr/local/bin /etc/caddy")
    assert listing.split() == ["/etc/caddy:", "/usr/local/bin:", "consul"]
    assert restored_lab.run("lb1", "systemctl is-active consul").strip() == "active"


def test_status_and_verify_find_a_healthy_cluster(lab: Lab) -> None:
    """status --json has the promised keys and says healthy; verify passes every criterion."""
    lab.deploy()
    status = lab.status()
    assert {"cluster", "healthy", "primary", "raft_leader", "hosts", "services"} <= set(status)
    assert status["healthy"], status["problems"]
    assert status["raft_leader"] in MANAGERS
    assert {h["name"]: h["consul"] for h in status["hosts"]} == dict.fromkeys(HOSTS, "alive")
    assert all({"name", "roles", "arch", "reachable", "consul", "units"} <= set(h) for h in status["hosts"])
    said = lab.inv_ok("verify")
    assert said.count("PASS") >= 6
    assert "FAIL" not in said


def test_status_names_what_is_wrong(restored_lab: Lab) -> None:
    """With Consul stopped on a worker, status exits 1 and names host and unit."""
    restored_lab.run("w1", "systemctl stop consul")
    done = restored_lab.inv("status")
    assert done.returncode == 1
    assert "w1: consul.service is inactive" in done.stderr


def test_detect_reports_each_host(lab: Lab) -> None:
    """detect --json has the facts of all six hosts, among them the one reached through sudo."""
    found = json.loads(lab.inv_ok("detect", "--json"))["hosts"]
    assert {h["name"] for h in found} == set(HOSTS)
    assert {h["arch"] for h in found} == {"amd64"}
    assert {h["address"] for h in found} == {f"198.18.7.{n}" for n in range(11, 17)}
    assert all(abs(h["clock_offset_s"]) < 5 for h in found)
