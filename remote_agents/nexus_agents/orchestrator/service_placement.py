"""Where one service's replicas are: on eligible workers, on others, on dead ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .placement_model import DesiredService, Instance, Observed, Worker

DOWN = ("looping", "failed", "stopping")  # not up, even where the check happens to pass


@dataclass(frozen=True, slots=True)
class Replica:
    """One order. up: it serves, in the ordered revision. load: orders on its host, of all services."""

    host: str
    revision: str
    state: str
    up: bool
    load: int


@dataclass(frozen=True, slots=True)
class ServicePlacement:
    """A worker is eligible when it is alive and has the labels. count: replicas that the service should have now.

    well_placed, misplaced, lost: orders on eligible workers, on live ones without the labels, on dead ones (`lost` is
    empty for a service on every worker: those orders simply stay). free: eligible hosts without an order, best first.
    stable: the free hosts that do not flap. eligible: number of eligible workers.
    """

    desired: DesiredService
    count: int
    well_placed: tuple[Replica, ...]
    misplaced: tuple[Replica, ...]
    lost: tuple[Replica, ...]
    free: tuple[str, ...]
    stable: tuple[str, ...]
    eligible: int

    @property
    def up(self) -> int:
        return sum(r.up for r in (*self.well_placed, *self.misplaced))

    @property
    def missing(self) -> int:
        """Replicas that no live worker has or can get."""
        return max(0, self.count - len(self.well_placed) - len(self.misplaced) - len(self.free))


def current_placement(desired: DesiredService, observed: Observed, load: Mapping[str, int]) -> ServicePlacement:
    """`load`: host -> orders of all services. Orders on hosts that left the cluster do not count."""
    workers = observed.workers
    ordered = {h: o[desired.name] for h, o in sorted(observed.orders.items()) if desired.name in o and h in workers}
    replicas = {
        h: _replica(workers[h], revision, observed.instances.get((desired.name, h)), load.get(h, 0))
        for h, revision in ordered.items()
    }
    eligible = {n for n, w in workers.items() if w.alive and desired.labels.items() <= w.labels.items()}
    free = sorted(eligible - ordered.keys(), key=lambda h: (workers[h].flapping, load.get(h, 0), h))
    return ServicePlacement(
        desired=desired,
        count=len(eligible) if desired.count is None else desired.count,
        well_placed=tuple(r for h, r in replicas.items() if h in eligible),
        misplaced=tuple(r for h, r in replicas.items() if h not in eligible and workers[h].alive),
        lost=tuple(r for h, r in replicas.items() if not workers[h].alive and desired.count is not None),
        free=tuple(free),
        stable=tuple(h for h in free if not workers[h].flapping),
        eligible=len(eligible),
    )


def _replica(worker: Worker, revision: str, instance: Instance | None, load: int) -> Replica:
    if not worker.alive:
        return Replica(worker.name, revision, "dead", False, load)
    if instance is None or instance.revision != revision:
        return Replica(worker.name, revision, "starting", False, load)
    up = instance.passing and instance.state not in DOWN
    state = "not passing" if instance.state == "running" and not up else instance.state
    return Replica(worker.name, revision, state, up, load)
