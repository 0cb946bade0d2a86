"""Is the cluster healthy: what is a problem, in which words, and the JSON for scripts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fabfile.core.judge.health import ConsulStatus, Health, assess
from fabfile.core.judge.service_health import Instance, ServiceHealth, ServicesHealth
from fabfile.core.model.cluster import Role
from fabfile.core.state.agents import AGENT_OF_ROLE
from fabfile.core.state.facts import Facts, OtherFirewall, RulesFact, UnitFact
from fabfile.core.state.left_faults import LeftoverFault
from tests.support.samples import active, bare_facts, cluster_of, facts_of, wanted

CLUSTER = cluster_of(m1="manager", m2="manager worker", m3="manager", lb1="loadbalancer")
NAMES = [h.name for h in CLUSTER.hosts]
UNITS = dict.fromkeys(("nexus-firewall.service", "consul.service", "caddy.service"), active())
UNITS |= {f"nexus-{agent}.service": active() for agent in AGENT_OF_ROLE.values()}
SERVING = ServicesHealth(primary="m3", epoch=7)
HEALTHY = ConsulStatus(
    "m1", "m2", ("m1", "m2", "m3"), dict.fromkeys(NAMES, True), {"web": (2, 2), "api": (1, 1)}, SERVING
)  # fmt: skip


def all_facts(**over: Facts | None) -> dict[str, Facts]:
    found: dict[str, Facts | None] = {name: bare_facts(units=UNITS) for name in NAMES}
    return {name: fact for name, fact in (found | over).items() if fact is not None}


def assessed(consul: ConsulStatus = HEALTHY, facts: dict[str, Facts] | None = None, **faults: str) -> Health:
    return assess(CLUSTER, all_facts() if facts is None else facts, faults, consul)


def state(**units: UnitFact) -> Facts:
    """`nexus_worker=…` is nexus-worker.service."""
    return bare_facts(units=UNITS | {f"{name.replace('_', '-')}.service": unit for name, unit in units.items()})


def services_health(wanted: int | None, *passing: bool, note: str = "") -> ConsulStatus:
    """Our own service `app`, with an instance a host that passes or not."""
    instances = tuple(Instance(f"w{n}", "running", well, True, note) for n, well in enumerate(passing, 1))
    return replace(HEALTHY, services_health=replace(SERVING, services=(ServiceHealth("app", wanted, instances),)))


def test_a_healthy_cluster_has_no_problem() -> None:
    """All reachable, all voting, all units active, all instances passing: no problem."""
    assert assessed().problems == ()


@pytest.mark.parametrize(
    ("consul", "problem"),
    [
        (ConsulStatus(), "no Consul server answers"),
        (replace(HEALTHY, leader=None), "the cluster has no raft leader"),
        (replace(HEALTHY, voters=("m1", "m2")), "2 of 3 managers vote in the raft quorum (not m3)"),
        (replace(HEALTHY, members=HEALTHY.members | {"m3": False}), "m3: Consul is failed"),  # type: ignore[operator]
        (replace(HEALTHY, members={n: True for n in NAMES if n != "lb1"}), "lb1: Consul is absent"),
        (replace(HEALTHY, foreign_services={"web": (1, 2)}), "service web: 1 of 2 instances pass"),
        (replace(HEALTHY, foreign_services={"web": (0, 1)}), "service web: 0 of 1 instances pass"),
        (replace(HEALTHY, services_health=ServicesHealth(epoch=7)), "no orchestrator is primary"),
        (services_health(2, True), "service app: 1 of 2 instances pass"),
        (services_health(2, True, False), "service app: 1 of 2 instances pass"),
        (services_health(1), "service app: 0 of 1 instances pass"),
        (services_health(1, True, note="crashed 5 times"), "service app on w1: crashed 5 times"),
    ],
)
def test_each_problem_in_consul_has_its_line(consul: ConsulStatus, problem: str) -> None:
    """Each problem in Consul's status is one line with its place."""
    assert assessed(consul).problems == (problem,)


def test_the_instances_of_a_service_that_runs_everywhere_count_too() -> None:
    """Where `replicas: all` is wanted, an instance that does not pass is a problem like any other."""
    assert assessed(services_health(None, True, True)).problems == ()
    [problem] = assessed(services_health(None, True, False)).problems
    assert "app" in problem


@pytest.mark.parametrize("scaled", [services_health(0), services_health(2, True, True), services_health(1, True, True)])
def test_services_that_run_as_wanted_are_no_problem(scaled: ConsulStatus) -> None:
    """As many as wanted, none where none is wanted, and one too many for a moment are no problem."""
    assert assessed(scaled).problems == ()


