"""Is the cluster well: what is a problem, in which words, and what scripts get to read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fabfile.core.judge.health import ConsulStatus, Health, assess
from fabfile.core.judge.service_health import Instance, ServiceHealth, ServicesHealth
from fabfile.core.model.cluster import Role
from fabfile.core.state.agents import OF_ROLE
from fabfile.core.state.facts import Facts, UnitFact
from tests.support.samples import active, bare_facts, cluster_of

CLUSTER = cluster_of(m1="manager", m2="manager worker", m3="manager", lb1="loadbalancer")
NAMES = [h.name for h in CLUSTER.hosts]
UNITS = dict.fromkeys(("nexus-firewall.service", "consul.service", "caddy.service"), active())
UNITS |= {f"nexus-{agent}.service": active() for agent in OF_ROLE.values()}
SERVING = ServicesHealth(primary="m3", epoch=7)
WELL = ConsulStatus(
    "m1", "m2", ("m1", "m2", "m3"), dict.fromkeys(NAMES, True), {"web": (2, 2), "api": (1, 1)}, SERVING
)  # fmt: skip


def all_facts(**over: Facts | None) -> dict[str, Facts]:
    found: dict[str, Facts | None] = {name: bare_facts(units=UNITS) for name in NAMES}
    return {name: fact for name, fact in (found | over).items() if fact is not None}


def judged(word: ConsulStatus = WELL, facts: dict[str, Facts] | None = None, **faults: str) -> Health:
    return assess(CLUSTER, all_facts() if facts is None else facts, faults, word)


def state(**units: UnitFact) -> Facts:
    """`nexus_worker=…` is nexus-worker.service."""
    return bare_facts(units=UNITS | {f"{name.replace('_', '-')}.service": unit for name, unit in units.items()})


def services_health(wanted: int | None, *passing: bool, note: str = "") -> ConsulStatus:
    """Our own service `app`, with an instance a host that passes or not."""
    instances = tuple(Instance(f"w{n}", "running", well, True, note) for n, well in enumerate(passing, 1))
    return replace(WELL, services_health=replace(SERVING, services=(ServiceHealth("app", wanted, instances),)))


def test_a_well_cluster_has_no_problem() -> None:
    """All reachable, all voting, all units active, all instances passing: nothing to say."""
    assert judged().problems == ()


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (ConsulStatus(), "no Consul server answers"),
        (replace(WELL, leader=None), "the cluster has no raft leader"),
        (replace(WELL, voters=("m1", "m2")), "2 of 3 managers vote in the raft quorum (not m3)"),
        (replace(WELL, members=WELL.members | {"m3": False}), "m3: Consul is failed"),  # type: ignore[operator]
        (replace(WELL, members={n: True for n in NAMES if n != "lb1"}), "lb1: Consul is absent"),
        (replace(WELL, services={"web": (1, 2)}), "service web: 1 of 2 instances pass"),
        (replace(WELL, services={"web": (0, 1)}), "service web: 0 of 1 instances pass"),
        (replace(WELL, services_health=ServicesHealth(epoch=7)), "no orchestrator is primary"),
        (services_health(2, True), "service app: 1 of 2 instances pass"),
        (services_health(2, True, False), "service app: 1 of 2 instances pass"),
        (services_health(1), "service app: 0 of 1 instances pass"),
        (services_health(1, True, note="crashed 5 times"), "service app on w1: crashed 5 times"),
    ],
)
def test_what_consul_says_is_judged(word: ConsulStatus, problem: str) -> None:
    """Each fault that Consul itself shows is one line with its place."""
    assert judged(word).problems == (problem,)


def test_the_instances_of_a_service_that_runs_everywhere_count_too() -> None:
    """Where `replicas: all` is wanted, an instance that does not pass is a problem like any other."""
    assert judged(services_health(None, True, True)).problems == ()
    [problem] = judged(services_health(None, True, False)).problems
    assert "app" in problem


@pytest.mark.parametrize("scaled", [services_health(0), services_health(2, True, True), services_health(1, True, True)])
def test_what_is_served_as_wanted_is_no_problem(scaled: ConsulStatus) -> None:
    """As many as wanted, none where none is wanted, and one too many for a moment: all is well."""
    assert judged(scaled).problems == ()


@pytest.mark.parametrize(("role", "agent"), OF_ROLE.items())
def test_an_agent_that_does_not_run_is_a_problem_where_its_role_is(role: Role, agent: str) -> None:
    """Each role's agent has to be active on the hosts of that role, and is nobody's concern elsewhere."""
    dead = state(**{f"nexus_{agent}": replace(active(), active="failed")})
    found = judged(facts=all_facts(**dict.fromkeys(NAMES, dead))).problems
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
    assert judged(facts=all_facts(lb1=state(caddy=unit))).problems == (f"lb1: caddy.service is {shown}",)


@pytest.mark.parametrize("word", ["reloading", "refreshing"])
def test_a_unit_that_reads_its_files_again_runs(word: str) -> None:
    """Caddy is `reloading` for a moment whenever its upstreams change; seen then, nothing is wrong, and nothing is to do."""
    unit = replace(active(), active=word)
    assert unit.running
    assert judged(facts=all_facts(lb1=state(caddy=unit))).problems == ()


def test_units_of_other_roles_do_not_matter() -> None:
    """A host that is no load balancer is well without Caddy."""
    dead = replace(active(), active="failed")
    assert judged(facts=all_facts(m1=state(caddy=dead))).problems == ()


def test_an_unreachable_host_is_one_problem() -> None:
    """Its reason is told once, its units are unknown, and Consul's word on it still counts."""
    health = judged(facts=all_facts(m3=None), m3="m3: 192.0.2.3:22 is closed")
    assert health.problems == ("m3: 192.0.2.3:22 is closed",)
    units = ("nexus-firewall.service", "consul.service", "nexus-orchestrator.service")
    assert health.hosts[2].units == dict.fromkeys(units, "unknown")
    assert health.hosts[2].consul == "alive"
    assert judged(facts=all_facts(m3=None)).problems == ("m3: unreachable",)


