"""Looks at the cluster once, before a drill is planned. Touches no host."""

from __future__ import annotations

import time

from ...core.errors import HostError, Refused
from ...core.state.topology import Address, addresses
from ...edge.consul.client import Consul
from ...edge.consul.overview import ask
from ...edge.consul.service_operations import managers
from ...edge.disk import services
from ...edge.disk.state import State
from ...edge.ssh.fleet import Fleet
from .plan import ClusterSnapshot
from .prober import Observation, not_steady

_TURN = 0.5  # seconds between two looks


def take_snapshot(fleet: Fleet) -> ClusterSnapshot:
    """Refused when no manager answers: what cannot be seen cannot be drilled."""
    cluster = fleet.cluster
    servers = managers(fleet)
    word = ask(servers)
    if word.asked is None or word.leader is None:
        what = "no manager answers" if word.asked is None else "the managers have no raft leader"
        raise Refused(f"{what}: a drill needs a cluster that is well", "inv status")
    facts, _ = fleet.probe()
    where: dict[str, Address] = addresses(cluster, facts, State(cluster.state).addresses())
    return ClusterSnapshot(cluster, word.services_health, word.leader, word.members, where, services.load(cluster),
                 _version(fleet, str(word.asked)))  # fmt: skip


def wait_until_settled(fleet: Fleet, seconds: float) -> tuple[str, ...]:
    """Between two drills: all voters are back and caught up, all else is steady. What is not, when the time is up."""
    until = time.monotonic() + seconds
    while True:
        lacking = _lacking(fleet)
        if not lacking or time.monotonic() > until:
            return lacking
        time.sleep(_TURN)


def _lacking(fleet: Fleet) -> tuple[str, ...]:
    cluster, servers = fleet.cluster, managers(fleet)
    word = ask(servers)
    if word.asked is None or word.leader is None:
        return ("no manager answers" if word.asked is None else "there is no raft leader",)
    gone = [h.name for h in cluster.having("manager") if h.name not in word.voters]
    found = [f"{name} is no voter" for name in gone]
    try:
        if not Consul(fleet[word.asked]).ask("GET", "/v1/operator/autopilot/health")["Healthy"]:
            found.append("a manager is not caught up yet")
    except HostError as error:
        found.append(str(error).splitlines()[0])
    now = time.monotonic()
    return (*found, *not_steady(Observation(now, now, True, word.members, word.services_health), cluster))


def _version(fleet: Fleet, asked: str) -> str:
    try:
        return Consul(fleet[asked]).version()
    except HostError:
        return ""
