"""In which order hosts change, so that the quorum is never at risk. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ..model.cluster import Cluster
from .plan import HostPlan

BATCH = 0.34  # share of the workers (at least one) that may change at the same time


@dataclass(frozen=True, slots=True)
class Wave:
    """Hosts that change together, and what it is called in the progress."""

    title: str
    hosts: tuple[str, ...]


def waves(cluster: Cluster, plans: Mapping[str, HostPlan], running: Collection[str], leader: str | None) -> list[Wave]:
    """`running`: managers whose Consul runs now. `leader`: the raft leader's host name, where known.

    With no server running there is no quorum to protect, and all hosts go at once. Else: servers one by one, the
    leader last; workers in batches; load balancers one by one. Only hosts with something to change appear.
    """
    changing = [h for h in cluster.hosts if h.name in plans and not plans[h.name].empty]
    if not running:
        return [Wave("first start", tuple(h.name for h in changing))] if changing else []
    servers = sorted((h.name for h in changing if h.has("manager")), key=lambda name: name == leader)
    rest = [h for h in changing if not h.has("manager")]
    balancers = [h.name for h in rest if h.has("loadbalancer")]
    workers = [h.name for h in rest if not h.has("loadbalancer")]
    return [
        *(Wave("manager", (name,)) for name in servers),
        *_batches("workers", workers, max(1, int(len(cluster.having("worker")) * BATCH))),
        *(Wave("load balancer", (name,)) for name in balancers),
    ]


def _batches(title: str, names: list[str], size: int) -> Iterator[Wave]:
    for start in range(0, len(names), size):
        yield Wave(title, tuple(names[start : start + size]))