def test_with_no_server_to_ask_consul_is_unknown() -> None:
    """When nobody can be asked, no host is called dead."""
    assert {h.consul for h in judged(ConsulStatus()).hosts} == {"unknown"}


def test_the_json_has_the_keys_that_scripts_rely_on() -> None:
    """The promised keys are there, with the host's own words, and all of it is JSON."""
    word = services_health(3, True, False)
    said = json.loads(json.dumps(judged(word, facts=all_facts(m3=None), m3="m3: closed").json()))
    assert (said["cluster"], said["healthy"], said["primary"], said["raft_leader"]) == ("prod", False, "m3", "m2")
    assert said["epoch"] == 7
    assert said["raft_voters"] == ["m1", "m2", "m3"]
    assert said["problems"] == ["m3: closed", "service app: 1 of 3 instances pass"]
    assert said["hosts"][1] == {
        "name": "m2", "roles": ["manager", "worker"], "arch": "amd64", "reachable": True, "consul": "alive",
        "units": dict.fromkeys(
            ("nexus-firewall.service", "consul.service", "nexus-orchestrator.service", "nexus-worker.service"), "active"),
    }  # fmt: skip
    assert said["hosts"][2]["error"] == "m3: closed"
    assert (said["hosts"][2]["reachable"], said["hosts"][2]["arch"]) == (False, None)
    assert said["services"] == [{
        "name": "app", "wanted": 3, "passing": 1, "hosts": ["w1"], "instances": [
            {"host": "w1", "state": "running", "passing": True, "note": ""},
            {"host": "w2", "state": "running", "passing": False, "note": ""}]}]  # fmt: skip
    assert said["others"] == [
        {"name": "api", "passing": 1, "instances": 1}, {"name": "web", "passing": 2, "instances": 2}]  # fmt: skip


def test_healthy_and_problems_agree() -> None:
    """`healthy` is true exactly when there is no problem."""
    assert judged().json()["healthy"] is True
    assert judged(ConsulStatus()).json()["healthy"] is False
