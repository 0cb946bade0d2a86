"""One service: which of its orders change next. Pure; `decide` calls it for each service.

Repair comes first: missing replicas are placed, surplus ones removed. A rolling change takes its next step only where
nothing needs repair. No step lowers the number of instances that are up, except a change in place. That is taken only
where no worker is free and all other instances are up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import repeat

from .placement_model import Action, DesiredService
from .service_placement import Replica, ServicePlacement


def plan(placement: ServicePlacement) -> tuple[Action, ...]:
    """The orders to change now, in the order in which to write them."""
    desired, count, well_placed = placement.desired, placement.count, placement.well_placed
    chosen = placement.free[: max(0, count - len(well_placed))]
    # where the service is known not to live: better than nowhere, but nothing moves there from another such worker
    chosen += placement.last_resort[: max(0, count - len(well_placed) - len(placement.misplaced) - len(chosen))]
    surplus = _removable(
        _worst_first(desired, well_placed),
        len(well_placed) - count - _has_extra(placement),
        sum(r.up for r in well_placed) - count,
    )
    kept = len(well_placed) + len(chosen) - len(surplus)
    replaced = _removable(
        _worst_first(desired, placement.misplaced),
        kept + len(placement.misplaced) - count,
        placement.up - sum(r.up for r in surplus) - count,
    )
    uncovered = max(0, count - kept - len(placement.misplaced))  # replicas that only dead workers have
    covered = sorted(placement.lost, key=lambda r: (r.revision != desired.revision, r.host))[uncovered:]
    repair = (
        *(_place(desired, host, why) for host, why in zip(chosen, _reasons_to_place(placement), strict=False)),
        *(_remove(desired, r, f"{count} wanted, {len(well_placed)} there") for r in surplus),
        *(_remove(desired, r, _why_it_goes(placement, r.host)) for r in replaced),
        *(_remove(desired, r, "the worker is dead, and others have its replica") for r in covered),
    )
    return repair or _rolling_step(placement)


def _reasons_to_place(placement: ServicePlacement) -> Iterator[str]:
    """Why a replica is missing, one reason for each that is placed; endless."""
    desired, count = placement.desired, placement.count
    yield from (f"{r.host} is dead" for r in placement.lost)
    yield from (f"{r.host} {_why_not_there(placement, r.host)}" for r in placement.misplaced)
    yield from repeat(
        "one on every worker" if desired.count is None else f"{count} wanted, {len(placement.well_placed)} there"
    )


def _has_extra(placement: ServicePlacement) -> bool:
    """A rolling change has one extra instance until the new ones are up."""
    new = [r for r in placement.well_placed if r.revision == placement.desired.revision]
    return len(new) < len(placement.well_placed) and not all(r.up for r in new)


def _worst_first(desired: DesiredService, replicas: Iterable[Replica]) -> list[Replica]:
    backwards = sorted(replicas, key=lambda r: r.host, reverse=True)
    return sorted(backwards, key=lambda r: (r.revision == desired.revision, r.up, -r.load))


def _removable(replicas: Iterable[Replica], excess: int, spare: int) -> list[Replica]:
    """The first `excess` that may go; `spare`: how many of them may be up."""
    removed: list[Replica] = []
    for replica in replicas:
        if len(removed) < excess and (not replica.up or spare > 0):
            removed.append(replica)
            spare -= replica.up
    return removed


def _rolling_step(placement: ServicePlacement) -> tuple[Action, ...]:
    """The next step to the desired revision; empty where there is none, or it has to wait."""
    desired = placement.desired
    old = [r for r in placement.well_placed if r.revision != desired.revision]
    if not old or blocking_replicas(placement):
        return ()
    down = [r for r in old if not r.up]
    if down:
        return (_replace(desired, down[0], f"it is not up ({down[0].state}), so it changes first"),)
    # never on a flapping worker: the extra instance stays where it is placed
    if placement.stable:
        return (_place(desired, placement.stable[0], f"one extra, to change {old[0].revision} without a gap"),)
    return (_replace(desired, old[0], "changed in place: no worker is free for an extra instance"),)


def blocking_replicas(placement: ServicePlacement) -> tuple[Replica, ...]:
    """The replicas that must be up before a rolling change takes its next step; empty without a rolling change."""
    desired, well_placed, misplaced = placement.desired, placement.well_placed, placement.misplaced
    old = [r for r in well_placed if r.revision != desired.revision]
    if not old:
        return ()
    new_down = tuple(r for r in (*well_placed, *misplaced) if r.revision == desired.revision and not r.up)
    if new_down or not all(r.up for r in old):
        return new_down
    return tuple(r for r in (*misplaced, *placement.lost) if not r.up)


def notes(placement: ServicePlacement, steps: Collection[Action]) -> tuple[str, ...]:
    """What an operator should know of this service. `steps`: from plan()."""
    desired, removed_from = placement.desired, {a.host for a in steps if a.kind == "remove"}
    name = desired.name
    blocking = () if steps else blocking_replicas(placement)
    lost = [r.host for r in placement.lost if r.host not in removed_from]
    unplaced = placement.missing - len(lost)
    why = _why_unplaced(placement)
    return (
        *([f"{name}: {unplaced} of {placement.count} wait for a worker: {why}"] if unplaced > 0 else []),
        *(f"{name}: one waits for {host} to come back: {why}" for host in lost),
        *(f"{name} stays on {r.host}, which {_why_not_there(placement, r.host)}, until another worker has it up"
          for r in placement.misplaced if r.host not in removed_from),
        *(f"{name}: the change to {desired.revision} waits for {r.host} ({r.state})" for r in blocking),
    )  # fmt: skip


def _why_unplaced(placement: ServicePlacement) -> str:
    if placement.eligible:
        return "every worker that may have it has one"
    return f"no live worker has {_labels(placement.desired)}" if placement.desired.labels else "no worker is alive"


def _why_not_there(placement: ServicePlacement, host: str) -> str:
    """Why this live host should not have it, after the host's name."""
    why = placement.misfits.get(host)
    return f"lacks {_labels(placement.desired)}" if why is None else f"cannot run it ({why})"


def _why_it_goes(placement: ServicePlacement, host: str) -> str:
    return f"the worker {_why_not_there(placement, host)}"


def _labels(desired: DesiredService) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(desired.labels.items()))


def _place(desired: DesiredService, host: str, why: str) -> Action:
    return Action("place", desired.name, host, desired.revision, why)


def _replace(desired: DesiredService, replica: Replica, why: str) -> Action:
    return Action("replace", desired.name, replica.host, desired.revision, why)


def _remove(desired: DesiredService, replica: Replica, why: str) -> Action:
    return Action("remove", desired.name, replica.host, replica.revision, why)
