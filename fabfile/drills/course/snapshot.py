"""Reads the cluster before a drill is planned, and waits between two drills until it is steady. Changes nothing."""

from __future__ import annotations

import time

from ...core.errors import HostError, Refused
from ...core.state.topology import addresses
from ...edge.consul.client import Consul
from ...edge.consul.overview import consul_status
from ...edge.consul.service_operations import managers
from ...edge.disk import services
from ...edge.disk.state import State
from ...edge.ssh.fleet import Fleet
from .plan import ClusterSnapshot
from .prober import Observation, not_steady

_POLL_INTERVAL = 0.5  # seconds between two looks


def take_snapshot(fleet: Fleet) -> ClusterSnapshot:
    """Refused when no manager answers: a drill on a cluster that nobody can see measures nothing."""
    cluster = fleet.cluster
    status = consul_status(managers(fleet))
    if status.server is None or status.leader is None:
        what = "no manager answers" if status.server is None else "the managers have no raft leader"
        raise Refused(f"{what}: a drill needs a cluster that is well", "inv status")
    facts, _ = fleet.probe()
    return ClusterSnapshot(
        cluster, status.services_health, status.leader, status.members,
        addresses(cluster, facts, State(cluster.state).addresses()), services.load(cluster),
        _version(fleet, str(status.server)),
    )  # fmt: skip


def wait_until_settled(fleet: Fleet, timeout: float) -> tuple[str, ...]:
    """Waits until all voters are back and caught up and all else is steady. What is not, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        problems = _unsettled(fleet)
        if not problems or time.monotonic() > deadline:
            return problems
        time.sleep(_POLL_INTERVAL)


def _unsettled(fleet: Fleet) -> tuple[str, ...]:
    cluster = fleet.cluster
    status = consul_status(managers(fleet))
    if status.server is None or status.leader is None:
        return ("no manager answers" if status.server is None else "there is no raft leader",)
    problems = [f"{h.name} is no voter" for h in cluster.having("manager") if h.name not in status.voters]
    try:
        if not Consul(fleet[status.server]).request("GET", "/v1/operator/autopilot/health")["Healthy"]:
            problems.append("a manager is not caught up yet")
    except HostError as error:
        problems.append(error.first_line)
    now = time.monotonic()
    return (*problems, *not_steady(Observation(now, now, True, status.members, status.services_health), cluster))


def _version(fleet: Fleet, host: str) -> str:
    try:
        return Consul(fleet[host]).version()
    except HostError:
        return ""
