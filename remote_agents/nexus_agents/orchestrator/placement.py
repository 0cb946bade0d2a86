"""Which service runs where: decides the changes of all orders. Pure: the order of the input does not matter.

At most one instance of a service on a host: its port is fixed. Replicas are spread. A healthy instance stays where it
is: a worker that comes back gets only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .placement_model import Action, Decision, DesiredService, Observed
from .replicas import notes, plan
from .service_placement import ServicePlacement, current_placement

MAX_NAMED = 6  # services, and actions, in one sentence
PAST_TENSE = {"place": ("placed", "on"), "remove": ("removed", "from"), "replace": ("changed", "on")}
LOAD_CHANGE = {"place": 1, "remove": -1, "replace": 0}


def decide(observed: Observed, desired: Mapping[str, DesiredService]) -> Decision:
    """One safe step of changes to the orders towards `desired` (by service name).

    Called again after each change of its input, it ends at a decision without actions.
    """
    if not observed.workers:  # an empty catalogue, as after a restore, must not clear every host
        no_workers = "no worker is known to Consul: nothing is changed"
        return Decision((), (no_workers,), no_workers)
    actions = list(_remove_obsolete(observed, desired))
    load = Counter(h for h, o in observed.orders.items() if h in observed.workers for name in o if name in desired)
    all_notes = [f"{w.name} flaps: it is given nothing new while another worker can take it"
                 for _, w in sorted(observed.workers.items()) if w.alive and w.flapping]  # fmt: skip
    placements = []
    for _, service in sorted(desired.items()):
        placement = current_placement(service, observed, load)
        steps = plan(placement)
        for step in steps:
            load[step.host] += LOAD_CHANGE[step.kind]
        placements.append(placement)
        actions += steps
        all_notes += notes(placement, steps)
    return Decision(tuple(actions), tuple(all_notes), _log_sentence(placements, actions))


def _remove_obsolete(observed: Observed, desired: Mapping[str, DesiredService]) -> Iterator[Action]:
    """Orders for services that are no longer desired, and for hosts that left the cluster."""
    for host, orders in sorted(observed.orders.items()):
        for service, revision in sorted(orders.items()):
            if service not in desired:
                yield Action("remove", service, host, revision, "no longer wanted")
            elif host not in observed.workers:
                yield Action("remove", service, host, revision, "the worker left the cluster")


def _log_sentence(placements: Sequence[ServicePlacement], actions: Sequence[Action]) -> str:
    short = [p for p in placements if p.up < p.count]
    named = list(placements) if len(placements) <= MAX_NAMED else short[:MAX_NAMED]
    counts = [f"{p.desired.name} {p.up}/{p.count}{_waiting(p)}" for p in named]
    if len(placements) > MAX_NAMED:
        counts += [f"{len(short) - MAX_NAMED} more short"] if len(short) > MAX_NAMED else []
        counts += [f"{len(placements) - len(short)} services whole"] if len(short) < len(placements) else []
    done = [f"{PAST_TENSE[a.kind][0]} {a.service} {PAST_TENSE[a.kind][1]} {a.host}" for a in actions]
    rest = [f"{len(done) - MAX_NAMED} more"] if len(done) > MAX_NAMED else []
    return "; ".join(filter(None, (", ".join(counts) or "no services wanted", ", ".join(done[:MAX_NAMED] + rest))))


def _waiting(placement: ServicePlacement) -> str:
    return f" ({placement.missing} waiting for a worker)" if placement.missing else ""
