"""What status and deploy say of agents that run and do not work, and of Consul agents that cannot join again."""

from __future__ import annotations

import json

import pytest

from .conftest import Lab, eventually

pytestmark = pytest.mark.lab


def problems(lab: Lab) -> str:
    return "\n".join(lab.status()["problems"])


def test_a_deleted_token_is_seen_and_put_back(lab: Lab) -> None:
    """status names the deaf agent and the lost token, plan the token; a deploy puts it back, and the agent is heard."""
    accessor = lab.secrets()["tokens"]["worker/w1"]["accessor"]
    lab.consul("m1", f"acl token delete -id {accessor}")
    assert "+ token worker/w1" in problems(lab)
    eventually(lambda: "w1: nexus-worker cannot" in problems(lab), 60, lambda: lab.status()["problems"])
    assert "403 ACL not found" in problems(lab)
    assert "FAIL  the agents read and write Consul" in lab.inv("verify").stdout
    planned = lab.inv("plan", "--json")
    assert planned.returncode == 2
    assert json.loads(planned.stdout)["acl_drift"] == ["+ token worker/w1"]
    assert "nothing changed" not in lab.deploy()
    eventually(lambda: "w1" not in problems(lab), 60, lambda: lab.status()["problems"])
    assert "nothing changed" in lab.deploy()
    assert "reads and writes Consul" in lab.run("w1", "systemctl show -P StatusText nexus-worker")
