"""The blast radius: what would be gone altogether while a fault lasts. Pure.

A fault that comes back in place at once by design (`Fault.in_place`) takes the only instance, manager or balancer for a
moment: to measure that moment is what the drill is for. It is a reason only where something else ought to stand in and
does not: the last of several that are wanted. A hung service is not back at once, so it counts in full.
Counted is what is well now; what is ill already is no help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...core.judge.service_health import ServiceHealth, ServicesHealth
from ...core.model.cluster import Cluster
from .model import Fault
from .targets import Target


def reasons(
    fault: Fault, target: Target, cluster: Cluster, services_health: ServicesHealth, consul_states: Mapping[str, bool]
) -> tuple[str, ...]:
    """Sentences that say what would go; empty: the drill may run. `consul_states` as for `targets.resolve`."""
    hit = frozenset(target.hosts)
    alive = frozenset(h.name for h in cluster.hosts if not consul_states or consul_states.get(h.name, False))
    found: list[str] = []
    if "quorum" in fault.loses:
        found += _quorum(fault, hit, cluster, alive)
    if "primary" in fault.loses and not _named(cluster, "manager", alive - hit):
        found.append(f"{', '.join(target.hosts)} is the only manager that is alive: nobody could take over.")
    if "balancer" in fault.loses:
        found += _balancer(fault, hit, cluster, alive)
    if "instances" in fault.loses:
        for service in services_health.services:
            if not fault.on_service or service.name == target.service:
                found += _service(fault, hit, service, cluster)
    return tuple(found)


def _named(cluster: Cluster, role: str, names: frozenset[str]) -> list[str]:
    return [h.name for h in cluster.hosts if role in h.roles and h.name in names]


def _quorum(fault: Fault, hit: frozenset[str], cluster: Cluster, alive: frozenset[str]) -> Iterator[str]:
    managers = cluster.having("manager")
    needed = len(managers) // 2 + 1
    left = len(_named(cluster, "manager", alive - hit))
    if not any(h.name in hit for h in managers) or left >= needed or (fault.in_place and len(managers) == 1):
        return
    yield f"The quorum would go: {left} of {len(managers)} managers would be left, and {needed} are needed."


def _balancer(fault: Fault, hit: frozenset[str], cluster: Cluster, alive: frozenset[str]) -> Iterator[str]:
    every = cluster.having("loadbalancer")
    lost = [h.name for h in every if h.name in hit]
    if not lost or _named(cluster, "loadbalancer", alive - hit) or (fault.in_place and len(every) == 1):
        return
    yield f"No load balancer would be left beside {', '.join(lost)}: users would get no answer."


def _service(fault: Fault, hit: frozenset[str], service: ServiceHealth, cluster: Cluster) -> Iterator[str]:
    """In place, the only one of one is no loss; `wanted` None means one on each worker."""
    passing = {i.host for i in service.instances if i.passing}
    wanted = len(cluster.having("worker")) if service.wanted is None else service.wanted
    if not passing & hit or passing - hit or (fault.in_place and wanted <= 1):
        return
    where = ", ".join(sorted(passing))
    if fault.in_place:
        yield f"Of {wanted} instances of {service.name}, only the one on {where} passes: mend the others first."
    else:
        yield f"No instance of {service.name} would be left: all that pass are on {where}."
