"""What Consul itself says of the cluster, asked of the first server that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ...core.errors import HostError
from ...core.judge.health import ConsulStatus, Health, assess
from ...core.judge.service_health import PREFIXES, UNIT, ServicesHealth, read_services_health
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet
from .client import Consul, members

T = TypeVar("T")


def assessed(fleet: Fleet) -> Health:
    """Probes every host and asks Consul."""
    facts, faults = fleet.probe()
    managers = [h for h in fleet.cluster.having("manager") if h.name in facts]
    return assess(fleet.cluster, facts, {f.host: f.message for f in faults}, ask(fleet.of(managers)))


def ask(servers: Iterable[Remote]) -> ConsulStatus:
    """An empty word when no server answers; one without a leader when the cluster has none."""
    for remote in servers:
        consul = Consul(remote)
        try:
            alive = members(consul)
        except HostError:
            continue
        try:
            return _full(remote, consul, alive)
        except HostError:
            return ConsulStatus(asked=remote.host.name, members=alive)
    return ConsulStatus()


def _full(remote: Remote, consul: Consul, alive: dict[str, bool]) -> ConsulStatus:
    raft = consul.ask("GET", "/v1/operator/raft/configuration")["Servers"]
    leader = next((s["Node"] for s in raft if s["Leader"]), None)
    health = consul.ask("GET", "/v1/health/state/any?stale")
    services: dict[str, tuple[int, int]] = {}
    for check in health:
        name = check["ServiceName"]
        if name and not check["ServiceID"].startswith((UNIT, "nexus-orchestrator")):
            passing, count = services.get(name, (0, 0))
            services[name] = (passing + (check["Status"] == "passing"), count + 1)
    return ConsulStatus(
        remote.host.name,
        leader,
        tuple(sorted(s["Node"] for s in raft if s["Voter"])),
        alive,
        services,
        read_services_health(entries(consul), health),
    )


def entries(consul: Consul, stale: bool = False) -> list[dict[str, Any]]:
    """What our agents keep in the KV store, in one read. `stale`: without waiting for a raft leader."""
    trees = [{"KV": {"Verb": "get-tree", "Key": prefix}} for prefix in PREFIXES]
    return [result["KV"] for result in consul.ask("PUT", f"/v1/txn{'?stale' if stale else ''}", trees)["Results"] or ()]


def services_health(servers: Iterable[Remote]) -> ServicesHealth:
    """How the services do, by the first server that answers. HostError when none does."""
    return first(servers, lambda consul: read_services_health(entries(consul), consul.ask("GET", "/v1/health/state/any")))


def first(servers: Iterable[Remote], question: Callable[[Consul], T | None]) -> T:
    """The answer of the first server that has one; None is none. HostError with every server's reason when none has."""
    faults: list[HostError] = []
    for remote in servers:
        try:
            found = question(Consul(remote))
            if found is not None:
                return found
        except HostError as error:
            faults.append(error)
    raise _together(faults)


def _together(faults: list[HostError]) -> HostError:
    """One error, a line for each; with the way out that they share."""
    if not faults:
        return HostError("cluster", "no manager answers", "inv status")
    lines = [faults[0].message.removeprefix(f"{faults[0].host}: "), *(fault.message for fault in faults[1:])]
    hints = {fault.hint for fault in faults}
    return HostError(
        faults[0].host, "\n".join(lines), hints.pop() if len(hints) == 1 else "inv detect tells the way out of each"
    )
