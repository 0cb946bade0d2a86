"""A cluster and its health as values, for the tests of drill targets, blast radius and promises."""

from __future__ import annotations

from pathlib import Path

from fabfile.core.config.services import parse
from fabfile.core.judge.service_health import Instance, ServiceHealth, ServicesHealth
from fabfile.core.state.topology import Address
from fabfile.drills.course.plan import ClusterSnapshot, DrillPlan, DrillRequest, plan_drill
from fabfile.drills.faults.catalogue import FAULTS
from tests.support.samples import cluster_of

CLUSTER = cluster_of(m1="manager worker", m2="manager", m3="manager", w1="worker", w2="worker", lb1="loadbalancer")
ALIVE = {h.name: True for h in CLUSTER.hosts}


def service(name: str, wanted: int | None, *hosts: str) -> ServiceHealth:
    """`hosts`: `w1` for an instance that runs and passes there, `-w1` for one that runs and does not pass."""
    instances = (Instance(h.removeprefix("-"), "running", not h.startswith("-"), True) for h in hosts)
    return ServiceHealth(name, wanted, tuple(instances))


def services_health(*services: ServiceHealth, primary: str | None = "m1") -> ServicesHealth:
    return ServicesHealth(services, primary, 3)


WELL = services_health(service("api", 1, "w2"), service("web", 3, "m1", "w1", "w2"))
SERVICES = parse(
    "services:\n"
    "  api: {image: api:1, port: 8081}\n"
    "  web: {command: [web], port: 8080, replicas: 3, domain: web.test}\n",
    Path("services.yml"),
)  # fmt: skip
SNAPSHOT = ClusterSnapshot(
    CLUSTER, WELL, "m2", ALIVE, {h.name: Address("10.0.0.1", "10.0.0.1") for h in CLUSTER.hosts}, SERVICES, "1.22"
)


def plan(name: str, target: str = "", snapshot: ClusterSnapshot = SNAPSHOT, **options: object) -> DrillPlan:
    return plan_drill(FAULTS[name], DrillRequest(target, **options), snapshot)  # type: ignore[arg-type]
