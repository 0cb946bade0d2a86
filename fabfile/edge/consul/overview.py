"""Consul's own view of the cluster, from the first server that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ...core.errors import HostError
from ...core.foreign import understood
from ...core.judge.health import ConsulStatus, Health, assess
from ...core.judge.service_health import KV_PREFIXES, UNIT_PREFIX, ServicesHealth, read_services_health
from ..disk.vault import Vault
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet
from .acl_drift import drift
from .client import Consul, alive

T = TypeVar("T")


def assess_cluster(fleet: Fleet) -> Health:
    """The cluster's health: probes every host and queries Consul."""
    facts, faults = fleet.probe()
    servers = fleet.of(h for h in fleet.cluster.having("manager") if h.name in facts)
    status = consul_status(servers)
    if status.leader or status.server is None:  # no answer at all: perhaps our own token is unknown
        lines = drift(servers, fleet.cluster, Vault(fleet.cluster.state).load())
        # what is there too much is the next deploy's business, and no illness
        status = replace(status, acls=tuple(line for line in lines if not line.startswith("-")))
    return assess(fleet.cluster, facts, {f.host: f.message for f in faults}, status)


def consul_status(servers: Iterable[Remote]) -> ConsulStatus:
    """The status by the first server that answers: empty when none does, without a leader when there is none."""
    for remote in servers:
        consul = Consul(remote)
        try:
            with understood(remote.host.name, "Consul's list of members"):
                pool = consul.agent.members()
                known = alive(pool)
        except HostError:
            continue
        try:
            with understood(remote.host.name, "Consul's state"):
                return _full_status(remote, consul, pool)
        except HostError:
            return ConsulStatus(server=remote.host.name, members=known)
    return ConsulStatus()


def _full_status(remote: Remote, consul: Consul, pool: list[dict[str, Any]]) -> ConsulStatus:
    raft = consul.request("GET", "/v1/operator/raft/configuration")["Servers"]
    leader = next((s["Node"] for s in raft if s["Leader"]), None)
    health = consul.request("GET", "/v1/health/state/any?stale")
    services: dict[str, tuple[int, int]] = {}
    for check in health:
        name = check["ServiceName"]
        if name and not check["ServiceID"].startswith((UNIT_PREFIX, "nexus-orchestrator")):
            passing, count = services.get(name, (0, 0))
            services[name] = (passing + (check["Status"] == "passing"), count + 1)
    return ConsulStatus(
        remote.host.name,
        leader,
        tuple(sorted(s["Node"] for s in raft if s["Voter"])),
        alive(pool),
        services,
        read_services_health(kv_entries(consul), health),
        reserved=reserved(pool, consul.request("GET", "/v1/catalog/nodes?stale")),
    )


def reserved(pool: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Node name -> (id in the gossip pool, id in the catalogue), of those that run under another id than the catalogue has.

    Consul refuses all that such a node writes of itself, for ever. `pool`, `nodes`: as its HTTP API lists them.
    """
    ids = {str(m["Name"]): str(m["Tags"].get("id", "")) for m in pool}
    return {
        name: (ids[name], node["ID"])
        for node in nodes
        if ids.get(name := str(node["Node"])) and node.get("ID") and node["ID"] != ids[name]
    }


def kv_entries(consul: Consul, stale: bool = False) -> list[dict[str, Any]]:
    """The KV entries of our agents, in one read. `stale`: without waiting for a raft leader."""
    trees = [{"KV": {"Verb": "get-tree", "Key": prefix}} for prefix in KV_PREFIXES]
    answer = consul.request("PUT", f"/v1/txn{'?stale' if stale else ''}", trees)
    return [result["KV"] for result in answer["Results"] or ()]


def services_health(servers: Iterable[Remote]) -> ServicesHealth:
    """The health of all services, by the first server that answers. HostError when none does."""

    def query(consul: Consul) -> ServicesHealth:
        return read_services_health(kv_entries(consul), consul.request("GET", "/v1/health/state/any"))

    return first_answer(servers, query)


def first_answer(servers: Iterable[Remote], query: Callable[[Consul], T | None]) -> T:
    """The first answer that is not None, server by server. HostError with every server's reason when none has one."""
    faults: list[HostError] = []
    for remote in servers:
        try:
            with understood(remote.host.name, "Consul's state"):
                answer = query(Consul(remote))
            if answer is not None:
                return answer
        except HostError as error:
            faults.append(error)
    raise _combined(faults)


def _combined(faults: list[HostError]) -> HostError:
    """One error with a line for each fault, and their hint where they share one."""
    if not faults:
        return HostError("cluster", "no manager answers", "inv status")
    lines = [faults[0].message.removeprefix(f"{faults[0].host}: "), *(fault.message for fault in faults[1:])]
    hints = {fault.hint for fault in faults}
    return HostError(
        faults[0].host, "\n".join(lines), hints.pop() if len(hints) == 1 else "inv detect tells the way out of each"
    )
