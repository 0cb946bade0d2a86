"""The hosts' firewall under change, and how little the units could do if they were taken over."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .conftest import HOSTS, Lab
from .security_checks import OPERATOR, deployed_files, scan, with_admin_from

pytestmark = pytest.mark.lab


def test_an_operator_outside_admin_from_is_refused_first(lab: Lab, tmp_path: Path) -> None:
    """admin_from without the operator: refused with the address that the host sees, and nothing changes."""
    lab.deploy()
    before = deployed_files(lab)
    for words in (("plan",), ("deploy", "--yes")):
        done = with_admin_from(lab, tmp_path, "192.0.2.0/24").inv(*words)
        assert done.returncode == 1
        assert re.search(r"sees you come from 198\.18\.7\.1\b", done.stderr), done.stderr
        assert "nothing was changed" in done.stderr
    assert deployed_files(lab) == before


_FOREIGN = """
table inet other {
	chain c {
		type filter hook input priority 7; policy accept;
		tcp dport 4711 counter drop
	}
}
table ip other4 {
	set s { type ipv4_addr; }
}
"""


def test_admin_from_shuts_ssh_and_leaves_foreign_tables_alone(lab: Lab, tmp_path: Path) -> None:
    """With admin_from a stranger finds no SSH; another program's table has the same rules as before."""
    lab.run("w1", "nft -f -", stdin=_FOREIGN)
    listed = "nft list table inet other; nft list table ip other4; nft list table ip nat"
    try:
        before = lab.run("w1", listed)
        with_admin_from(lab, tmp_path, OPERATOR).deploy()
        assert {h for h, _ in scan(lab, "spare", (22,))} == set()
        assert {h for h, _ in scan(lab, "m1", (22,), ("w1", "w2"))} == {"w1", "w2"}
        assert "admin4" in lab.run("w1", "nft list table inet nexus")
        assert _no_counts(lab.run("w1", listed)) == _no_counts(before)
        lab.deploy()
        assert len(scan(lab, "spare", (22,))) == len(HOSTS)
    finally:
        lab.run("w1", "nft delete table inet other; nft delete table ip other4", check=False)


def _no_counts(rules: str) -> str:
    return re.sub(r"packets \d+ bytes \d+", "packets N bytes N", rules)


def test_the_firewall_unit_may_be_stopped_and_started_over_and_over(lab: Lab) -> None:
    """Stop takes the table away, start and reload bring the same one, each twice over; others are left alone."""
    table = "nft list table inet nexus"
    rules = lab.run("w2", table)
    others = lab.run("w2", "nft list tables | grep -v nexus", check=False)
    for verb, there in (("stop", 0), ("stop", 0), ("start", 1), ("start", 1), ("reload", 1), ("restart", 1), ("reload", 1)):
        lab.run("w2", f"systemctl {verb} nexus-firewall")
        assert lab.run("w2", table, check=False) == (rules if there else ""), verb
    assert lab.run("w2", "nft list tables | grep -v nexus", check=False) == others


def test_after_a_restart_the_rules_are_there_before_sshd(lab: Lab) -> None:
    """At boot the table is loaded before sshd so much as starts, and the very same rules are in force."""
    rules = lab.run("w2", "nft list table inet nexus")
    subprocess.run(["docker", "restart", "--time", "2", "nexus-lab-w2"], check=True, capture_output=True)
    lab.wait_active("w2", "ssh", "consul")
    assert lab.run("w2", "nft list table inet nexus") == rules
    show = "systemctl show --value -p {} {}"
    loaded = int(lab.run("w2", show.format("ActiveEnterTimestampMonotonic", "nexus-firewall")))
    accepts = int(lab.run("w2", show.format("InactiveExitTimestampMonotonic", "ssh")))
    assert 0 < loaded <= accepts
    lab.eventually("m1", "curl -s http://127.0.0.1:8500/v1/health/node/w2 | grep -q '\"Status\":\"passing\"'")


@pytest.mark.parametrize(("host", "unit", "user"), [
    ("m1", "consul", "consul"), ("w1", "consul", "consul"), ("m1", "nexus-orchestrator", "nexus-orchestrator"),
    ("w1", "nexus-worker", "root"), ("lb1", "caddy", "caddy"), ("lb1", "nexus-balancer", "caddy")])  # fmt: skip
def test_the_units_are_hardened(lab: Lab, host: str, unit: str, user: str) -> None:
    """systemd's own measure of what a unit could do if it were taken over stays below 2.5 (10 is everything)."""
    said = lab.run(host, f"systemd-analyze security --no-pager {unit}.service")
    exposure = float(re.findall(r"exposure level for .*?: ([\d.]+)", said)[0])
    print(f"{host} {unit}.service: {exposure}")
    assert exposure < 2.5
    assert lab.run(host, f"ps -o user:32= -p $(systemctl show --value -p MainPID {unit})").strip() == user
