"""What is known before a change is decided: the hosts' facts, and what the running cluster says of services and ACLs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...core.errors import HostError
from ...core.model.cluster import Host
from ...core.state import guards
from ...core.state.facts import Facts
from ..disk.vault import Vault
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet
from . import lock


def observe(
    fleet: Fleet, needed: Collection[Host], previous: bool = False
) -> tuple[dict[str, Facts], tuple[HostError, ...]]:
    """Probes the whole inventory: facts by host name, and the faults of hosts that did not answer.

    Raises when a needed host cannot be reached or cannot be used.
    """
    facts, faults = fleet.probe(previous=previous)
    chosen = {h.name for h in needed}
    guards.require_reachable([f for f in faults if f.host in chosen])
    guards.check_hosts({name: fact for name, fact in facts.items() if name in chosen})
    return facts, tuple(faults)


def published_services(fleet: Fleet, facts: Mapping[str, Facts]) -> dict[str, Any] | None:
    """The services that the running cluster knows of; None when no manager runs or answers."""
    from ..consul.published_services import read_published

    return read_published(_running_servers(fleet, facts))


def acl_drift(fleet: Fleet, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """How Consul's policies and tokens differ from those wanted; empty also where no manager can tell."""
    from ..consul.acl_drift import drift

    return drift(_running_servers(fleet, facts), fleet.cluster, Vault(fleet.cluster.state).load())


def _running_servers(fleet: Fleet, facts: Mapping[str, Facts]) -> list[Remote]:
    managers = [h for h in fleet.cluster.having("manager") if h.name in facts and runs_consul(facts[h.name])]
    return fleet.of(managers)


def runs_consul(fact: Facts) -> bool:
    """Whether the host's Consul runs, as a server or as a client."""
    unit = fact.units.get("consul.service")
    return unit is not None and unit.running


def refuse_if_busy(facts: Mapping[str, Facts]) -> None:
    """Busy when a host is locked, unless the holder is known to be dead. Expiry goes by each host's own clock."""
    for fact in facts.values():
        if fact.lock and fact.lock.expires > fact.now and not lock.is_dead(fact.lock):
            raise lock.busy(fact.lock)
