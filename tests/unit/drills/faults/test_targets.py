"""From the operator's word to the hosts that are hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fabfile.core.errors import InputError
from fabfile.core.judge.service_health import ServicesHealth
from fabfile.core.model.cluster import Cluster, Role
from fabfile.core.state.topology import Address
from fabfile.drills.faults.catalogue import FAULTS
from fabfile.drills.faults.targets import Target, peer_addresses, resolve, touches_managers
from tests.support.drill_cluster import ALIVE, CLUSTER, WELL, service, services_health
from tests.support.samples import cluster_of


def target_of(
    fault: str, spec: str, *, cluster: Cluster = CLUSTER, now: ServicesHealth = WELL, raft_leader: str | None = "m2",
    alive: Mapping[str, bool] = ALIVE, role: Role | None = None,
) -> Target:  # fmt: skip
    return resolve(FAULTS[fault], spec, cluster, now, raft_leader, alive, role)


def refusal(fault: str, spec: str, **over: object) -> str:
    with pytest.raises(InputError) as told:
        target_of(fault, spec, **over)  # type: ignore[arg-type]
    assert told.value.hint.startswith(f"{fault} can hit: ")
    return told.value.message


@pytest.mark.parametrize(
    ("fault", "spec", "hosts", "name", "text"),
    [
        ("stop-host", "w1", ("w1",), None, "w1"),
        ("stop-host", "one", ("w2",), None, "w2, worker, running 2 instances"),
        ("stop-host", "primary", ("m1",), None, "m1, the primary"),
        ("stop-host", "raft-leader", ("m2",), None, "m2, the raft leader"),
        ("stop-host", "minority", ("m1",), None, "m1: 1 of 3 managers"),
        ("stop-host", "majority", ("m1", "m2"), None, "m1, m2: 2 of 3 managers"),
        ("stop-host", "minority:worker", ("w2",), None, "w2: 1 of 3 workers"),
        ("stop-host", "majority:workers", ("w1", "w2"), None, "w1, w2: 2 of 3 workers"),
        ("stop-host", "service:web", ("w2",), "web", "w2, where web runs"),
        ("stop-host", "service:web@m1", ("m1",), "web", "m1, where web runs"),
        ("kill-service", "one", ("w2",), "web", "web on w2, one of 3 instances that pass"),
        ("kill-service", "service:api", ("w2",), "api", "api on w2, its only instance that passes"),
        ("kill-service", "w1", ("w1",), "web", "web on w1, one of 3 instances that pass"),
        ("kill-primary", "primary", ("m1",), None, "m1, the primary"),
        ("kill-balancer", "one", ("lb1",), None, "lb1, loadbalancer, running 0 instances"),
    ],
)  # fmt: skip
def test_a_word_names_its_hosts(fault: str, spec: str, hosts: tuple[str, ...], name: str | None, text: str) -> None:
    """Each way to name a target gives the hosts, and says who they are."""
    assert target_of(fault, spec) == Target(hosts, name, text)


@pytest.mark.parametrize(
    ("fault", "spec", "why"),
    [
        ("stop-host", "w9", "is neither a host nor a target word; did you mean w1 or w2?"),
        ("stop-host", "primry", "did you mean primary?"),
        ("stop-host", "", "is neither a host nor a target word"),
        ("stop-host", "service:", "is neither a host nor a target word"),
        ("stop-host", "service:wep", "there is no such service; did you mean web?"),
        ("stop-host", "service:api@w1", "api has no instance that passes on w1; it passes on w2"),
        ("stop-host", "minority:wroker", "wroker is not a role; did you mean worker?"),
        ("stop-host", "minority:loadbalancer", "of 1 loadbalancers none is a minority"),
        ("kill-primary", "w1", "is nothing that kill-primary can hit"),
        ("kill-service", "majority", "is nothing that kill-service can hit"),
        ("kill-service", "m2", "no service has an instance that passes on m2"),
        ("kill-balancer", "w1", "w1 is no loadbalancer, and kill-balancer needs one here"),
    ],
)
def test_a_word_that_names_nobody_is_refused(fault: str, spec: str, why: str) -> None:
    """The refusal says why, what is near, and in its hint what is possible."""
    assert why in refusal(fault, spec)


def test_the_hint_names_the_hosts_that_fit() -> None:
    """Hosts that are dead, or lack the role, are not offered."""
    with pytest.raises(InputError) as told:
        target_of("kill-agent", "w9", role="worker", alive={**ALIVE, "w1": False})
    assert told.value.hint.endswith("service:NAME[@HOST]; hosts that fit: m1, w2")


def test_the_dead_are_not_hit() -> None:
    """A dead host is refused by name and passed over by words; where nobody knows who is alive, all are taken for it."""
    alive = {**ALIVE, "w2": False}
    assert "w2 is not alive in Consul" in refusal("stop-host", "w2", alive=alive)
    assert target_of("stop-host", "one", alive=alive).hosts == ("w1",)
    assert target_of("stop-host", "service:web", alive=alive).hosts == ("w1",)
    assert target_of("stop-host", "w2", alive={}).hosts == ("w2",)
    assert "w2 is not alive" in refusal("kill-service", "w2", alive=alive)
    assert "is not alive" in refusal("stop-host", "majority", alive={"m1": True})


@pytest.mark.parametrize(("spec", "title"), [("primary", "primary"), ("raft-leader", "raft leader")])
def test_a_role_that_nobody_has_is_refused(spec: str, title: str) -> None:
    """No primary, no leader, or one that hosts.yml does not know: there is nobody to hit."""
    nobody = services_health(primary=None)
    assert f"no {title} is known now" in refusal("stop-host", spec, now=nobody, raft_leader=None)
    why = refusal("stop-host", spec, now=services_health(primary="x"), raft_leader="x")
    assert f"the {title} is x, which this inventory does not know" in why


def test_one_spares_managers_and_those_who_lead() -> None:
    """Workers that are nothing else first; where all are managers, neither primary nor raft leader; ties by the file."""
    assert target_of("kill-agent", "one", role="worker").hosts == ("w2",)
    assert target_of("kill-agent", "one", role="manager").hosts == ("m3",)
    assert target_of("kill-agent", "one", role="loadbalancer").hosts == ("lb1",)
    assert target_of("stop-host", "one", now=services_health()).hosts == ("w1",)
    alone = cluster_of(m1="manager worker")
    assert target_of("stop-host", "one", cluster=alone, alive={"m1": True}).hosts == ("m1",)
    assert "no worker is alive" in refusal("kill-agent", "one", role="worker", alive=dict.fromkeys(ALIVE, False))


def test_an_instance_that_fails_is_no_target() -> None:
    """Only what passes can be broken."""
    ill = services_health(service("web", 2, "-w1", "w2"))
    assert target_of("kill-service", "service:web", now=ill).hosts == ("w2",)
    assert "web has no instance that passes on w1; it passes on w2" in refusal("kill-service", "service:web@w1", now=ill)
    assert "it passes nowhere" in refusal("kill-service", "service:web", now=services_health(service("web", 1, "-w1")))
    assert "no service has an instance that passes" in refusal("kill-service", "one", now=services_health())


@pytest.mark.parametrize(("managers", "minority", "majority"), [(1, 0, 1), (2, 0, 2), (3, 1, 2), (4, 1, 3), (5, 2, 3)])
def test_a_minority_leaves_a_quorum_and_a_majority_does_not(managers: int, minority: int, majority: int) -> None:
    """The largest share that can be lost, and the smallest that cannot, with the primary and the leader in both."""
    names = [f"m{n}" for n in range(1, managers + 1)]
    cluster = cluster_of(**dict.fromkeys(names, "manager"))
    now, lead = services_health(primary=names[-1]), names[len(names) // 2]
    known = {"cluster": cluster, "now": now, "raft_leader": lead, "alive": {}}
    assert len(target_of("stop-host", "majority", **known).hosts) == majority  # type: ignore[arg-type]
    assert names[-1] in target_of("stop-host", "majority", **known).hosts  # type: ignore[arg-type]
    if not minority:
        assert f"of {managers} managers none is a minority" in refusal("stop-host", "minority", **known)
        return
    found = target_of("stop-host", "minority", **known).hosts  # type: ignore[arg-type]
    assert len(found) == minority
    assert names[-1] in found
    assert minority < 2 or lead in found


def test_the_same_word_names_the_same_hosts() -> None:
    """The order in which services and instances are listed makes no difference."""
    turned = replace(WELL, services=tuple(reversed([replace(s, instances=s.instances[::-1]) for s in WELL.services])))
    for fault in FAULTS.values():
        spec = fault.default_target.replace("NAME", "web")
        assert target_of(fault.name, spec) == target_of(fault.name, spec, now=turned)


WHERE = {
    "m1": Address("10.0.0.1", "203.0.113.1"), "m2": Address("10.0.0.2", "10.0.0.2"), "m3": Address("0.0.0.0", "10.0.0.3"),
    "w1": Address("10.0.0.4", "10.0.0.4"), "w2": Address("10.0.0.5", "10.0.0.5"), "lb1": Address("10.0.0.6", "10.0.0.6"),
}  # fmt: skip


def peers(fault: str, host: str, spec: str) -> tuple[str, ...]:
    """The addresses from which the fault on the target `spec` cuts `host`."""
    return peer_addresses(FAULTS[fault], host, target_of(fault, spec), CLUSTER, WHERE)


def test_a_cut_off_group_stays_together() -> None:
    """A partition cuts the target's hosts from all others, by every address that these have, and not from each other."""
    assert peers("partition", "m2", "majority") == ("10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6")
    assert peers("partition", "w1", "w1")[:3] == ("10.0.0.1", "203.0.113.1", "10.0.0.2")


def test_a_bad_network_is_bad_for_each_host() -> None:
    """Loss and latency lie between a host and all others, also those that are hit as well; other faults have no peers."""
    assert "10.0.0.2" in peers("packet-loss", "m1", "majority")
    assert "10.0.0.1" not in peers("packet-loss", "m1", "majority")
    assert peers("kill-consul", "m1", "majority") == ()


def test_only_what_can_hurt_managers_asks_for_the_checker() -> None:
    """Any host fault on a manager does; a service that dies there does not."""
    assert touches_managers(FAULTS["burn-cpu"], target_of("burn-cpu", "m1"), CLUSTER)
    assert not touches_managers(FAULTS["burn-cpu"], target_of("burn-cpu", "w1"), CLUSTER)
    assert not touches_managers(FAULTS["kill-service"], target_of("kill-service", "service:web@m1"), CLUSTER)