@pytest.mark.parametrize(("role", "agent"), AGENT_OF_ROLE.items())
def test_an_agent_that_does_not_run_is_a_problem_where_its_role_is(role: Role, agent: str) -> None:
    """Each role's agent has to be active on the hosts of that role, and is nobody's concern elsewhere."""
    dead = state(**{f"nexus_{agent}": replace(active(), active="failed")})
    found = assessed(facts=all_facts(**dict.fromkeys(NAMES, dead))).problems
    assert found == tuple(f"{h.name}: nexus-{agent}.service is failed" for h in CLUSTER.having(role))


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        (replace(active(), active="failed"), "failed"),
        (replace(active(), active="activating"), "activating"),
        (replace(active(), load="not-found", active="inactive"), "absent"),
    ],
)
def test_a_unit_that_is_not_active_is_a_problem(unit: UnitFact, shown: str) -> None:
    """A unit that the host's roles call for and that does not run is named with its state."""
    assert assessed(facts=all_facts(lb1=state(caddy=unit))).problems == (f"lb1: caddy.service is {shown}",)


@pytest.mark.parametrize("word", ["reloading", "refreshing"])
def test_a_unit_that_reads_its_files_again_runs(word: str) -> None:
    """Caddy is `reloading` for a moment whenever its upstreams change: that is no problem, and nothing is to do."""
    unit = replace(active(), active=word)
    assert unit.running
    assert assessed(facts=all_facts(lb1=state(caddy=unit))).problems == ()


def test_what_runs_otherwise_than_deployed_is_a_problem() -> None:
    """Rules that are not in force, and a unit that systemd read from another text, are named with the way out."""
    manifest = wanted("w1")
    flushed = facts_of(manifest, rules=RulesFact("f", "a", None))
    assert assessed(facts=all_facts(m2=replace(flushed, units=UNITS))).problems == (
        "m2: the firewall: its rules are not in force; inv deploy --hosts m2",
    )  # fmt: skip
    changed = UNITS | {"consul.service": replace(active(), outdated=True)}
    found = assessed(facts=all_facts(m2=facts_of(manifest, units=changed)))
    assert found.problems == (
        "m2: systemd has another text than the file of consul.service; inv deploy --hosts m2",
    )  # fmt: skip
    assert found.json()["hosts"][1]["drift"] == ["systemd has another text than the file of consul.service"]  # type: ignore[index]


def test_units_of_other_roles_do_not_matter() -> None:
    """A host that is no load balancer is well without Caddy."""
    dead = replace(active(), active="failed")
    assert assessed(facts=all_facts(m1=state(caddy=dead))).problems == ()


def test_an_unreachable_host_is_one_problem() -> None:
    """Its error is one line, its units are unknown, and its state in Consul still counts."""
    health = assessed(facts=all_facts(m3=None), m3="m3: 192.0.2.3:22 is closed")
    assert health.problems == ("m3: 192.0.2.3:22 is closed",)
    units = ("nexus-firewall.service", "consul.service", "nexus-orchestrator.service")
    assert health.hosts[2].units == dict.fromkeys(units, "unknown")
    assert health.hosts[2].consul == "alive"
    assert assessed(facts=all_facts(m3=None)).problems == ("m3: unreachable",)


def test_without_a_server_consul_is_unknown() -> None:
    """When no server answers, no host is called failed."""
    assert {h.consul for h in assessed(ConsulStatus()).hosts} == {"unknown"}


def test_the_json_has_the_keys_that_scripts_rely_on() -> None:
    """The promised keys are there, with the units' states, and all of it is JSON."""
    consul = services_health(3, True, False)
    fields = json.loads(json.dumps(assessed(consul, facts=all_facts(m3=None), m3="m3: closed").json()))
    assert (fields["cluster"], fields["healthy"]) == ("prod", False)
    assert (fields["primary"], fields["raft_leader"]) == ("m3", "m2")
    assert fields["epoch"] == 7
    assert fields["raft_voters"] == ["m1", "m2", "m3"]
    assert fields["problems"] == ["m3: closed", "service app: 1 of 3 instances pass"]
    assert fields["hosts"][1] == {
        "name": "m2", "roles": ["manager", "worker"], "arch": "amd64", "reachable": True, "consul": "alive",
        "units": {
            "nexus-firewall.service": "active", "consul.service": "active", "nexus-orchestrator.service": "active",
            "nexus-worker.service": "active",
        },
        "deaf": {},
    }  # fmt: skip
    assert fields["hosts"][2]["error"] == "m3: closed"
    assert (fields["hosts"][2]["reachable"], fields["hosts"][2]["arch"]) == (False, None)
    assert fields["services"] == [{
        "name": "app", "wanted": 3, "passing": 1, "hosts": ["w1"], "instances": [
            {"host": "w1", "state": "running", "passing": True, "note": ""},
            {"host": "w2", "state": "running", "passing": False, "note": ""}],
        "kept_off": []}]  # fmt: skip
    assert fields["others"] == [
        {"name": "api", "passing": 1, "instances": 1}, {"name": "web", "passing": 2, "instances": 2}]  # fmt: skip


