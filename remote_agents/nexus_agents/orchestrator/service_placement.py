"""Where one service's replicas are: on eligible workers, on others, on dead ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    stable: the free hosts that do not flap. eligible: number of live workers with the labels.

    Where the service cannot live (`misfits`: host -> why), its order counts as misplaced; `last_resort`: free hosts of
    that kind, better than none. A service on every worker has no choice, and no misfits.
    """

    desired: DesiredService
    count: int
    well_placed: tuple[Replica, ...]
    misplaced: tuple[Replica, ...]
    lost: tuple[Replica, ...]
    free: tuple[str, ...]
    stable: tuple[str, ...]
    eligible: int
    last_resort: tuple[str, ...] = ()
    misfits: Mapping[str, str] = field(default_factory=dict)

    @property
    def up(self) -> int:
        return sum(r.up for r in (*self.well_placed, *self.misplaced))

    @property
    def missing(self) -> int:
        """Replicas that no live worker has or can get."""
        return max(0, self.count - len(self.well_placed) - len(self.misplaced) - len(self.free) - len(self.last_resort))


def current_placement(desired: DesiredService, observed: Observed, load: Mapping[str, int]) -> ServicePlacement:
    """`load`: host -> orders of all services. Orders on hosts that left the cluster do not count."""
    workers = observed.workers
    ordered = {h: o[desired.name] for h, o in sorted(observed.orders.items()) if desired.name in o and h in workers}
    replicas = {
        h: _replica(workers[h], revision, observed.instances.get((desired.name, h)), load.get(h, 0))
        for h, revision in ordered.items()
    }
    labelled = {n for n, w in workers.items() if w.alive and desired.labels.items() <= w.labels.items()}
    kept_off = {h: why for (name, h), why in observed.misfits.items() if name == desired.name and desired.count is not None}
    eligible = labelled - kept_off.keys()

    def best_first(hosts: set[str]) -> list[str]:
        return sorted(hosts - ordered.keys(), key=lambda h: (workers[h].flapping, load.get(h, 0), h))

    free = best_first(eligible)
    return ServicePlacement(
        desired=desired,
        count=len(labelled) if desired.count is None else desired.count,
        well_placed=tuple(r for h, r in replicas.items() if h in eligible),
        misplaced=tuple(r for h, r in replicas.items() if h not in eligible and workers[h].alive),
        lost=tuple(r for h, r in replicas.items() if not workers[h].alive and desired.count is not None),
        free=tuple(free),
        stable=tuple(h for h in free if not workers[h].flapping),
        eligible=len(labelled),
        last_resort=tuple(best_first(labelled - eligible)),
        misfits={h: why for h, why in kept_off.items() if h in labelled},
    )


def _replica(worker: Worker, revision: str, instance: Instance | None, load: int) -> Replica:
    if not worker.alive:
        return Replica(worker.name, revision, "dead", False, load)
    if instance is None or instance.revision != revision:
        pulls = instance is not None and instance.state in ("pulling", "pull-failed")
        return Replica(worker.name, revision, instance.state if instance and pulls else "starting", False, load)
    up = is_up(instance, revision)
    state = "not passing" if instance.state == "running" and not up else instance.state
    return Replica(worker.name, revision, state, up, load)


def is_up(instance: Instance | None, revision: str) -> bool:
    """Whether it serves, in this revision."""
    return instance is not None and instance.revision == revision and instance.passing and instance.state not in DOWN
