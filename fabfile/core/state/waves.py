"""The order in which hosts change, so that the raft quorum is never at risk. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ..model.cluster import Cluster
from .plan import HostPlan

_BATCH = 0.34  # share of the workers that may change at the same time; at least one worker


@dataclass(frozen=True, slots=True)
class Wave:
    """Hosts that change together. title: for progress lines."""

    title: str
    hosts: tuple[str, ...]


def waves(
    cluster: Cluster, plans: Mapping[str, HostPlan], running: Collection[str], leader: str | None,
    moving: Collection[str] = (),
) -> list[Wave]:  # fmt: skip
    """Running managers one by one, the raft leader last; then new managers one by one, for the others' firewalls must let
    them in first; then workers in batches; then load balancers one by one.

    Managers with a new address come first: they may be down until they have it, and the others' gates would wait for them.

    Without a running manager there is no quorum to protect: then all hosts change at once. Hosts with nothing to change
    are in no wave.

    running: names of managers whose Consul runs now as a server; leader: the raft leader's host name, None: not known
    moving: names of hosts that get a new address
    """
    changing = [h for h in cluster.hosts if h.name in plans and not plans[h.name].empty]
    if not running:
        return [Wave("first start", tuple(h.name for h in changing))] if changing else []
    managers = sorted(
        (h.name for h in changing if h.has("manager")),
        key=lambda name: (name not in running and name not in moving, name == leader, name not in moving),
    )
    others = [h for h in changing if not h.has("manager")]
    balancers = [h.name for h in others if h.has("loadbalancer")]
    workers = [h.name for h in others if not h.has("loadbalancer")]
    return [
        *(Wave("manager", (name,)) for name in managers),
        *_batches("workers", workers, max(1, int(len(cluster.having("worker")) * _BATCH))),
        *(Wave("load balancer", (name,)) for name in balancers),
    ]


def _batches(title: str, names: list[str], size: int) -> Iterator[Wave]:
    for start in range(0, len(names), size):
        yield Wave(title, tuple(names[start : start + size]))