def test_healthy_and_problems_agree() -> None:
    """`healthy` is true exactly when there is no problem."""
    assert assessed().json()["healthy"] is True
    assert assessed(ConsulStatus()).json()["healthy"] is False


def said(text: str) -> dict[str, Facts]:
    return all_facts(m2=bare_facts(units=UNITS, said={"nexus-worker.service": text}))


def test_an_agent_that_consul_refuses_is_a_problem() -> None:
    """A running agent whose token is gone is told with its host, its own words and the way out; also in the JSON."""
    words = "cannot read nexus/placement/m2/orders since 2026-11-25 03:00:00 UTC: 403 ACL not found"
    health = assessed(facts=said(words))
    assert health.problems == (f"m2: nexus-worker {words}: inv deploy mends its token",)
    [host] = [h for h in json.loads(json.dumps(health.json()))["hosts"] if h["name"] == "m2"]
    assert host["deaf"] == {"nexus-worker.service": words}


@pytest.mark.parametrize("words", ["reads and writes Consul", "has not heard of Consul yet", ""])
def test_an_agent_that_is_well_is_no_problem(words: str) -> None:
    """Nor is one of an older version, which says nothing."""
    assert assessed(facts=said(words)).problems == ()


def test_without_a_leader_the_agents_words_are_not_repeated() -> None:
    """Nobody can write then; one line is enough."""
    facts = said("cannot write nexus/report/m2/state since 2026-11-25 03:00:00 UTC: 500 No cluster leader")
    assert assessed(replace(HEALTHY, leader=None), facts).problems == ("the cluster has no raft leader",)


def test_lost_tokens_are_a_problem() -> None:
    """What Consul lacks of its tokens is told, each with the way out."""
    [problem] = assessed(replace(HEALTHY, acls=("+ token worker/w1",))).problems
    assert problem == "Consul's ACLs are not as wanted: + token worker/w1: inv deploy mends it"


def test_a_consul_that_cannot_write_its_entry_is_a_problem() -> None:
    """A node that came back under a new id is told, with both ids."""
    [problem] = assessed(replace(HEALTHY, reserved={"m2": ("new-id", "old-id")})).problems
    assert problem == "m2: Consul runs as node new-id and cannot write its entry: the name is reserved for node old-id"


@pytest.mark.parametrize(
    ("stage", "seconds", "words"),
    [
        ("lost", 0, "its own undo was lost: the host was restarted, or its timer stopped"),
        ("injected", -31, "overdue since 31 s"),
        ("orphan", 0, "it had lost its folder"),
    ],
)
def test_a_fault_that_nobody_will_undo_is_a_problem(stage: str, seconds: int, words: str) -> None:
    """What a drill left on a host is told with the host, the fault and the way out; also in the JSON."""
    left = LeftoverFault("a1", "fill-disk", stage, seconds)
    health = assessed(facts=all_facts(m2=replace(bare_facts(units=UNITS), faults=(left,))))
    assert health.problems == (f"m2: a drill's fault is left on it: fill-disk ({words}); inv chaos.heal",)
    assert health.notes == ()
    [host] = [h for h in json.loads(json.dumps(health.json()))["hosts"] if h["name"] == "m2"]
    assert host["faults"] == [{"id": "a1", "fault": "fill-disk", "state": stage, "seconds": seconds}]


def test_a_fault_that_undoes_itself_is_told_and_is_no_problem() -> None:
    """A drill that is under way, or whose operator is gone, ends by the host's own timer."""
    left = LeftoverFault("a1", "partition", "injected", 33)
    health = assessed(facts=all_facts(m2=replace(bare_facts(units=UNITS), faults=(left,))))
    assert health.problems == ()
    assert health.notes == ("m2: a drill's fault is on it: partition, until its own undo in 33 s",)


def test_another_firewall_is_a_note_and_no_problem() -> None:
    """Rules that refuse the rest are named; ufw, which has our allowances, and a ban of some addresses are not."""
    others = (OtherFirewall("iptables", True), OtherFirewall("ufw", True), OtherFirewall("nftables table inet f2b", False))
    health = assessed(facts=all_facts(m2=bare_facts(units=UNITS, other_firewalls=others)))
    assert health.problems == ()
    assert health.notes == (
        "m2: iptables there refuses what it does not let in itself; inv verify asks whether that is any of ours",
    )
    hosts = {h["name"]: h for h in json.loads(json.dumps(health.json()))["hosts"]}
    assert hosts["m2"]["firewalls"] == ["iptables"]
    assert "firewalls" not in hosts["m1"]
