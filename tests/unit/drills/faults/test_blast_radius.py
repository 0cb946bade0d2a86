"""What a drill would take away altogether."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fabfile.core.judge.service_health import ServicesHealth
from fabfile.core.model.cluster import Cluster
from fabfile.drills.faults.blast_radius import refusal_reasons
from fabfile.drills.faults.catalogue import FAULTS
from fabfile.drills.faults.targets import Target
from tests.support.drill_cluster import ALIVE, CLUSTER, WELL, service, services_health
from tests.support.samples import cluster_of

SINGLE = cluster_of(m1="manager", w1="worker", lb1="loadbalancer")
TWO = {"w1": "worker", "w2": "worker"}


def of(
    fault: str, *hosts: str, name: str | None = None, cluster: Cluster = CLUSTER, now: ServicesHealth = WELL,
    alive: Mapping[str, bool] = ALIVE,
) -> tuple[str, ...]:  # fmt: skip
    return refusal_reasons(FAULTS[fault], Target(hosts, name, ""), cluster, now, alive)


def test_what_can_be_spared_is_no_reason() -> None:
    """One host of several, with its service elsewhere as well, may be lost by any fault."""
    now = services_health(service("web", 3, "m1", "w1", "w2"))
    for fault in FAULTS.values():
        assert of(fault.name, "w1", name="web", now=now) == ()
        assert of(fault.name, "m2", name="web", now=now) == ()


@pytest.mark.parametrize("fault", ["stop-host", "partition", "kill-consul", "fill-disk", "packet-loss", "latency"])
def test_the_quorum_is_kept(fault: str) -> None:
    """Two of three managers, or one while another is dead: no majority would be left."""
    reason = "The quorum would go: 1 of 3 managers would be left, and 2 are needed."
    assert reason in of(fault, "m1", "m2")
    assert reason in of(fault, "m2", alive={**ALIVE, "m3": False})
    assert reason not in of(fault, "w1", "w2", alive={**ALIVE, "m3": False})


def test_the_only_manager_may_be_killed_but_not_cut_off() -> None:
    """Consul that is back in a second is what the drill measures; a host that stays away takes all with it."""
    assert of("kill-consul", "m1", cluster=SINGLE, now=services_health(), alive={}) == ()
    assert of("stop-host", "m1", cluster=SINGLE, now=services_health(), alive={}) == (
        "The quorum would go: 0 of 1 managers would be left, and 1 are needed.",
    )


@pytest.mark.parametrize("fault", ["freeze-primary", "stop-primary"])
def test_somebody_must_be_able_to_take_over(fault: str) -> None:
    """A primary that stays away needs a standby that is alive; a killed one is back by itself."""
    reason = ("m1 is the only manager that is alive: nobody could take over.",)
    assert of(fault, "m1", cluster=SINGLE, now=services_health(), alive={}) == reason
    assert of(fault, "m1", alive={**ALIVE, "m2": False, "m3": False}) == reason
    assert of(fault, "m1") == ()
    assert of("kill-primary", "m1", cluster=SINGLE, now=services_health(), alive={}) == ()


def test_the_last_instance_is_kept() -> None:
    """Where all that passes is on the hosts that go, users would get no answer."""
    now = services_health(service("api", 1, "w2"), service("web", 3, "w1", "-w2"))
    assert of("stop-host", "w2", now=now) == ("No instance of api would be left: all that pass are on w2.",)
    assert of("partition", "w1", now=now) == ("No instance of web would be left: all that pass are on w1.",)
    assert len(of("stop-host", "w1", "w2", now=now)) == 2
    assert of("stop-host", "w1", now=services_health(service("web", 3, "-w1"))) == ()
    assert of("stop-docker", "w2", name="api", now=now) == ()
    assert len(of("stop-docker", "w1", name="web", now=now)) == 1
    assert of("burn-cpu", "w2", now=now) == ()


def test_a_killed_instance_is_back_at_once() -> None:
    """The only one of one may be killed; the last of several that are wanted is a reason to mend those first."""
    assert of("kill-service", "w2", name="api") == ()
    ill = services_health(service("web", 3, "w1", "-w2"))
    reason = "Of 3 instances of web, only the one on w1 passes: mend the others first."
    assert of("kill-service", "w1", name="web", now=ill) == (reason,)
    everywhere = services_health(service("web", None, "w1", "-w2"))
    assert of("kill-service", "w1", name="web", now=everywhere) == (reason,)
    one_worker = cluster_of(m1="manager", w1="worker")
    alone = services_health(service("web", None, "w1"))
    assert of("kill-service", "w1", name="web", cluster=one_worker, now=alone, alive={}) == ()


def test_a_hung_instance_is_not_back_at_once() -> None:
    """Until its check is acted upon nobody answers, so the only one of one counts."""
    assert of("hang-service", "w2", name="api") == ("No instance of api would be left: all that pass are on w2.",)
    assert of("hang-service", "w2", name="web") == ()


def test_the_only_load_balancer_is_kept() -> None:
    """Without it users reach nothing; killed, it is back at once, unless it is the last of several."""
    reason = ("No load balancer would be left beside lb1: users would get no answer.",)
    assert of("stop-host", "lb1") == reason
    assert of("kill-balancer", "lb1") == ()
    pair = cluster_of(m1="manager", lb1="loadbalancer", lb2="loadbalancer")
    both, one = {"m1": True, "lb1": True, "lb2": True}, {"m1": True, "lb1": True, "lb2": False}
    assert of("stop-host", "lb1", cluster=pair, now=services_health(), alive=both) == ()
    assert of("stop-host", "lb1", cluster=pair, now=services_health(), alive=one) == reason
    assert of("kill-balancer", "lb1", cluster=pair, now=services_health(), alive=one) == reason
