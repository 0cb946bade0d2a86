"""The success criteria: what could not be checked has not passed, and every FAIL says why."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fabfile.core.judge.health import ConsulStatus, assess
from fabfile.core.state.facts import RulesFact
from fabfile.edge.consul import verify
from fabfile.edge.consul.client import ConsulApiError
from fabfile.edge.consul.verify import Check
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.exec_channel import Result
from tests.support.samples import bare_facts, cluster_of, facts_of, wanted

CLUSTER = cluster_of(m1="manager worker", m2="manager", w1="worker")
API, LOGS, SERVICE = (
    "the API answers on every manager", "no errors in the units' logs since the deploy",
    "a test service is registered, seen passing, and removed",
)  # fmt: skip


class Answering:
    """A Consul that knows a service for as long as it is registered."""

    known = False
    leader = "198.18.7.11:8300"

    def __init__(self, _remote: object) -> None:
        self.status = SimpleNamespace(leader=lambda: Answering.leader)
        self.agent = SimpleNamespace(self=lambda: None, service=SimpleNamespace(deregister=self._forget))

    def request(self, method: str, _path: str, _body: object = None) -> list[int]:
        Answering.known = Answering.known or method == "PUT"
        return [1] if Answering.known else []

    def _forget(self, _name: str) -> None:
        Answering.known = False


def checks(*reachable: str) -> dict[str, Check]:
    """The verdicts by their names where these hosts answer."""
    remotes: Any = {
        h.name: SimpleNamespace(host=h, run=lambda *_, **__: Result(1, b"", "")) for h in CLUSTER.hosts
    }
    health = assess(CLUSTER, {name: bare_facts() for name in reachable}, {}, ConsulStatus())
    return {check.name: check for check in verify.verify(remotes, health)}


def test_when_no_host_answers_nothing_passes() -> None:
    """With no host reached, each check is a FAIL with a reason, and none breaks off the others."""
    found = checks()
    assert len(found) == 10
    assert [check.name for check in found.values() if check.passed or not check.detail] == []
    assert found[API].detail == "m1, m2 could not be reached"
    assert found[LOGS].detail == "m1, m2, w1 could not be reached"
    assert found[SERVICE].detail == "no manager could be reached, so nobody can be asked"


def test_one_host_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of every manager or every log passes only when all were reached; other checks are independent."""
    monkeypatch.setattr(verify, "Consul", Answering)
    found = checks("m1", "w1")
    assert (found[API].passed, found[API].detail) == (False, "m2 could not be reached")
    assert (found[LOGS].passed, found[LOGS].detail) == (False, "m2 could not be reached")
    assert found[SERVICE].passed
    found = checks("m1", "m2", "w1")
    assert (found[API].detail, found[LOGS].detail) == ("m1, m2", "none")
    assert found[API].passed
    assert found[LOGS].passed


def test_rules_that_are_not_in_force_fail() -> None:
    """A firewall that somebody has flushed does not pass, and its host is named."""
    flushed = facts_of(wanted("w1"), rules=RulesFact("f", "a", None))
    health = assess(CLUSTER, {"m1": bare_facts(), "m2": bare_facts(), "w1": flushed}, {}, ConsulStatus())
    found = verify._nothing_drifted(health)
    assert (found.passed, found.detail) == (False, "w1: the firewall: its rules are not in force")
    assert verify._nothing_drifted(replace(health, hosts=health.hosts[:2])).passed


def test_without_a_leader_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent would register the service later, after the check has removed it."""
    monkeypatch.setattr(verify, "Consul", Answering)
    monkeypatch.setattr(Answering, "leader", "")
    assert checks("m1", "w1")[SERVICE].detail == "there is no raft leader, so nothing was registered"
    assert not Answering.known


def test_what_consul_refuses_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails with Consul's own words, and the others are made all the same."""

    def failing(remote: Remote) -> None:
        raise ConsulApiError(remote.host.name, "/v1/status/leader", 500, "No cluster leader\n")

    monkeypatch.setattr(verify, "Consul", failing)
    found = checks("m1", "m2")[API]
    assert (found.passed, found.detail) == (False, "m1: Consul refused /v1/status/leader: 500 No cluster leader")


def test_a_deaf_agent_and_a_lost_token_fail_their_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """verify names the agent that runs and is not heard, and what Consul lacks."""
    monkeypatch.setattr(verify, "Consul", Answering)
    words = {"nexus-worker.service": "cannot read nexus/placement/w1/orders since now: 403 ACL not found"}
    facts = {h.name: bare_facts(said=words) for h in CLUSTER.hosts}
    remotes: Any = {h.name: SimpleNamespace(host=h, run=lambda *_, **__: Result(1, b"", "")) for h in CLUSTER.hosts}
    health = assess(CLUSTER, facts, {}, ConsulStatus(acls=("+ token worker/w1",)))
    found = {check.name: check for check in verify.verify(remotes, health)}["the agents read and write Consul"]
    assert not found.passed
    assert "w1: nexus-worker.service cannot read nexus/placement/w1/orders" in found.detail
    assert found.detail.endswith("Consul's ACLs: + token worker/w1")
