"""Which service runs where: the orchestrator's placement. Pure: equal input gives equal output, in whatever order.

One instance of a service on a host at most, for its port is fixed. Replicas are spread, and what is healthy stays
where it is: a worker that comes back is given only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .placement_model import Action, Decision, DesiredService, Observed
from .replicas import Service, missing, notes, plan, survey

SHOWN = 6  # services, and actions, that one sentence names
DONE = {"place": ("placed", "on"), "remove": ("removed", "from"), "replace": ("changed", "on")}
WEIGHT = {"place": 1, "remove": -1, "replace": 0}


def decide(observed: Observed, wanted: Mapping[str, DesiredService]) -> Decision:
    """What to change in the orders so that `wanted` (by service name) comes true, one safe step further.

    Asked again after each change of its input, it comes to an end: a decision without actions.
    """
    if not observed.workers:  # a catalogue that is empty, as after a restore, must not clear every host
        silence = "no worker is known to Consul: nothing is changed"
        return Decision((), (silence,), silence)
    actions = list(_clear(observed, wanted))
    load = Counter(h for h, o in observed.orders.items() if h in observed.workers for name in o if name in wanted)
    told = [f"{w.name} flaps: it is given nothing new while another worker can take it"
            for _, w in sorted(observed.workers.items()) if w.alive and w.flapping]  # fmt: skip
    services = []
    for _, desired in sorted(wanted.items()):
        service = survey(desired, observed, load)
        steps = plan(service)
        for step in steps:
            load[step.host] += WEIGHT[step.kind]
        services.append(service)
        actions += steps
        told += notes(service, steps)
    return Decision(tuple(actions), tuple(told), _log_sentence(services, actions))


def _clear(observed: Observed, wanted: Mapping[str, DesiredService]) -> Iterator[Action]:
    """Orders that nobody wants any more, and those of hosts that left the cluster."""
    for host, orders in sorted(observed.orders.items()):
        for service, revision in sorted(orders.items()):
            if service not in wanted:
                yield Action("remove", service, host, revision, "no longer wanted")
            elif host not in observed.workers:
                yield Action("remove", service, host, revision, "the worker left the cluster")


def _log_sentence(services: Sequence[Service], actions: Sequence[Action]) -> str:
    short = [s for s in services if s.up < s.count]
    named = list(services) if len(services) <= SHOWN else short[:SHOWN]
    counts = [f"{s.desired.name} {s.up}/{s.count}{_waiting(s)}" for s in named]
    if len(services) > SHOWN:
        counts += [f"{len(short) - SHOWN} more short"] if len(short) > SHOWN else []
        counts += [f"{len(services) - len(short)} services whole"] if len(short) < len(services) else []
    done = [f"{DONE[a.kind][0]} {a.service} {DONE[a.kind][1]} {a.host}" for a in actions]
    rest = [f"{len(done) - SHOWN} more"] if len(done) > SHOWN else []
    return "; ".join(filter(None, (", ".join(counts) or "no services wanted", ", ".join(done[:SHOWN] + rest))))


def _waiting(s: Service) -> str:
    return f" ({missing(s)} waiting for a worker)" if missing(s) else ""
