"""One service: where its replicas are, and what is to change next. Pure; `decide` asks service by service.

Repair comes first: what is missing is placed, what is too much goes. Only where nothing is to be repaired does a
rolling change take its next step. No step but a change in place lowers the number of instances that are up, and
a change in place is taken only where no worker is free and all others are up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

from .placement_model import Action, DesiredService, Instance, Observed, Worker

DOWN = ("looping", "failed", "stopping")  # not up, even where the check happens to pass


@dataclass(frozen=True, slots=True)
class Replica:
    """One order. up: it serves, in the revision that is ordered. load: orders on its host, of all services."""

    host: str
    revision: str
    state: str
    up: bool
    load: int


@dataclass(frozen=True, slots=True)
class Service:
    """Workers that are alive and carry the labels are fit for it; `fit` is how many. count: how many it should have now.

    good, strayed, lost: its orders on fit workers, on live ones without the labels, on dead ones (none where it goes
    on all: such orders simply stay). free: fit hosts that have none, best first. calm: those of them that do not flap.
    """

    desired: DesiredService
    count: int
    good: tuple[Replica, ...]
    misplaced: tuple[Replica, ...]
    lost: tuple[Replica, ...]
    free: tuple[str, ...]
    stable: tuple[str, ...]
    fit: int

    @property
    def up(self) -> int:
        return sum(r.up for r in (*self.good, *self.misplaced))


def survey(desired: DesiredService, observed: Observed, load: Mapping[str, int]) -> Service:
    """`load`: host -> orders of all services. Orders on hosts that left the cluster count for nothing."""
    workers = observed.workers
    held = {h: o[desired.name] for h, o in sorted(observed.orders.items()) if desired.name in o and h in workers}
    found = {
        h: _replica(workers[h], revision, observed.instances.get((desired.name, h)), load.get(h, 0))
        for h, revision in held.items()
    }
    fit = {n for n, w in workers.items() if w.alive and desired.labels.items() <= w.labels.items()}
    free = sorted(fit - held.keys(), key=lambda h: (workers[h].flapping, load.get(h, 0), h))
    return Service(
        desired=desired,
        count=len(fit) if desired.count is None else desired.count,
        good=tuple(r for h, r in found.items() if h in fit),
        misplaced=tuple(r for h, r in found.items() if h not in fit and workers[h].alive),
        lost=tuple(r for h, r in found.items() if not workers[h].alive and desired.count is not None),
        free=tuple(free),
        stable=tuple(h for h in free if not workers[h].flapping),
        fit=len(fit),
    )


def _replica(worker: Worker, revision: str, instance: Instance | None, load: int) -> Replica:
    if not worker.alive:
        return Replica(worker.name, revision, "dead", False, load)
    if instance is None or instance.revision != revision:
        return Replica(worker.name, revision, "starting", False, load)
    up = instance.passing and instance.state not in DOWN
    state = "not passing" if instance.state == "running" and not up else instance.state
    return Replica(worker.name, revision, state, up, load)


def plan(s: Service) -> tuple[Action, ...]:
    """The orders to change now, in the order in which they should be written."""
    placed = s.free[: max(0, s.count - len(s.good))]
    surplus = _removable(_worst_first(s, s.good), len(s.good) - s.count - _extra(s), sum(r.up for r in s.good) - s.count)
    held = len(s.good) + len(placed) - len(surplus)
    retired = _removable(
        _worst_first(s, s.misplaced), held + len(s.misplaced) - s.count, s.up - sum(r.up for r in surplus) - s.count
    )
    covered = s.count - held - len(s.misplaced)
    forgotten = sorted(s.lost, key=lambda r: (r.revision != s.desired.revision, r.host))[max(0, covered) :]
    repair = (
        *(_place(s, host, why) for host, why in zip(placed, _causes(s), strict=False)),
        *(_remove(s, r, f"{s.count} wanted, {len(s.good)} there") for r in surplus),
        *(_remove(s, r, f"the worker lacks {_labels(s)}") for r in retired),
        *(_remove(s, r, "the worker is dead, and others have its replica") for r in forgotten),
    )
    return repair or _rolling_step(s)


def _causes(s: Service) -> Iterator[str]:
    """Why there is one too few, for each that is placed; it has no end."""
    yield from (f"{r.host} is dead" for r in s.lost)
    yield from (f"{r.host} lacks {_labels(s)}" for r in s.misplaced)
    yield from repeat("one on every worker" if s.desired.count is None else f"{s.count} wanted, {len(s.good)} there")


def _extra(s: Service) -> bool:
    """A rolling change has one instance more until the new ones are up."""
    new = [r for r in s.good if r.revision == s.desired.revision]
    return len(new) < len(s.good) and not all(r.up for r in new)


def _worst_first(s: Service, replicas: Iterable[Replica]) -> list[Replica]:
    backwards = sorted(replicas, key=lambda r: r.host, reverse=True)
    return sorted(backwards, key=lambda r: (r.revision == s.desired.revision, r.up, -r.load))


def _removable(replicas: Iterable[Replica], excess: int, spare: int) -> list[Replica]:
    """The first `excess` that may go; `spare`: how many of those that are up."""
    gone: list[Replica] = []
    for r in replicas:
        if len(gone) < excess and (not r.up or spare > 0):
            gone.append(r)
            spare -= r.up
    return gone


def _rolling_step(s: Service) -> tuple[Action, ...]:
    """The next step to the wished revision, if there is one and nothing is to be waited for."""
    old = [r for r in s.good if r.revision != s.desired.revision]
    if not old or waits_for(s):
        return ()
    down = [r for r in old if not r.up]
    if down:
        return (_replace(s, down[0], f"it is not up ({down[0].state}), so it changes first"),)
    # never to a flapping worker: the extra instance stays where it is put
    if s.stable:
        return (_place(s, s.stable[0], f"one extra, to change {old[0].revision} without a gap"),)
    return (_replace(s, old[0], "changed in place: no worker is free for an extra instance"),)


def waits_for(s: Service) -> tuple[Replica, ...]:
    """Those that have to be up before a rolling change takes its next step; empty where none is under way."""
    old = [r for r in s.good if r.revision != s.desired.revision]
    if not old:
        return ()
    new = tuple(r for r in (*s.good, *s.misplaced) if r.revision == s.desired.revision and not r.up)
    if new or not all(r.up for r in old):
        return new
    return tuple(r for r in (*s.misplaced, *s.lost) if not r.up)


def missing(s: Service) -> int:
    """Replicas that no live worker has or can get."""
    return max(0, s.count - len(s.good) - len(s.misplaced) - len(s.free))


def notes(s: Service, steps: Collection[Action]) -> tuple[str, ...]:
    """What an operator should know of this service. `steps`: what plan() said."""
    name, going = s.desired.name, {a.host for a in steps if a.kind == "remove"}
    held = () if steps else waits_for(s)
    lost = [r.host for r in s.lost if r.host not in going]
    unplaced = missing(s) - len(lost)
    return (
        *([f"{name}: {unplaced} of {s.count} wait for a worker: {_why_none(s)}"] if unplaced > 0 else []),
        *(f"{name}: one waits for {host} to come back: {_why_none(s)}" for host in lost),
        *(f"{name} stays on {r.host}, which lacks {_labels(s)}, until another worker has it up"
          for r in s.misplaced if r.host not in going),
        *(f"{name}: the change to {s.desired.revision} waits for {r.host} ({r.state})" for r in held),
    )  # fmt: skip


def _why_none(s: Service) -> str:
    if s.fit:
        return "every worker that may have it has one"
    return f"no live worker has {_labels(s)}" if s.desired.labels else "no worker is alive"


def _labels(s: Service) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(s.desired.labels.items()))


def _place(s: Service, host: str, why: str) -> Action:
    return Action("place", s.desired.name, host, s.desired.revision, why)


def _replace(s: Service, replica: Replica, why: str) -> Action:
    return Action("replace", s.desired.name, replica.host, s.desired.revision, why)


def _remove(s: Service, replica: Replica, why: str) -> Action:
    return Action("remove", s.desired.name, replica.host, replica.revision, why)
