"""The blast radius: what would be gone altogether while a fault lasts. Pure.

A fault with `in_place` comes back at once by design, so it takes the only instance, manager or balancer for a moment:
the drill is there to measure that moment. It is refused only where another one should stand in and does not: on the
last of several that are wanted. A hung service is not back at once, so it counts in full.
Only what is well now counts as left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...core.judge.service_health import ServiceHealth, ServicesHealth
from ...core.model.cluster import Cluster
from .model import Fault
from .targets import Target


def refusal_reasons(
    fault: Fault, target: Target, cluster: Cluster, services_health: ServicesHealth, alive: Mapping[str, bool]
) -> tuple[str, ...]:
    """One sentence for each thing that would be gone; empty: the drill may run. `alive`: as for `targets.resolve`."""
    hit = frozenset(target.hosts)
    left = frozenset(h.name for h in cluster.hosts if not alive or alive.get(h.name, False)) - hit
    reasons: list[str] = []
    if "quorum" in fault.losses:
        reasons += _quorum(fault, hit, left, cluster)
    if "primary" in fault.losses and not _having(cluster, "manager", left):
        reasons.append(f"{', '.join(target.hosts)} is the only manager that is alive: nobody could take over.")
    if "balancer" in fault.losses:
        reasons += _balancer(fault, hit, left, cluster)
    if "instances" in fault.losses:
        for service in services_health.services:
            if not fault.on_service or service.name == target.service:
                reasons += _service(fault, hit, service, cluster)
    return tuple(reasons)


def _having(cluster: Cluster, role: str, names: frozenset[str]) -> list[str]:
    return [h.name for h in cluster.hosts if role in h.roles and h.name in names]


def _quorum(fault: Fault, hit: frozenset[str], left: frozenset[str], cluster: Cluster) -> Iterator[str]:
    managers = cluster.having("manager")
    needed = len(managers) // 2 + 1
    count = len(_having(cluster, "manager", left))
    if not any(h.name in hit for h in managers) or count >= needed or (fault.in_place and len(managers) == 1):
        return
    yield f"The quorum would go: {count} of {len(managers)} managers would be left, and {needed} are needed."


def _balancer(fault: Fault, hit: frozenset[str], left: frozenset[str], cluster: Cluster) -> Iterator[str]:
    balancers = cluster.having("loadbalancer")
    lost = [h.name for h in balancers if h.name in hit]
    if not lost or _having(cluster, "loadbalancer", left) or (fault.in_place and len(balancers) == 1):
        return
    yield f"No load balancer would be left beside {', '.join(lost)}: users would get no answer."


def _service(fault: Fault, hit: frozenset[str], service: ServiceHealth, cluster: Cluster) -> Iterator[str]:
    """In place, the only instance of one is no loss; `wanted` None means one on each worker."""
    passing = {i.host for i in service.instances if i.passing}
    wanted = len(cluster.having("worker")) if service.wanted is None else service.wanted
    if not passing & hit or passing - hit or (fault.in_place and wanted <= 1):
        return
    hosts = ", ".join(sorted(passing))
    if fault.in_place:
        yield f"Of {wanted} instances of {service.name}, only the one on {hosts} passes: mend the others first."
    else:
        yield f"No instance of {service.name} would be left: all that pass are on {hosts}."
