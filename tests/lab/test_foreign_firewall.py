"""Another firewall on a host refuses what ours lets in: it is seen, and `verify` asks from host to host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import Lab, eventually, hosts_of

pytestmark = pytest.mark.lab

CHECK = "the hosts reach each other's ports"
# As some clouds' images have it: SSH is let in, and the rest is refused.
RULES = (
    "-m state --state RELATED,ESTABLISHED -j ACCEPT", "-i lo -j ACCEPT", "-p tcp --dport 22 -j ACCEPT", "-j REJECT",
)  # fmt: skip


@pytest.fixture
def refusing(services_lab: Lab) -> Iterator[str]:
    """A worker with an instance of `hello` and these rules; they are removed in any case."""
    host = hosts_of(services_lab, "hello")[0]
    try:
        for rule in RULES:
            services_lab.run(host, f"iptables -A INPUT {rule}")
        yield host
    finally:
        for rule in RULES:
            services_lab.run(host, f"iptables -D INPUT {rule}", check=False)
        eventually(lambda: services_lab.status()["problems"] == [], 60, lambda: services_lab.status()["problems"])


def test_verify_names_the_host_that_refuses_and_whose_rules_they_are(services_lab: Lab, refusing: str) -> None:
    """Consul's own checks pass; verify asks from the balancer and names host, port and iptables, and status notes it."""
    verified = services_lab.inv("verify")
    assert verified.returncode == 1
    (line,) = (line for line in verified.stdout.splitlines() if CHECK in line)
    assert line.startswith("FAIL")
    assert f"{refusing} does not answer lb1 on 8080 (service hello): connection refused; iptables there refuses" in line
    assert "iptables -I INPUT -p tcp -s " in line
    shown = services_lab.inv("status")
    assert f"note: {refusing}: iptables there refuses" in shown.stdout + shown.stderr


def test_verify_passes_where_every_port_answers(services_lab: Lab) -> None:
    """Each balancer reaches the instances, each host the managers; Docker's own chains are nobody's firewall."""
    assert f"PASS  {CHECK}: " in services_lab.inv_ok("verify")
    shown = services_lab.inv("status")
    assert "refuses what it does not let in" not in shown.stdout + shown.stderr
